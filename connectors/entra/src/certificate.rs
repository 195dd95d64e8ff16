//! The assertion that a certificate signs instead of a secret.
//!
//! Source: <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use muster_connector::settings::ExposeSecret as _;
use muster_connector::{ConnectorSettings, Error, SecretString};
use muster_tls::certificate::{CertificateError, thumbprint_of_pair};
use serde::Serialize;

use crate::config::CertificateSettings;
use crate::environment::Environment;
use crate::error::setting;

/// How long an assertion is valid.
const LIFETIME: Duration = Duration::from_secs(600);

/// A private key and the thumbprint of its certificate.
pub(crate) struct Certificate {
    key: EncodingKey,
    thumbprint: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("thumbprint", &self.thumbprint).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl Certificate {
    /// Reads and proves the pair that the settings name.
    pub(crate) fn load(settings: &ConnectorSettings, certificate: &CertificateSettings) -> Result<Self, Error> {
        let certificate_pem = read(settings, "certificate.certificate_file", &certificate.certificate_file)?;
        let (key_setting, key_pem) = match (&certificate.private_key, &certificate.private_key_file) {
            (Some(_), None) => {
                let name = "certificate.private_key";
                let secret = settings.secret(name).ok_or_else(|| {
                    setting(name, "the private key was not resolved", "check the variable or file that it names")
                })?;
                (name, secret.clone())
            }
            (None, Some(path)) => {
                let name = "certificate.private_key_file";
                let pem = String::from_utf8(read(settings, name, path)?).map_err(|_| {
                    setting(
                        name,
                        "the file is not PEM text",
                        "convert it: openssl pkey -inform DER -in KEY -out key.pem",
                    )
                })?;
                (name, SecretString::from(pem))
            }
            (None, None) => {
                return Err(setting(
                    "certificate.private_key_file",
                    "the certificate has no private key",
                    "set certificate.private_key_file, or certificate.private_key as a secret",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(setting(
                    "certificate.private_key_file",
                    "the private key is given twice",
                    "keep one of certificate.private_key and certificate.private_key_file",
                ));
            }
        };
        Self::new(&certificate_pem, key_pem.expose_secret().as_bytes(), key_setting)
    }

    fn new(certificate_pem: &[u8], key_pem: &[u8], key_setting: &str) -> Result<Self, Error> {
        let thumbprint = thumbprint_of_pair(certificate_pem, key_pem).map_err(|error| {
            let (name, fix) = match error {
                CertificateError::NoCertificate => (
                    "certificate.certificate_file",
                    "name a PEM file; convert others: openssl x509 -inform DER -in FILE -out cert.pem",
                ),
                CertificateError::NoKey => {
                    (key_setting, "name a PEM key; take one out of a PFX file: openssl pkcs12 -in FILE -nodes -nocerts")
                }
                CertificateError::EncryptedKey => (
                    key_setting,
                    "store it without passphrase (openssl pkey -in KEY -out key.pem), readable by Muster only",
                ),
                CertificateError::Mismatch => (key_setting, "name the key that the certificate was made from"),
            };
            setting(name, error.to_string(), fix)
        })?;
        let key = EncodingKey::from_rsa_pem(&only_key(key_pem)).map_err(|_| {
            setting(key_setting, "the private key is not an RSA key", "make an RSA key of 2048 bits or more")
        })?;
        Ok(Self { key, thumbprint: URL_SAFE_NO_PAD.encode(thumbprint) })
    }

    /// A fresh assertion for the token endpoint `audience`.
    pub(crate) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        environment: &dyn Environment,
    ) -> Result<SecretString, Error> {
        let now = environment.now().timestamp();
        let claims = Claims {
            aud: audience,
            iss: client_id,
            sub: client_id,
            jti: environment.id().to_string(),
            nbf: now,
            iat: now,
            exp: now + LIFETIME.as_secs().cast_signed(),
        };
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map(SecretString::from)
            .map_err(|error| Error::Bug(format!("the sign-in assertion cannot be signed: {error}")))
    }
}

/// The key's own block of a file that may hold the certificate as well.
fn only_key(pem: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(pem);
    let mut inside = false;
    let mut block = String::new();
    for line in text.lines() {
        inside |= line.starts_with("-----BEGIN ") && line.contains("PRIVATE KEY-----");
        if inside {
            block.push_str(line);
            block.push('\n');
        }
        if line.starts_with("-----END ") && inside {
            break;
        }
    }
    block.into_bytes()
}

fn read(settings: &ConnectorSettings, name: &str, configured: &str) -> Result<Vec<u8>, Error> {
    let path = settings.path(configured);
    std::fs::read(&path).map_err(|error| {
        setting(
            name,
            format!("cannot read {}: {error}", path.display()),
            "check the path (relative ones start at the configuration file) and that Muster may read the file",
        )
    })
}
