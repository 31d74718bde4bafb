//! Caches parsed trigger definitions. A publisher sends the same few definitions with every event, and
//! compiling a JSON Schema takes a hundred times longer than validating with it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::domain::trigger::definition::{BadTrigger, Trigger};

/// A definition that takes a larger part of a generation is not kept.
const MAX_PART: usize = 4;

/// A parsed definition, or why it is invalid.
pub type Parsed = Result<Arc<Trigger>, Arc<BadTrigger>>;

/// Runs what may take seconds so that it holds up nobody else.
pub type Compiler = fn(&dyn Fn() -> Parsed) -> Parsed;

/// Parsed definitions by their exact text, invalid ones included. Entries depend on neither company nor
/// event, so all companies and all consumers share one cache.
///
/// Two generations limit its size: a full generation becomes the former one, and definitions that were not
/// used since then are dropped.
///
/// No `Debug`, because the texts contain secrets (headers of webhooks).
pub struct TriggerCache {
    generations: Mutex<Generations>,
    /// Maximum size of a generation, in bytes.
    max_size: usize,
    compiler: Compiler,
}

#[derive(Default)]
struct Generations {
    current: HashMap<Box<str>, Parsed>,
    former: HashMap<Box<str>, Parsed>,
    /// Of `current`, in bytes.
    size: usize,
}

impl TriggerCache {
    /// Room for `bytes`, as estimated. `compiler` runs what is not in the cache.
    #[must_use]
    pub fn new(bytes: usize, compiler: Compiler) -> Self {
        Self { generations: Mutex::default(), max_size: bytes / 2, compiler }
    }

    /// Parses a definition, or returns the cached result. Second, the memory that it takes if it is not kept.
    pub(super) fn parse(&self, raw: &str) -> (Parsed, usize) {
        if let Some(parsed) = self.generations().get(raw, self.max_size) {
            return (parsed, 0);
        }
        // Others use the cache meanwhile.
        let parsed = (self.compiler)(&|| Trigger::parse(raw).map(Arc::new).map_err(Arc::new));
        let size = size(raw, &parsed);
        if size > self.max_size / MAX_PART {
            return (parsed, size);
        }
        self.generations().insert(raw.into(), parsed.clone(), self.max_size);
        (parsed, 0)
    }

    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for TriggerCache {
    /// A small one that compiles at once.
    fn default() -> Self {
        Self::new(4 << 20, |compile| compile())
    }
}

impl Generations {
    fn get(&mut self, raw: &str, max_size: usize) -> Option<Parsed> {
        if let Some(parsed) = self.current.get(raw) {
            return Some(parsed.clone());
        }
        let (raw, parsed) = self.former.remove_entry(raw)?;
        self.insert(raw, parsed.clone(), max_size);
        Some(parsed)
    }

    fn insert(&mut self, raw: Box<str>, parsed: Parsed, max_size: usize) {
        let size = size(&raw, &parsed);
        if self.size + size > max_size {
            self.former = std::mem::take(&mut self.current);
            self.size = 0;
        }
        // Another consumer may have been faster.
        if self.current.insert(raw, parsed).is_none() {
            self.size += size;
        }
    }
}

fn size(raw: &str, parsed: &Parsed) -> usize {
    size_of::<(Box<str>, Parsed)>() + raw.len() + parsed.as_ref().map_or(0, |trigger| trigger.size())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            LazyLock,
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use super::*;

    const ROOM: usize = 1 << 20;

    fn definition(name: &str) -> String {
        format!(r#"{{"name": "{name}", "action": {{"type": "CRM", "subtype": "UPSERT_CONTACT"}}}}"#)
    }

    fn parse(cache: &TriggerCache, raw: &str) -> Parsed {
        cache.parse(raw).0
    }

    #[test]
    fn the_same_text_is_parsed_once() {
        let cache = TriggerCache::default();
        let first = parse(&cache, &definition("a")).unwrap();
        assert!(Arc::ptr_eq(&first, &parse(&cache, &definition("a")).unwrap()));
        assert!(!Arc::ptr_eq(&first, &parse(&cache, &format!("{} ", definition("a"))).unwrap()));
        let bad = parse(&cache, "{}").unwrap_err();
        assert!(Arc::ptr_eq(&bad, &parse(&cache, "{}").unwrap_err()));
    }

    /// While it compiles "a", the same cache is asked for "b".
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test that waits for itself must still end")]
    fn cache_is_not_locked_while_a_definition_is_compiled() {
        static CACHE: LazyLock<TriggerCache> = LazyLock::new(|| {
            TriggerCache::new(ROOM, |compile| {
                if COMPILED.fetch_add(1, Ordering::Relaxed) == 0 {
                    parse(&CACHE, &definition("b")).unwrap();
                }
                compile()
            })
        });
        static COMPILED: AtomicUsize = AtomicUsize::new(0);
        let (sender, parsed) = mpsc::channel();
        std::thread::spawn(move || sender.send(parse(&CACHE, &definition("a")).is_ok()));
        assert_eq!(parsed.recv_timeout(Duration::from_secs(30)), Ok(true));
        assert_eq!(COMPILED.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn used_definitions_stay_and_the_size_is_limited() {
        let cache = TriggerCache::new(ROOM, |compile| compile());
        let used = parse(&cache, &definition("used")).unwrap();
        for number in 0..3000 {
            parse(&cache, &definition(&number.to_string())).unwrap();
            assert!(Arc::ptr_eq(&used, &parse(&cache, &definition("used")).unwrap()));
            let generations = cache.generations();
            let sum: usize = generations.current.iter().map(|(raw, parsed)| size(raw, parsed)).sum();
            assert!(sum == generations.size && sum <= ROOM / 2);
        }
        let generations = cache.generations();
        assert!(generations.former.len() > 100, "it uses its room");
        assert!(generations.current.len() + generations.former.len() < 3000, "it drops what is not used");
    }

    #[test]
    fn compiled_definitions_count_more_than_their_text() {
        let schema = r#"{"properties": {"a": {"pattern": "^x"}}}"#;
        let raw = definition("a").replacen('{', &format!(r#"{{"parameters": {schema}, "#), 1);
        let cache = TriggerCache::default();
        parse(&cache, &raw).unwrap();
        assert!(cache.generations().size > 40 * raw.len());
    }

    #[test]
    fn large_definitions_are_not_kept_and_their_memory_is_the_callers() {
        let cache = TriggerCache::new(ROOM, |compile| compile());
        let zeros = "0,".repeat(5000);
        let body = format!(
            r#"{{"type": "WEBHOOK", "url": "https://a.example/", "method": "POST", "body": [{zeros}0]}}"#
        );
        let (parsed, size) = cache.parse(&format!(r#"{{"name": "a", "action": {body}}}"#));
        assert!(parsed.is_ok() && size > 500_000, "{size}");
        assert!(cache.generations().current.is_empty());
        let (parsed, size) = cache.parse(&definition("b"));
        assert!(parsed.is_ok() && size == 0);
    }
}
