//! Why an operation was refused, as a problem.

use std::error::Error;

use crate::{
    amqp,
    console::problem::{Kind, Problem},
    operator::{
        contacts::{FindError, LookupError},
        dead_letters::{self, NoteError, edit::EditError},
        deliveries, endpoints,
        erasure::EraseError,
        operations::ChangeError,
        preview::PreviewError,
        unmerge::UnmergeError,
    },
    telemetry::chain,
};

/// The broker does not answer.
fn broker(error: &(dyn Error + 'static)) -> Problem {
    tracing::warn!(error = chain(error), "could not reach the broker for a request");
    Problem::new(Kind::Unavailable, "the broker does not answer; try again").retry_after(5)
}

/// Routes connect before they change anything.
impl From<amqp::ConnectError> for Problem {
    fn from(error: amqp::ConnectError) -> Self {
        broker(&error).unchanged()
    }
}

impl From<dead_letters::ResolveError> for Problem {
    fn from(error: dead_letters::ResolveError) -> Self {
        match error {
            dead_letters::ResolveError::Database(error) => error.into(),
            other => Self::new(Kind::NotFound, other.to_string()),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Database(error) => error.into(),
            error @ (ChangeError::WrongState { .. } | ChangeError::NoCanary) => {
                Self::new(Kind::Conflict, error.to_string())
            }
            other => Self::new(Kind::NotFound, other.to_string()),
        }
    }
}

impl From<deliveries::ResolveError> for Problem {
    fn from(error: deliveries::ResolveError) -> Self {
        match error {
            deliveries::ResolveError::Database(error) => error.into(),
            unsearched @ deliveries::ResolveError::Unsearched(_) => {
                Self::new(Kind::Unavailable, unsearched.to_string()).retry_after(5)
            }
            other => Self::new(Kind::NotFound, other.to_string()),
        }
    }
}

impl From<endpoints::ResolveError> for Problem {
    fn from(error: endpoints::ResolveError) -> Self {
        match error {
            endpoints::ResolveError::Database(error) => error.into(),
            variables @ endpoints::ResolveError::HasVariables => {
                Self::new(Kind::Unprocessable, variables.to_string())
            }
            endpoints::ResolveError::Unknown => Self::new(Kind::NotFound, "there is no such endpoint"),
            other => Self::new(Kind::NotFound, other.to_string()),
        }
    }
}

impl From<FindError> for Problem {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Database(error) => error.into(),
            other => Self::new(Kind::Unprocessable, other.to_string()),
        }
    }
}

impl From<LookupError> for Problem {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Database(error) => error.into(),
            unknown @ LookupError::Unknown => Self::new(Kind::NotFound, unknown.to_string()),
            erased @ LookupError::Erased(_) => Self::new(Kind::Erased, erased.to_string()),
        }
    }
}

impl From<UnmergeError> for Problem {
    fn from(error: UnmergeError) -> Self {
        match error {
            UnmergeError::Database(error) => error.into(),
            unknown @ UnmergeError::NotFound => Self::new(Kind::NotFound, unknown.to_string()),
            other => Self::new(Kind::Conflict, other.to_string()),
        }
    }
}

impl From<EraseError> for Problem {
    fn from(error: EraseError) -> Self {
        match error {
            // It has many transactions.
            EraseError::Database(error) => Self::from(error).unsure(),
            unknown @ EraseError::Unknown => Self::new(Kind::NotFound, unknown.to_string()),
            other @ (EraseError::Busy | EraseError::Unpublished) => {
                Self::new(Kind::Unavailable, other.to_string()).retry_after(30)
            }
        }
    }
}

impl From<PreviewError> for Problem {
    fn from(error: PreviewError) -> Self {
        Self::new(Kind::Unprocessable, chain(&error))
    }
}

impl From<NoteError> for Problem {
    fn from(error: NoteError) -> Self {
        match error {
            NoteError::Database(error) => error.into(),
            malformed @ NoteError::Malformed => Self::invalid("text", malformed.to_string()),
            NoteError::Unknown => Self::new(Kind::NotFound, "there is no such group of dead letters"),
        }
    }
}

impl From<EditError> for Problem {
    fn from(error: EditError) -> Self {
        let kind = match &error {
            EditError::Broker(_) | EditError::Database(_) => Kind::Internal,
            EditError::Unknown => Kind::NotFound,
            EditError::NotOpen(_) | EditError::Webhook | EditError::Blank | EditError::Unchanged => {
                Kind::Conflict
            }
            EditError::TooLarge => Kind::TooLarge,
            EditError::NotJson | EditError::CompanyNeeded => Kind::InvalidRequest,
            EditError::Invalid { .. } | EditError::OtherCompany => Kind::Unprocessable,
            EditError::Erased => Kind::Erased,
        };
        match error {
            EditError::Broker(error) => error.into(),
            EditError::Database(error) => error.into(),
            other => Self::new(kind, other.to_string()),
        }
    }
}
