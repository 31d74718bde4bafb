//! The regular expressions of a schema: ECMA-262, as the validator's engines take them, with bounded memory and time.
//!
//! The validator translates expressions for its linear engine itself. One with look-around or back-references goes to
//! an engine that backtracks, untranslated, so it is translated here.

use std::collections::HashMap;

use jsonschema::{PatternCache, PatternOptions, ValidationOptions};
use serde_json::json;

/// A compiled regular expression, or a part of one with look-around, in bytes.
const MAX_COMPILED: usize = 1 << 20;
/// Regular expressions of a schema. Each look-around and back-reference counts as one more. Compiled, they are far
/// larger than their text.
pub(super) const MAX_PATTERNS: usize = 64;
/// A regular expression with look-around or back-references, in bytes.
const MAX_BACKTRACKING: usize = 4096;
/// How often such an expression may backtrack in one text. Then the validator says that it does not know.
const MAX_BACKTRACKS: usize = 5_000;
/// How often such an expression may repeat a group by counts, because each backtrack may repeat it anew. The validator also
/// splits an expression at its look-aheads and compiles the parts without our limit; not beyond so many repetitions.
const MAX_REPEATS: usize = 256;

const TOO_MANY: &str =
    "is not checked: the schema has too many regular expressions (64, each look-around counts)";
const UNUSABLE: &str = "is not checked: it is not a regular expression of ECMA-262, or is too large";

/// ECMA-262's classes without the brackets around them.
const CLASSES: [(char, &str); 6] = [
    ('d', "0-9"),
    ('D', "\\x00-/:-\u{10ffff}"),
    ('w', "A-Za-z0-9_"),
    ('W', "\\x00-/:-@\\[-\\^`\\{-\u{10ffff}"),
    ('s', "\t-\r \u{a0}\u{1680}\u{2000}-\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}"),
    (
        'S',
        "\\x00-\\x08\\x0e-\\x1f!-\u{9f}\u{a1}-\u{167f}\u{1681}-\u{1fff}\u{200b}-\u{2027}\u{202a}-\u{202e}\
         \u{2030}-\u{205e}\u{2060}-\u{2fff}\u{3001}-\u{fefe}\u{ff00}-\u{10ffff}",
    ),
];
/// ECMA-262's `.`, without its line terminators.
const DOT: &str = "[^\n\r\u{2028}\u{2029}]";
/// ECMA-262's `\b` and `\B`, which know the letters of ASCII only.
const BOUNDARY: &str = "(?:(?<=[A-Za-z0-9_])(?![A-Za-z0-9_])|(?<![A-Za-z0-9_])(?=[A-Za-z0-9_]))";
const NO_BOUNDARY: &str = "(?:(?<=[A-Za-z0-9_])(?=[A-Za-z0-9_])|(?<![A-Za-z0-9_])(?![A-Za-z0-9_]))";
const LOOK_AROUNDS: [&str; 4] = ["?=", "?!", "?<=", "?<!"];

/// The regular expressions of one schema.
#[derive(Default)]
pub(super) struct Patterns {
    /// Compiled once for the examination and the validator.
    cache: PatternCache,
    /// The form for the validator, or why there is none.
    known: HashMap<String, Result<String, &'static str>>,
    count: usize,
}

impl Patterns {
    /// The form of an expression that the validator takes. An expression counts once, however often the schema has it.
    ///
    /// # Errors
    /// Why it is not checked.
    pub(super) fn translate(&mut self, pattern: &str) -> Result<String, &'static str> {
        if let Some(known) = self.known.get(pattern) {
            return known.clone();
        }
        let found = self.examine(pattern);
        self.known.insert(pattern.to_owned(), found.clone());
        found
    }

    fn examine(&mut self, pattern: &str) -> Result<String, &'static str> {
        let scan = Scan::of(pattern);
        let count = self.count + 1 + scan.look_arounds;
        if count > MAX_PATTERNS {
            return Err(TOO_MANY);
        }
        let translated = match scan.look_arounds {
            0 => pattern.to_owned(),
            _ if pattern.len() > MAX_BACKTRACKING => return Err(UNUSABLE),
            _ if scan.repeats.most.groups > MAX_REPEATS => return Err(UNUSABLE),
            // The validator only takes names behind something else that the linear engine does not know.
            _ if scan.has_names => format!("(?=)(?:{})", scan.text),
            _ if scan.repeats.most.all <= MAX_REPEATS && !scan.has_properties => scan.text,
            // The validator does not split a group.
            _ => format!("(?:{})", scan.text),
        };
        // Those that cannot be compiled take the most time.
        self.count = count;
        match self.options().build(&json!({ "pattern": translated })) {
            Ok(_) => Ok(translated),
            Err(_) => Err(UNUSABLE),
        }
    }

    /// How many regular expressions the schema has, each look-around counted.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// For a validator with these expressions. It fetches nothing.
    pub(super) fn options(&self) -> ValidationOptions<'static> {
        let engines = PatternOptions::fancy_regex()
            .backtrack_limit(MAX_BACKTRACKS)
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED);
        jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(engines)
            .with_pattern_cache(self.cache.clone())
    }
}

/// Whether matching may backtrack.
pub(super) fn backtracks(pattern: &str) -> bool {
    Scan::of(pattern).look_arounds > 0
}

/// What one pass over an expression finds.
#[derive(Default)]
struct Scan {
    /// For the engine that backtracks.
    text: String,
    /// With back-references.
    look_arounds: usize,
    repeats: Repeats,
    /// Whether it refers to a group by name.
    has_names: bool,
    /// Whether it has Unicode properties, which are large when compiled.
    has_properties: bool,
    /// Whether the last character of the text ends an inserted class.
    after_class: bool,
}

impl Scan {
    fn of(pattern: &str) -> Self {
        let mut scan = Self::default();
        let mut in_class = false;
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            let after_class = std::mem::take(&mut scan.after_class);
            if !in_class {
                scan.repeats.read(c, rest.as_str());
            }
            match c {
                '\\' => scan.escape(rest.next(), in_class),
                '[' if in_class => scan.text.push_str("\\["),
                // It would be a range from the inserted class on.
                '-' if in_class && after_class => scan.text.push_str("\\-"),
                '[' | ']' => {
                    in_class = c == '[';
                    scan.text.push(c);
                }
                _ if in_class => scan.text.push(c),
                '.' => scan.text.push_str(DOT),
                '(' => {
                    let looks = LOOK_AROUNDS.iter().any(|start| rest.as_str().starts_with(start));
                    scan.look_arounds += usize::from(looks);
                    scan.text.push(c);
                }
                _ => scan.text.push(c),
            }
        }
        scan
    }

    fn escape(&mut self, escaped: Option<char>, in_class: bool) {
        let class = CLASSES.iter().find(|(letter, _)| Some(*letter) == escaped);
        match (escaped, class) {
            (_, Some((_, class))) if in_class => {
                // It would be a range up to the inserted class.
                if self.text.ends_with('-') && !self.text.ends_with("\\-") {
                    self.text.pop();
                    self.text.push_str("\\-");
                }
                self.text.push_str(class);
                self.after_class = true;
            }
            (_, Some((_, class))) => self.text.extend(["[", class, "]"]),
            (Some('b'), _) if in_class => self.text.push_str("\\x08"),
            (Some('b'), _) => self.text.push_str(BOUNDARY),
            (Some('B'), _) if !in_class => self.text.push_str(NO_BOUNDARY),
            (Some('0'), _) => self.text.push_str("\\x00"),
            (Some(c @ ('1'..='9' | 'k')), _) if !in_class => {
                self.look_arounds += 1;
                self.has_names |= c == 'k';
                self.text.extend(['\\', c]);
            }
            (Some(c @ ('p' | 'P')), _) => {
                self.has_properties = true;
                self.text.extend(['\\', c]);
            }
            // The engine knows more escapes than ECMA-262, where these are the characters themselves.
            (Some(c), _) if matches!(c, '/' | '<' | '>') || is_needless(c) => self.text.push(c),
            (Some(c), _) => self.text.extend(['\\', c]),
            (None, _) => self.text.push('\\'),
        }
    }
}

/// How often something is repeated by counts within counts: 6 times for `(a{2}){1,3}`.
#[derive(Clone, Copy)]
struct Count {
    all: usize,
    /// Without what single characters are repeated.
    groups: usize,
}

/// Finds the greatest counts in an expression.
struct Repeats {
    /// Within the current group, and in the groups around it.
    most: Count,
    outer: Vec<Count>,
    /// Of what was read last, if it was a group or has a count already.
    group: Option<Count>,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { most: Count::ONCE, outer: Vec::new(), group: None }
    }
}

impl Repeats {
    /// Reads a character outside of classes. `rest` is the text after it.
    fn read(&mut self, c: char, rest: &str) {
        // The rest of a count, or a digit, which changes little.
        if matches!(c, '0'..='9' | ',' | '}') {
            return;
        }
        let group = self.group.take();
        match c {
            '(' => self.outer.push(std::mem::replace(&mut self.most, Count::ONCE)),
            ')' => {
                let inner = self.most;
                self.most = self.outer.pop().unwrap_or(Count::ONCE).max(inner);
                self.group = Some(inner);
            }
            '{' => {
                let count = greatest_count(rest);
                let inner = group.unwrap_or(Count::ONCE);
                let groups = inner.groups.saturating_mul(if group.is_some() { count } else { 1 });
                let repeated = Count { all: inner.all.saturating_mul(count), groups };
                self.most = self.most.max(repeated);
                self.group = Some(repeated);
            }
            _ => {}
        }
    }
}

impl Count {
    const ONCE: Self = Self { all: 1, groups: 1 };

    fn max(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), groups: self.groups.max(other.groups) }
    }
}

/// Whether ECMA-262 gives the escaped letter no meaning of its own (Annex B, `IdentityEscape`).
fn is_needless(c: char) -> bool {
    c.is_ascii_alphabetic() && !"cfnrtuvx".contains(c)
}

/// The greater count of `{2,3}`, of which the text has all but the first brace; else 1.
fn greatest_count(text: &str) -> usize {
    let counts = text.split_once('}').map_or("", |(counts, _)| counts);
    counts.split(',').filter_map(|count| count.parse().ok()).max().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_backtrack_are_translated_as_ecma_262_reads_them() {
        for (pattern, expected) in [
            (r"(?=x)\d[\d]", "(?=x)[0-9][0-9]"),
            (r"(?=x)[\w-]", r"(?=x)[A-Za-z0-9_\-]"),
            (r"(?=x)[.-\w]", r"(?=x)[.\-A-Za-z0-9_]"),
            (r"(?=x)[\-\w]", r"(?=x)[\-A-Za-z0-9_]"),
            (r"(?=x)[^[.]\/\<", r"(?=x)[^\[.]/<"),
            (r"(?=x)\h[\b]\0", r"(?=x)h[\x08]\x00"),
            (r"(?=x)\.\x20\cA", r"(?=x)\.\x20\cA"),
        ] {
            assert_eq!(Scan::of(pattern).text, expected, "{pattern}");
        }
    }

    #[test]
    fn what_backtracks_is_counted() {
        for (pattern, expected) in [
            ("^a+$", 0),
            (r"[(?=]\(?=", 0),
            ("^(?!a)(?=b)(?<=c)(?<!d)(?<name>e)", 4),
            (r"(a)\1\k<name>[\1]", 2),
        ] {
            assert_eq!(Scan::of(pattern).look_arounds, expected, "{pattern}");
        }
    }

    #[test]
    fn counts_within_counts_are_multiplied() {
        for (pattern, all, groups) in [
            ("ab", 1, 1),
            ("a{3}b{7}c{2,5}", 7, 1),
            ("((a{2}){1,3}){,4}b{5,}x{y}", 24, 12),
            (r"(a{3})(b{4}){2}\({99}", 99, 2),
            ("[({9}]{2}", 2, 1),
            ("(?:(?=a)){100}", 100, 100),
            (")a){2}{3}", 6, 6),
        ] {
            let most = Scan::of(pattern).repeats.most;
            assert_eq!((most.all, most.groups), (all, groups), "{pattern}");
        }
    }

    #[test]
    fn repeated_expressions_count_once() {
        let mut patterns = Patterns::default();
        for pattern in ["^a", "^a", "^(?=a)b", "^(?=a)b", "("] {
            let _ = patterns.translate(pattern);
        }
        assert_eq!(patterns.count(), 4);
    }
}
