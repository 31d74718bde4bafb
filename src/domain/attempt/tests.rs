//! Tests of classes, waits and decisions.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn outcome(class: Class, retry_after: Option<Duration>) -> Outcome {
    Outcome { retry_after, ..Outcome::without_answer(class, SECOND, "no answer") }
}

fn rule(jitter: f64) -> RetryRule {
    RetryRule { schedule: vec![5 * SECOND, 30 * SECOND, 120 * SECOND], jitter }
}

#[test]
fn statuses_have_their_class() {
    for status in 0..=1000 {
        let expected = match status {
            200 | 201 | 202 | 204 | 299 => Class::Delivered,
            301 | 302 | 304 | 307 | 308 | 399 | 400 | 401 | 403 | 404 | 409 | 410 | 422 | 499 => {
                Class::Rejected
            }
            408 | 425 | 429 | 500 | 501 | 502 | 503 | 504 | 599 => Class::HttpStatus,
            0 | 100 | 101 | 199 | 600 | 999 | 1000 => Class::Protocol,
            _ => continue,
        };
        assert_eq!(Class::of_status(status), expected, "{status}");
    }
}

#[test]
fn names_round_trip() {
    for class in Class::ALL {
        assert_eq!(Class::from_name(class.name()), Some(class));
    }
    assert_eq!(Class::from_name("Delivered"), None);
}

#[test]
fn each_class_is_decided() {
    let decide = |class| after_attempt(&outcome(class, None), 1, &rule(0.0), 0.5);
    let dead = |reason| Next::Dead(reason, "no answer".to_owned());
    for class in Class::ALL {
        let expected = match class {
            Class::Delivered => Next::Delivered,
            Class::Rejected => dead(Reason::WebhookRejected),
            Class::Blocked => dead(Reason::WebhookBlocked),
            Class::Invalid => dead(Reason::WebhookInvalid),
            _ => Next::RetryAfter(5 * SECOND),
        };
        assert_eq!(decide(class), expected, "{class:?}");
    }
}

#[test]
fn the_whole_schedule_is_used_and_no_more() {
    let decide = |attempts| after_attempt(&outcome(Class::Connect, None), attempts, &rule(0.0), 1.0);
    assert_eq!(decide(1), Next::RetryAfter(5 * SECOND));
    assert_eq!(decide(2), Next::RetryAfter(30 * SECOND));
    assert_eq!(decide(3), Next::RetryAfter(120 * SECOND));
    let message = "no success in 4 attempts; at last: no answer".to_owned();
    assert_eq!(decide(4), Next::Dead(Reason::WebhookExhausted, message));
    assert!(matches!(decide(u32::MAX), Next::Dead(Reason::WebhookExhausted, _)));
    let empty = RetryRule { schedule: Vec::new(), jitter: 0.0 };
    let next = after_attempt(&outcome(Class::Connect, None), 1, &empty, 0.0);
    let message = "no success in 1 attempt; at last: no answer".to_owned();
    assert_eq!(next, Next::Dead(Reason::WebhookExhausted, message));
}

#[test]
fn retry_after_is_a_floor_with_a_ceiling() {
    let check = |asked: Duration, expected: Duration| {
        let next = after_attempt(&outcome(Class::HttpStatus, Some(asked)), 2, &rule(0.0), 0.0);
        assert_eq!(next, Next::RetryAfter(expected));
    };
    check(Duration::ZERO, 30 * SECOND);
    check(29 * SECOND, 30 * SECOND);
    check(31 * SECOND, 31 * SECOND);
    check(LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER);
    check(LONGEST_RETRY_AFTER + SECOND, LONGEST_RETRY_AFTER);
    check(Duration::MAX, LONGEST_RETRY_AFTER);
}

#[test]
fn a_refusal_says_what_to_do() {
    let refused = |status| {
        let outcome = Outcome { status: Some(status), error: None, ..outcome(Class::Rejected, None) };
        match after_attempt(&outcome, 1, &rule(0.0), 0.0) {
            Next::Dead(Reason::WebhookRejected, message) => message,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(404), "the receiver answered 404, which no retry mends");
    assert!(refused(302).contains("redirects are not followed"));
}

proptest! {
    #[test]
    fn a_wait_is_never_shorter_and_never_much_longer(
        attempts in 1_u32..=3, jitter in 0.0..=1.0_f64, chance in 0.0..=1.0_f64, asked in proptest::option::of(0_u64..1000)
    ) {
        let rule = rule(jitter);
        let asked = asked.map(Duration::from_secs);
        let wait = rule.schedule[attempts as usize - 1].max(asked.unwrap_or_default());
        match after_attempt(&outcome(Class::Timeout, asked), attempts, &rule, chance) {
            Next::RetryAfter(delay) => {
                prop_assert!(delay >= wait);
                prop_assert!(delay <= wait.mul_f64(1.0 + jitter) + Duration::from_micros(1));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_chance_panics(jitter in proptest::num::f64::ANY, chance in proptest::num::f64::ANY, seconds in any::<u64>()) {
        let rule = RetryRule { schedule: vec![Duration::from_secs(seconds)], jitter };
        let next = after_attempt(&outcome(Class::Dns, Some(Duration::MAX)), 1, &rule, chance);
        prop_assert!(matches!(next, Next::RetryAfter(delay) if delay >= Duration::from_secs(seconds)));
    }
}
