//! The headers of a webhook action, in the shapes in which authors and their tools write them.

use serde_json::{Map, Value};

use crate::domain::{
    json::is_empty,
    webhook::{request::WebhookInvalid, template::Template},
};

/// Headers that the service sets itself, and those that belong to the connection (RFC 9110, 7.6.1).
const OWN_HEADERS: [&str; 18] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Names in lower case, valid and not among [`OWN_HEADERS`]. Or what is wrong with one of them.
pub(super) type Headers = Result<Vec<(String, Template)>, WebhookInvalid>;

/// # Errors
/// A sentence about the shape, without names and values.
pub(super) fn parse(value: Option<&Value>) -> Result<Headers, String> {
    let mut headers = Vec::new();
    let mut illegal = None;
    for (index, name, value) in written(value)? {
        let at = |what: &str| format!("headers[{index}]: {what}");
        let name = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&name.as_str()) || name.starts_with("webhook-") {
            illegal.get_or_insert(at("the service sets this header, so an action cannot"));
        } else if !is_token(&name) {
            illegal.get_or_insert(at("key is not a valid header name"));
        } else if value.chars().any(char::is_control) {
            illegal.get_or_insert(at("value contains a line break or another control character"));
        }
        headers.push((name, Template::parse(&value)));
    }
    Ok(illegal.map_or(Ok(headers), |message| Err(WebhookInvalid::new(message))))
}

/// Position, name and value of each header. An empty row of a form does not count, nor does a name without a value.
pub(super) fn written(value: Option<&Value>) -> Result<Vec<(usize, String, String)>, String> {
    let mut headers = Vec::new();
    let mut add = |index: usize, name: &str, value: &Value| {
        let texts = texts(value).ok_or_else(|| format!("headers[{index}]: value must be a text"))?;
        let is_row = |text: &String| !(name.trim().is_empty() && text.trim().is_empty());
        headers.extend(texts.into_iter().filter(is_row).map(|text| (index, name.to_owned(), text)));
        Ok::<_, String>(())
    };
    match value {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) if text.trim().is_empty() => {}
        Some(Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                let (name, value) = item_of(item).map_err(|what| format!("headers[{index}]: {what}"))?;
                add(index, &name, &value)?;
            }
        }
        // One entry, without the list around it.
        Some(Value::Object(entry)) if is_entry(entry) => {
            let (name, value) = entry_of(entry).map_err(|what| format!("headers: {what}"))?;
            add(0, &name, &value)?;
        }
        Some(Value::Object(members)) => {
            for (index, (name, value)) in members.iter().enumerate() {
                add(index, name, value)?;
            }
        }
        Some(_) => return Err("headers must be a list of objects with key and value".to_owned()),
    }
    Ok(headers)
}

/// An object with key and value, a pair of them in a list, or a line as curl takes it: `Name: value`.
fn item_of(item: &Value) -> Result<(String, Value), &'static str> {
    let other = "must be an object with key and value";
    match item {
        Value::Object(entry) => entry_of(entry),
        Value::Array(pair) => match pair.as_slice() {
            [Value::String(name), value] => Ok((name.clone(), value.clone())),
            _ => Err(other),
        },
        Value::String(line) => {
            let (name, value) = line.split_once(':').ok_or(other)?;
            Ok((name.trim().to_owned(), value.trim().into()))
        }
        _ => Err(other),
    }
}

fn is_entry(members: &Map<String, Value>) -> bool {
    member(members, &["key", "name"]).is_some_and(Value::is_string) && member(members, &["value"]).is_some()
}

fn entry_of(entry: &Map<String, Value>) -> Result<(String, Value), &'static str> {
    let value = member(entry, &["value"]).unwrap_or(&Value::Null);
    let name = match member(entry, &["key", "name"]) {
        None | Some(Value::Null) if is_empty(value) => String::new(),
        None | Some(Value::Null) => return Err("key is missing"),
        Some(Value::String(name)) => name.clone(),
        Some(_) => return Err("key must be a string"),
    };
    Ok((name, value.clone()))
}

/// The member with the first of these names that is there, in any case (C# writes `Key` and `Value`).
fn member<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    let find = |name: &&str| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    names.iter().find_map(find).map(|(_, value)| value)
}

/// The texts of a value; Go and Node have a list of them for each name. Null counts as no text.
fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Some(vec![value.to_string()]),
        Value::Array(items) if items.iter().all(|item| !item.is_array()) => {
            let texts: Option<Vec<_>> = items.iter().map(texts).collect();
            Some(texts?.into_iter().flatten().collect())
        }
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether the text is a token (RFC 9110, 5.6.2), which a header name must be.
fn is_token(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_inside)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Headers = &'static [(&'static str, &'static str)];

    const ONE: Headers = &[("x-a", "b")];

    /// Headers as JSON, what is sent, and a source.
    const SHAPES: &[(&str, Headers, &str)] = &[
        (
            r#"[{"key": "X-A", "value": "b"}]"#,
            ONE,
            "https://schema.postman.com/collection/json/v2.1.0/draft-07/collection.json",
        ),
        (r#"[{"name": "X-A", "value": "b"}]"#, ONE, "n8n, Make: name instead of key"),
        (r#"[{"Key": "X-A", "Value": "b"}]"#, ONE, "C#: members begin with a capital"),
        (r#"{"X-A": "b"}"#, ONE, "https://github.com/pixlcore/xyops/issues/238: a map, as fetch takes it"),
        (r#"{"X-A": ["b"], "X-B": []}"#, ONE, "https://pkg.go.dev/net/http#Header: a list for each name"),
        (r#"{"X-A": ["b", "c"]}"#, &[("x-a", "b"), ("x-a", "c")], "as above: two values"),
        (r#"[["X-A", "b"]]"#, ONE, "https://fetch.spec.whatwg.org/#headers-class: pairs"),
        (r#"["X-A: b"]"#, ONE, "https://curl.se/docs/manpage.html#-H: lines"),
        (r#"["X-A:https://h.example/"]"#, &[("x-a", "https://h.example/")], "as above: two colons"),
        (r#"{"key": "X-A", "value": "b"}"#, ONE, "PHP: a list of one that lost its list"),
        (r#"[{"key": "X-A", "value": 5}]"#, &[("x-a", "5")], "JSON: a number"),
        (r#"{"X-A": 1.5, "X-B": true}"#, &[("x-a", "1.5"), ("x-b", "true")], "JSON: numbers and flags"),
        (r#"[{"key": "", "value": ""}, {"key": "X-A", "value": "b"}]"#, ONE, "HTML, 4.10.21.4: an empty row"),
        (r#"[{"key": "X-B", "value": null}, {"key": "X-A", "value": "b"}]"#, ONE, "as above: null"),
        (r#"[{"key": "X-B"}, {"key": "X-A", "value": "b"}]"#, ONE, "as above: absent"),
        (
            r#"[{"key": null, "value": null}, {"key": "X-A", "value": "b"}]"#,
            ONE,
            "Java, C#, Go: an empty row through their serializers",
        ),
        (r#"[{"key": null, "value": " "}, {"key": "", "value": null}]"#, &[], "as above: two of them"),
        (r#"[{"Key": null, "Value": []}, {}]"#, &[], "as above: lists and objects"),
        (r#"{"key": null, "value": null}"#, &[], "as above: without a list"),
        (r#"{"X-A": "b", "X-B": null}"#, ONE, "as above: in a map"),
        ("{}", &[], "PHP: an empty map with JSON_FORCE_OBJECT"),
        ("[]", &[], "PHP: an empty map"),
        (r#""""#, &[], "HTML, 4.10.21.4: an empty box"),
        ("null", &[], "JSON: null"),
        (r#"[{"key": "X-A", "value": ""}]"#, &[("x-a", "")], "RFC 9110, 5.5: a value may be empty"),
        (r#"{"Key": "b"}"#, &[("key", "b")], "as above: a header of that name"),
    ];

    fn read(headers: &Value) -> Result<Vec<(String, String)>, String> {
        let headers = parse(Some(headers))?.map_err(|invalid| invalid.to_string())?;
        let text = |template: &Template| template.as_plain().unwrap_or("$").to_owned();
        Ok(headers.iter().map(|(name, value)| (name.clone(), text(value))).collect())
    }

    #[test]
    fn headers_are_read_in_every_shape() {
        for (headers, expected, source) in SHAPES {
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let headers: Value = serde_json::from_str(headers).unwrap();
            assert_eq!(read(&headers), Ok(expected), "{headers} ({source})");
        }
    }

    #[test]
    fn other_shapes_are_refused_without_quoting_them() {
        for (headers, expected) in [
            (json!("secret"), "headers must be a list"),
            (json!(5), "headers must be a list"),
            (json!(["secret"]), "headers[0]: must be an object"),
            (json!([5]), "headers[0]: must be an object"),
            (json!([["secret"]]), "headers[0]: must be an object"),
            (json!([["a", "b", "secret"]]), "headers[0]: must be an object"),
            (json!([{"value": "secret"}]), "headers[0]: key is missing"),
            (json!([{"key": 5, "value": "secret"}]), "headers[0]: key must be a string"),
            (json!([{"key": "a", "value": {"secret": 1}}]), "headers[0]: value must be a text"),
            (json!({"a": {"secret": 1}}), "headers[0]: value must be a text"),
            (json!({"a": [["secret"]]}), "headers[0]: value must be a text"),
            (json!({"Host": "secret"}), "the service sets this header"),
            (json!({"bad name": "secret"}), "key is not a valid header name"),
            (json!(["X-A: a\nsecret"]), "value contains a line break"),
        ] {
            let error = read(&headers).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{headers}: {error}");
        }
    }
}
