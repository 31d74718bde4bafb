//! `tail`: subscribes to events and prints them.

use anyhow::Context as _;
use serde_json::{Value, value::RawValue};

use super::{
    exit::Exit,
    output::{self, Format},
    publish::events_exchange,
};
use crate::{
    amqp::{Received, Subscriber, connect},
    settings::Settings,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints events published from now on, until Ctrl-C. Its queue is private and deleted when the command ends.

Examples:
  contact-relay tail
  contact-relay tail --key contact.upserted.created --key trigger.fired -n 10 -o table")]
pub(super) struct Args {
    /// Routing key to subscribe to, with * for one word and # for any number; repeat the option for several
    #[arg(long = "key", value_name = "KEY", default_value = "contact.upserted.#")]
    keys: Vec<String>,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N")]
    count: Option<u64>,
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Ndjson)]
    format: Format,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let connection = connect(&settings.amqp, "tail").await?;
    let exchange = events_exchange(&connection, settings).await?;
    let mut subscriber = Subscriber::open(&connection, &exchange, &args.keys).await?;
    if args.format == Format::Table {
        output::line(row(["TIME", "TYPE", "SUBJECT", "OPERATION"]))?;
    }
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let received = tokio::select! {
            received = subscriber.next() => received?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("could not listen for Ctrl-C")?;
                break;
            }
        };
        output::line(shown(&received, args.format))?;
        left -= 1;
    }
    Ok(Exit::Done)
}

fn shown(received: &Received, format: Format) -> String {
    let text = String::from_utf8_lossy(&received.body);
    // One line is printed as it came: parsing and writing it could change the spelling of numbers and
    // characters.
    match (format, serde_json::from_str::<&RawValue>(&text)) {
        (Format::Table, Ok(_)) => summary(&serde_json::from_str(&text).unwrap_or_default()),
        (Format::Table, Err(_)) => row(["", "not JSON", "", ""]),
        (Format::Json, Ok(_)) => pretty(&text),
        (Format::Ndjson, Ok(raw)) if !raw.get().contains(['\n', '\r']) => raw.get().to_owned(),
        (Format::Ndjson, Ok(_)) => serde_json::from_str::<Value>(&text).unwrap_or_default().to_string(),
        // A reader of the lines expects JSON, so other text becomes a JSON string.
        (Format::Json | Format::Ndjson, Err(_)) => Value::from(text).to_string(),
    }
}

fn pretty(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    serde_json::to_string_pretty(&value).unwrap_or_default()
}

fn summary(event: &Value) -> String {
    let text =
        |pointer: &str| output::printable(event.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    row([&text("/time"), &text("/type"), &text("/subject"), &text("/data/operation")])
}

/// A table row. Events arrive one by one, so the widths fit the service's own events.
fn row([time, kind, subject, operation]: [&str; 4]) -> String {
    format!("{time:<27}  {kind:<17}  {subject:<36}  {operation}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn show(body: &str, format: Format) -> String {
        let received = Received {
            body: body.as_bytes().to_vec().into(),
            properties: BasicProperties::default(),
            routing_key: "k".to_owned(),
            delivery_count: 0,
            taken_at: std::time::Instant::now(),
        };
        shown(&received, format)
    }

    #[test]
    fn event_is_printed_on_one_line() {
        assert_eq!(show(r#"{"b":1,"a":2}"#, Format::Ndjson), r#"{"b":1,"a":2}"#);
        assert_eq!(show("{\n\"a\":2}", Format::Ndjson), r#"{"a":2}"#);
        assert_eq!(show("not\njson", Format::Ndjson), r#""not\njson""#);
        let event =
            r#"{"time":"t","type":"contact.upserted","subject":"s\u001b","data":{"operation":"created"}}"#;
        let line = show(event, Format::Table);
        assert!(
            line.contains("contact.upserted") && line.ends_with("created") && !line.contains('\u{1b}'),
            "{line}"
        );
    }
}
