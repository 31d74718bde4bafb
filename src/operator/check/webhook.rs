//! What the author of a webhook is unlikely to mean.

use std::collections::BTreeSet;

use serde_json::Value;
use url::Url;

use super::{MAX_WARNINGS, Warnings};
use crate::domain::{
    contact::field::Field,
    trigger::definition::Trigger,
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

/// Around variables of other tools, which mean something else around anything but the name of a parameter.
const OTHER_MARKS: [(&str, &str); 10] = [
    ("#{", "}"),
    ("<%=", "%>"),
    ("<<", ">>"),
    ("[[", "]]"),
    ("@{", "}"),
    ("%{", "}"),
    ("%(", ")s"),
    ("*|", "|*"),
    ("$(", ")"),
    ("%", "%"),
];
/// The same around a whole text only, where nothing else can be meant.
const WHOLE_MARKS: [(&str, &str); 4] = [("<", ">"), ("[", "]"), ("#", "#"), (":", "")];

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

/// A webhook of a trigger that the service accepts.
pub(super) struct Webhook<'a> {
    pub(super) action: &'a Value,
    /// Its JSON pointer.
    pub(super) place: &'a str,
    pub(super) trigger: &'a Trigger,
    /// See [`always_texts`].
    pub(super) always_texts: &'a BTreeSet<String>,
}

impl Webhook<'_> {
    /// Adds its warnings, and the variables that it uses to `used`.
    pub(super) fn warnings(&self, used: &mut BTreeSet<String>, all: &mut Warnings) {
        let url = self.action.get("url").and_then(Value::as_str).unwrap_or_default();
        let at_url = format!("{}/url", self.place);
        all.extend(of_url(url).map(|message| (at_url.clone(), message)));
        all.extend(self.empty_segment(url).map(|message| (at_url.clone(), message)));
        let mut strict = vec![(at_url, url.to_owned())];
        strict.extend(self.headers(all));
        for (place, text) in &strict {
            each_reference(text, |names| {
                if !names.iter().any(|name| self.is_known(name))
                    && let Some(name) = names.last()
                {
                    let message = format!(
                        "${name} is neither a parameter nor a built-in variable; the step becomes a dead letter unless \
                         clientData has this key"
                    );
                    all.push(place, message);
                }
                used.extend(names.iter().map(|name| (*name).to_owned()));
            });
        }
        for (place, text) in &strict {
            all.extend(self.foreign(text, true).into_iter().map(|message| (place.clone(), message)));
        }
        let body = self.action.get("body").filter(|body| !body.is_null());
        let at_body = format!("{}/body", self.place);
        each_text(&mut at_body.clone(), body.unwrap_or(&Value::Null), &mut |place, text| {
            all.extend(self.foreign(text, false).into_iter().map(|message| (place.to_owned(), message)));
            each_reference(text, |names| {
                // `$5` is a price, and begins no variable.
                if !names.iter().any(|name| self.is_known(name))
                    && let Some(name) = names.last()
                {
                    let message = format!(
                        "${name} is neither a parameter nor a built-in variable; it is sent as written unless clientData \
                         has this key"
                    );
                    all.push(place, message);
                }
                used.extend(names.iter().map(|name| (*name).to_owned()));
            });
        });
        each_key(&mut at_body.clone(), body.unwrap_or(&Value::Null), &mut |place, key| {
            if Template::parse(key).has_variables() || !self.foreign(key, false).is_empty() {
                let message = "a variable in a key is sent as written; write it into the value";
                all.push(place, message);
            }
        });
        all.extend(self.of_body(url, body).map(|message| (at_body, message)));
    }

    /// The values of the headers, each with its place; adds warnings about them.
    fn headers(&self, all: &mut Warnings) -> Vec<(String, String)> {
        let headers = self.action.get("headers").unwrap_or(&Value::Null);
        let list = format!("{}/headers", self.place);
        let is_text = |entry: &Value, name: &str| entry.get(name).is_some_and(Value::is_string);
        let is_entry = |entry: &Value| is_text(entry, "key") && is_text(entry, "value");
        if !headers.is_null() && !headers.as_array().is_some_and(|list| list.iter().all(is_entry)) {
            let message = "this is read as if it were a list of objects with key and value, both texts; write that, or []";
            all.push(&list, message);
        }
        let read = headers_of(headers);
        let sent: BTreeSet<usize> = read.iter().map(|(index, ..)| *index).collect();
        let rows = headers.as_array().map_or(0, Vec::len);
        all.extend((0..rows).filter(|row| !sent.contains(row)).map(|row| {
            let message = "this has no value, so no header is sent; write its value, or remove it";
            (format!("{list}/{row}"), message.to_owned())
        }));
        let mut values = Vec::new();
        for (index, name, value) in read {
            let place = match headers.get(index) {
                Some(Value::Object(_)) => format!("{list}/{index}/value"),
                Some(_) => format!("{list}/{index}"),
                None => list.clone(),
            };
            if SECRET_HEADERS.contains(&name.to_lowercase().as_str()) && !value.is_empty() {
                let message = "anyone who can see the definition, the event or a dead letter sees this secret; \
                               prefer webhook.signing_secrets if the receiver can verify signatures";
                all.push(&place, message);
            }
            values.push((place, value));
        }
        values
    }

    fn of_body(&self, url: &str, body: Option<&Value>) -> Option<String> {
        if SLACK_WORKFLOWS.iter().any(|address| url.starts_with(address)) {
            self.workflow_problem(body)
        } else if self.declares("x-www-form-urlencoded") && !body?.is_string() {
            let message = "the header declares a form, but this is sent as JSON; write a text, such as \
                           \"name=$name&email=$email\"";
            Some(message.to_owned())
        } else {
            self.text_problem(body?.as_str()?.trim()).map(str::to_owned)
        }
    }

    /// What the author of a text body that looks like JSON is unlikely to mean.
    fn text_problem(&self, text: &str) -> Option<&'static str> {
        let is_list = text.starts_with('[') && text.ends_with(']');
        let looks_like_json = is_list || (text.starts_with('{') && !text.starts_with("{{"));
        if !(looks_like_json && Template::parse(text).has_variables()) {
            return None;
        }
        if WebhookAction::parse(self.action).is_ok_and(|webhook| webhook.is_sent_as_text()) {
            return Some(
                "this is not JSON once values stand for its variables, so it is sent as text, and a value can change \
                 its structure; write a JSON object or list instead of a text",
            );
        }
        let is_bare = is_list && !text.contains(['"', '{']);
        (is_bare && self.declares("text/plain")).then_some(
            "this is a JSON list once values stand for its variables, so it is sent as one, with quotes around texts; \
             write other brackets if you mean a text, such as ($name)",
        )
    }

    /// Whether the headers declare a type of the body that has this in it.
    fn declares(&self, kind: &str) -> bool {
        headers_of(self.action.get("headers").unwrap_or(&Value::Null)).iter().any(|(_, name, value)| {
            name.eq_ignore_ascii_case("content-type") && value.to_ascii_lowercase().contains(kind)
        })
    }

    /// Slack starts a workflow with an object of texts, one for each variable of its trigger
    /// (<https://slack.com/help/articles/360041352714>). It does not look into members of members
    /// (slackapi/slack-github-action #280) or into `text` (elementary-data/elementary #1418), and refuses what is no
    /// text.
    fn workflow_problem(&self, body: Option<&Value>) -> Option<String> {
        let Some(body) = body else {
            let message = "a Slack workflow takes its own variables, not the event; write a body with them, such as \
                           {\"name\": \"$name\"}";
            return Some(message.to_owned());
        };
        let decoded = body.as_str().and_then(json_of_text);
        let members = decoded.as_ref().unwrap_or(body).as_object();
        let texts: Option<Vec<&str>> =
            members.and_then(|members| members.values().map(Value::as_str).collect());
        let Some(texts) = texts else {
            return Some(
                "a Slack workflow takes an object of texts; write {\"variable\": \"text\"}".to_owned(),
            );
        };
        let name = texts.into_iter().find_map(|text| {
            let name = only_variable(text).filter(|name| self.is_known(name))?;
            let is_text = ALWAYS_TEXTS.contains(&name.as_str()) || self.always_texts.contains(&name);
            (!is_text).then_some(name)
        })?;
        Some(format!(
            "a Slack workflow takes texts only, and ${name} may be null or another type; write it within a longer text, \
             or make it a required string"
        ))
    }

    /// Messages about variables in the style of other tools, which are sent as they are written. What is between the
    /// braces may be a secret, which logs of a CI would keep. So it is quoted only if it names a parameter, and never of
    /// a URL or header.
    fn foreign(&self, text: &str, is_secret: bool) -> Vec<String> {
        let mut messages = Vec::new();
        for (opening, end) in [("{{", "}}"), ("${", "}")] {
            let mut rest = text;
            while let Some((_, after)) = rest.split_once(opening)
                && let Some((inside, after)) = after.split_once(end)
                && messages.len() < MAX_WARNINGS
            {
                rest = after;
                let name = inside.trim_matches(|c: char| c.is_whitespace() || "{}$=".contains(c));
                let last = name.rsplit('.').next().unwrap_or_default();
                let known = [name, last].into_iter().find(|name| self.is_known(name));
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
                let after = text.get(at + opening.len()..)?;
                let inside = after.get(..after.floor_char_boundary(MAX_SHOWN))?.split_once(end)?.0;
                self.is_known(inside.trim()).then_some((*opening, inside, *end))
            })
        });
        if let Some((opening, inside, end)) = others.next().filter(|_| !is_secret) {
            let name = inside.trim();
            messages.push(format!("{opening}{inside}{end} is sent as written; write ${name}"));
        } else if messages.is_empty() && !is_secret {
            let whole = text.trim();
            let inside =
                WHOLE_MARKS.iter().find_map(|(open, end)| whole.strip_prefix(open)?.strip_suffix(end));
            let name = inside.map(str::trim).filter(|name| self.is_known(name));
            messages.extend(name.map(|name| format!("{whole} is sent as written; write ${name}")));
        }
        messages
    }

    /// What a path without one of its segments addresses is probably something else.
    fn empty_segment(&self, url: &str) -> Option<String> {
        let (_, rest) = url.split_once("://")?;
        let path = rest.split(['?', '#']).next()?;
        let names = path.split(['/', '\\']).skip(1).filter_map(only_variable);
        let name = names
            .filter(|name| self.trigger.declares(name))
            .find(|name| !self.always_texts.contains(name))?;
        Some(format!(
            "without a value, ${name} leaves this segment of the path empty; make it a required string, or write it into \
             the query"
        ))
    }

    fn is_known(&self, name: &str) -> bool {
        self.trigger.declares(name)
            || BUILT_IN.contains(&name)
            || name.starts_with("images[")
            || name.strip_prefix("contact.").is_some_and(|field| field.parse::<Field>().is_ok())
    }
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

/// The name of the variable that the text is, without anything around it.
fn only_variable(text: &str) -> Option<String> {
    match Template::parse(text).pieces() {
        [Piece::Variable(reference)] => reference.candidates().next().map(|(name, _)| name.to_owned()),
        _ => None,
    }
}

/// Calls `take` for each variable of a text, with the names that it may refer to, longest first.
fn each_reference(text: &str, mut take: impl FnMut(&[&str])) {
    for piece in Template::parse(text).pieces() {
        if let Piece::Variable(reference) = piece {
            take(&reference.candidates().map(|(name, _)| name).collect::<Vec<_>>());
        }
    }
}

/// Calls `take` for every key in a JSON value, at any depth, with the JSON pointer of its member.
fn each_key(place: &mut String, value: &Value, take: &mut impl FnMut(&str, &str)) {
    let length = place.len();
    let members =
        value.as_object().into_iter().flatten().map(|(key, member)| (super::escaped(key), Some(key), member));
    let items = value.as_array().into_iter().flatten().enumerate();
    for (step, key, member) in members.chain(items.map(|(index, item)| (index.to_string(), None, item))) {
        place.push('/');
        place.push_str(&step);
        if let Some(key) = key {
            take(place, key);
        }
        each_key(place, member, take);
        place.truncate(length);
    }
}

/// Calls `take` for every text in a JSON value, at any depth, with its JSON pointer. `place` is that of the value.
fn each_text(place: &mut String, value: &Value, take: &mut impl FnMut(&str, &str)) {
    let length = place.len();
    match value {
        Value::String(text) => take(place, text),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                place.push('/');
                place.push_str(&index.to_string());
                each_text(place, item, take);
                place.truncate(length);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                place.push('/');
                place.push_str(&super::escaped(key));
                each_text(place, member, take);
                place.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
