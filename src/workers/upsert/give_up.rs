//! When a consumer may give up a message that cannot be applied, so that others go on: it becomes a dead letter. If nothing
//! is applied while a message is tried, the database as a whole is more likely at fault, and messages have to wait.
//! Messages about the same person share a key and count once.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How many messages may be given up in a row although nothing was applied since they were first tried.
const MAX_UNPROVEN: u32 = 2;

/// After this time another one may be given up. Otherwise two messages that wait, one in each transaction, would leave no
/// transaction for a message that could be applied.
const UNPROVEN_INTERVAL: Duration = Duration::from_mins(1);

/// Minimum time for which a message that was given up is reported, even if others are applied meanwhile, so that a person
/// sees it.
const REPORTED: Duration = Duration::from_mins(1);

/// How long the keys of messages that have used up their tries are remembered.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Decides when a message may be given up, and remembers which were.
#[derive(Debug, Default)]
pub struct GiveUpPolicy {
    state: Mutex<State>,
    hasher: RandomState,
}

/// A hash of what a message names, such as an identifier of a person. Messages that share one are likely to fail for the same
/// reason; a chance collision only costs one of them some of its tries.
pub(super) type SharedKey = u64;

/// A point in time, as the number of transactions with accepted messages that were committed by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark(u64);

/// Why a message may be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Others were applied meanwhile, or one that shares a key was given up: the message is at fault.
    Proven,
    /// Without that proof.
    Unproven(Admission),
}

/// A message that is given up without proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admission {
    /// [`State::commits`] then.
    commits: u64,
    at: Instant,
    /// When the one before was admitted.
    before: Option<Instant>,
}

/// A key of a message that has used up its tries.
#[derive(Clone, Copy, Debug)]
struct UsedUp {
    at: Instant,
    /// The message was given up: its event had not ended otherwise.
    was_given_up: bool,
}

#[derive(Debug, Default)]
struct State {
    /// How many transactions with accepted messages were committed.
    commits: u64,
    /// Messages that were given up without proof since the last of them.
    unproven: u32,
    /// When the last one was.
    last_at: Option<Instant>,
    /// What is reported, and since when.
    report: Option<(String, Instant)>,
    /// Nearly always empty.
    used_up: HashMap<SharedKey, UsedUp>,
}

impl GiveUpPolicy {
    /// The key that messages naming the same share.
    pub(super) fn key(&self, named: impl Hash) -> SharedKey {
        self.hasher.hash_one(named)
    }

    /// A transaction with accepted messages was committed: the database can be used, and messages with these keys can be
    /// applied. The keys are looked at only if any are remembered.
    pub(super) fn note_commit(&self, keys: impl Iterator<Item = SharedKey>) {
        let mut state = self.state();
        state.commits += 1;
        state.unproven = 0;
        if !state.used_up.is_empty() {
            for key in keys {
                state.used_up.remove(&key);
            }
        }
    }

    /// A message with these keys has used up its tries.
    pub(super) fn note_used_up(&self, keys: &[SharedKey], now: Instant) {
        let mut state = self.state();
        for key in keys {
            state.used_up.entry(*key).or_insert(UsedUp { at: now, was_given_up: false }).at = now;
        }
    }

    /// Forgets what happened long ago. Returns whether any keys are left.
    pub(super) fn remembers_any(&self, now: Instant) -> bool {
        let mut state = self.state();
        state.used_up.retain(|_, one| one.is_fresh(now));
        !state.used_up.is_empty()
    }

    /// Whether a message with this key used up its tries a short time ago. A further one gets fewer.
    pub(super) fn used_up_tries(&self, key: SharedKey, now: Instant) -> bool {
        self.state().used_up.get(&key).is_some_and(|one| one.is_fresh(now))
    }

    /// Whether a message with this key was given up. Another one does not suggest that the database as a whole is at fault.
    pub(super) fn was_given_up(&self, key: SharedKey, now: Instant) -> bool {
        self.state().used_up.get(&key).is_some_and(|one| one.was_given_up && one.is_fresh(now))
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.state().commits)
    }

    /// Whether messages were applied after this.
    pub(super) fn is_proven(&self, since: Mark) -> bool {
        since < self.mark()
    }

    /// Admits a message without that proof, if one may be given up now. It then counts as given up.
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

    /// A message that was admitted without proof is not given up after all.
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

    /// A message with these keys was given up for this reason.
    pub(super) fn note_given_up(&self, why: &str, keys: &[SharedKey], now: Instant) {
        let mut state = self.state();
        state.report = Some((why.to_owned(), now));
        for key in keys {
            state.used_up.insert(*key, UsedUp { at: now, was_given_up: true });
        }
    }

    /// What is reported now.
    pub(super) fn reported(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (why, since) = state.report.as_ref()?;
        (now.saturating_duration_since(*since) < REPORTED).then(|| why.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsedUp {
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
        let (policy, start) = (GiveUpPolicy::default(), Instant::now());
        let admits = |seconds| policy.admit_unproven(start + Duration::from_secs(seconds)).is_some();
        assert!(admits(0) && admits(1));
        assert!(!admits(2) && !admits(60));
        assert!(admits(61) && !admits(120) && admits(121));
    }

    #[test]
    fn commit_admits_two_more() {
        let (policy, now) = (GiveUpPolicy::default(), Instant::now());
        let admits = || policy.admit_unproven(now).is_some();
        assert!(admits() && admits() && !admits());
        policy.note_commit(empty());
        assert!(admits() && admits() && !admits());
    }

    #[test]
    fn only_what_is_applied_afterwards_proves_that_the_database_works() {
        let policy = GiveUpPolicy::default();
        policy.note_commit(empty());
        let since = policy.mark();
        assert!(!policy.is_proven(since));
        policy.note_commit(empty());
        assert!(policy.is_proven(since));
    }

    #[test]
    fn message_that_is_not_given_up_after_all_does_not_count() {
        let (policy, start) = (GiveUpPolicy::default(), Instant::now());
        let admit = |seconds| policy.admit_unproven(start + Duration::from_secs(seconds));
        for _ in 0..9 {
            policy.withdraw(&admit(0).unwrap());
        }
        assert!(admit(1).is_some() && admit(2).is_some() && admit(3).is_none());
        policy.withdraw(&admit(62).unwrap());
        assert!(admit(63).is_some() && admit(64).is_none(), "the minute is not over for that one");
    }

    #[test]
    fn message_that_was_admitted_before_a_commit_makes_no_room_afterwards() {
        let (policy, start) = (GiveUpPolicy::default(), Instant::now());
        let admit = |seconds| policy.admit_unproven(start + Duration::from_secs(seconds));
        let admission = admit(0).unwrap();
        policy.note_commit(empty());
        assert!(admit(1).is_some() && admit(2).is_some());
        policy.withdraw(&admission);
        assert!(admit(3).is_none());
    }

    #[test]
    fn the_last_one_is_reported_for_a_minute() {
        let (policy, start) = (GiveUpPolicy::default(), Instant::now());
        let report = |seconds| policy.reported(start + Duration::from_secs(seconds));
        assert_eq!(report(0), None);
        policy.note_given_up("first", &[], start);
        policy.note_given_up("second", &[], start + Duration::from_secs(1));
        policy.note_commit(empty());
        assert_eq!(report(60).as_deref(), Some("second"));
        assert_eq!(report(61), None);
    }

    #[test]
    fn used_up_keys_are_remembered_for_a_minute_or_until_one_is_applied() {
        let (policy, start) = (GiveUpPolicy::default(), Instant::now());
        let knows = |key, seconds| {
            let now = start + Duration::from_secs(seconds);
            (policy.used_up_tries(key, now), policy.was_given_up(key, now))
        };
        policy.note_used_up(&[1, 2], start);
        assert_eq!([1, 2, 3].map(|key| knows(key, 59)), [(true, false), (true, false), (false, false)]);
        policy.note_given_up("why", &[1], start);
        policy.note_used_up(&[1], start + Duration::from_secs(30));
        assert_eq!([1, 2].map(|key| knows(key, 60)), [(true, true), (false, false)]);
        assert_eq!(knows(1, 90), (false, false));
        assert!(policy.remembers_any(start + Duration::from_secs(89)));
        policy.note_commit(once(1));
        assert_eq!(knows(1, 60), (false, false));
        assert!(!policy.remembers_any(start + Duration::from_mins(1)));
    }
}
