//! Tests of Slack's messages and answers.

use proptest::prelude::*;

use std::time::Duration;

use super::*;
use crate::domain::{
    fault::Reason,
    samples::matching,
    webhook::attempt::{Class, Next, Outcome, RetryRule, Round, after_attempt},
};

fn event(data: &Value) -> Vec<u8> {
    json!({"type": "contact.upserted", "data": data}).to_string().into_bytes()
}

fn message(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn markup_characters_become_entities() {
    for (text, expected) in [
        ("", ""),
        ("Ada", "Ada"),
        ("<!channel>", "&lt;!channel&gt;"),
        ("<https://evil.example|click>", "&lt;https://evil.example|click&gt;"),
        ("<@U012AB3CD>", "&lt;@U012AB3CD&gt;"),
        ("A & B", "A &amp; B"),
        ("&lt;", "&amp;lt;"),
    ] {
        assert_eq!(escape(text), expected, "{text}");
    }
}

#[test]
fn events_are_summarized() {
    let trigger = json!({"name": "register_lead", "eventId": "e"});
    let contact = json!({"id": "1", "name": "Ada <!here>", "company": "A & B", "email": "ada@x.example", "phone": "+5511"});
    for (data, expected) in [
        (
            json!({"operation": "created", "contact": contact, "trigger": trigger}),
            "*New contact*: Ada &lt;!here&gt;\n*Company*: A &amp; B\n*Email*: ada@x.example\n*Phone*: +5511\n*Trigger*: register_lead",
        ),
        (json!({"operation": "updated", "contact": {"name": "Ada"}}), "*Contact updated*: Ada"),
        (json!({"operation": "unchanged", "contact": {"name": ""}}), "*Known contact*"),
        (json!({"trigger": {"name": "a\nb<"}}), "*Trigger fired*\n*Trigger*: a b&lt;"),
        (json!(null), "*Trigger fired*"),
    ] {
        assert_eq!(event_text(&event(&data)), expected);
        assert_eq!(message(&event_message(&event(&data))), json!({"text": expected}));
    }
    assert_eq!(event_text(b"not JSON"), "*Trigger fired*");
}

#[test]
fn messages_stay_as_they_are_and_other_bodies_become_lines() {
    let event = event(&json!({"operation": "created"}));
    for (body, expected) in [
        (json!({"text": "Hi <!here>"}), json!({"text": "Hi <!here>"})),
        (json!({"text": 36, "mrkdwn": false}), json!({"text": "36", "mrkdwn": false})),
        (json!({"text": null, "blocks": []}), json!({"text": "", "blocks": []})),
        (json!({"blocks": [{"type": "divider"}]}), json!({"blocks": [{"type": "divider"}]})),
        (json!({"attachments": [{"text": "x"}]}), json!({"attachments": [{"text": "x"}]})),
        (
            json!({"Name": "Ada", "Age": 36, "VIP": true, "Tags": ["a"], "Phone": null, "Note": "", "X": "a\nb"}),
            json!({"text": "*Name*: Ada\n*Age*: 36\n*VIP*: true\n*Tags*: [\"a\"]\n*X*: a b"}),
        ),
        (json!(["Ada", 36, null]), json!({"text": "Ada\n36"})),
        (json!("Ada\nGrace"), json!({"text": "Ada\nGrace"})),
        (json!({}), json!({"text": "*New contact*"})),
        (json!({"Phone": null}), json!({"text": "*New contact*"})),
        (json!(null), json!({"text": "*New contact*"})),
    ] {
        assert_eq!(message(&json_message(body.clone(), &event)), expected, "{body}");
    }
}

#[test]
fn members_keep_their_order() {
    assert_eq!(json_message(json!({"z": 1, "text": "x", "a": 2}), b""), br#"{"z":1,"text":"x","a":2}"#);
}

#[test]
fn long_texts_and_blocks_are_cut() {
    let cut_to = |text: String| message(&text_message(&text))["text"].as_str().unwrap().to_owned();
    let (full, more) = ("é".repeat(MAX_TEXT), "é".repeat(MAX_TEXT + 1));
    assert_eq!(cut_to(full.clone()), full);
    assert_eq!(cut_to(more.clone()), format!("{}…", "é".repeat(MAX_TEXT - 1)));
    let of_message = message(&json_message(json!({"text": more, "blocks": []}), b""));
    assert_eq!(of_message["text"].as_str().unwrap().chars().count(), MAX_TEXT);
    for (entity, kept) in [("&amp;", 5), ("&amp;", 4), ("&amp;", 1), ("&lt;", 3), ("&gt;", 2)] {
        let text = format!("{}{entity}{}", "x".repeat(MAX_TEXT - 1 - kept), "y".repeat(20));
        let end = if kept == entity.len() { entity } else { "" };
        assert_eq!(cut_to(text), format!("{}{end}…", "x".repeat(MAX_TEXT - 1 - kept)), "{entity} {kept}");
    }
    let blocks = |count: usize| {
        let blocks = vec![json!({"type": "divider"}); count];
        message(&json_message(json!({ "blocks": blocks }), b""))["blocks"].as_array().unwrap().clone()
    };
    assert_eq!(blocks(MAX_BLOCKS), vec![json!({"type": "divider"}); MAX_BLOCKS]);
    let cut = blocks(MAX_BLOCKS + 3);
    assert_eq!(cut.len(), MAX_BLOCKS);
    assert_eq!(cut.last().unwrap()["text"]["text"], "… and 4 more");
}

#[test]
fn only_known_codes_of_failed_requests_are_problems() {
    let gone = |status: u16, body: &str| problem(status, body.as_bytes()).map(|problem| problem.gone);
    for (status, body, expected) in [
        (200, "ok", None),
        (200, "no_service", None),
        (404, "no_service", Some(true)),
        (403, "invalid_token", Some(true)),
        (410, "channel_is_archived", Some(true)),
        (404, "channel_not_found", Some(false)),
        (400, "invalid_payload", Some(false)),
        (400, " no_text\n", Some(false)),
        (403, "action_prohibited", Some(false)),
        (500, "rollup_error", Some(false)),
        (503, "no_team", Some(false)),
        (404, r#"{"ok":false,"error":"no_team"}"#, Some(true)),
        (404, r#"{"ok":false}"#, None),
        (404, "{no_team", None),
        (404, "<html>no_service</html>", None),
        (400, "", None),
    ] {
        assert_eq!(gone(status, body), expected, "{status} {body}");
    }
    assert_eq!(problem(404, &[0xff]), None);
    assert_eq!(problem(404, " ".repeat(2000).as_bytes()), None);
    let sentence = problem(404, b"no_service").unwrap().sentence;
    assert_eq!(sentence, "Slack disabled or removed this webhook; create a new one");
}

#[test]
fn slacks_answer_becomes_the_error_of_the_outcome() {
    let rule = RetryRule {
        schedule: Vec::new(),
        jitter: 0.0,
        max_age: Duration::MAX,
        retry_statuses: Vec::new(),
        dead_statuses: Vec::new(),
    };
    for (status, body, class, says) in [
        (
            404,
            "no_service",
            Class::Gone,
            "Slack answered 404 (Slack disabled or removed this webhook; create a new one); the endpoint is disabled",
        ),
        (410, "channel_is_archived", Class::Gone, "Slack answered 410 (the Slack channel is archived"),
        (410, "", Class::Gone, "as before; the endpoint is disabled until an operator enables it"),
        (
            400,
            "no_text",
            Class::Rejected,
            "Slack answered 400 (the message is empty; it needs text, blocks or attachments); this status is not retried",
        ),
        (400, "?", Class::Rejected, "as before; this status is not retried"),
        (
            500,
            "rollup_error",
            Class::HttpStatus,
            "last error: Slack answered 500 (Slack had an internal error)",
        ),
    ] {
        let before = Class::of_status(status);
        let mut outcome = Outcome::without_answer(before, Duration::ZERO, "as before");
        (outcome.status, outcome.response_body) = (Some(status), body.as_bytes().to_vec());
        explain(&mut outcome);
        assert_eq!(outcome.class, class, "{status} {body}");
        let round = Round { attempts: 1, age: Duration::ZERO };
        let Next::Dead(reason, text) = after_attempt(&outcome, round, &rule, 0.0) else { panic!("{status}") };
        assert_eq!(reason == Reason::WebhookExhausted, class == Class::HttpStatus);
        assert!(text.contains(says), "{text}");
    }
    let mut late = Outcome::without_answer(Class::Timeout, Duration::ZERO, "late");
    (late.status, late.response_body) = (Some(404), b"no_service".to_vec());
    let before = late.clone();
    explain(&mut late);
    assert_eq!(late, before, "an answer that was not complete in time");
}

proptest! {
    #[test]
    fn escaping_is_reversible_and_leaves_no_markup(text in matching("\\PC*")) {
        let escaped = escape(&text);
        prop_assert!(!escaped.contains(['<', '>']));
        let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        prop_assert_eq!(back, text);
    }

    #[test]
    fn any_answer_is_harmless(status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = problem(status, &body);
    }

    #[test]
    fn cut_texts_fit_the_limit(text in matching("[<&;é]{0,20}"), tail in matching("(&amp;|&lt;|é|x){0,40}")) {
        let text = format!("{}{text}{tail}", "x".repeat(MAX_TEXT - 40));
        let cut = cut(&text);
        prop_assert!(cut.chars().count() <= MAX_TEXT);
        prop_assert!(cut.strip_suffix('…').is_none_or(|kept| text.starts_with(kept)));
    }
}
