//! The other side: receivers that do what a test tells them, connection by connection.

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

/// One connection, on the receiver's side.
pub(super) struct Peer {
    pub(super) stream: TcpStream,
    written: Arc<AtomicUsize>,
}

impl Peer {
    /// The head of a request, or what there is of one. Its body may be behind it already.
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

    /// Whether the client took it.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Ok(taken @ 1..) = self.stream.write(bytes).await else { return false };
            self.written.fetch_add(taken, Ordering::SeqCst);
            bytes = &bytes[taken..];
        }
        true
    }

    /// Writes the same for as long as the client takes it.
    pub(super) async fn write_for_ever(&mut self, bytes: &[u8]) {
        while self.write(bytes).await {}
    }

    /// A byte now and then.
    pub(super) async fn drip(&mut self) {
        while self.write(b"a").await {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Says nothing more until the client goes.
    pub(super) async fn hold(&mut self) {
        let mut buffer = [0; 4096];
        while matches!(self.stream.read(&mut buffer).await, Ok(1..)) {}
    }

    /// Closes without a reset, which would overtake what was written.
    pub(super) async fn close(&mut self) {
        let _ = self.stream.shutdown().await;
        self.hold().await;
    }

    /// Closes with a reset.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A receiver and what became of it so far.
pub(super) struct Receiver {
    /// `http`, with the path `/hook`.
    pub(super) url: String,
    /// How many connections came.
    pub(super) connections: Arc<AtomicUsize>,
    /// How many bytes clients took, of all connections.
    pub(super) written: Arc<AtomicUsize>,
}

impl Receiver {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// A receiver that runs `does` for each connection, with small buffers in the system.
pub(super) async fn receiver<F>(does: impl Fn(Peer) -> F + Send + 'static) -> Receiver
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
            tokio::spawn(does(Peer { stream, written: Arc::clone(&written) }));
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

/// A receiver that reads one request, writes `bytes` and closes.
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
