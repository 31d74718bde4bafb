//! Moves the broker's dead-letter queue into Postgres: store, commit, ack.
//!
//! Only messages that the broker itself dead-lettered are in this queue (delivery limit, overflow, expiry). The
//! workers write their dead letters directly to Postgres.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use lapin::types::{AMQPValue, FieldTable};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    backoff::Backoff,
    component::DEAD_LETTER_COLLECTOR,
    consumption::{Batches, Consumption, Counts, Settle},
    retry, spans,
};
use crate::{
    amqp::{BatchLimits, Received, Topology, properties},
    domain::{
        event::{CompanyId, EventRef},
        fault::{Fault, Reason, Stage},
        trigger::fired,
        value::phone::Regions,
    },
    health::Health,
    metrics::{Ending, Metrics, Queue, Step, as_f64},
    postgres::{
        Database,
        dead_letters::{self, NewDeadLetter, Recognition, SearchBudget},
        ledger, refusal,
    },
    settings::Settings,
    telemetry::traces::Traces,
};

/// Maximum size of the messages in memory, in bytes. One always fits.
const MAX_BYTES: usize = 4 << 20;

/// The consumer of the broker's dead-letter queue.
pub struct DeadLetterCollector {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Stores the dead letters.
    pub database: Database,
    /// Receives the state of this component.
    pub health: Health,
    /// Receives its counts.
    pub metrics: Arc<Metrics>,
    /// Records its spans.
    pub traces: Traces,
}

impl DeadLetterCollector {
    /// Collects until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let topology = Topology::new(&self.settings.amqp.namespace);
        let regions = self.settings.contacts.regions();
        let count = self.settings.dead_letter.batch_size;
        let counts = Counts { metrics: &self.metrics, queue: Queue::DeadLetters };
        let consumption = Consumption {
            component: DEAD_LETTER_COLLECTOR,
            amqp: &self.settings.amqp,
            queue: topology.dead_letters(),
            counts,
            prefetch: count,
            prefetch_bytes: self.settings.amqp.prefetch_bytes.min(MAX_BYTES),
            health: &self.health,
        };
        let batches = Batches {
            component: DEAD_LETTER_COLLECTOR,
            counts,
            limits: BatchLimits { count, bytes: MAX_BYTES },
            settle: Collection { collector: &self, topology: &topology, regions: &regions, stop: &stop },
        };
        consumption.run(&stop, batches).await;
    }
}

struct Collection<'a> {
    collector: &'a DeadLetterCollector,
    topology: &'a Topology,
    regions: &'a Regions,
    stop: &'a CancellationToken,
}

impl Settle for Collection<'_> {
    async fn settle(&mut self, messages: &[Received]) -> bool {
        let dead: Vec<_> = messages.iter().map(|message| dead_letter(self.topology, message)).collect();
        let count = dead.len();
        warn!(
            component = DEAD_LETTER_COLLECTOR,
            messages = count,
            "the broker dead-lettered {count} messages; see `dead-letter list`"
        );
        self.store_all(&dead).await
    }
}

impl Collection<'_> {
    /// Counts a stored portion. `opened` are its new dead letters.
    fn measure(&self, portion: &[NewDeadLetter], began: Instant, opened: &[(Stage, Reason)]) {
        let (messages, traces) = (portion.len(), &self.collector.traces);
        let started = SystemTime::now() - began.elapsed();
        for span in
            portion.iter().filter_map(|dead| spans::dead_letter(traces, dead, spans::COLLECT, started))
        {
            span.end();
        }
        let metrics = &self.collector.metrics;
        metrics.events.add(Ending::Collected, messages);
        metrics.batch_sizes.observe(Step::DeadLetter, as_f64(messages));
        metrics.batch_durations.observe(Step::DeadLetter, began.elapsed().as_secs_f64());
        for labels in opened {
            metrics.dead_letters.add(*labels, 1);
        }
    }

    /// Stores all of them; those that the database refuses come after the others. `false` if stopped before that.
    async fn store_all(&self, dead: &[NewDeadLetter]) -> bool {
        let DeadLetterCollector { database, health, settings, .. } = self.collector;
        let pepper = settings.contacts.suppression_pepper.expose_secret();
        let recognition = Recognition { pepper, regions: self.regions, budget: &SearchBudget::default() };
        let (mut portions, mut put_off, mut rounds) = (vec![dead], Vec::new(), Backoff::default());
        // Many may be locked, and each try waits for the first of them.
        let mut is_patient = true;
        loop {
            let Some(portion) = portions.pop() else {
                if put_off.is_empty() {
                    return true;
                }
                if !rounds.wait(self.stop).await {
                    return false;
                }
                portions.append(&mut put_off);
                continue;
            };
            let store = || {
                let is_patient = std::mem::take(&mut is_patient);
                database.unit(async move |conn| store(conn, recognition, portion, is_patient).await)
            };
            let began = Instant::now();
            let stored = retry::until_judged(DEAD_LETTER_COLLECTOR, health, self.stop, store).await;
            let Some(stored) = stored else { return false };
            match stored {
                Ok(Stored::All { unsearched, opened }) => {
                    self.measure(portion, began, &opened);
                    dead_letters::log_unsearched(DEAD_LETTER_COLLECTOR, unsearched);
                }
                Ok(Stored::TooMany) | Err(_) if portion.len() > 1 => {
                    self.collector.metrics.failed_batches.add(Step::DeadLetter, 1);
                    let (first, second) = portion.split_at(portion.len() / 2);
                    portions.extend([second, first]);
                }
                Ok(Stored::TooMany) => put_off.push(portion),
                Err(error) => {
                    retry::report_refusal(DEAD_LETTER_COLLECTOR, health, &refusal(&error));
                    put_off.push(portion);
                }
            }
        }
    }
}

/// What one transaction has stored.
enum Stored {
    /// Everything: the new dead letters, and how many lost their contents because they could not be searched.
    All { unsearched: usize, opened: Vec<(Stage, Reason)> },
    /// Nothing: too many to search at once.
    TooMany,
}

/// Stores the messages whose event has not ended otherwise. `is_patient`: waits for locked dead letters;
/// otherwise locked ones stay as they are.
async fn store(
    conn: &mut PgConnection,
    recognition: Recognition<'_>,
    dead: &[NewDeadLetter],
    is_patient: bool,
) -> Result<Stored, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let events: Vec<_> = dead.iter().filter_map(NewDeadLetter::event).collect();
    let ends = ledger::seen(&mut transaction, "", &events, &[]).await?.ends;
    let mut dead = dead_letters::without_ended(dead.to_vec(), &ends);
    ledger::insert(&mut transaction, dead_letters::refusals(&dead, &ends)).await?;
    let Some(unsearched) = dead_letters::blank(&mut transaction, &recognition, &mut dead).await? else {
        transaction.rollback().await?;
        return Ok(Stored::TooMany);
    };
    if !is_patient {
        dead_letters::take_locked(&mut transaction, &mut dead).await?;
    }
    let replays: Vec<_> = dead.iter().filter_map(|new| Some((new.replay_of?, new.as_message()))).collect();
    let discarded = dead_letters::lock_discarded(&mut transaction, &replays).await?;
    // A discard cancels the replay, wherever its message is.
    dead.retain(|new| new.replay_of.is_none_or(|id| !discarded.contains(&(id, new.meaning))));
    dead_letters::insert(&mut transaction, &dead).await?;
    transaction.commit().await?;
    Ok(Stored::All { unsearched, opened: dead.iter().map(|new| (new.stage, new.reason)).collect() })
}

fn dead_letter(topology: &Topology, message: &Received) -> NewDeadLetter {
    let death = Death::of(message);
    let stage = if death.queue.as_deref() == Some(topology.webhook().as_str()) {
        Stage::Webhook
    } else {
        Stage::Upsert
    };
    let text = match death.reason.as_deref() {
        Some("delivery_limit") => "the broker delivered it too often without an ack (delivery limit)",
        Some("expired") => "it expired in the queue",
        Some("maxlen") => "the queue was full",
        Some("rejected") => "a consumer other than contact-relay rejected it",
        _ => "the broker gave no reason",
    };
    let fault = Fault::new(Reason::Broker, text);
    let known = match stage {
        // Not decoded: it may be here because decoding it crashed the process.
        Stage::Upsert => fired::with_origin(&message.body, fault),
        Stage::Webhook => with_origin(fault, &message.body),
    };
    let event_key = match stage {
        Stage::Upsert => known.company.as_ref().and(known.event.as_ref()).map(EventRef::key),
        Stage::Webhook => None,
    };
    NewDeadLetter {
        company: known.company.map(|company| company.to_string()).unwrap_or_default(),
        stage,
        reason: known.reason,
        message: known.message,
        meaning: fired::meaning(&message.body),
        body: message.body.clone(),
        routing_key: message.routing_key.clone(),
        properties: properties::to_text(&message.properties),
        source: known.event.as_ref().map(|event| event.source().to_owned()),
        event_id: known.event.as_ref().map(|event| event.id().to_owned()),
        event_key,
        trigger: known.trigger,
        delivery_id: None,
        endpoint_id: None,
        attempts: 1,
        replay_of: match stage {
            Stage::Upsert => properties::replayed_dead_letter(&message.properties),
            Stage::Webhook => None,
        },
        known_at: None,
        is_blank: false,
    }
}

/// Adds company, event and trigger of a message that this service published to the webhook queue.
fn with_origin(fault: Fault, body: &[u8]) -> Fault {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let company = text("/data/contact/companyId").or_else(|| text("/data/company/id"));
    let cause = text("/data/trigger/eventSource").zip(text("/data/trigger/eventId"));
    Fault {
        company: company.and_then(|id| CompanyId::new(id).ok()),
        event: cause.and_then(|(source, id)| EventRef::new(source, id).ok()),
        // Postgres refuses a zero byte, and the batch would be retried forever.
        trigger: text("/data/trigger/name").filter(|name| !name.contains('\0')).map(str::to_owned),
        ..fault
    }
}

/// The most recent entry of the `x-death` header.
#[derive(Default)]
struct Death {
    queue: Option<String>,
    reason: Option<String>,
}

impl Death {
    fn of(message: &Received) -> Self {
        let headers = message.properties.headers().as_ref();
        let deaths = headers.and_then(|headers| headers.inner().get("x-death"));
        let Some(AMQPValue::FieldArray(deaths)) = deaths else { return Self::default() };
        let Some(AMQPValue::FieldTable(latest)) = deaths.as_slice().first() else { return Self::default() };
        Self { queue: text(latest, "queue"), reason: text(latest, "reason") }
    }
}

fn text(table: &FieldTable, key: &str) -> Option<String> {
    match table.inner().get(key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
