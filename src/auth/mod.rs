//! Who may connect, and what they may then publish, subscribe to and receive.
//!
//! Two seams: an [`Authenticator`] turns [`Credentials`] into an [`Identity`] (or a [`Refusal`] that knows its reason
//! code), an [`Authorizer`] looks at an identity and a topic. Everything here is synchronous and keeps no state of a
//! connection; a caller with an I/O thread takes [`Authenticator::is_costly`] calls to a blocking pool.
//!
//! Never in here: async, a socket, a session, a decision about what happens after a refusal.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::packet::ReasonCode;

mod access_policy;
mod acl_file;
mod acl_rule;
#[cfg(test)]
mod against_mosquitto;
mod auth_file;
mod certificate;
mod credential_lines;
mod filter_sets;
#[cfg(test)]
mod mutated_files;
pub mod password_file;
mod password_hash;
mod scram;
pub mod scram_file;

pub use access_policy::{AccessPolicy, CertificateAs};
pub use acl_file::AclFile;
pub use auth_file::{AuthFileError, Mistake};
pub use certificate::{CertificateError, CertificateSubject};
pub use credential_lines::Edited;
pub use password_file::PasswordFile;
pub use password_hash::HashAlgorithm;
pub use scram_file::ScramFile;

/// Who connects, as far as is known before authentication.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The client identifier, assigned already where the client left it empty.
    pub client_id: Arc<str>,
    pub user_name: Option<String>,
    pub password: Option<Vec<u8>>,
    /// The verified client certificate of a TLS connection.
    pub certificate: Option<Arc<CertificateSubject>>,
    /// The address at the other end, or the one a trusted proxy told.
    pub peer: Option<IpAddr>,
}

// By hand, so that a password never gets into a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("client_id", &self.client_id)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("certificate", &self.certificate)
            .field("peer", &self.peer)
            .finish()
    }
}

/// Who a connection is, once authenticated; what authorisation looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub client_id: Arc<str>,
    /// `None` for an anonymous client.
    pub user_name: Option<Arc<str>>,
}

/// Why somebody was not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What CONNACK (or DISCONNECT, for re-authentication) carries.
    pub reason_code: ReasonCode,
    /// For the log, never for the client: it may tell whether a user exists.
    pub reason: String,
}

impl Refusal {
    pub fn new(reason_code: ReasonCode, reason: impl Into<String>) -> Refusal {
        Refusal { reason_code, reason: reason.into() }
    }

    /// What the client may be told (a Reason String): the same for every cause that an attacker must not tell apart.
    pub fn reason_string(&self) -> &'static str {
        match self.reason_code {
            ReasonCode::BadUserNameOrPassword => "unknown user name or wrong password",
            ReasonCode::BadAuthenticationMethod => "this authentication method is not supported here",
            ReasonCode::ServerBusy => "too many clients authenticate at this moment, try again later",
            _ => "authentication failed or is required",
        }
    }
}

/// Decides who a connection is.
pub trait Authenticator: Send + Sync {
    /// May take long (hashing): call it off the I/O threads when [`is_costly`](Self::is_costly) says so.
    fn authenticate(&self, credentials: &Credentials) -> Result<Identity, Refusal>;

    /// Whether `authenticate` would burn milliseconds on these credentials.
    fn is_costly(&self, credentials: &Credentials) -> bool;

    /// Starts an enhanced authentication (section 4.12); `None` when the method is not supported.
    fn begin(&self, method: &str, credentials: &Credentials) -> Option<Box<dyn Exchange>>;
}

/// One enhanced authentication under way, from CONNECT (or a re-authenticating AUTH) to its end.
pub trait Exchange: Send {
    /// One packet's Authentication Data in (empty when the packet had none), the answer out.
    /// After [`Step::Done`] or [`Step::Refused`] the exchange is over and refuses whatever else comes.
    fn step(&mut self, data: &[u8]) -> Step;
}

/// What an [`Exchange`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send AUTH with reason code 0x18 and this data, then wait for the client's next AUTH.
    Continue(Vec<u8>),
    /// Let the client in; `data` goes into the CONNACK (or the AUTH that ends a re-authentication).
    Done {
        data: Option<Vec<u8>>,
        identity: Identity,
    },
    Refused(Refusal),
}

/// Decides what an identity may do with a topic.
pub trait Authorizer: Send + Sync {
    fn may_publish(&self, who: &Identity, topic: &str) -> bool;

    /// `filter` is well formed and comes without its `$share/<group>/` part.
    fn may_subscribe(&self, who: &Identity, filter: &str) -> Subscribing;

    fn may_receive(&self, who: &Identity, topic: &str) -> bool;

    /// Nothing is ever refused: callers may skip the checks.
    fn allows_everything(&self) -> bool;
}

/// What an [`Authorizer`] says to a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribing {
    Denied,
    /// Granted, but some topics that match are not allowed: ask `may_receive` for every delivery.
    Filtered,
    /// Granted, and every topic that matches is allowed.
    Whole,
}

/// The authorizer of a broker without access rules.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn may_publish(&self, _: &Identity, _: &str) -> bool {
        true
    }

    fn may_subscribe(&self, _: &Identity, _: &str) -> Subscribing {
        Subscribing::Whole
    }

    fn may_receive(&self, _: &Identity, _: &str) -> bool {
        true
    }

    fn allows_everything(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anybody() -> Identity {
        Identity { client_id: "c1".into(), user_name: None }
    }

    #[test]
    fn debug_output_of_credentials_hides_the_password() {
        let credentials = Credentials { password: Some(b"hunter2".to_vec()), ..Credentials::default() };
        let text = format!("{credentials:?}");
        assert!(text.contains("(hidden)") && !text.contains("hunter2"), "{text}");
        assert!(!text.contains(&format!("{:?}", b"hunter2")), "{text}");
    }

    #[test]
    fn allow_all_refuses_nothing_and_says_so() {
        assert!(AllowAll.may_publish(&anybody(), "$SYS/x") && AllowAll.may_receive(&anybody(), "a/b"));
        assert_eq!(AllowAll.may_subscribe(&anybody(), "#"), Subscribing::Whole);
        assert!(AllowAll.allows_everything());
    }

    #[test]
    fn what_the_client_is_told_does_not_tell_an_unknown_user_from_a_wrong_password() {
        let unknown = Refusal::new(ReasonCode::BadUserNameOrPassword, "user \"eve\" is not in the password file");
        let wrong = Refusal::new(ReasonCode::BadUserNameOrPassword, "wrong password of user \"alice\"");
        assert_eq!(unknown.reason_string(), wrong.reason_string());
        assert!(!unknown.reason_string().contains("eve"));
    }
}
