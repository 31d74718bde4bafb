//! Publishes with confirms without waiting for one message before the next. Each message has an outcome of its own, so one
//! that the broker does not confirm holds up nothing but itself.
//!
//! Once 32 messages for one quorum queue are unconfirmed (`quorum_commands_soft_limit`), RabbitMQ blocks the channel: it
//! still routes what it is given, but after at most 400 more messages (`credit_flow_default_credit`) nothing is read from
//! the connection any more. So the channel is asked now and then how far it has got.
//!
//! An unroutable message is returned and confirmed as well. The library may attach a returned message to the confirm of
//! another one, but never to a later frame of the broker than that of its own confirm. So a confirm counts once all
//! confirms of its frame have been looked at.

use std::{
    collections::{BTreeMap, HashSet},
    future::{Future, pending},
    pin::Pin,
};

use futures_util::{FutureExt as _, StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use lapin::{
    Confirmation,
    options::{BasicPublishOptions, BasicQosOptions},
};
use tokio::time::{Instant, sleep_until, timeout};

use super::publisher::{Message, PublishError, Publisher, Unpublished};

type Confirming = Pin<Box<dyn Future<Output = (u64, lapin::Result<Confirmation>)> + Send>>;

type Answering = Pin<Box<dyn Future<Output = lapin::Result<()>> + Send>>;

/// A publisher with any number of messages in flight. `T` is the caller's name of a message.
pub struct Pipeline<T> {
    publisher: Publisher,
    /// By the order in which they were sent.
    open: BTreeMap<u64, Sent<T>>,
    next: u64,
    confirms: FuturesUnordered<Confirming>,
    /// Confirms that do not count yet.
    gathered: Vec<(u64, Result<(), Unpublished>)>,
    /// Ids of returned messages.
    returned: HashSet<String>,
    /// When the latest message was sent whose outcome the broker has told.
    answered: Option<Instant>,
    /// The broker has routed all messages before this one.
    routed: u64,
    /// While it has not routed all.
    question: Option<Question>,
    /// How many messages were sent since none was unconfirmed.
    used: usize,
}

/// A request over the same channel, which the broker answers once it has routed what was sent before.
struct Question {
    /// What was sent before this one.
    before: u64,
    since: Instant,
    answer: Answering,
}

struct Sent<T> {
    name: T,
    /// Of a mandatory message.
    id: Option<String>,
    since: Instant,
}

/// Messages and what happened to them.
pub type Outcomes<T> = Vec<(T, Result<(), Unpublished>)>;

impl<T> Pipeline<T> {
    /// Publishes over this connection.
    #[must_use]
    pub fn new(publisher: Publisher) -> Self {
        Self {
            publisher,
            open: BTreeMap::new(),
            next: 0,
            confirms: FuturesUnordered::new(),
            gathered: Vec::new(),
            returned: HashSet::new(),
            answered: None,
            routed: 0,
            question: None,
            used: 0,
        }
    }

    /// Sends messages. A mandatory one needs a `message_id`.
    ///
    /// # Errors
    /// When the connection is lost or blocked; the pipeline must then be dropped, and the outcome of all messages in it is
    /// unknown.
    pub async fn send(&mut self, messages: Vec<(T, Message)>) -> Result<(), PublishError> {
        let (first, since) = (self.next, Instant::now());
        let mut bodies = Vec::with_capacity(messages.len());
        for (name, message) in messages {
            let id = message.properties.message_id().as_ref().filter(|_| message.mandatory);
            let id = id.map(|id| id.as_str().to_owned());
            self.open.insert(self.next, Sent { name, id, since });
            self.next += 1;
            bodies.push(message);
        }
        let channel = self.publisher.channel();
        // All at once: awaiting each until it is written would cost two switches to the writing thread per message.
        // A message is queued when its future is first polled, so they are sent in this order.
        let published = bodies.iter().map(|message| {
            channel.basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions { mandatory: message.mandatory, immediate: false },
                &message.body,
                message.properties.clone(),
            )
        });
        self.used += bodies.len();
        let limit = self.publisher.timeout();
        let written = match timeout(limit, try_join_all(published)).await {
            Ok(written) => written.map_err(PublishError::from),
            Err(_) => Err(PublishError::Timeout(limit)),
        };
        // The confirms know why the channel was closed.
        let confirms = written.map_err(|error| self.gather().err().unwrap_or(error))?;
        for (number, confirm) in (first..).zip(confirms) {
            self.confirms.push(Box::pin(async move { (number, confirm.await) }));
        }
        self.ask();
        Ok(())
    }

    /// Asks how far the broker has got, unless it has been asked or has routed everything.
    fn ask(&mut self) {
        if self.question.is_some() || self.routed >= self.next {
            return;
        }
        let channel = self.publisher.channel().clone();
        let mut answer: Answering =
            Box::pin(async move { channel.basic_qos(1, BasicQosOptions::default()).await });
        // Sends it. The first wait finds out what came of that.
        if (&mut answer).now_or_never().is_none() {
            self.question = Some(Question { before: self.next, since: Instant::now(), answer });
        }
    }

    /// Waits until the outcome of some messages is known, or returns nothing if only their progress is. A message that is
    /// not confirmed within `amqp.publish_timeout` is late, if the broker has routed it. While it blocks the connection none
    /// is. Waits for ever while nothing is in flight. It can be canceled.
    ///
    /// # Errors
    /// When the connection is lost, or the broker has read nothing for `amqp.publish_timeout`; as with [`Self::send`].
    pub async fn settled(&mut self) -> Result<Outcomes<T>, PublishError> {
        if self.gathered.is_empty() && !self.wait().await? {
            // What has arrived meanwhile is not late.
            self.gather()?;
            if self.gathered.is_empty() {
                let until = Instant::now().checked_sub(self.publisher.timeout());
                return Ok(until.map(|until| self.give_up(until)).unwrap_or_default());
            }
        }
        self.gather()?;
        // Waits until the frame that is being processed is done, see above: it takes the lock of that work.
        let _ = self.publisher.channel().wait_for_confirms().now_or_never();
        let counting = std::mem::take(&mut self.gathered);
        self.gather()?;
        let outcomes = counting.into_iter().filter_map(|(number, result)| {
            let sent = self.open.remove(&number)?;
            self.answered = self.answered.max(Some(sent.since));
            let is_returned = sent.id.is_some_and(|id| self.returned.remove(&id));
            Some((sent.name, if is_returned { Err(Unpublished::Unroutable) } else { result }))
        });
        let outcomes = outcomes.collect();
        if self.open.is_empty() {
            // Of messages that were late.
            self.returned.clear();
        }
        if self.confirms.is_empty() {
            self.used = 0;
        }
        Ok(outcomes)
    }

    /// Whether the broker blocks publishers, because it is short of memory or disk.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.publisher.connection().status().blocked()
    }

    /// Whether the outcome of every message is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// When the latest message was sent whose outcome the broker has told. It holds up what was sent before and has none.
    #[must_use]
    pub fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// How many messages were sent since none was unconfirmed.
    #[must_use]
    pub const fn used(&self) -> usize {
        self.used
    }

    /// How many messages the broker may not have read yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        usize::try_from(self.next.saturating_sub(self.routed)).unwrap_or(usize::MAX)
    }

    /// When the oldest message was sent whose outcome is unknown; `None` while the broker blocks publishers.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.open.first_key_value().map(|(_, sent)| sent.since).filter(|_| !self.is_blocked())
    }

    /// Whether the connection is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.publisher.connection().status().connected()
    }

    /// Counts all messages as late that were sent until then and that the broker has routed.
    pub fn give_up(&mut self, until: Instant) -> Outcomes<T> {
        let mut outcomes = Vec::new();
        while let Some(first) = self.open.first_entry()
            && first.get().since <= until
            && *first.key() < self.routed
        {
            outcomes.push((first.remove().name, Err(Unpublished::Late)));
        }
        outcomes
    }

    /// Gives up all messages. Those are late that the broker has routed. The pipeline must then be dropped.
    pub fn abandon(&mut self) -> Outcomes<T> {
        let open = std::mem::take(&mut self.open).into_iter();
        let why = |number| if number < self.routed { Unpublished::Late } else { Unpublished::Unread };
        open.map(|(number, sent)| (sent.name, Err(why(number)))).collect()
    }

    /// Waits for a confirm, for the answer to a question, for as long as a confirm may take while the broker blocks
    /// publishers, or until the oldest message is late: `false`.
    async fn wait(&mut self) -> Result<bool, PublishError> {
        let limit = self.publisher.timeout();
        let oldest = self.open.first_key_value().map(|(number, sent)| (*number, sent.since));
        let is_routed = oldest.is_none_or(|(number, _)| number < self.routed);
        // However long the way to the broker is: it takes what comes before as well.
        let asked = self.question.as_ref().map(|question| question.since).filter(|_| !is_routed);
        let deadline = oldest.map(|(_, since)| asked.max(Some(since)).unwrap_or(since) + limit);
        let question = &mut self.question;
        let answered = async {
            let Some(Question { before, answer, .. }) = question else { return pending().await };
            (*before, answer.await)
        };
        let overdue = async {
            let Some(deadline) = deadline else { return pending().await };
            sleep_until(deadline).await;
        };
        tokio::select! {
            biased;
            Some(confirmed) = self.confirms.next() => self.take(confirmed)?,
            (before, answer) = answered => {
                self.question = None;
                // The confirms know why the channel was closed.
                answer.map_err(|error| self.gather().err().unwrap_or_else(|| error.into()))?;
                self.routed = before;
                self.ask();
            }
            () = overdue => {
                if !self.is_blocked() {
                    return if is_routed { Ok(false) } else { Err(PublishError::Timeout(limit)) };
                }
                // Once it is free, each of them has its whole time again.
                let now = Instant::now();
                for since in self.open.values_mut().map(|sent| &mut sent.since) {
                    *since = now;
                }
                if let Some(question) = &mut self.question {
                    question.since = now;
                }
            }
        }
        Ok(true)
    }

    /// Takes every confirm that has arrived.
    fn gather(&mut self) -> Result<(), PublishError> {
        while let Some(Some(confirmed)) = self.confirms.next().now_or_never() {
            self.take(confirmed)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        (number, confirmation): (u64, lapin::Result<Confirmation>),
    ) -> Result<(), PublishError> {
        let (result, returned) = match confirmation? {
            Confirmation::Ack(returned) => (Ok(()), returned),
            Confirmation::Nack(returned) => (Err(Unpublished::Refused), returned),
            // Cannot happen on a channel in confirm mode; without a confirm it does not count as published.
            Confirmation::NotRequested => (Err(Unpublished::Refused), None),
        };
        if let Some(returned) = returned {
            match returned.delivery.properties.message_id() {
                Some(id) => drop(self.returned.insert(id.as_str().to_owned())),
                // It can be any of them.
                None => self.returned.extend(self.open.values().filter_map(|sent| sent.id.clone())),
            }
        }
        self.gathered.push((number, result));
        Ok(())
    }
}
