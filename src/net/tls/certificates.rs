//! The server's certificates, and which of them a client gets.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use tokio_rustls::rustls;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{CertificateFiles, TlsError, files};

/// Chooses by the name that a client asks for (SNI).
#[derive(Debug)]
pub(super) struct ByServerName {
    /// The first is for clients that ask for none of the names.
    certificates: Vec<Certificate>,
}

#[derive(Debug)]
struct Certificate {
    /// In lower case; `*.example.com` stands for one label more.
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl ByServerName {
    pub(super) fn load(all: &[CertificateFiles], provider: &CryptoProvider) -> Result<ByServerName, TlsError> {
        let certificates = all.iter().map(|files| Certificate::load(files, provider)).collect::<Result<_, _>>()?;
        Ok(ByServerName { certificates })
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let is_named = |certificate: &&Certificate| name.as_ref().is_some_and(|name| certificate.is_for(name));
        // Of several certificates for one name, one whose kind of key the client can check.
        let is_understood =
            |certificate: &&Certificate| certificate.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let mut named = self.certificates.iter().filter(is_named);
        let chosen = named.find(is_understood).or_else(|| self.certificates.first())?;
        Some(Arc::clone(&chosen.key))
    }
}

impl Certificate {
    fn load(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Certificate, TlsError> {
        let chain = files::certificates(&files.chain)?;
        let names = names(&chain, &files.chain)?;
        let key = files::private_key(&files.key)?;
        let unusable = |error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::KeyMismatch { chain: files.chain.clone(), key: files.key.clone() }
            }
            error => TlsError::Key { path: files.key.clone(), error },
        };
        let key = CertifiedKey::from_der(chain, key, provider).map_err(unusable)?;
        Ok(Certificate { names, key: Arc::new(key) })
    }

    fn is_for(&self, name: &str) -> bool {
        let is_same = |own: &String| match own.strip_prefix("*.") {
            Some(parent) => name.split_once('.').is_some_and(|(_, rest)| rest == parent),
            None => own == name,
        };
        self.names.iter().any(is_same)
    }
}

/// The names that the first certificate of a chain is for; warns of what clients will not like.
fn names(chain: &[rustls::pki_types::CertificateDer<'_>], path: &Path) -> Result<Vec<String>, TlsError> {
    let mut names = Vec::new();
    for (at, der) in chain.iter().enumerate() {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| TlsError::Certificate {
            path: path.into(),
            number: at + 1,
            error: error.to_string(),
        })?;
        warn_of_validity(&certificate, path);
        if at == 0 {
            names = names_of(&certificate);
        }
    }
    Ok(names)
}

fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let alternative = certificate.subject_alternative_name().ok().flatten();
    let all = alternative.into_iter().flat_map(|extension| &extension.value.general_names);
    let names = all.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    names.collect()
}

/// A broker with an expired certificate still serves those that do not check: it starts, and says so.
fn warn_of_validity(certificate: &X509Certificate<'_>, path: &Path) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let (validity, path) = (certificate.validity(), path.display());
    if validity.not_after.timestamp() < now {
        tracing::warn!(%path, since = %validity.not_after, "the certificate has expired: clients will refuse it");
    } else if validity.not_before.timestamp() > now {
        tracing::warn!(%path, until = %validity.not_before, "the certificate is not valid yet: clients will refuse it");
    }
}
