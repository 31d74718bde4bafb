//! The API below `/api/v1`: the verbs of the command line, with its JSON.

use super::route::Route;

/// Every route of the API.
pub(super) fn routes() -> Vec<Route> {
    Vec::new()
}
