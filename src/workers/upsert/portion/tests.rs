//! What follows a failure.

use bytes::Bytes;
use lapin::BasicProperties;

use super::*;
use crate::{amqp::Received, domain::fault::Fault};

const PROVEN: Option<Permission> = Some(Permission::Proven);

const GIVE_UP: Decision = Decision::GiveUp(Permission::Proven);

fn race() -> ApplyError {
    ApplyError::Race("SQLSTATE 23505".to_owned())
}

fn locked() -> ApplyError {
    ApplyError::Locked { why: "a row is locked".to_owned(), blocked: Vec::new() }
}

/// As [`locked`], and it is known who needs the row.
fn blocked() -> ApplyError {
    let blocked = vec![Blocked { index: 0, keys: vec![1], lanes: Vec::new() }];
    ApplyError::Locked { why: "a row is locked".to_owned(), blocked }
}

fn slow() -> ApplyError {
    ApplyError::Slow("a statement took too long".to_owned())
}

fn unreadable() -> ApplyError {
    ApplyError::Unreadable("contact 1".to_owned())
}

fn data() -> ApplyError {
    ApplyError::Data("SQLSTATE 22021".to_owned())
}

fn systemic() -> ApplyError {
    ApplyError::Systemic(sqlx::Error::PoolTimedOut)
}

#[test]
fn portion_that_fails_ends() {
    let alone = Facts { accepted: 1, ..Facts::default() };
    let tried = |failures| Facts { failures, ..alone };
    let several = |accepted, rejected, failures| Facts { accepted, rejected, failures, ..Facts::default() };
    let patient =
        |accepted, rejected, failures| Facts { is_patient: true, ..several(accepted, rejected, failures) };
    for (error, facts, expected) in [
        (race(), tried(3), Decision::Retry),
        (race(), several(2, 0, 3), Decision::Retry),
        (race(), several(0, 2, 3), Decision::Retry),
        (race(), several(2, 0, 4), Decision::Halve),
        (race(), several(0, 1, 4), Decision::WaitForDatabase),
        (race(), tried(4), Decision::Park),
        (race(), tried(11), Decision::Park),
        (race(), tried(12), GIVE_UP),
        (data(), several(2, 0, 1), Decision::Halve),
        (data(), several(1, 1, 1), Decision::Halve),
        (data(), tried(1), Decision::DeadLetterBad),
        (data(), several(0, 1, 1), Decision::DropContext),
        (data(), several(0, 1, 2), Decision::WaitForDatabase),
        (unreadable(), several(2, 0, 1), Decision::Halve),
        (unreadable(), tried(2), Decision::Park),
        (unreadable(), tried(3), GIVE_UP),
        (unreadable(), several(0, 1, 9), Decision::WaitForDatabase),
        (locked(), several(1, 1, 1), Decision::Halve),
        (locked(), several(0, 2, 1), Decision::Halve),
        (locked(), patient(2, 0, 1), Decision::Retry),
        (locked(), patient(1, 0, 1), Decision::Park),
        (blocked(), patient(2, 0, 1), Decision::SplitOffBlocked),
        (blocked(), several(2, 0, 9), Decision::SplitOffBlocked),
        (blocked(), tried(11), Decision::Park),
        (blocked(), tried(12), GIVE_UP),
        (locked(), tried(11), Decision::Park),
        (locked(), tried(12), GIVE_UP),
        (locked(), several(0, 1, 12), Decision::Park),
        (slow(), several(2, 0, 1), Decision::Halve),
        (slow(), tried(11), Decision::Park),
        (slow(), tried(12), GIVE_UP),
        (slow(), several(0, 1, 12), Decision::Park),
        (ApplyError::Panicked(0), tried(1), Decision::DeadLetterPanicked(0)),
        (ApplyError::Panicked(1), several(2, 2, 0), Decision::DeadLetterPanicked(1)),
        (ApplyError::TooLarge, several(2, 0, 1), Decision::Halve),
        (ApplyError::TableLocked, tried(9), Decision::WaitForDatabase),
        (ApplyError::TableLocked, several(2, 0, 0), Decision::WaitForDatabase),
        (systemic(), tried(100), Decision::WaitForDatabase),
        (systemic(), several(2, 2, 0), Decision::WaitForDatabase),
        (ApplyError::Discarded(HashSet::new()), tried(9), Decision::Retry),
    ] {
        assert_eq!(decide(&error, &facts, || PROVEN), expected, "{error:?} of {facts:?}");
        let without_permission = if expected == GIVE_UP { Decision::Park } else { expected };
        assert_eq!(decide(&error, &facts, || None), without_permission, "{error:?} of {facts:?}");
    }
}

/// The first one has had all the patience.
#[test]
fn message_that_needs_what_others_needed_is_given_up_sooner() {
    let tried = |failures| Facts { accepted: 1, failures, shares_used_up_key: true, ..Facts::default() };
    for error in [locked(), slow()] {
        assert_eq!(decide(&error, &tried(2), || PROVEN), Decision::Park);
        assert_eq!(decide(&error, &tried(3), || PROVEN), GIVE_UP);
        assert_eq!(decide(&error, &tried(3), || None), Decision::Park);
    }
    assert_eq!(
        decide(&race(), &tried(11), || PROVEN),
        Decision::Park,
        "the next try sees the rows of the winner"
    );
    assert_eq!(decide(&race(), &tried(12), || PROVEN), GIVE_UP);
}

#[test]
fn permission_is_asked_only_for_a_message_without_further_tries() {
    let facts = Facts { accepted: 1, failures: 2, ..Facts::default() };
    decide(&unreadable(), &facts, || panic!("it is tried again"));
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
    last.failures = 3;
    let last = last.with_probe();
    assert_eq!((sizes(&last), last[0].failures), (vec![1], 3));
}
