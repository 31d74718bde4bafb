//! The stream between the broker and the client library. It repairs incoming frames (see `repair`), stops before a
//! message that does not fit (see `inbox`), and passes outgoing bytes unchanged.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_util::{
    Stream,
    io::{AsyncRead, AsyncWrite},
};

use tokio::time::Sleep;

use super::{
    dial::Dialed,
    inbox::Inbox,
    repair::{concerns, repair},
};

/// Maximum number of bytes in one read.
const CHUNK: usize = 64 * 1024;

/// A frame is a header (type, channel, size), the payload, and an end byte.
const FRAME_HEADER: usize = 7;
const FRAME_END: usize = 1;

/// A larger frame is passed unrepaired. `RabbitMQ` sends frames of at most 128 KiB.
const MAX_REPAIRED: usize = 1024 * 1024;

/// What the broker sends when it has nothing to say: a frame without payload on channel 0.
const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xce];

/// How often the library hears a heartbeat while nothing is read. It closes a connection on which it hears nothing for
/// twice `amqp.heartbeat`, which is at least a second.
const PULSE: Duration = Duration::from_millis(500);

/// The runtime of the library: tokio, with repaired streams.
pub(super) fn runtime() -> Runtime<RuntimeParts<Tokio, Repairing>> {
    Runtime::new(RuntimeParts::new(Tokio::current(), Repairing(Tokio::current())))
}

/// Tokio's reactor with repaired streams.
#[derive(Clone, Debug)]
pub(super) struct Repairing(Tokio);

impl Reactor for Repairing {
    type TcpStream = Repaired<Dialed>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Repaired::new(Box::new(connecting.await?) as Dialed, None)) }
    }
}

/// A stream whose incoming frames are repaired.
pub(super) struct Repaired<S> {
    inner: S,
    chunk: Box<[u8]>,
    /// Bytes that the library has not read yet: `ready` repaired ones, then the beginning of an incomplete frame.
    arrived: Vec<u8>,
    ready: usize,
    /// Remaining bytes of the current frame if it needs no repair.
    passing: usize,
    limited: Option<Limited>,
}

/// Limits what is read.
struct Limited {
    inbox: Inbox,
    /// The frame behind `ready` begins a message that does not fit.
    is_full: bool,
    /// Until the next heartbeat in place of the broker's.
    pulse: Pin<Box<Sleep>>,
}

impl<S> Repaired<S> {
    /// With an `inbox`, within the runtime.
    pub(super) fn new(inner: S, inbox: Option<Inbox>) -> Self {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        let limited = inbox.map(|inbox| Limited {
            inbox,
            is_full: false,
            pulse: Box::pin(tokio::time::sleep(Duration::ZERO)),
        });
        Self { inner, chunk, arrived: Vec::new(), ready: 0, passing: 0, limited }
    }

    /// Repairs complete frames and moves `ready` behind them, up to a message that does not fit.
    fn advance(&mut self, context: &Context<'_>) {
        loop {
            let Some(waiting) = self.arrived.get_mut(self.ready..) else { return };
            if self.passing > 0 {
                let now = self.passing.min(waiting.len());
                self.ready += now;
                self.passing -= now;
                if self.passing > 0 {
                    return;
                }
                continue;
            }
            let Some(&[frame_type, channel, of_channel, a, b, c, d]) = waiting.first_chunk::<FRAME_HEADER>()
            else {
                return;
            };
            let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            let whole = size.saturating_add(FRAME_HEADER + FRAME_END);
            if !concerns(frame_type) || size > MAX_REPAIRED {
                self.passing = whole;
                continue;
            }
            if waiting.len() < whole {
                return;
            }
            if let Some(payload) = waiting.get_mut(FRAME_HEADER..FRAME_HEADER + size) {
                if let Some(limited) = &mut self.limited {
                    let channel = u16::from_be_bytes([channel, of_channel]);
                    limited.is_full = !limited.inbox.admits(channel, frame_type, payload, context.waker());
                    if limited.is_full {
                        return;
                    }
                }
                repair(frame_type, payload);
            }
            self.ready += whole;
        }
    }

    /// Waits until it is time for a heartbeat, and inserts it before the message that does not fit. Ready at
    /// once if there is room now.
    fn poll_pulse(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(limited) = self.limited.as_mut().filter(|limited| limited.is_full) else {
            return Poll::Ready(());
        };
        ready!(limited.pulse.as_mut().poll(context));
        limited.pulse.as_mut().reset(tokio::time::Instant::now() + PULSE);
        drop(self.arrived.splice(..0, HEARTBEAT));
        self.ready = HEARTBEAT.len();
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Repaired<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.ready == 0 {
            if this.limited.as_ref().is_some_and(|limited| limited.is_full) {
                this.advance(context);
                ready!(this.poll_pulse(context));
                continue;
            }
            let count = ready!(Pin::new(&mut this.inner).poll_read(context, &mut this.chunk))?;
            if count == 0 {
                // The stream may end within a frame.
                this.ready = this.arrived.len();
                break;
            }
            this.arrived.extend_from_slice(this.chunk.get(..count).unwrap_or_default());
            this.advance(context);
        }
        let count = this.ready.min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), this.arrived.get(..count)) {
            to.copy_from_slice(from);
        }
        this.arrived.drain(..count);
        this.ready -= count;
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Repaired<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

#[cfg(test)]
mod tests;
