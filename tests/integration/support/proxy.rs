//! A TCP proxy before Postgres or `RabbitMQ`. It can cut, silence or freeze connections without touching the server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};
use url::Url;

use super::confirms::Withheld;

/// Treatment of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are forwarded.
    Open,
    /// They are not forwarded. New connections are accepted and get no answer.
    Frozen,
    /// New connections are closed at once.
    Closed,
    /// The same, but those that exist go on.
    Full,
}

/// State of all connections.
#[derive(Clone, Copy, Debug)]
struct State {
    mode: Mode,
    /// Connections of an earlier generation are closed.
    cut: u32,
    /// Connections of an earlier generation stay open and never carry a byte again.
    mute: u32,
    /// A connection falls silent for good when its client sends exactly this in one write.
    mute_at: Option<&'static [u8]>,
    /// Number of connections silenced that way.
    muted: usize,
    /// The server never confirms messages with this routing key.
    withheld: Option<&'static str>,
    /// New sessions of Postgres lose their settings.
    drops_options: bool,
    /// The generation of new connections.
    generation: u32,
}

impl State {
    /// Whether a connection of this generation carries bytes.
    fn carries(&self, born: u32) -> bool {
        matches!(self.mode, Mode::Open | Mode::Full) && born >= self.mute.max(self.cut)
    }
}

/// A running proxy. It stops when dropped.
pub(crate) struct Proxy {
    url: String,
    state: watch::Sender<State>,
    server: AbortHandle,
}

impl Proxy {
    /// Starts a proxy before the server of `url`.
    pub(crate) async fn before(url: &str) -> Self {
        Self::start(url, false).await
    }

    /// Starts a proxy before Postgres that drops the settings of each session, as some poolers do.
    pub(crate) async fn without_options(url: &str) -> Self {
        Self::start(url, true).await
    }

    async fn start(url: &str, drops_options: bool) -> Self {
        let mut url = Url::parse(url).expect("a url");
        let target = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        url.set_port(Some(address.port())).expect("a url with a port");
        let state = watch::Sender::new(State {
            mode: Mode::Open,
            cut: 0,
            mute: 0,
            mute_at: None,
            muted: 0,
            withheld: None,
            drops_options,
            generation: 0,
        });
        let sender = state.clone();
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, target.clone(), sender.clone()));
            }
        });
        Self { url: url.into(), state, server: server.abort_handle() }
    }

    /// The proxy's URL, to use instead of the server's.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Closes all connections, and new ones immediately, until [`Proxy::open`].
    pub(crate) fn close(&self) {
        self.change(|state| {
            state.mode = Mode::Closed;
            state.cut = state.generation;
        });
    }

    /// Closes new connections immediately, until [`Proxy::open`].
    pub(crate) fn close_new(&self) {
        self.change(|state| state.mode = Mode::Full);
    }

    /// Closes all connections. New ones work, but drop the settings of each session of Postgres, or do not.
    pub(crate) fn reconnect(&self, drops_options: bool) {
        self.change(|state| {
            state.drops_options = drops_options;
            state.cut = state.generation;
        });
    }

    /// Freezes all connections, including new ones, until [`Proxy::open`].
    pub(crate) fn freeze(&self) {
        self.change(|state| state.mode = Mode::Frozen);
    }

    /// Silences the current connections for good, without closing them. New ones work.
    pub(crate) fn silence(&self) {
        self.change(|state| state.mute = state.generation);
    }

    /// Silences a connection for good when its client sends exactly these bytes in one write, until [`Proxy::open`].
    pub(crate) fn silence_at(&self, bytes: &'static [u8]) {
        self.change(|state| state.mute_at = Some(bytes));
    }

    /// Number of connections silenced by [`Proxy::silence_at`].
    pub(crate) fn silenced(&self) -> usize {
        self.state.borrow().muted
    }

    /// Keeps `RabbitMQ` from ever confirming messages with this routing key that are sent over new connections, until
    /// [`Proxy::let_confirms_pass`].
    pub(crate) fn withhold_confirms_of(&self, routing_key: &'static str) {
        self.change(|state| state.withheld = Some(routing_key));
    }

    /// Lets messages be confirmed that are sent from now on.
    pub(crate) fn let_confirms_pass(&self) {
        self.change(|state| state.withheld = None);
    }

    /// Forwards everything again.
    pub(crate) fn open(&self) {
        self.change(|state| (state.mode, state.mute_at) = (Mode::Open, None));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            state.generation += 1;
            change(state);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn carry(mut client: TcpStream, target: (String, u16), sender: watch::Sender<State>) {
    let mut state = sender.subscribe();
    let State { generation: born, mode, drops_options, .. } = *state.borrow();
    let closed = matches!(mode, Mode::Closed | Mode::Full);
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    if closed || (drops_options && drop_options(&mut client, &mut server).await.is_err()) {
        return;
    }
    let withheld = state.borrow().withheld.map(|_| Arc::<Mutex<Withheld>>::default());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pass(from_client, to_server, born, Some(sender.clone()), withheld.clone(), state.clone()) => {}
        () = pass(from_server, to_client, born, None, withheld, state.clone()) => {}
        _ = state.wait_for(|state| born < state.cut) => {}
    }
}

/// Carries the start of a Postgres connection without the parameter `options`.
async fn drop_options(client: &mut TcpStream, server: &mut TcpStream) -> io::Result<()> {
    const SSL_REQUEST: u32 = 80_877_103;
    loop {
        let (length, code) = (client.read_u32().await?, client.read_u32().await?);
        let mut rest = vec![0; usize::try_from(length).expect("a length") - 8];
        client.read_exact(&mut rest).await?;
        if code != SSL_REQUEST {
            let texts: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
            let mut kept = Vec::new();
            for pair in texts.chunks(2).filter(|pair| !pair[0].is_empty() && pair[0] != b"options") {
                kept.extend([pair[0], b"\0", pair[1], b"\0"].concat());
            }
            kept.push(0);
            server.write_u32(u32::try_from(kept.len() + 8).expect("a length")).await?;
            server.write_u32(code).await?;
            return server.write_all(&kept).await;
        }
        server.write_u32(length).await?;
        server.write_u32(code).await?;
        client.write_u8(server.read_u8().await?).await?;
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    born: u32,
    client: Option<watch::Sender<State>>,
    withheld: Option<Arc<Mutex<Withheld>>>,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        // A silent connection waits here forever and does not notice its end.
        if state.wait_for(|state| state.carries(born)).await.is_err() {
            return;
        }
        let read = tokio::select! {
            biased;
            _ = state.changed() => continue,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { return };
        // What is sent after a change of the state is treated as that says, however late this task runs.
        if state.wait_for(|state| state.carries(born)).await.is_err() {
            return;
        }
        let Some(bytes) = buffer.get(..length) else { return };
        if let Some(sender) = client.as_ref().filter(|sender| sender.borrow().mute_at == Some(bytes)) {
            sender.send_modify(|state| state.muted += 1);
            return std::future::pending().await;
        }
        let filtered = withheld.as_ref().and_then(|withheld| {
            let mut withheld = withheld.lock().unwrap();
            if client.is_none() {
                return Some(withheld.filter(bytes));
            }
            withheld.sent(bytes, state.borrow().withheld);
            None
        });
        if to.write_all(filtered.as_deref().unwrap_or(bytes)).await.is_err() {
            return;
        }
    }
}
