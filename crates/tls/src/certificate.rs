//! Client certificates that sign assertions: reading them, and proving that certificate and key belong together.

use std::io;

use rustls::AlertDescription;
use rustls::CipherSuite;
use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Why a certificate cannot be used with its private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// There is no certificate.
    #[error("there is no PEM certificate in it (expected a BEGIN CERTIFICATE block)")]
    NoCertificate,
    /// There is no private key that can be used.
    #[error("there is no usable PEM private key in it (expected BEGIN PRIVATE KEY or BEGIN RSA PRIVATE KEY)")]
    NoKey,
    /// The private key is encrypted with a passphrase.
    #[error("the private key is encrypted with a passphrase")]
    EncryptedKey,
    /// The private key is of another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
}

/// Why a server refuses the certificate of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It has expired.
    Expired,
    /// It comes from an authority that the server does not know.
    UnknownAuthority,
    /// Its authority has revoked it.
    Revoked,
    /// The client has shown none.
    Missing,
    /// It is not fit in another way.
    Other,
}

/// What an error on an encrypted connection says of the certificate that this side has shown (RFC 8446, section 6.2).
#[must_use]
pub fn refusal(error: &io::Error) -> Option<Refusal> {
    let Some(rustls::Error::AlertReceived(alert)) = error.get_ref()?.downcast_ref() else { return None };
    match alert {
        AlertDescription::CertificateExpired => Some(Refusal::Expired),
        AlertDescription::UnknownCA => Some(Refusal::UnknownAuthority),
        AlertDescription::CertificateRevoked => Some(Refusal::Revoked),
        AlertDescription::CertificateRequired => Some(Refusal::Missing),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => Some(Refusal::Other),
        _ => None,
    }
}

/// The SHA-256 thumbprint of the first certificate in `certificate_pem`, once it is certain that the private
/// key in `key_pem` (PKCS#8, PKCS#1 or SEC 1) belongs to it.
///
/// # Errors
/// Either is missing or unusable, or they do not belong together.
pub fn thumbprint_of_pair(certificate_pem: &[u8], key_pem: &[u8]) -> Result<[u8; 32], CertificateError> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem).map_err(|_| CertificateError::NoCertificate)?;
    let encrypted = [b"ENCRYPTED PRIVATE KEY".as_slice(), b"Proc-Type: 4,ENCRYPTED"];
    if encrypted.iter().any(|mark| key_pem.windows(mark.len()).any(|window| window == *mark)) {
        return Err(CertificateError::EncryptedKey);
    }
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| CertificateError::NoKey)?;
    let thumbprint = sha256(&certificate).ok_or(CertificateError::NoCertificate)?;
    match CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider()) {
        Ok(_) => Ok(thumbprint),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch),
        Err(rustls::Error::InvalidCertificate(_)) => Err(CertificateError::NoCertificate),
        Err(_) => Err(CertificateError::NoKey),
    }
}

/// The SHA-256 thumbprint of the first certificate in `certificate_pem`.
///
/// # Errors
/// There is no certificate in it.
pub fn thumbprint(certificate_pem: &[u8]) -> Result<[u8; 32], CertificateError> {
    let certificate = CertificateDer::from_pem_slice(certificate_pem).map_err(|_| CertificateError::NoCertificate)?;
    sha256(&certificate).ok_or(CertificateError::NoCertificate)
}

/// SHA-256 by way of the TLS provider, so that no second implementation of it is linked.
fn sha256(bytes: &[u8]) -> Option<[u8; 32]> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().find_map(|suite| match suite {
        SupportedCipherSuite::Tls13(tls13) if tls13.common.suite == CipherSuite::TLS13_AES_128_GCM_SHA256 => {
            <[u8; 32]>::try_from(tls13.common.hash_provider.hash(bytes).as_ref()).ok()
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_the_one_of_the_standard() {
        let digest = sha256(b"abc").unwrap();
        assert_eq!(digest[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn a_refused_certificate_is_told_from_other_failures() {
        let alert = |alert| io::Error::new(io::ErrorKind::InvalidData, rustls::Error::AlertReceived(alert));
        assert_eq!(refusal(&alert(AlertDescription::CertificateExpired)), Some(Refusal::Expired));
        assert_eq!(refusal(&alert(AlertDescription::UnknownCA)), Some(Refusal::UnknownAuthority));
        assert_eq!(refusal(&alert(AlertDescription::CertificateRequired)), Some(Refusal::Missing));
        assert_eq!(refusal(&alert(AlertDescription::ProtocolVersion)), None);
        assert_eq!(refusal(&io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError)), None);
        assert_eq!(refusal(&io::ErrorKind::ConnectionReset.into()), None);
    }

    #[test]
    fn says_which_part_is_missing() {
        assert_eq!(thumbprint_of_pair(b"", b""), Err(CertificateError::NoCertificate));
    }
}
