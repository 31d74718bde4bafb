//! Exit codes: 0 done, 1 failed, 2 usage, 69 unreachable, 78 invalid configuration. The tests of each command cover
//! 3, partly done.

use std::fs;

use macro_rules_attribute::apply;
use tempfile::NamedTempFile;

use super::assert_failed;
use crate::support::{app::TestApp, test};

const ID: &str = "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11";

#[apply(test)]
async fn invalid_arguments_exit_with_2(app: &TestApp) {
    for line in [
        "",
        "serve",
        "run --role everything",
        "run extra",
        "publish",
        "tail -n many",
        "tail -o xml",
        "trigger",
        "trigger check",
        "trigger preview x.json",
        "contact find --company acme",
        "contact find --email ada@analytical.example",
        "contact find --company acme --email nonsense",
        "contact find --company acme --phone 12",
        "contact show --company acme nonsense",
        "contact history ID",
        "dead-letter list --state gone",
        "dead-letter list --since yesterday",
        "config",
        "config show -o xml",
        "migrate --force",
        "--config",
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        assert_failed(&app.cli(&arguments).await, 2, "");
    }
    assert_failed(&app.cli(&["tail", "-n", "1", "--key", &"k".repeat(256)]).await, 2, "at most 255 bytes");
    // The command line is valid, only the file is not there.
    assert_failed(&app.cli(&["publish", "/nowhere/events.ndjson"]).await, 1, "/nowhere/events.ndjson");
    for line in ["--help", "--version", "run --help", "dead-letter replay --help"] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let ended = app.cli(&arguments).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}");
        assert!(ended.stdout.contains("contact-relay"), "{line}: {}", ended.stdout);
    }
}

#[apply(test)]
async fn unreachable_broker_exits_with_69(app: &TestApp) {
    let bad = crate::support::event::Event::lead("Ada").phone("12");
    app.run(&[]).await;
    app.broker.publish(&bad).await;
    app.wait_for_dead_letter().await;
    app.set("amqp.url", "amqp://guest:hunter2@127.0.0.1:1/%2f");
    let replay = ["dead-letter", "replay", "--all", "--yes"];
    for arguments in [["publish", "-"].as_slice(), &["tail"], &replay] {
        let error = "error: could not reach RabbitMQ at 127.0.0.1:1: Connection refused (os error 111); check amqp.url\n";
        let ended = app.cli(arguments).await;
        assert_failed(&ended, 69, "");
        assert_eq!(ended.stderr, error);
    }
    app.the_dead_letter("left as it was", |dead| dead.state == "open" && dead.replays == 0).await;
}

#[apply(test)]
async fn unreachable_database_exits_with_69(app: &TestApp) {
    let url = app.setting("postgres.url");
    let gone = url.replace("crt_", "gone_");
    let (server, database) = gone.rsplit_once('@').unwrap().1.split_once('/').unwrap();
    let cause = format!("database \"{database}\" does not exist");
    let unknown = format!("could not reach Postgres at {server}: {cause}; check postgres.url");
    let refused =
        "could not reach Postgres at 127.0.0.1:1: Connection refused (os error 111); check postgres.url";
    for (url, error) in [("postgres://u:hunter2@127.0.0.1:1/x", refused), (&gone, &unknown)] {
        app.set("postgres.url", url);
        for arguments in [
            ["migrate"].as_slice(),
            &["migrate", "--check"],
            &["contact", "find", "--company", "acme", "--email", "ada@analytical.example"],
            &["contact", "show", "--company", "acme", ID],
            &["contact", "history", "--company", "acme", ID],
            &["verify"],
            &["dead-letter", "list"],
            &["dead-letter", "show", ID],
            &["dead-letter", "replay", "--all", "--yes"],
            &["dead-letter", "discard", "--all", "--yes", "--operator", "grace"],
        ] {
            let ended = app.cli(arguments).await;
            assert_failed(&ended, 69, "");
            assert_eq!(ended.stderr, format!("error: {error}\n"));
        }
    }
}

#[apply(test)]
async fn invalid_configuration_exits_with_78(app: &TestApp) {
    app.set("amqp.heartbeat", "soon");
    for line in [
        "run",
        "run --role console",
        "migrate",
        "publish -",
        "tail",
        "trigger preview - --arguments {}",
        "contact find --company acme --email a@b.example",
        "dead-letter list",
        "config check",
        "config show",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        assert_failed(&app.cli(&arguments).await, 78, "amqp.heartbeat");
    }
    assert_failed(&app.cli(&["config", "check", "--config", "/nowhere.toml"]).await, 78, "/nowhere.toml");
    let example = app.cli(&["config", "example"]).await;
    assert_eq!((example.code, example.stderr.as_str()), (Some(0), ""));
    let file = NamedTempFile::new().unwrap();
    fs::write(&file, &example.stdout).unwrap();
    app.set("amqp.heartbeat", "5s");
    let path = file.path().to_str().unwrap();
    assert_eq!(app.cli(&["--config", path, "config", "check"]).await.code, Some(0));
}

#[apply(test)]
async fn completions_need_no_settings(app: &TestApp) {
    app.set("amqp.heartbeat", "soon");
    for shell in ["bash", "zsh", "fish"] {
        let ended = app.cli(&["completions", shell]).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ended.stdout.contains("dead-letter") && ended.stdout.contains("doctor"), "{shell}");
    }
    assert_eq!(app.cli(&["completions", "cmd"]).await.code, Some(2));
}

#[apply(test)]
async fn config_check_reports_all_faults_at_once(app: &TestApp) {
    assert_eq!(app.cli(&["config", "check"]).await.stdout, "the settings are fine\n");
    let file = NamedTempFile::new().unwrap();
    let text = "[amqp]\nurl = \"http://u:file-secret@h/\"\nnonsense = 1\n[mail]\nto = \"x\"\n[upsert]\nconsumers = 0\n\
                [webhook]\nsigning_secrets = [\"file-secret\"]\n";
    fs::write(&file, text).unwrap();
    app.set("amqp.url", "guest:hunter2");
    app.set("postgres.url", "mysql://u:hunter2@h/d");
    app.set("contacts.default_region", "XX");
    app.set("contacts.on_conflict", "perhaps");
    app.set("webhook.retry_schedule", "5s,soon");
    app.set("webhook.allowed_networks", "10.0.0.0/40");
    app.set("webhook.retry_jitter", "2");
    app.set("http.bind", "everywhere");
    app.set("http.tokens", "ci:root:hunter2");
    app.set("log.format", "xml");
    app.set("log.filter", "a=b=c");
    app.set("amqp.urls", "x");
    app.set("nonsense", "x");
    app.set(
        "webhook.endpoints",
        r#"[{url = "https://a.example"}, {url = "https://b.example", ca_file = "/nowhere/ca.pem",
             client_certificate_file = "/nowhere/client.pem", client_key_file = "/dev/null"}]"#,
    );
    let ended = app.cli(&["--config", file.path().to_str().unwrap(), "config", "check"]).await;
    for says in [
        "amqp.url (",
        "amqp.nonsense",
        "mail",
        "upsert.consumers",
        "webhook.signing_secrets",
        "postgres.url",
        "contacts.default_region",
        "contacts.on_conflict",
        "webhook.retry_schedule",
        "webhook.allowed_networks",
        "webhook.retry_jitter",
        "http.bind",
        "http.tokens",
        "log.format",
        "log.filter",
        "CONTACT_RELAY__AMQP__URLS",
        "CONTACT_RELAY__NONSENSE",
        "entry 2: could not read /nowhere/ca.pem: I/O error: No such file",
        "entry 2: could not read /nowhere/client.pem: I/O error: No such file",
        "entry 2: /dev/null contains no private key",
        file.path().to_str().unwrap(),
    ] {
        assert_failed(&ended, 78, says);
    }
    assert!(!["hunter2", "file-secret"].iter().any(|s| ended.stderr.contains(s)), "{}", ended.stderr);
}

#[apply(test)]
async fn settings_that_run_would_refuse_are_refused_by_config_check(app: &TestApp) {
    let vhost = format!("amqp://127.0.0.1:1/{}", "v".repeat(256));
    let file = r#"[{url = "https://b.example", ca_file = "/nowhere/ca.pem"}]"#;
    let (broker, database) = (app.setting("amqp.url"), app.setting("postgres.url"));
    for (key, value, fine, says) in [
        ("amqp.url", vhost.as_str(), broker.as_str(), "at most 255 bytes"),
        ("postgres.url", "postgres://127.0.0.1:1/d?sslmode=hunter2", &database, "parameter sslmode"),
        ("webhook.endpoints", file, "", "/nowhere/ca.pem"),
    ] {
        app.set(key, value);
        assert_failed(&app.cli(&["config", "check"]).await, 78, says);
        let run = app.spawn(&["run"]);
        assert_eq!(run.ended().await.code(), Some(78), "{}", run.log());
        assert!(run.log().contains(says), "{}", run.log());
        app.set(key, fine);
    }
}

#[apply(test)]
async fn config_show_hides_secrets(app: &TestApp) {
    app.set("http.tokens", "ci:operator:hunter2,ops:admin:hunter3");
    app.set("webhook.signing_secrets", "whsec_c2lnbmluZy1tYXJrZXItc2lnbmluZy1tYXJrZXI=");
    for format in ["table", "json", "ndjson"] {
        let ended = app.cli(&["config", "show", "-o", format]).await;
        let secret = ["hunter", "c2lnbm", "guest:guest"].iter().find(|s| ended.stdout.contains(**s));
        assert_eq!((ended.code, secret, ended.stderr.as_str()), (Some(0), None, ""));
    }
    let rows = app.json(&["config", "show"]).await;
    let row = |key: &str| rows.as_array().unwrap().iter().find(|row| row["key"] == key).unwrap().clone();
    assert_eq!(row("contacts.default_region")["origin"], "default");
    let origin = row("webhook.allow_http")["origin"].as_str().unwrap().to_owned();
    assert!(origin.contains("CONTACT_RELAY__WEBHOOK__ALLOW_HTTP"), "{origin}");
}

#[apply(test)]
async fn settings_are_read_from_files(app: &TestApp) {
    let file = NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    fs::write(&file, "DE\n").unwrap();
    app.set("contacts.default_region_file", path);
    let rows = app.json(&["config", "show"]).await;
    assert!(rows.as_array().unwrap().iter().any(|row| row["value"] == "\"DE\""), "{rows}");
    app.set("contacts.default_region", "BR");
    assert_failed(&app.cli(&["config", "check"]).await, 78, "both with and without _FILE");
    app.set("log.filter_file", "/nowhere");
    assert_failed(&app.cli(&["run"]).await, 78, "/nowhere");
}

#[apply(test)]
async fn migrate_applies_and_checks_the_schema(app: &TestApp) {
    sqlx::query("CREATE SCHEMA fresh").execute(&app.pool).await.unwrap();
    let url = app.setting("postgres.url");
    app.set("postgres.url", &format!("{url}?options[search_path]=fresh"));
    let behind = app.cli(&["migrate", "--check"]).await;
    assert!(
        behind.code == Some(1) && behind.stdout.contains("pending"),
        "{}{}",
        behind.stdout,
        behind.stderr
    );
    assert_failed(&app.cli(&["dead-letter", "list"]).await, 1, "");
    let first = app.cli(&["migrate"]).await;
    assert!(first.code == Some(0) && first.stdout.contains("applying"), "{}{}", first.stdout, first.stderr);
    for arguments in [["migrate"].as_slice(), &["migrate", "--check"]] {
        let again = app.cli(arguments).await;
        assert_eq!((again.code, again.stdout.as_str()), (Some(0), "the schema is up to date\n"));
    }
    assert_eq!(app.cli(&["dead-letter", "list", "-o", "json"]).await.stdout, "[]\n");
    app.set("postgres.url", &url);
}

#[apply(test)]
async fn run_refuses_a_different_topology(app: &TestApp) {
    app.broker.declare_otherwise("trigger-fired").await;
    let service = app.spawn(&["run"]);
    let status = service.ended().await;
    assert_eq!(status.code(), Some(1));
    let log = service.log();
    let error = log.lines().find(|line| line.starts_with("error: ")).expect("an error");
    for part in [".trigger-fired`", "inequivalent arg 'x-", "but current is none", "amqp.namespace"] {
        assert_eq!(error.matches(part).count(), 1, "{part}: {error}");
    }
}

#[apply(test)]
async fn log_is_json_where_nobody_watches(app: &TestApp) {
    app.set("log.format", "auto");
    let process = app.run(&["upsert"]).await;
    process.sigterm();
    assert!(process.ended().await.success());
    let log = process.log();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["message"].is_string()), "{log}");
    assert!(!lines.is_empty());
}
