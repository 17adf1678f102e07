//! Whether the files that a configuration names are there and of the right kind.
//!
//! Found at the start, with the line that names the file, and not when the first client knocks.

use std::{fs, path::Path};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject};

use super::{read::Reader, *};

/// Reports every file that cannot be used.
pub(super) fn check(config: &Config, reader: &mut Reader) {
    for (at, listener) in config.listeners.iter().enumerate() {
        let key = format!("listener[{at}]");
        if let Some(tls) = &listener.tls {
            tls_files(&format!("{key}.tls"), tls, reader);
        }
        access_files(&format!("{key}.access"), &listener.access, reader);
        for address in &listener.addresses {
            if let ListenerAddress::Unix(path) = address {
                parent("the socket", &format!("{key}.address"), path, reader);
            }
        }
    }
    if let Some(path) = &config.admin.socket {
        parent("the socket", "admin.socket", path, reader);
    }
    if let LogDestination::File(path) = &config.log.destination {
        parent("the log", "log.destination", path, reader);
    }
}

fn tls_files(key: &str, tls: &TlsConfig, reader: &mut Reader) {
    for (at, certificate) in tls.certificates.iter().enumerate() {
        let key = format!("{key}.certificates[{at}]");
        pem::<CertificateDer>("a certificate", &format!("{key}.chain"), &certificate.chain, reader);
        private_key(&format!("{key}.key"), &certificate.key, reader);
    }
    if let Some(path) = &tls.client_ca {
        pem::<CertificateDer>("a certificate", &format!("{key}.client_ca"), path, reader);
    }
    if let Some(path) = &tls.client_crl {
        pem::<CertificateRevocationListDer>("a revocation list", &format!("{key}.client_crl"), path, reader);
    }
}

fn access_files(key: &str, access: &AccessConfig, reader: &mut Reader) {
    let AccessConfig { password_file, scram_file, acl_file, .. } = access;
    let files = [("password_file", password_file), ("scram_file", scram_file), ("acl_file", acl_file)];
    for (name, path) in files {
        if let Some(path) = path
            && let Err(error) = fs::read(path)
        {
            reader.report_key(&format!("{key}.{name}"), format!("cannot read {}: {error}", path.display()));
        }
    }
}

/// A key that somebody has to open with a passphrase is as good as none.
fn private_key(key: &str, path: &Path, reader: &mut Reader) {
    let marks = ["-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED"];
    let bytes = fs::read(path).unwrap_or_default();
    if marks.iter().any(|mark| memchr::memmem::find(&bytes, mark.as_bytes()).is_some()) {
        let path = path.display();
        let message = format!(
            "{path} is encrypted, and nobody is there to type its passphrase: write it in the clear, with `openssl pkey \
             -in OLD -out NEW`, for the broker's user alone"
        );
        return reader.report_key(key, message);
    }
    pem::<PrivateKeyDer>("a private key", key, path, reader);
}

/// A PEM file must hold at least one `T`; that a path is missing is said elsewhere.
fn pem<T: PemObject>(what: &str, key: &str, path: &Path, reader: &mut Reader) {
    if path.as_os_str().is_empty() {
        return;
    }
    let message = match fs::read(path).map(|bytes| T::pem_slice_iter(&bytes).next().map(|first| first.is_ok())) {
        Ok(Some(true)) => return,
        Ok(_) => format!("{} does not hold {what} in PEM form (\"-----BEGIN …\")", path.display()),
        Err(error) => format!("cannot read {}: {error}", path.display()),
    };
    reader.report_key(key, message);
}

/// What the broker creates needs a directory to be in.
fn parent(what: &str, key: &str, path: &Path, reader: &mut Reader) {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory
        && !directory.is_dir()
    {
        let directory = directory.display();
        reader.report_key(key, format!("there is no directory {directory}: make it, or put {what} elsewhere"));
    }
}
