//! Proves the promises on the rows of a live database, while workers run. It changes and locks nothing.
//!
//! Each page has its own snapshot: a single one would hold back vacuum during the whole run.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::Serialize;
use sqlx::PgConnection;
use strum::VariantArray as _;
use uuid::Uuid;

use crate::{
    postgres::{
        Database,
        contacts::snapshot,
        verify::{self as store, Check, Page, Place, Scan, Scope, Violation},
    },
    settings::Settings,
};

/// How long it waits before it looks again at an apparent violation: a process may just have died, or others may be about to take
/// over from it.
const WAIT: Duration = Duration::from_secs(3);

/// How often it looks again.
const LOOKS: usize = 3;

/// Maximum number of pages with apparent violations to remember before it looks again.
const MAX_SUSPECTS: usize = 50;

/// Violations of one check that it reports.
const MAX_SAMPLES: usize = 10;

/// What one check has found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The name of the check.
    pub check: &'static str,
    /// What it proves without a violation.
    pub proves: &'static str,
    /// Rows that it looked at.
    pub rows: u64,
    /// Rows that violate it.
    pub violations: u64,
    /// Some of them.
    pub samples: Vec<Sample>,
}

/// A row that violates a check.
#[derive(Debug, Serialize)]
pub struct Sample {
    /// The company's id.
    pub company: String,
    /// The id of the row, or of its contact.
    pub id: Uuid,
    /// What is wrong with it.
    pub found: &'static str,
}

/// Runs every check on all rows, or on those of `company`. Calls `progress` with the number of rows after each page.
///
/// # Errors
/// When the database fails.
pub async fn verify(
    database: &Database,
    settings: &Settings,
    company: Option<&str>,
    mut progress: impl FnMut(u64),
) -> Result<Vec<Report>, sqlx::Error> {
    let scope = database.unit(async |conn| Scope::new(conn, settings, company).await).await?;
    let mut looks = Looks { database, scope: &scope, suspects: Vec::new(), confirmed: BTreeMap::new() };
    let (mut rows, mut all) = (BTreeMap::new(), 0);
    for scan in Scan::VARIANTS {
        let (mut place, mut read) = (Some(scope.start()), 0);
        while let Some(after) = place {
            let page = looks.page(*scan, &after).await?;
            read += page.rows;
            progress(all + read);
            if !page.violations.is_empty() {
                looks.suspects.push((*scan, after, page.violations));
            }
            if looks.suspects.len() >= MAX_SUSPECTS {
                looks.confirm().await?;
            }
            place = page.next;
        }
        all += read;
        rows.insert(*scan as usize, read);
    }
    looks.confirm().await?;
    let mut found = looks.confirmed;
    let report = |check: &Check| {
        let (violations, samples) = found.remove(check.name()).unwrap_or_default();
        let rows = rows.get(&(check.scan() as usize)).copied().unwrap_or_default();
        Report { check: check.name(), proves: check.proves(), rows, violations, samples }
    };
    Ok(Check::VARIANTS.iter().map(report).collect())
}

/// Apparent and confirmed violations.
struct Looks<'a> {
    database: &'a Database,
    scope: &'a Scope,
    /// Pages to be looked at again.
    suspects: Vec<(Scan, Place, Vec<Violation>)>,
    /// By check, the number of violations, and samples.
    confirmed: BTreeMap<&'static str, (u64, Vec<Sample>)>,
}

impl Looks<'_> {
    async fn page(&self, scan: Scan, after: &Place) -> Result<Page, sqlx::Error> {
        let read = async |conn: &mut PgConnection| {
            let mut snapshot = snapshot(conn).await?;
            let page = store::page(&mut snapshot, scan, self.scope, after).await?;
            snapshot.rollback().await?;
            Ok(page)
        };
        self.database.unit(read).await
    }

    /// Looks again, and keeps what is still wrong.
    async fn confirm(&mut self) -> Result<(), sqlx::Error> {
        let mut suspects = std::mem::take(&mut self.suspects);
        for _ in 0..LOOKS {
            if suspects.is_empty() {
                break;
            }
            tokio::time::sleep(WAIT).await;
            for (scan, after, violations) in &mut suspects {
                let still: HashSet<Violation> =
                    self.page(*scan, after).await?.violations.into_iter().collect();
                violations.retain(|violation| still.contains(violation));
            }
            suspects.retain(|(.., violations)| !violations.is_empty());
        }
        for Violation { check, company, id, found } in suspects.into_iter().flat_map(|(.., all)| all) {
            let (count, samples) = self.confirmed.entry(check.name()).or_default();
            *count += 1;
            if samples.len() < MAX_SAMPLES {
                samples.push(Sample { company, id, found });
            }
        }
        Ok(())
    }
}
