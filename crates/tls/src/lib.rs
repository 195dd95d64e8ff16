//! The one place that knows the TLS stack: crypto provider, trusted roots, client configurations.
//!
//! Every other crate receives a finished [`rustls::ClientConfig`] or PEM bytes and never names
//! `rustls` itself, so that the whole program has one provider (aws-lc-rs) and one idea of whom to trust.

pub mod certificate;
pub mod server;
pub mod stream;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificate::CertificateError;

/// Why no trustworthy TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A configured file of certificate authorities cannot be read.
    #[error("cannot read the CA file {}", path.display())]
    Read {
        /// The configured file.
        path: PathBuf,
        /// Why the system refused it.
        #[source]
        source: std::io::Error,
    },
    /// A configured file holds no usable certificate.
    #[error("{} holds no PEM certificate (expected one or more BEGIN CERTIFICATE blocks)", path.display())]
    NoCertificate {
        /// The configured file.
        path: PathBuf,
    },
    /// Neither the system nor the configuration names anybody to trust.
    #[error("this machine has no trusted root certificates (install the package ca-certificates, or set ca_file)")]
    NoRoots,
    /// A client certificate cannot be used with its key.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Makes aws-lc-rs the process-wide provider. Call first thing in `main`; later calls change nothing.
pub fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // A second thread may have been faster; either way the provider is the same one.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    }
}

/// A client configuration that trusts the system's roots and, when given, the certificates of one PEM file.
///
/// # Errors
/// The file is unreadable or holds no certificate, or there is nobody to trust at all.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = trusted(ca_file)?;
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}

/// The same for a client that proves who it is: a chain of certificates and the private key of the first of them, as
/// PEM.
///
/// # Errors
/// As [`client_config`], and [`TlsError::Certificate`] where the certificate cannot be used with the key.
pub fn client_config_with_certificate(
    ca_file: Option<&Path>,
    chain_pem: &[u8],
    key_pem: &[u8],
) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = trusted(ca_file)?;
    certificate::thumbprint_of_pair(chain_pem, key_pem)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain_pem).filter_map(Result::ok).collect();
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| CertificateError::NoKey)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key);
    Ok(Arc::new(config.map_err(|_| CertificateError::NoKey)?))
}

fn trusted(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    install_provider();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let (added, _) = roots.add_parsable_certificates(read_ca_file(path)?);
        if added == 0 {
            return Err(TlsError::NoCertificate { path: path.to_owned() });
        }
    }
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(roots)
}

/// The same for an HTTP client: it also offers HTTP/2 and HTTP/1.1 (RFC 7301), which a client that is handed a
/// finished configuration does not add by itself.
///
/// # Errors
/// As [`client_config`].
pub fn http_client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::clone(&*client_config(ca_file)?);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client configuration that trusts nobody, for clients that speak to this machine without TLS and must not
/// fail where no roots are installed.
#[must_use]
pub fn trusting_nobody() -> ClientConfig {
    install_provider();
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_clients_offer_http2_first() {
        match http_client_config(None) {
            Ok(config) => assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]),
            Err(error) => assert!(matches!(error, TlsError::NoRoots)),
        }
    }
}
