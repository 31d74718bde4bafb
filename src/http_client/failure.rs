//! Why an attempt got no answer, and what it says about the receiver. The texts of libraries are not
//! passed on: they may hold the address.

use std::{error::Error, io};

use super::stream::TooMuch;
use crate::domain::webhook::{attempt::Class, egress::Blocked};

/// Why there is no answer.
pub(super) enum Failure {
    /// The request cannot be made, and what of it.
    Invalid(&'static str),
    /// The address is not one to call.
    Blocked(Blocked),
    /// The system found no address.
    Dns,
    /// No address took the connection.
    Connect(io::Error),
    /// No TLS session.
    Tls(io::Error),
    /// The connection broke, or what came was not HTTP.
    Exchange(hyper::Error),
    /// The deadline passed.
    Timeout,
}

impl From<Blocked> for Failure {
    fn from(blocked: Blocked) -> Self {
        Self::Blocked(blocked)
    }
}

impl Failure {
    pub(super) fn class(&self) -> Class {
        match self {
            Self::Invalid(_) => Class::Invalid,
            Self::Blocked(_) => Class::Blocked,
            Self::Dns => Class::Dns,
            Self::Connect(_) => Class::Connect,
            Self::Tls(_) => Class::Tls,
            // With TLS 1.3 a refusal comes after the handshake.
            Self::Exchange(error) if find::<rustls::Error>(error).is_some() => Class::Tls,
            Self::Exchange(_) => Class::Protocol,
            Self::Timeout => Class::Timeout,
        }
    }

    /// For a person, without address, secret, or anything that the receiver sent.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Invalid(what) => (*what).to_owned(),
            Self::Blocked(blocked) => blocked.to_string(),
            Self::Dns => "the name of the receiver does not resolve".to_owned(),
            Self::Connect(error) => format!("no connection to the receiver ({})", error.kind()),
            Self::Tls(error) => match find::<rustls::Error>(error) {
                Some(error) => format!("no TLS session: {}", tls(error)),
                None => format!("no TLS session: the connection broke ({})", error.kind()),
            },
            Self::Exchange(error) => match find::<rustls::Error>(error) {
                Some(error) => format!("no TLS session: {}", tls(error)),
                None => exchange(error),
            },
            Self::Timeout => "the receiver did not answer in time".to_owned(),
        }
    }
}

fn exchange(error: &hyper::Error) -> String {
    if error.is_parse_too_large() || find::<TooMuch>(error).is_some() {
        return "the head of the receiver's answer is too large".to_owned();
    }
    if error.is_parse() {
        return "the receiver did not answer in HTTP/1.1".to_owned();
    }
    let kind = find::<io::Error>(error).map(io::Error::kind);
    let detail = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    format!("the receiver closed the connection before it answered{detail}")
}

/// The first of this type among the error and everything behind it.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| behind(*error)).find_map(|error| error.downcast_ref())
}

/// An `io::Error` hides what it wraps from `source`.
fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// rustls' own texts name hosts and dates of certificates; this names the kind.
fn tls(error: &rustls::Error) -> &'static str {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate(error),
        rustls::Error::AlertReceived(_) => "the receiver refused it",
        rustls::Error::InvalidMessage(_) => "what came is not TLS",
        rustls::Error::PeerIncompatible(_) => "no common version or cipher",
        _ => "the handshake failed",
    }
}

fn certificate(error: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        Bad::Expired | Bad::ExpiredContext { .. } => "the certificate has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the certificate is not valid yet",
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "the certificate is for another name",
        Bad::UnknownIssuer => "the certificate's issuer is not trusted",
        Bad::Revoked => "the certificate is revoked",
        _ => "the certificate is not valid",
    }
}
