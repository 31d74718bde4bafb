//! What follows a refusal.

use bytes::Bytes;
use lapin::BasicProperties;

use super::*;
use crate::{amqp::Received, domain::fault::Fault};

fn race() -> Refused {
    Refused::Race("SQLSTATE 23505".to_owned())
}

fn locked() -> Refused {
    Refused::Locked { why: "a row is locked".to_owned(), blocked: Vec::new() }
}

/// As [`locked`], and it is known who needs the row.
fn blocked() -> Refused {
    let blocked = vec![Blocked { index: 0, causes: vec![1], lanes: Vec::new() }];
    Refused::Locked { why: "a row is locked".to_owned(), blocked }
}

fn slow() -> Refused {
    Refused::Slow("a statement took too long".to_owned())
}

fn unreadable() -> Refused {
    Refused::Unreadable("contact 1".to_owned())
}

fn data() -> Refused {
    Refused::Data("SQLSTATE 22021".to_owned())
}

fn systemic() -> Refused {
    Refused::Systemic(sqlx::Error::PoolTimedOut)
}

#[test]
fn refused_portion_ends() {
    let alone = Facts { accepted: 1, ..Facts::default() };
    let tried = |refusals| Facts { refusals, ..alone };
    let several = |accepted, rejected, refusals| Facts { accepted, rejected, refusals, ..Facts::default() };
    let patient =
        |accepted, rejected, refusals| Facts { is_patient: true, ..several(accepted, rejected, refusals) };
    for (refused, facts, expected) in [
        (race(), tried(3), Step::Again),
        (race(), several(2, 0, 3), Step::Again),
        (race(), several(0, 2, 3), Step::Again),
        (race(), several(2, 0, 4), Step::Halve),
        (race(), several(0, 1, 4), Step::Wait),
        (race(), tried(4), Step::PutOff),
        (race(), tried(11), Step::PutOff),
        (race(), tried(12), Step::SetAside),
        (data(), several(2, 0, 1), Step::Halve),
        (data(), several(1, 1, 1), Step::Halve),
        (data(), tried(1), Step::Reject),
        (data(), several(0, 1, 1), Step::Wait),
        (unreadable(), several(2, 0, 1), Step::Halve),
        (unreadable(), tried(2), Step::PutOff),
        (unreadable(), tried(3), Step::SetAside),
        (unreadable(), several(0, 1, 9), Step::Wait),
        (locked(), several(1, 1, 1), Step::Halve),
        (locked(), several(0, 2, 1), Step::Halve),
        (locked(), patient(2, 0, 1), Step::Again),
        (locked(), patient(1, 0, 1), Step::PutOff),
        (blocked(), patient(2, 0, 1), Step::Part),
        (blocked(), several(2, 0, 9), Step::Part),
        (blocked(), tried(11), Step::PutOff),
        (blocked(), tried(12), Step::SetAside),
        (locked(), tried(11), Step::PutOff),
        (locked(), tried(12), Step::SetAside),
        (locked(), several(0, 1, 12), Step::PutOff),
        (slow(), several(2, 0, 1), Step::Halve),
        (slow(), tried(11), Step::PutOff),
        (slow(), tried(12), Step::SetAside),
        (slow(), several(0, 1, 12), Step::PutOff),
        (Refused::Panicked(0), tried(1), Step::Expel(0)),
        (Refused::Panicked(1), several(2, 2, 0), Step::Expel(1)),
        (Refused::TooLarge, several(2, 0, 1), Step::Halve),
        (Refused::TableLocked, tried(9), Step::Wait),
        (Refused::TableLocked, several(2, 0, 0), Step::Wait),
        (systemic(), tried(100), Step::Wait),
        (systemic(), several(2, 2, 0), Step::Wait),
        (Refused::Discarded(HashSet::new()), tried(9), Step::Again),
    ] {
        assert_eq!(next(&refused, &facts, || true), expected, "{refused:?} of {facts:?}");
        let without_leave = if expected == Step::SetAside { Step::PutOff } else { expected };
        assert_eq!(next(&refused, &facts, || false), without_leave, "{refused:?} of {facts:?}");
    }
}

/// The first one has had all the patience.
#[test]
fn message_that_needs_what_others_needed_is_given_up_sooner() {
    let tried = |refusals| Facts { accepted: 1, refusals, has_known_cause: true, ..Facts::default() };
    for refused in [locked(), slow()] {
        assert_eq!(next(&refused, &tried(2), || true), Step::PutOff);
        assert_eq!(next(&refused, &tried(3), || true), Step::SetAside);
        assert_eq!(next(&refused, &tried(3), || false), Step::PutOff);
    }
    assert_eq!(next(&race(), &tried(11), || true), Step::PutOff, "the next try sees the rows of the winner");
    assert_eq!(next(&race(), &tried(12), || true), Step::SetAside);
}

#[test]
fn leave_is_asked_only_for_what_would_be_set_aside() {
    let facts = Facts { accepted: 1, refusals: 2, ..Facts::default() };
    next(&unreadable(), &facts, || panic!("it is tried again"));
}

fn dead(number: u64) -> Rejected {
    let message = Received {
        body: Bytes::new(),
        properties: BasicProperties::default(),
        routing_key: String::new(),
        delivery_count: 0,
        taken_at: Instant::now(),
    };
    Rejected { number, dead: triage::undecoded(&message, Fault::new(Reason::Undecodable, "")) }
}

#[test]
fn dead_letters_are_halved_until_a_transaction_has_time_for_them() {
    let portion = Portion { rejected: vec![dead(1), dead(2), dead(3)], ..Portion::default() };
    let sizes = |portions: &[Portion]| portions.iter().map(|one| one.rejected.len()).collect::<Vec<_>>();
    let mut halves = portion.with_probe();
    assert_eq!(sizes(&halves), [2, 1]);
    let mut last = halves.pop().unwrap();
    last.refusals = 3;
    let last = last.with_probe();
    assert_eq!((sizes(&last), last[0].refusals), (vec![1], 3));
}
