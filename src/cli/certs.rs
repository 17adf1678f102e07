//! `midge certs`: certificates to try TLS with.
//!
//! The authority's key is thrown away at once: nobody can sign more with it, whoever finds the directory.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::{DnsName, ServerName};

const EXAMPLES: &str = "\
Examples:
  midge certs certs
      For clients on this machine: localhost, 127.0.0.1, ::1.
  midge certs certs --san broker.example.com --san 192.0.2.7
      Also for clients that reach the broker by this name or address.

Exit codes:
  0  the files are written
  1  they are not, or not all of them; standard error says why
  2  the command line was not understood";

/// Make a test authority with a server and a client certificate
///
/// Writes ca.pem, server.pem, server.key, client.pem and client.key. They are for trying things out: use certificates of
/// your own authority where it matters.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CertsArgs {
    /// Where the files go; made if it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// A name or address by which clients reach the server, beside localhost, 127.0.0.1 and ::1. Can be repeated
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,

    /// The common name in the client certificate, which can become the user name
    #[arg(long, value_name = "NAME", default_value = "client")]
    client: String,

    /// How long the certificates are good for
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
    days: u16,

    /// Overwrite what is there
    #[arg(long)]
    force: bool,
}

const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A certificate from this machine is good for one whose clock is a little behind.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub fn run(args: &CertsArgs) -> Result<()> {
    let files = make(args, SystemTime::now())?;
    write(&args.directory, &files, args.force)?;
    println!("{}", explanation(args));
    Ok(())
}

/// A file to be written.
struct PemFile {
    name: &'static str,
    content: String,
    /// Only the owner may read it.
    is_secret: bool,
}

/// Whether clients can look for a server by this name; a wildcard stands for the first label.
fn is_server_name(name: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => DnsName::try_from(domain).is_ok(),
        None => ServerName::try_from(name).is_ok(),
    }
}

/// Makes everything before anything is written.
fn make(args: &CertsArgs, now: SystemTime) -> Result<Vec<PemFile>> {
    let authority = CertifiedIssuer::self_signed(authority_params(args.days, now), KeyPair::generate()?)?;
    if let Some(name) = args.san.iter().find(|name| !is_server_name(name)) {
        bail!("--san {name}: expected a host name such as broker.example.com or *.example.com, or an IP address");
    }
    let names: Vec<String> = LOCAL_NAMES.iter().map(ToString::to_string).chain(args.san.clone()).collect();
    let server = CertificateParams::new(names)?;
    let mut files = vec![PemFile { name: "ca.pem", content: authority.pem(), is_secret: false }];
    let leaves = [
        (["server.pem", "server.key"], server, "localhost", ExtendedKeyUsagePurpose::ServerAuth),
        (
            ["client.pem", "client.key"],
            CertificateParams::default(),
            &*args.client,
            ExtendedKeyUsagePurpose::ClientAuth,
        ),
    ];
    for ([chain, key_file], mut params, common_name, usage) in leaves {
        describe(&mut params, common_name, args.days, now);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        files.push(PemFile { name: chain, content: certificate.pem(), is_secret: false });
        files.push(PemFile { name: key_file, content: key.serialize_pem(), is_secret: true });
    }
    Ok(files)
}

fn authority_params(days: u16, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    describe(&mut params, "Midge test authority", days, now);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn describe(params: &mut CertificateParams, common_name: &str, days: u16, now: SystemTime) {
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let since_epoch = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = date_time_ymd(1970, 1, 1) + since_epoch;
    params.not_before = now - CLOCK_TOLERANCE;
    params.not_after = now + DAY * u32::from(days);
}

fn write(directory: &Path, files: &[PemFile], force: bool) -> Result<()> {
    let existing = files.iter().map(|file| directory.join(file.name)).find(|path| path.exists());
    if let Some(path) = existing.filter(|_| !force) {
        bail!(
            "{} exists: --force overwrites it, and all certificates made with it stop working together",
            path.display()
        );
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make the directory {}", directory.display()))?;
    for file in files {
        let path = directory.join(file.name);
        write_file(&path, file).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A new file in the old one's place, so that a key never has the permissions that an old one had.
fn write_file(path: &Path, file: &PemFile) -> Result<()> {
    let mode = if file.is_secret { 0o600 } else { 0o644 };
    if path.exists() {
        fs::remove_file(path)?;
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    out.write_all(file.content.as_bytes())?;
    Ok(())
}

fn explanation(args: &CertsArgs) -> String {
    let directory = args.directory.display();
    let names = LOCAL_NAMES.iter().copied().chain(args.san.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
    let CertsArgs { client, days, .. } = args;
    format!(
        "\
{directory} holds certificates for trying things out, good for {days} days:
  ca.pem      a test authority, whose key was thrown away
  server.pem  for {names}
  client.pem  for {client:?}

A broker with TLS, on this machine only:
  midge --listen 127.0.0.1:8883 --tls {directory}/server.pem {directory}/server.key
A client:
  mosquitto_sub -h localhost -p 8883 --cafile {directory}/ca.pem -t '#' -v
The same for a client with a certificate:
  mosquitto_sub … --cert {directory}/client.pem --key {directory}/client.key
and the listener that asks for it, in a configuration file beside the certificates:
  [[listener]]
  address = \"0.0.0.0:8883\"
  access.certificate_user_name = \"common_name\"
  [listener.tls]
  certificates = [{{ chain = \"server.pem\", key = \"server.key\" }}]
  client_auth = \"required\"
  client_ca = \"ca.pem\""
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use x509_parser::prelude::*;

    use super::*;

    fn args(directory: &Path) -> CertsArgs {
        CertsArgs {
            directory: directory.into(),
            san: vec!["broker.example.com".into(), "192.0.2.7".into()],
            client: "sensor 7".into(),
            days: 30,
            force: false,
        }
    }

    fn read(path: &Path) -> Vec<u8> {
        fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    #[test]
    fn a_server_and_a_client_certificate_are_signed_by_the_authority() {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("certs");
        write(&into, &make(&args(&into), SystemTime::now()).unwrap(), false).unwrap();
        let (_, ca) = parse_x509_pem(&read(&into.join("ca.pem"))).unwrap();
        let ca = ca.parse_x509().unwrap();
        assert!(ca.is_ca());
        for (name, subject) in [("server.pem", "CN=localhost"), ("client.pem", "CN=sensor 7")] {
            let (_, pem) = parse_x509_pem(&read(&into.join(name))).unwrap();
            let certificate = pem.parse_x509().unwrap();
            assert_eq!(certificate.subject().to_string(), subject);
            assert_eq!(certificate.issuer(), ca.subject());
            assert!(certificate.validity().is_valid());
        }
        let (_, pem) = parse_x509_pem(&read(&into.join("server.pem"))).unwrap();
        let names = pem.parse_x509().unwrap().subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 5);
    }

    #[test]
    fn keys_are_for_their_owner_only_even_when_they_replace_others() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("server.key");
        fs::write(&key, "old").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let files = make(&args(directory.path()), SystemTime::now()).unwrap();
        write(directory.path(), &files, true).unwrap();
        for name in ["server.key", "client.key"] {
            let mode = fs::metadata(directory.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn nothing_is_overwritten_unless_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let client_key = directory.path().join("client.key");
        fs::write(&client_key, "precious").unwrap();
        let files = make(&args(directory.path()), SystemTime::now()).unwrap();
        let error = write(directory.path(), &files, false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{} exists: --force overwrites it", client_key.display())), "{error}");
        assert_eq!(read(&client_key), b"precious");
        assert!(!directory.path().join("ca.pem").exists());
    }

    #[test]
    fn a_name_by_which_no_client_can_reach_a_server_is_refused() {
        let error = |name: &str| {
            let args = CertsArgs { san: vec!["localhost".into(), name.into()], ..args(Path::new("unused")) };
            make(&args, SystemTime::now()).err().map(|error| error.to_string())
        };
        for wrong in ["bröker", "two words", "host:8883", "mqtts://host", "", "*", "*.", "a.*.b"] {
            let expected = format!("--san {wrong}: expected a host name such as broker.example.com");
            assert!(error(wrong).is_some_and(|error| error.starts_with(&expected)), "{wrong:?}");
        }
        for right in ["broker", "broker.example.com", "*.example.com", "192.0.2.7", "2001:db8::1", "my_host"] {
            assert_eq!(error(right), None, "{right:?}");
        }
    }

    #[test]
    fn the_explained_configuration_is_one_that_works() {
        let text = explanation(&args(Path::new("certs")));
        let at = text.find("  [[listener]]").unwrap();
        let config = midge::config::Config::parse("certs/midge.toml", &text[at..]).unwrap();
        assert!(!config.listeners[0].allows_anonymous());
    }
}
