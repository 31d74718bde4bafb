//! Valid and invalid frames of a broker.

use lapin::{
    protocol::basic::{gen_properties, parse_properties},
    types::{AMQPValue, FieldArray, FieldTable, parsing::parse_field_table},
};
use proptest::prelude::*;

use super::*;

fn short(text: &[u8]) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

fn repaired(frame_type: u8, payload: &[u8]) -> Vec<u8> {
    let mut payload = payload.to_vec();
    repair(frame_type, &mut payload);
    payload
}

/// A header frame of a message with these properties.
fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    [fixed.as_slice(), &flags.to_be_bytes(), properties].concat()
}

#[test]
fn names_become_utf8_and_long_strings_do_not_change() {
    let table = |name: &[u8]| long(&[short(name), vec![b'S'], long(b"\xff\xfe")].concat());
    let message = |name: &[u8]| {
        let message_id = short(name);
        header((1 << 13) | (1 << 12) | (1 << 7), &[table(name), vec![2], message_id].concat())
    };
    assert_eq!(repaired(HEADER, &message(b"na\xefve")), message(b"na?ve"));
    assert_eq!(repaired(HEADER, &message("naïve".as_bytes())), message("naïve".as_bytes()));
    assert_eq!(repaired(HEADER, &message(b"\xe2\x82")), message(b"??"));
    assert_eq!(repaired(HEADER, &message(b"a\xff\xffb\xc3\xa9\xc3")), message(b"a??b\xc3\xa9?"));
}

#[test]
fn routing_keys_become_utf8() {
    let tags = |key: &[u8]| [vec![0; 9], short(b"events"), short(key)].concat();
    for (method, before) in [(DELIVER, short(b"tag")), (GET_OK, Vec::new())] {
        let frame = |key: &[u8]| {
            [60_u16.to_be_bytes().as_slice(), &method.to_be_bytes(), &before, &tags(key)].concat()
        };
        assert_eq!(repaired(METHOD, &frame(b"a.\xff")), frame(b"a.?"));
    }
    let frame = |key: &[u8]| {
        [&[0, 60, 0, 50, 1, 56], short(b"NO_ROUTE").as_slice(), &short(b""), &short(key)].concat()
    };
    assert_eq!(repaired(METHOD, &frame(b"\xff")), frame(b"?"));
    // Other methods are left alone.
    let other = [0, 10, 0, 10, 1, 0xff, 1, 0xff];
    assert_eq!(repaired(METHOD, &other), other);
}

/// `depth` nested levels, each of which starts with `open` and its length.
fn nested(open: &[u8], depth: usize) -> Vec<u8> {
    let level = open.len() + 4;
    let lengths = (0..depth).rev().map(|below| u32::try_from(below * level).unwrap().to_be_bytes());
    lengths.flat_map(|length| [open, &length].concat()).collect()
}

#[test]
fn nesting_beyond_the_limit_becomes_a_byte_array() {
    for depth in [3, MAX_DEPTH - 1, MAX_DEPTH, 9_000] {
        let tables = nested(b"\x01kF", depth);
        let lists = [b"\x01k".to_vec(), nested(b"A", depth)].concat();
        for table in [tables, lists] {
            let frame = repaired(HEADER, &header(1 << 13, &long(&table)));
            let (rest, table) = parse_field_table(&frame[14..]).expect("the library can read it");
            assert!(rest.is_empty());
            assert_eq!(format!("{table:?}").contains("ByteArray"), depth >= MAX_DEPTH, "{depth}");
        }
    }
}

#[test]
fn nesting_up_to_the_limit_is_kept() {
    let mut value = AMQPValue::Void;
    for _ in 0..MAX_DEPTH - 1 {
        value = AMQPValue::FieldArray(FieldArray::from(vec![value]));
    }
    let mut table = FieldTable::default();
    table.insert("k".into(), value);
    let properties = lapin::BasicProperties::default().with_headers(table);
    let written = written(&properties);
    let frame = header(0, &[])[..12].to_vec();
    let frame = [frame, written].concat();
    assert_eq!(repaired(HEADER, &frame), frame);
}

/// Flags and properties as the library writes them.
fn written(properties: &lapin::BasicProperties) -> Vec<u8> {
    let context = gen_properties(properties)(Vec::new().into()).ok().unwrap();
    context.into_inner().0
}

proptest! {
    #[test]
    fn repair_of_any_bytes_keeps_their_length_and_is_idempotent(kind in 0_u8..4, bytes: Vec<u8>, flags: u16) {
        for payload in [bytes.clone(), header(flags, &bytes), header(1 << 13, &long(&bytes))] {
            let once = repaired(kind, &payload);
            prop_assert_eq!(once.len(), payload.len());
            prop_assert_eq!(repaired(kind, &once), once);
        }
    }

    #[test]
    fn repaired_short_strings_are_readable(text in prop::collection::vec(any::<u8>(), 0..255)) {
        let frame = repaired(HEADER, &header(1 << 7, &short(&text)));
        let (_, properties) = parse_properties(&frame[12..]).expect("the library can read it");
        prop_assert_eq!(properties.message_id().as_ref().unwrap().as_str().len(), text.len());
    }
}
