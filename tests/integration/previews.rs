//! `trigger preview` and worker 1 agree.

use contact_relay::{domain::webhook::delivery::Delivery, postgres::effects::Part as _};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::support::{app::TestApp, dice::Dice, event::Event, test};

const CHAINS: usize = 100;
/// Large enough that four requests with it exceed the 2 MiB of one event.
const LONG: usize = 600_000;

/// Everything that an event did, as far as a preview can know it.
#[derive(Debug, PartialEq)]
struct Effects {
    /// Reason of the dead letter, and the end of its message from the rule on.
    dead_letter: Option<String>,
    /// The values of each CRM step.
    upserts: Vec<Value>,
    /// Step, method, URL, headers and body of each request, or the fault.
    webhooks: Vec<Value>,
}

#[apply(test)]
async fn preview_and_worker_agree_on_a_hundred_chains(app: &TestApp) {
    // A conflict can then arise within one event.
    app.set("CONTACTS__ON_CONFLICT", "reject");
    app.run(&["upsert"]).await;
    let mut dice = Dice(8);
    let events: Vec<Event> = (0..CHAINS).map(|number| chain(&mut dice, number)).collect();
    app.broker.publish_all(&events).await;
    let settled = "SELECT count(DISTINCT company_id) FROM
        (SELECT company_id FROM applied_events UNION ALL SELECT company_id FROM dead_letters) all_of_them";
    app.count_becomes(settled, i64::try_from(CHAINS).unwrap()).await;
    let mut kinds = [0; 4];
    for (number, event) in events.iter().enumerate() {
        let company = format!("company-{number}");
        let previewed = previewed(app, event).await;
        assert_eq!(previewed, applied(app, &company).await, "{company}: {event:?}");
        let faults = |text: &str| previewed.webhooks.iter().any(|one| one.to_string().contains(text));
        kinds[0] +=
            usize::from(previewed.dead_letter.as_deref().is_some_and(|text| text.contains("conflict")));
        kinds[1] += usize::from(faults("unknown variable"));
        kinds[2] += usize::from(faults("larger than"));
        kinds[3] += usize::from(previewed.upserts.len() > 1);
    }
    assert!(
        kinds.iter().all(|count| *count >= 5),
        "conflicts, faults, too large, several upserts: {kinds:?}"
    );
    app.broker.purge("webhook").await;
}

/// A chain of its own company, with one to five steps.
fn chain(dice: &mut Dice, number: usize) -> Event {
    let phone = format!("+55 11 9{:04}-{:04}", 1000 + number, 4321);
    let city = "x".repeat(if number.is_multiple_of(8) { LONG } else { 10 });
    let mut event = Event::bare()
        .company(&format!("company-{number}"))
        .phone(&phone)
        .email(&format!("Lead{number}@Analytical.example"))
        .argument("name", format!("Ada \"{number}\" <&>"))
        .argument("city", city)
        .with("/data/clientData", json!({"plan": {"b": number, "a": [null, true]}}));
    let upsert = |fields: &[&str]| {
        let mut action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT"});
        for field in fields {
            action[*field] = (*field).into();
        }
        action
    };
    if number % 9 == 1 {
        // The third step links the contacts of the first two.
        event =
            event.action(upsert(&["phone"])).action(upsert(&["email"])).action(upsert(&["phone", "email"]));
    }
    if number % 7 == 2 {
        event = event.action(upsert(&["phone", "email"])).action(upsert(&["name", "phone"]));
    }
    if number.is_multiple_of(8) {
        let action = json!({"type": "WEBHOOK", "url": "https://hooks.example/", "body": ["$city"]});
        return (0..4).fold(event, |event, _| event.action(action.clone()));
    }
    for step in 0..=dice.roll(4) {
        event = match if step == 0 { 2 } else { dice.roll(3) } {
            0 => event.action(upsert(&["name", "phone", "email", "city"][..=dice.roll(4)])),
            1 => event.next(&webhook(dice, number)),
            _ => event.action(webhook(dice, number)),
        };
    }
    event.max_interactions(u32::try_from(2 + dice.roll(5)).unwrap())
}

fn webhook(dice: &mut Dice, number: usize) -> Value {
    let header = ["$phone", "Bearer 1", "$nobody"][number % 3];
    let method = ["POST", "PUT", "PATCH"][dice.roll(3)];
    let bodies = [
        json!({"text": "$name at $contact.email, $plan", "name": "$name", "plan": "$plan"}),
        json!("name=$name&city=$city"),
        json!(["$city", "$images", "$unknown"]),
        json!("plain $name"),
    ];
    let body = &bodies[dice.roll(4)];
    json!({
        "type": "WEBHOOK", "url": "https://hooks.example/$email?of=$company.id",
        "method": method, "headers": [{"key": "X-Of", "value": header}], "body": body
    })
}

async fn previewed(app: &TestApp, event: &Event) -> Effects {
    let arguments = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&arguments, event.value("/data/arguments").to_string()).unwrap();
    let arguments = format!("@{}", arguments.path().display());
    let command = ["trigger", "preview", "-", "--arguments", &arguments, "-o", "json"];
    let ended = app.cli_with_input(&command, &event.bytes()).await;
    let mut effects = Effects { dead_letter: None, upserts: Vec::new(), webhooks: Vec::new() };
    let Ok(shown) = serde_json::from_str::<Value>(&ended.stdout) else {
        effects.dead_letter = Some(after_reason(&ended.stderr));
        return effects;
    };
    for step in shown["steps"].as_array().unwrap() {
        let error = step["error"].as_str();
        if let Some(conflict) = error.and_then(|error| error.strip_prefix("dead letter contact_conflict: ")) {
            effects.dead_letter = Some(format!("contact_conflict: {conflict}"));
        } else if let Some(fault) =
            error.and_then(|error| error.strip_prefix("dead letter webhook_invalid: "))
        {
            effects.webhooks.push(json!([step["index"], fault]));
        } else if step["type"] == "CRM" {
            effects.upserts.push(step["fields"].clone());
        } else if step.get("method").is_some() {
            let headers = step["headers"].as_array().unwrap().iter().filter(|header| !is_own(header));
            let headers: Vec<&Value> = headers.collect();
            effects.webhooks.push(json!([step["index"], step["method"], step["url"], headers, step["body"]]));
        }
    }
    if effects.dead_letter.is_some() {
        (effects.upserts, effects.webhooks) = Default::default();
    }
    effects
}

/// A header that each attempt adds.
fn is_own(header: &Value) -> bool {
    let name = header[0].as_str().unwrap();
    name.starts_with("webhook-") || ["user-agent", "traceparent"].contains(&name)
}

/// `reason: message` of `error: dead letter reason: message`.
fn after_reason(stderr: &str) -> String {
    stderr.split_once("dead letter ").map_or(stderr, |(_, rest)| rest).trim().to_owned()
}

async fn applied(app: &TestApp, company: &str) -> Effects {
    let dead = sqlx::query("SELECT reason, message FROM dead_letters WHERE company_id = $1")
        .bind(company)
        .fetch_optional(&app.pool)
        .await
        .unwrap();
    let dead_letter = dead.map(|row| {
        let (reason, message): (String, String) = (row.get("reason"), row.get("message"));
        // A refusal names the step before the rule and the contacts after it.
        let rule = message.split_once(": ").filter(|_| reason == "contact_conflict").map(|(_, rule)| rule);
        let rule = rule.map(|rule| rule.split_once(" (").map_or(rule, |(rule, _)| rule));
        format!("{reason}: {}", rule.unwrap_or(&message))
    });
    let upserts =
        sqlx::query_scalar("SELECT fields::jsonb FROM trigger_events WHERE company_id = $1 ORDER BY step");
    let upserts = upserts.bind(company).fetch_all(&app.pool).await.unwrap();
    let rows = sqlx::query(
        "SELECT step::integer, method, url, headers, body, fault FROM webhook_deliveries
         WHERE company_id = $1 ORDER BY step",
    );
    let rows = rows.bind(company).fetch_all(&app.pool).await.unwrap();
    let mut webhooks: Vec<Value> = unsent(app, company).await;
    webhooks.extend(rows.into_iter().map(|row| {
        let step: i32 = row.get("step");
        match row.get::<Option<String>, _>("fault") {
            Some(fault) => json!([step, fault]),
            None => json!([
                step,
                row.get::<String, _>("method"),
                row.get::<String, _>("url"),
                serde_json::from_str::<Value>(row.get("headers")).unwrap(),
                String::from_utf8(row.get("body")).unwrap(),
            ]),
        }
    }));
    webhooks.sort_by_key(|webhook| webhook[0].as_i64());
    Effects { dead_letter, upserts, webhooks }
}

/// The webhooks that a process would send at once, and that have no row before.
async fn unsent(app: &TestApp, company: &str) -> Vec<Value> {
    let bodies = sqlx::query_scalar("SELECT body FROM effects WHERE kind = 'send' AND company_id = $1");
    let bodies: Vec<Vec<u8>> = bodies.bind(company).fetch_all(&app.pool).await.unwrap();
    let unsent = bodies.iter().flat_map(|body| Delivery::unpack(company, body).unwrap());
    let shown = unsent.map(|Delivery { step, request, .. }| {
        let body = String::from_utf8(request.body.unwrap()).unwrap();
        json!([step, request.method.name(), request.url, request.headers, body])
    });
    shown.collect()
}
