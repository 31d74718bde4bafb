//! `--replay`: how fast a replay without a rate is, from the request that plans it to the last event that is applied.
//!
//! The dead letters are real ones: events from the future, which the service refuses with one setting and accepts with another.

use std::time::{Duration, Instant};

use contact_relay::{
    amqp::{Message, Publisher},
    dev::services::Services,
    settings,
};
use lapin::BasicProperties;
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::service::Service;

/// Messages that are published at once.
const WINDOW: u32 = 1_000;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long each step may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// How far in the future the events are.
const AHEAD: time::Duration = time::Duration::hours(3);

/// With these settings the service refuses them.
const REFUSE: [(&str, &str); 1] = [("EVENTS__MAX_CLOCK_SKEW", "1h")];

/// Refuses `count` events, replays all of them, and prints how long that took.
pub(crate) async fn measure(services: &Services, mut service: Service, count: u32) -> anyhow::Result<()> {
    service.migrate().await?;
    service.start(&[], &REFUSE).await?;
    eprintln!("publishing {count} events that are refused");
    publish(services, count).await?;
    wait("dead letters", async || Ok(in_groups(&service).await? == count)).await?;
    service.stop().await?;
    service.start(&[], &[]).await?;

    let began = Instant::now();
    let plan = Some(r#"{"action": "replay", "filter": {}}"#);
    let planned: Operation = service.json("/api/v1/operations", plan).await?;
    let planned_after = began.elapsed();
    anyhow::ensure!(planned.total == count, "{planned:?}");
    let path = format!("/api/v1/operations/{}", planned.id);
    let began = Instant::now();
    let mut running: Operation = service.json(&format!("{path}/run"), Some("{}")).await?;
    wait("the operation", async || {
        running = service.json(&path, None).await?;
        Ok(running.state == "done")
    })
    .await?;
    let done_after = began.elapsed();
    anyhow::ensure!(running.done == count, "{running:?}");
    // The newest are replayed last.
    wait("the events", async || {
        let page: Page<Value> = service.json("/api/v1/dead-letters?limit=1", None).await?;
        Ok(page.items.is_empty())
    })
    .await?;
    let applied_after = began.elapsed();
    service.stop().await?;

    println!("replay of {count} dead letters, no rate\n\n| until | s | dead letters/s |\n|---|---:|---:|");
    for (name, time) in
        [("planned", planned_after), ("all published", done_after), ("all applied", applied_after)]
    {
        println!("| {name} | {:.1} | {:.0} |", time.as_secs_f64(), f64::from(count) / time.as_secs_f64());
    }
    Ok(())
}

#[derive(Debug, Deserialize)]
struct Operation {
    id: String,
    state: String,
    total: u32,
    done: u32,
}

#[derive(Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

#[derive(Deserialize)]
struct Group {
    count: u32,
}

/// How many unsettled dead letters the groups have.
async fn in_groups(service: &Service) -> anyhow::Result<u32> {
    let groups: Page<Group> = service.json("/api/v1/dead-letters/groups", None).await?;
    Ok(groups.items.iter().map(|group| group.count).sum())
}

async fn wait(what: &str, mut is_over: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_over().await? {
        anyhow::ensure!(Instant::now() < deadline, "waited too long for {what}");
        tokio::time::sleep(INTERVAL).await;
    }
    Ok(())
}

async fn publish(services: &Services, count: u32) -> anyhow::Result<()> {
    let url = ("CONTACT_RELAY__AMQP__URL".into(), services.amqp_url().into());
    let settings = settings::load(None, [url])?.settings;
    let mut publisher = Publisher::connect(&settings.amqp, "load").await?;
    for begin in (0..count).step_by(WINDOW as usize) {
        let messages: Vec<Message> =
            (begin..count.min(begin + WINDOW)).map(message).collect::<anyhow::Result<_>>()?;
        for sent in publisher.publish(&messages).await? {
            sent?;
        }
    }
    Ok(())
}

/// The `number`th event: of one of fifty companies, about a person of its own.
fn message(number: u32) -> anyhow::Result<Message> {
    let company = format!("company-{}", number % 50);
    let id = format!("replayed-{number}");
    let body = json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/companies/{company}/assistants/sales"),
        "type": "trigger.fired",
        "time": (OffsetDateTime::now_utc() + AHEAD).format(&Rfc3339)?,
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": company},
            "assistant": {"id": "sales", "maxInteractions": 2},
            "session": {"id": "5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"},
            "trigger": {
                "name": "register_qualified_lead",
                "description": "Registers the lead in the CRM after collecting the necessary data.",
                "parameters": {
                    "properties": {
                        "name": {"type": "string"}, "email": {"type": "string"}, "phone": {"type": "string"},
                        "company": {"type": "string"},
                    },
                    "required": ["name", "email", "company"],
                },
                "interpretResponse": false,
                "actions": [{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email",
                    "phone": "phone", "company": "company"}],
            },
            "arguments": {
                "name": format!("Lead {number}"),
                "email": format!("lead-{number}@customers.example"),
                "phone": format!("+55119{number:08}"),
                "company": "Analytical Engines",
            },
        },
    });
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into());
    Ok(Message {
        exchange: "contact-relay.events".to_owned(),
        routing_key: "trigger.fired".to_owned(),
        mandatory: true,
        body: body.to_string().into_bytes(),
        properties,
    })
}
