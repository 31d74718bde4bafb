//! How a command ended, as exit code. The one place that maps errors to codes.

use std::process::ExitCode;

use crate::{
    amqp::{ConnectError, PublishError, SubscribeError},
    operator::{dead_letters, deliveries, endpoints},
    settings::LoadError,
};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All was done.
    Done = 0,
    /// It failed, or found something wrong.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// Some was done, some not.
    Partly = 3,
    /// Broker or database cannot be reached (`EX_UNAVAILABLE` of sysexits.h).
    Unavailable = 69,
    /// The settings cannot be used (`EX_CONFIG` of sysexits.h).
    BadConfiguration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The command line makes no sense, in a way that the parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// The private services could not be had. What went wrong is told by the cause.
#[derive(Debug, thiserror::Error)]
#[error("the private services are not available")]
pub(super) struct Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Unavailable {
    pub(super) fn new(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Box::new(cause))
    }
}

/// Whoever reads standard output has gone; there is nothing left to do and nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("standard output is closed")]
pub(super) struct OutputClosed;

/// The code of an error: of the first cause, from outside in, that has one.
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
    if cause.is::<LoadError>() {
        return Some(Exit::BadConfiguration);
    }
    if let Some(error) = cause.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::Uri => Exit::BadConfiguration,
            ConnectError::Refused(_) | ConnectError::Timeout(_) => Exit::Unavailable,
        });
    }
    if is_no_name(cause) {
        return Some(Exit::Usage);
    }
    if cause.is::<PublishError>() || cause.is::<SubscribeError>() {
        return Some(Exit::Unavailable);
    }
    cause.downcast_ref::<sqlx::Error>().map(of_database)
}

/// Whether what should name something cannot name anything.
fn is_no_name(cause: &(dyn std::error::Error + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(dead_letters::ResolveError::NotAnId(_)))
        || matches!(cause.downcast_ref(), Some(deliveries::ResolveError::NotAnId(_)))
        || matches!(cause.downcast_ref(), Some(endpoints::ResolveError::NotAnEndpoint(_)))
}

/// Connection faults, and refusals by SQLSTATE (`PostgreSQL`, appendix A) that no query can cause:
/// connection exception, bad login, unknown database, no resources, server shutting down.
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

    #[test]
    fn every_kind_of_error_has_its_code() {
        let io = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        let load = LoadError { faults: Vec::new() };
        for (error, exit) in [
            (anyhow::anyhow!("x"), Exit::Failed),
            (anyhow::Error::new(io()), Exit::Failed),
            (OutputClosed.into(), Exit::Done),
            (Usage("x".to_owned()).into(), Exit::Usage),
            (dead_letters::ResolveError::NotAnId("x".to_owned()).into(), Exit::Usage),
            (dead_letters::ResolveError::Unknown("x".to_owned()).into(), Exit::Failed),
            (deliveries::ResolveError::NotAnId("x".to_owned()).into(), Exit::Usage),
            (deliveries::ResolveError::Unknown("x".to_owned()).into(), Exit::Failed),
            (endpoints::ResolveError::NotAnEndpoint("x".to_owned()).into(), Exit::Usage),
            (endpoints::ResolveError::Unknown.into(), Exit::Failed),
            (load.into(), Exit::BadConfiguration),
            (ConnectError::Uri.into(), Exit::BadConfiguration),
            (ConnectError::Timeout(std::time::Duration::ZERO).into(), Exit::Unavailable),
            (PublishError::Timeout(std::time::Duration::ZERO).into(), Exit::Unavailable),
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
