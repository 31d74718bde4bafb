//! One HTTP/1.1 connection, driven by whoever uses it: no task of its own, and so no wake-ups between
//! two tasks for each request. Nothing happens on it while nobody waits for something.

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

use super::stream::{Metered, Stream};

/// The body of a request.
pub(super) type Body = Full<Bytes>;

/// The most bytes of one head of an answer, and of what is read at once.
const MAX_HEAD: usize = 64 * 1024;
/// The most bytes of an answer until its head is there: that, and what may come before it (1xx). Bounds the
/// work as well, which the deadline alone does not: it is looked at between reads only.
const MAX_BEFORE_BODY: usize = 256 * 1024;
/// The most header lines of an answer.
const MAX_HEADERS: usize = 128;

type Driver = http1::Connection<TokioIo<Metered>, Body>;

/// A connection that is open, or was when it was last looked at.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// `None` once it has ended. It must be dropped then: a request that it left in its queue is
    /// answered by that. In a box, as it is large and a connection moves in and out of the pool.
    driver: Option<Box<Driver>>,
    /// How many bytes may still come before the head of the answer.
    room: Arc<AtomicUsize>,
    /// When it was made.
    pub(super) opened: Instant,
}

impl Connection {
    /// Speaks HTTP on a stream.
    pub(super) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        let room = Arc::new(AtomicUsize::new(usize::MAX));
        let stream = Metered { stream, room: Arc::clone(&room) };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self { sender, driver: Some(Box::new(driver)), room, opened: Instant::now() })
    }

    /// Sends a request and waits for the head of the final answer. The error returns the request when
    /// nothing of it was written.
    ///
    /// What the receiver did while the connection was idle is read before anything is written, so a
    /// connection that was closed meanwhile returns the request.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.room.store(MAX_BEFORE_BODY, Ordering::Relaxed);
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            drive(&mut self.driver, cx);
            answer.as_mut().poll(cx)
        })
        .await;
        self.room.store(usize::MAX, Ordering::Relaxed);
        answer
    }

    /// The next piece of an answer's body, `None` at its end. Trailers are passed over.
    pub(super) async fn chunk(&mut self, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
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

    /// Whether another request can be sent: the answer was read to its end, and the receiver neither closed
    /// the connection nor sent more than its answer.
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
        // Its error has reached whoever waits for an answer; otherwise it is that of an idle connection.
        *driver = None;
    }
}
