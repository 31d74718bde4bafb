//! The trigger playground: what `trigger check` and `trigger preview` show. Nothing is stored or sent.

use std::sync::Arc;

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::{Value, value::RawValue};

use super::{
    super::{
        body::{Form, Params},
        caller::Caller,
        problem::Problem,
        shared::Shared,
    },
    attempts::Request,
    contacts::sentence,
    parts::{Badge, Tone, printable, words},
    shell::{Shell, render},
};
use crate::{
    operator::{
        check::{self, Severity},
        preview::{self, PreviewError},
    },
    settings::Settings,
};

/// What the empty form shows.
const DEFINITION: &str = include_str!("templates/example_trigger.json");
const ARGUMENTS: &str =
    "{\n  \"name\": \"Ada Lovelace\",\n  \"email\": \"ada@lovelace.dev\",\n  \"interest\": \"growth\"\n}";

#[derive(Template)]
#[template(path = "playground.html")]
struct Page {
    shell: Shell,
    definition: String,
    arguments: String,
    client_data: String,
    company: String,
    /// Unless nothing was asked yet.
    findings: Option<Vec<Finding>>,
    fault: Option<String>,
    steps: Vec<Step>,
    skipped: u64,
    has_request: bool,
}

struct Finding {
    badge: Badge,
    place: String,
    message: String,
}

impl Finding {
    fn new(found: &check::Finding) -> Self {
        let tone = match found.severity {
            Severity::Error => Tone::Failed,
            Severity::Warning => Tone::Waiting,
        };
        Self {
            badge: Badge::new(tone, found.severity.into()),
            place: printable(&found.place),
            message: printable(&found.message),
        }
    }
}

struct Step {
    index: u64,
    kind: String,
    trigger: String,
    error: String,
    arguments: Vec<Argument>,
    request: Option<Request>,
}

struct Argument {
    field: String,
    parameter: String,
    given: String,
    outcome: String,
    value: String,
    because: String,
}

pub(super) async fn show(caller: Caller, query: Params) -> Result<Response, Problem> {
    query.end()?;
    let shell = Shell::new(&caller, "/playground", "Playground");
    let asked = Asked {
        definition: DEFINITION.trim_end().to_owned(),
        arguments: ARGUMENTS.to_owned(),
        client_data: "{}".to_owned(),
        company: String::new(),
    };
    render(&page(shell, asked, None))
}

/// What the form sends.
#[derive(Clone)]
struct Asked {
    definition: String,
    arguments: String,
    client_data: String,
    company: String,
}

pub(super) async fn preview(
    State(shared): State<Shared>,
    caller: Caller,
    Form(mut form): Form,
) -> Result<Response, Problem> {
    let asked = Asked {
        definition: form.text("definition")?,
        arguments: form.text("arguments")?,
        client_data: form.text("client_data")?,
        company: form.text("company")?,
    };
    form.end()?;
    let given = asked.clone();
    let settings = Arc::clone(&shared.settings);
    let answer = move || Answer {
        findings: check::check(&given.definition, &settings).iter().map(Finding::new).collect(),
        fired: fire(&given, &settings),
    };
    let answer = shared.preview(answer).await?;
    let shell = Shell::new(&caller, "/playground", "Playground");
    render(&page(shell, asked, Some(answer)))
}

struct Answer {
    findings: Vec<Finding>,
    /// The preview, or why there is none.
    fired: Result<Value, String>,
}

fn fire(asked: &Asked, settings: &Settings) -> Result<Value, String> {
    let object = |name: &str, text: &str| {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let value: Result<Box<RawValue>, _> = serde_json::from_str(text);
        value
            .ok()
            .filter(|value| value.get().starts_with('{'))
            .ok_or_else(|| format!("{name} must be a JSON object."))
    };
    let arguments = object("Arguments", &asked.arguments)?;
    let client_data = object("Client data", &asked.client_data)?;
    let company = Some(asked.company.trim()).filter(|company| !company.is_empty());
    let fired = preview::fire(&asked.definition, &arguments, &client_data, company, settings);
    fired.map_err(|error: PreviewError| sentence(&error))
}

fn page(shell: Shell, asked: Asked, answer: Option<Answer>) -> Page {
    let (findings, fired) = answer.map(|answer| (answer.findings, answer.fired)).unzip();
    let (shown, fault) = match fired.unwrap_or(Ok(Value::Null)) {
        Ok(shown) => (shown, None),
        Err(fault) => (Value::Null, Some(fault)),
    };
    let steps: Vec<Step> =
        shown.get("steps").and_then(Value::as_array).into_iter().flatten().map(step).collect();
    let Asked { definition, arguments, client_data, company } = asked;
    Page {
        shell,
        definition,
        arguments,
        client_data,
        company,
        findings,
        fault,
        has_request: steps.iter().any(|step| step.request.is_some()),
        steps,
        skipped: shown.get("skipped").and_then(Value::as_u64).unwrap_or_default(),
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).map(printable).unwrap_or_default()
}

fn step(value: &Value) -> Step {
    let arguments = value.get("arguments").and_then(Value::as_array).into_iter().flatten();
    Step {
        index: value.get("index").and_then(Value::as_u64).unwrap_or_default(),
        kind: match text(value, "type").as_str() {
            "CRM" => "contact".to_owned(),
            _ => "webhook".to_owned(),
        },
        trigger: text(value, "trigger"),
        error: text(value, "error"),
        arguments: arguments.map(argument).collect(),
        request: value.get("url").map(|_| request(value)),
    }
}

fn argument(value: &Value) -> Argument {
    Argument {
        field: text(value, "field"),
        parameter: text(value, "parameter"),
        given: text(value, "given"),
        outcome: match text(value, "outcome").as_str() {
            "stored" => String::new(),
            "rejected" => "not taken".to_owned(),
            _ => "no value".to_owned(),
        },
        value: text(value, "value"),
        because: words(&text(value, "because")),
    }
}

fn request(value: &Value) -> Request {
    let headers = value.get("headers").and_then(Value::as_array).into_iter().flatten();
    let part = |header: &Value, index: usize| {
        header.get(index).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let headers: Vec<(String, String)> = headers.map(|header| (part(header, 0), part(header, 1))).collect();
    let body = value.get("body").and_then(Value::as_str).map(str::as_bytes);
    Request::new(&text(value, "method"), &text(value, "url"), &headers, body)
}
