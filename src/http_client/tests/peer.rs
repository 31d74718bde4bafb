//! Receivers whose behavior on each connection is a function of the test.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    time::sleep,
};

pub(super) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The receiver's side of one connection.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    /// For a receiver that pauses.
    pub(super) pause: Duration,
    written: Arc<AtomicUsize>,
}

impl Peer {
    /// Reads until the head of a request is complete or the client closes. The result may include body bytes.
    pub(super) async fn read_head(&mut self) -> String {
        let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            match self.stream.read(&mut buffer).await {
                Ok(read @ 1..) => head.extend_from_slice(&buffer[..read]),
                _ => break,
            }
        }
        String::from_utf8_lossy(&head).into_owned()
    }

    /// Reads this many bytes.
    pub(super) async fn read_exactly(&mut self, count: usize) {
        let mut buffer = vec![0; count];
        let _ = self.stream.read_exact(&mut buffer).await;
    }

    /// Returns false if the client has closed the connection.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Ok(written @ 1..) = self.stream.write(bytes).await else { return false };
            self.written.fetch_add(written, Ordering::SeqCst);
            bytes = &bytes[written..];
        }
        true
    }

    /// Repeats the bytes until the client closes the connection.
    pub(super) async fn write_forever(&mut self, bytes: &[u8]) {
        while self.write(bytes).await {}
    }

    /// Writes one byte every 20 ms until the client closes the connection.
    pub(super) async fn drip(&mut self) {
        while self.write(b"a").await {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Reads without writing until the client closes the connection.
    pub(super) async fn stay_silent(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer).await, Ok(1..)) {}
    }

    /// Closes without a reset, which could discard bytes that the client has not read yet.
    pub(super) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
        self.stay_silent().await;
    }

    /// Closes with a TCP reset.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A receiver with its counters.
pub(super) struct Receiver {
    /// `http`, with the path `/hook`.
    pub(super) url: String,
    /// Connections accepted.
    pub(super) connections: Arc<AtomicUsize>,
    /// Bytes written on all connections.
    pub(super) written: Arc<AtomicUsize>,
}

impl Receiver {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Starts a receiver that runs `behavior` for each connection. Its send buffer in the kernel is small.
pub(super) async fn receiver<F>(behavior: impl Fn(Peer) -> F + Send + 'static) -> Receiver
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = listen();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (connections, written) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let receiver = Receiver { url, connections: Arc::clone(&connections), written: Arc::clone(&written) };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let written = Arc::clone(&written);
            tokio::spawn(behavior(Peer { stream, pause: Duration::ZERO, written }));
        }
    });
    receiver
}

fn listen() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(64 * 1024).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    socket.listen(256).unwrap()
}

/// Starts a receiver that reads one request head, writes `bytes` and closes.
pub(super) async fn answering(bytes: impl Into<Vec<u8>>) -> Receiver {
    let bytes: Vec<u8> = bytes.into();
    receiver(move |mut peer| {
        let bytes = bytes.clone();
        async move {
            peer.read_head().await;
            peer.write(&bytes).await;
            peer.close().await;
        }
    })
    .await
}
