//! `tail`: subscribes to events and prints them.

use anyhow::Context as _;
use serde_json::{Value, value::RawValue};

use super::{
    exit::Exit,
    output::{self, Format, Rows},
    publish::events_exchange,
};
use crate::{
    amqp::{Subscriber, connect},
    settings::Settings,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints events published from now on, until Ctrl-C. Its queue is private and deleted when the command ends. With
-o json it prints one list, which is complete when the command ends.

Examples:
  contact-relay tail
  contact-relay tail --key contact.upserted.created --key trigger.fired -n 10 -o table")]
pub(super) struct Args {
    /// Routing key to subscribe to, with * for one word and # for any number; repeat the option for several
    #[arg(long = "key", value_name = "KEY", default_value = "contact.upserted.#", value_parser = routing_key)]
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
    let mut list = Rows::new(Format::Json, []);
    let ended = print_events(args, &mut subscriber, &mut list).await;
    if args.format == Format::Json {
        list.end()?;
    }
    ended.map(|()| Exit::Done)
}

async fn print_events(
    args: &Args,
    subscriber: &mut Subscriber,
    list: &mut Rows<'_, 0>,
) -> anyhow::Result<()> {
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let received = tokio::select! {
            received = subscriber.next() => received?,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("could not listen for Ctrl-C")?;
                break;
            }
        };
        let text = String::from_utf8_lossy(&received.body);
        match args.format {
            Format::Table => output::line(table_row(&text))?,
            // A reader expects JSON, so other text becomes a JSON string.
            Format::Json => {
                let event = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text));
                list.print(&[event], |_| [])?;
            }
            Format::Ndjson => output::line(one_line(&text))?,
        }
        left -= 1;
    }
    Ok(())
}

/// A key to bind with: a short string (AMQP 0-9-1, 4.2.5.3).
fn routing_key(text: &str) -> Result<String, &'static str> {
    if text.len() > 255 { Err("a routing key has at most 255 bytes") } else { Ok(text.to_owned()) }
}

fn table_row(text: &str) -> String {
    serde_json::from_str(text).map_or_else(|_| row(["", "not JSON", "", ""]), |event| summary(&event))
}

/// JSON on one line. A text that has one line is printed as it came: parsing and writing it could change the spelling of
/// numbers and characters. Text that is not JSON becomes a JSON string.
fn one_line(text: &str) -> String {
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if !raw.get().contains(['\n', '\r']) => raw.get().to_owned(),
        Ok(_) => serde_json::from_str::<Value>(text).unwrap_or_default().to_string(),
        Err(_) => Value::from(text).to_string(),
    }
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
    use super::*;

    #[test]
    fn event_is_printed_on_one_line() {
        assert_eq!(one_line(r#"{"b":1,"a":2}"#), r#"{"b":1,"a":2}"#);
        assert_eq!(one_line("{\n\"a\":2}"), r#"{"a":2}"#);
        assert_eq!(one_line("not\njson"), r#""not\njson""#);
        assert!(table_row("not\njson").ends_with("not JSON"));
        let event =
            r#"{"time":"t","type":"contact.upserted","subject":"s\u001b","data":{"operation":"created"}}"#;
        let line = table_row(event);
        assert!(
            line.contains("contact.upserted") && line.ends_with("created") && !line.contains('\u{1b}'),
            "{line}"
        );
    }
}
