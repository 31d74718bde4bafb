//! TLS setups for `https`: trusted CA certificates and the client certificate, read from files once, at start.

use std::{
    fmt, fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
};

use crate::domain::event::without_mark;

/// Trusted CA certificates and an optional client certificate. Equal only to its own clones.
#[derive(Clone)]
pub struct TlsSetup(Arc<ClientConfig>);

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration contains a private key.
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

/// Why the certificates or keys of a TLS setup cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// Neither the system nor a CA file provides a certificate to trust.
    #[error("the system has no CA certificates; install them or set a CA file")]
    NoCaCertificates,
    /// The file cannot be opened or is not valid PEM.
    #[error("could not read {}", .0.display())]
    Unreadable(PathBuf, #[source] pem::Error),
    /// The file is valid PEM without the expected item.
    #[error("{} contains no {item}", file.display())]
    Missing {
        /// The file that was read.
        file: PathBuf,
        /// The PEM item that it lacks.
        item: &'static str,
    },
    /// The TLS library rejects a CA certificate.
    #[error("a CA certificate in {} is not usable", .0.display())]
    UnusableCa(PathBuf, #[source] rustls::Error),
    /// The TLS library rejects the client certificate, the key, or the pair.
    #[error("the certificate in {} and the key in {} do not work together", certificate.display(), key.display())]
    UnusablePair {
        /// The client certificate file.
        certificate: PathBuf,
        /// The private key file.
        key: PathBuf,
        /// The reason from the TLS library.
        #[source]
        source: rustls::Error,
    },
    /// A client certificate without its key, or a key without its certificate.
    #[error("{} is set without {counterpart}; set both or neither", file.display())]
    Incomplete {
        /// The file that is set.
        file: PathBuf,
        /// The kind of file that is not.
        counterpart: &'static str,
    },
    /// The TLS library supports no protocol version.
    #[error("could not initialize TLS")]
    Unavailable(#[source] rustls::Error),
}

impl TlsSetup {
    pub(super) fn read(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Result<Self, SetUpError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(SetUpError::Unavailable)?
            .with_root_certificates(roots(ca_file)?);
        let mut config = match (certificate_file, key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), None) => return incomplete(certificate, "a key file"),
            (None, Some(key)) => return incomplete(key, "a certificate file"),
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let private_key = private_key(key)?;
                let (certificate, key) = (certificate.to_owned(), key.to_owned());
                let identity = builder.with_client_auth_cert(chain, private_key);
                identity.map_err(|source| SetUpError::UnusablePair { certificate, key, source })?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A ticket is chosen by the receiver, and the next connection to its name may go to another port or address,
        // where the ticket could be a command to a service that does not use TLS.
        config.resumption = Resumption::disabled();
        Ok(Self(Arc::new(config)))
    }

    /// All faults of these files, where [`Self::read`] stops at the first one. Whether a client certificate has its key is
    /// left out: no file needs to be read for that.
    pub(super) fn faults(
        ca_file: Option<&Path>,
        certificate_file: Option<&Path>,
        key_file: Option<&Path>,
    ) -> Vec<SetUpError> {
        let ca = ca_file.map(|file| trust(&mut RootCertStore::empty(), file));
        let chain = certificate_file.map(|file| certificates(file).map(drop));
        let key = key_file.map(|file| private_key(file).map(drop));
        let faults: Vec<_> = [ca, chain, key].into_iter().flatten().filter_map(Result::err).collect();
        if !faults.is_empty() || certificate_file.is_some() != key_file.is_some() {
            return faults;
        }
        // Each is fine by itself.
        Self::read(ca_file, certificate_file, key_file).err().into_iter().collect()
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn incomplete(file: &Path, counterpart: &'static str) -> Result<TlsSetup, SetUpError> {
    Err(SetUpError::Incomplete { file: file.to_owned(), counterpart })
}

fn missing(file: &Path, item: &'static str) -> SetUpError {
    SetUpError::Missing { file: file.to_owned(), item }
}

/// CA certificates of the system and of the file. At least one.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, SetUpError> {
    let mut roots = RootCertStore::empty();
    // Systems carry old certificates that rustls cannot parse. They are skipped.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        trust(&mut roots, file)?;
    }
    if roots.is_empty() { Err(SetUpError::NoCaCertificates) } else { Ok(roots) }
}

/// Adds the CA certificates of the file.
fn trust(roots: &mut RootCertStore, file: &Path) -> Result<(), SetUpError> {
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| SetUpError::UnusableCa(file.to_owned(), error))?;
    }
    Ok(())
}

/// The private key of the file.
fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, SetUpError> {
    PrivateKeyDer::from_pem_slice(without_mark(&read(file)?)).map_err(|error| match error {
        pem::Error::NoItemsFound => missing(file, "private key"),
        error => SetUpError::Unreadable(file.to_owned(), error),
    })
}

/// All certificates of the file. At least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, SetUpError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(without_mark(&read(file)?)).collect();
    let found = found.map_err(|error| SetUpError::Unreadable(file.to_owned(), error))?;
    if found.is_empty() { Err(missing(file, "certificate")) } else { Ok(found) }
}

/// The bytes of a PEM file. A byte order mark, which the parser does not know, would hide its first item.
fn read(file: &Path) -> Result<Vec<u8>, SetUpError> {
    fs::read(file).map_err(|error| SetUpError::Unreadable(file.to_owned(), pem::Error::Io(error)))
}
