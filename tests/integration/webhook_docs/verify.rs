//! The Rust snippet of `docs/webhooks.md`, which a test compares with this file.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::Webhook;

const TOLERANCE: u64 = 5 * 60; // seconds

/// Whether a request is genuine: `key` is a `whsec_` secret or a `whpk_` public key, `body` the raw bytes.
pub(crate) fn verify(key: &str, headers: &HeaderMap, body: &[u8]) -> bool {
    match key.strip_prefix("whpk_") {
        Some(public_key) => verify_v1a(public_key, headers, body).unwrap_or(false),
        None => Webhook::new(key).is_ok_and(|webhook| webhook.verify(body, headers).is_ok()),
    }
}

fn verify_v1a(public_key: &str, headers: &HeaderMap, body: &[u8]) -> Option<bool> {
    let header = |name| headers.get(name)?.to_str().ok();
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    if now.abs_diff(timestamp.parse().ok()?) > TOLERANCE {
        return Some(false);
    }
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let public_key = UnparsedPublicKey::new(&ED25519, STANDARD.decode(public_key).ok()?);
    let signatures = header("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1a,"));
    let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
    Some(signatures.any(|signature| public_key.verify(&signed, &signature).is_ok()))
}
