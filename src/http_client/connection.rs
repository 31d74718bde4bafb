//! One HTTP/1.1 connection, polled by the attempt that uses it. It has no task of its own, which saves two
//! wake-ups per request. An idle connection is not polled, so it notices a close only when it is used again.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Body as _, Bytes, Incoming},
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;

use super::stream::{LimitedStream, Stream};

/// A request body, complete in memory.
pub(super) type Body = Full<Bytes>;

/// Maximum bytes of one response head, and of one read.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Maximum bytes read before the final head is complete: that head and any 1xx responses before it. It also
/// limits CPU time, which the deadline cannot: the deadline is checked between reads only.
const MAX_BYTES_UNTIL_BODY: usize = 256 * 1024;
/// Maximum bytes read after the head. Enough for 64 KiB of body in one-byte chunks; stops endless chunk
/// extensions and trailers.
const MAX_BYTES_AFTER_HEAD: usize = 1024 * 1024;
const MAX_HEADERS: usize = 128;

type Driver = http1::Connection<TokioIo<LimitedStream>, Body>;

/// A connection that was open when it was last polled.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// `None` once it has ended. An ended driver must be dropped, because only the drop fails a request that is
    /// still queued in it. Boxed, because it is large and moves in and out of the pool.
    driver: Option<Box<Driver>>,
    /// Shared with the stream, which counts it down.
    bytes_left: Arc<AtomicUsize>,
    pub(super) opened: Instant,
}

impl Connection {
    /// Starts HTTP on a connected stream. Reads and writes nothing yet.
    ///
    /// Reads heads as tolerantly as browsers and curl do. A receiver that took the request and said 200 would
    /// otherwise get it again and again. A user agent must unfold headers (RFC 9112, 5.2); the other two are for
    /// intermediaries to refuse or repair (RFC 9112, 5.1), and a line that is not a header says nothing.
    pub(super) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        let bytes_left = Arc::new(AtomicUsize::new(MAX_BYTES_UNTIL_BODY));
        let stream = LimitedStream::new(stream, Arc::clone(&bytes_left));
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .ignore_invalid_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, driver: Some(Box::new(driver)), bytes_left, opened: Instant::now() })
    }

    /// Sends a request and waits for the head of the final response.
    ///
    /// A reused connection reads before it writes. If the receiver closed it while it was idle, nothing is
    /// written.
    ///
    /// # Errors
    /// When the connection breaks or the response is malformed or too large. The error contains the request
    /// if no byte of it was written.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.bytes_left.store(MAX_BYTES_UNTIL_BODY, Ordering::Relaxed);
        let mut response = pin!(self.sender.try_send_request(request));
        let response = poll_fn(|cx| {
            drive(&mut self.driver, cx);
            response.as_mut().poll(cx)
        })
        .await;
        self.bytes_left.store(MAX_BYTES_AFTER_HEAD, Ordering::Relaxed);
        response
    }

    /// Reads the next piece of a response body; `None` at its end. Skips trailers.
    pub(super) async fn next_chunk(&mut self, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = poll_fn(|cx| {
                drive(&mut self.driver, cx);
                Pin::new(&mut *body).poll_frame(cx)
            })
            .await?;
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Whether the connection can carry another request: the response was read to its end, and the receiver
    /// neither closed the connection nor sent more than the response.
    pub(super) async fn is_reusable(&mut self) -> bool {
        poll_fn(|cx| {
            drive(&mut self.driver, cx);
            Poll::Ready(self.driver.is_some() && self.sender.is_ready())
        })
        .await
    }
}

fn drive(driver: &mut Option<Box<Driver>>, cx: &mut Context<'_>) {
    if let Some(running) = driver
        && Pin::new(&mut **running).poll(cx).is_ready()
    {
        // A pending request receives the error through its own future. On an idle connection it does not matter.
        *driver = None;
    }
}
