//! The outcome of a resend or discard.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::{
    bulk::operate::Verb,
    output::{self, Output},
};
use crate::{
    operator::{
        deliveries::{Refusal, State},
        operations::{self, ItemFilter, Operation},
        paging::MAX_PAGE,
    },
    postgres::Database,
};

/// An item that the database refuses to change.
const REFUSED: &str = "refused";

/// Prints how many were resent or discarded, and why others were not.
///
/// # Errors
/// When the database fails.
pub(super) async fn report(
    database: &Database,
    output: Output,
    verb: Verb,
    operation: Option<&Operation>,
) -> anyhow::Result<()> {
    let (mut reasons, mut superseded) = (BTreeMap::<Refusal, u64>::new(), 0);
    let (mut after, mut others) = (0, 0);
    while let Some(operation) = operation {
        let found = operations::items(database, operation, ItemFilter::default(), after, MAX_PAGE).await?;
        for item in found.items {
            let detail = item.detail.as_deref();
            match (item.outcome.as_deref(), detail.and_then(|detail| detail.parse().ok())) {
                (Some("skipped"), Some(refusal)) => *reasons.entry(refusal).or_default() += 1,
                (Some("skipped"), None) => others += 1,
                (Some("done"), _) if detail == Some(State::Superseded.name()) => superseded += 1,
                _ => {}
            }
        }
        let Some(next) = found.next.and_then(|next| u32::try_from(next).ok()) else { break };
        after = next;
    }
    let (done, skipped) = operation.map_or((0, 0), |operation| (operation.done, operation.skipped));
    let mut named: Map<String, Value> =
        reasons.iter().map(|(refusal, count)| (refusal.name().to_owned(), (*count).into())).collect();
    if others > 0 {
        named.insert(REFUSED.to_owned(), others.into());
    }
    let past = verb.past;
    let value = json!({ past: done, "skipped": skipped, "reasons": named });
    output::report(output.format, &value, |_| {
        let reasons = reasons.iter().map(|(refusal, count)| format!("\n  {count} {}", refusal.text()));
        let refused = (others > 0).then(|| format!("\n  {others} refused by the database"));
        let reasons: String = reasons.chain(refused).collect();
        format!("{past} {done}, skipped {skipped}{reasons}")
    })?;
    if superseded > 0 {
        output::note(format_args!(
            "{superseded} had been superseded; the worker closes those again whose contact was sent in a newer version"
        ));
    }
    Ok(())
}
