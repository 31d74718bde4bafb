//! A publisher of bytes that no client library would send.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::app::TestApp;

/// Flags of AMQP properties.
pub(crate) const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
pub(crate) const MESSAGE_ID: u16 = 1 << 7;

/// A message as bytes.
pub(crate) struct RawMessage<'a> {
    pub(crate) routing_key: &'a [u8],
    /// [`HEADERS`] or [`MESSAGE_ID`].
    pub(crate) flag: u16,
    /// The property of that flag, with its length.
    pub(crate) property: Vec<u8>,
    pub(crate) body: &'a [u8],
}

pub(crate) fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a short string")], text].concat()
}

pub(crate) fn long(bytes: &[u8]) -> Vec<u8> {
    [u32::try_from(bytes.len()).expect("a long string").to_be_bytes().as_slice(), bytes].concat()
}

/// Publishes one persistent message to the events exchange and waits for the confirm.
pub(crate) async fn publish(app: &TestApp, message: RawMessage<'_>) {
    let url: url::Url = app.setting("amqp.url").parse().expect("a url");
    let address = (url.host_str().expect("a host").to_owned(), url.port().unwrap_or(5672));
    let mut stream = TcpStream::connect(address).await.expect("the broker");
    stream.write_all(b"AMQP\0\0\x09\x01").await.expect("it listens");
    expect(&mut stream, [10, 10]).await;
    let password =
        [b"\0", url.username().as_bytes(), b"\0", url.password().unwrap_or("guest").as_bytes()].concat();
    let login = [long(b""), short(b"PLAIN"), long(&password), short(b"en_US")].concat();
    call(&mut stream, 0, [10, 11], &login).await;
    expect(&mut stream, [10, 30]).await;
    call(&mut stream, 0, [10, 31], &[0, 16, 0, 2, 0, 0, 0, 0]).await;
    call(&mut stream, 0, [10, 40], &[short(b"/"), short(b""), vec![0]].concat()).await;
    expect(&mut stream, [10, 41]).await;
    call(&mut stream, 1, [20, 10], &short(b"")).await;
    expect(&mut stream, [20, 11]).await;
    call(&mut stream, 1, [85, 10], &[0]).await;
    expect(&mut stream, [85, 11]).await;
    let exchange = short(format!("{}.events", app.setting("amqp.namespace")).as_bytes());
    let publish = [vec![0, 0], exchange, short(message.routing_key), vec![1]].concat();
    call(&mut stream, 1, [60, 40], &publish).await;
    let size = (message.body.len() as u64).to_be_bytes();
    let flags = (message.flag | DELIVERY_MODE).to_be_bytes();
    let (before, after) =
        if message.flag > DELIVERY_MODE { (message.property, vec![]) } else { (vec![], message.property) };
    let header = [[0, 60, 0, 0].as_slice(), &size, &flags, &before, &[2], &after].concat();
    frame(&mut stream, 2, 1, &header).await;
    frame(&mut stream, 3, 1, message.body).await;
    expect(&mut stream, [60, 80]).await;
}

async fn call(stream: &mut TcpStream, channel: u16, [class, method]: [u16; 2], arguments: &[u8]) {
    let payload = [class.to_be_bytes().as_slice(), &method.to_be_bytes(), arguments].concat();
    frame(stream, 1, channel, &payload).await;
}

async fn frame(stream: &mut TcpStream, kind: u8, channel: u16, payload: &[u8]) {
    let bytes = [&[kind], channel.to_be_bytes().as_slice(), &long(payload), &[0xce]].concat();
    stream.write_all(&bytes).await.expect("it listens");
}

/// Reads frames until this method arrives.
async fn expect(stream: &mut TcpStream, [class, method]: [u16; 2]) {
    let wanted = [class.to_be_bytes(), method.to_be_bytes()].concat();
    loop {
        let mut header = [0; 7];
        stream.read_exact(&mut header).await.unwrap_or_else(|error| panic!("no {class}.{method}: {error}"));
        let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
        let mut rest = vec![0; usize::try_from(size).expect("a size") + 1];
        stream.read_exact(&mut rest).await.expect("the whole frame");
        if header[0] == 1 && rest.starts_with(&wanted) {
            return;
        }
    }
}
