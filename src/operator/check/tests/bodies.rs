//! Bodies and headers of webhooks that are sent otherwise than their author is likely to mean.

use super::*;

#[test]
fn text_that_looks_like_json_gets_a_warning() {
    for text in [
        r#"{"a": $name,}"#,
        "{'a': '$name'}",
        "{a: $name}",
        r#"{"a": $name$email}"#,
        "[$name, None]",
        " {$name} ",
    ] {
        let found = webhook_warnings(&json!({"body": text}));
        assert!(
            matches!(found.as_slice(), [(at, says)] if at == "/body" && says.contains("not JSON")),
            "{found:?}"
        );
    }
    for text in [r#"{"a": $name}"#, r#"["$name"]"#, "[Lead] $name", "$name", "{no variable}", "Hello {$name}"]
    {
        assert_eq!(webhook_warnings(&json!({"body": text})), [], "{text}");
    }
    // Apps Script and CORS; Splunk's HEC, Elasticsearch's _bulk, BigQuery
    for (content_type, text) in [
        ("text/plain", r#"{"a": "$name",}"#),
        ("text/plain; charset=utf-8", "{$name}"),
        ("application/x-ndjson", "{\"index\": {}}\n{\"a\": \"$name\"}"),
        ("application/json-seq", "[\"$name\"]\n[\"$email\"]"),
    ] {
        let headers = json!([{"key": "content-type", "value": content_type}]);
        let found = webhook_warnings(&json!({"body": text, "headers": headers}));
        let [(at, says)] = found.as_slice() else { panic!("{text}: {found:?}") };
        assert!(at == "/body" && says.contains("not JSON"), "{says}");
    }
}

#[test]
fn header_that_is_not_sent_gets_a_warning() {
    for (headers, expected) in [
        (json!([{"key": "X-A", "value": "b"}, {"key": "X-B"}]), &["/headers", "/headers/1"][..]),
        (json!([{"key": null, "value": null}, {"key": "X-A", "value": "b"}]), &["/headers", "/headers/0"]),
        (json!([{"key": "", "value": ""}]), &["/headers/0"]),
        (json!([{"key": "X-A", "value": ""}]), &[]),
    ] {
        let found = webhook_warnings(&json!({"headers": headers}));
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, expected, "{headers}");
        let says = |(place, message): &(String, String)| {
            place == "/headers" || message.contains("no header is sent")
        };
        assert!(found.iter().all(says), "{found:?}");
    }
}

/// A message to people, as ntfy and Telegram take it.
#[test]
fn list_of_bare_variables_that_is_declared_as_text_gets_a_warning() {
    for (content_type, text, is_list) in [
        ("text/plain", "[$name]", true),
        ("Text/Plain; charset=utf-8", " [$name, $email] ", true),
        ("text/plain", "[$name, 5]", true),
        ("text/plain", r#"["$name"]"#, false),
        ("text/plain", r#"[{"a": $name}]"#, false),
        ("text/plain", r#"{"a": $name}"#, false),
        ("text/plain", "($name)", false),
        ("text/plain", "[Lead] $name", false),
        ("application/json", "[$name]", false),
    ] {
        let headers = json!([{"key": "Content-Type", "value": content_type}]);
        let found = webhook_warnings(&json!({"body": text, "headers": headers}));
        let is_told =
            matches!(found.as_slice(), [(at, says)] if at == "/body" && says.contains("a JSON list"));
        assert_eq!((is_told, found.len()), (is_list, usize::from(is_list)), "{text}: {found:?}");
    }
    assert_eq!(webhook_warnings(&json!({"body": "[$name]"})), []);
}
