//! Why an attempt has no response: its class and a message for operators. Messages of libraries are never passed on,
//! because they may contain the address.

use std::{error::Error, io};

use super::stream::ReadLimitExceeded;
use crate::domain::webhook::{attempt::Class, egress::Blocked};

/// How an attempt failed before its response was complete.
pub(super) enum Failure {
    /// The request cannot be built, with the reason.
    Invalid(&'static str),
    /// The egress policy forbids the URL or an address.
    Blocked(Blocked),
    /// The host name has no address.
    Dns,
    /// The deadline passed before the host name was resolved.
    SlowDns,
    /// No address accepted a TCP connection. Holds the last error.
    Connect(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// The connection broke, or the response was malformed or too large.
    Exchange(hyper::Error),
    /// The deadline passed.
    Timeout,
    /// The request was no longer wanted once the connection was open.
    Withdrawn,
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
            Self::Dns | Self::SlowDns => Class::Dns,
            Self::Connect(_) | Self::Withdrawn => Class::Connect,
            Self::Tls(_) => Class::Tls,
            // In TLS 1.3 a rejected client certificate shows only after the handshake.
            Self::Exchange(error) if find_cause::<rustls::Error>(error).is_some() => Class::Tls,
            Self::Exchange(_) => Class::Protocol,
            Self::Timeout => Class::Timeout,
        }
    }

    /// Recorded with the attempt. Contains no address, no secret, and nothing that the receiver sent.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Invalid(reason) => (*reason).to_owned(),
            Self::Blocked(blocked) => blocked.to_string(),
            Self::Dns => "the receiver's host name does not resolve".to_owned(),
            Self::SlowDns => "the receiver's host name did not resolve in time".to_owned(),
            Self::Connect(error) => format!("could not connect to the receiver: {}", error.kind()),
            Self::Tls(error) => match find_cause::<rustls::Error>(error) {
                Some(error) => tls_message(error),
                None => format!("the connection broke during the TLS handshake: {}", error.kind()),
            },
            Self::Exchange(error) => match find_cause::<rustls::Error>(error) {
                Some(error) => tls_message(error),
                None => exchange_message(error),
            },
            Self::Timeout => "the request timed out before the receiver answered".to_owned(),
            Self::Withdrawn => "the request was withdrawn before it was sent".to_owned(),
        }
    }
}

fn exchange_message(error: &hyper::Error) -> String {
    if error.is_parse_too_large() || find_cause::<ReadLimitExceeded>(error).is_some() {
        return "the head of the receiver's response is too large".to_owned();
    }
    if error.is_parse() {
        return "the receiver's response is not valid HTTP/1.1".to_owned();
    }
    let kind = find_cause::<io::Error>(error).map(io::Error::kind);
    let detail = kind.map(|kind| format!(": {kind}")).unwrap_or_default();
    format!("the connection closed before the receiver answered{detail}")
}

/// Searches the error and its sources for the first one of this type.
fn find_cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    std::iter::successors(Some(error), |error| cause(*error)).find_map(|error| error.downcast_ref())
}

/// `io::Error::source` skips the error that it wraps, so that one is read with `get_ref`.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// Names only the kind of error: the texts of `rustls` contain host names and dates of certificates.
fn tls_message(error: &rustls::Error) -> String {
    let reason = match error {
        rustls::Error::InvalidCertificate(error) => certificate_reason(error),
        rustls::Error::AlertReceived(_) => "the receiver rejected it",
        rustls::Error::InvalidMessage(_) => "the receiver sent something that is not TLS",
        rustls::Error::PeerIncompatible(_) => "no protocol version or cipher suite in common",
        _ => "the handshake failed",
    };
    format!("could not establish a TLS session: {reason}")
}

fn certificate_reason(error: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Bad;
    match error {
        Bad::Expired | Bad::ExpiredContext { .. } => "the certificate has expired",
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => "the certificate is not valid yet",
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
            "the certificate is for another host name"
        }
        Bad::UnknownIssuer => "the certificate's issuer is not trusted",
        Bad::Revoked => "the certificate has been revoked",
        _ => "the certificate is not valid",
    }
}
