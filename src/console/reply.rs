//! Answers of the API.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::problem::Problem;

/// A JSON answer.
pub(super) struct Reply(pub(super) Value);

impl Reply {
    /// The JSON of a value.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Problem> {
        serde_json::to_value(value).map(Self).map_err(Problem::from)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0.to_string()).into_response()
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(&error)
    }
}
