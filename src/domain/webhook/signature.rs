//! Signatures of webhook requests: Standard Webhooks, versions `v1` (HMAC-SHA256) and `v1a` (ed25519)
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).
//!
//! Only this module knows the format of a signing secret. Verification is up to the receivers.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;

/// A key that signs requests. It is secret, so it has no `Debug` and cannot be read back.
#[derive(Clone)]
pub struct SigningSecret(Key);

#[derive(Clone)]
enum Key {
    /// Shared with the receiver; 24 to 64 bytes, as the specification requires.
    Shared(Hmac<Sha256>),
    /// Known to the service alone; the receiver has the public key.
    Private(Arc<Ed25519KeyPair>),
}

/// Bytes of an ed25519 seed, which is as long as a public key.
const SEED_LENGTH: usize = 32;

/// The text is not a signing secret. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The prefix is unknown.
    #[error("a signing secret must begin with \"whsec_\" (shared secret) or \"whsk_\" (ed25519 private key)")]
    Prefix,
    /// A public key instead of a private one.
    #[error("\"whpk_\" is a public key for receivers; give the private key, which begins with \"whsk_\"")]
    Public,
    /// The text after the prefix is not base64.
    #[error("the text after \"whsec_\" or \"whsk_\" must be standard base64")]
    Base64,
    /// A shared secret is too short or too long.
    #[error("a \"whsec_\" secret must decode to 24 to 64 bytes")]
    Length,
    /// A private key is neither a seed nor a seed and its public key.
    #[error("a \"whsk_\" key must decode to 32 bytes (seed) or 64 bytes (seed and public key)")]
    KeyLength,
    /// The public key in a private key does not match its seed.
    #[error("the public key in the second half of a \"whsk_\" key does not match the seed in the first half")]
    KeyPair,
}

impl SigningSecret {
    /// Parses `whsec_` or `whsk_` followed by base64, as in the setting `webhook.signing_secrets`.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let decode = |encoded| STANDARD.decode(encoded).map_err(|_| BadSecret::Base64);
        if let Some(encoded) = text.strip_prefix("whsec_") {
            let key = decode(encoded)?;
            if !(24..=64).contains(&key.len()) {
                return Err(BadSecret::Length);
            }
            return Hmac::new_from_slice(&key).map(Key::Shared).map(Self).map_err(|_| BadSecret::Length);
        }
        let Some(encoded) = text.strip_prefix("whsk_") else {
            return Err(if text.starts_with("whpk_") { BadSecret::Public } else { BadSecret::Prefix });
        };
        let key = decode(encoded)?;
        let pair = match key.split_at_checked(SEED_LENGTH) {
            Some((seed, [])) => {
                Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadSecret::KeyLength)?
            }
            Some((seed, public)) if public.len() == SEED_LENGTH => {
                Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| BadSecret::KeyPair)?
            }
            _ => return Err(BadSecret::KeyLength),
        };
        Ok(Self(Key::Private(Arc::new(pair))))
    }

    /// The key with which a receiver verifies `v1a`: `whpk_` followed by base64. `None` for a shared secret.
    #[must_use]
    pub fn public_key(&self) -> Option<String> {
        match &self.0 {
            Key::Shared(_) => None,
            Key::Private(pair) => Some(format!("whpk_{}", STANDARD.encode(pair.public_key()))),
        }
    }

    /// The prefix of its signatures, before the comma.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        match self.0 {
            Key::Shared(_) => "v1",
            Key::Private(_) => "v1a",
        }
    }

    /// The version, a comma, and the base64 of the signature over `{id}.{timestamp}.{body}`.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let signature = match &self.0 {
            Key::Shared(mac) => {
                let mut mac = mac.clone();
                mac.update(head.as_bytes());
                mac.update(body);
                STANDARD.encode(mac.finalize().into_bytes())
            }
            // ed25519 reads the message twice, so it must be in one piece.
            Key::Private(pair) => STANDARD.encode(pair.sign(&[head.as_bytes(), body].concat())),
        };
        format!("{},{signature}", self.version())
    }
}

/// The `webhook-signature` header: one signature per secret, separated by spaces, so that a receiver can verify
/// with any of them. `None` without secrets. `timestamp` is in Unix seconds.
#[must_use]
pub fn header(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests;
