//! The task that publishes answers.
//!
//! An invalid queue name can make the broker close the whole connection (RabbitMQ does for a direct reply-to that it did not
//! issue). Halving what the broker had not routed by then finds the one to drop.

use std::{
    collections::{HashMap, VecDeque},
    future::pending,
    time::Duration,
};

use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use crate::{
    amqp::{Message, Outcomes, Pipeline, PublishError, Publisher, Unpublished},
    settings,
    workers::{
        component::OUTBOX_RELAY,
        outbox_relay::lost::Lost,
        room::{InMemory, Reserved, Room},
    },
};

/// How long an answer may wait, and how long its confirm may take. Then it is dropped.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// Maximum answers in flight to one queue: fewer than those with which one that does not confirm stops the channel.
const MAX_OPEN: usize = 16;

/// With so many late answers, a connection is replaced.
const MAX_LATE: usize = 16;

/// Maximum queues that are remembered because they did not confirm.
const MAX_STUCK: usize = 1_000;

pub(super) struct Task {
    settings: settings::Amqp,
    room: Room,
    pipeline: Option<Pipeline<Answer>>,
    /// The one before, over which nothing more is sent.
    retired: Option<Pipeline<Answer>>,
    /// How many answers over this connection were late.
    late: usize,
    lanes: HashMap<String, Lane>,
    /// What is sent next.
    due: Vec<Answer>,
}

struct Answer {
    message: Message,
    offered_at: Instant,
    _reserved: Option<Reserved>,
}

/// The answers to one queue.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Answer>,
    /// The size of those, in bytes.
    bytes: usize,
    /// How many are due or in flight.
    open: usize,
    /// It did not confirm the last one.
    is_stuck: bool,
}

impl Lane {
    /// Takes those that may be sent now, and returns how many have waited too long for their queue. The time that other queues
    /// take does not count.
    fn take(&mut self, due: &mut Vec<Answer>) -> usize {
        let mut expired = 0;
        let limit = if self.is_stuck { 1 } else { MAX_OPEN };
        while self.open < limit
            && let Some(answer) = self.waiting.pop_front()
        {
            self.bytes -= answer.message.body.len();
            if self.is_stuck && answer.offered_at.elapsed() > DEADLINE {
                expired += 1;
            } else {
                self.open += 1;
                due.push(answer);
            }
        }
        expired
    }
}

impl Task {
    pub(super) fn new(settings: settings::Amqp, room: Room) -> Self {
        let (pipeline, retired, late, lanes, due) = (None, None, 0, HashMap::new(), Vec::new());
        Self { settings, room, pipeline, retired, late, lanes, due }
    }

    pub(super) async fn run(mut self, mut offered: mpsc::UnboundedReceiver<InMemory<Message>>) {
        let mut has_ended = false;
        while !has_ended || self.lanes.values().any(|lane| lane.open > 0) {
            tokio::select! {
                first = offered.recv(), if !has_ended => match first {
                    Some(first) => {
                        self.accept(first);
                        while let Ok(more) = offered.try_recv() {
                            self.accept(more);
                        }
                    }
                    None => has_ended = true,
                },
                outcomes = settled(&mut self.pipeline) => match outcomes {
                    Ok(outcomes) => self.note(outcomes),
                    Err(lost) => self.recover(lost.into()).await,
                },
                outcomes = settled(&mut self.retired) => {
                    let given_up = |_| self.retired.take().map(|mut last| last.abandon()).unwrap_or_default();
                    let outcomes = outcomes.unwrap_or_else(given_up);
                    self.note(outcomes);
                }
            }
            self.send().await;
        }
    }

    fn accept(&mut self, InMemory { item: message, reserved }: InMemory<Message>) {
        let lane = self.lanes.entry(message.routing_key.clone()).or_default();
        // So one queue gets no more than half of the room.
        if lane.bytes > self.room.free() {
            return warn_dropped(1, "too many answers wait for the queue");
        }
        lane.bytes += message.body.len();
        lane.waiting.push_back(Answer { message, offered_at: Instant::now(), _reserved: reserved });
        warn_expired(lane.take(&mut self.due));
    }

    /// Notes the outcomes of answers.
    fn note(&mut self, outcomes: Outcomes<Answer>) {
        let (mut unconfirmed, mut refused, mut expired) = (0, 0, 0);
        for (answer, outcome) in outcomes {
            let Some(lane) = self.lanes.get_mut(&answer.message.routing_key) else { continue };
            lane.open = lane.open.saturating_sub(1);
            lane.is_stuck = outcome == Err(Unpublished::Late);
            match outcome {
                Ok(()) => {}
                Err(Unpublished::Late) => unconfirmed += 1,
                Err(_) => refused += 1,
            }
            expired += lane.take(&mut self.due);
            if lane.open == 0 && !lane.is_stuck {
                self.lanes.remove(&answer.message.routing_key);
            }
        }
        if self.lanes.len() > MAX_STUCK {
            self.lanes.retain(|_, lane| lane.open > 0);
        }
        self.late += unconfirmed;
        warn_dropped(unconfirmed, "their queues did not confirm them in time");
        warn_dropped(refused, "the broker refused or could not route them");
        warn_expired(expired);
    }

    /// Sends what is due.
    async fn send(&mut self) {
        while !self.due.is_empty() {
            let due = std::mem::take(&mut self.due);
            if let Err(lost) = self.try_send(due).await {
                self.recover(lost).await;
            }
        }
    }

    async fn try_send(&mut self, answers: Vec<Answer>) -> Result<(), Lost> {
        if self.late >= MAX_LATE || self.pipeline.as_ref().is_some_and(|open| !open.is_connected()) {
            let before = std::mem::replace(&mut self.retired, self.pipeline.take());
            self.late = 0;
            self.note(before.map(|mut before| before.abandon()).unwrap_or_default());
        }
        let pipeline = match &mut self.pipeline {
            Some(pipeline) => pipeline,
            None => match Publisher::connect(&self.settings, &format!("{OUTBOX_RELAY} answers")).await {
                Ok(publisher) => self.pipeline.insert(Pipeline::new(publisher)),
                Err(error) => {
                    self.drop_all(answers, &error.to_string());
                    return Ok(());
                }
            },
        };
        let messages = answers.into_iter().map(|answer| {
            let message = answer.message.clone();
            (answer, message)
        });
        Ok(pipeline.send(messages.collect()).await?)
    }

    /// The connection is lost. Each try has a deadline of its own, so what is refused costs the others no time. If the broker did
    /// not answer in time, it is the last one.
    async fn recover(&mut self, lost: Lost) {
        let mut portions = vec![(self.unread(), lost)];
        while let Some((mut portion, lost)) = portions.pop() {
            if matches!(lost, Lost::Publish(PublishError::Timeout(_))) {
                let rest = portions.into_iter().flat_map(|(rest, _)| rest);
                let all = portion.into_iter().chain(rest).collect();
                return self.drop_all(all, &lost.to_string());
            }
            if portion.len() <= 1 {
                let outcomes = portion.into_iter().map(|answer| (answer, Err(Unpublished::Refused)));
                self.note(outcomes.collect());
                continue;
            }
            let second = portion.split_off(portion.len() / 2);
            for half in [portion, second] {
                if let Err(lost) = self.try_until_read(half).await {
                    portions.push((self.unread(), lost));
                }
            }
        }
    }

    /// Sends answers, and waits until the broker has routed or refused each of them.
    async fn try_until_read(&mut self, answers: Vec<Answer>) -> Result<(), Lost> {
        self.try_send(answers).await?;
        while let Some(pipeline) = self.pipeline.as_mut().filter(|pipeline| pipeline.unread() > 0) {
            let outcomes = pipeline.settled().await?;
            self.note(outcomes);
        }
        Ok(())
    }

    /// The answers that the broker had not routed when the connection was lost. Nothing more will be known of the others.
    fn unread(&mut self) -> Vec<Answer> {
        let (mut unread, mut others) = (Vec::new(), Vec::new());
        for (answer, why) in self.pipeline.take().map(|mut lost| lost.abandon()).unwrap_or_default() {
            if why == Err(Unpublished::Unread) {
                unread.push(answer);
            } else {
                others.push((answer, Ok(())));
            }
        }
        self.late = 0;
        self.note(others);
        unread
    }

    /// Drops these, and all that wait.
    fn drop_all(&mut self, answers: Vec<Answer>, why: &str) {
        let mut dropped = answers.len() + self.due.len();
        for answer in answers.into_iter().chain(std::mem::take(&mut self.due)) {
            if let Some(lane) = self.lanes.get_mut(&answer.message.routing_key) {
                lane.open = lane.open.saturating_sub(1);
            }
        }
        for lane in self.lanes.values_mut() {
            dropped += lane.waiting.len();
            lane.waiting.clear();
            lane.bytes = 0;
        }
        self.lanes.retain(|_, lane| lane.open > 0);
        warn_dropped(dropped, why);
    }
}

pub(super) fn warn_dropped(messages: usize, why: &str) {
    if messages > 0 {
        warn!(component = OUTBOX_RELAY, messages, why, "dropped {messages} answers: {why}");
    }
}

fn warn_expired(expired: usize) {
    warn_dropped(expired, "they waited too long for their queue");
}

/// Waits for ever without a connection.
async fn settled(pipeline: &mut Option<Pipeline<Answer>>) -> Result<Outcomes<Answer>, PublishError> {
    match pipeline {
        Some(pipeline) => pipeline.settled().await,
        None => pending().await,
    }
}
