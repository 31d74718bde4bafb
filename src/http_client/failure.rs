//! What an error of the HTTP library says about the receiver. The library's own texts are not passed
//! on: they may hold the URL.

use std::{error::Error, io};

use super::resolver::ResolveError;
use crate::domain::attempt::Class;

/// The class of a request that got no answer, and a sentence without address or secret.
pub(super) fn classify(error: &reqwest::Error) -> (Class, String) {
    for cause in causes(error) {
        if let Some(error) = cause.downcast_ref::<ResolveError>() {
            let class = match error {
                ResolveError::NotFound(_) => Class::Dns,
                ResolveError::Blocked(_) => Class::Blocked,
            };
            return (class, error.to_string());
        }
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return (Class::Tls, format!("no TLS session: {}", tls(error)));
        }
    }
    if error.is_builder() {
        return (Class::Invalid, "the request cannot be made".to_owned());
    }
    let kind = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let detail = kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
    if error.is_connect() {
        (Class::Connect, format!("no connection to the receiver{detail}"))
    } else {
        (Class::Protocol, format!("the receiver closed the connection or did not answer in HTTP{detail}"))
    }
}

/// The error and everything behind it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error))
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
