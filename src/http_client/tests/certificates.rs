//! Certificates for receivers on 127.0.0.1, issued during each test run.

use std::{
    io::Write as _,
    sync::{Arc, OnceLock},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tempfile::NamedTempFile;

/// The CA of this test run. Clients trust it through its file.
pub(super) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// How a receiver's certificate is valid or invalid.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Good,
    Expired,
    NotYetValid,
    OtherName,
    SelfSigned,
}

/// Created once per test run.
pub(super) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    })
}

impl Authority {
    /// The CA certificate as a PEM file.
    pub(super) fn file(&self) -> NamedTempFile {
        file(&self.certificate.pem())
    }

    /// Issues a certificate. Returns it as PEM, with its key.
    pub(super) fn issue(&self, kind: Kind) -> (String, KeyPair) {
        let name = if matches!(kind, Kind::OtherName) { "other.example" } else { "127.0.0.1" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        match kind {
            Kind::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Kind::NotYetValid => params.not_before = date_time_ymd(2999, 1, 1),
            Kind::Good | Kind::OtherName | Kind::SelfSigned => {}
        }
        let key = KeyPair::generate().unwrap();
        let certificate = match kind {
            Kind::SelfSigned => params.self_signed(&key),
            _ => params.signed_by(&key, &self.issuer),
        };
        (certificate.unwrap().pem(), key)
    }

    /// The TLS configuration of a receiver with such a certificate.
    pub(super) fn server_config(&self, kind: Kind, asks_for_certificate: bool) -> ServerConfig {
        use rustls::pki_types::pem::PemObject as _;
        let (certificate, key) = self.issue(kind);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if asks_for_certificate {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier as Arc<dyn ClientCertVerifier>)
        } else {
            builder.with_no_client_auth()
        };
        builder.with_single_cert(chain, key).unwrap()
    }
}

pub(super) fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}
