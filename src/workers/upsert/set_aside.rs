//! When a consumer may set aside a message that the database keeps refusing, so that others go on. If nothing is
//! accepted while a message is refused, the database as a whole is more likely at fault, and messages have to wait.
//! Messages about the same person have one cause and count once.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many messages may be set aside in a row although nothing was accepted since they were refused.
const MAX_UNPROVEN: u32 = 2;

/// After this time another one may be set aside. Otherwise two messages that wait, one in each transaction, would leave no
/// transaction for a message that could be accepted.
const UNPROVEN_INTERVAL: Duration = Duration::from_mins(1);

/// Minimum time for which a message that was set aside is reported, even if others are accepted meanwhile, so that somebody
/// sees it.
const REPORTED: Duration = Duration::from_mins(1);

/// How long the keys of messages that were given up are remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// The messages that a consumer has set aside.
#[derive(Debug, Default)]
pub struct SetAside {
    state: Mutex<State>,
    hasher: RandomState,
}

/// A hash of what a message names, such as an identifier of a person. Messages that share one are likely refused for the same
/// cause; a chance collision only costs one of them some of its tries.
pub(super) type Cause = u64;

/// A point in time, as the number of transactions with accepted messages that were committed by then.
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

/// The keys of a message that was tried often enough to be set aside.
#[derive(Clone, Copy, Debug)]
struct GivenUp {
    at: Instant,
    /// It was set aside: its event had not ended otherwise.
    is_set_aside: bool,
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
    /// Nearly always empty.
    given_up: HashMap<Cause, GivenUp>,
}

impl SetAside {
    /// The cause that messages naming the same key share.
    pub(super) fn cause(&self, named: impl Hash) -> Cause {
        self.hasher.hash_one(named)
    }

    /// A transaction with accepted messages was committed: the database can be used, and none of these is a cause. They are
    /// looked at only if anything was given up.
    pub(super) fn committed(&self, causes: impl Iterator<Item = Cause>) {
        let mut state = self.state();
        state.commits += 1;
        state.unproven = 0;
        if !state.given_up.is_empty() {
            for cause in causes {
                state.given_up.remove(&cause);
            }
        }
    }

    /// A message with these causes has used up its tries.
    pub(super) fn give_up(&self, causes: &[Cause], now: Instant) {
        let mut state = self.state();
        for cause in causes {
            state.given_up.entry(*cause).or_insert(GivenUp { at: now, is_set_aside: false }).at = now;
        }
    }

    /// Forgets causes that were given up long ago. Returns whether any are left.
    pub(super) fn remembers_any(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.given_up.retain(|_, one| one.is_fresh(now));
        !state.given_up.is_empty()
    }

    /// Whether a message with this cause was given up a short time ago. A further one needs less patience.
    pub(super) fn has_given_up(&self, cause: Cause, now: Instant) -> bool {
        self.state().given_up.get(&cause).is_some_and(|one| one.is_fresh(now))
    }

    /// Whether a message with this cause was set aside. Another one does not suggest that the database as a whole is at fault.
    pub(super) fn has_set_aside(&self, cause: Cause, now: Instant) -> bool {
        self.state().given_up.get(&cause).is_some_and(|one| one.is_set_aside && one.is_fresh(now))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.state().commits)
    }

    /// Whether messages were accepted after this.
    pub(super) fn is_proven(&self, since: Mark) -> bool {
        since < self.mark()
    }

    /// Admits a message without that proof, if one may be set aside now. It then counts as set aside.
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
        // A commit has already made room for others.
        if state.commits == admission.commits {
            state.unproven = state.unproven.saturating_sub(1);
        }
        if state.last_at == Some(admission.at) {
            state.last_at = admission.before;
        }
    }

    /// A message with these causes was set aside for this reason.
    pub(super) fn note(&self, why: &str, causes: &[Cause], now: Instant) {
        let mut state = self.state();
        state.report = Some((why.to_owned(), now));
        for cause in causes {
            state.given_up.insert(*cause, GivenUp { at: now, is_set_aside: true });
        }
    }

    /// What is reported now.
    pub(super) fn report(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (why, since) = state.report.as_ref()?;
        (now.saturating_duration_since(*since) < REPORTED).then(|| why.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GivenUp {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};

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
        set_aside.committed(empty());
        assert!(admits() && admits() && !admits());
    }

    #[test]
    fn only_what_is_accepted_afterwards_proves_that_the_database_works() {
        let set_aside = SetAside::default();
        set_aside.committed(empty());
        let since = set_aside.mark();
        assert!(!set_aside.is_proven(since));
        set_aside.committed(empty());
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
        set_aside.committed(empty());
        assert!(admit(1).is_some() && admit(2).is_some());
        set_aside.withdraw(&admission);
        assert!(admit(3).is_none());
    }

    #[test]
    fn the_last_one_is_reported_for_a_minute() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let report = |seconds| set_aside.report(start + Duration::from_secs(seconds));
        assert_eq!(report(0), None);
        set_aside.note("first", &[], start);
        set_aside.note("second", &[], start + Duration::from_secs(1));
        set_aside.committed(empty());
        assert_eq!(report(60).as_deref(), Some("second"));
        assert_eq!(report(61), None);
    }

    #[test]
    fn what_was_given_up_is_remembered_for_a_minute_or_until_it_is_accepted() {
        let (set_aside, start) = (SetAside::default(), Instant::now());
        let knows = |cause, seconds| {
            let now = start + Duration::from_secs(seconds);
            (set_aside.has_given_up(cause, now), set_aside.has_set_aside(cause, now))
        };
        set_aside.give_up(&[1, 2], start);
        assert_eq!([1, 2, 3].map(|cause| knows(cause, 59)), [(true, false), (true, false), (false, false)]);
        set_aside.note("why", &[1], start);
        set_aside.give_up(&[1], start + Duration::from_secs(30));
        assert_eq!([1, 2].map(|cause| knows(cause, 60)), [(true, true), (false, false)]);
        assert_eq!(knows(1, 90), (false, false));
        assert!(set_aside.remembers_any(start + Duration::from_secs(89)));
        set_aside.committed(once(1));
        assert_eq!(knows(1, 60), (false, false));
        assert!(!set_aside.remembers_any(start + Duration::from_mins(1)));
    }
}
