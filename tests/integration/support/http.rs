//! Requests to the HTTP server of a process, with exactly the headers that a test wants.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{contracts, process::Process};

/// A request.
#[derive(Clone)]
pub(crate) struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// A response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: None }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// With a body of JSON.
    pub(crate) fn post(path: &str, body: &Value) -> Self {
        Self::new("POST", path).header("content-type", "application/json").body(body.to_string())
    }

    /// With an HTML form.
    pub(crate) fn form(path: &str, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let form = Self::new("POST", path).header("content-type", "application/x-www-form-urlencoded");
        form.body(fields.join("&"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..self }
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let has_host = self.headers.iter().any(|(name, _)| name == "host");
        let host = if has_host { String::new() } else { format!("host: {host}\r\n") };
        let headers: Vec<String> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let length =
            self.body.as_ref().map(|body| format!("content-length: {}\r\n", body.len())).unwrap_or_default();
        let head = format!(
            "{} {} HTTP/1.1\r\n{host}connection: close\r\n{headers}{length}\r\n",
            self.method, self.path
        );
        [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat()
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The objects of its lines.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers: Vec<_> = headers.collect();
        let body = &bytes[end + 4..];
        let is_chunked = headers.contains(&("transfer-encoding".to_owned(), "chunked".to_owned()));
        let body = if is_chunked { unchunked(body)? } else { body.to_vec() };
        Some(Self { status, headers, body })
    }
}

/// The chunks of a body without what is between them; `None` if the last one is missing.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(body.get(end + 2..end + 2 + size)?);
        body = body.get(end + 4 + size..)?;
    }
}

impl Process {
    /// Sends a request and returns the response. What the API answers must be what its description says.
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        self.try_ask(ask).await.expect("a response")
    }

    /// The same, from a process that may be killed meanwhile.
    pub(crate) async fn try_ask(&self, ask: Ask) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.http()).await.expect("a connection");
        // A server that refuses the head closes the connection before it has read everything.
        let _ = stream.write_all(&ask.bytes(self.http())).await;
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        let answer = Answer::parse(&bytes)?;
        let is_json = answer
            .header("content-type")
            .is_none_or(|kind| kind.ends_with("json") && !kind.contains("ndjson"));
        if ask.path.starts_with("/api/v1/") && answer.status != 431 && is_json {
            contracts::check_answer(&ask.method, &ask.path, answer.status, &answer.json());
        }
        Some(answer)
    }
}
