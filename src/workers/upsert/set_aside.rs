//! When a consumer may set a message aside: give it up, because the database refuses it time and again, so that others go
//! on. If nothing is accepted while a message is refused, the fault is more likely that of the database as a whole, and
//! messages have to wait.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many messages may be set aside in a row although nothing was accepted since they were refused.
const MAX_UNPROVEN: u32 = 2;

/// After so long a further one may be. Otherwise two messages that wait, one in each transaction, would leave no
/// transaction for a message that could be accepted.
const UNPROVEN_INTERVAL: Duration = Duration::from_mins(1);

/// How long it is reported at least, whatever is accepted meanwhile, so that somebody sees it.
const REPORTED: Duration = Duration::from_mins(1);

/// The messages that a consumer has set aside.
#[derive(Debug, Default)]
pub struct SetAside(Mutex<State>);

/// How many transactions with accepted messages had been committed at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

/// A message that is set aside without proof.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admission {
    /// [`State::commits`] then.
    commits: u64,
    at: Instant,
    /// When the one before was admitted.
    before: Option<Instant>,
}

#[derive(Debug, Default)]
struct State {
    /// How many transactions with accepted messages were committed.
    commits: u64,
    /// Messages that were set aside without proof since the last of them.
    unproven: u32,
    /// When the last one was.
    last_at: Option<Instant>,
    /// What is reported, and since when.
    report: Option<(String, Instant)>,
}

impl SetAside {
    /// A transaction with accepted messages was committed: the database can be used.
    pub(super) fn committed(&self) {
        let mut state = self.state();
        state.commits += 1;
        state.unproven = 0;
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.state().commits)
    }

    /// Whether messages were accepted after this.
    pub(super) fn is_proven(&self, since: Mark) -> bool {
        since < self.mark()
    }

    /// Whether a message may be set aside now without that. If so, it counts as set aside.
    pub(super) fn admit_unproven(&self, now: Instant) -> Option<Admission> {
        let mut state = self.state();
        let is_rare = state.last_at.is_none_or(|at| now.saturating_duration_since(at) >= UNPROVEN_INTERVAL);
        let admission = Admission { commits: state.commits, at: now, before: state.last_at };
        (state.unproven < MAX_UNPROVEN || is_rare).then(|| {
            state.unproven += 1;
            state.last_at = Some(now);
            admission
        })
    }

    /// A message that was admitted without proof is not set aside after all.
    pub(super) fn withdraw(&self, admission: &Admission) {
        let mut state = self.state();
        // A commit has made room for others already.
        if state.commits == admission.commits {
            state.unproven = state.unproven.saturating_sub(1);
        }
        if state.last_at == Some(admission.at) {
            state.last_at = admission.before;
        }
    }

    /// A message was set aside for this reason.
    pub(super) fn note(&self, why: &str, now: Instant) {
        self.state().report = Some((why.to_owned(), now));
    }

    /// What is reported now.
    pub(super) fn report(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (why, since) = state.report.as_ref()?;
        (now.saturating_duration_since(*since) < REPORTED).then(|| why.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_commit_two_are_admitted_at_once_and_then_one_each_minute() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let admits = |seconds| set_aside.admit_unproven(start + Duration::from_secs(seconds)).is_some();
        assert!(admits(0) && admits(1));
        assert!(!admits(2) && !admits(60));
        assert!(admits(61) && !admits(120) && admits(121));
    }

    #[test]
    fn commit_admits_two_more() {
        let (set_aside, now) = (SetAside::default(), Instant::now());
        let admits = || set_aside.admit_unproven(now).is_some();
        assert!(admits() && admits() && !admits());
        set_aside.committed();
        assert!(admits() && admits() && !admits());
    }

    #[test]
    fn only_what_is_accepted_afterwards_proves_that_the_database_works() {
        let set_aside = SetAside::default();
        set_aside.committed();
        let since = set_aside.mark();
        assert!(!set_aside.is_proven(since));
        set_aside.committed();
        assert!(set_aside.is_proven(since));
    }

    #[test]
    fn message_that_is_not_set_aside_after_all_does_not_count() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let admit = |seconds| set_aside.admit_unproven(start + Duration::from_secs(seconds));
        for _ in 0..9 {
            set_aside.withdraw(&admit(0).unwrap());
        }
        assert!(admit(1).is_some() && admit(2).is_some() && admit(3).is_none());
        set_aside.withdraw(&admit(62).unwrap());
        assert!(admit(63).is_some() && admit(64).is_none(), "the minute is not over for that one");
    }

    #[test]
    fn message_that_was_admitted_before_a_commit_makes_no_room_afterwards() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let admit = |seconds| set_aside.admit_unproven(start + Duration::from_secs(seconds));
        let admission = admit(0).unwrap();
        set_aside.committed();
        assert!(admit(1).is_some() && admit(2).is_some());
        set_aside.withdraw(&admission);
        assert!(admit(3).is_none());
    }

    #[test]
    fn the_last_one_is_reported_for_a_minute() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let report = |seconds| set_aside.report(start + Duration::from_secs(seconds));
        assert_eq!(report(0), None);
        set_aside.note("first", start);
        set_aside.note("second", start + Duration::from_secs(1));
        set_aside.committed();
        assert_eq!(report(60).as_deref(), Some("second"));
        assert_eq!(report(61), None);
    }
}
