//! Tests against independent verifiers: the specification's own crate for `v1`; for `v1a` ring's
//! verification, which shares no code with its signing, and signatures of another library.

use axum::http::HeaderMap;
use proptest::prelude::*;
use ring::signature::{ED25519, UnparsedPublicKey};
use standardwebhooks::{Webhook, WebhookError};
use time::OffsetDateTime;

use super::*;
use crate::domain::samples::matching;

/// The example of the specification's reference libraries.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

/// Seeds and public keys of RFC 8032, 7.1, tests 1 to 3, and the signatures of the example by the Python
/// package `cryptography`. The RFC's own messages lack id, timestamp and dots.
const PAIRS: [[&str; 3]; 3] = [
    [
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "v1a,fldxM4gAKugP6nnt1hdz3sgGfZ6d99nzrMFnZOELIxbzEHoVmAb2ADpkJK7zgPePmPsle0zV9jSeGlHFG2NVAw==",
    ],
    [
        "TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs=",
        "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=",
        "v1a,7anDmyOh9LNskt5GJUTacHmbvyUkT0/S1jnxFAp+h2hcVXnQLWhtWA2+wP6vO0AUwEYP23IIZVuneGRhNj7hDQ==",
    ],
    [
        "xaqN9D+fg3vtt0QvMdy3sWbThTUHbwlLhc46LgtEWPc=",
        "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=",
        "v1a,CbWWbcW7B69jFUBICrevjm7uB16AqaX4X9zprrpWvW4012zWjiDpguw4L1VnBIktLL4pyfhNhZgLFTYi5s10AA==",
    ],
];

fn secret(text: &str) -> SigningSecret {
    SigningSecret::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

fn shared(key: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(key))
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Verifies a signature header with the specification's crate.
fn theirs(text: &str, id: &str, timestamp: i64, body: &[u8], header: &str) -> Result<(), WebhookError> {
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("webhook-id", id), ("webhook-timestamp", &timestamp.to_string()), ("webhook-signature", header)]
    {
        headers.insert(name, value.parse().unwrap());
    }
    Webhook::new(text).unwrap().verify(body, &headers)
}

/// Verifies the first `v1a` signature of a header, as a receiver does.
fn verifies_v1a(public: &str, id: &str, timestamp: i64, body: &[u8], header: &str) -> bool {
    let public = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
    let signature = header.split(' ').find_map(|one| one.strip_prefix("v1a,")).unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let message = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    UnparsedPublicKey::new(&ED25519, public).verify(&message, &signature).is_ok()
}

#[test]
fn the_specifications_example_is_signed_alike() {
    let secret = secret(SECRET);
    let header = |secrets: &[_]| header(secrets, ID, TIMESTAMP, BODY);
    assert_eq!(header(std::slice::from_ref(&secret)).unwrap(), SIGNATURE);
    assert_eq!(header(&[secret.clone(), secret.clone()]).unwrap(), format!("{SIGNATURE} {SIGNATURE}"));
    assert_eq!(header(&[]), None);
    assert_eq!(secret.public_key(), None);
}

#[test]
fn ed25519_signatures_equal_those_of_another_library() {
    for [seed, public, expected] in PAIRS {
        let both = [STANDARD.decode(seed).unwrap(), STANDARD.decode(public).unwrap()].concat();
        for text in [format!("whsk_{seed}"), format!("whsk_{}", STANDARD.encode(both))] {
            let secret = secret(&text);
            assert_eq!(secret.public_key().unwrap(), format!("whpk_{public}"));
            assert_eq!(header(&[secret], ID, TIMESTAMP, BODY).unwrap(), expected);
        }
    }
}

#[test]
fn a_header_can_have_both_kinds_of_signature() {
    let [seed, _, asymmetric] = PAIRS[0];
    let secrets = [secret(SECRET), secret(&format!("whsk_{seed}"))];
    assert_eq!(header(&secrets, ID, TIMESTAMP, BODY).unwrap(), format!("{SIGNATURE} {asymmetric}"));
}

#[test]
fn invalid_secrets_are_rejected() {
    let check = |text: &str, expected| assert_eq!(SigningSecret::parse(text).err(), expected, "{text}");
    let encoded = |prefix: &str, bytes: &[u8]| format!("{prefix}{}", STANDARD.encode(bytes));
    check("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Some(BadSecret::Prefix));
    check("", Some(BadSecret::Prefix));
    check("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Some(BadSecret::Prefix));
    check("whsec_!!", Some(BadSecret::Base64));
    check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ", Some(BadSecret::Base64));
    check("whsec_", Some(BadSecret::Length));
    check(&encoded("whsec_", &[7; 23]), Some(BadSecret::Length));
    check(&encoded("whsec_", &[7; 24]), None);
    check(&encoded("whsec_", &[7; 64]), None);
    check(&encoded("whsec_", &[7; 65]), Some(BadSecret::Length));
    check("whsk_!!", Some(BadSecret::Base64));
    for length in [0, 24, 31, 33, 63, 65, 96] {
        check(&encoded("whsk_", &vec![7; length]), Some(BadSecret::KeyLength));
    }
    check(&encoded("whsk_", &[7; 32]), None);
    check(&encoded("whsk_", &[7; 64]), Some(BadSecret::KeyPair));
    check(&encoded("whpk_", &[7; 32]), Some(BadSecret::Public));
}

#[test]
fn receivers_with_the_old_or_the_new_secret_verify_during_rotation() {
    let (old, new, strange) = (shared(&[1; 24]), shared(&[2; 32]), shared(&[3; 64]));
    let [seed, public, _] = PAIRS[0];
    let secrets = [&old, &format!("whsk_{seed}"), &new].map(|text| secret(text));
    let at = now();
    let header = header(&secrets, ID, at, BODY).unwrap();
    assert!(theirs(&old, ID, at, BODY, &header).is_ok());
    assert!(theirs(&new, ID, at, BODY, &header).is_ok());
    assert!(matches!(theirs(&strange, ID, at, BODY, &header), Err(WebhookError::InvalidSignature)));
    assert!(verifies_v1a(&format!("whpk_{public}"), ID, at, BODY, &header));
    let [_, other, _] = PAIRS[1];
    assert!(!verifies_v1a(&format!("whpk_{other}"), ID, at, BODY, &header));
}

#[test]
fn bodies_of_every_size_verify() {
    let [seed, public, _] = PAIRS[2];
    let (text, public) = (shared(&[9; 33]), format!("whpk_{public}"));
    let secrets = [secret(&text), secret(&format!("whsk_{seed}"))];
    let at = now();
    for length in [0, 1, 63, 64, 65, 1024 * 1024] {
        let body = vec![b'x'; length];
        let header = header(&secrets, ID, at, &body).unwrap();
        assert!(theirs(&text, ID, at, &body, &header).is_ok(), "{length}");
        assert!(verifies_v1a(&public, ID, at, &body, &header), "{length}");
    }
}

/// Every bit of id, timestamp, body and signature counts.
#[test]
fn every_bit_is_signed() {
    let [seed, public, _] = PAIRS[0];
    let (id, body, public) = ("msg_a", b"{\"a\":1}", format!("whpk_{public}"));
    let secrets = [secret(SECRET), secret(&format!("whsk_{seed}"))];
    let at = now();
    let sign = |id: &str, at: i64, body: &[u8]| header(&secrets, id, at, body).unwrap();
    let signed = sign(id, at, body);
    let accepted = |id: &str, at: i64, body: &[u8], signed: &str| {
        let theirs = theirs(SECRET, id, at, body, signed).is_ok();
        [theirs, verifies_v1a(&public, id, at, body, signed)]
    };
    assert_eq!(accepted(id, at, body, &signed), [true, true]);
    for bit in 0..body.len() * 8 {
        let mut other = *body;
        other[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(accepted(id, at, &other, &signed), [false, false], "bit {bit} of the body");
        assert_ne!(sign(id, at, &other), signed);
    }
    for bit in 0..3 {
        // Higher bits move the time by more than the tolerated five minutes, which is a separate error.
        assert_eq!(accepted(id, at ^ (1 << bit), body, &signed), [false, false], "bit {bit} of the time");
    }
    for other in ["msg_b", "msg_", "msg_aa", "Msg_a", ""] {
        assert_eq!(accepted(other, at, body, &signed), [false, false], "{other}");
    }
    // A dot in an id could shift text between id and time without changing the signed bytes: UUIDs have none.
    let (v1, v1a) = signed.split_once(' ').unwrap();
    let bits = |signature: &str| STANDARD.decode(signature.split_once(',').unwrap().1).unwrap();
    for bit in 0..32 * 8 {
        let mut other = bits(v1);
        other[bit / 8] ^= 1 << (bit % 8);
        let header = format!("v1,{} {v1a}", STANDARD.encode(other));
        assert_eq!(accepted(id, at, body, &header), [false, true], "bit {bit} of v1");
    }
    for bit in 0..64 * 8 {
        let mut other = bits(v1a);
        other[bit / 8] ^= 1 << (bit % 8);
        let header = format!("{v1} v1a,{}", STANDARD.encode(other));
        assert_eq!(accepted(id, at, body, &header), [true, false], "bit {bit} of v1a");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn independent_verifiers_accept_signatures(
        id in matching("[0-9a-f-]{1,36}"),
        text in matching("\\PC{0,200}"),
        binary in proptest::collection::vec(any::<u8>(), 0..200),
        keys in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 24..=64), 1..4),
        seed in any::<[u8; 32]>(),
    ) {
        let at = now();
        let texts: Vec<String> = keys.iter().map(|key| shared(key)).collect();
        let mut secrets: Vec<_> = texts.iter().map(|text| secret(text)).collect();
        let asymmetric = secret(&format!("whsk_{}", STANDARD.encode(seed)));
        let public = asymmetric.public_key().unwrap();
        secrets.push(asymmetric);

        let signed = header(&secrets, &id, at, text.as_bytes()).unwrap();
        for text_of_secret in &texts {
            prop_assert!(theirs(text_of_secret, &id, at, text.as_bytes(), &signed).is_ok());
        }
        prop_assert!(verifies_v1a(&public, &id, at, text.as_bytes(), &signed));

        // The crate verifies only text, so ring's HMAC verifies binary bodies.
        let signed = header(&secrets, &id, at, &binary).unwrap();
        prop_assert!(verifies_v1a(&public, &id, at, &binary, &signed));
        let message = [format!("{id}.{at}.").as_bytes(), &binary].concat();
        for (key, one) in keys.iter().zip(signed.split(' ')) {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
            let tag = STANDARD.decode(one.strip_prefix("v1,").unwrap()).unwrap();
            prop_assert!(ring::hmac::verify(&key, &message, &tag).is_ok());
        }
    }
}
