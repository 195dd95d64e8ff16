//! A certificate authority for one run of the sandbox, and the server certificate it signs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_tls::server::{ServerConfig, server_config};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::server::SandboxError;

/// Writes `ca.pem` into the folder and makes the configuration that serves what it signed. The private keys never
/// leave memory.
pub(crate) fn issue(folder: &Path) -> Result<(Arc<ServerConfig>, PathBuf), SandboxError> {
    let (chain, key, authority) = make().map_err(SandboxError::Certificate)?;
    let path = folder.join("ca.pem");
    let write = fs::create_dir_all(folder).and_then(|()| fs::write(&path, authority));
    write.map_err(|source| SandboxError::CaFile { path: path.clone(), source })?;
    let config = server_config(chain.as_bytes(), key.as_bytes()).map_err(SandboxError::Tls)?;
    Ok((config, path))
}

fn make() -> Result<(String, String, String), rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Muster sandbox CA");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &issuer)?;
    let chain = format!("{}{}", certificate.pem(), authority_certificate.pem());
    Ok((chain, server_key.serialize_pem(), authority_certificate.pem()))
}
