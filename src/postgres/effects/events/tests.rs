//! Packed events are read unchanged, also those of other versions.

use super::*;

fn event(subject: Option<&str>, reply_to: Option<ReplyTo>) -> OutgoingEvent {
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    OutgoingEvent {
        company: "acme".to_owned(),
        id: Uuid::from_u128(0x0102),
        kind: "contact.upserted".to_owned(),
        routing_key: "contact.upserted.created".to_owned(),
        source: "/relay".to_owned(),
        subject: subject.map(str::to_owned),
        time: OffsetDateTime::from_unix_timestamp_nanos(1_764_339_785_123_456_789).unwrap(),
        correlation_id: "event 1".to_owned(),
        trace: TraceContext::new(subject.map(|_| traceparent), Some("a=b")),
        reply_to,
        body: b"{\"a\": \xff\0}".to_vec(),
    }
}

/// Every field, since `OutgoingEvent` has neither equality nor a `Debug` that shows it.
fn fields(
    event: &OutgoingEvent,
) -> (String, Uuid, [String; 5], OffsetDateTime, TraceContext, Option<ReplyTo>, Vec<u8>) {
    let OutgoingEvent {
        company,
        id,
        kind,
        routing_key,
        source,
        subject,
        time,
        correlation_id,
        trace,
        reply_to,
        body,
    } = event.clone();
    let subject = format!("{subject:?}");
    (company, id, [kind, routing_key, source, subject, correlation_id], time, trace, reply_to, body)
}

#[test]
fn packed_events_are_unpacked_unchanged() {
    let queue = || "answers".to_owned();
    let events = [
        event(None, None),
        event(Some("contact"), Some(ReplyTo { queue: queue(), correlation_id: None })),
        event(Some("contact"), Some(ReplyTo { queue: queue(), correlation_id: Some("request".to_owned()) })),
    ];
    let packed = OutgoingEvent::pack(&events).unwrap();
    let unpacked = OutgoingEvent::unpack("acme", &packed).unwrap();
    assert_eq!(unpacked.len(), events.len());
    for (unpacked, event) in unpacked.iter().zip(&events) {
        assert_eq!(fields(unpacked), fields(event));
    }
}

/// One event with the fields that are required, and one that this version does not know.
const STORED: &[u8] = b"\x91\x88\
    \xa2id\xc4\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\
    \xa4kind\xb0contact.upserted\
    \xabrouting_key\xb8contact.upserted.created\
    \xa6source\xa6/relay\
    \xa6future\x92\x01\xa1x\
    \xa4time\xcf\x18\x7c\x36\x30\xf5\x2e\xb7\x15\
    \xaecorrelation_id\xa7event 1\
    \xa4body\xc4\x09{\"a\": \xff\0}";

#[test]
fn stored_event_is_read_and_an_unknown_field_ignored() {
    let events = OutgoingEvent::unpack("acme", STORED).unwrap();
    let [stored] = events.as_slice() else { panic!("{events:?}") };
    let expected = OutgoingEvent { time: stored.time, trace: TraceContext::default(), ..event(None, None) };
    assert_eq!(fields(stored), fields(&expected));
    assert_eq!(stored.time.unix_timestamp_nanos(), 0x187c_3630_f52e_b715);
}

#[test]
fn body_of_another_format_is_refused() {
    for bad in [&b""[..], b"[{}]", b"\x91\x80", STORED.split_last().unwrap().1] {
        assert!(OutgoingEvent::unpack("acme", bad).is_err(), "{bad:?}");
    }
}
