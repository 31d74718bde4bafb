//! Caches parsed trigger definitions. A publisher sends the same few definitions with every event, and compiling a
//! JSON Schema takes a hundred times longer than validating with it.

use std::{collections::HashMap, sync::Arc};

use crate::domain::trigger::definition::{BadTrigger, Trigger};

/// In bytes; a larger definition is not cached.
const MAX_DEFINITION: usize = 64 * 1024;
/// Definitions per generation.
const MAX_COUNT: usize = 512;
/// Weight of a generation. A compiled definition takes several times the bytes of its text.
const MAX_WEIGHT: usize = 8 * 1024 * 1024;
/// Weight of a regular expression in addition to its text. Most are small; a large one takes 1 MiB.
const PATTERN_WEIGHT: usize = 16 * 1024;

type Parsed = Result<Arc<Trigger>, Arc<BadTrigger>>;

/// Parsed definitions by their exact text, invalid ones included. Entries depend on neither company nor event, so
/// all companies share one cache.
///
/// Two generations limit its size: a full generation becomes the former one, and definitions that were not used
/// since then are dropped.
///
/// No `Debug`, because the texts contain secrets (headers of webhooks).
#[derive(Default)]
pub struct TriggerCache {
    current: HashMap<Box<str>, Parsed>,
    former: HashMap<Box<str>, Parsed>,
    /// Weight of `current`.
    weight: usize,
}

impl TriggerCache {
    /// Parses a definition, or returns the cached result.
    pub(super) fn parse(&mut self, raw: &str) -> Parsed {
        if let Some(parsed) = self.current.get(raw) {
            return parsed.clone();
        }
        if raw.len() > MAX_DEFINITION {
            return parse(raw);
        }
        let parsed = self.former.remove(raw).unwrap_or_else(|| parse(raw));
        let weight = weight(raw, &parsed);
        if self.current.len() >= MAX_COUNT || self.weight + weight > MAX_WEIGHT {
            self.former = std::mem::take(&mut self.current);
            self.weight = 0;
        }
        self.weight += weight;
        self.current.insert(raw.into(), parsed.clone());
        parsed
    }
}

fn parse(raw: &str) -> Parsed {
    Trigger::parse(raw).map(Arc::new).map_err(Arc::new)
}

fn weight(raw: &str, parsed: &Parsed) -> usize {
    let patterns = parsed.as_ref().map_or(0, |trigger| trigger.patterns());
    raw.len() + patterns * PATTERN_WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(name: &str) -> String {
        format!(r#"{{"name": "{name}", "action": {{"type": "CRM", "subtype": "UPSERT_CONTACT"}}}}"#)
    }

    #[test]
    fn the_same_text_is_parsed_once() {
        let mut cache = TriggerCache::default();
        let first = cache.parse(&definition("a")).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.parse(&definition("a")).unwrap()));
        assert!(!Arc::ptr_eq(&first, &cache.parse(&format!("{} ", definition("a"))).unwrap()));
        let bad = cache.parse("{}").unwrap_err();
        assert!(Arc::ptr_eq(&bad, &cache.parse("{}").unwrap_err()));
    }

    #[test]
    fn regular_expressions_count_more_than_their_text() {
        let schema = r#"{"properties": {"a": {"pattern": "^x"}}}"#;
        let raw = definition("a").replacen('{', &format!(r#"{{"parameters": {schema}, "#), 1);
        let mut cache = TriggerCache::default();
        cache.parse(&raw).unwrap();
        assert_eq!(cache.weight, raw.len() + PATTERN_WEIGHT);
    }

    #[test]
    fn used_definitions_stay_and_the_size_is_limited() {
        let mut cache = TriggerCache::default();
        let used = cache.parse(&definition("used")).unwrap();
        for number in 0..5 * MAX_COUNT {
            cache.parse(&definition(&number.to_string())).unwrap();
            assert!(Arc::ptr_eq(&used, &cache.parse(&definition("used")).unwrap()));
            assert!(cache.current.len() <= MAX_COUNT && cache.former.len() <= MAX_COUNT);
        }
        for number in 0..300 {
            cache.parse(&definition(&"x".repeat(MAX_DEFINITION - 200 - number))).unwrap_err();
            let weight: usize = cache.current.iter().map(|(raw, parsed)| weight(raw, parsed)).sum();
            assert!(weight <= MAX_WEIGHT);
            assert_eq!(weight, cache.weight);
        }
        let count = cache.current.len();
        cache.parse(&definition(&"x".repeat(MAX_DEFINITION))).unwrap_err();
        assert_eq!(cache.current.len(), count);
    }
}
