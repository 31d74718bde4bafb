//! The settings that a session requests from the server, and the check that it got them.
//!
//! They travel in the connection's startup message, and a pooler may drop them silently. Without them a cached plan
//! may scan a large table, and a statement may run forever. So every connection is checked.

use std::time::Duration;

use sqlx::PgConnection;

use crate::settings;

/// How long a statement waits for a lock, if that is less than half of `postgres.statement_timeout`. The server has broken a
/// deadlock before: it looks for one after `deadlock_timeout`, which is 1 s.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an abandoned transaction may keep its locks: a host that lost power does not close connections.
const MAX_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// Why a connection or its database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Texts would be stored in another encoding, or refused.
    #[error("the database's encoding is {0}; use one that was created with ENCODING 'UTF8'")]
    Encoding(String),
    /// A pooler does not pass on the settings of the session.
    #[error(
        "the connection drops these settings: {}; connect directly to Postgres, or let the pooler pass on `options` and \
         give each client a session of its own",
        .0.join(", ")
    )]
    Settings(Vec<&'static str>),
    /// The schema is older than this binary.
    #[error("the database lacks migrations ({}); run `contact-relay migrate`", .0.join(", "))]
    Behind(Vec<String>),
}

/// Settings of a session, by name.
pub(super) type Asked = Vec<(&'static str, String)>;

/// What a statement is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plans {
    /// Once, for any arguments. Workers' statements take arrays, and the same index serves them whatever they hold. By default
    /// the server plans them again for each small batch, because it expects ten elements in an array that it has not seen, and
    /// planning takes longer than running.
    Generic,
    /// For the arguments of each run: people's searches differ, and the given filters decide which index serves.
    Custom,
}

impl Plans {
    const fn mode(self) -> &'static str {
        match self {
            Self::Generic => "force_generic_plan",
            Self::Custom => "force_custom_plan",
        }
    }
}

/// The requested settings, with values as `pg_settings` shows them.
pub(super) fn asked(settings: &settings::Postgres, plans: Plans) -> Asked {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let off = || "off".to_owned();
    vec![
        (
            "idle_in_transaction_session_timeout",
            milliseconds(MAX_IDLE_IN_TRANSACTION.min(settings.statement_timeout)),
        ),
        ("statement_timeout", milliseconds(settings.statement_timeout)),
        ("lock_timeout", milliseconds(LOCK_TIMEOUT.min(settings.statement_timeout / 2))),
        // The default of the server, a database or a user may be `off`.
        ("synchronous_commit", settings.synchronous_commit.name().to_owned()),
        // Every query has its index. A plan that was cached while a table was empty must not keep scanning the table
        // when it has grown.
        ("enable_seqscan", off()),
        ("enable_hashjoin", off()),
        ("enable_mergejoin", off()),
        ("jit", off()),
        // On busy cores three processes take longer than one, and take more from the workers.
        ("max_parallel_workers_per_gather", "0".to_owned()),
        ("plan_cache_mode", plans.mode().to_owned()),
    ]
}

/// Compares the session with what it asked for.
pub(super) async fn check(
    conn: &mut PgConnection,
    asked: &[(&'static str, String)],
) -> Result<Option<Unfit>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT current_setting('server_encoding') AS "encoding!",
               ARRAY(SELECT name || '=' || setting FROM pg_settings WHERE name = ANY($1)) AS "settings!""#,
        &asked.iter().map(|(name, _)| *name).collect::<Vec<_>>() as &[&str],
    )
    .fetch_one(conn)
    .await?;
    if rows.encoding != "UTF8" {
        return Ok(Some(Unfit::Encoding(rows.encoding)));
    }
    let dropped = asked.iter().filter(|(name, value)| !rows.settings.contains(&format!("{name}={value}")));
    let dropped: Vec<&'static str> = dropped.map(|(name, _)| *name).collect();
    Ok((!dropped.is_empty()).then_some(Unfit::Settings(dropped)))
}
