//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) over MQTT 5's AUTH packets, without channel binding.
//!
//! ```text
//! client                                        server
//!   n,,n=user,r=<nonce>              ───►                    CONNECT, or AUTH after an empty one
//!                                    ◄───         r=<nonce+>,s=<salt>,i=<iterations>
//!   c=biws,r=<nonce+>,p=<proof>      ───►
//!                                    ◄───         v=<server signature>               CONNACK
//! ```
//! A user who does not exist is led through the same steps and fails at the same place as one with a wrong password.

use std::mem;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::scram_file::{Key, ScramCredential, ScramFile, hmac};
use super::{Exchange, Identity, Refusal, Step};
use crate::packet::ReasonCode;

/// The name of the method in CONNECT and AUTH.
pub(super) const METHOD: &str = "SCRAM-SHA-256";

/// The answer repeats the client's nonce and must fit into MQTT's 65,535 bytes of Authentication Data.
const NONCE_BYTES_MAX: usize = 1_024;

/// One client's way through the picture above.
pub(super) struct ScramExchange {
    file: Arc<ScramFile>,
    client_id: Arc<str>,
    /// This side's half of the nonce: printable, without a comma, never used before.
    nonce: String,
    state: State,
}

enum State {
    /// Waiting for the client's first message.
    Start,
    /// Waiting for it after CONNECT came without one.
    Asked,
    /// Waiting for the proof.
    Challenged(Challenge),
    Over,
}

impl ScramExchange {
    pub(super) fn new(file: Arc<ScramFile>, client_id: Arc<str>, nonce: String) -> ScramExchange {
        ScramExchange { file, client_id, nonce, state: State::Start }
    }

    fn challenge(&mut self, data: &[u8]) -> Result<Step, Problem> {
        let first = ClientFirst::parse(data)?;
        let (credential, known) = self.file.credential(&first.user);
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = STANDARD.encode(&credential.salt);
        let server_first = format!("r={nonce},s={salt},i={}", credential.iterations);
        let exchanged = format!("{},{server_first}", first.bare);
        let (user, gs2_header) = (first.user, first.gs2_header.to_owned());
        self.state = State::Challenged(Challenge { user, known, credential, gs2_header, nonce, exchanged });
        Ok(Step::Continue(server_first.into_bytes()))
    }
}

impl Exchange for ScramExchange {
    fn step(&mut self, data: &[u8]) -> Step {
        let outcome = match mem::replace(&mut self.state, State::Over) {
            State::Start if data.is_empty() => {
                self.state = State::Asked;
                Ok(Step::Continue(Vec::new()))
            }
            State::Start | State::Asked => self.challenge(data),
            State::Challenged(challenge) => challenge.finish(data, &self.client_id),
            State::Over => Err(Problem::Malformed("a message after the end of the exchange")),
        };
        outcome.unwrap_or_else(|problem| Step::Refused(problem.into_refusal()))
    }
}

/// Why the exchange ended early.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    Malformed(&'static str),
    ChannelBinding,
    OtherIdentity,
    UnknownUser(String),
    WrongPassword(String),
}

impl Problem {
    // Not Bad User Name or Password, which only CONNACK may say: re-authentication ends with DISCONNECT.
    fn into_refusal(self) -> Refusal {
        let reason = match self {
            Problem::Malformed(what) => format!("{METHOD}: the client's message is malformed: {what}"),
            Problem::ChannelBinding => format!("{METHOD}: the client insists on channel binding, which is not offered"),
            Problem::OtherIdentity => format!("{METHOD}: the client asks to act as another user"),
            Problem::UnknownUser(user) => format!("{METHOD}: user {user:?} is not in the credential file"),
            Problem::WrongPassword(user) => format!("{METHOD}: wrong password of user {user:?}"),
        };
        Refusal::new(ReasonCode::NotAuthorized, reason)
    }
}

/// `client-first-message` of RFC 5802 section 7.
struct ClientFirst<'m> {
    /// Whether the client binds to a channel, and as whom it wants to act; comes again with the proof.
    gs2_header: &'m str,
    /// All after that header.
    bare: &'m str,
    user: String,
    nonce: &'m str,
}

impl<'m> ClientFirst<'m> {
    fn parse(data: &'m [u8]) -> Result<ClientFirst<'m>, Problem> {
        let text = text(data)?;
        let (flag, rest) = text.split_once(',').ok_or(Problem::Malformed("there is no GS2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(Problem::Malformed("there is no GS2 header"))?;
        match flag {
            // The client cannot bind, or can and thinks that the server cannot, which is true.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(Problem::ChannelBinding),
            _ => return Err(Problem::Malformed("the GS2 header begins with neither n, y nor p=")),
        }
        let mut attributes = bare.split(',');
        let user = user_name(attribute(attributes.next(), "n=", "the user name is missing")?)?;
        let nonce = attribute(attributes.next(), "r=", "the nonce is missing")?;
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::Malformed("the nonce is empty, too long or has characters that are not printable"));
        }
        if !authzid.is_empty()
            && user_name(attribute(Some(authzid), "a=", "the GS2 header has an unknown part")?)? != user
        {
            return Err(Problem::OtherIdentity);
        }
        Ok(ClientFirst { gs2_header: &text[..text.len() - bare.len()], bare, user, nonce })
    }
}

/// What was said so far, and what the proof must fit.
struct Challenge {
    user: String,
    known: bool,
    credential: ScramCredential,
    gs2_header: String,
    /// Both halves.
    nonce: String,
    /// `client-first-message-bare` and `server-first-message`.
    exchanged: String,
}

impl Challenge {
    fn finish(self, data: &[u8], client_id: &Arc<str>) -> Result<Step, Problem> {
        let text = text(data)?;
        let (unproved, proof) = text.rsplit_once(",p=").ok_or(Problem::Malformed("the proof is missing"))?;
        self.check_repeated(unproved)?;
        let proof = STANDARD.decode(proof).ok().and_then(|proof| Key::try_from(proof).ok());
        let proof = proof.ok_or(Problem::Malformed("the proof is not the base64 of 32 bytes"))?;
        let auth_message = format!("{},{unproved}", self.exchanged);
        if !self.is_proved(&proof, &auth_message) {
            return Err(if self.known { Problem::WrongPassword(self.user) } else { Problem::UnknownUser(self.user) });
        }
        let signature = hmac(&self.credential.server_key, auth_message.as_bytes());
        let identity = Identity { client_id: Arc::clone(client_id), user_name: Some(self.user.into()) };
        Ok(Step::Done { data: Some(format!("v={}", STANDARD.encode(signature)).into_bytes()), identity })
    }

    /// The last message repeats the header and the whole nonce.
    fn check_repeated(&self, unproved: &str) -> Result<(), Problem> {
        let mut attributes = unproved.split(',');
        let binding = attribute(attributes.next(), "c=", "the channel binding is missing")?;
        if binding != STANDARD.encode(&self.gs2_header) {
            return Err(Problem::Malformed("the channel binding is not the GS2 header that came first"));
        }
        if attribute(attributes.next(), "r=", "the nonce is missing")? != self.nonce {
            return Err(Problem::Malformed("the nonce is another one"));
        }
        Ok(())
    }

    /// Whether the proof was made with the ClientKey, whose hash is the StoredKey (RFC 5802 section 3).
    fn is_proved(&self, proof: &Key, auth_message: &str) -> bool {
        let signature = hmac(&self.credential.stored_key, auth_message.as_bytes());
        let mut client_key = *proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let fits = Sha256::digest(client_key)[..].ct_eq(&self.credential.stored_key);
        bool::from(fits) && self.known
    }
}

fn text(data: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(data).map_err(|_| Problem::Malformed("it is not UTF-8"))
}

fn attribute<'m>(part: Option<&'m str>, name: &str, missing: &'static str) -> Result<&'m str, Problem> {
    // A mandatory extension (m=), which RFC 5802 says to fail on, stands where these names are expected.
    part.and_then(|part| part.strip_prefix(name)).ok_or(Problem::Malformed(missing))
}

/// A `saslname`, without its escapes and prepared for comparison.
fn user_name(escaped: &str) -> Result<String, Problem> {
    let mut name = String::with_capacity(escaped.len());
    let mut parts = escaped.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(Problem::Malformed("a '=' in the user name is neither =2C nor =3D")),
        };
        name.push(character);
        name.push_str(rest);
    }
    match stringprep::saslprep(&name) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared.into_owned()),
        _ => Err(Problem::Malformed("the user name is empty or SASLprep refuses it")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    // RFC 7677 section 3: user "user", password "pencil".
    const RFC_CREDENTIAL: &str = "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    const RFC_CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const RFC_CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const RFC_SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const RFC_CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn exchange() -> ScramExchange {
        let file = ScramFile::parse(Path::new("scram"), RFC_CREDENTIAL.as_bytes()).unwrap();
        ScramExchange::new(Arc::new(file), "c1".into(), RFC_SERVER_NONCE.to_owned())
    }

    fn done(user: &str, data: &str) -> Step {
        let identity = Identity { client_id: "c1".into(), user_name: Some(user.into()) };
        Step::Done { data: Some(data.as_bytes().to_vec()), identity }
    }

    fn continued(data: &str) -> Step {
        Step::Continue(data.as_bytes().to_vec())
    }

    /// Expects a refusal whose reason contains this.
    #[track_caller]
    fn refused(step: Step, reason: &str) {
        match step {
            Step::Refused(refusal) => {
                assert_eq!(refusal.reason_code, ReasonCode::NotAuthorized);
                assert!(refusal.reason.contains(reason), "{}", refusal.reason);
            }
            other => panic!("{other:?} instead of a refusal: {reason}"),
        }
    }

    /// A client of its own, so that the server is not checked with its own code alone.
    struct Client<'c> {
        gs2_header: &'c str,
        user: &'c str,
        password: &'c str,
    }

    impl Client<'_> {
        fn first(&self) -> String {
            format!("{}n={},r={RFC_CLIENT_NONCE}", self.gs2_header, self.user)
        }

        /// The final message and the answer that proves the server.
        fn last(&self, server_first: &[u8]) -> (String, String) {
            let server_first = std::str::from_utf8(server_first).unwrap();
            let part = |name| server_first.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
            let (nonce, iterations) = (part("r="), part("i=").parse().unwrap());
            assert!(nonce.starts_with(RFC_CLIENT_NONCE) && nonce.len() > RFC_CLIENT_NONCE.len());
            let salt = STANDARD.decode(part("s=")).unwrap();
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, iterations, &mut salted);
            let unproved = format!("c={},r={nonce}", STANDARD.encode(self.gs2_header));
            let message = format!("n={},r={RFC_CLIENT_NONCE},{server_first},{unproved}", self.user);
            let client_key = hmac(&salted, b"Client Key");
            let signature = hmac(&Sha256::digest(client_key), message.as_bytes());
            let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
            let server_signature = hmac(&hmac(&salted, b"Server Key"), message.as_bytes());
            (format!("{unproved},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server_signature)))
        }

        /// Walks through a whole exchange; the second value is what the server has to answer.
        fn log_in(&self, mut exchange: ScramExchange) -> (Step, String) {
            let Step::Continue(server_first) = exchange.step(self.first().as_bytes()) else { panic!("no challenge") };
            let (last, expected) = self.last(&server_first);
            (exchange.step(last.as_bytes()), expected)
        }
    }

    #[test]
    fn the_exchange_of_rfc_7677_is_reproduced() {
        let mut exchange = exchange();
        assert_eq!(exchange.step(RFC_CLIENT_FIRST.as_bytes()), continued(RFC_SERVER_FIRST));
        assert_eq!(exchange.step(RFC_CLIENT_FINAL.as_bytes()), done("user", RFC_SERVER_FINAL));
    }

    #[test]
    fn a_client_without_a_first_message_is_asked_for_it_once() {
        let mut willing = exchange();
        assert_eq!(willing.step(b""), continued(""));
        assert_eq!(willing.step(RFC_CLIENT_FIRST.as_bytes()), continued(RFC_SERVER_FIRST));
        assert_eq!(willing.step(RFC_CLIENT_FINAL.as_bytes()), done("user", RFC_SERVER_FINAL));
        let mut silent = exchange();
        assert_eq!(silent.step(b""), continued(""));
        refused(silent.step(b""), "there is no GS2 header");
    }

    #[test]
    fn a_client_that_could_bind_to_a_channel_gets_in_and_its_header_is_checked() {
        let client = Client { gs2_header: "y,,", user: "user", password: "pencil" };
        let (step, server_final) = client.log_in(exchange());
        assert_eq!(step, done("user", &server_final));
        // A header that came as `y` and returns as `n` was changed on the way.
        let mut tampered = exchange();
        tampered.step(client.first().as_bytes());
        refused(
            tampered.step(RFC_CLIENT_FINAL.as_bytes()),
            "the channel binding is not the GS2 header that came first",
        );
    }

    #[test]
    fn a_client_may_ask_to_act_as_itself_only() {
        let itself = Client { gs2_header: "n,a=user,", user: "user", password: "pencil" };
        let (step, server_final) = itself.log_in(exchange());
        assert_eq!(step, done("user", &server_final));
        refused(exchange().step(b"n,a=admin,n=user,r=abc"), "the client asks to act as another user");
    }

    #[test]
    fn a_wrong_password_and_an_unknown_user_fail_at_the_same_step_with_the_same_code() {
        let wrong = Client { gs2_header: "n,,", user: "user", password: "Pencil" };
        refused(wrong.log_in(exchange()).0, "wrong password of user \"user\"");
        let unknown = Client { gs2_header: "n,,", user: "eve", password: "pencil" };
        refused(unknown.log_in(exchange()).0, "user \"eve\" is not in the credential file");
    }

    #[test]
    fn an_exchange_that_is_over_stays_over() {
        let mut exchange = exchange();
        refused(exchange.step(b"nonsense"), "there is no GS2 header");
        refused(exchange.step(RFC_CLIENT_FIRST.as_bytes()), "a message after the end of the exchange");
    }

    #[test]
    fn malformed_first_messages_are_refused_by_name() {
        let long = format!("n,,n=user,r={}", "x".repeat(1_025));
        let cases: [(&[u8], &str); 15] = [
            (b"n", "there is no GS2 header"),
            (b"n,", "there is no GS2 header"),
            (b"x,,n=user,r=abc", "neither n, y nor p="),
            (b"p=tls-exporter,,n=user,r=abc", "the client insists on channel binding"),
            (b"n,b=user,n=user,r=abc", "the GS2 header has an unknown part"),
            (b"n,,m=ext,n=user,r=abc", "the user name is missing"),
            (b"n,,r=abc", "the user name is missing"),
            (b"n,,n=user", "the nonce is missing"),
            (b"n,,n=user,r=", "the nonce is empty"),
            (b"n,,n=user,r=a b", "the nonce is empty, too long or has characters that are not printable"),
            (long.as_bytes(), "the nonce is empty, too long"),
            (b"n,,n=,r=abc", "the user name is empty"),
            (b"n,,n=us=er,r=abc", "a '=' in the user name"),
            (b"n,,n=us\x07er,r=abc", "SASLprep refuses it"),
            (b"n,,n=\xff,r=abc", "it is not UTF-8"),
        ];
        for (message, reason) in cases {
            refused(exchange().step(message), reason);
        }
    }

    #[test]
    fn malformed_final_messages_are_refused_by_name() {
        let nonce = format!("{RFC_CLIENT_NONCE}{RFC_SERVER_NONCE}");
        let cases = [
            (String::new(), "the proof is missing"),
            (format!("c=biws,r={nonce}"), "the proof is missing"),
            (format!("r={nonce},p=AAAA"), "the channel binding is missing"),
            ("c=biws,p=AAAA".to_owned(), "the nonce is missing"),
            (format!("c=biws,r={RFC_CLIENT_NONCE},p=AAAA"), "the nonce is another one"),
            (format!("c=eSws,r={nonce},p=AAAA"), "the channel binding is not the GS2 header"),
            (format!("c=biws,r={nonce},p=AAAA"), "the proof is not the base64 of 32 bytes"),
            (format!("c=biws,r={nonce},p=!"), "the proof is not the base64 of 32 bytes"),
            (RFC_CLIENT_FINAL.replace("p=d", "p=e"), "wrong password of user \"user\""),
        ];
        for (message, reason) in cases {
            let mut exchange = exchange();
            exchange.step(RFC_CLIENT_FIRST.as_bytes());
            refused(exchange.step(message.as_bytes()), reason);
        }
    }

    #[test]
    fn escapes_in_a_user_name_are_undone_and_the_name_is_prepared() {
        let cases =
            [("a=2Cb=3Dc", "a,b=c"), ("I\u{ad}X", "IX"), ("\u{2168}", "IX"), ("a\u{a0}b", "a b"), ("\u{aa}", "a")];
        for (escaped, name) in cases {
            assert_eq!(user_name(escaped).as_deref(), Ok(name), "{escaped:?}");
        }
        for bad in ["=", "a=2", "=2c", "=3d", "==", "a=\u{fc}", "\u{7}", "\u{627}1", ""] {
            assert!(user_name(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_an_exchange_panic_or_let_anybody_in(
            first in prop::collection::vec(any::<u8>(), 0..60),
            last in "(c=(biws|[a-z=]{0,6}),)?(r=[ -~]{0,60},)?[a-z]=[!-~]{0,50}",
        ) {
            let mut garbage = exchange();
            for message in [&first, last.as_bytes()] {
                let admitted = matches!(garbage.step(message), Step::Done { .. });
                prop_assert!(!admitted);
            }
            let mut challenged = exchange();
            challenged.step(RFC_CLIENT_FIRST.as_bytes());
            prop_assert!(matches!(challenged.step(last.as_bytes()), Step::Refused(_)));
        }
    }
}
