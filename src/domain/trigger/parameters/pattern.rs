//! The regular expressions of a schema: ECMA-262, in the form that the validator's engines accept, with bounded
//! memory and time.
//!
//! The validator itself translates expressions for its linear engine. It passes those with look-around or
//! back-references to a backtracking engine untranslated, so they are translated here.

mod scan;
mod width;

use std::collections::HashMap;

use jsonschema::{PatternCache, PatternOptions, ValidationOptions};
use serde_json::json;

use self::{
    scan::{Scan, UNUSABLE},
    width::Piece,
};

/// A regular expression, in bytes. The validator takes time for the square of it, and far more memory.
const MAX_PATTERN: usize = 4096;
/// A compiled regular expression, or a part of one with look-around, in bytes.
const MAX_COMPILED: usize = 1 << 20;
/// The same for nearly all expressions. Each part remembers as much of the texts it has seen.
const COMPILED: usize = 64 * 1024;
/// A larger one counts as this many.
const LARGE: usize = MAX_COMPILED / COMPILED;
/// So many characters and classes never take more than [`COMPILED`].
const MAX_SMALL: usize = 16;
/// Regular expressions of a schema. Each look-around and back-reference counts as one more. Compiled, they are far
/// larger than their text.
pub(super) const MAX_PATTERNS: usize = 64;
/// How often an expression with look-around or back-references may backtrack in one text. Then the validator says that it
/// does not know.
const MAX_BACKTRACKS: usize = 5_000;
/// How often such an expression may repeat a group by counts, because each backtrack may do so again.
const MAX_COPIES: usize = 256;
/// Characters and classes of such an expression, counted as often as they are repeated by counts: each of its parts may
/// take [`MAX_COMPILED`].
const MAX_WIDTH: usize = 10_000;
/// The validator splits such an expression at its look-aheads and compiles the parts without our limit. At most this many.
const MAX_SPLIT: usize = 1024;

const TOO_MANY: &str = "is not checked: the schema has too many regular expressions (64, each look-around counts, and a \
                        large one as 16)";

/// The regular expressions of one schema.
#[derive(Default)]
pub(super) struct Patterns {
    /// Compiled once for the examination and the validator.
    cache: PatternCache,
    /// The form for the validator, or why there is none.
    known: HashMap<String, Result<Translation, &'static str>>,
    count: usize,
}

/// An expression that the validator takes.
#[derive(Clone)]
pub(super) struct Translation {
    /// Its form for the validator.
    pub(super) pattern: String,
    /// What the author should know about it.
    pub(super) remark: Option<&'static str>,
}

impl Patterns {
    /// The form of an expression that the validator takes. An expression counts once, however often the schema has it.
    ///
    /// # Errors
    /// Why it is not checked.
    pub(super) fn translate(&mut self, pattern: &str) -> Result<Translation, &'static str> {
        if let Some(known) = self.known.get(pattern) {
            return known.clone();
        }
        let found = self.examine(pattern);
        self.known.insert(pattern.to_owned(), found.clone());
        found
    }

    fn examine(&mut self, pattern: &str) -> Result<Translation, &'static str> {
        if pattern.len() > MAX_PATTERN {
            return Err(UNUSABLE);
        }
        let scan = Scan::of(pattern);
        if let Some(fault) = scan.fault {
            return Err(fault);
        }
        let hard = scan.hard();
        let Piece { wide, copies, .. } = scan.whole;
        if hard > 0 && (copies > MAX_COPIES || wide > MAX_WIDTH) {
            return Err(UNUSABLE);
        }
        let translated = match hard {
            0 if !scan.is_rewritten => pattern.to_owned(),
            0 => scan.text,
            // The validator does not know how to read a condition, but stops at a look-around before it.
            _ if scan.has_references => format!("(?=)(?:{})", scan.text),
            _ if wide <= MAX_SPLIT && !scan.has_properties => scan.text,
            // The validator does not split a group.
            _ => format!("(?:{})", scan.text),
        };
        // Those that cannot be compiled take the most time.
        self.add(1 + hard)?;
        if wide > MAX_SMALL && !compiles(&translated, &options(COMPILED)) {
            self.add(LARGE - 1)?;
        }
        if !compiles(&translated, &self.options()) {
            return Err(UNUSABLE);
        }
        Ok(Translation { pattern: translated, remark: scan.remark })
    }

    fn add(&mut self, count: usize) -> Result<(), &'static str> {
        if self.count + count > MAX_PATTERNS {
            return Err(TOO_MANY);
        }
        self.count += count;
        Ok(())
    }

    /// How many regular expressions the schema has, each look-around counted, and a large one as several.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// For a validator with these expressions. It fetches nothing.
    pub(super) fn options(&self) -> ValidationOptions<'static> {
        options(MAX_COMPILED).with_pattern_cache(self.cache.clone())
    }
}

fn options(max_compiled: usize) -> ValidationOptions<'static> {
    let engines = PatternOptions::fancy_regex()
        .backtrack_limit(MAX_BACKTRACKS)
        .size_limit(max_compiled)
        .dfa_size_limit(MAX_COMPILED);
    jsonschema::options().offline().should_validate_formats(false).with_pattern_options(engines)
}

fn compiles(pattern: &str, options: &ValidationOptions<'static>) -> bool {
    options.build(&json!({ "pattern": pattern })).is_ok()
}

/// What matching a text takes.
pub(super) struct Effort {
    /// Whether the engine may backtrack.
    pub(super) backtracks: bool,
    /// How much of the expression may be tried at each place of the text.
    pub(super) width: usize,
}

/// What matching a text with a translated expression takes.
pub(super) fn effort(translated: &str) -> Effort {
    let scan = Scan::of(translated);
    let hard = scan.hard();
    let Piece { narrow, wide, is_anchored, .. } = scan.whole;
    let width = if hard > 0 || is_anchored { narrow } else { wide };
    Effort { backtracks: hard > 0, width: width.saturating_add(hard) }
}

#[cfg(test)]
mod tests;
