//! The connections over which the relay publishes.
//!
//! Usually it is one. If a queue stops confirming, the client library keeps something of each of its messages, so after many of
//! them another connection takes over, and this one waits for their confirms. A quorum queue without its majority soon keeps the
//! broker from reading the connection at all (see [`Pipeline`]). Another connection would not help: there, the broker makes each first
//! message for such a queue wait until it has registered the publisher with the queue's leader. So what such a connection has is late, and
//! is tried again as other late messages are.

use std::{collections::VecDeque, future::pending, pin::Pin, time::Duration};

use futures_util::future::select_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{flight::Name, lost::Lost};
use crate::{
    amqp::{ConnectError, Message, Outcomes, Pipeline, PublishError, Publisher, Topology, Unpublished},
    settings,
    telemetry::chain,
    workers::{backoff, component::OUTBOX_RELAY},
};

/// A message is held up by a queue if the broker has confirmed one that was sent so much later.
const OVERTAKEN_BY: Duration = Duration::from_secs(1);

/// A queue may have stopped if a message has no confirm for so long. A connection waits at least as long for confirms before
/// it ends for another one.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long such a trouble lasts after its last sign.
const TROUBLE: Duration = Duration::from_mins(1);

/// Maximum messages that a connection carries meanwhile.
const MAX_USED: usize = 20_000;

/// Maximum messages that may be unread after a connection fell silent: the next one may, too. Under full load a healthy broker has
/// many more.
const MAX_UNREAD: usize = 1_000;

/// Maximum connections that wait for confirms.
const MAX_RETIRED: usize = 2;

/// Wait after a connection could not be opened.
const RECONNECT: Duration = Duration::from_secs(1);

type Connecting = Pin<Box<dyn Future<Output = Result<Publisher, ConnectError>> + Send>>;

/// What publishes, until its connection is lost.
pub(super) struct Broker {
    settings: settings::Amqp,
    pipeline: Pipeline<Name>,
    /// In the order in which they were retired.
    retired: VecDeque<Retired>,
    next: Next,
    trouble: Trouble,
    pub(super) exchange: String,
}

/// A connection over which nothing more is sent.
struct Retired {
    pipeline: Pipeline<Name>,
    since: Instant,
}

/// The connection that follows.
enum Next {
    /// It is not needed, or cannot be opened before this time.
    None(Option<Instant>),
    Connecting(Connecting),
    Open(Box<Publisher>),
}

/// Signs that a queue confirms nothing. They outlive a connection.
#[derive(Clone, Copy, Default)]
pub(super) struct Trouble {
    /// It is expected to confirm nothing until then.
    until: Option<Instant>,
    /// When a connection last fell silent.
    silent: Option<Instant>,
}

impl Trouble {
    fn is_over(self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// Whether a connection fell silent so recently that the next one may have done so for the same reason.
    fn was_silent(self, now: Instant, publish_timeout: Duration) -> bool {
        self.silent.is_some_and(|silent| silent + publish_timeout + TROUBLE > now)
    }

    fn goes_on(&mut self, now: Instant) {
        if self.is_over(now) {
            info!(
                component = OUTBOX_RELAY,
                "messages have no confirm for {} s; a queue may have stopped",
                PATIENCE.as_secs()
            );
        }
        self.until = Some(now + TROUBLE);
    }
}

impl Broker {
    pub(super) async fn connect(settings: &settings::Amqp, trouble: Trouble) -> Result<Self, Lost> {
        let publisher = Publisher::connect(settings, OUTBOX_RELAY).await?;
        let topology = Topology::new(&settings.namespace);
        topology.declare_over(publisher.connection(), settings.connect_timeout).await?;
        let (pipeline, retired) = (Pipeline::new(publisher), VecDeque::new());
        let (settings, exchange, next) = (settings.clone(), topology.events(), Next::None(None));
        Ok(Self { settings, pipeline, retired, next, trouble, exchange })
    }

    /// How many messages may be sent now.
    pub(super) fn allowance(&self) -> usize {
        let now = Instant::now();
        let unread = if self.trouble.was_silent(now, self.settings.publish_timeout) {
            MAX_UNREAD.saturating_sub(self.pipeline.unread())
        } else {
            usize::MAX
        };
        if self.trouble.is_over(now) {
            unread
        } else {
            unread.min(MAX_USED.saturating_sub(self.pipeline.used()))
        }
    }

    /// As [`Pipeline::send`].
    pub(super) async fn send(&mut self, messages: Vec<(Name, Message)>) -> Result<(), PublishError> {
        self.pipeline.send(messages).await
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.pipeline.is_blocked()
    }

    /// Changes to another connection if it is time. Returns the messages that were given up for that.
    pub(super) fn tend(&mut self) -> Outcomes<Name> {
        let now = Instant::now();
        self.retired.retain(|one| !one.pipeline.is_empty());
        if self.pipelines().filter_map(Pipeline::oldest).any(|oldest| oldest + PATIENCE <= now) {
            self.trouble.goes_on(now);
        }
        if self.trouble.is_over(now) {
            self.next = Next::None(None);
            return Vec::new();
        }
        let used = self.pipeline.used();
        // What the broker blocks would be blocked over the next connection, too.
        if used < MAX_USED / 2 || self.pipeline.is_blocked() {
            return Vec::new();
        }
        match std::mem::replace(&mut self.next, Next::None(None)) {
            Next::Open(publisher) if publisher.connection().status().connected() => {
                if used >= MAX_USED {
                    return self.change_to(*publisher, now);
                }
                self.next = Next::Open(publisher);
            }
            Next::Connecting(connecting) => self.next = Next::Connecting(connecting),
            Next::None(Some(at)) if at > now => self.next = Next::None(Some(at)),
            Next::Open(_) | Next::None(_) => self.open_next(),
        }
        Vec::new()
    }

    /// All connections that are open.
    fn pipelines(&self) -> impl Iterator<Item = &Pipeline<Name>> {
        std::iter::once(&self.pipeline).chain(self.retired.iter().map(|one| &one.pipeline))
    }

    fn open_next(&mut self) {
        let settings = self.settings.clone();
        let connecting = async move { Publisher::connect(&settings, OUTBOX_RELAY).await };
        self.next = Next::Connecting(Box::pin(connecting));
    }

    /// Lets the next connection take over. If too many others wait for confirms, the one that has waited longest ends.
    fn change_to(&mut self, publisher: Publisher, now: Instant) -> Outcomes<Name> {
        let mut given_up = Vec::new();
        if self.retired.len() >= MAX_RETIRED {
            if self.retired.front().is_none_or(|longest| longest.since + PATIENCE > now) {
                self.next = Next::Open(Box::new(publisher));
                return given_up;
            }
            let longest = self.retired.pop_front();
            given_up = longest.map(|mut longest| late(&mut longest.pipeline)).unwrap_or_default();
        }
        let last = std::mem::replace(&mut self.pipeline, Pipeline::new(publisher));
        if !last.is_empty() {
            self.retired.push_back(Retired { pipeline: last, since: now });
        }
        given_up
    }

    /// When [`Self::tend`] may have something to do next, if nothing else happens.
    fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let doubt = self.pipeline.oldest().map(|oldest| oldest + PATIENCE).filter(|at| *at > now);
        if self.trouble.is_over(now) || self.pipeline.used() < MAX_USED / 2 {
            return doubt;
        }
        let change = match &self.next {
            Next::None(at) => *at,
            Next::Connecting(_) => None,
            Next::Open(_) if self.pipeline.used() < MAX_USED => None,
            Next::Open(_) => self.retired.front().map(|longest| longest.since + PATIENCE),
        };
        doubt.into_iter().chain(change).min()
    }

    /// As [`Pipeline::settled`], of all connections. Returns also when [`Self::tend`] has something to do.
    pub(super) async fn settled(&mut self) -> Result<Outcomes<Name>, PublishError> {
        let due = self.due();
        let Self { pipeline, retired, next, .. } = self;
        let of_retired = async {
            let waits = retired.iter_mut().map(|Retired { pipeline, .. }| {
                Box::pin(async move {
                    match pipeline.settled().await {
                        Ok(outcomes) => outcomes,
                        // Nobody knows their outcome, and the other connections need not end for it.
                        Err(_) => late(pipeline),
                    }
                })
            });
            let waits: Vec<_> = waits.collect();
            if waits.is_empty() { pending().await } else { select_all(waits).await.0 }
        };
        let connected = async {
            let Next::Connecting(connecting) = next else { return pending().await };
            connecting.await
        };
        tokio::select! {
            outcomes = pipeline.settled() => outcomes,
            outcomes = of_retired => Ok(outcomes),
            connected = connected => {
                self.next = match connected {
                    Ok(publisher) => Next::Open(Box::new(publisher)),
                    Err(error) => {
                        let error = chain(&error);
                        warn!(component = OUTBOX_RELAY, error, "{OUTBOX_RELAY} could not open another connection");
                        Next::None(Some(Instant::now() + RECONNECT))
                    }
                };
                Ok(Vec::new())
            }
            () = backoff::until(due.map(Instant::into_std)) => Ok(Vec::new()),
        }
    }

    /// Counts the messages as late that a queue holds up, while others are confirmed. If the whole broker is slow, none is.
    pub(super) fn give_up_overtaken(&mut self) -> Outcomes<Name> {
        let answered = self.pipelines().filter_map(Pipeline::answered).max();
        let Some(until) = answered.and_then(|answered| answered.checked_sub(OVERTAKEN_BY)) else {
            return Vec::new();
        };
        let mut outcomes = self.pipeline.give_up(until);
        for retired in &mut self.retired {
            outcomes.extend(retired.pipeline.give_up(until));
        }
        outcomes
    }

    /// Ends all connections because one is lost. Returns the messages to give up, then those to send again at once.
    pub(super) fn end(mut self, lost: &Lost) -> (Outcomes<Name>, Outcomes<Name>, Trouble) {
        let mut given_up = Vec::new();
        for mut retired in self.retired {
            given_up.extend(late(&mut retired.pipeline));
        }
        if matches!(lost, Lost::Publish(PublishError::Timeout(_))) {
            let now = Instant::now();
            // Once, the network may have failed. If the next connection falls silent as well, a queue stops them: sent again at
            // once, the messages would stop every connection.
            if self.trouble.was_silent(now, self.settings.publish_timeout) {
                self.trouble.goes_on(now);
                given_up.extend(late(&mut self.pipeline));
            }
            self.trouble.silent = Some(now);
        }
        let open = self.pipeline.abandon();
        let open = open.into_iter().map(|(name, _)| (name, Err(Unpublished::Unread))).collect();
        (given_up, open, self.trouble)
    }
}

/// Gives up all messages of a connection as late, because some of them may have been published.
fn late(pipeline: &mut Pipeline<Name>) -> Outcomes<Name> {
    pipeline.abandon().into_iter().map(|(name, _)| (name, Err(Unpublished::Late))).collect()
}
