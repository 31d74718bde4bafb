//! States of lanes and waits of deliveries.

use strum::VariantArray as _;
use time::Duration;
use uuid::Uuid;

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn later(minutes: i64) -> OffsetDateTime {
    NOW + Duration::minutes(minutes)
}

fn lane() -> Lane {
    Lane {
        paused_at: None,
        disabled_at: None,
        held_until: None,
        next_slot_at: None,
        breaker: "closed".to_owned(),
        breaker_until: None,
        failures: 0,
        failing_since: None,
    }
}

fn pending() -> Summary {
    Summary {
        id: Uuid::nil(),
        company: "acme".to_owned(),
        trigger: "t".to_owned(),
        state: "pending".to_owned(),
        event_id: "e".to_owned(),
        contact_id: None,
        contact_version: None,
        endpoint_id: None,
        endpoint_url: None,
        attempts: 0,
        schedule_from: 0,
        last_status: None,
        last_class: None,
        last_error: None,
        newest_only: false,
        digest: false,
        digest_id: None,
        in_flight: false,
        created_at: NOW,
        next_attempt_at: Some(NOW),
        finished_at: None,
        lane: Some(lane()),
        now: NOW,
    }
}

#[test]
fn lane_state_prefers_what_an_operator_ends() {
    let check = |change: fn(&mut Lane), expected: LaneState| {
        let mut lane = lane();
        change(&mut lane);
        assert_eq!(LaneState::of(&lane, NOW), expected, "{lane:?}");
    };
    check(|_| (), LaneState::Open);
    check(|lane| lane.failures = 1, LaneState::Failing);
    check(|lane| lane.held_until = Some(NOW), LaneState::Open);
    check(|lane| lane.held_until = Some(later(1)), LaneState::Held);
    check(|lane| lane.breaker = "ramp_up".to_owned(), LaneState::Open);
    for breaker in ["open", "half_open"] {
        // A hold opens the breaker, which may stay open longer; what failed before it is not counted.
        let mut lane = Lane { breaker: breaker.to_owned(), held_until: Some(later(-1)), ..lane() };
        assert_eq!(LaneState::of(&lane, NOW), LaneState::Held);
        lane.failures = 1;
        assert_eq!(LaneState::of(&lane, NOW), LaneState::BreakerOpen);
        lane.held_until = Some(later(1));
        assert_eq!(LaneState::of(&lane, NOW), LaneState::Held);
        lane.disabled_at = Some(NOW);
        assert_eq!(LaneState::of(&lane, NOW), LaneState::Disabled);
        lane.paused_at = Some(NOW);
        assert_eq!(LaneState::of(&lane, NOW), LaneState::Paused);
    }
    for &state in LaneState::VARIANTS {
        assert_eq!(state.name().parse(), Ok(state));
    }
    assert_eq!(LaneState::BreakerOpen.name(), "breaker_open");
}

#[test]
fn pending_delivery_waits_for_its_time_or_a_worker() {
    let check = |change: fn(&mut Summary), name: &str, until: Option<OffsetDateTime>| {
        let mut delivery = pending();
        change(&mut delivery);
        let waits = Waits::of(&delivery).unwrap();
        assert_eq!((waits.name(), waits.until()), (name, until));
    };
    check(|_| (), "worker", None);
    check(|delivery| delivery.lane = None, "worker", None);
    check(|delivery| delivery.next_attempt_at = Some(later(3)), "due", Some(later(3)));
    check(
        |delivery| {
            delivery.next_attempt_at = Some(later(3));
            delivery.digest = true;
        },
        "digest",
        Some(later(3)),
    );
    check(
        |delivery| {
            delivery.next_attempt_at = Some(later(3));
            delivery.attempts = 1;
        },
        "retry",
        Some(later(3)),
    );
    // Resent: earlier attempts do not count.
    check(
        |delivery| {
            delivery.next_attempt_at = Some(later(3));
            (delivery.attempts, delivery.schedule_from) = (1, 1);
        },
        "due",
        Some(later(3)),
    );
}

#[test]
fn pending_delivery_waits_for_its_closed_lane() {
    let change_lane = |delivery: &mut Summary, change: fn(&mut Lane)| change(delivery.lane.as_mut().unwrap());
    for (change, name, until) in [
        ((|lane| lane.paused_at = Some(NOW)) as fn(&mut Lane), "endpoint_paused", None),
        (|lane| lane.disabled_at = Some(NOW), "endpoint_disabled", None),
        (|lane| lane.held_until = Some(later(2)), "endpoint_held", Some(later(2))),
        (
            |lane| {
                (lane.breaker, lane.breaker_until) = ("open".to_owned(), Some(later(4)));
                lane.held_until = Some(later(2));
            },
            "endpoint_held",
            Some(later(4)),
        ),
        (
            |lane| {
                (lane.breaker, lane.breaker_until) = ("open".to_owned(), Some(later(4)));
                lane.failures = 3;
            },
            "breaker_open",
            Some(later(4)),
        ),
        (|lane| lane.failures = 3, "worker", None),
        (|lane| lane.next_slot_at = Some(later(1)), "rate", Some(later(1))),
    ] {
        let mut delivery = pending();
        change_lane(&mut delivery, change);
        let waits = Waits::of(&delivery).unwrap();
        assert_eq!((waits.name(), waits.until()), (name, until));
        delivery.in_flight = true;
        assert_eq!(Waits::of(&delivery), Some(Waits::Answer));
        for state in State::VARIANTS.iter().filter(|state| **state != State::Pending) {
            state.name().clone_into(&mut delivery.state);
            assert_eq!(Waits::of(&delivery), None);
        }
    }
}
