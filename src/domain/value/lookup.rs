//! Sets and maps of known words. Every value is looked up in several of them.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// A map by words.
pub(in crate::domain) type WordMap<K, V> = HashMap<K, V, BuildHasherDefault<WordHasher>>;
/// A set of words.
pub(in crate::domain) type WordSet<K> = HashSet<K, BuildHasherDefault<WordHasher>>;

/// Hashes a word in a few instructions, by a product for each eight bytes. The words in a map are ours or an operator's,
/// and values are only looked up, so nobody can choose words that collide.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::domain) struct WordHasher(u64);

/// 2⁶⁴ divided by the golden ratio: its products differ in their upper bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl WordHasher {
    const fn add(&mut self, word: u64) {
        let product = (self.0 ^ word).wrapping_mul(FACTOR);
        // The lower bits choose the place in a map.
        self.0 = product ^ (product >> 32);
    }
}

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((word, after)) = rest.split_first_chunk::<8>() {
            self.add(u64::from_le_bytes(*word));
            rest = after;
        }
        self.add(rest.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)));
    }

    /// The end of a text.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, BuildHasherDefault};

    use super::*;

    #[test]
    fn similar_words_have_different_hashes() {
        let hash = |word: &str| BuildHasherDefault::<WordHasher>::default().hash_one(word);
        let words: Vec<String> = (0..20_000_u32).map(|number| format!("word {number}")).collect();
        let hashes: HashSet<u64> = words.iter().map(|word| hash(word)).collect();
        assert_eq!(hashes.len(), words.len());
        // Both ends of the hash are used.
        let places: HashSet<u64> = hashes.iter().map(|hash| hash % 32_768).collect();
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
        assert!(places.len() > 12_000 && tags.len() == 128, "{} {}", places.len(), tags.len());
        assert!(hash("a") != hash("") && hash("ab") != hash("ba") && hash("12345678") != hash("1234567"));
    }
}
