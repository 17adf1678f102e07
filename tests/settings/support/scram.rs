//! The client's side of SCRAM-SHA-256 (RFC 7677), as a value for each message.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What the broker keeps of user "user" with password "pencil" (RFC 7677 section 3), and of "other" with the same.
pub const CREDENTIALS: &str = "\
user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
other:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=
";
pub const METHOD: &str = "SCRAM-SHA-256";
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

pub struct Scram {
    bare: String,
    password: &'static str,
}

impl Scram {
    pub fn new(user: &str, password: &'static str) -> Scram {
        Scram { bare: format!("n={user},r={NONCE}"), password }
    }

    /// `client-first-message`.
    pub fn first(&self) -> Vec<u8> {
        format!("n,,{}", self.bare).into_bytes()
    }

    /// `client-final-message`, and the `server-final-message` that only a server which knows the user can answer.
    pub fn last(&self, server_first: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let server_first = std::str::from_utf8(server_first).expect("text");
        let attribute = |name| server_first.split(',').find_map(|part| part.strip_prefix(name)).expect(name);
        let nonce = attribute("r=");
        assert!(nonce.starts_with(NONCE) && nonce.len() > NONCE.len(), "{nonce}");
        let salt = STANDARD.decode(attribute("s=")).expect("base64");
        let mut salted = [0; 32];
        let iterations = attribute("i=").parse().expect("a number");
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, iterations, &mut salted);
        let unproved = format!("c=biws,r={nonce}");
        let exchanged = format!("{},{server_first},{unproved}", self.bare);
        let client_key = hmac(&salted, b"Client Key");
        let mut proof = hmac(&Sha256::digest(client_key), exchanged.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, mask)| *byte ^= mask);
        let signature = hmac(&hmac(&salted, b"Server Key"), exchanged.as_bytes());
        let last = format!("{unproved},p={}", STANDARD.encode(proof));
        (last.into_bytes(), format!("v={}", STANDARD.encode(signature)).into_bytes())
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}
