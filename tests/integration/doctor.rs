//! `doctor`: says what a deployment keeps, and what keeps it from that.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _};

use contact_relay::{
    amqp::Topology,
    dev::services::{
        Action::{Alarm, Calm},
        Mode, Options,
        Service::Rabbitmq,
        Services,
    },
};
use lapin::{Connection, ConnectionProperties, types::FieldTable};
use macro_rules_attribute::apply;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::{alone, app::TestApp, proxy::Proxy, test};

struct Diagnosis {
    code: Option<i32>,
    /// The verdicts, by promise.
    verdicts: Vec<String>,
    findings: BTreeMap<String, Value>,
}

impl Diagnosis {
    fn status(&self, name: &str) -> &str {
        let finding = self.findings.get(name).unwrap_or_else(|| panic!("{name}: {:?}", self.findings));
        finding["status"].as_str().unwrap()
    }

    fn text(&self, name: &str) -> String {
        self.findings[name].to_string()
    }

    fn with_status(&self, status: &str) -> Vec<&str> {
        let found = self.findings.iter().filter(|(_, finding)| finding["status"] == status);
        found.map(|(name, _)| name.as_str()).collect()
    }
}

async fn doctor(app: &TestApp) -> Diagnosis {
    let ended = app.cli(&["doctor", "-o", "json"]).await;
    let mut shown: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
    let promises = shown["promises"].as_array().unwrap();
    assert_eq!(
        promises.iter().map(|one| one["promise"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8]
    );
    let verdicts = promises.iter().map(|one| one["verdict"].as_str().unwrap().to_owned()).collect();
    let Value::Array(findings) = shown["findings"].take() else { panic!("{shown}") };
    let named = |finding: Value| (finding["name"].as_str().unwrap().to_owned(), finding);
    Diagnosis { code: ended.code, verdicts, findings: findings.into_iter().map(named).collect() }
}

fn queue(app: &TestApp, name: &str) -> String {
    format!("queue {}.{name}", app.setting("amqp.namespace"))
}

/// On services with the settings of production: those that the tests share trade safety for speed.
#[apply(test)]
async fn sound_deployment_keeps_every_promise(app: &TestApp) {
    app.broker.declare().await;
    let options =
        Options { mode: Mode::Kept, ..Options::disposable(env!("CARGO_BIN_EXE_contact-relay").into()) };
    let state = options.state.clone();
    let services = Services::start(options).await.unwrap();
    let shared = ["amqp.url", "postgres.url"].map(|key| (key, app.setting(key)));
    app.set("amqp.url", services.amqp_url());
    app.set("postgres.url", services.postgres_url());
    assert_eq!(app.cli(&["migrate"]).await.code, Some(0));
    app.set("webhook.signing_secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    app.run(&[]).await;
    let found = doctor(app).await;
    assert_eq!(found.code, Some(0), "{:?}", found.findings);
    assert_eq!(found.verdicts, ["kept"; 8], "{:?}", found.findings);
    assert_eq!(found.with_status("broken"), [""; 0]);
    assert_eq!(found.with_status("unknown"), [""; 0]);
    // What a client of the broker cannot see is not called fine.
    assert_eq!(
        found.with_status("invisible"),
        ["bindings", "limits of memory and disk", "policies", "queue replicas"]
    );
    assert!(
        found.text("database version").contains("PostgreSQL")
            && found.text("clock").contains("differ by 0 s")
    );
    let lines = app.cli(&["doctor", "-o", "ndjson"]).await;
    assert_eq!(lines.stdout.lines().count(), 8 + found.findings.len());
    let table = app.cli(&["doctor"]).await;
    assert!(table.stdout.contains("RabbitMQ 3.") || table.stdout.contains("RabbitMQ 4."), "{table:?}");
    assert!(!table.stdout.contains("whsec_"), "{table:?}");
    app.stop().await;
    services.stop().await.unwrap();
    fs::remove_dir_all(state).unwrap();
    for (key, url) in shared {
        app.set(key, &url);
    }
}

#[apply(test)]
async fn server_that_does_not_wait_for_the_disk_is_found(app: &TestApp) {
    if !app.is_private() {
        return;
    }
    let found = doctor(app).await;
    assert_eq!(found.code, Some(1));
    assert_eq!(found.with_status("broken").len(), 6, "four objects are missing: {:?}", found.findings);
    for name in ["fsync", "full_page_writes"] {
        assert_eq!(found.status(name), "broken");
        assert!(found.text(name).contains(&format!("ALTER SYSTEM SET {name} = on")), "{}", found.text(name));
    }
    let broken = |promise: usize| found.verdicts[promise - 1] == "broken";
    assert!((1..=4).all(broken) && !broken(6) && !broken(7) && !broken(8), "{:?}", found.verdicts);
    // Nothing was declared.
    assert_eq!(doctor(app).await.status(&queue(app, "webhook")), "broken");
}

#[apply(test)]
async fn queue_with_other_arguments_is_found(app: &TestApp) {
    app.broker.declare_otherwise("webhook").await;
    let found = doctor(app).await;
    let queue = queue(app, "webhook");
    assert_eq!((found.code, found.status(&queue)), (Some(1), "broken"));
    let text = found.text(&queue);
    assert!(text.contains("inequivalent arg") && !text.contains("delete "), "{text}");
    app.broker.delete("webhook").await;
}

/// A client cannot see bindings, so doctor must not say that they are fine.
#[apply(test)]
async fn missing_binding_is_unknown_until_a_process_declares_it(app: &TestApp) {
    app.broker.declare().await;
    let connection =
        Connection::connect(&app.setting("amqp.url"), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let topology = Topology::new(&app.setting("amqp.namespace"));
    let (queue, exchange) = (topology.trigger_fired(), topology.events());
    channel
        .queue_unbind(
            queue.as_str().into(),
            exchange.as_str().into(),
            "trigger.fired.#".into(),
            FieldTable::default(),
        )
        .await
        .unwrap();
    let found = doctor(app).await;
    assert_eq!(found.status("bindings"), "unknown");
    assert!(found.text("bindings").contains("rabbitmqctl list_bindings"));
    assert_eq!(found.status(&format!("consumers of {queue}")), "warning");
    app.run(&[]).await;
    assert_eq!(doctor(app).await.status("bindings"), "invisible");
}

#[apply(test)]
async fn schema_and_rights_are_found(app: &TestApp) {
    let last = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', true, '', 0)";
    let is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
    let is_superuser: bool = sqlx::query_scalar(is_superuser).fetch_one(&app.pool).await.unwrap();
    for (change, undo, name, status, says) in [
        (
            "ALTER TABLE _sqlx_migrations RENAME TO kept",
            "ALTER TABLE kept RENAME TO _sqlx_migrations",
            "schema",
            "broken",
            "contact-relay migrate",
        ),
        (newer, last, "schema", "warning", "newer"),
        (
            "REVOKE SELECT ON _sqlx_migrations FROM CURRENT_USER",
            "GRANT SELECT ON _sqlx_migrations TO CURRENT_USER",
            "schema",
            "broken",
            "cannot be read",
        ),
        (
            "REVOKE INSERT, DELETE ON contacts FROM CURRENT_USER",
            "GRANT ALL ON contacts TO CURRENT_USER",
            "rights",
            "broken",
            "INSERT, DELETE on contacts",
        ),
    ] {
        if is_superuser && change.starts_with("REVOKE") {
            // Rights do not concern them.
            continue;
        }
        app.pool.execute(change).await.unwrap();
        let found = doctor(app).await;
        assert_eq!(found.status(name), status, "{change}");
        assert!(found.text(name).contains(says), "{change}: {}", found.text(name));
        app.pool.execute(undo).await.unwrap();
        assert_eq!(doctor(app).await.status(name), "fine", "{undo}");
    }
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&app.pool).await.unwrap();
    let read_only = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
    app.pool.execute(AssertSqlSafe(read_only)).await.unwrap();
    let found = doctor(app).await;
    assert_eq!((found.status("writable"), found.verdicts[0].as_str()), ("broken", "broken"));
}

#[apply(test)]
async fn unreachable_service_hides_only_what_it_has(app: &TestApp) {
    for (key, url, area, other) in [
        ("amqp.url", "amqp://guest:hunter2@127.0.0.1:1/%2f", "broker reachable", "rights"),
        ("postgres.url", "postgres://u:hunter2@127.0.0.1:1/d", "database reachable", "publishing"),
    ] {
        let reachable = app.setting(key);
        app.set(key, url);
        let found = doctor(app).await;
        assert_eq!((found.code, found.status(area), found.status(other)), (Some(69), "unknown", "fine"));
        assert!(found.text(area).contains("127.0.0.1:1") && !found.text(area).contains("hunter2"));
        assert_eq!((found.verdicts[5].as_str(), found.verdicts[6].as_str()), ("kept", "unknown"));
        app.set(key, &reachable);
    }
    app.set("amqp.heartbeat", "soon");
    let ended = app.cli(&["doctor"]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(78), ""), "{ended:?}");
}

/// A pooler that drops what sessions ask for.
#[apply(test)]
async fn session_without_its_settings_is_found(app: &TestApp) {
    let url = app.setting("postgres.url");
    let pooler = Proxy::without_options(&url).await;
    app.set("postgres.url", pooler.url());
    let found = doctor(app).await;
    assert_eq!((found.status("session"), found.status("schema")), ("broken", "fine"));
    assert!(found.text("session").contains("statement_timeout"), "{}", found.text("session"));
    app.set("postgres.url", &url);
}

#[apply(alone)]
async fn alarm_of_the_broker_is_found(app: &TestApp) {
    app.broker.declare().await;
    app.set("amqp.publish_timeout", "2s");
    app.control(Alarm, Rabbitmq).await;
    let found = doctor(app).await;
    app.control(Calm, Rabbitmq).await;
    assert_eq!((found.status("publishing"), found.verdicts[2].as_str()), ("broken", "broken"));
    assert!(found.text("publishing").contains("rabbitmq-diagnostics alarms"));
    app.set("amqp.publish_timeout", "1m");
    assert_eq!(doctor(app).await.status("publishing"), "fine");
}

#[apply(test)]
async fn secret_that_everybody_can_read_is_a_warning(app: &TestApp) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, app.setting("amqp.url")).unwrap();
    let set_mode = |mode| fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
    let configuration = tempfile::NamedTempFile::new().unwrap();
    fs::write(&configuration, format!("[amqp]\nurl = \"{}\"\n", app.setting("amqp.url"))).unwrap();
    let path = configuration.path().to_str().unwrap();
    let check = ["--config", path, "config", "check"];
    assert_eq!(app.cli(&check).await.stderr, "");
    fs::set_permissions(configuration.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = app.cli(&check).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "the settings are fine\n"));
    assert!(ended.stderr.contains("warning: amqp.url") && ended.stderr.contains("chmod o-r"), "{ended:?}");
    app.set("http.tokens_file", file.path().to_str().unwrap());
    fs::write(&file, "ci:viewer:hunter2").unwrap();
    set_mode(0o644);
    let found = doctor(app).await;
    assert_eq!(found.status("secret files"), "warning");
    assert!(!found.text("secret files").contains("hunter2"));
    let process = app.run(&[]).await;
    assert!(process.log().contains("http.tokens"), "{}", process.log());
    set_mode(0o600);
    assert_eq!(doctor(app).await.status("secret files"), "fine");
}
