//! `publish`: sends trigger-fired events, one JSON object per line, to the exchange.

use std::{io::Cursor, path::PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;
use lapin::BasicProperties;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    fs::File,
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
};

use super::{
    exit::Exit,
    input,
    output::{self, Output},
    progress,
};
use crate::{
    amqp::{Connection, Message, Publisher, Topology, has_exchange},
    domain::{
        event::{without_mark, without_nan},
        trigger::shapes::Id,
    },
    settings::Settings,
};

/// Unconfirmed messages at a time.
const MAX_WINDOW: usize = 1000;

/// Bytes of a window; the message that exceeds the limit still belongs to it.
const MAX_WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Bytes that are read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// Failed lines that are reported one by one.
const MAX_REPORTED: u64 = 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line of FILE is one CloudEvents JSON object, published to {amqp.namespace}.events with routing key
trigger.fired, persistent and confirmed. A line that is not a JSON object is not sent and counts as failed. FILE may
be UTF-16 with a byte order mark, which is read into memory before anything is sent.

Examples:
  contact-relay publish events.ndjson
  generate | contact-relay publish -")]
pub(super) struct Args {
    /// File with one event per line; - reads standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Default, Serialize)]
struct Summary {
    sent: u64,
    failed: u64,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let (input, size): (Input, Option<u64>) = if input::is_standard_input(&args.file) {
        (Box::new(tokio::io::stdin()), None)
    } else {
        let file = File::open(&args.file).await;
        let file = file.with_context(|| format!("could not read {}", args.file.display()))?;
        let size = file.metadata().await.ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        (Box::new(file), size)
    };
    let publisher = Publisher::connect(&settings.amqp, "publish").await?;
    let exchange = events_exchange(publisher.connection(), settings).await?;
    let mut run = Run {
        publisher,
        exchange,
        window: Vec::new(),
        bytes: 0,
        summary: Summary::default(),
        bar: progress::bar(size, ""),
    };
    let ended = run.all(input).await;
    run.bar.finish_and_clear();
    output::report(args.output.format, &run.summary, |summary| {
        format!("sent {}, failed {}", summary.sent, summary.failed)
    })?;
    ended.context("stopped early; lines that are not counted as sent may still have arrived")?;
    Ok(match run.summary {
        Summary { failed: 0, .. } => Exit::Done,
        Summary { sent: 0, .. } => Exit::Failed,
        Summary { .. } => Exit::Partly,
    })
}

/// The name of the exchange for events, which `run` declares.
///
/// # Errors
/// When it does not exist, or the broker does not answer.
pub(super) async fn events_exchange(connection: &Connection, settings: &Settings) -> anyhow::Result<String> {
    let exchange = Topology::new(&settings.amqp.namespace).events();
    let exists = has_exchange(connection, &exchange).await.context("could not query the broker")?;
    anyhow::ensure!(
        exists,
        "there is no exchange `{exchange}`; `contact-relay run` declares it; check amqp.namespace"
    );
    Ok(exchange)
}

type Input = Box<dyn AsyncRead + Unpin>;

/// The input as UTF-8. UTF-16 is read to its end first, and its new length is set.
async fn utf8(input: Input, bar: &ProgressBar) -> std::io::Result<BufReader<Input>> {
    let mut input = BufReader::with_capacity(READ_BYTES, input);
    if !input::begins_like_utf16(input.fill_buf().await?) {
        return Ok(input);
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).await?;
    let text = input::to_utf8(bytes);
    if bar.length().is_some() {
        bar.set_length(text.len() as u64);
    }
    Ok(BufReader::with_capacity(READ_BYTES, Box::new(Cursor::new(text))))
}

struct Run {
    publisher: Publisher,
    exchange: String,
    /// Line number and message.
    window: Vec<(u64, Message)>,
    bytes: usize,
    summary: Summary,
    bar: ProgressBar,
}

impl Run {
    async fn all(&mut self, input: Input) -> anyhow::Result<()> {
        let mut input = utf8(input, &self.bar).await.context("could not read the events")?;
        let mut number = 0;
        loop {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line).await.context("could not read the events")?;
            if read == 0 {
                return self.flush().await;
            }
            number += 1;
            self.bar.inc(read as u64);
            // Files with a byte order mark may have been joined.
            let body = without_mark(line.trim_ascii()).trim_ascii();
            if body.is_empty() {
                continue;
            }
            match message(&self.exchange, body) {
                Ok(message) => {
                    self.bytes += message.body.len();
                    self.window.push((number, message));
                }
                Err(error) => self.fail(number, format_args!("not sent: {error}")),
            }
            // An empty buffer means that the input pauses, for example between typed lines.
            let is_full = self.window.len() >= MAX_WINDOW || self.bytes >= MAX_WINDOW_BYTES;
            if is_full || input.buffer().is_empty() {
                self.flush().await?;
            }
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.window.is_empty() {
            return Ok(());
        }
        let (numbers, messages): (Vec<u64>, Vec<Message>) =
            std::mem::take(&mut self.window).into_iter().unzip();
        self.bytes = 0;
        let outcomes = self.publisher.publish(&messages).await?;
        for (number, outcome) in numbers.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.summary.sent += 1,
                Err(error) => self.fail(number, error),
            }
        }
        self.bar.set_message(format!("{} sent, {} failed", self.summary.sent, self.summary.failed));
        Ok(())
    }

    fn fail(&mut self, number: u64, error: impl std::fmt::Display) {
        self.summary.failed += 1;
        if self.summary.failed <= MAX_REPORTED {
            self.bar.suspend(|| output::note(format_args!("line {number}: {error}")));
        } else if self.summary.failed == MAX_REPORTED + 1 {
            self.bar.suspend(|| output::note("more lines failed; from here on they are only counted"));
        }
    }
}

/// The one member that is read here. The worker checks the rest.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// # Errors
/// When the line is not a JSON object. The error names a position, never the text.
fn message(exchange: &str, body: &[u8]) -> Result<Message, String> {
    if !body.starts_with(b"{") {
        return Err("not a JSON object".to_owned());
    }
    let text = std::str::from_utf8(body).map_err(|_| "not UTF-8".to_owned())?;
    let mut event = serde_json::from_str::<Event<'_>>(text);
    // Python's NaN, which the worker reads as null.
    let plain = if event.is_err() { without_nan(text) } else { None };
    if let Some(Ok(read)) = plain.as_deref().map(serde_json::from_str) {
        event = Ok(read);
    }
    let event = event.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "not a JSON object with one id".to_owned(),
        _ => format!("not JSON, near column {}", error.column()),
    })?;
    let id = event.id.and_then(|id| serde_json::from_str::<Id<'_>>(id.get()).ok()).map(|Id(id)| id);
    // The message id distinguishes the messages of a window, so each needs one.
    let id =
        id.and_then(|id| lapin::types::ShortString::try_new(id).ok().filter(|id| !id.as_str().is_empty()));
    let id = id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string().into());
    Ok(Message {
        exchange: exchange.to_owned(),
        routing_key: "trigger.fired".to_owned(),
        mandatory: true,
        body: body.to_vec(),
        properties: BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_type("trigger.fired".into())
            .with_message_id(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_id_is_the_event_id_or_a_new_one() {
        let id = |body: &str| message("e", body.as_bytes()).unwrap().properties.message_id().clone().unwrap();
        assert_eq!(id(r#"{"id":"a\u0062"}"#).as_str(), "ab");
        assert_eq!(id(r#"{"id":5}"#).as_str(), "5");
        assert_eq!(id(r#"{"a":NaN,"id":"x"}"#).as_str(), "x");
        for unnamed in
            [r"{}", r#"{"id":true}"#, r#"{"id":""}"#, &format!(r#"{{"id":"{}"}}"#, "x".repeat(256))]
        {
            assert_eq!(id(unnamed).as_str().len(), 36, "{unnamed}");
        }
    }

    #[tokio::test]
    async fn input_is_read_as_utf8() {
        let bar = ProgressBar::hidden();
        let lines = "{\"id\":\"é\"}\r\n{}";
        let utf16: Vec<u8> = format!("\u{feff}{lines}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [lines.as_bytes().to_vec(), utf16] {
            let mut text = String::new();
            let input =
                utf8(Box::new(Cursor::new(bytes)), &bar).await.unwrap().read_to_string(&mut text).await;
            assert_eq!((input.unwrap(), text.as_str()), (lines.len(), lines));
        }
    }

    /// A copy that was cut: the whole lines are sent.
    #[tokio::test]
    async fn last_line_of_a_cut_file_fails_alone() {
        let mut bytes: Vec<u8> =
            "\u{feff}{}\n{\"a\":\"é\"}\n{".encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes.push(b'"');
        let bar = ProgressBar::hidden();
        bar.set_length(bytes.len() as u64);
        let mut input = utf8(Box::new(Cursor::new(bytes)), &bar).await.unwrap();
        let (mut sent, mut size) = (Vec::new(), 0);
        let mut line = Vec::new();
        while let read @ 1.. = input.read_until(b'\n', &mut line).await.unwrap() {
            size += read as u64;
            sent.push(message("e", line.trim_ascii()).is_ok());
            line.clear();
        }
        assert_eq!((sent, bar.length()), (vec![true, true, false], Some(size)));
    }

    #[test]
    fn malformed_line_is_refused_without_quoting_it() {
        for body in ["ada", "[]", "5", "{\"id\":", "{\"ada\": ada}", "{} ada", "{\"id\":1,\"id\":2}"] {
            let error = message("e", body.as_bytes()).err().unwrap();
            assert!(!error.contains("ada"), "{error}");
        }
        assert!(message("e", b"{\"a\":\"\xff\"}").is_err());
    }
}
