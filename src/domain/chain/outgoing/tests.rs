//! The exact bytes of every event.

use time::macros::datetime;

use super::*;
use crate::domain::{
    contact::{
        Operation, Stamped,
        directory::{Conflict, Rule},
        field::{Field, FieldMap},
    },
    event::Stamp,
    samples::{event, without},
    trigger::{cache::TriggerCache, fired::decode},
};

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00:05.000001 UTC);

fn contact(id: u128) -> Contact {
    let fired = decode(event().to_string().as_bytes(), &TriggerCache::default()).unwrap();
    let stamp = Stamp { time: fired.time, event: fired.event, step: 1 };
    let mut values = FieldMap::default();
    for (field, value) in
        [(Field::Email, "ada@x.example"), (Field::Name, "Ada \"A\""), (Field::Identity, "1")]
    {
        values.insert(field, Stamped { value: value.to_owned(), stamp: stamp.clone() });
    }
    let (keys, sides) = (Vec::new(), Vec::new());
    let (created_at, updated_at) = (datetime!(2026-11-22 9:00 UTC), datetime!(2026-11-22 10:00:00.123 UTC));
    let (id, company) = (ContactId(Uuid::from_u128(id)), fired.company);
    Contact { id, company, version: 3, values, keys, sides, created_at, updated_at }
}

fn applied(merged: Vec<ContactId>) -> Applied {
    let id = ContactId(Uuid::from_u128(7));
    let conflict = Conflict { rule: Rule::PreferEmail, contact: id, other: id };
    let kept_apart = Rejected { field: Field::Phone, reason: "belongs_to_another_contact" };
    Applied {
        operation: Operation::Updated,
        id,
        version: 3,
        changed: vec![Field::Email, Field::Name],
        merged,
        kept_apart: Some((kept_apart, conflict)),
    }
}

/// The body of the event that `publish` makes for step 1 of this trigger event.
fn published(
    fired: &serde_json::Value,
    include_identity: bool,
    publish: impl Fn(&Publisher<'_>, Origin<'_>) -> OutgoingEvent,
) -> String {
    let fired = decode(fired.to_string().as_bytes(), &TriggerCache::default()).unwrap();
    let publisher = Publisher { source: "/relay", include_identity, now: NOW };
    let trace = TraceContext::default();
    let origin = Origin { event: &fired, trigger: "register", step: 1, max_interactions: 2, trace: &trace };
    String::from_utf8(publish(&publisher, origin).body).unwrap()
}

#[test]
fn contact_upserted_has_exactly_these_bytes() {
    let rejected = [Rejected { field: Field::Birthday, reason: "unverified" }];
    let body = published(&event(), false, |publisher, origin| {
        publisher.contact_upserted(origin, &applied(Vec::new()), &contact(7), &rejected)
    });
    let expected = concat!(
        r#"{"specversion":"1.0","id":"ID","source":"/relay","type":"contact.upserted","#,
        r#""subject":"00000000-0000-0000-0000-000000000007","time":"2026-11-22T10:00:05.000001Z","#,
        r#""datacontenttype":"application/json","data":{"operation":"updated","contact":{"#,
        r#""id":"00000000-0000-0000-0000-000000000007","companyId":"acme","version":3,"name":"Ada \"A\"","#,
        r#""email":"ada@x.example","createdAt":"2026-11-22T09:00:00Z","updatedAt":"2026-11-22T10:00:00.123Z"},"#,
        r#""changed":["email","name"],"mergedContactIds":[],"#,
        r#""rejected":[{"field":"birthday","reason":"unverified"},"#,
        r#"{"field":"phone","reason":"belongs_to_another_contact"}],"#,
        r#""trigger":{"name":"register","eventId":"0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11","#,
        r#""eventSource":"/companies/acme/assistants/sales"},"#,
        r#""session":{"id":"5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"},"assistant":{"id":"sales"},"#,
        r#""interaction":{"index":1,"max":2}}}"#,
    );
    assert_eq!(without_id(&body), expected);
}

#[test]
fn contact_merged_has_exactly_these_bytes() {
    let fired = without(without(event(), "/data/session"), "/data/assistant");
    let merged = vec![ContactId(Uuid::from_u128(8)), ContactId(Uuid::from_u128(9))];
    let body = published(&fired, true, |publisher, origin| {
        publisher.contact_merged(origin, &applied(merged.clone()), &contact(7))
    });
    let expected = concat!(
        r#"{"specversion":"1.0","id":"ID","source":"/relay","type":"contact.merged","#,
        r#""subject":"00000000-0000-0000-0000-000000000007","time":"2026-11-22T10:00:05.000001Z","#,
        r#""datacontenttype":"application/json","data":{"contact":{"#,
        r#""id":"00000000-0000-0000-0000-000000000007","companyId":"acme","version":3,"name":"Ada \"A\"","#,
        r#""identity":"1","email":"ada@x.example","#,
        r#""createdAt":"2026-11-22T09:00:00Z","updatedAt":"2026-11-22T10:00:00.123Z"},"#,
        r#""mergedContactIds":["00000000-0000-0000-0000-000000000008","00000000-0000-0000-0000-000000000009"],"#,
        r#""trigger":{"name":"register","eventId":"0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11","#,
        r#""eventSource":"/companies/acme/assistants/sales"},"interaction":{"index":1,"max":2}}}"#,
    );
    assert_eq!(without_id(&body), expected);
}

#[test]
fn events_about_no_step_or_no_trigger_have_exactly_these_bytes() {
    let body =
        published(&event(), false, |publisher, origin| Publisher { ..*publisher }.webhook_requested(origin));
    let expected = concat!(
        r#"{"specversion":"1.0","id":"ID","source":"/relay","type":"webhook.requested","#,
        r#""time":"2026-11-22T10:00:05.000001Z","datacontenttype":"application/json","#,
        r#""data":{"company":{"id":"acme"},"#,
        r#""trigger":{"name":"register","eventId":"0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11","#,
        r#""eventSource":"/companies/acme/assistants/sales"},"#,
        r#""session":{"id":"5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"},"assistant":{"id":"sales"},"#,
        r#""interaction":{"index":1,"max":2}}}"#,
    );
    assert_eq!(without_id(&body), expected);

    let erased = published(&event(), false, |publisher, _| {
        let ids = [ContactId(Uuid::from_u128(9))];
        publisher.contact_erased(&contact(7).company, ContactId(Uuid::from_u128(7)), &ids)
    });
    let (_, data) = erased.split_once(r#""data":"#).unwrap();
    let expected = concat!(
        r#"{"contact":{"id":"00000000-0000-0000-0000-000000000007","companyId":"acme"},"#,
        r#""mergedContactIds":["00000000-0000-0000-0000-000000000009"],"#,
        r#""erasedAt":"2026-11-22T10:00:05.000001Z"}}"#,
    );
    assert_eq!(data, expected);

    let unmerged = published(&event(), false, |publisher, _| {
        let (id, into) = (ContactId(Uuid::from_u128(9)), ContactId(Uuid::from_u128(8)));
        publisher.contact_unmerged(Uuid::from_u128(1), &contact(7), &[&contact(8)], &[(id, into)])
    });
    let (_, data) = unmerged.split_once(r#""data":"#).unwrap();
    let rest = concat!(
        r#""companyId":"acme","version":3,"name":"Ada \"A\"","email":"ada@x.example","#,
        r#""createdAt":"2026-11-22T09:00:00Z","updatedAt":"2026-11-22T10:00:00.123Z"}"#,
    );
    let expected = [
        r#"{"contact":{"id":"00000000-0000-0000-0000-000000000007","#,
        rest,
        r#","restoredContacts":[{"id":"00000000-0000-0000-0000-000000000008","#,
        rest,
        r#"],"aliases":[{"id":"00000000-0000-0000-0000-000000000009","#,
        r#""contactId":"00000000-0000-0000-0000-000000000008"}]}}"#,
    ];
    assert_eq!(data, expected.concat());
}

/// The id is a hash.
fn without_id(body: &str) -> String {
    let (start, rest) = body.split_once(r#""id":""#).unwrap();
    let (id, rest) = rest.split_once('"').unwrap();
    assert!(Uuid::try_parse(id).is_ok(), "{id}");
    format!(r#"{start}"id":"ID"{rest}"#)
}
