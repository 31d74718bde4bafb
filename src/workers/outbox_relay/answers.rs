//! Answers to the queues that trigger-fired events name in `reply_to`.
//!
//! The sender is responsible for its queue: an answer is dropped if it cannot be routed, if the broker refuses it, or if
//! it takes more than a few seconds. Nobody waits for answers: they have a task, a connection and some room of
//! their own. Nor does a queue wait for another one: each has few answers in flight, and only a part of the room.

mod publishing;

use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;

use self::publishing::{DEADLINE, Task, warn_dropped};
use crate::{
    amqp::{Message, Topology},
    domain::chain::reply::ReplyQueues,
    metrics::{self, Metrics},
    settings,
    workers::room::{InMemory, Room},
};

/// Room for answers that wait, in bytes.
const ROOM: usize = 4 << 20;

/// The way to the task that publishes answers.
pub(super) struct Answers {
    sender: Option<mpsc::UnboundedSender<InMemory<Message>>>,
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
        let settings = settings::Amqp { publish_timeout: DEADLINE, ..settings };
        task.spawn(Task::new(settings, room.clone()).run(offered));
        Self { sender: Some(sender), allowed, room, task }
    }

    /// Offers an answer. It is dropped if its queue is not allowed any more, or if too many answers wait already.
    pub(super) fn offer(&self, answer: Message) {
        if !self.allowed.allow(&answer.routing_key) {
            return warn_dropped(1, "amqp.reply_queues does not allow the queue");
        }
        match (&self.sender, self.room.reserve(answer.body.len())) {
            (Some(sender), Some(reserved)) => {
                drop(sender.send(InMemory { item: answer, reserved: Some(reserved) }));
            }
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
