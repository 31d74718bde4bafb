//! Tests of rendering, with harmless and hostile values.

mod json_text;
mod not_given;
mod slack;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::*;
use crate::domain::{
    contact::{
        Contact, ContactId, Operation, Stamped,
        field::{Field, FieldMap},
    },
    event::{CompanyId, EventRef, Stamp},
    json::Digits,
    samples::matching,
    webhook::{
        request::{MAX_URL, Method},
        variables::{ContactView, Declared},
    },
};

const EVENT: &[u8] = br#"{"type":"contact.upserted"}"#;

fn contact() -> Contact {
    let event = EventRef::new("/s", "e").unwrap();
    let stamp = Stamp { time: OffsetDateTime::UNIX_EPOCH, event, step: 1 };
    let mut values = FieldMap::default();
    for (field, value) in [(Field::Name, "Ada"), (Field::ZipCode, "60000"), (Field::Identity, "123")] {
        values.insert(field, Stamped { value: value.to_owned(), stamp: stamp.clone() });
    }
    let company = CompanyId::new("acme").unwrap();
    let (created_at, updated_at) = (stamp.time, stamp.time);
    Contact {
        id: ContactId(Uuid::nil()),
        company,
        version: 1,
        values,
        keys: Vec::new(),
        sides: Vec::new(),
        created_at,
        updated_at,
    }
}

fn arguments() -> Json {
    json!({
        "name": "Ada Lovelace", "email": "ada@analytical.example", "age": 36, "rate": 1.5, "vip": true, "tags": ["a", "b c"],
        "plan": "from arguments", "evil": "x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1", "path": "../../admin?x=1&y=2#z",
        "dots": "..", "dot": ".", "empty": "", "next": "$email", "session.id": "forged", "customer-name": "Grace",
    })
}

struct Names(&'static [&'static str]);

impl Declared for Names {
    fn declares(&self, name: &str) -> bool {
        self.0.contains(&name)
    }
}

/// Renders `definition` with the sample values.
fn rendered_with(
    definition: &Json,
    arguments: &Json,
    include_identity: bool,
) -> Result<WebhookRequest, WebhookInvalid> {
    rendered_for(Profile::Plain, definition, arguments, include_identity)
}

fn rendered_for(
    profile: Profile,
    definition: &Json,
    arguments: &Json,
    include_identity: bool,
) -> Result<WebhookRequest, WebhookInvalid> {
    let action = WebhookAction::parse(definition).unwrap_or_else(|e| panic!("{definition}: {e}"));
    let (contact, nothing) = (contact(), Map::new());
    let digits = Digits::from([("iccid".to_owned(), "89551234567890123456".to_owned())]);
    let client_data =
        json!({"plan": "enterprise", "user_id": "usr_999", "none": null, "deep": {"b": [1], "a": "é"}});
    let variables = Variables {
        event_id: "evt-1",
        company_id: "acme",
        session_id: Some("s-1"),
        assistant_id: None,
        images: &["https://cdn.example/1.png".to_owned()],
        arguments: (arguments.as_object().unwrap_or(&nothing), &digits),
        client_data: (client_data.as_object().unwrap_or(&nothing), &Digits::new()),
        declared: &Names(&["interest", "name", "user_id"]),
        contact: Some(ContactView { contact: &contact, operation: Operation::Created, include_identity }),
    };
    render(&action, profile, &variables, EVENT)
}

fn rendered(members: &Json) -> Result<WebhookRequest, WebhookInvalid> {
    let mut definition = json!({"type": "WEBHOOK", "url": "https://hooks.example/sales"});
    definition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    rendered_with(&definition, &arguments(), false)
}

fn body(body: &Json) -> String {
    String::from_utf8(rendered(&json!({"body": body})).unwrap().body.unwrap()).unwrap()
}

#[test]
fn number_beyond_64_bits_is_sent_as_it_was_written() {
    let body = json!({"number": "$iccid", "text": "no. $iccid"});
    let definition = json!({"type": "WEBHOOK", "url": "https://hooks.example/?n=$iccid", "body": body});
    let sent = |value: Json| {
        let request = rendered_with(&definition, &json!({"iccid": value}), false).unwrap();
        (request.url.clone(), String::from_utf8(request.body.unwrap()).unwrap())
    };
    let (url, body) = sent(json!(89_551_234_567_890_123_456.0));
    assert_eq!(body, r#"{"number":89551234567890123456,"text":"no. 89551234567890123456"}"#);
    assert_eq!(url, "https://hooks.example/?n=89551234567890123456");
    // A value that took its place.
    assert_eq!(sent(json!("x")).1, r#"{"number":"x","text":"no. x"}"#);
}

fn header<'a>(request: &'a WebhookRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

#[test]
fn a_string_that_is_one_variable_takes_the_variables_type() {
    let check = |template: &str, expected: Json| {
        let sent: Json = serde_json::from_str(&body(&json!({"v": template}))).unwrap();
        assert_eq!(sent, json!({"v": expected}), "{template}");
    };
    check("$name", json!("Ada Lovelace"));
    check("$age", json!(36));
    check("$rate", json!(1.5));
    check("$vip", json!(true));
    check("$tags", json!(["a", "b c"]));
    check("$deep", json!({"a": "é", "b": [1]}));
    check("$none", json!(null));
    check("$images", json!(["https://cdn.example/1.png"]));
    check("$images[0]", json!("https://cdn.example/1.png"));
    check("$images[1]", json!(null));
    check("$session.id", json!("s-1"));
    check("$company.id", json!("acme"));
    check("$assistant.id", json!(null));
    check("$event.id", json!("evt-1"));
    check("$contact.id", json!("00000000-0000-0000-0000-000000000000"));
    check("$contact.operation", json!("created"));
    check("$contact.zipCode", json!("60000"));
    check("$contact.phone", json!(null));
    check("$plan", json!("from arguments"));
    check("$user_id", json!("usr_999"));
    check("$customer-name", json!("Grace"));
    check(" $age", json!(" 36"));
}

#[test]
fn variables_in_longer_text_are_inserted_once() {
    let check = |template: &str, expected: &str| {
        let sent: Json = serde_json::from_str(&body(&json!([template]))).unwrap();
        assert_eq!(sent, json!([expected]), "{template}");
    };
    check(
        "New lead: $name ($email), session $session.id.",
        "New lead: Ada Lovelace (ada@analytical.example), session s-1.",
    );
    check("$name.", "Ada Lovelace.");
    check("$name.first", "Ada Lovelace.first");
    check("$age-$rate-$vip", "36-1.5-true");
    check("tags $tags", "tags [\"a\",\"b c\"]");
    check("deep $deep", "deep {\"b\":[1],\"a\":\"é\"}");
    check("images $images", "images [\"https://cdn.example/1.png\"]");
    check("<$none$assistant.id$contact.phone>", "<>");
    check("$$age", "$36");
    check("$names and $unknown[0] and $contact.identity", "$names and $unknown[0] and $contact.identity");
    check("$unknown", "$unknown");
    check("$next", "$email");
    check("<$next>", "<$email>");
}

#[test]
fn identity_is_a_variable_only_if_the_settings_include_it() {
    let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "body": ["$contact.identity"]});
    let sent = |include| rendered_with(&definition, &json!({}), include).unwrap().body.unwrap();
    assert_eq!(sent(true), br#"["123"]"#);
    assert_eq!(sent(false), br#"["$contact.identity"]"#);
}

#[test]
fn values_cannot_break_out_of_json_strings() {
    let evil = arguments()["evil"].clone();
    let sent: Json = serde_json::from_str(&body(&json!({"a": "$evil", "b": "<$evil>", "$name": 1}))).unwrap();
    assert_eq!(sent, json!({"a": evil, "b": format!("<{}>", evil.as_str().unwrap()), "$name": 1}));
}

#[test]
fn a_string_body_is_sent_as_text_json_or_form() {
    let check = |content_type: Option<&str>, text: &str, sent_type: &str, sent: &str| {
        let headers: Vec<_> =
            content_type.iter().map(|value| json!({"key": "Content-Type", "value": value})).collect();
        let request = rendered(&json!({"body": text, "headers": headers})).unwrap();
        assert_eq!(String::from_utf8(request.body.clone().unwrap()).unwrap(), sent);
        assert_eq!(header(&request, "content-type"), Some(sent_type));
        assert_eq!(request.headers.len(), 1);
    };
    let (text, json, form) =
        ("text/plain; charset=utf-8", "application/json", "application/x-www-form-urlencoded");
    check(None, "Lead $name <$unknown>", text, "Lead Ada Lovelace <$unknown>");
    check(None, "$age", text, "36");
    check(None, "", text, "");
    // The value is all of it, and JSON.
    check(None, "$tags", json, r#"["a","b c"]"#);
    check(None, "$tags.", text, r#"["a","b c"]."#);
    check(Some("text/plain"), "$tags", "text/plain", r#"["a","b c"]"#);
    check(None, "[Lead] $name", text, "[Lead] Ada Lovelace");
    check(
        None,
        r#"{"n": "$age", "t": "<$evil>"}"#,
        json,
        r#"{"n":36,"t":"<x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1>"}"#,
    );
    check(None, r#"{"n": $age}"#, json, r#"{"n":36}"#);
    check(
        Some(json),
        r#"{"n": $age, "s": "a\"$name\\", "l": [$tags,$name]}"#,
        json,
        r#"{"n":36,"s":"a\"Ada Lovelace\\","l":[["a","b c"],"Ada Lovelace"]}"#,
    );
    check(
        Some("application/vnd.x+json; charset=utf-8"),
        r#"{"e":$evil}"#,
        "application/vnd.x+json; charset=utf-8",
        r#"{"e":"x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1"}"#,
    );
    check(Some(json), "", json, "");
    check(Some(json), "$deep", json, r#"{"b":[1],"a":"é"}"#);
    check(Some("text/xml"), "<n>$age</n>", "text/xml", "<n>36</n>");
    check(Some("text/plain"), "{$name}", "text/plain", "{Ada Lovelace}");
    check(Some(form), "p=$path&n=$name", form, "p=..%2F..%2Fadmin%3Fx%3D1%26y%3D2%23z&n=Ada%20Lovelace");
}

#[test]
fn a_body_with_variables_that_is_declared_as_json_must_be_json() {
    for body in [r#"{"n": $age$name}"#, r#"{"n": "$age",}"#, r#"{"n": $age"#, "Lead $name"] {
        let headers = json!([{"key": "Content-Type", "value": "application/json"}]);
        let error = rendered(&json!({"body": body, "headers": headers})).unwrap_err();
        assert_eq!(error.to_string(), "the body is declared as JSON but is not JSON", "{body}");
    }
}

#[test]
fn post_put_and_patch_send_the_event_if_there_is_no_body() {
    for method in Method::VARIANTS.iter().copied() {
        let request = rendered(&json!({"method": method.name()})).unwrap();
        let sends = matches!(method, Method::Post | Method::Put | Method::Patch);
        assert_eq!(request.body.as_deref(), sends.then_some(EVENT), "{method:?}");
        let expected = if sends { "application/cloudevents+json" } else { "application/json" };
        assert_eq!(header(&request, "content-type"), Some(expected));
    }
    let delete = rendered(&json!({"method": "DELETE", "body": {"id": "$age"}})).unwrap();
    assert_eq!(delete.body.unwrap(), br#"{"id":36}"#);
}

#[test]
fn values_are_percent_encoded_in_urls() {
    let check = |url: &str, expected: &str| {
        assert_eq!(rendered(&json!({"url": url})).unwrap().url, expected, "{url}");
    };
    check("https://h.example", "https://h.example/");
    check(" HTTPS://H.example:443/x ", "https://h.example/x");
    check("https://h.example/$name", "https://h.example/Ada%20Lovelace");
    check("https://h.example/a/$path/b", "https://h.example/a/..%2F..%2Fadmin%3Fx%3D1%26y%3D2%23z/b");
    check("https://h.example/v-$dots", "https://h.example/v-..");
    check("https://h.example/a/../b", "https://h.example/b");
    check("https://h.example\\a\\$age", "https://h.example/a/36");
    check(
        "https://h.example?q=$path&n=$age#$name",
        "https://h.example/?q=..%2F..%2Fadmin%3Fx%3D1%26y%3D2%23z&n=36#Ada%20Lovelace",
    );
    check("https://h.example/x?$name=$empty", "https://h.example/x?Ada%20Lovelace=");
    check("https://h.example/x?t=$tags", "https://h.example/x?t=%5B%22a%22%2C%22b%20c%22%5D");
    check(
        "https://h.example/$session.id/$contact.id.json",
        "https://h.example/s-1/00000000-0000-0000-0000-000000000000.json",
    );
    check("https://h.example/?m=user@x.example&d=$", "https://h.example/?m=user@x.example&d=$");
    check("https://[2001:db8::1]:8443/$age", "https://[2001:db8::1]:8443/36");
}

#[test]
fn invalid_urls_are_rejected_without_quoting_values() {
    let check = |url: &str, expected: &str| {
        let message = rendered(&json!({"url": url})).unwrap_err().to_string();
        assert!(message.contains(expected), "{url}: {message}");
        assert!(!message.contains("Ada") && !message.contains("admin"), "{message}");
    };
    check("https://h.example/$nobody", "unknown variable $nobody in the url");
    check("https://h.example/?x=$contact.identity", "unknown variable $contact.identity in the url");
    check("https://h.example/$names", "unknown variable $names in the url");
    check("https://h.example/$dots/x", "would be \".\", \"..\"");
    check("https://h.example/$dot$dot/x", "would be \".\"");
    check("https://h.example/.$dot", "would be \".\"");
    check("https://h.example/%2E$dot", "would be \".\"");
    check("https://$name/", "variable in its host");
    check("$name", "must begin with https://");
    check(&format!("https://h.example/{}", "x".repeat(MAX_URL)), "longer than");
    check(&format!("https://h.example/{}", "$name".repeat(MAX_URL / 5)), "longer than");
}

#[test]
fn rendered_header_values_are_checked() {
    let with = |value: &str| rendered(&json!({"headers": [{"key": "X-Lead", "value": value}]}));
    let sent = |value: &str| header(&with(value).unwrap(), "x-lead").unwrap().to_owned();
    assert_eq!(sent("Bearer my_token"), "Bearer my_token");
    assert_eq!(sent("$name <$email>"), "Ada Lovelace <ada@analytical.example>");
    assert_eq!(sent("<$contact.phone>"), "<>");
    let refused = |value: &str| with(value).unwrap_err().to_string();
    assert_eq!(
        refused("$evil"),
        "the value of header x-lead contains a line break or another control character"
    );
    assert_eq!(refused("$nobody"), "unknown variable $nobody in header x-lead");
    assert!(refused(&format!("${}", "x".repeat(100_000))).len() < 120);
    assert_eq!(refused("a\r\nb"), "headers[0]: value contains a line break or another control character");
    assert!(refused(&"$name".repeat(MAX_HEADERS / 5)).contains("longer than"));
}

#[test]
fn rendered_bodies_are_limited() {
    let long = json!({"long": "x".repeat(100_000)});
    for body in [json!(["$long".repeat(11)]), json!(vec!["$long"; 11]), json!("$long".repeat(11))] {
        let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "body": body});
        let error = rendered_with(&definition, &long, false).unwrap_err();
        assert_eq!(error.to_string(), "the body is longer than 1048576 bytes");
    }
}

fn shape(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(shape).collect(),
        Json::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
        _ => Json::Null,
    }
}

proptest! {
    #[test]
    fn no_text_changes_the_structure_of_json(value in matching("\\PC*")) {
        let template = json!({"a": "$v", "b": ["x $v y", {"$v": "$v$v"}], "c": 1});
        let declared = [json!({"key": "content-type", "value": "application/json"})];
        for (body, headers) in [(template.clone(), json!([])), (json!(template.to_string()), json!([])), (json!(r#"{"a":$v,"b":["x $v y",{"$v":"$v$v"}],"c":1}"#), json!(declared))] {
            let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "body": body, "headers": headers});
            let request = rendered_with(&definition, &json!({"v": value}), false).unwrap();
            let sent: Json = serde_json::from_slice(&request.body.unwrap()).unwrap();
            prop_assert_eq!(shape(&sent), shape(&template));
            prop_assert_eq!(&sent["a"], &json!(value));
            prop_assert_eq!(&sent["b"][0], &json!(format!("x {value} y")));
        }
    }

    #[test]
    fn no_value_changes_host_or_structure_of_a_url(value in matching("\\PC*")) {
        let definition = json!({"type": "WEBHOOK", "url": "https://h.example:8443/a/$v/b-$v?q=$v&r=1#$v"});
        if let Ok(request) = rendered_with(&definition, &json!({"v": value}), false) {
            let url = url::Url::parse(&request.url).unwrap();
            prop_assert_eq!((url.scheme(), url.host_str(), url.port()), ("https", Some("h.example"), Some(8443)));
            prop_assert!(url.username().is_empty() && url.password().is_none());
            prop_assert_eq!(url.path_segments().unwrap().count(), 3);
            let query: Vec<_> = url.query_pairs().into_owned().collect();
            prop_assert_eq!(query, [("q".to_owned(), value.clone()), ("r".to_owned(), "1".to_owned())]);
        } else {
            prop_assert!(matches!(value.as_str(), "" | "." | "..") || value.len() > 500);
        }
    }

    #[test]
    fn no_value_adds_a_header(value in matching("\\PC*")) {
        let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "headers": [{"key": "X-A", "value": "$v"}]});
        match rendered_with(&definition, &json!({"v": value}), false) {
            Ok(request) => {
                prop_assert_eq!(header(&request, "x-a"), Some(value.as_str()));
                prop_assert_eq!(request.headers.len(), 2);
                prop_assert!(!value.chars().any(char::is_control));
            }
            Err(_) => prop_assert!(value.chars().any(char::is_control)),
        }
    }

    #[test]
    fn any_template_renders_or_fails_without_panic(template in matching("[$a-c.\\[\\]0/?#:@\\\\%{}\" é\n-]{0,40}"), value in matching("\\PC*")) {
        let definition = json!({"type": "WEBHOOK", "url": format!("https://h.example/{template}"), "body": template,
            "headers": [{"key": "content-type", "value": "application/json"}, {"key": "x-y", "value": template}]});
        let _ = rendered_with(&definition, &json!({"a": value, "b": [value], "c": {"d": value}}), true);
    }
}
