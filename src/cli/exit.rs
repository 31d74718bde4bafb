//! Exit codes, and the only mapping from errors to them.

use std::process::ExitCode;

use crate::{
    amqp::{self, PublishError, SubscribeError},
    operator::{dead_letters, deliveries, endpoints, erasure::EraseError, operations},
    postgres,
    settings::LoadError,
    workers::webhook,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Everything was done.
    Done = 0,
    /// It failed, or found a fault.
    Failed = 1,
    /// The command line is invalid.
    Usage = 2,
    /// Some of it was done.
    Partly = 3,
    /// The broker or the database is unreachable (`EX_UNAVAILABLE` of sysexits.h).
    Unavailable = 69,
    /// The settings are invalid (`EX_CONFIG` of sysexits.h).
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command line is invalid in a way that the parser cannot check.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// Something that the command needs is not there.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct Unavailable {
    what: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Unavailable {
    /// `what` says what is not there, `cause` why.
    pub(super) fn new(
        what: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self { what: what.into(), source: cause.into() }
    }

    /// Of the services that `dev` starts.
    pub(super) fn services(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new("could not start the private services", cause)
    }
}

/// The reader of standard output is gone. Nothing is left to do, and nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct OutputClosed;

/// The exit code of the outermost error in the chain that has one; [`Exit::Failed`] if none has.
pub(super) fn of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(of_cause).unwrap_or(Exit::Failed)
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if cause.is::<OutputClosed>() {
        return Some(Exit::Done);
    }
    if cause.is::<Usage>() {
        return Some(Exit::Usage);
    }
    if cause.is::<Unavailable>() {
        return Some(Exit::Unavailable);
    }
    // The system's CA certificates belong to the configuration as well.
    if cause.is::<LoadError>() || cause.is::<webhook::SetUpError>() {
        return Some(Exit::BadConfiguration);
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(match error {
            amqp::ConnectError::Uri => Exit::BadConfiguration,
            amqp::ConnectError::Refused { .. } | amqp::ConnectError::Timeout { .. } => Exit::Unavailable,
        });
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(match error {
            postgres::ConnectError::Url(_) => Exit::BadConfiguration,
            postgres::ConnectError::Refused { .. } | postgres::ConnectError::Timeout { .. } => {
                Exit::Unavailable
            }
            postgres::ConnectError::Unfit { .. } => Exit::Failed,
        });
    }
    if matches!(cause.downcast_ref(), Some(EraseError::Unpublished)) {
        return Some(Exit::Partly);
    }
    if is_malformed_id(cause) {
        return Some(Exit::Usage);
    }
    if cause.is::<PublishError>() || cause.is::<SubscribeError>() {
        return Some(Exit::Unavailable);
    }
    cause.downcast_ref::<sqlx::Error>().map(of_database)
}

/// Whether an argument cannot be the id or URL that it should be.
fn is_malformed_id(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(dead_letters::ResolveError::NotAnId(_)))
        || matches!(cause.downcast_ref(), Some(deliveries::ResolveError::NotAnId(_)))
        || matches!(cause.downcast_ref(), Some(operations::ChangeError::NotAnId(_)))
        || matches!(
            cause.downcast_ref(),
            Some(endpoints::ResolveError::NotAnEndpoint(_) | endpoints::ResolveError::HasVariables)
        )
}

/// Connection faults count as unavailable, and so do refusals by SQLSTATE (`PostgreSQL`, appendix A) that no
/// query can cause: connection exception, bad login, unknown database, no resources, server shutting down.
fn of_database(error: &sqlx::Error) -> Exit {
    match error {
        sqlx::Error::Configuration(_) => Exit::BadConfiguration,
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Exit::Unavailable,
        sqlx::Error::Database(refusal) => {
            let code = refusal.code().unwrap_or_default();
            let away = ["08", "28", "3D", "53", "57P"].iter().any(|class| code.starts_with(class));
            if away { Exit::Unavailable } else { Exit::Failed }
        }
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client;

    #[test]
    fn error_decides_exit_code() {
        let io = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let load = LoadError { faults: Vec::new() };
        let limit = std::time::Duration::from_secs(1);
        for (error, exit) in [
            (anyhow::anyhow!("x"), Exit::Failed),
            (anyhow::Error::new(io()), Exit::Failed),
            (OutputClosed.into(), Exit::Done),
            (Usage("x".to_owned()).into(), Exit::Usage),
            (EraseError::Busy.into(), Exit::Failed),
            (EraseError::Unpublished.into(), Exit::Partly),
            (dead_letters::ResolveError::NotAnId("x".to_owned()).into(), Exit::Usage),
            (dead_letters::ResolveError::Unknown("x".to_owned()).into(), Exit::Failed),
            (deliveries::ResolveError::NotAnId("x".to_owned()).into(), Exit::Usage),
            (deliveries::ResolveError::Unknown("x".to_owned()).into(), Exit::Failed),
            (operations::ChangeError::NotAnId("x".to_owned()).into(), Exit::Usage),
            (operations::ChangeError::Unknown("x".to_owned()).into(), Exit::Failed),
            (endpoints::ResolveError::NotAnEndpoint("x".to_owned()).into(), Exit::Usage),
            (endpoints::ResolveError::HasVariables.into(), Exit::Usage),
            (endpoints::ResolveError::Unknown.into(), Exit::Failed),
            (Unavailable::new("x", "y").into(), Exit::Unavailable),
            (load.into(), Exit::BadConfiguration),
            (
                webhook::SetUpError::from(http_client::SetUpError::NoCaCertificates).into(),
                Exit::BadConfiguration,
            ),
            (amqp::ConnectError::Uri.into(), Exit::BadConfiguration),
            (amqp::ConnectError::Timeout { address: "x:1".to_owned(), limit }.into(), Exit::Unavailable),
            (postgres::ConnectError::Url(sqlx::Error::PoolClosed).into(), Exit::BadConfiguration),
            (postgres::ConnectError::Timeout { address: "x:1".to_owned(), limit }.into(), Exit::Unavailable),
            (PublishError::Timeout(limit).into(), Exit::Unavailable),
            (sqlx::Error::Io(io()).into(), Exit::Unavailable),
            (sqlx::Error::PoolTimedOut.into(), Exit::Unavailable),
            (sqlx::Error::Configuration("x".into()).into(), Exit::BadConfiguration),
            (sqlx::Error::RowNotFound.into(), Exit::Failed),
            (anyhow::Error::new(sqlx::Error::PoolTimedOut).context("around"), Exit::Unavailable),
        ] {
            assert_eq!(of(&error), exit, "{error:#}");
        }
        let codes =
            [Exit::Done, Exit::Failed, Exit::Usage, Exit::Partly, Exit::Unavailable, Exit::BadConfiguration];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 69, 78]);
    }
}
