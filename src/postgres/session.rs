//! What a session asks of the server, and whether it got that.
//!
//! The settings go with the connection's first message, which a pooler between may drop without a word. Without them a
//! cached plan may scan a large table, and a statement may run forever. So every connection is checked.

use std::time::Duration;

use sqlx::PgConnection;

use crate::settings;

/// How long a statement waits for a lock, if that is less than half of `postgres.statement_timeout`. The server has broken a
/// deadlock before: it looks for one after `deadlock_timeout`, which is 1 s.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a transaction that somebody has left may keep its locks: a host that lost its power does not close connections.
const MAX_IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// Why a connection or its database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Texts would be stored in another encoding, or refused.
    #[error("the database's encoding is {0}; use one that was created with ENCODING 'UTF8'")]
    Encoding(String),
    /// Something between does not pass on the settings of the session.
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

/// For what a statement is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plans {
    /// Once for any arguments. A worker's statements take arrays, and one index serves each, whatever they hold. Left alone, the
    /// server plans them anew for each small batch, because it expects ten elements of an array that it has not seen; that takes
    /// longer than running them.
    Generic,
    /// For the arguments of each run. What people search for differs from search to search: the filters that are given decide
    /// which index serves.
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

/// What each session asks for. The values are as `pg_settings` shows them.
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
