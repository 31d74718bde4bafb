//! What `https` is spoken with: whom to trust, and who to be. Read from files once, at start.

use std::{
    fmt,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

/// A way to speak TLS. Equal only to its own clones.
#[derive(Clone)]
pub struct TlsSetup(Arc<ClientConfig>);

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It holds a private key.
        f.debug_tuple("TlsSetup").finish_non_exhaustive()
    }
}

impl PartialEq for TlsSetup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsSetup {}

impl Hash for TlsSetup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// Why there is no TLS setup.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// Nobody to trust.
    #[error("the system has no CA certificates; install them or name a file of them")]
    NoRoots,
    /// A file cannot be opened, or its text is no PEM.
    #[error("cannot read {}", .0.display())]
    File(PathBuf, #[source] pem::Error),
    /// A file does not hold what it should.
    #[error("{} holds no {what}", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate of a CA that TLS cannot use.
    #[error("a CA certificate in {} is not usable", .0.display())]
    Authority(PathBuf, #[source] rustls::Error),
    /// The key is of no known kind, or of another certificate.
    #[error("the certificate in {} and the key in {} do not work together", certificate.display(), key.display())]
    Identity {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What TLS says of them.
        #[source]
        source: rustls::Error,
    },
    /// One without the other.
    #[error("{} needs {other} beside it", file.display())]
    Half {
        /// The file that was named.
        file: PathBuf,
        /// What was not.
        other: &'static str,
    },
    /// The TLS library does not work as built.
    #[error("TLS is not available")]
    Library(#[source] rustls::Error),
}

impl TlsSetup {
    pub(super) fn read(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<Self, SetUpError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SetUpError::Library)?
            .with_root_certificates(roots(ca_file)?);
        let mut config = match (certificate_file, key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), None) => return half(certificate, "a key file"),
            (None, Some(key)) => return half(key, "a certificate file"),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
                    pem::Error::NoItemsFound => missing(key, "private key"),
                    error => SetUpError::File(key.to_owned(), error),
                })?;
                let (certificate, key) = (certificate.to_owned(), key.to_owned());
                let identity = builder.with_client_auth_cert(chain, private_key);
                identity.map_err(|source| SetUpError::Identity { certificate, key, source })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn half(file: &Path, other: &'static str) -> Result<TlsSetup, SetUpError> {
    Err(SetUpError::Half { file: file.to_owned(), other })
}

fn missing(file: &Path, what: &'static str) -> SetUpError {
    SetUpError::Missing { file: file.to_owned(), what }
}

/// The system's CA certificates and those of the file.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SetUpError> {
    let mut roots = RootCertStore::empty();
    // Systems carry old certificates that TLS no longer reads; the others are as good without them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| SetUpError::Authority(file.to_owned(), error))?;
        }
    }
    if roots.is_empty() { Err(SetUpError::NoRoots) } else { Ok(roots) }
}

/// All certificates of a file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    let wrong = |error| SetUpError::File(file.to_owned(), error);
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).map_err(wrong)?.collect();
    let found = found.map_err(wrong)?;
    if found.is_empty() { Err(missing(file, "certificate")) } else { Ok(found) }
}
