//! Limits the bytes that a consumer's connection holds in memory. While its unacknowledged messages are at the limit,
//! the next one stays in the socket, so the broker waits.
//!
//! A prefetch counts messages of any size, and the client library reads everything that the broker sends. After a
//! crash the broker redelivers all of it, and the message that ended the process must be found among them. `RabbitMQ`
//! does not implement a prefetch in bytes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use super::repair::{BASIC, DELIVER, HEADER, METHOD};

/// The memory of a message besides its body and properties, in bytes.
const OVERHEAD: usize = 1024;

/// Up to this size, properties take about as much memory as their bytes, unless they have many values.
const SMALL_PROPERTIES: usize = 4096;

/// The memory that a byte of larger ones may take: an empty value has one byte.
const EXPANSION: usize = 40;

/// What the consumers of one connection hold. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Inbox(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    limit: usize,
    /// In bytes.
    held: usize,
    /// The channels whose messages count.
    channels: HashMap<u16, Arrivals>,
    /// Of a reader that waits for room.
    waker: Option<Waker>,
}

/// The messages of a channel that its consumer has not taken yet.
#[derive(Debug, Default)]
struct Arrivals {
    /// Sizes in bytes, in the order of arrival.
    sizes: VecDeque<usize>,
    /// The size of the next message is still to come.
    is_beginning: bool,
}

/// Room that an unacknowledged message takes until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    inbox: Inbox,
    bytes: usize,
}

impl Inbox {
    /// Room for messages of `limit` bytes together; the one that exceeds it still fits.
    pub(super) fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(State { limit, held: 0, channels: HashMap::new(), waker: None })))
    }

    /// Counts the messages of `channel` from now on.
    pub(super) fn watch(&self, channel: u16) {
        self.state().channels.insert(channel, Arrivals::default());
    }

    /// Stops counting the messages of `channel`, and frees the room of those that were not taken.
    pub(super) fn forget(&self, channel: u16) {
        let mut state = self.state();
        let arrivals = state.channels.remove(&channel).unwrap_or_default();
        state.release(arrivals.sizes.iter().sum());
    }

    /// Stops counting, so that a connection without an owner can be read to its end.
    pub(super) fn forget_all(&self) {
        let mut state = self.state();
        state.channels.clear();
        state.release(0);
    }

    /// Whether the library may have this frame. If it begins a message that does not fit, `waker` is woken
    /// as soon as there is.
    pub(super) fn admits(&self, channel: u16, frame_type: u8, payload: &[u8], waker: &Waker) -> bool {
        let mut state = self.state();
        let State { limit, held, channels, waker: waiting } = &mut *state;
        let Some(arrivals) = channels.get_mut(&channel) else { return true };
        match Part::of(frame_type, payload) {
            Some(Part::Beginning) if held >= limit => {
                *waiting = Some(waker.clone());
                return false;
            }
            Some(Part::Beginning) => arrivals.is_beginning = true,
            Some(Part::Properties { body }) if std::mem::take(&mut arrivals.is_beginning) => {
                let large = payload.len().saturating_sub(SMALL_PROPERTIES);
                let size = body.saturating_add(payload.len() + EXPANSION * large + OVERHEAD);
                *held = held.saturating_add(size);
                arrivals.sizes.push_back(size);
            }
            Some(Part::Properties { .. }) | None => {}
        }
        true
    }

    /// The room of the message that the consumer of `channel` takes next.
    pub(super) fn take(&self, channel: u16) -> Held {
        let bytes = self.state().channels.get_mut(&channel).and_then(|arrivals| arrivals.sizes.pop_front());
        Held { inbox: self.clone(), bytes: bytes.unwrap_or_default() }
    }

    /// Reports how many bytes it holds, until it is gone.
    pub(super) fn held(&self) -> impl Fn() -> Option<usize> + Clone + Send + Sync + 'static {
        let state = Arc::downgrade(&self.0);
        move || Some(state.upgrade()?.lock().unwrap_or_else(PoisonError::into_inner).held)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
        if self.held < self.limit || self.channels.is_empty() {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.inbox.state().release(self.bytes);
    }
}

/// What a frame says about a message.
enum Part {
    /// A delivery: properties and body follow.
    Beginning,
    /// Properties, and the size of the body in bytes.
    Properties { body: usize },
}

impl Part {
    fn of(frame_type: u8, payload: &[u8]) -> Option<Self> {
        let (&[a, b], rest) = payload.split_first_chunk()?;
        match frame_type {
            METHOD if u16::from_be_bytes([a, b]) == BASIC => {
                let method = u16::from_be_bytes(*rest.first_chunk()?);
                (method == DELIVER).then_some(Self::Beginning)
            }
            HEADER if u16::from_be_bytes([a, b]) == BASIC => {
                // Two bytes of weight come first.
                let (_, size) = rest.split_first_chunk::<2>()?;
                let body = u64::from_be_bytes(*size.first_chunk()?);
                Some(Self::Properties { body: usize::try_from(body).unwrap_or(usize::MAX) })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An inbox, and a reader that offers messages to it.
    struct Reader {
        inbox: Inbox,
        woken: Arc<Woken>,
    }

    impl Reader {
        fn new(limit: usize) -> Self {
            let inbox = Inbox::new(limit);
            inbox.watch(1);
            Self { inbox, woken: Arc::default() }
        }

        /// Whether there is room for a message, which arrives then.
        fn offer(&self, channel: u16, body: u64) -> bool {
            let waker = Arc::clone(&self.woken).into();
            let properties = [&[0, 60, 0, 0], body.to_be_bytes().as_slice()].concat();
            let begins = self.inbox.admits(channel, METHOD, &[0, 60, 0, 60], &waker);
            begins && self.inbox.admits(channel, HEADER, &properties, &waker)
        }

        fn wakes(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn room_returns_when_a_message_is_settled() {
        let reader = Reader::new(10_000);
        assert!(reader.offer(1, 5_000) && reader.offer(1, 5_000) && !reader.offer(1, 0));
        let (first, second) = (reader.inbox.take(1), reader.inbox.take(1));
        assert_eq!((first.bytes, reader.wakes()), (5_000 + 12 + OVERHEAD, 0));
        drop(first);
        assert_eq!(reader.wakes(), 1);
        assert!(reader.offer(1, 5_000) && !reader.offer(1, 0));
        drop(second);
        assert_eq!(reader.inbox.take(1).bytes, 5_000 + 12 + OVERHEAD);
    }

    #[test]
    fn only_deliveries_of_watched_channels_count() {
        let reader = Reader::new(1_000);
        let waker = Arc::clone(&reader.woken).into();
        let returned = [[0, 60, 0, 0], [0; 4], [0, 1, 0, 0]].concat();
        assert!(reader.inbox.admits(1, METHOD, &[0, 60, 0, 50], &waker));
        assert!(reader.inbox.admits(1, HEADER, &returned, &waker));
        assert!(reader.offer(2, 5_000) && reader.offer(1, 5_000));
        assert!(reader.offer(2, 5_000) && !reader.offer(1, 0));
        assert!(reader.inbox.admits(1, METHOD, &[0, 20, 0, 41], &waker));
    }

    #[test]
    fn forgotten_channel_gives_up_what_nobody_took() {
        let reader = Reader::new(1_000);
        reader.inbox.watch(2);
        assert!(reader.offer(1, 5_000) && !reader.offer(2, 0));
        reader.inbox.forget(1);
        assert_eq!(reader.wakes(), 1);
        assert!(reader.offer(2, 5_000) && !reader.offer(2, 0) && reader.offer(1, 5_000));
        reader.inbox.forget_all();
        assert_eq!(reader.wakes(), 2);
        assert!(reader.offer(2, 0));
    }
}
