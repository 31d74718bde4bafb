//! The signature of a failure: what dead letters with the same cause have in common.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Stage;

/// Characters of a message that count.
const MAX_MESSAGE: usize = 400;

/// A number after this word is an HTTP status, which distinguishes failures.
const ANSWERED: &str = "answered";

/// Words of at least this many hexadecimal digits and hyphens are ids.
const MIN_ID: usize = 8;

/// Identifies a group of dead letters, by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature([u8; 16]);

/// The text is not a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signature has 32 hexadecimal digits; `dead-letter groups` shows it")]
pub struct BadSignature;

impl Signature {
    /// The signature of a dead letter with this reason and these words for a person. Numbers and ids in the words do not
    /// count. `endpoint` is the endpoint of the delivery, if there is one.
    #[must_use]
    pub fn of(
        stage: Stage,
        reason: &str,
        trigger: Option<&str>,
        endpoint: Option<Uuid>,
        message: &str,
    ) -> Self {
        let endpoint = endpoint.map(|id| id.to_string());
        let mut hash = Sha256::new();
        for part in
            [Some(stage.name()), Some(reason), trigger, endpoint.as_deref(), Some(&normalized(message))]
        {
            // The length prefix keeps two lists of parts from hashing the same bytes.
            hash.update(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.unwrap_or_default().as_bytes());
        }
        let hash: [u8; 32] = hash.finalize().into();
        Self(hash.first_chunk().copied().unwrap_or_default())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Signature {
    type Error = BadSignature;

    fn try_from(bytes: &[u8]) -> Result<Self, BadSignature> {
        bytes.try_into().map(Self).map_err(|_| BadSignature)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Signature {
    type Err = BadSignature;

    fn from_str(text: &str) -> Result<Self, BadSignature> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadSignature);
        }
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| BadSignature)
    }
}

impl serde::Serialize for Signature {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The message with `#` for each number and id.
fn normalized(message: &str) -> String {
    let (mut text, mut before) = (String::new(), "");
    for word in message.split_whitespace().take(MAX_MESSAGE) {
        if !text.is_empty() {
            text.push(' ');
        }
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let digits = bare.bytes().filter(u8::is_ascii_digit).count();
        if digits == 0 || before == ANSWERED && bare.len() == 3 {
            text.push_str(word);
        } else if bare.len() >= MIN_ID && bare.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
            text.push_str(&word.replace(bare, "#"));
        } else {
            push_without_numbers(&mut text, word);
        }
        before = word;
    }
    text.chars().take(MAX_MESSAGE).collect()
}

fn push_without_numbers(text: &mut String, word: &str) {
    let mut in_number = false;
    for c in word.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !in_number {
            text.push('#');
        }
        in_number = c.is_ascii_digit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(message: &str) -> Signature {
        Signature::of(Stage::Webhook, "webhook_exhausted", Some("t"), Some(Uuid::nil()), message)
    }

    #[test]
    fn numbers_and_ids_do_not_count() {
        for (one, other) in [
            ("expected a value at line 1 column 17", "expected a value at  line 20 column 3"),
            ("`data.next[3].action` is required", "`data.next[10].action` is required"),
            ("gave up after 3 attempts; x", "gave up after 12 attempts; x"),
            (
                "contact 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11, gone",
                "contact 4e4f86f0-3309-8c1e-9a55-3f6f1f0c2b12, gone",
            ),
        ] {
            assert_eq!(of(one), of(other), "{one}");
        }
    }

    #[test]
    fn words_and_statuses_count() {
        for (one, other) in [
            ("the receiver answered 503", "the receiver answered 404"),
            ("the receiver answered 503; more", "the receiver answered 500; more"),
            ("`email` is required", "`phone` is required"),
            ("a b", "ab"),
        ] {
            assert_ne!(of(one), of(other), "{one}");
        }
        let upsert = |trigger| Signature::of(Stage::Upsert, "event_invalid", trigger, None, "m");
        assert_ne!(upsert(None), upsert(Some("")));
        assert_ne!(upsert(Some("a")), upsert(Some("b")));
        assert_eq!(upsert(Some("a")), upsert(Some("a")));
    }

    #[test]
    fn signature_survives_its_text() {
        let signature = of("m");
        assert_eq!(signature.to_string().parse(), Ok(signature));
        assert_eq!(signature.to_string().to_uppercase().parse(), Ok(signature));
        let short = signature.to_string();
        for text in
            ["", "%", &short[1..], &format!("{short}0"), &format!("+{}", &short[1..]), &"é".repeat(16)]
        {
            assert_eq!(text.parse::<Signature>(), Err(BadSignature), "{text}");
        }
    }
}
