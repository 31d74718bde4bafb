//! What operators and database errors do leaves no personal data and no secret behind either: not in logs, traces, metrics,
//! messages of commands, AMQP headers, and the database's own log.

use contact_relay::dev::demo_receiver::DemoReceiver;
use macro_rules_attribute::apply;
use serde_json::json;

use super::{MARKERS, event, everything, leaked, process_list, set_up};
use crate::support::{
    app::TestApp,
    event::Event,
    eventually,
    http::{Answer, Ask},
    process::Process,
    test,
};

/// Errors of the API and the console name no value that they refuse.
async fn ask(process: &Process) {
    let search = |body| Ask::post("/api/v1/contacts/search", &body).token("token-marker");
    let contacts = json!({"company": "acme", "phone": "987651234", "email": "zb@heart-of-gold.example"});
    let odd = Ask::post("/api/v1/contacts/search", &json!({"company": "acme", "Zaphod": 1}));
    let torn = Ask::new("POST", "/api/v1/contacts/search").header("content-type", "application/json");
    let asks = [
        search(contacts),
        search(json!({"company": "acme", "phone": "Zaphod 987651234"})),
        odd.token("token-marker"),
        torn.body("{\"phone\": \"987651234").token("token-marker"),
        Ask::get("/api/v1/me").token("Bearer-marker"),
        Ask::get("/api/v1/dead-letters?reason=header-marker").token("token-marker"),
        Ask::get("/contacts?phone=987651234").header("cookie", "session=token-marker"),
        Ask::form("/sign-in", &[("token", "Bearer-marker"), ("next", "/path-marker")]),
        Ask::get("/sign-in/once/token-marker"),
    ];
    for one in asks {
        let _: Answer = process.ask(one).await;
    }
}

/// Replays, edits, resends, discards and erases, and does what is refused.
async fn operate(app: &TestApp) {
    app.wait_for_dead_letters_because("identifier_invalid", 1).await;
    let dead = app.dead_letters().await;
    let unusable = dead.iter().find(|dead| dead.reason == "identifier_invalid").unwrap();
    let id = unusable.id.to_string();
    let edit = ["dead-letter", "edit", &id, "--body", "-", "--operator", "ada"];
    let still_wrong = event(app).phone("Zaphod").without("/data/arguments/email").bytes();
    let mut ended = vec![
        app.cli_with_input(&edit, &still_wrong).await,
        app.cli_with_input(&edit, b"{\"Zaphod\": ").await,
        app.cli_with_input(&edit, &event(app).bytes()).await,
        app.cli_with_input(&["trigger", "check", "-"], b"{\"name\": \"Zaphod 987651234").await,
        app.cli_with_input(&["dead-letter", "import", "-"], b"Zaphod 31415926535").await,
    ];
    for arguments in [
        ["dead-letter", "replay", "--all", "--yes", "--operator", "ada"].as_slice(),
        &["dead-letter", "groups"],
        &["delivery", "resend", "--state", "dead", "--yes", "--operator", "ada"],
        &["delivery", "list"],
        &["endpoint", "list"],
        &["operation", "list"],
        &["audit", "list"],
        &["dead-letter", "discard", "--all", "--yes", "--operator", "ada"],
        &["verify"],
        &["doctor"],
    ] {
        ended.push(app.cli(arguments).await);
    }
    for one in &ended {
        assert_eq!(leaked(&one.stderr), [""; 0], "{}", one.stderr);
    }
    for one in &ended[5..] {
        let shown: Vec<_> =
            leaked(&one.stdout).into_iter().filter(|marker| *marker != "path-marker").collect();
        assert_eq!(shown, [""; 0], "{}", one.stdout);
    }
}

/// Makes the database refuse what worker 1 writes, in words of its own.
async fn refuse(app: &TestApp) {
    let refusing = "ALTER TABLE contacts ADD CONSTRAINT no_marvin CHECK (name <> 'Marvin') NOT VALID";
    sqlx::query(refusing).execute(&app.pool).await.unwrap();
    app.broker.publish(&Event::lead("Marvin").email("marvin@paranoid.example")).await;
    app.wait_for_dead_letters_because("event_invalid", 1).await;
}

/// A command that cannot reach its services.
async fn fail_to_connect(app: &TestApp) {
    let (postgres, amqp) = (app.setting("postgres.url"), app.setting("amqp.url"));
    app.set("postgres.url", "postgres://zb:password-marker@127.0.0.1:1/none?options=token-marker");
    app.set("amqp.url", "amqp://zb:password-marker@127.0.0.1:1/%2f");
    for arguments in
        [["contact", "find", "--company", "acme", "--phone", "-"].as_slice(), &["publish", "-"], &["doctor"]]
    {
        let ended = app.cli_with_input(arguments, b"+5511987651234\n").await;
        assert_eq!(leaked(&(ended.stdout + &ended.stderr)), [""; 0], "{arguments:?}");
        assert_ne!(ended.code, Some(0));
    }
    app.set("postgres.url", &postgres);
    app.set("amqp.url", &amqp);
}

async fn erase(app: &TestApp) {
    let find = ["contact", "find", "--company", "acme", "--phone", "-", "-o", "json"];
    let found = app.cli_with_input(&find, b"+5511987651234\n").await;
    let found: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
    let id = found.pointer("/0/id").or_else(|| found.pointer("/id")).unwrap().as_str().unwrap();
    let erase = ["contact", "erase", "--company", "acme", id, "--yes", "--operator", "ada"];
    let erased = app.cli(&erase).await;
    assert_eq!((erased.code, leaked(&(erased.stdout + &erased.stderr))), (Some(0), vec![]));
    // It comes again, and is not kept.
    app.broker.publish(&event(app).id("late").time("2020-01-01T00:00:00Z").phone("987651234 at night")).await;
}

#[apply(test)]
async fn nothing_that_operators_do_leaks(app: &TestApp) {
    let collector = DemoReceiver::start().await.unwrap();
    set_up(app, "json");
    app.set("telemetry.otlp_endpoint", &collector.url(""));
    app.set("telemetry.otlp_headers", "authorization=Bearer-marker");
    let process = app.run(&[]).await;
    everything(app).await;
    ask(&process).await;
    operate(app).await;
    erase(app).await;
    refuse(app).await;
    fail_to_connect(app).await;
    app.queues_are_empty().await;
    let metrics = process.get("/metrics").await.unwrap();
    assert_eq!(leaked(&(metrics + &process_list())), [""; 0]);
    let exported = eventually("spans are exported", async || {
        let bodies: Vec<_> = collector.requests().iter().map(|one| one.body.clone()).collect();
        bodies.iter().any(|body| String::from_utf8_lossy(body).contains("upsert")).then_some(bodies)
    });
    for body in exported.await {
        assert_eq!(leaked(&String::from_utf8_lossy(&body)), [""; 0]);
    }
    for heard in app.broker.heard().await {
        assert_eq!(leaked(&format!("{} {:?}", heard.routing_key, heard.properties)), [""; 0]);
    }
    let log = process.log();
    let bad: Vec<&str> = log.lines().filter(|line| !leaked(line).is_empty()).collect();
    assert!(bad.is_empty(), "{} lines, the first: {}", bad.len(), bad[0]);
    let log = app.postgres_log().await;
    let bad: Vec<&str> =
        log.lines().filter(|line| MARKERS.iter().any(|marker| line.contains(marker))).collect();
    assert!(bad.is_empty(), "Postgres logged {} lines, the first: {}", bad.len(), bad[0]);
    assert!(
        !process.log().contains("Marvin") && !process.log().contains("paranoid"),
        "the words of the database"
    );
}
