//! Inspects the server, its settings and the role's rights, for operators. Reads no table of the service.

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;

use super::{ConnectError, Database, migrations, processes};

/// What the database says.
#[derive(Debug)]
pub struct Inspection {
    /// The server, its settings and the role.
    pub server: Server,
    /// Processes that are registered as alive; `None` if that cannot be read.
    pub processes: Option<i64>,
    /// Migrations that it lacks, and how many it has that this binary does not know; or why that cannot be read.
    pub schema: Result<(Vec<String>, usize), String>,
    /// The tables of the service; empty without a schema.
    pub tables: Vec<Table>,
}

/// The server, its settings and the role.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of Postgres")]
pub struct Server {
    /// Such as `15.8`.
    pub version: String,
    /// Such as 150008.
    pub number: i32,
    /// The role of the sessions.
    pub role: String,
    /// `UTF8`, or another encoding that the service refuses.
    pub encoding: String,
    /// It is a standby of another server.
    pub is_replica: bool,
    /// Transactions cannot write by default.
    pub is_read_only: bool,
    /// A commit reaches the disk.
    pub fsync: bool,
    /// A page that a crash left half written can be restored.
    pub full_page_writes: bool,
    /// Dead rows are cleaned up.
    pub autovacuum: bool,
    /// The standbys for which commits wait; empty if they wait for none.
    pub standby_names: String,
    /// Standbys that are connected.
    pub standbys: i64,
    /// Maximum number of sessions of roles without privileges.
    pub max_sessions: i32,
    /// Whether this session is encrypted.
    pub is_encrypted: bool,
    /// Its clock.
    pub now: OffsetDateTime,
}

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What the role must not do with it, such as `INSERT`.
    pub missing: Vec<String>,
    /// Whether the role can change its definition.
    pub is_owned: bool,
}

/// Inspects the database, even if something is wrong with it.
///
/// # Errors
/// When it cannot be reached, or its catalog cannot be read.
pub async fn inspect(database: &Database) -> Result<Result<Inspection, sqlx::Error>, ConnectError> {
    let mut conn = database.open().await?;
    let inspected = read(&mut conn).await;
    // It has been read.
    drop(conn.close().await);
    Ok(inspected)
}

async fn read(conn: &mut PgConnection) -> Result<Inspection, sqlx::Error> {
    let server = server(conn).await?;
    let schema = async {
        let pending = migrations::pending(conn).await?;
        let unknown = if pending.len() == migrations::MIGRATIONS.iter().count() {
            0
        } else {
            migrations::unknown(conn).await?
        };
        Ok::<_, sqlx::Error>((pending, unknown))
    };
    let schema = schema.await.map_err(|error| super::refusal(&error));
    let tables = tables(conn).await?;
    let processes = processes::alive(conn).await.ok();
    Ok(Inspection { server, processes, schema, tables })
}

async fn server(conn: &mut PgConnection) -> Result<Server, sqlx::Error> {
    sqlx::query_as!(
        Server,
        r#"SELECT current_setting('server_version') AS "version!",
               current_setting('server_version_num')::integer AS "number!",
               current_user::text AS "role!",
               current_setting('server_encoding') AS "encoding!",
               pg_is_in_recovery() AS "is_replica!",
               current_setting('default_transaction_read_only')::boolean AS "is_read_only!",
               current_setting('fsync')::boolean AS "fsync!",
               current_setting('full_page_writes')::boolean AS "full_page_writes!",
               current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS "autovacuum!",
               current_setting('synchronous_standby_names') AS "standby_names!",
               (SELECT count(*) FROM pg_stat_replication) AS "standbys!",
               current_setting('max_connections')::integer
                   - current_setting('superuser_reserved_connections')::integer AS "max_sessions!",
               coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS "is_encrypted!",
               clock_timestamp() AS "now!""#
    )
    .fetch_one(conn)
    .await
}

/// The tables in the schema of the ledger. Partitions have the rights of their table.
async fn tables(conn: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    sqlx::query_as!(
        Table,
        r#"SELECT c.relname::text AS "name!",
               ARRAY(SELECT r.name FROM UNNEST(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS r(name)
                   WHERE NOT has_table_privilege(c.oid, r.name)
                     AND NOT (c.relname = 'audit_log' AND r.name IN ('UPDATE', 'DELETE'))) AS "missing!",
               pg_has_role(c.relowner, 'USAGE') AS "is_owned!"
           FROM pg_class c
           WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('applied_events'))
             AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> '_sqlx_migrations'
           ORDER BY c.relname"#
    )
    .fetch_all(conn)
    .await
}
