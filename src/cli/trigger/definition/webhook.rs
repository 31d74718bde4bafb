//! What the author of a webhook is unlikely to mean.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::Warning;
use crate::domain::{
    contact::field::Field,
    webhook::{
        action::{WebhookAction, headers_of, json_of_text},
        egress::is_bad_port,
        template::{Piece, Template},
    },
};

/// Variables that the platform and the service define, besides `contact.<field>` and `images[0]`.
const BUILT_IN: [&str; 7] =
    ["session.id", "company.id", "assistant.id", "images", "event.id", "contact.id", "contact.operation"];

/// Headers whose value is usually a secret.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

/// Of an expression that a message quotes, in bytes.
const MAX_SHOWN: usize = 100;

/// Built-in variables that never lack a value.
const ALWAYS_TEXTS: [&str; 4] = ["company.id", "event.id", "contact.id", "contact.operation"];

/// The addresses that start a workflow in Slack.
const SLACK_WORKFLOWS: [&str; 2] =
    ["https://hooks.slack.com/workflows/", "https://hooks.slack.com/triggers/"];

/// The parameters that are a text whenever the trigger fires.
pub(super) fn always_texts(parameters: &Value) -> BTreeSet<String> {
    let required = parameters.get("required").and_then(Value::as_array);
    let required = required.into_iter().flatten().filter_map(Value::as_str);
    let is_text = |name: &&str| {
        let kind = parameters.get("properties").and_then(|properties| properties.get(*name)?.get("type"));
        kind.and_then(Value::as_str) == Some("string")
    };
    required.filter(is_text).map(str::to_owned).collect()
}

/// The warnings of a webhook; adds the variables that it uses to `used`.
pub(super) fn warnings(
    action: &Value,
    parameters: &[String],
    always_texts: &BTreeSet<String>,
    used: &mut BTreeSet<String>,
) -> Vec<Warning> {
    let url = action.get("url").and_then(Value::as_str).unwrap_or_default();
    let mut warnings: Vec<Warning> =
        of_url(url).into_iter().map(|message| ("/url".to_owned(), message)).collect();
    let mut strict = vec![("/url".to_owned(), url)];
    let headers = of_headers(action.get("headers").unwrap_or(&Value::Null), &mut warnings);
    strict.extend(headers.iter().map(|(place, value)| (place.clone(), value.as_str())));
    for (place, text) in &strict {
        for reference in references(text) {
            let known = reference.iter().any(|name| is_known(name, parameters));
            if !known && let Some(name) = reference.last() {
                let message = format!(
                    "${name} is neither a parameter nor a built-in variable; the step becomes a dead letter unless \
                     clientData has this key"
                );
                warnings.push((place.clone(), message));
            }
            used.extend(reference);
        }
    }
    let mut texts = Vec::new();
    collect("/body", action.get("body").unwrap_or(&Value::Null), &mut texts);
    for (is_secret, (place, text)) in
        strict.iter().map(|one| (true, one)).chain(texts.iter().map(|one| (false, one)))
    {
        let found = foreign(text, parameters, is_secret).into_iter();
        warnings.extend(found.map(|message| (place.clone(), message)));
    }
    warnings.extend(of_body(url, action, parameters, always_texts));
    used.extend(texts.into_iter().flat_map(|(_, text)| references(text)).flatten());
    warnings
}

/// The values of the headers, each with its place; adds warnings about them.
fn of_headers(headers: &Value, warnings: &mut Vec<Warning>) -> Vec<(String, String)> {
    let is_text = |entry: &Value, name: &str| entry.get(name).is_some_and(Value::is_string);
    let is_entry = |entry: &Value| is_text(entry, "key") && is_text(entry, "value");
    if !headers.is_null() && !headers.as_array().is_some_and(|list| list.iter().all(is_entry)) {
        let message =
            "this is read as if it were a list of objects with key and value, both texts; write that, or []";
        warnings.push(("/headers".to_owned(), message.to_owned()));
    }
    let read = headers_of(headers);
    let sent: BTreeSet<usize> = read.iter().map(|(index, ..)| *index).collect();
    let rows = headers.as_array().map_or(0, Vec::len);
    for row in (0..rows).filter(|row| !sent.contains(row)) {
        let message = "this has no value, so no header is sent; write its value, or remove it";
        warnings.push((format!("/headers/{row}"), message.to_owned()));
    }
    let mut values = Vec::new();
    for (index, name, value) in read {
        let place = match headers.get(index) {
            Some(Value::Object(_)) => format!("/headers/{index}/value"),
            Some(_) => format!("/headers/{index}"),
            None => "/headers".to_owned(),
        };
        if SECRET_HEADERS.contains(&name.to_lowercase().as_str()) && !value.is_empty() {
            let message = "anyone who can see the definition, the event or a dead letter sees this secret; \
                           prefer webhook.signing_secrets if the receiver can verify signatures";
            warnings.push((place.clone(), message.to_owned()));
        }
        values.push((place, value));
    }
    values
}

fn of_url(url: &str) -> Option<String> {
    if url.starts_with("http:") {
        return Some("http is refused unless webhook.allow_http is set; write https".to_owned());
    }
    let port = Url::parse(url).ok()?.port().filter(|port| is_bad_port(*port))?;
    Some(format!(
        "port {port} belongs to another protocol; the step becomes a dead letter unless its network is in \
         webhook.allowed_networks"
    ))
}

fn of_body(
    url: &str,
    action: &Value,
    parameters: &[String],
    always_texts: &BTreeSet<String>,
) -> Option<Warning> {
    let body = action.get("body").filter(|body| !body.is_null());
    let message = if SLACK_WORKFLOWS.iter().any(|address| url.starts_with(address)) {
        workflow_problem(body, parameters, always_texts)?
    } else if declares(action.get("headers"), "x-www-form-urlencoded") && !body?.is_string() {
        "the header declares a form, but this is sent as JSON; write a text, such as \"name=$name&email=$email\""
            .to_owned()
    } else {
        text_problem(action, body?.as_str()?.trim())?.to_owned()
    };
    Some(("/body".to_owned(), message))
}

/// What the author of a text body that looks like JSON is unlikely to mean.
fn text_problem(action: &Value, text: &str) -> Option<&'static str> {
    let is_list = text.starts_with('[') && text.ends_with(']');
    let looks_like_json = is_list || (text.starts_with('{') && !text.starts_with("{{"));
    if !(looks_like_json && Template::parse(text).has_variables()) {
        return None;
    }
    if WebhookAction::parse(action).is_ok_and(|webhook| webhook.is_sent_as_text()) {
        return Some(
            "this is not JSON once values stand for its variables, so it is sent as text, and a value can change its \
             structure; write a JSON object or list instead of a text",
        );
    }
    let is_bare = is_list && !text.contains(['"', '{']);
    (is_bare && declares(action.get("headers"), "text/plain")).then_some(
        "this is a JSON list once values stand for its variables, so it is sent as one, with quotes around texts; write \
         other brackets if you mean a text, such as ($name)",
    )
}

/// Whether the headers declare a type of the body that has this in it.
fn declares(headers: Option<&Value>, kind: &str) -> bool {
    headers_of(headers.unwrap_or(&Value::Null)).iter().any(|(_, name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().contains(kind)
    })
}

/// Slack starts a workflow with an object of texts, one for each variable of its trigger
/// (<https://slack.com/help/articles/360041352714>). It does not look into members of members
/// (slackapi/slack-github-action #280) or into `text` (elementary-data/elementary #1418), and refuses what is no text.
fn workflow_problem(
    body: Option<&Value>,
    parameters: &[String],
    always_texts: &BTreeSet<String>,
) -> Option<String> {
    let Some(body) = body else {
        let message = "a Slack workflow takes its own variables, not the event; write a body with them, such as \
                       {\"name\": \"$name\"}";
        return Some(message.to_owned());
    };
    let decoded = body.as_str().and_then(json_of_text);
    let members = decoded.as_ref().unwrap_or(body).as_object();
    let texts: Option<Vec<&str>> = members.and_then(|members| members.values().map(Value::as_str).collect());
    let Some(texts) = texts else {
        return Some("a Slack workflow takes an object of texts; write {\"variable\": \"text\"}".to_owned());
    };
    let name = texts.into_iter().find_map(|text| {
        let name = only_variable(text).filter(|name| is_known(name, parameters))?;
        let is_text = ALWAYS_TEXTS.contains(&name.as_str()) || always_texts.contains(&name);
        (!is_text).then_some(name)
    })?;
    Some(format!(
        "a Slack workflow takes texts only, and ${name} may be null or another type; write it within a longer text, or \
         make it a required string"
    ))
}

/// The name of the variable that the text is, without anything around it.
fn only_variable(text: &str) -> Option<String> {
    match Template::parse(text).pieces() {
        [Piece::Variable(reference)] => reference.candidates().next().map(|(name, _)| name.to_owned()),
        _ => None,
    }
}

/// Around variables of other tools, which mean something else around anything but the name of a parameter.
const OTHER_MARKS: [(&str, &str); 5] = [("#{", "}"), ("<%=", "%>"), ("<<", ">>"), ("[[", "]]"), ("%", "%")];

/// Messages about variables in the style of other tools, which are sent as they are written. What is between the braces
/// may be a secret, which logs of a CI would keep. So it is quoted only if it names a parameter, and never of a URL or
/// header.
fn foreign(text: &str, parameters: &[String], is_secret: bool) -> Vec<String> {
    let mut messages = Vec::new();
    for (opening, end) in [("{{", "}}"), ("${", "}")] {
        let mut rest = text;
        while let Some((_, after)) = rest.split_once(opening)
            && let Some((inside, after)) = after.split_once(end)
        {
            rest = after;
            let name = inside.trim_matches(|c: char| c.is_whitespace() || "{}$=".contains(c));
            let last = name.rsplit('.').next().unwrap_or_default();
            let known = [name, last].into_iter().find(|name| is_known(name, parameters));
            let is_shown = known.is_some() && !is_secret && inside.len() <= MAX_SHOWN;
            let inside = if is_shown { inside } else { "…" };
            let instead = known.unwrap_or(" and the name of a parameter");
            let message = format!("{opening}{inside}{end} is sent as written; write ${instead}");
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
    }
    let mut others = OTHER_MARKS.iter().flat_map(|(opening, end)| {
        let starts = text.match_indices(opening).map(|(at, _)| at);
        starts.filter_map(move |at| {
            let inside = text.get(at + opening.len()..)?.split_once(end)?.0;
            is_known(inside.trim(), parameters).then_some((*opening, inside, *end))
        })
    });
    if let Some((opening, inside, end)) = others.next().filter(|_| !is_secret) {
        let name = inside.trim();
        messages.push(format!("{opening}{inside}{end} is sent as written; write ${name}"));
    }
    messages
}

/// The variables of a text, each with the names that it may refer to, longest first.
fn references(text: &str) -> Vec<Vec<String>> {
    let template = Template::parse(text);
    let variables = template.pieces().iter().filter_map(|piece| match piece {
        Piece::Variable(reference) => Some(reference),
        Piece::Text(_) => None,
    });
    variables.map(|reference| reference.candidates().map(|(name, _)| name.to_owned()).collect()).collect()
}

fn is_known(name: &str, parameters: &[String]) -> bool {
    parameters.iter().any(|parameter| parameter == name)
        || BUILT_IN.contains(&name)
        || name.starts_with("images[")
        || name.strip_prefix("contact.").is_some_and(|field| field.parse::<Field>().is_ok())
}

/// Every text in a JSON value, at any depth, with its JSON pointer.
fn collect<'a>(place: &str, value: &'a Value, texts: &mut Vec<(String, &'a str)>) {
    match value {
        Value::String(text) => texts.push((place.to_owned(), text)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{place}/{index}"), item, texts);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                collect(&format!("{place}/{}", super::escaped(key)), member, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
