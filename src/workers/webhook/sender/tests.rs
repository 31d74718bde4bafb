//! What follows a panic in an attempt.

use super::*;
use crate::domain::webhook::{
    attempt::{Next, RetryRule, Round, after_attempt, signal},
    breaker::Signal,
};

#[tokio::test]
async fn attempt_that_panics_is_counted_and_retried() {
    let outcome = without_panic(async { panic!("a defect") }).await;
    assert_eq!(outcome.class, Class::Panicked);
    assert_eq!(signal(&outcome), Signal::None, "it says nothing about the endpoint");
    let rule = RetryRule {
        schedule: vec![Duration::from_secs(5)],
        jitter: 0.0,
        max_age: Duration::from_hours(1),
        retry_statuses: Vec::new(),
        dead_statuses: Vec::new(),
    };
    let next = |attempts| after_attempt(&outcome, Round { attempts, age: Duration::ZERO }, &rule, 0.0);
    assert_eq!(next(1), Next::Retry { after: Duration::from_secs(5), counted: true });
    assert!(matches!(next(2), Next::Dead(..)));
}
