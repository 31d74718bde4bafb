//! Chains, the results of their webhooks, and the event that reports them.

use std::sync::Arc;

use time::macros::datetime;
use uuid::Uuid;

use super::*;
use crate::domain::{
    chain::{
        plan::plan,
        rules::{OnUnidentified, Rules},
    },
    samples::{event, placeholders, with},
    trigger::{cache::TriggerCache, fired::decode},
    value::phone::{Region, Regions},
};

const CONTACT: Uuid = Uuid::from_u128(7);

fn planned(event: &Value) -> Plan {
    let rules = Rules {
        default_max_interactions: 2,
        regions: Regions::new(Region::new("BR").unwrap(), []).into(),
        on_unidentified: OnUnidentified::Create,
        max_value_length: 100,
        placeholders: Arc::new(placeholders()),
    };
    plan(decode(event.to_string().as_bytes(), &TriggerCache::default()).unwrap(), &rules).unwrap()
}

fn webhook(directive: Option<&str>) -> Value {
    json!({"type": "WEBHOOK", "url": "https://hooks.example/x", "responseDirective": directive})
}

/// The sample event with these actions and this `maxInteractions`.
fn chain(actions: &Value, max: u32) -> AppliedChain {
    let event = with(event(), "/data/trigger/actions", actions.clone());
    let plan = planned(&with(event, "/data/assistant/maxInteractions", max.into()));
    AppliedChain::new(&plan, [(Operation::Created, ContactId(CONTACT))])
}

fn upsert() -> Value {
    json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"})
}

/// Stores and reads the chain first, as between worker 1 and worker 2.
fn completed(chain: &AppliedChain, results: &[(u16, WebhookResult)]) -> (OutgoingEvent, Value) {
    let stored = serde_json::to_string(chain).unwrap();
    let now = datetime!(2026-11-22 10:00:05 UTC);
    let awaited = AwaitedChain {
        company: CompanyId::new("acme").unwrap(),
        chain: serde_json::from_str(&stored).unwrap(),
        reply_to: None,
        trace: TraceContext::default(),
        created_at: now,
    };
    let publisher = Publisher { source: "contact-relay", include_identity: false, now };
    let event = awaited.completed(&publisher, results);
    let body = serde_json::from_slice(&event.body).unwrap();
    (event, body)
}

fn result(end: WebhookEnd, http_status: Option<u16>, body: &[u8]) -> WebhookResult {
    let error = Some(("http_status".to_owned(), "the receiver answered".to_owned()));
    WebhookResult { end, http_status, body: body.to_vec(), is_incomplete: false, error }
}

/// The members of a webhook's step in the result, without those that every step has.
fn reported(of: WebhookResult) -> Value {
    let (_, body) = completed(&chain(&json!([webhook(None)]), 1), &[(1, of)]);
    let mut step = body["data"]["steps"][0].clone();
    let step_members = step.as_object_mut().unwrap();
    for (member, value) in
        [("index", json!(1)), ("trigger", json!("register_qualified_lead")), ("type", json!("WEBHOOK"))]
    {
        assert_eq!(step_members.shift_remove(member), Some(value), "{member}");
    }
    step
}

#[test]
fn completed_event_lists_every_step() {
    let chain = chain(&json!([upsert(), webhook(Some("Say the ticket.")), webhook(None)]), 2);
    assert_eq!(chain.webhooks().collect::<Vec<_>>(), [2]);
    let (event, body) =
        completed(&chain, &[(2, result(WebhookEnd::Succeeded, Some(200), b"{\"ticket\": 7}"))]);
    let id = chain.event().id_of(&CompanyId::new("acme").unwrap(), "trigger.completed", 0);
    assert_eq!((event.id, event.kind.as_str(), event.routing_key.as_str()), (id, KIND, KIND));
    assert_eq!(event.subject, Some(CONTACT.to_string()));
    let name = "register_qualified_lead";
    let expected = json!({
        "specversion": "1.0",
        "id": id,
        "source": "contact-relay",
        "type": "trigger.completed",
        "subject": CONTACT,
        "time": "2026-11-22T10:00:05Z",
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": "acme"},
            "steps": [
                {"index": 1, "trigger": name, "type": "CRM", "status": "succeeded", "operation": "created",
                 "contactId": CONTACT},
                {"index": 2, "trigger": name, "type": "WEBHOOK", "status": "succeeded", "httpStatus": 200,
                 "responseBody": "{\"ticket\": 7}", "responseDirective": "Say the ticket."},
                {"index": 3, "trigger": name, "type": "WEBHOOK", "status": "skipped"},
            ],
            "trigger": {
                "name": name, "eventId": "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11",
                "eventSource": "/companies/acme/assistants/sales",
            },
            "session": {"id": "5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"},
            "assistant": {"id": "sales"},
            "interaction": {"index": 2, "max": 2},
        },
    });
    assert_eq!(body, expected, "{body:#}");
}

#[test]
fn webhook_step_reports_status_and_response() {
    let error = json!({"class": "http_status", "message": "the receiver answered"});
    for (of, expected) in [
        (result(WebhookEnd::Succeeded, Some(204), b""), json!({"status": "succeeded", "httpStatus": 204})),
        (
            result(WebhookEnd::Succeeded, Some(200), "olá\0".as_bytes()),
            json!({"status": "succeeded", "httpStatus": 200, "responseBody": "olá\0"}),
        ),
        (
            result(WebhookEnd::Succeeded, Some(200), b"\xff\x00x"),
            json!({"status": "succeeded", "httpStatus": 200, "responseBodyBase64": "/wB4"}),
        ),
        (
            result(WebhookEnd::Failed, Some(400), b"no"),
            json!({"status": "failed", "httpStatus": 400, "responseBody": "no", "error": error}),
        ),
        (result(WebhookEnd::Failed, None, b""), json!({"status": "failed", "error": error})),
        (WebhookResult { error: None, ..result(WebhookEnd::Failed, None, b"") }, json!({"status": "failed"})),
        (result(WebhookEnd::Superseded, None, b""), json!({"status": "skipped"})),
        (
            WebhookResult { is_incomplete: true, ..result(WebhookEnd::Succeeded, Some(200), b"{\"tick") },
            json!({"status": "succeeded", "httpStatus": 200, "responseBody": "{\"tick", "responseBodyIncomplete": true}),
        ),
    ] {
        assert_eq!(reported(of), expected);
    }
    let (_, body) = completed(&chain(&json!([webhook(None)]), 1), &[]);
    assert_eq!(body["data"]["steps"][0]["status"], "failed", "an end that nobody knows is none");
}

#[test]
fn response_body_is_reported_up_to_64_kib() {
    let whole = |body: &[u8]| reported(result(WebhookEnd::Succeeded, Some(200), body));
    for (length, expected) in [(65_535, 65_535), (65_536, 65_536), (65_537, 65_536), (1_000_000, 65_536)] {
        let step = whole(&vec![b'x'; length]);
        assert_eq!(step["responseBody"].as_str().unwrap().len(), expected, "{length}");
    }
    // Cut within a character.
    let cut = format!("x{}", "ã".repeat(40_000));
    assert_eq!(whole(&cut.as_bytes()[..65_536])["responseBody"].as_str().unwrap().len(), 65_535);
    assert_eq!(whole(cut.as_bytes())["responseBody"].as_str().unwrap().len(), 65_535);
    // Shorter than the limit, so the receiver sent the incomplete character.
    let step = whole(&cut.as_bytes()[..100]);
    assert_eq!((step.get("responseBody"), step["responseBodyBase64"].as_str().unwrap().len()), (None, 136));
}

#[test]
fn response_bodies_of_a_chain_are_limited() {
    let actions: Vec<Value> = (0..10).map(|_| webhook(None)).collect();
    let next = json!({"name": "next", "actions": actions});
    let event = with(event(), "/data/trigger/actions", json!(actions));
    let event = with(with(event, "/data/next", json!([next])), "/data/assistant/maxInteractions", 20.into());
    let chain = AppliedChain::new(&planned(&event), []);
    let results: Vec<_> = chain
        .webhooks()
        .map(|step| (step, result(WebhookEnd::Succeeded, Some(200), &vec![1; 70_000])))
        .collect();
    assert_eq!(results.len(), 20);
    let (event, body) = completed(&chain, &results);
    let with_member = |name: &str| {
        body["data"]["steps"].as_array().unwrap().iter().filter(|s| s.get(name).is_some()).count()
    };
    assert_eq!((with_member("responseBody"), with_member("responseBodyOmitted")), (16, 4));
    // In JSON each byte of these bodies takes six; a broker accepts 16 MiB.
    assert!(event.body.len() < 8 * 1024 * 1024, "{}", event.body.len());
}

#[test]
fn skipped_and_repeated_upserts_are_reported() {
    let (event, body) = completed(&chain(&json!([upsert(), webhook(Some("x"))]), 0), &[]);
    assert_eq!(event.subject, None);
    let name = "register_qualified_lead";
    let steps = json!([
        {"index": 1, "trigger": name, "type": "CRM", "status": "skipped"},
        {"index": 2, "trigger": name, "type": "WEBHOOK", "status": "skipped", "responseDirective": "x"},
    ]);
    assert_eq!(body["data"]["steps"], steps);
    assert_eq!(body["data"]["interaction"], json!({"index": 0, "max": 0}));

    let twice = with(crate::domain::samples::event(), "/data/trigger/actions", json!([upsert(), upsert()]));
    let last = ContactId(Uuid::from_u128(8));
    let chain = AppliedChain::new(
        &planned(&twice),
        [(Operation::Created, ContactId(CONTACT)), (Operation::Updated, last)],
    );
    let (event, body) = completed(&chain, &[]);
    assert_eq!(event.subject, Some(last.to_string()), "where the chain ended");
    assert_eq!(body["data"]["steps"][0]["contactId"], CONTACT.to_string());
}

#[test]
fn any_trigger_of_the_chain_can_ask_for_the_result() {
    let next = |interpret: bool| {
        let asks = json!({"name": "next", "interpretResponse": interpret, "action": webhook(None)});
        is_interpreted(&planned(&with(event(), "/data/next", json!([asks]))))
    };
    assert!(!is_interpreted(&planned(&event())) && !next(false) && next(true));
    assert!(is_interpreted(&planned(&with(event(), "/data/trigger/interpretResponse", true.into()))));
}
