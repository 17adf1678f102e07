//! Certificates, made for one test and gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

/// An authority with a directory for what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Authority {
    /// Its own certificate is `ca.pem`.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { issuer, directory: tempfile::tempdir().unwrap() };
        fs::write(authority.path("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// `NAME.pem` and `NAME.key` for a server with these host names.
    pub fn server(&self, name: &str, hosts: &[&str]) {
        self.server_with_key(name, hosts, &rcgen::PKCS_ECDSA_P256_SHA256);
    }

    pub fn server_with_key(&self, name: &str, hosts: &[&str], algorithm: &'static SignatureAlgorithm) {
        let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate_for(algorithm).unwrap();
        self.sign(name, CertificateParams::new(hosts).unwrap(), ExtendedKeyUsagePurpose::ServerAuth, &key);
    }

    /// The same, for a time long past.
    pub fn expired_server(&self, name: &str) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(name, params, ExtendedKeyUsagePurpose::ServerAuth, &KeyPair::generate().unwrap());
    }

    /// `NAME.pem` and `NAME.key` for a client whose common name is NAME.
    pub fn client(&self, name: &str, serial_number: u64) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial_number));
        self.sign(name, params, ExtendedKeyUsagePurpose::ClientAuth, &KeyPair::generate().unwrap());
    }

    fn sign(&self, name: &str, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose, key: &KeyPair) {
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// `NAME` is a list that revokes these serial numbers.
    pub fn revoke(&self, name: &str, serial_numbers: &[u64]) {
        let revoked = |serial_number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial_number),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2124, 1, 1),
            crl_number: SerialNumber::from(serial_numbers.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serial_numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(self.path(name), list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }
}
