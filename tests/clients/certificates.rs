//! Certificates of one test run: a CA, and a server certificate for 127.0.0.1 signed by it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// PEM files in the run's directory.
pub struct Certificates {
    pub ca: PathBuf,
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Certificates {
    pub fn make(directory: &Path) -> Self {
        let mut ca = CertificateParams::new([]).expect("no names");
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut server = CertificateParams::new(names).expect("names of a server");
        server.distinguished_name.push(rcgen::DnType::CommonName, "test server");
        let server = server.signed_by(&key, &ca).expect("a certificate");
        let write = |name: &str, pem: String| {
            let path = directory.join(name);
            fs::write(&path, pem).expect("the run's directory");
            path
        };
        Self {
            ca: write("ca.pem", ca.pem()),
            chain: write("server.pem", server.pem()),
            key: write("server.key", key.serialize_pem()),
        }
    }
}
