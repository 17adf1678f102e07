//! What a client certificate says about who holds it.
//!
//! Reads the subject only: whether the certificate is to be trusted was decided by the TLS handshake.

use std::fmt::Write;

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// The subject of a verified client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The first common name, decoded; `None` when the subject has none (or one that is no text).
    pub common_name: Option<String>,
    /// The distinguished name in the text form of RFC 4514, most specific part first: `CN=meter-7,OU=Field,O=Example,C=NL`.
    pub subject: String,
}

/// The bytes are not an X.509 certificate.
#[derive(Debug, thiserror::Error)]
#[error("the client certificate cannot be read: {0}")]
pub struct CertificateError(String);

impl CertificateSubject {
    /// From the end-entity certificate as the TLS layer has it.
    pub fn from_der(der: &[u8]) -> Result<CertificateSubject, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| CertificateError(error.to_string()))?;
        Ok(CertificateSubject::from_name(certificate.subject()))
    }

    fn from_name(name: &X509Name<'_>) -> CertificateSubject {
        let common_name = name.iter_common_name().next().and_then(|attribute| text(attribute.attr_value()));
        let parts: Vec<_> = name.iter_rdn().map(rdn_text).collect();
        let subject = parts.into_iter().rev().collect::<Vec<_>>().join(",");
        CertificateSubject { common_name, subject }
    }
}

/// Attribute types by the names that OpenSSL (and so mosquitto's `use_subject_as_username`) prints.
const ATTRIBUTE_NAMES: [(&str, &str); 21] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

fn rdn_text(rdn: &RelativeDistinguishedName<'_>) -> String {
    rdn.iter().map(attribute_text).collect::<Vec<_>>().join("+")
}

fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let name = ATTRIBUTE_NAMES.iter().find(|(id, _)| *id == oid).map(|(_, name)| *name);
    match (name, text(attribute.attr_value())) {
        (Some(name), Some(value)) => format!("{name}={}", escaped(&value)),
        // RFC 4514 section 2.4: a dotted type, or a value that is no text, is written as the hex of its encoding.
        (name, _) => format!("{}=#{}", name.unwrap_or(&oid), hex(attribute.attr_value())),
    }
}

/// The value of one of ASN.1's string types.
fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.as_bytes();
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        // As everybody reads it: Latin-1.
        Tag::T61String => Some(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => utf16_big_endian(bytes),
        _ => None,
    }
}

fn utf16_big_endian(bytes: &[u8]) -> Option<String> {
    let (units, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
    if rest.is_empty() { String::from_utf16(&units).ok() } else { None }
}

/// RFC 4514 section 2.4: what would read as syntax gets a backslash, control characters their hex.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            // U+0000 to U+001F and U+007F are one byte each in UTF-8.
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\{:02X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out
}

fn hex(value: &Any<'_>) -> String {
    let encoding = value.to_der_vec().unwrap_or_default();
    encoding.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02X}");
        out
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(parts: &[(DnType, DnValue)]) -> CertificateSubject {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        let key = KeyPair::generate().unwrap();
        CertificateSubject::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    #[test]
    fn the_subject_is_written_most_specific_part_first() {
        let read = certificate(&[
            (DnType::CountryName, utf8("NL")),
            (DnType::OrganizationName, utf8("Example")),
            (DnType::OrganizationalUnitName, utf8("Field")),
            (DnType::CommonName, utf8("meter-7")),
        ]);
        assert_eq!(read.common_name.as_deref(), Some("meter-7"));
        assert_eq!(read.subject, "CN=meter-7,OU=Field,O=Example,C=NL");
    }

    #[test]
    fn what_would_read_as_syntax_is_escaped_in_the_subject_but_not_in_the_common_name() {
        let cases = [
            ("a,b+c", "CN=a\\,b\\+c"),
            ("#1", "CN=\\#1"),
            (" both ", "CN=\\ both\\ "),
            (" ", "CN=\\ "),
            ("<\"x\";\\>", "CN=\\<\\\"x\\\"\\;\\\\\\>"),
            ("nul\0l", "CN=nul\\00l"),
            ("zürich", "CN=zürich"),
            ("", "CN="),
        ];
        for (name, subject) in cases {
            let read = certificate(&[(DnType::CommonName, utf8(name))]);
            assert_eq!((read.common_name.as_deref(), read.subject.as_str()), (Some(name), subject));
        }
    }

    #[test]
    fn other_string_types_are_decoded() {
        let bmp = DnValue::BmpString("zähler".try_into().unwrap());
        assert_eq!(certificate(&[(DnType::CommonName, bmp)]).common_name.as_deref(), Some("zähler"));
        let teletex = DnValue::TeletexString("old".try_into().unwrap());
        assert_eq!(certificate(&[(DnType::CommonName, teletex)]).subject, "CN=old");
    }

    #[test]
    fn an_attribute_without_a_name_is_written_as_the_hex_of_its_encoding() {
        let read = certificate(&[(DnType::CustomDnType(vec![1, 2, 3, 4]), utf8("hi"))]);
        assert_eq!((read.common_name, read.subject.as_str()), (None, "1.2.3.4=#0C026869"));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_an_error() {
        for der in [&b""[..], b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----"] {
            let error = CertificateSubject::from_der(der).unwrap_err();
            assert!(error.to_string().starts_with("the client certificate cannot be read: "), "{error}");
        }
    }

    #[test]
    fn a_damaged_certificate_never_panics() {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let good = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0xff;
            let _ = CertificateSubject::from_der(&bad);
            let _ = CertificateSubject::from_der(&good[..position]);
        }
        assert!(CertificateSubject::from_der(&good).is_ok());
    }
}
