//! The floor with promises: the least work that keeps what the service promises. Compared with the bare floor it
//!
//! - publishes the message of `contact.upserted` through a topic exchange: its JSON, properties and headers;
//! - stores in one statement and one commit for each batch: a ledger row with the values that the event gave, a
//!   contact with its two keys, and one packed row with everything that must be published and sent;
//! - deletes the packed row after the confirms;
//! - stores one final row for each request.
//!
//! It takes shortcuts that the service cannot take: a contact's id is derived from its email, so that no key is
//! looked up, nothing is checked, and a statement that fails ends the benchmark.

use std::collections::BTreeMap;

use anyhow::Context as _;
use contact_relay::amqp::{Batch, Message, headers};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::PgPool;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

pub(crate) const EXCHANGE: &str = "floor.events";

pub(crate) const TABLES: &str = "
    CREATE TABLE ledger (company text, event_key uuid, body_hash bytea, contact_id uuid, source text, event_id text,
        event_time text, given text, applied_at timestamptz, PRIMARY KEY (company, event_key));
    CREATE TABLE contacts (company text, contact_id uuid, version bigint, email text, phone text, name text,
        employer text, updated_at timestamptz, PRIMARY KEY (company, contact_id));
    CREATE TABLE keys (company text, kind text, value text, contact_id uuid, PRIMARY KEY (company, kind, value));
    CREATE TABLE packed (company text, packed_id uuid, body bytea COMPRESSION lz4, PRIMARY KEY (company, packed_id));
    CREATE TABLE deliveries (company text, delivery_id uuid, event_id text, url text, status smallint,
        duration_ms int, finished_at timestamptz, PRIMARY KEY (company, delivery_id))";

/// What the floors read of an event.
#[derive(Deserialize)]
pub(crate) struct Fired<'a> {
    id: &'a str,
    source: &'a str,
    time: &'a str,
    #[serde(borrow)]
    pub(crate) data: Data<'a>,
}

#[derive(Deserialize)]
pub(crate) struct Data<'a> {
    #[serde(borrow)]
    pub(crate) arguments: Arguments<'a>,
    session: Named<'a>,
    assistant: Named<'a>,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Arguments<'a> {
    pub(crate) name: &'a str,
    pub(crate) email: &'a str,
    pub(crate) phone: &'a str,
    pub(crate) company: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Named<'a> {
    id: &'a str,
}

/// The event `contact.upserted`, with the same members as the service's.
#[derive(Serialize)]
struct Upserted<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'static str,
    r#type: &'static str,
    subject: Uuid,
    time: &'a str,
    datacontenttype: &'static str,
    data: UpsertedData<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpsertedData<'a> {
    operation: &'static str,
    contact: Contact<'a>,
    changed: [&'static str; 4],
    merged_contact_ids: [&'static str; 0],
    rejected: [&'static str; 0],
    trigger: Trigger<'a>,
    session: &'a Named<'a>,
    assistant: &'a Named<'a>,
    interaction: Interaction,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Contact<'a> {
    id: Uuid,
    company_id: &'static str,
    version: u32,
    #[serde(flatten)]
    values: &'a Arguments<'a>,
    created_at: &'a str,
    updated_at: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Trigger<'a> {
    name: &'static str,
    event_id: &'a str,
    event_source: &'a str,
}

#[derive(Serialize)]
struct Interaction {
    index: u8,
    max: u8,
}

fn derived(text: &str) -> Uuid {
    let hash: [u8; 32] = Sha256::digest(text).into();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    Uuid::from_bytes(bytes)
}

/// The message of `contact.upserted` for an event.
///
/// An event that cannot be read gives an empty message, which fails where its batch is stored.
pub(crate) fn message(body: &[u8]) -> Message {
    let Ok(event) = serde_json::from_slice::<Fired<'_>>(body) else {
        return amqp_message(Vec::new(), BasicProperties::default());
    };
    let now = OffsetDateTime::now_utc();
    let time = now.format(&Rfc3339).unwrap_or_default();
    let subject = derived(event.data.arguments.email);
    let id = derived(event.id);
    let upserted = Upserted {
        specversion: "1.0",
        id,
        source: "/contact-relay",
        r#type: "contact.upserted",
        subject,
        time: &time,
        datacontenttype: "application/json",
        data: UpsertedData {
            operation: "created",
            contact: Contact {
                id: subject,
                company_id: "bench",
                version: 1,
                values: &event.data.arguments,
                created_at: &time,
                updated_at: &time,
            },
            changed: ["company", "email", "name", "phone"],
            merged_contact_ids: [],
            rejected: [],
            trigger: Trigger {
                name: "register_qualified_lead",
                event_id: event.id,
                event_source: event.source,
            },
            session: &event.data.session,
            assistant: &event.data.assistant,
            interaction: Interaction { index: 1, max: 2 },
        },
    };
    let mut table = FieldTable::default();
    for (name, value) in [
        (headers::ID, id.to_string().as_str()),
        (headers::SOURCE, "/contact-relay"),
        (headers::TYPE, "contact.upserted"),
        (headers::TIME, &time),
        (headers::SUBJECT, &subject.to_string()),
    ] {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default()
        .with_message_id(id.to_string().into())
        .with_type("contact.upserted".into())
        .with_timestamp(u64::try_from(now.unix_timestamp()).unwrap_or_default())
        .with_correlation_id(event.id.into())
        .with_headers(table);
    amqp_message(serde_json::to_vec(&upserted).unwrap_or_default(), properties)
}

fn amqp_message(body: Vec<u8>, properties: BasicProperties) -> Message {
    Message {
        exchange: EXCHANGE.to_owned(),
        routing_key: "contact.upserted.created".to_owned(),
        mandatory: true,
        body,
        properties: properties.with_delivery_mode(2).with_content_type("application/cloudevents+json".into()),
    }
}

/// Stores a batch in one statement. Returns the id of its packed row.
pub(crate) async fn store(pool: &PgPool, bodies: &[&[u8]], messages: &[Message]) -> anyhow::Result<Uuid> {
    let events: Vec<Fired<'_>> =
        bodies.iter().map(|body| serde_json::from_slice(body)).collect::<Result<_, _>>()?;
    // In the order of their keys, which is the order of locks. A statement cannot update a row twice.
    let contacts: BTreeMap<Uuid, &Arguments<'_>> =
        events.iter().map(|event| (derived(event.data.arguments.email), &event.data.arguments)).collect();
    let emails = contacts.iter().map(|(id, contact)| ("email", contact.email, *id));
    let phones = contacts.iter().map(|(id, contact)| ("phone", contact.phone, *id));
    let mut keys: Vec<(&str, &str, Uuid)> = emails.chain(phones).collect();
    keys.sort_unstable();
    let packed_id = Uuid::now_v7();
    let given = |event: &Fired<'_>| serde_json::to_string(&event.data.arguments);
    let column =
        |value: fn(&Arguments<'_>) -> String| contacts.values().map(|row| value(row)).collect::<Vec<_>>();
    sqlx::query(
        "WITH ledger AS (
             INSERT INTO ledger SELECT 'bench', *, now()
             FROM UNNEST($1::uuid[], $2::bytea[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
             ON CONFLICT DO NOTHING),
         keys AS (
             INSERT INTO keys SELECT 'bench', * FROM UNNEST($8::text[], $9::text[], $10::uuid[])
             ON CONFLICT DO NOTHING),
         packed AS (INSERT INTO packed VALUES ('bench', $11, $12))
         INSERT INTO contacts SELECT 'bench', id, 1, email, phone, name, employer, now()
         FROM UNNEST($13::uuid[], $14::text[], $15::text[], $16::text[], $17::text[])
             AS given (id, email, phone, name, employer)
         ON CONFLICT (company, contact_id) DO UPDATE SET version = contacts.version + 1, name = excluded.name,
             employer = excluded.employer, updated_at = excluded.updated_at",
    )
    .bind(events.iter().map(|event| derived(event.id)).collect::<Vec<_>>())
    .bind(bodies.iter().map(|body| Sha256::digest(body).to_vec()).collect::<Vec<_>>())
    .bind(events.iter().map(|event| derived(event.data.arguments.email)).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.source).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.id).collect::<Vec<_>>())
    .bind(events.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(events.iter().map(given).collect::<Result<Vec<_>, _>>()?)
    .bind(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.1).collect::<Vec<_>>())
    .bind(keys.iter().map(|key| key.2).collect::<Vec<_>>())
    .bind(packed_id)
    .bind(packed(&events, messages))
    .bind(contacts.keys().copied().collect::<Vec<_>>())
    .bind(column(|row| row.email.to_owned()))
    .bind(column(|row| row.phone.to_owned()))
    .bind(column(|row| row.name.to_owned()))
    .bind(column(|row| row.company.to_owned()))
    .execute(pool)
    .await?;
    Ok(packed_id)
}

/// The bytes to publish, and the bytes of a webhook as the service would send it.
fn packed(events: &[Fired<'_>], messages: &[Message]) -> Vec<u8> {
    let mut packed = Vec::new();
    for (event, message) in events.iter().zip(messages) {
        packed.extend_from_slice(&message.body);
        let Arguments { name, email, .. } = &event.data.arguments;
        let session = event.data.session.id;
        packed.extend_from_slice(
            format!(r#"{{"sentAt":0,"text":"New growth lead: {name} ({email}), session {session}"}}"#)
                .as_bytes(),
        );
    }
    packed
}

/// Removes a packed row: the broker has confirmed what is in it.
pub(crate) async fn settle(pool: &PgPool, packed_id: Uuid) -> anyhow::Result<()> {
    let deleted = sqlx::query("DELETE FROM packed WHERE company = 'bench' AND packed_id = $1")
        .bind(packed_id)
        .execute(pool)
        .await?;
    anyhow::ensure!(deleted.rows_affected() == 1, "a packed row is missing");
    Ok(())
}

/// The final row of a request.
pub(crate) struct Delivery {
    id: Uuid,
    event_id: String,
    url: String,
}

/// The final rows of a batch of messages.
pub(crate) fn deliveries(batch: &Batch, url: &str) -> anyhow::Result<Vec<Delivery>> {
    let delivery = |properties: &BasicProperties| {
        let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
        let event_id = text(properties.correlation_id()).context("a message without correlation id")?;
        let id = text(properties.message_id()).context("a message without an id")?.parse()?;
        Ok(Delivery { id, event_id, url: url.to_owned() })
    };
    batch.messages.iter().map(|message| delivery(&message.properties)).collect()
}

/// Stores the final rows of a batch.
pub(crate) async fn record(pool: &PgPool, deliveries: &[Delivery]) -> anyhow::Result<()> {
    let mut sorted: Vec<&Delivery> = deliveries.iter().collect();
    sorted.sort_unstable_by_key(|delivery| delivery.id);
    sqlx::query(
        "INSERT INTO deliveries SELECT 'bench', *, 200, 1, now() FROM UNNEST($1::uuid[], $2::text[], $3::text[])
         ON CONFLICT DO NOTHING",
    )
    .bind(sorted.iter().map(|delivery| delivery.id).collect::<Vec<_>>())
    .bind(sorted.iter().map(|delivery| delivery.event_id.as_str()).collect::<Vec<_>>())
    .bind(sorted.iter().map(|delivery| delivery.url.as_str()).collect::<Vec<_>>())
    .execute(pool)
    .await?;
    Ok(())
}
