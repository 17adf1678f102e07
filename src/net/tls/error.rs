//! What is wrong with the files of a listener's TLS, and what would be right.

use std::io;
use std::path::PathBuf;

use rustls_pki_types::pem;
use tokio_rustls::rustls;

/// Why a listener's TLS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{path} is broken PEM: {error}")]
    Pem { path: PathBuf, error: pem::Error },
    #[error(
        "{0} holds no certificate: \"-----BEGIN CERTIFICATE-----\" was expected, the server's own certificate first"
    )]
    NoCertificate(PathBuf),
    #[error("{path}: certificate {number} cannot be read: {error}")]
    Certificate { path: PathBuf, number: usize, error: String },
    #[error("{0} holds no private key: \"-----BEGIN PRIVATE KEY-----\" was expected")]
    NoKey(PathBuf),
    #[error(
        "{0} is encrypted, and nobody is there to type its passphrase: write it in the clear, with `openssl pkey -in OLD \
         -out NEW`, for the broker's user alone"
    )]
    EncryptedKey(PathBuf),
    #[error("{path} cannot be used: {error}; RSA (2048 bits and more), ECDSA (P-256, P-384) and Ed25519 keys can")]
    Key { path: PathBuf, error: rustls::Error },
    #[error(
        "{key} is not the key of the first certificate in {chain}: name the key it was made with, and put the server's \
         own certificate before those that signed it"
    )]
    KeyMismatch { chain: PathBuf, key: PathBuf },
    #[error("{path}: an authority cannot be used: {error}")]
    Authority { path: PathBuf, error: rustls::Error },
    #[error("{0} holds no revocation list: \"-----BEGIN X509 CRL-----\" was expected")]
    NoRevocationList(PathBuf),
    #[error("{path}: client certificates cannot be checked: {error}")]
    ClientTrust { path: PathBuf, error: String },
    #[error("TLS cannot be set up: {0}")]
    Cryptography(rustls::Error),
}
