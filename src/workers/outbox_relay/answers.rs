//! Answers to the queues that trigger-fired events name in `reply_to`.
//!
//! The sender is responsible for its queue: an answer is dropped if it cannot be routed, if the broker refuses it, or
//! if it takes more than a few seconds. Nothing waits for answers: they have their own task, connection and room. An
//! invalid queue name can make the broker close the whole connection (RabbitMQ does for a direct reply-to that it did
//! not issue); halving the portion finds the answer to drop.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::lost::Lost;
use crate::{
    amqp::{Message, PublishError, Publisher, Topology},
    domain::chain::reply::ReplyQueues,
    metrics::{self, Metrics},
    settings,
    workers::{
        component::OUTBOX_RELAY,
        room::{Handed, Room},
    },
};

/// Room for answers that wait, in bytes.
const ROOM: usize = 4 << 20;

/// Maximum number of answers of one portion.
const PORTION: usize = 100;

/// How long one try to publish a portion may take. The rest of the portion is then dropped.
const DEADLINE: Duration = Duration::from_secs(5);

/// The way to the task that publishes answers.
pub(super) struct Answers {
    sender: Option<mpsc::UnboundedSender<Handed<Message>>>,
    allowed: ReplyQueues,
    room: Room,
    task: TaskTracker,
}

impl Answers {
    /// Starts the task. It connects for the first answer.
    pub(super) fn start(settings: settings::Amqp, metrics: &Metrics) -> Self {
        let (sender, offered) = mpsc::unbounded_channel();
        let task = TaskTracker::new();
        let allowed = Topology::new(&settings.namespace).reply_queues(&settings.reply_queues);
        let room = Room::new(ROOM);
        room.watch(metrics, metrics::Room::Replies);
        task.spawn(Task { settings, publisher: None }.run(offered));
        Self { sender: Some(sender), allowed, room, task }
    }

    /// Offers an answer. It is dropped if its queue is not allowed any more, or if too many answers wait already.
    pub(super) fn offer(&self, answer: Message) {
        if !self.allowed.allow(&answer.routing_key) {
            return warn_dropped(1, "amqp.reply_queues does not allow the queue");
        }
        match (&self.sender, self.room.reserve(answer.body.len())) {
            (Some(sender), Some(reserved)) => drop(sender.send(Handed(answer, Some(reserved)))),
            _ => warn_dropped(1, "too many answers wait"),
        }
    }

    /// Waits until the answers that were offered are published or dropped.
    pub(super) async fn finish(&mut self) {
        self.sender = None;
        self.task.close();
        let _ = timeout(DEADLINE, self.task.wait()).await;
    }
}

struct Task {
    settings: settings::Amqp,
    publisher: Option<Publisher>,
}

impl Task {
    async fn run(mut self, mut offered: mpsc::UnboundedReceiver<Handed<Message>>) {
        let mut portion = Vec::with_capacity(PORTION);
        while offered.recv_many(&mut portion, PORTION).await > 0 {
            let (answers, reserved): (Vec<Message>, Vec<_>) =
                portion.drain(..).map(|Handed(answer, reserved)| (answer, reserved)).unzip();
            self.publish(&answers).await;
            drop(reserved);
        }
    }

    /// Each try has its own deadline, so a refused answer costs the others no time. A try that takes too long means
    /// that the broker or a queue does not answer, so it is the last one.
    async fn publish(&mut self, answers: &[Message]) {
        let mut refused = 0;
        let mut portions = vec![answers];
        while let Some(portion) = portions.pop() {
            let why = match timeout(DEADLINE, self.try_publish(portion)).await {
                Ok(Ok(unroutable)) => {
                    refused += unroutable;
                    continue;
                }
                // After any error, because an answer may meet a connection that another one made the broker close. If
                // the broker is unreachable, the next connect fails.
                Ok(Err(Lost::Publish(lost)))
                    if portion.len() > 1 && !matches!(lost, PublishError::Timeout(_)) =>
                {
                    let (first, second) = portion.split_at(portion.len() / 2);
                    portions.extend([second, first]);
                    continue;
                }
                Ok(Err(lost)) if lost.is_refusal() => {
                    refused += 1;
                    continue;
                }
                Ok(Err(lost)) => lost.to_string(),
                Err(_) => "they took too long".to_owned(),
            };
            self.publisher = None;
            warn_dropped(portion.len() + portions.iter().map(|portion| portion.len()).sum::<usize>(), &why);
            break;
        }
        if refused > 0 {
            warn_dropped(refused, "the broker refused or could not route them");
        }
    }

    /// How many could not be routed. Without a publisher after an error.
    async fn try_publish(&mut self, portion: &[Message]) -> Result<usize, Lost> {
        let open = self.publisher.take().filter(|open| open.connection().status().connected());
        let mut publisher = match open {
            Some(publisher) => publisher,
            None => Publisher::connect(&self.settings, &format!("{OUTBOX_RELAY} answers")).await?,
        };
        let outcome = publisher.publish(portion).await?;
        self.publisher = Some(publisher);
        Ok(outcome.iter().filter(|result| result.is_err()).count())
    }
}

fn warn_dropped(messages: usize, why: &str) {
    warn!(component = OUTBOX_RELAY, messages, why, "dropped {messages} answers: {why}");
}
