//! Publishes with confirms without waiting for one message before sending the next. Each message has its own outcome,
//! so a message without a confirm holds up only itself.
//!
//! The broker returns an unroutable message and confirms it as well. The library may attach a returned message to
//! another message's confirm, but never to one in a later frame. So a confirm counts once all confirms of its frame
//! have been looked at.

use std::{
    collections::{BTreeMap, HashSet},
    future::{Future, pending},
    pin::Pin,
};

use futures_util::{FutureExt as _, StreamExt as _, future::try_join_all, stream::FuturesUnordered};
use lapin::{Confirmation, options::BasicPublishOptions};
use tokio::time::{Instant, sleep_until, timeout};

use super::publisher::{Message, PublishError, Publisher, Unpublished};

/// Maximum number of late messages that may still be confirmed. Beyond it, nothing more should be sent over the connection: the
/// client library keeps something of each until it is confirmed.
const MAX_LATE: usize = 20_000;

type Confirming = Pin<Box<dyn Future<Output = (u64, lapin::Result<Confirmation>)> + Send>>;

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
    /// When the latest message with a known outcome was sent.
    answered: Option<Instant>,
    /// While a message is overdue: whether the broker still answers.
    probe: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

struct Sent<T> {
    name: T,
    /// Of a mandatory message.
    id: Option<String>,
    since: Instant,
}

/// Why a message is overdue.
enum Overdue {
    /// A queue does not accept it.
    Late,
    /// The broker blocks publishers.
    Blocked,
    /// The broker does not answer at all.
    Silent,
}

/// Messages and their outcomes.
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
            probe: None,
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
        Ok(())
    }

    /// Waits until the outcome of some messages is known. A message that is not confirmed within `amqp.publish_timeout`
    /// is late, if the broker answers otherwise. While it blocks the connection none is, and this returns nothing. Waits
    /// forever while nothing is in flight. It can be canceled.
    ///
    /// # Errors
    /// When the connection is lost; as with [`Self::send`].
    pub async fn settled(&mut self) -> Result<Outcomes<T>, PublishError> {
        if self.gathered.is_empty() && !self.wait().await? {
            // Confirms that have arrived are not late.
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

    /// When the latest message with a known outcome was sent. Earlier messages without an outcome are held up.
    #[must_use]
    pub fn answered(&self) -> Option<Instant> {
        self.answered
    }

    /// Counts all messages as late that were sent until then.
    pub fn give_up(&mut self, until: Instant) -> Outcomes<T> {
        let mut outcomes = Vec::new();
        while let Some(first) = self.open.first_entry()
            && first.get().since <= until
        {
            outcomes.push((first.remove().name, Err(Unpublished::Late)));
        }
        outcomes
    }

    /// Whether too many messages are late to send more over this connection.
    #[must_use]
    pub fn is_worn(&self) -> bool {
        self.confirms.len() > MAX_LATE + self.open.len()
    }

    /// Waits for a confirm, for as long as a confirm may take while the broker blocks publishers, or until the oldest
    /// message is late: `false`.
    async fn wait(&mut self) -> Result<bool, PublishError> {
        let limit = self.publisher.timeout();
        let deadline = self.open.first_key_value().map(|(_, sent)| sent.since + limit);
        let (probe, publisher) = (&mut self.probe, &self.publisher);
        let overdue = async {
            let Some(deadline) = deadline else { return pending().await };
            sleep_until(deadline).await;
            if publisher.connection().status().blocked() {
                return Overdue::Blocked;
            }
            // Kept, because this wait may be canceled again and again.
            let is_answered = probe.get_or_insert_with(|| Box::pin(publisher.probe())).await;
            *probe = None;
            if is_answered { Overdue::Late } else { Overdue::Silent }
        };
        tokio::select! {
            biased;
            Some(confirmed) = self.confirms.next() => {
                self.take(confirmed)?;
                Ok(true)
            }
            overdue = overdue => match overdue {
                Overdue::Late => Ok(false),
                Overdue::Silent => Err(PublishError::Timeout(limit)),
                Overdue::Blocked => {
                    // Once it is free, each of them has its whole time again.
                    let now = Instant::now();
                    for sent in self.open.values_mut() {
                        sent.since = now;
                    }
                    Ok(true)
                }
            }
        }
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
