//! The authenticator that ships: which of the configured ways in applies to a client.
//!
//! A certificate that stands for a user comes first, then a user name, then (if allowed) nothing at all.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::password_file::{Mismatch, PasswordFile};
use super::scram::{self, ScramExchange};
use super::scram_file::ScramFile;
use super::{Authenticator, CertificateSubject, Credentials, Exchange, Identity, Refusal};
use crate::packet::ReasonCode;

/// Random bytes in the broker's half of a SCRAM nonce.
const NONCE_BYTES: usize = 18;

/// What of a client certificate is taken as the user name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertificateAs {
    /// The certificate admits to the listener and says nothing about the user.
    #[default]
    None,
    CommonName,
    /// The whole distinguished name in RFC 4514 text.
    Subject,
}

/// The ways in that a listener offers.
#[derive(Clone, Debug, Default)]
pub struct AccessPolicy {
    /// Clients without user name and certificate are let in. Without any credential file so are those with a user name,
    /// which then nobody has checked.
    pub allow_anonymous: bool,
    pub password_file: Option<Arc<PasswordFile>>,
    /// Offers enhanced authentication with SCRAM-SHA-256; the user name is then the one in its messages.
    pub scram: Option<Arc<ScramFile>>,
    pub certificate: CertificateAs,
}

impl AccessPolicy {
    /// The user name that the certificate stands for, if certificates do.
    fn certified_name<'c>(&self, subject: &'c CertificateSubject) -> Result<Option<&'c str>, Refusal> {
        let name = match self.certificate {
            CertificateAs::None => return Ok(None),
            CertificateAs::CommonName => subject.common_name.as_deref().unwrap_or_default(),
            CertificateAs::Subject => &subject.subject,
        };
        // An empty name would be nobody's, and a user name holds no U+0000 in MQTT.
        if name.is_empty() || name.contains(char::is_control) {
            let reason = format!("the client certificate names no usable user (subject {:?})", subject.subject);
            return Err(Refusal::new(ReasonCode::NotAuthorized, reason));
        }
        Ok(Some(name))
    }

    fn check_user(&self, user_name: &str, password: Option<&[u8]>) -> Result<(), Refusal> {
        match (&self.password_file, password) {
            (Some(file), Some(password)) => file.check(user_name, password).map_err(|error| wrong(user_name, error)),
            (Some(_), None) => {
                Err(Refusal::new(ReasonCode::BadUserNameOrPassword, format!("user {user_name:?} sent no password")))
            }
            // As mosquitto does: where anybody gets in, a name that nobody can check does no harm.
            (None, _) if self.allow_anonymous && self.scram.is_none() => Ok(()),
            // Else who knows a name of the SCRAM file could go by it without its password.
            (None, _) if self.scram.is_some() => {
                let reason = format!("user {user_name:?} must authenticate with {}", scram::METHOD);
                Err(Refusal::new(ReasonCode::NotAuthorized, reason))
            }
            (None, _) => {
                let reason = format!("no password file is configured to check user {user_name:?}");
                Err(Refusal::new(ReasonCode::NotAuthorized, reason))
            }
        }
    }
}

impl Authenticator for AccessPolicy {
    fn authenticate(&self, credentials: &Credentials) -> Result<Identity, Refusal> {
        if let Some(subject) = &credentials.certificate
            && let Some(name) = self.certified_name(subject)?
        {
            return Ok(identity(credentials, Some(name)));
        }
        if let Some(user_name) = &credentials.user_name {
            self.check_user(user_name, credentials.password.as_deref())?;
            return Ok(identity(credentials, Some(user_name)));
        }
        if self.allow_anonymous {
            return Ok(identity(credentials, None));
        }
        Err(Refusal::new(ReasonCode::NotAuthorized, "no credentials, and anonymous clients are not allowed"))
    }

    fn is_costly(&self, credentials: &Credentials) -> bool {
        let certified = credentials.certificate.is_some() && self.certificate != CertificateAs::None;
        let compares = credentials.user_name.is_some() && credentials.password.is_some() && !certified;
        compares && self.password_file.as_ref().is_some_and(|file| file.is_costly())
    }

    fn begin(&self, method: &str, credentials: &Credentials) -> Option<Box<dyn Exchange>> {
        let file = self.scram.as_ref().filter(|_| method == scram::METHOD)?;
        let nonce = STANDARD.encode(rand::random::<[u8; NONCE_BYTES]>());
        Some(Box::new(ScramExchange::new(Arc::clone(file), Arc::clone(&credentials.client_id), nonce)))
    }
}

fn wrong(user_name: &str, mismatch: Mismatch) -> Refusal {
    let reason = match mismatch {
        Mismatch::UnknownUser => format!("user {user_name:?} is not in the password file"),
        Mismatch::WrongPassword => format!("wrong password of user {user_name:?}"),
    };
    Refusal::new(ReasonCode::BadUserNameOrPassword, reason)
}

fn identity(credentials: &Credentials, user_name: Option<&str>) -> Identity {
    Identity { client_id: Arc::clone(&credentials.client_id), user_name: user_name.map(Arc::from) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::auth::Step;

    fn credentials(user_name: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials {
            client_id: "c1".into(),
            user_name: user_name.map(str::to_owned),
            password: password.map(|password| password.as_bytes().to_vec()),
            ..Credentials::default()
        }
    }

    fn with_certificate(common_name: Option<&str>, subject: &str) -> Credentials {
        let certificate =
            CertificateSubject { common_name: common_name.map(str::to_owned), subject: subject.to_owned() };
        Credentials { certificate: Some(Arc::new(certificate)), ..credentials(Some("ignored"), Some("ignored")) }
    }

    /// The user name that a policy makes of credentials, or the reason code of its refusal.
    #[track_caller]
    fn check(policy: &AccessPolicy, credentials: &Credentials, expected: Result<Option<&str>, ReasonCode>) {
        let outcome = policy.authenticate(credentials);
        if let Ok(identity) = &outcome {
            assert_eq!(identity.client_id, credentials.client_id);
        }
        let outcome = outcome.map(|identity| identity.user_name).map_err(|refusal| refusal.reason_code);
        assert_eq!(outcome.as_ref().map(|name| name.as_deref()), expected.as_ref().copied());
    }

    #[test]
    fn without_credentials_a_client_gets_in_only_where_anonymous_is_allowed() {
        let open = AccessPolicy { allow_anonymous: true, ..AccessPolicy::default() };
        check(&open, &credentials(None, None), Ok(None));
        check(&AccessPolicy::default(), &credentials(None, None), Err(ReasonCode::NotAuthorized));
    }

    #[test]
    fn with_nothing_to_check_a_user_name_against_it_is_taken_as_it_is_where_anonymous_is_allowed() {
        let open = AccessPolicy { allow_anonymous: true, ..AccessPolicy::default() };
        check(&open, &credentials(Some("alice"), Some("x")), Ok(Some("alice")));
        check(&AccessPolicy::default(), &credentials(Some("alice"), Some("x")), Err(ReasonCode::NotAuthorized));
    }

    /// alice's password is "wonderland", hashed by mosquitto_passwd.
    fn with_password_file(allow_anonymous: bool) -> AccessPolicy {
        let line = "alice:$7$101$BVVjHCjTK/ll+O5P$\
            J9lPCUUcauxfTecRTeKjI9jD7lPSuVxOp10zfB7SV97AYr3zQdda9ik0/eEwJpg0NWSj96KR/QxGB3iP0TWvBA==";
        let file = PasswordFile::parse(Path::new("users"), line.as_bytes()).unwrap();
        AccessPolicy { allow_anonymous, password_file: Some(Arc::new(file)), ..AccessPolicy::default() }
    }

    #[test]
    fn a_password_file_admits_who_knows_the_password_and_nobody_else() {
        for allow_anonymous in [false, true] {
            let policy = with_password_file(allow_anonymous);
            check(&policy, &credentials(Some("alice"), Some("wonderland")), Ok(Some("alice")));
            for (user, password) in
                [("alice", Some("Wonderland")), ("alice", None), ("eve", Some("wonderland")), ("", None)]
            {
                let expected = Err(ReasonCode::BadUserNameOrPassword);
                check(&policy, &credentials(Some(user), password), expected);
            }
        }
    }

    #[test]
    fn beside_a_password_file_anonymous_clients_get_in_only_where_allowed() {
        check(&with_password_file(true), &credentials(None, None), Ok(None));
        check(&with_password_file(false), &credentials(None, None), Err(ReasonCode::NotAuthorized));
    }

    fn with_scram(allow_anonymous: bool) -> AccessPolicy {
        let line = "alice:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
            WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let file = ScramFile::parse(Path::new("scram"), line.as_bytes()).unwrap();
        AccessPolicy { allow_anonymous, scram: Some(Arc::new(file)), ..AccessPolicy::default() }
    }

    #[test]
    fn enhanced_authentication_is_offered_by_its_exact_name_where_there_are_credentials() {
        let (policy, client) = (with_scram(false), credentials(None, None));
        assert!(policy.begin("SCRAM-SHA-256", &client).is_some());
        for method in ["", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "scram-sha-256"] {
            assert!(policy.begin(method, &client).is_none(), "{method}");
        }
        assert!(AccessPolicy::default().begin("SCRAM-SHA-256", &client).is_none());
    }

    #[test]
    fn every_exchange_has_a_nonce_of_its_own() {
        let challenge = || {
            let mut exchange = with_scram(false).begin("SCRAM-SHA-256", &credentials(None, None)).unwrap();
            match exchange.step(b"n,,n=alice,r=abc") {
                Step::Continue(data) => String::from_utf8(data).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        let (first, second) = (challenge(), challenge());
        assert!(first.starts_with("r=abc") && first.find(',').unwrap() == "r=abc".len() + 24, "{first}");
        assert_ne!(first, second);
    }

    #[test]
    fn beside_a_scram_file_nobody_gets_a_user_name_without_proving_it() {
        check(&with_scram(true), &credentials(Some("alice"), Some("pencil")), Err(ReasonCode::NotAuthorized));
        check(&with_scram(true), &credentials(Some("eve"), None), Err(ReasonCode::NotAuthorized));
        check(&with_scram(true), &credentials(None, None), Ok(None));
    }

    #[test]
    fn only_credentials_that_will_be_hashed_are_costly() {
        let policy = with_password_file(true);
        assert!(policy.is_costly(&credentials(Some("alice"), Some("x"))));
        assert!(policy.is_costly(&credentials(Some("nobody"), Some("x"))), "an unknown user costs the same");
        assert!(!policy.is_costly(&credentials(Some("alice"), None)) && !policy.is_costly(&credentials(None, None)));
        let by_name = AccessPolicy { certificate: CertificateAs::CommonName, ..policy };
        assert!(!by_name.is_costly(&with_certificate(Some("alice"), "CN=alice")));
    }

    #[test]
    fn a_certificate_names_the_user_whatever_the_connect_packet_says() {
        let by_name = AccessPolicy { certificate: CertificateAs::CommonName, ..AccessPolicy::default() };
        check(&by_name, &with_certificate(Some("meter-7"), "CN=meter-7,C=NL"), Ok(Some("meter-7")));
        let by_subject = AccessPolicy { certificate: CertificateAs::Subject, ..AccessPolicy::default() };
        check(&by_subject, &with_certificate(Some("meter-7"), "CN=meter-7,C=NL"), Ok(Some("CN=meter-7,C=NL")));
    }

    #[test]
    fn a_certificate_that_names_nobody_is_refused_where_certificates_name_users() {
        let by_name =
            AccessPolicy { certificate: CertificateAs::CommonName, allow_anonymous: true, ..AccessPolicy::default() };
        for name in [None, Some(""), Some("nul\0l"), Some("line\nfeed")] {
            check(&by_name, &with_certificate(name, "C=NL"), Err(ReasonCode::NotAuthorized));
        }
    }

    #[test]
    fn a_certificate_says_nothing_about_the_user_unless_configured() {
        check(
            &AccessPolicy::default(),
            &with_certificate(Some("meter-7"), "CN=meter-7"),
            Err(ReasonCode::NotAuthorized),
        );
    }
}
