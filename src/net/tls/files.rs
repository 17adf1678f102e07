//! The PEM files of a listener's TLS: reading them, and seeing that they have changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::{ClientAuth, TlsError, TlsSettings};

/// What files look like from outside: other stamps are other files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamps {
    /// Follows symbolic links: Kubernetes renews certificates by turning one.
    pub(super) fn of(settings: &TlsSettings) -> Stamps {
        Stamps(paths(settings).map(|path| stamp(path)).collect())
    }
}

fn paths(settings: &TlsSettings) -> impl Iterator<Item = &PathBuf> {
    let trust = match &settings.client_auth {
        ClientAuth::None => None,
        ClientAuth::Optional(trust) | ClientAuth::Required(trust) => Some(trust),
    };
    let server = settings.certificates.iter().flat_map(|files| [&files.chain, &files.key]);
    server.chain(trust.into_iter().flat_map(|trust| [Some(&trust.authorities), trust.revoked.as_ref()]).flatten())
}

fn stamp(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// All certificates of a file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = all(path)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate(path.into()));
    }
    Ok(certificates)
}

/// All revocation lists of a file; at least one.
pub(super) fn revocation_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let lists: Vec<_> = all(path)?;
    if lists.is_empty() {
        return Err(TlsError::NoRevocationList(path.into()));
    }
    Ok(lists)
}

/// The first private key of a file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    // The two ways in which PEM says so: PKCS #8, and OpenSSL's own.
    let marks = [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"];
    if marks.iter().any(|mark| memchr::memmem::find(&bytes, mark).is_some()) {
        return Err(TlsError::EncryptedKey(path.into()));
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(path.into())),
        Err(error) => Err(TlsError::Pem { path: path.into(), error }),
    }
}

fn all<T: PemObject>(path: &Path) -> Result<Vec<T>, TlsError> {
    let items = T::pem_slice_iter(&read(path)?).collect::<Result<_, _>>();
    items.map_err(|error| TlsError::Pem { path: path.into(), error })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Unreadable { path: path.into(), error })
}
