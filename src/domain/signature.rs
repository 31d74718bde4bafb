//! Signatures of webhook requests: Standard Webhooks, version `v1`
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// A key that signs requests. A secret: no `Debug`, no way to read it back.
///
/// 24 to 64 bytes, as the specification recommends. Only [`SigningSecret::parse`] makes one.
#[derive(Clone)]
pub struct SigningSecret(Hmac<Sha256>);

/// The text is not a signing secret. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// No prefix.
    #[error("a signing secret must begin with \"whsec_\"")]
    Prefix,
    /// Not base64.
    #[error("what follows \"whsec_\" must be standard base64")]
    Base64,
    /// Too short or too long.
    #[error("a signing secret must have 24 to 64 bytes before base64")]
    Length,
}

impl SigningSecret {
    /// Reads `whsec_` and base64, as in the setting `webhook.signing_secrets`.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix("whsec_").ok_or(BadSecret::Prefix)?;
        let key = STANDARD.decode(encoded).map_err(|_| BadSecret::Base64)?;
        if !(24..=64).contains(&key.len()) {
            return Err(BadSecret::Length);
        }
        Hmac::new_from_slice(&key).map(Self).map_err(|_| BadSecret::Length)
    }

    /// `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The `webhook-signature` header: one signature per secret, separated by spaces, so that a receiver
/// that knows any of them accepts. `None` without secrets. `timestamp` is in Unix seconds.
#[must_use]
pub fn header(secrets: &[SigningSecret], id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let signatures: Vec<_> = secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
    (!signatures.is_empty()).then(|| signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_specification_s_example_holds() {
        let secret = SigningSecret::parse(SECRET).unwrap();
        let header = |secrets: &[_]| {
            header(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#)
        };
        assert_eq!(header(std::slice::from_ref(&secret)).unwrap(), SIGNATURE);
        assert_eq!(header(&[secret.clone(), secret]).unwrap(), format!("{SIGNATURE} {SIGNATURE}"));
        assert_eq!(header(&[]), None);
    }

    #[test]
    fn every_part_is_signed() {
        let secrets = [SigningSecret::parse(SECRET).unwrap()];
        let signed = header(&secrets, "a", 1, b"x");
        assert_ne!(signed, header(&secrets, "b", 1, b"x"));
        assert_ne!(signed, header(&secrets, "a", 2, b"x"));
        assert_ne!(signed, header(&secrets, "a", 1, b"y"));
    }

    #[test]
    fn bad_secrets_are_refused() {
        let check = |text: &str, expected| assert_eq!(SigningSecret::parse(text).err(), expected, "{text}");
        check("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Some(BadSecret::Prefix));
        check("whsec_!!", Some(BadSecret::Base64));
        check("whsec_", Some(BadSecret::Length));
        check(&format!("whsec_{}", STANDARD.encode([7; 23])), Some(BadSecret::Length));
        check(&format!("whsec_{}", STANDARD.encode([7; 24])), None);
        check(&format!("whsec_{}", STANDARD.encode([7; 64])), None);
        check(&format!("whsec_{}", STANDARD.encode([7; 65])), Some(BadSecret::Length));
    }
}
