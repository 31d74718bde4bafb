//! Rewrites a schema, as authors and tools write it, into one that the validator can check.
//!
//! - Older drafts and the `OpenAPI` dialect become draft 2020-12, with only the keywords that are checked.
//! - Each referenced schema becomes a numbered definition. So `$id`, anchors and addresses are gone, nothing can be
//!   fetched, and compiling takes time in proportion to the size.
//! - What cannot be checked is left out with a warning. That never refuses more: a schema without a keyword accepts
//!   more than its author wrote (it is "loose"), and a keyword that reverses this, such as `not`, is left out if a
//!   schema in it is loose.

mod expressions;
mod keywords;
mod made;
mod pass;

use std::collections::HashSet;

use serde_json::{Map, Value};

pub(super) use self::expressions::Expressions;
use self::pass::{Cut, Outcome, Pass};
use super::{
    budget::{Budget, MAX_SCHEMA, TOO_LARGE},
    references::{Draft, References},
};
use crate::domain::trigger::problem::{Problem, Problems};

/// A schema that the validator can check.
pub(super) struct Repaired {
    /// Draft 2020-12; all references are to `#/$defs/<number>` or the metaschema. `None` if the schema is too large.
    pub(super) schema: Option<Map<String, Value>>,
    /// What was left out or read in another way, each once.
    pub(super) warnings: Vec<Problem>,
    /// What is left of [`MAX_SCHEMA`], and what the schema takes.
    pub(super) budget: Budget,
}

/// The type that a text names, in any case.
pub(super) fn known_type(name: &Value) -> Option<&'static str> {
    keywords::known_type(name)
}

/// Rewrites the member `parameters` of a trigger.
pub(super) fn repair(schema: &Value, mut expressions: Expressions<'_>) -> Repaired {
    let Some(mut references) = References::new(schema, Draft::of(schema).unwrap_or(Draft::Latest)) else {
        return too_large();
    };
    let mut outcome = Pass::new(&mut references, expressions.again(), None).run(schema);
    let cut = endless(&outcome);
    if outcome.schema.is_some() && (!cut.is_empty() || (outcome.loose && outcome.refers)) {
        // Any schema that is referred to may be the loose one.
        outcome = Pass::new(&mut references, expressions, Some(&cut)).run(schema);
    }
    let Outcome { schema: Some(schema), warnings: found, budget, .. } = outcome else { return too_large() };
    let mut warnings: Vec<Problem> = Vec::new();
    for warning in found {
        // A schema that is referred to is read more than once.
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Repaired { schema: Some(schema), warnings, budget }
}

fn too_large() -> Repaired {
    let mut warnings = Problems::default();
    warnings.push_in("parameters", TOO_LARGE);
    Repaired { schema: None, warnings: warnings.into_vec(), budget: Budget::new(MAX_SCHEMA) }
}

/// The references that close a cycle of schemas for the same value, which the validator could follow forever.
fn endless(outcome: &Outcome) -> Cut {
    let definitions = &outcome.definitions;
    let mut cut = Cut::new();
    let mut seen = HashSet::new();
    for start in 0..definitions.len() {
        // The way from `start`, each with the number of its references that were followed.
        let mut way: Vec<(usize, usize)> = Vec::new();
        if seen.insert(start) {
            way.push((start, 0));
        }
        while let Some((from, followed)) = way.last_mut() {
            let Some((from_id, to)) = definitions.get(*from) else { break };
            let Some(&next) = to.get(*followed) else {
                way.pop();
                continue;
            };
            *followed += 1;
            if way.iter().any(|(open, _)| *open == next) {
                cut.extend(definitions.get(next).map(|(target, _)| (*from_id, *target)));
            } else if seen.insert(next) {
                way.push((next, 0));
            }
        }
    }
    cut
}
