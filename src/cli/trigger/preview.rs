//! `trigger preview`: runs a trigger as worker 1 would, without writing or sending anything.

use std::{borrow::Cow, path::Path};

use anyhow::Context as _;
use serde_json::{Value, value::RawValue};

use super::{
    super::{exit::Exit, output},
    Preview, file,
};
use crate::{
    domain::{
        contact::Rejected,
        trigger::{shapes::is_empty_list, spelling::unwrapped},
    },
    operator::preview,
    settings::Settings,
};

/// Prints the steps of one event. Exits 1 if the event or a step would be a dead letter.
pub(in super::super) fn preview(args: &Preview, settings: &Settings) -> anyhow::Result<Exit> {
    let text = file::json(&args.file)?;
    let arguments = argument(&args.arguments, "--arguments")?;
    let client_data = argument(&args.client_data, "--client-data")?;
    let company = args.company.as_deref();
    let fired = preview::fire(&text, &arguments, &client_data, company, settings)?;
    output::object(args.output.format, &fired, as_text)?;
    let steps = fired.get("steps").and_then(Value::as_array);
    let fine = steps.into_iter().flatten().all(|step| step.get("error").is_none());
    Ok(if fine { Exit::Done } else { Exit::Failed })
}

/// The JSON object of an option, or of the file that `@FILE` names.
fn argument(text: &str, option: &str) -> anyhow::Result<Box<RawValue>> {
    let text = match text.strip_prefix('@') {
        // Programs that write files may not know an empty object from an empty list.
        Some(name) => match file::json(Path::new(name))? {
            text if is_empty_list(&text) => "{}".to_owned(),
            text => text,
        },
        None => text.to_owned(),
    };
    let value: Box<RawValue> =
        serde_json::from_str(&text).with_context(|| format!("{option} is not JSON"))?;
    // As in an event, a text may hold the object.
    let value = match unwrapped(value.get()) {
        Cow::Owned(inside) => {
            RawValue::from_string(inside).with_context(|| format!("{option} is not JSON"))?
        }
        Cow::Borrowed(_) => value,
    };
    anyhow::ensure!(value.get().trim_start().starts_with('{'), "{option} must be a JSON object");
    Ok(value)
}

/// A printable member of an object.
fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(output::printable).unwrap_or_default()
}

/// One line about an argument: what is stored, or why nothing is.
fn outcome_line(argument: &Value) -> String {
    let [value, given, because] = ["value", "given", "because"].map(|name| text(argument, name));
    let remark = match because.as_str() {
        Rejected::UNVERIFIED => " (kept as given: unverified)".to_owned(),
        Rejected::ONE_OF_TWO => " (the other number cannot be used: one_of_two)".to_owned(),
        "" => String::new(),
        because => format!(" ({because})"),
    };
    let cleaned = if value == given { String::new() } else { format!(", cleaned from {given}") };
    match text(argument, "outcome").as_str() {
        "stored" => format!("{value}{remark}{cleaned}"),
        "rejected" => format!("not taken: {because}, given {given}"),
        _ => format!("no value: {because}, given {given}"),
    }
}

fn as_text(preview: &Value) -> String {
    let mut out = String::new();
    let mut push = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    for step in preview.get("steps").and_then(Value::as_array).into_iter().flatten() {
        let index = step.get("index").map(ToString::to_string).unwrap_or_default();
        push(format!("step {index}: {} of trigger {}", text(step, "type"), text(step, "trigger")));
        for argument in step.get("arguments").and_then(Value::as_array).into_iter().flatten() {
            push(format!("  {:<11} {}", text(argument, "field"), outcome_line(argument)));
        }
        if step.get("url").is_some() {
            push(format!("  {} {}", text(step, "method"), text(step, "url")));
        }
        for header in step.get("headers").and_then(Value::as_array).into_iter().flatten() {
            let part = |index: usize| header.get(index).and_then(Value::as_str).unwrap_or_default();
            push(format!("  {}: {}", part(0), output::printable(part(1))));
        }
        if let Some(body) = step.get("body").and_then(Value::as_str) {
            push(format!("\n  {}", output::printable(body)));
        }
        if step.get("error").is_some() {
            push(format!("  {}", text(step, "error")));
        }
        push(String::new());
    }
    if preview.pointer("/steps").is_some_and(|steps| steps.to_string().contains("\"method\"")) {
        push("Values in <> differ between attempts.".to_owned());
    }
    if let Some(skipped) = preview.get("skipped").and_then(Value::as_u64).filter(|skipped| *skipped > 0) {
        push(format!("{skipped} further steps are skipped: the chain has used its interactions"));
    }
    out.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
