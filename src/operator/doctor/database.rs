//! What the database shows.

use secrecy::ExposeSecret as _;
use time::OffsetDateTime;

use super::{DURABLE, Finding, Promise, Status, is_loopback};
use crate::{
    postgres::{
        CONSOLE_CONNECTIONS, ConnectError,
        inspection::{Inspection, Server},
    },
    settings::{Settings, SynchronousCommit},
};

const AREA: &str = "database";

/// What a process with the role console may open besides `postgres.max_connections`: pages, long changes, and the sampler.
const OTHER_CONNECTIONS: u32 = 2 * CONSOLE_CONNECTIONS + 1;

/// The oldest version that is tested.
const OLDEST: i32 = 150_000;

/// What `/readyz` tolerates.
const MAX_OFFSET: time::Duration = time::Duration::seconds(30);

pub(super) fn findings(
    inspection: &Inspection,
    session: Option<ConnectError>,
    settings: &Settings,
) -> Vec<Finding> {
    let server = &inspection.server;
    let mut findings = vec![version(server), writable(server), usable(server, session)];
    findings.extend([schema(inspection), rights(inspection), owner(inspection)]);
    findings.extend([
        durable(
            "fsync",
            server.fsync,
            "a crash of the machine may lose what was acknowledged, and damage the database",
        ),
        durable("full_page_writes", server.full_page_writes, "a crash of the machine may damage pages"),
        standbys(server, settings.postgres.synchronous_commit),
        autovacuum(server),
        sessions(inspection, settings),
        clock(server),
        encryption(server, settings),
    ]);
    findings
}

fn version(server: &Server) -> Finding {
    let finding = |status| {
        Finding::new(AREA, "database version", status, format!("PostgreSQL {}", server.version)).of(DURABLE)
    };
    if server.number >= OLDEST {
        return finding(Status::Fine);
    }
    finding(Status::Broken).remedy("use PostgreSQL 15 or newer")
}

fn writable(server: &Server) -> Finding {
    let finding = |status, found: &str| Finding::new(AREA, "writable", status, found).of(DURABLE);
    if server.is_replica {
        return finding(Status::Broken, "this server is a replica")
            .remedy("set postgres.url to the primary (target_session_attrs=read-write finds it), or promote the replica");
    }
    if server.is_read_only {
        return finding(Status::Broken, "transactions are read-only by default").remedy(format!(
            "run `ALTER ROLE \"{}\" RESET default_transaction_read_only`, or the same for the database or the server",
            server.role
        ));
    }
    finding(Status::Fine, "yes")
}

/// Encoding, and whether the settings of the session arrive.
fn usable(server: &Server, session: Option<ConnectError>) -> Finding {
    match session {
        // It answered a moment ago.
        Some(error) if error.is_full() => {
            let found =
                format!("{error}; other clients use up its limit of {} connections", server.max_sessions);
            Finding::new(AREA, "session", Status::Unknown, found)
                .of(&[Promise::Outages])
                .remedy("end unneeded sessions, or raise max_connections of the server or the role")
        }
        None => {
            let found = format!("encoding {}; settings of sessions arrive", server.encoding);
            Finding::new(AREA, "session", Status::Fine, found).of(DURABLE)
        }
        Some(error) => Finding::new(AREA, "session", Status::Broken, error.to_string()).of(DURABLE),
    }
}

fn schema(inspection: &Inspection) -> Finding {
    let finding = |status, found: String| Finding::new(AREA, "schema", status, found).of(DURABLE);
    match &inspection.schema {
        Err(why) => finding(Status::Broken, format!("its version cannot be read: {why}"))
            .remedy("give the role of postgres.url the rights on all tables, or use the role that owns them"),
        Ok((pending, _)) if !pending.is_empty() => {
            finding(Status::Broken, format!("lacks migrations: {}", pending.join(", ")))
                .remedy("run `contact-relay migrate`")
        }
        Ok((_, 0)) => finding(Status::Fine, "up to date".to_owned()),
        Ok((_, newer)) => Finding::new(
            AREA,
            "schema",
            Status::Warning,
            format!("has {newer} migrations of a newer version; this one works with it"),
        )
        .remedy("replace this version by the newer one"),
    }
}

fn rights(inspection: &Inspection) -> Finding {
    let role = &inspection.server.role;
    let lacking: Vec<String> = inspection
        .tables
        .iter()
        .filter(|table| !table.missing.is_empty())
        .map(|table| format!("{} on {}", table.missing.join(", "), table.name))
        .collect();
    let Some(first) = lacking.first() else {
        let found = format!("role {role} may read and write {} tables", inspection.tables.len());
        return Finding::new(AREA, "rights", Status::Fine, found).of(DURABLE);
    };
    let found = format!("role {role} lacks rights on {} tables, such as {first}", lacking.len());
    Finding::new(AREA, "rights", Status::Broken, found).of(DURABLE).remedy(format!(
        "run `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{role}\"`"
    ))
}

/// Partitions are made and dropped by the service.
fn owner(inspection: &Inspection) -> Finding {
    const PROMISES: &[Promise] = &[Promise::Bounded];
    let role = &inspection.server.role;
    let foreign: Vec<&str> =
        inspection.tables.iter().filter(|table| !table.is_owned).map(|table| table.name.as_str()).collect();
    let Some(first) = foreign.first() else {
        return Finding::new(AREA, "owner", Status::Fine, format!("role {role} owns the tables"))
            .of(PROMISES);
    };
    let found =
        format!("role {role} does not own {} tables, such as {first}: old partitions stay", foreign.len());
    Finding::new(AREA, "owner", Status::Broken, found)
        .of(PROMISES)
        .remedy(format!("run `ALTER TABLE {first} OWNER TO \"{role}\"` and the same for the others"))
}

fn durable(name: &'static str, is_on: bool, danger: &str) -> Finding {
    if is_on {
        return Finding::new(AREA, name, Status::Fine, "on").of(DURABLE);
    }
    Finding::new(AREA, name, Status::Broken, format!("off: {danger}"))
        .of(DURABLE)
        .remedy(format!("run `ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf()`"))
}

fn standbys(server: &Server, commit: SynchronousCommit) -> Finding {
    let finding = |status, found: String| Finding::new(AREA, "commits", status, found).of(DURABLE);
    let (names, count, commit) = (server.standby_names.as_str(), server.standbys, commit.name());
    if names.is_empty() {
        let found = format!(
            "wait for the disk of this server alone (postgres.synchronous_commit = {commit}); {count} standbys"
        );
        return finding(Status::Fine, found);
    }
    if commit == "local" {
        let found = format!("do not wait for {names}: a failover loses what was acknowledged just before");
        return finding(Status::Broken, found).remedy("set postgres.synchronous_commit to on");
    }
    if count == 0 {
        let found = format!("wait for {names}, but no standby is connected: nothing can be committed");
        return finding(Status::Broken, found)
            .remedy("start the standbys, or reset synchronous_standby_names");
    }
    finding(Status::Fine, format!("wait for {names}; {count} standbys are connected"))
}

fn autovacuum(server: &Server) -> Finding {
    const PROMISES: &[Promise] = &[Promise::Bounded];
    if server.autovacuum {
        return Finding::new(AREA, "autovacuum", Status::Fine, "on").of(PROMISES);
    }
    Finding::new(AREA, "autovacuum", Status::Broken, "off: tables grow without bound, and queries slow down")
        .of(PROMISES)
        .remedy("run `ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()`")
}

/// Sessions that others use are not counted: they come and go.
fn sessions(inspection: &Inspection, settings: &Settings) -> Finding {
    const PROMISES: &[Promise] = &[Promise::Outages];
    let most = inspection.server.max_sessions;
    // Which processes have the console is not known.
    let each = settings.postgres.max_connections + OTHER_CONNECTIONS;
    let processes = inspection.processes.unwrap_or_default().max(1);
    let needed = processes.saturating_mul(i64::from(each));
    let found = format!("{processes} processes may open {each} each; the server allows {most} in all");
    if needed <= i64::from(most) {
        return Finding::new(AREA, "connections", Status::Fine, found).of(PROMISES);
    }
    Finding::new(AREA, "connections", Status::Broken, found).of(PROMISES).remedy(format!(
        "raise max_connections of the server to {needed} and more, or lower postgres.max_connections, to which each process \
         with the role console adds {OTHER_CONNECTIONS}"
    ))
}

fn clock(server: &Server) -> Finding {
    let offset = (server.now - OffsetDateTime::now_utc()).abs();
    let found =
        format!("the clocks of this machine and of the database differ by {} s", offset.whole_seconds());
    if offset <= MAX_OFFSET {
        return Finding::new(AREA, "clock", Status::Fine, found);
    }
    Finding::new(AREA, "clock", Status::Warning, found).remedy("set the clock of the one that is wrong (NTP)")
}

fn encryption(server: &Server, settings: &Settings) -> Finding {
    let finding = |status, found: &str| Finding::new(AREA, "TLS to the database", status, found);
    if server.is_encrypted {
        return finding(Status::Fine, "in use");
    }
    if is_loopback(settings.postgres.url.expose_secret()) {
        return finding(Status::Fine, "not needed on this machine");
    }
    finding(Status::Warning, "contacts and the password may travel in the clear")
        .remedy("add ?sslmode=verify-full to postgres.url")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        postgres::inspection::Table,
        settings::{Settings, load},
    };

    fn settings() -> Settings {
        load(None, []).unwrap().settings
    }

    fn inspection() -> Inspection {
        let server = Server {
            version: "15.8".to_owned(),
            number: 150_008,
            role: "relay".to_owned(),
            encoding: "UTF8".to_owned(),
            is_replica: false,
            is_read_only: false,
            fsync: true,
            full_page_writes: true,
            autovacuum: true,
            standby_names: String::new(),
            standbys: 0,
            max_sessions: 97,
            is_encrypted: false,
            now: OffsetDateTime::now_utc(),
        };
        let table = Table { name: "contacts".to_owned(), missing: Vec::new(), is_owned: true };
        Inspection { server, processes: Some(2), schema: Ok((Vec::new(), 0)), tables: vec![table] }
    }

    fn not_fine(inspection: &Inspection, settings: &Settings) -> Vec<(String, Status)> {
        let found = findings(inspection, None, settings);
        found.into_iter().filter(|one| one.status != Status::Fine).map(|one| (one.name, one.status)).collect()
    }

    type Change = fn(&mut Inspection);

    #[test]
    fn each_fault_is_one_finding() {
        assert_eq!(not_fine(&inspection(), &settings()), []);
        let faults: [(Change, &str, Status); 14] = [
            (|at| at.server.number = 140_012, "database version", Status::Broken),
            (|at| at.server.is_replica = true, "writable", Status::Broken),
            (|at| at.server.is_read_only = true, "writable", Status::Broken),
            (|at| at.server.fsync = false, "fsync", Status::Broken),
            (|at| at.server.full_page_writes = false, "full_page_writes", Status::Broken),
            (|at| at.server.autovacuum = false, "autovacuum", Status::Broken),
            (|at| at.server.standby_names = "b".to_owned(), "commits", Status::Broken),
            (|at| at.server.max_sessions = 29, "connections", Status::Broken),
            (|at| at.server.now -= time::Duration::minutes(1), "clock", Status::Warning),
            (|at| at.schema = Err("denied".to_owned()), "schema", Status::Broken),
            (|at| at.schema = Ok((vec!["0002 x".to_owned()], 0)), "schema", Status::Broken),
            (|at| at.schema = Ok((Vec::new(), 1)), "schema", Status::Warning),
            (|at| at.tables[0].missing = vec!["UPDATE".to_owned()], "rights", Status::Broken),
            (|at| at.tables[0].is_owned = false, "owner", Status::Broken),
        ];
        for (change, name, status) in faults {
            let mut inspection = inspection();
            change(&mut inspection);
            assert_eq!(not_fine(&inspection, &settings()), [(name.to_owned(), status)]);
        }
    }

    /// A driver's error with this code.
    #[derive(Debug)]
    struct Refusal(&'static str);

    impl std::fmt::Display for Refusal {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("refused")
        }
    }

    impl std::error::Error for Refusal {}

    impl sqlx::error::DatabaseError for Refusal {
        fn message(&self) -> &'static str {
            "refused"
        }

        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.0.into())
        }

        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    /// The server answered a moment before, so nothing is wrong with it but its limit.
    #[test]
    fn server_without_room_for_another_session_is_not_broken() {
        let refused = |code| {
            let cause = sqlx::Error::Database(Box::new(Refusal(code)));
            let refused = ConnectError::Refused { address: "h:1".to_owned(), cause };
            usable(&inspection().server, Some(refused))
        };
        let full = refused("53300");
        assert_eq!(full.status, Status::Unknown);
        assert!(full.found.contains("its limit of 97 connections"), "{}", full.found);
        assert_eq!(refused("28P01").status, Status::Broken);
    }

    #[test]
    fn commits_that_skip_a_synchronous_standby_are_not_durable() {
        let mut inspection = inspection();
        inspection.server.standby_names = "b".to_owned();
        inspection.server.standbys = 1;
        assert_eq!(not_fine(&inspection, &settings()), []);
        let mut settings = settings();
        settings.postgres.synchronous_commit = SynchronousCommit::Local;
        assert_eq!(not_fine(&inspection, &settings), [("commits".to_owned(), Status::Broken)]);
    }

    #[test]
    fn connection_in_the_clear_is_a_warning_only_over_a_network() {
        let mut settings = settings();
        settings.postgres.url = "postgres://u:p@db.example/d".to_owned().into();
        assert_eq!(not_fine(&inspection(), &settings), [("TLS to the database".to_owned(), Status::Warning)]);
    }
}
