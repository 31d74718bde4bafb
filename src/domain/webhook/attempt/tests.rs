//! Tests of classes, waits and the decision after an attempt.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn outcome(class: Class, retry_after: Option<Duration>) -> Outcome {
    Outcome { retry_after, ..Outcome::without_answer(class, SECOND, "no answer") }
}

fn rule(jitter: f64) -> RetryRule {
    RetryRule {
        schedule: vec![5 * SECOND, 30 * SECOND, 120 * SECOND],
        jitter,
        max_age: Duration::from_hours(1),
        retry_statuses: Vec::new(),
        dead_statuses: Vec::new(),
    }
}

fn after_attempt(outcome: &Outcome, attempts: u32, rule: &RetryRule, chance: f64) -> Next {
    super::after_attempt(outcome, Round { attempts, age: Duration::ZERO }, rule, chance)
}

fn retry(after: Duration) -> Next {
    Next::Retry { after, counted: true }
}

#[test]
fn statuses_are_classified() {
    for status in 0..=1000 {
        let expected = match status {
            200 | 201 | 202 | 204 | 299 => Class::Delivered,
            301 | 302 | 304 | 307 | 308 | 399 | 400 | 401 | 403 | 404 | 409 | 422 | 499 => Class::Rejected,
            410 => Class::Gone,
            408 | 425 | 429 | 500 | 501 | 502 | 503 | 504 | 599 => Class::HttpStatus,
            0 | 100 | 101 | 199 | 600 | 999 | 1000 => Class::Protocol,
            _ => continue,
        };
        assert_eq!(Class::of_status(status), expected, "{status}");
    }
}

#[test]
fn each_class_has_its_consequence() {
    let decide = |class| after_attempt(&outcome(class, None), 1, &rule(0.0), 0.5);
    let dead = |reason| Next::Dead(reason, "no answer".to_owned());
    for class in Class::VARIANTS {
        let expected = match class {
            Class::Delivered => Next::Delivered,
            Class::Rejected => dead(Reason::WebhookRejected),
            Class::Gone => Next::Dead(
                Reason::WebhookRejected,
                "no answer; the endpoint is disabled until an operator enables it".to_owned(),
            ),
            Class::Expired => dead(Reason::WebhookExhausted),
            Class::Blocked => dead(Reason::WebhookBlocked),
            Class::Invalid => dead(Reason::WebhookInvalid),
            _ => retry(5 * SECOND),
        };
        assert_eq!(decide(*class), expected, "{class:?}");
    }
}

#[test]
fn a_delivery_ends_after_the_last_wait_of_the_schedule() {
    let decide = |attempts| after_attempt(&outcome(Class::Connect, None), attempts, &rule(0.0), 1.0);
    assert_eq!(decide(1), retry(5 * SECOND));
    assert_eq!(decide(2), retry(30 * SECOND));
    assert_eq!(decide(3), retry(120 * SECOND));
    let message = "gave up after 4 attempts; last error: no answer".to_owned();
    assert_eq!(decide(4), Next::Dead(Reason::WebhookExhausted, message));
    assert!(matches!(decide(u32::MAX), Next::Dead(Reason::WebhookExhausted, _)));
    let empty = RetryRule { schedule: Vec::new(), ..rule(0.0) };
    let next = after_attempt(&outcome(Class::Connect, None), 1, &empty, 0.0);
    let message = "gave up after 1 attempt; last error: no answer".to_owned();
    assert_eq!(next, Next::Dead(Reason::WebhookExhausted, message));
}

#[test]
fn retry_after_is_a_minimum_of_at_most_seven_days() {
    let check = |asked: Duration, expected: Duration| {
        let next = after_attempt(&outcome(Class::HttpStatus, Some(asked)), 2, &rule(0.0), 0.0);
        assert_eq!(next, retry(expected));
    };
    check(Duration::ZERO, 30 * SECOND);
    check(29 * SECOND, 30 * SECOND);
    check(31 * SECOND, 31 * SECOND);
    check(MAX_RETRY_AFTER, MAX_RETRY_AFTER);
    check(MAX_RETRY_AFTER + SECOND, MAX_RETRY_AFTER);
    check(Duration::MAX, MAX_RETRY_AFTER);
}

#[test]
fn messages_of_rejections_say_what_to_do() {
    let refused = |status| {
        let outcome = Outcome { status: Some(status), error: None, ..outcome(Class::Rejected, None) };
        match after_attempt(&outcome, 1, &rule(0.0), 0.0) {
            Next::Dead(Reason::WebhookRejected, message) => message,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(404), "the receiver answered 404; this status is not retried");
    assert!(refused(302).contains("redirects are not followed"));
}

#[test]
fn attempts_answered_429_or_503_with_retry_after_do_not_count() {
    let check =
        |status: u16, asked: Option<Duration>, counted: bool, held: Option<Duration>, says: Signal| {
            let outcome = Outcome { status: Some(status), ..outcome(Class::of_status(status), asked) };
            match after_attempt(&outcome, 1, &rule(0.0), 0.0) {
                Next::Retry { counted: known, .. } => assert_eq!(known, counted, "{status} {asked:?}"),
                other => panic!("{other:?}"),
            }
            assert_eq!((hold(&outcome), signal(&outcome)), (held, says), "{status} {asked:?}");
        };
    let minute = Some(60 * SECOND);
    let held = Signal::Held(60 * SECOND);
    check(429, minute, false, minute, held);
    check(503, minute, false, minute, held);
    check(500, minute, true, minute, held);
    check(429, None, true, None, Signal::Failing);
    check(503, Some(Duration::ZERO), true, None, Signal::Failing);
    check(503, Some(Duration::MAX), false, Some(MAX_RETRY_AFTER), Signal::Held(MAX_RETRY_AFTER));
}

#[test]
fn uncounted_attempts_do_not_exhaust_the_schedule() {
    let asked = |status, attempts| {
        let outcome = Outcome { status: Some(status), ..outcome(Class::HttpStatus, Some(60 * SECOND)) };
        after_attempt(&outcome, attempts, &rule(0.0), 0.0)
    };
    for status in [429, 503] {
        assert_eq!(asked(status, 4), Next::Retry { after: 60 * SECOND, counted: false }, "{status}");
    }
    assert!(matches!(asked(500, 4), Next::Dead(Reason::WebhookExhausted, _)));
}

/// The receiver answers every request with `Retry-After: 1`.
fn uncounted_waits(rule: &RetryRule, chance: f64) -> Vec<Duration> {
    let outcome = Outcome { status: Some(429), ..outcome(Class::HttpStatus, Some(SECOND)) };
    let (mut age, mut waits) = (Duration::ZERO, Vec::new());
    // The schedule counts none of them.
    while let Next::Retry { after, .. } =
        super::after_attempt(&outcome, Round { attempts: 1, age }, rule, chance)
    {
        waits.push(after);
        age += after;
    }
    waits
}

#[test]
fn uncounted_waits_grow_with_the_age_up_to_the_longest_of_the_schedule() {
    let rule = RetryRule { max_age: Duration::from_secs(500), ..rule(0.0) };
    let waits: Vec<f64> = uncounted_waits(&rule, 0.0).iter().map(Duration::as_secs_f64).collect();
    // Half of 5, 10, 15, … seconds would be less than the first of the schedule.
    assert_eq!(
        waits,
        [
            5.0,
            5.0,
            5.0,
            7.5,
            11.25,
            16.875,
            25.3125,
            37.96875,
            56.953_125,
            85.429_687_5,
            120.0,
            120.0,
            3.710_937_5
        ]
    );
}

#[test]
fn only_retried_answers_hold_the_endpoint() {
    for (status, says) in [(200, Signal::Alive), (400, Signal::Alive), (410, Signal::Alive)] {
        let outcome = Outcome { status: Some(status), ..outcome(Class::of_status(status), Some(SECOND)) };
        assert_eq!((hold(&outcome), signal(&outcome)), (None, says), "{status}");
    }
    for class in [Class::Blocked, Class::Invalid, Class::Expired, Class::Panicked] {
        assert_eq!(signal(&outcome(class, None)), Signal::None);
    }
}

#[test]
fn a_round_older_than_the_maximum_age_ends_with_the_next_failure() {
    let next = |age| {
        super::after_attempt(&outcome(Class::Connect, None), Round { attempts: 1, age }, &rule(0.0), 0.0)
    };
    assert_eq!(next(Duration::from_secs(3599)), retry(5 * SECOND));
    assert!(matches!(next(Duration::from_hours(1)), Next::Dead(Reason::WebhookExhausted, _)));
}

#[test]
fn rules_can_reclassify_statuses() {
    let rule = RetryRule { retry_statuses: vec![404, 410], dead_statuses: vec![501], ..rule(0.0) };
    let class = |status: u16| {
        rule.class(&Outcome { status: Some(status), ..outcome(Class::of_status(status), None) })
    };
    assert_eq!([404, 410, 501].map(class), [Class::HttpStatus, Class::HttpStatus, Class::Rejected]);
    assert_eq!([400, 500, 200].map(class), [Class::Rejected, Class::HttpStatus, Class::Delivered]);
}

proptest! {
    #[test]
    fn jitter_only_lengthens_a_wait(
        attempts in 1_u32..=3, jitter in 0.0..=1.0_f64, chance in 0.0..=1.0_f64, asked in proptest::option::of(0_u64..1000)
    ) {
        let rule = rule(jitter);
        let asked = asked.map(Duration::from_secs);
        let wait = rule.schedule[attempts as usize - 1].max(asked.unwrap_or_default());
        match after_attempt(&outcome(Class::Timeout, asked), attempts, &rule, chance) {
            Next::Retry { after: delay, .. } => {
                prop_assert!(delay >= wait);
                prop_assert!(delay <= wait.mul_f64(1.0 + jitter) + Duration::from_micros(1));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn uncounted_attempts_are_few_and_last_as_long_as_the_round(
        jitter in 0.0..=1.0_f64, chance in 0.0..=1.0_f64, seconds in 1_u64..=700_000
    ) {
        let schedule = [5, 30, 120, 600, 1_800, 3_600, 10_800, 21_600, 43_200, 86_400].map(Duration::from_secs);
        let rule = RetryRule { schedule: schedule.to_vec(), max_age: Duration::from_secs(seconds), ..rule(jitter) };
        let waits = uncounted_waits(&rule, chance);
        prop_assert!(waits.len() <= 40, "{}", waits.len());
        prop_assert!(waits.iter().sum::<Duration>() >= rule.max_age);
        // The last one is cut at the end of the round.
        prop_assert!(waits[..waits.len() - 1].is_sorted());
        let asked = waits.iter().all(|wait| *wait >= SECOND);
        prop_assert!(asked, "less than the receiver asked for");
    }

    #[test]
    fn extreme_jitter_is_harmless(jitter in proptest::num::f64::ANY, chance in proptest::num::f64::ANY, seconds in any::<u64>()) {
        let rule = RetryRule { schedule: vec![Duration::from_secs(seconds)], ..rule(jitter) };
        let next = after_attempt(&outcome(Class::Dns, Some(Duration::MAX)), 1, &rule, chance);
        let long_enough = matches!(next, Next::Retry { after, .. } if after >= Duration::from_secs(seconds));
        prop_assert!(long_enough);
    }
}
