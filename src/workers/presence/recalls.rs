//! Recalls: an erasure has removed webhooks that a process may have read but not sent yet.

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock},
    time::Instant,
};

use crate::postgres::erasure::Recall;

/// Companies with a recall are remembered one by one up to this number.
const MAX_COMPANIES: usize = 10_000;

/// The recalls that this process knows of.
#[derive(Debug, Default)]
pub(super) struct Recalls(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    /// Those that the last renewal has read.
    open: HashSet<Recall>,
    /// When this process last learned of a recall of a company.
    heard: HashMap<String, Instant>,
    /// The last time of those that are no longer remembered one by one. It counts for every company.
    forgotten: Option<Instant>,
}

impl Recalls {
    /// Replaces the recalls that are open at `now`. Returns whether one of them is new.
    pub(super) fn hear(&self, open: Vec<Recall>, now: Instant) -> bool {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let State { open: before, heard, forgotten } = &mut *state;
        let mut new = open.iter().filter(|recall| !before.contains(*recall)).peekable();
        let is_new = new.peek().is_some();
        heard.extend(new.map(|recall| (recall.company.clone(), now)));
        if heard.len() > MAX_COMPANIES {
            *forgotten = heard.drain().map(|(_, at)| at).max();
        }
        *before = open.into_iter().collect();
        is_new
    }

    /// Whether a delivery of this company that was read at `read_at` may have been removed since.
    pub(super) fn include(&self, company: &str, read_at: Instant) -> bool {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.heard.get(company).copied().max(state.forgotten).is_some_and(|at| read_at <= at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::OffsetDateTime;
    use uuid::Uuid;

    use super::*;

    fn recall(company: &str, contact: u128, seconds: i64) -> Recall {
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds);
        Recall { company: company.to_owned(), contact: Uuid::from_u128(contact), at }
    }

    #[test]
    fn recall_includes_what_its_company_had_before_it_was_heard_of_for_the_first_time() {
        let (recalls, start) = (Recalls::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let include = |company, seconds| recalls.include(company, at(seconds));
        assert!(!recalls.hear(Vec::new(), at(1)) && !include("acme", 0));
        assert!(recalls.hear(vec![recall("acme", 1, 5)], at(2)));
        assert!(!recalls.hear(vec![recall("acme", 1, 5)], at(4)), "it is the same");
        assert!(include("acme", 2) && !include("acme", 3) && !include("globex", 2));
        // One that was made earlier may be seen later.
        assert!(recalls.hear(vec![recall("acme", 1, 5), recall("acme", 2, 4)], at(6)));
        assert!(include("acme", 6) && !include("acme", 7));
        assert!(recalls.hear(vec![recall("acme", 1, 9)], at(8)), "it was made again");
        assert!(!recalls.hear(Vec::new(), at(9)));
        assert!(include("acme", 8) && !include("acme", 9), "what is closed still counts");
    }

    #[test]
    fn recalls_of_many_companies_become_one_of_all() {
        let (recalls, start) = (Recalls::default(), Instant::now());
        let later = start + Duration::from_secs(1);
        for company in 0..=MAX_COMPANIES {
            assert!(!recalls.include("globex", start));
            recalls.hear(vec![recall(&company.to_string(), 0, 0)], start);
        }
        assert!(recalls.include("globex", start) && !recalls.include("globex", later));
        assert!(
            !recalls.hear(vec![recall(&MAX_COMPANIES.to_string(), 0, 0)], later),
            "it is open, and known"
        );
        assert!(!recalls.include("globex", later));
    }
}
