//! The byte stream below HTTP: TCP or TLS over TCP, with a limit on the bytes read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// The receiver sent more bytes than the limit of [`LimitedStream`].
#[derive(Debug, thiserror::Error)]
#[error("the receiver sent too many bytes")]
pub(super) struct ReadLimitExceeded;

/// A stream that fails after it has read more than `bytes_left` bytes, and reads nothing before its first write: a
/// response that arrives before the request is written would otherwise be an error or not, depending on timing.
pub(super) struct LimitedStream {
    stream: Stream,
    /// Reads count it down; the connection sets it for each part of a response.
    bytes_left: Arc<AtomicUsize>,
    has_written: bool,
    /// Waits for the first write.
    reader: Option<Waker>,
}

impl LimitedStream {
    pub(super) fn new(stream: Stream, bytes_left: Arc<AtomicUsize>) -> Self {
        Self { stream, bytes_left, has_written: false, reader: None }
    }

    fn note_write(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(_)) {
            self.has_written = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.has_written {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        let left = self.bytes_left.load(Ordering::Relaxed).checked_sub(read);
        self.bytes_left.store(left.unwrap_or_default(), Ordering::Relaxed);
        Poll::Ready(left.map(drop).ok_or_else(|| io::Error::other(ReadLimitExceeded)))
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The transport of `http` or of `https`.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// A stream that has received an answer, and its peer.
    async fn answered_early() -> (LimitedStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        peer.write_all(b"early").await.unwrap();
        stream.readable().await.unwrap();
        (LimitedStream::new(Stream::Plain(stream), Arc::new(AtomicUsize::new(100))), peer)
    }

    /// The answer is there before the request is written. It is read afterwards, however early it arrived.
    #[tokio::test]
    async fn nothing_is_read_before_the_first_write() {
        let (mut stream, _peer) = answered_early().await;
        let mut buffer = [0; 5];
        assert!(poll!(pin!(stream.read_exact(&mut buffer))).is_pending());
        stream.write_all(b"request").await.unwrap();
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"early");
    }

    #[tokio::test]
    async fn first_write_wakes_the_reader() {
        let (stream, _peer) = answered_early().await;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut buffer = [0; 5];
        let reading = async { reader.read_exact(&mut buffer).await.unwrap() };
        // The reader is polled first, and again only if it is woken.
        let writing = async { writer.write_all(b"request").await.unwrap() };
        tokio::join!(reading, writing);
        assert_eq!(&buffer, b"early");
    }
}
