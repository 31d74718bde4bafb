//! Keeps erased people out of dead letters: a message about one that arrives after the erasure is stored without its
//! contents.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use sqlx::PgConnection;
use time::OffsetDateTime;
use tracing::warn;

use super::NewDeadLetter;
use crate::{
    domain::{
        contact::{Identifier, erasure},
        event::{CompanyId, to_micros},
        trigger::fired,
        value::phone::{Region, Regions},
    },
    postgres::{clock, ledger, suppressions},
};

/// A dead letter without a company is compared with the erased people of at most this many companies. If there are more, it
/// loses its contents.
const MAX_COMPANIES: usize = 1_000;

/// Maximum number of lookups of identifiers in one transaction, which take a fraction of a second. A single dead letter that
/// needs more loses its contents.
const MAX_LOOKUPS: usize = 20_000;

/// The same for a batch, which several transactions store: some seconds.
const MAX_LOOKUPS_OF_BATCH: usize = 10 * MAX_LOOKUPS;

/// Searching this many bytes takes as long as a lookup.
const BYTES_OF_LOOKUP: usize = 256;

/// What is needed to recognize an erased person.
#[derive(Clone, Copy)]
pub struct Recognition<'a> {
    /// Setting `contacts.suppression_pepper`.
    pub pepper: &'a str,
    /// The regions of national phone numbers.
    pub regions: &'a Regions,
    /// What the batch may still spend.
    pub budget: &'a SearchBudget,
}

/// How many lookups are left for a batch, so that a flood of expensive messages does not hold up those behind it.
#[derive(Debug)]
pub struct SearchBudget(AtomicUsize);

impl Default for SearchBudget {
    fn default() -> Self {
        Self(AtomicUsize::new(MAX_LOOKUPS_OF_BATCH))
    }
}

impl SearchBudget {
    /// The lookups that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns the lookups of a try that failed for another reason than the batch: the next try must not have fewer.
    pub fn restore(&self, left: usize) {
        self.0.store(left, Ordering::Relaxed);
    }

    fn is_spent(&self) -> bool {
        self.left() == 0
    }

    fn spend(&self, lookups: usize) {
        self.restore(self.left().saturating_sub(lookups));
    }
}

/// Blanks the dead letters that name a person who has been erased since their message was written, and those that take too long
/// to search; returns the number of the latter. Messages from after the last erasure of their company are not searched.
/// `None` if one transaction cannot search all of them; it is then lost. A single one is always accepted.
///
/// Call it late, before dead letters are locked and inserted: an erasure waits for the caller's transaction from here on, and
/// then finds them.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn blank(
    conn: &mut PgConnection,
    recognition: &Recognition<'_>,
    dead_letters: &mut [NewDeadLetter],
) -> Result<Option<usize>, sqlx::Error> {
    if dead_letters.is_empty() {
        return Ok(Some(0));
    }
    let companies: BTreeSet<&str> = dead_letters.iter().map(|new| new.company.as_str()).collect();
    let erasures = suppressions::last_erasures(conn, &companies, MAX_COMPANIES + 1).await?;
    if erasures.is_empty() {
        return Ok(Some(0));
    }
    let now = clock::now(conn).await?;
    let (mut unsearched, mut lookups, mut searches) = (0, 0, Vec::new());
    for new in dead_letters {
        // A time that has not come yet says nothing.
        let time = new.time().filter(|time| *time <= now);
        let is_of = |company: &CompanyId| new.company.is_empty() || new.company == company.as_str();
        let concerned = erasures.iter().filter(|(company, at)| is_of(company) && is_before(time, *at));
        let mut companies: Vec<(Region, &CompanyId)> =
            concerned.map(|(company, _)| (recognition.regions.of(company), company)).collect();
        if companies.is_empty() {
            continue;
        }
        companies.sort_unstable_by(|(one, _), (other, _)| one.code().cmp(other.code()));
        let mut left = MAX_LOOKUPS;
        let may_search = companies.len() <= MAX_COMPANIES && !recognition.budget.is_spent();
        let identifiers = if may_search { identifiers(new, &companies, &mut left) } else { None };
        // Finding out that one is too large counts as well.
        lookups += if may_search && identifiers.is_none() { MAX_LOOKUPS } else { MAX_LOOKUPS - left };
        searches.push((new, time, identifiers));
        if lookups > MAX_LOOKUPS && searches.len() > 1 {
            return Ok(None);
        }
    }
    recognition.budget.spend(lookups);
    for (new, time, identifiers) in searches {
        let Some(identifiers) = identifiers else {
            if !has_contents(conn, new).await? {
                new.blank();
                unsearched += 1;
            }
            continue;
        };
        let found = ledger::seen(conn, recognition.pepper, &[], &identifiers).await?.erased;
        if found.iter().any(|(_, erased_at)| is_before(time, *erased_at)) {
            new.blank();
        }
    }
    Ok(Some(unsearched))
}

/// Whether the contents of this message are stored already. Erasures search what is stored, so they may stay.
async fn has_contents(conn: &mut PgConnection, new: &NewDeadLetter) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM dead_letters
               WHERE company_id = $1 AND stage = $2 AND meaning = $3 AND NOT is_blank) AS "has!""#,
        new.company,
        new.stage.name(),
        &new.meaning[..],
    )
    .fetch_one(conn)
    .await
}

/// Logs how many messages lost their contents although they may name nobody.
pub fn log_unsearched(component: &str, messages: usize) {
    if messages > 0 {
        warn!(
            component,
            messages,
            "{component} kept {messages} messages without their contents: they may name an erased person, and searching them \
             would take too long"
        );
    }
}

/// A message without a readable time may be from before the erasure.
fn is_before(time: Option<OffsetDateTime>, erased_at: OffsetDateTime) -> bool {
    time.is_none_or(|time| time <= erased_at)
}

/// Every identifier that the dead letter may contain, in each of these companies, which are sorted by region. Takes what that
/// costs from the lookups that are `left`. `None` if it would be more, or if the body is too large.
fn identifiers(
    new: &NewDeadLetter,
    companies: &[(Region, &CompanyId)],
    left: &mut usize,
) -> Option<Vec<(CompanyId, Identifier)>> {
    let bytes = [new.body.as_ref(), new.routing_key.as_bytes(), new.properties.as_bytes()].join(&b'\n');
    let mut identifiers = Vec::new();
    for companies in companies.chunk_by(|(one, _), (other, _)| one == other) {
        let (region, _) = companies.first()?;
        *left = left.checked_sub(1 + bytes.len() / BYTES_OF_LOOKUP)?;
        let candidates = erasure::candidates::candidates(&bytes, *region)?;
        *left = left.checked_sub(candidates.len() * companies.len())?;
        for (_, company) in companies {
            identifiers.extend(candidates.iter().map(|candidate| ((*company).clone(), candidate.clone())));
        }
    }
    Some(identifiers)
}

impl NewDeadLetter {
    /// When the message was written, by its own time, but not later than it became known.
    fn time(&self) -> Option<OffsetDateTime> {
        let time = fired::time_of(&self.body).map(to_micros)?;
        Some(self.known_at.map_or(time, |known_at| time.min(known_at)))
    }

    /// Removes what the sender wrote, except the trigger's name. The meaning, a hash, recognizes a redelivery.
    fn blank(&mut self) {
        self.body = Bytes::new();
        self.properties = String::from("{}");
        self.routing_key = self.routing_key.split('.').take(2).collect::<Vec<_>>().join(".");
        self.source = None;
        self.event_id = None;
        self.message.push_str(
            "; it may name a person who has been erased, so its contents were not kept: discard it",
        );
        self.is_blank = true;
    }
}
