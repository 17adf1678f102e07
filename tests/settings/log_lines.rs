//! What the log says of clients, and what they cannot make it say.

use std::time::Duration;

use midge::packet::{Connect, ConnectProperties};

use crate::support::{Log, Midge, v5, will};

/// What a stranger may call itself.
const FORGER: &str = "a\n2026-01-01T00:00:00Z  INFO midge: forged\u{1b}[2K\r\u{85}\u{2028}";

fn forger() -> Connect<'static> {
    let properties = ConnectProperties { session_expiry_interval: Some(10), ..Default::default() };
    Connect { user_name: Some(FORGER), properties, ..v5(FORGER) }
}

#[tokio::test]
async fn a_client_cannot_forge_a_line_of_the_log() {
    let log = Log::capture();
    let text = "[access]\nacl_file = \"acl\"\nallow_anonymous = true";
    let midge = Midge::start_with_files(text, &[("acl", "topic read a\n")]).await;
    midge.join(Connect { will: Some(will(FORGER, "x")), ..forger() }).await.vanish().await;
    midge.join(forger()).await.leave().await;
    midge.clock.advance(Duration::from_secs(11));
    midge.join(v5("b")).await.ping().await;
    for line in log.lines("") {
        let is_one = line.starts_with(|first: char| first.is_ascii_digit());
        assert!(is_one && !line.contains(['\u{1b}', '\r', '\u{85}', '\u{2028}']), "{line:?}");
    }
    for said in ["connected", "connection lost", "disconnected", "will not authorised", "session expired"] {
        assert!(log.lines(said).iter().any(|line| line.contains("forged")), "{said}: {:?}", log.lines(""));
    }
}
