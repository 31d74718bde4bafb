//! The tokens that open the console, and the sessions that they sign.
//!
//! A session is stateless: the name of its token, its expiry, and an HMAC with a key derived from the token. So any
//! process accepts it, and it ends with its token. A token is compared by hash with all tokens each time, so the
//! response time reveals nothing.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::{Duration, OffsetDateTime};

use crate::settings::{HttpToken, MIN_TOKEN, Role};

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::hours(12);

/// Every token, and the link that opens the console once.
pub(super) struct Keyring {
    tokens: Vec<Token>,
    link: Mutex<Option<Link>>,
}

struct Token {
    bearer: Bearer,
    digest: [u8; 32],
    /// Signs sessions. Nobody can compute the token from a session without trying tokens.
    key: Hmac<Sha256>,
}

struct Link {
    digest: [u8; 32],
    bearer: Bearer,
}

/// The holder of a token, and their role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) name: String,
    pub(super) role: Role,
}

/// A session that is valid.
pub(super) struct Session {
    pub(super) bearer: Bearer,
    /// What every form and every change of this session must repeat.
    pub(super) csrf: String,
}

/// A secret that opens the console once, as the holder of the token with this name.
#[derive(Clone, Debug)]
pub struct OneTimeCode {
    /// The secret part of the link.
    pub code: SecretString,
    /// The name of a token.
    pub name: String,
}

impl Keyring {
    pub(super) fn new(tokens: &[HttpToken], link: Option<&OneTimeCode>) -> Self {
        let tokens: Vec<Token> = tokens.iter().filter_map(Token::new).collect();
        let link = link.and_then(|link| {
            let bearer = tokens.iter().find(|token| token.bearer.name == link.name)?.bearer.clone();
            Some(Link { digest: digest(link.code.expose_secret().as_bytes()), bearer })
        });
        Self { tokens, link: Mutex::new(link) }
    }

    /// Whether no token exists, so that nobody has access.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The bearer of this token.
    pub(super) fn bearer(&self, token: &[u8]) -> Option<Bearer> {
        let given = digest(token);
        let mut found = None;
        // Without an early exit: the time must not depend on the place of the token.
        for token in &self.tokens {
            if bool::from(token.digest.ct_eq(&given)) {
                found = Some(&token.bearer);
            }
        }
        found.cloned()
    }

    /// Whether a secret is too long to be guessed, unless it is a word or a name.
    pub(super) fn is_long(secret: &[u8]) -> bool {
        secret.len() >= MIN_TOKEN
    }

    /// The bearer of the link with this code, the first time only.
    pub(super) fn follow_link(&self, code: &str) -> Option<Bearer> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let given = digest(code.as_bytes());
        link.take_if(|link| bool::from(link.digest.ct_eq(&given))).map(|link| link.bearer)
    }

    /// The value of a new session's cookie.
    pub(super) fn begin_session(&self, bearer: &Bearer, now: OffsetDateTime) -> Option<String> {
        let token = self.tokens.iter().find(|token| token.bearer == *bearer)?;
        let claim = format!("{}.{}", bearer.name, (now + SESSION).unix_timestamp());
        let signature = token.sign(b"session", &claim);
        Some(format!("{claim}.{signature}"))
    }

    /// The session with this cookie, unless it has ended or is not ours.
    pub(super) fn session(&self, cookie: &str, now: OffsetDateTime) -> Option<Session> {
        let (claim, signature) = cookie.rsplit_once('.')?;
        let (name, end) = claim.rsplit_once('.')?;
        let token = self
            .tokens
            .iter()
            .find(|token| token.bearer.name == name && token.has_signed(b"session", claim, signature))?;
        let end: i64 = end.parse().ok()?;
        (now.unix_timestamp() < end)
            .then(|| Session { bearer: token.bearer.clone(), csrf: token.sign(b"form", cookie) })
    }
}

impl Token {
    fn new(token: &HttpToken) -> Option<Self> {
        let secret = token.token.expose_secret().as_bytes();
        let bearer = Bearer { name: token.name.clone(), role: token.role };
        // A role that changes ends the sessions that had the other one.
        let mut key = Hmac::<Sha256>::new_from_slice(secret).ok()?;
        key.update(format!("contact-relay console\0{}\0{:?}", token.name, token.role).as_bytes());
        let key = Hmac::new_from_slice(&key.finalize().into_bytes()).ok()?;
        Some(Self { bearer, digest: digest(secret), key })
    }

    fn sign(&self, purpose: &[u8], claim: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.mac(purpose, claim).finalize().into_bytes())
    }

    fn has_signed(&self, purpose: &[u8], claim: &str, signature: &str) -> bool {
        let signature = URL_SAFE_NO_PAD.decode(signature);
        signature.is_ok_and(|signature| self.mac(purpose, claim).verify_slice(&signature).is_ok())
    }

    fn mac(&self, purpose: &[u8], claim: &str) -> Hmac<Sha256> {
        let mut mac = self.key.clone();
        mac.update(purpose);
        mac.update(b"\0");
        mac.update(claim.as_bytes());
        mac
    }
}

/// Whether a text that a caller gave is this secret.
pub(super) fn is_same(given: &str, secret: &str) -> bool {
    given.as_bytes().ct_eq(secret.as_bytes()).into()
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn token(text: &str) -> HttpToken {
        HttpToken::try_from(text.to_owned()).unwrap()
    }

    fn keyring(tokens: &[&str]) -> Keyring {
        Keyring::new(&tokens.iter().map(|text| token(text)).collect::<Vec<_>>(), None)
    }

    fn ada() -> Bearer {
        Bearer { name: "ada.l".to_owned(), role: Role::Editor }
    }

    #[test]
    fn token_names_its_bearer() {
        let keys = keyring(&["ada.l:editor:s3cret", "bob:viewer:0ther"]);
        assert_eq!(keys.bearer(b"s3cret"), Some(ada()));
        for wrong in [&b""[..], b"s3cre", b"s3cret ", b"S3CRET", b"ada.l:editor:s3cret", &vec![b'x'; 1 << 20]]
        {
            assert_eq!(keys.bearer(wrong), None);
        }
        assert!(keyring(&[]).is_empty() && keyring(&[]).bearer(b"").is_none());
    }

    #[test]
    fn session_ends_with_its_time_and_its_token() {
        let keys = keyring(&["ada.l:editor:s3cret", "bob:viewer:0ther"]);
        let cookie = keys.begin_session(&ada(), NOW).unwrap();
        let valid = |keys: &Keyring, cookie: &str, now| keys.session(cookie, now).map(|found| found.bearer);
        assert_eq!(valid(&keys, &cookie, NOW), Some(ada()));
        assert_eq!(valid(&keys, &cookie, NOW + SESSION - Duration::seconds(1)), Some(ada()));
        assert_eq!(valid(&keys, &cookie, NOW + SESSION), None);
        // Other tokens may come and go; this one may not change.
        assert_eq!(valid(&keyring(&["ada.l:editor:s3cret"]), &cookie, NOW), Some(ada()));
        for tokens in [&["ada.l:editor:new"][..], &["ada.l:admin:s3cret"], &["bob:editor:s3cret"], &[]] {
            assert_eq!(valid(&keyring(tokens), &cookie, NOW), None);
        }
    }

    #[test]
    fn tampered_session_is_refused() {
        let keys = keyring(&["ada.l:editor:s3cret", "bob:viewer:0ther"]);
        let cookie = keys.begin_session(&ada(), NOW).unwrap();
        assert!(keys.session(&cookie, NOW).is_some());
        for index in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[index] = if bytes[index] == b'1' { b'2' } else { b'1' };
            let tampered = String::from_utf8(bytes).unwrap();
            // The last character of base64 has bits that mean nothing, but they are checked as well.
            assert!(keys.session(&tampered, NOW).is_none(), "{tampered}");
        }
        for other in ["", ".", "..", "ada.l", &cookie[1..], &format!("{cookie}a"), &format!("a.{cookie}")] {
            assert!(keys.session(other, NOW).is_none(), "{other}");
        }
    }

    #[test]
    fn form_token_belongs_to_one_session() {
        let keys = keyring(&["ada.l:editor:s3cret"]);
        let csrf = |now| {
            let cookie = keys.begin_session(&ada(), now).unwrap();
            (keys.session(&cookie, now).unwrap().csrf, cookie)
        };
        let ((one, cookie), (other, _)) = (csrf(NOW), csrf(NOW + Duration::SECOND));
        assert!(one != other && !cookie.contains(&one));
        assert!(is_same(&one, &one) && !is_same(&one, &other) && !is_same("", &one));
    }

    #[test]
    fn link_works_once() {
        let link = OneTimeCode { code: "c0de".to_owned().into(), name: "ada.l".to_owned() };
        let keys = Keyring::new(&[token("ada.l:editor:s3cret")], Some(&link));
        assert_eq!(keys.follow_link("other"), None);
        assert_eq!(keys.follow_link("c0de"), Some(ada()));
        assert_eq!(keys.follow_link("c0de"), None);
        assert_eq!(keyring(&["ada.l:editor:s3cret"]).follow_link(""), None);
    }
}
