//! The HTTP request that begins a WebSocket connection (RFC 6455, section 4.2), judged as a whole: who may come in, and
//! what everybody else is told. No I/O.

use base64::{Engine, prelude::BASE64_STANDARD};
use httparse::{Header, Request, Status};

/// What requests must look like.
#[derive(Clone, Debug)]
pub struct UpgradeRules {
    pub path: String,
    /// Values of Origin that may come in; empty for any, and for none.
    pub origins: Vec<String>,
    /// Best first.
    pub subprotocols: Vec<String>,
    /// The request with all its headers.
    pub head_bytes_max: usize,
}

/// What is to be answered to the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Upgrade {
    Incomplete,
    Accepted(Accepted),
    Refused(Refusal),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Accepted {
    pub response: String,
    /// Where the request ends; frames follow.
    pub request_len: usize,
    /// All X-Forwarded-For headers, in order.
    pub forwarded_for: Vec<String>,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("not an HTTP request ({0})")]
    NotHttp(String),
    #[error("the request with its headers is above {0} bytes")]
    TooLarge(usize),
    #[error("the request has more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    #[error("the method is not GET")]
    Method,
    #[error("there is nothing at {found:?}: WebSocket is at {path:?}")]
    Path { found: String, path: String },
    #[error("not a WebSocket request: `Upgrade: websocket` and `Connection: Upgrade` are missing")]
    NoUpgrade,
    #[error("only version 13 of WebSocket is spoken")]
    Version,
    #[error("Sec-WebSocket-Key is missing, or not 16 bytes in Base64")]
    Key,
    #[error("the origin {0:?} may not connect")]
    Origin(String),
    #[error("there is no Origin, and only web pages of configured origins may connect")]
    NoOrigin,
    #[error("none of the subprotocols that are spoken is offered: {0}")]
    Subprotocol(String),
}

/// More headers than any client or proxy sends.
const HEADERS_MAX: usize = 64;
/// Makes a key into the proof that it was understood (section 1.3).
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Judges the bytes from the start of a connection.
pub fn upgrade(bytes: &[u8], rules: &UpgradeRules) -> Upgrade {
    match judge(bytes, rules) {
        Ok(None) => Upgrade::Incomplete,
        Ok(Some(accepted)) => Upgrade::Accepted(accepted),
        Err(refusal) => Upgrade::Refused(refusal),
    }
}

fn judge(bytes: &[u8], rules: &UpgradeRules) -> Result<Option<Accepted>, Refusal> {
    // Another protocol shows in its first byte, and gets its answer before the deadline.
    if bytes.first().is_some_and(|first| !first.is_ascii_uppercase()) {
        return Err(Refusal::NotHttp("it does not begin with a method".into()));
    }
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return if bytes.len() < rules.head_bytes_max {
            Ok(None)
        } else {
            Err(Refusal::TooLarge(rules.head_bytes_max))
        };
    };
    if end > rules.head_bytes_max {
        return Err(Refusal::TooLarge(rules.head_bytes_max));
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(&bytes[..end]) {
        Ok(Status::Complete(request_len)) => accept(&request, request_len, rules).map(Some),
        Ok(Status::Partial) => Err(Refusal::NotHttp("an empty line inside it".into())),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::TooManyHeaders),
        Err(error) => Err(Refusal::NotHttp(error.to_string())),
    }
}

fn accept(request: &Request<'_, '_>, request_len: usize, rules: &UpgradeRules) -> Result<Accepted, Refusal> {
    let headers = &*request.headers;
    check_target(request, rules)?;
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        return Err(Refusal::NoUpgrade);
    }
    if values(headers, "Sec-WebSocket-Version").next() != Some("13") {
        return Err(Refusal::Version);
    }
    let key = key(headers)?;
    check_origin(headers, rules)?;
    let subprotocol = subprotocol(headers, rules)?;
    Ok(Accepted {
        response: format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n",
            proof(key)
        ),
        request_len,
        forwarded_for: values(headers, "X-Forwarded-For").map(str::to_owned).collect(),
    })
}

fn check_target(request: &Request<'_, '_>, rules: &UpgradeRules) -> Result<(), Refusal> {
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    let target = request.path.unwrap_or_default();
    let path = target.split(['?', '#']).next().unwrap_or_default();
    if path != rules.path {
        return Err(Refusal::Path { found: path.into(), path: rules.path.clone() });
    }
    Ok(())
}

fn key<'a>(headers: &'a [Header<'_>]) -> Result<&'a str, Refusal> {
    let mut keys = values(headers, "Sec-WebSocket-Key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::Key) };
    match BASE64_STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err(Refusal::Key),
    }
}

/// The value of Sec-WebSocket-Accept.
pub(crate) fn proof(key: &str) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(KEY_SUFFIX.as_bytes());
    BASE64_STANDARD.encode(hash.digest().bytes())
}

fn check_origin(headers: &[Header<'_>], rules: &UpgradeRules) -> Result<(), Refusal> {
    if rules.origins.is_empty() {
        return Ok(());
    }
    let origin = values(headers, "Origin").next().ok_or(Refusal::NoOrigin)?;
    if rules.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return Ok(());
    }
    Err(Refusal::Origin(origin.into()))
}

/// The first of ours that the client offers, too ([MQTT-6.0.0-3]).
fn subprotocol<'a>(headers: &[Header<'_>], rules: &'a UpgradeRules) -> Result<&'a str, Refusal> {
    let is_offered = |ours: &&String| tokens(headers, "Sec-WebSocket-Protocol").any(|offered| offered == ours.as_str());
    match rules.subprotocols.iter().find(is_offered) {
        Some(chosen) => Ok(chosen), // [MQTT-6.0.0-4]
        None => Err(Refusal::Subprotocol(rules.subprotocols.join(", "))),
    }
}

/// Values that are text; others are no values to us.
fn values<'a>(headers: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| std::str::from_utf8(header.value).ok().map(str::trim))
}

fn tokens<'a>(headers: &'a [Header<'_>], name: &'static str) -> impl Iterator<Item = &'a str> {
    values(headers, name).flat_map(|value| value.split(',')).map(str::trim)
}

fn has_token(headers: &[Header<'_>], name: &'static str, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

impl Refusal {
    /// What the client is told; the connection ends with it.
    pub fn response(&self) -> String {
        let (status, header) = match self {
            Refusal::NotHttp(_) | Refusal::Key | Refusal::Subprotocol(_) => ("400 Bad Request", ""),
            Refusal::Origin(_) | Refusal::NoOrigin => ("403 Forbidden", ""),
            Refusal::Path { .. } => ("404 Not Found", ""),
            Refusal::Method => ("405 Method Not Allowed", "Allow: GET\r\n"),
            Refusal::NoUpgrade | Refusal::Version => {
                ("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
            }
            Refusal::TooLarge(_) | Refusal::TooManyHeaders => ("431 Request Header Fields Too Large", ""),
        };
        let body = format!("{self}\n");
        format!(
            "HTTP/1.1 {status}\r\n{header}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> UpgradeRules {
        UpgradeRules {
            path: "/mqtt".into(),
            origins: Vec::new(),
            subprotocols: vec!["mqtt".into(), "mqttv3.1".into()],
            head_bytes_max: 1024,
        }
    }

    /// The request of RFC 6455's example, with lines left out and put in.
    fn request(without: &str, with: &str) -> String {
        let lines = [
            "Host: server.example.com",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Protocol: chat, mqtt",
            "Sec-WebSocket-Version: 13",
        ];
        let kept = lines.into_iter().filter(|line| without.is_empty() || !line.starts_with(without));
        let all: Vec<_> = ["GET /mqtt HTTP/1.1"].into_iter().chain(kept).chain(with.lines()).collect();
        format!("{}\r\n\r\n", all.join("\r\n"))
    }

    fn refusal(request: &str, rules: &UpgradeRules) -> Refusal {
        match upgrade(request.as_bytes(), rules) {
            Upgrade::Refused(refusal) => refusal,
            other => panic!("{request} was answered with {other:?}"),
        }
    }

    /// [MQTT-6.0.0-4]
    #[test]
    fn the_example_of_the_rfc_gets_the_proof_of_the_rfc_and_a_subprotocol() {
        let request = request("", "X-Forwarded-For: 1.2.3.4, 5.6.7.8\nx-forwarded-for: 9.9.9.9");
        let with_frames = format!("{request}frames");
        let Upgrade::Accepted(accepted) = upgrade(with_frames.as_bytes(), &rules()) else { panic!("{request}") };
        assert!(accepted.response.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(accepted.response.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(accepted.response.ends_with("\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"));
        assert_eq!(accepted.request_len, request.len());
        assert_eq!(accepted.forwarded_for, ["1.2.3.4, 5.6.7.8", "9.9.9.9"]);
    }

    #[test]
    fn every_start_of_a_request_waits_for_the_rest() {
        let request = request("", "");
        for len in 0..request.len() {
            assert_eq!(upgrade(&request.as_bytes()[..len], &rules()), Upgrade::Incomplete, "{len}");
        }
    }

    #[test]
    fn the_best_subprotocol_that_is_offered_is_chosen() {
        let chosen = |offered: &str| {
            let request = request("Sec-WebSocket-Protocol", offered);
            match upgrade(request.as_bytes(), &rules()) {
                Upgrade::Accepted(accepted) => accepted
                    .response
                    .lines()
                    .find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ").map(str::to_owned)),
                _ => None,
            }
        };
        assert_eq!(chosen("Sec-WebSocket-Protocol: mqttv3.1").as_deref(), Some("mqttv3.1"));
        assert_eq!(chosen("Sec-WebSocket-Protocol: mqttv3.1,mqtt").as_deref(), Some("mqtt"));
        assert_eq!(chosen("Sec-WebSocket-Protocol: a\nSec-WebSocket-Protocol: mqtt").as_deref(), Some("mqtt"));
        assert_eq!(chosen("Sec-WebSocket-Protocol: MQTT"), None);
        assert_eq!(chosen("").as_deref(), None); // [MQTT-6.0.0-3]
    }

    #[test]
    fn what_is_no_upgrade_to_mqtt_is_told_why() {
        let get = |line: &str| request("", "").replacen("GET /mqtt HTTP/1.1", line, 1);
        let many = "A: b\n".repeat(HEADERS_MAX);
        let large = format!("A: {}", "b".repeat(1024));
        let cases = [
            ("\x10\x0c\0\x04MQTT".into(), "400", "not an HTTP request (it does not begin with a method)"),
            ("GET /mqtt HTTP/9\r\n\r\n".into(), "400", "not an HTTP request (invalid HTTP version)"),
            (get("POST /mqtt HTTP/1.1"), "405", "the method is not GET"),
            (get("GET / HTTP/1.1"), "404", "there is nothing at \"/\": WebSocket is at \"/mqtt\""),
            (get("GET /mqtt/ HTTP/1.1"), "404", "there is nothing at \"/mqtt/\""),
            (request("Upgrade", ""), "426", "not a WebSocket request"),
            (request("Connection", "Connection: close"), "426", "not a WebSocket request"),
            (request("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8"), "426", "only version 13"),
            (request("Sec-WebSocket-Key", ""), "400", "Sec-WebSocket-Key is missing"),
            (request("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="), "400", "Sec-WebSocket-Key is missing"),
            (request("", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), "400", "Sec-WebSocket-Key is missing"),
            (
                request("Sec-WebSocket-Protocol", ""),
                "400",
                "none of the subprotocols that are spoken is offered: mqtt, ",
            ),
            (request("", &many), "431", "the request has more than 64 headers"),
            (request("", &large), "431", "the request with its headers is above 1024 bytes"),
            (large, "431", "the request with its headers is above 1024 bytes"),
        ];
        for (request, status, why) in cases {
            let refusal = refusal(&request, &rules());
            let response = refusal.response();
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
            assert!(refusal.to_string().starts_with(why), "{refusal}");
            let (_, body) = response.split_once("\r\n\r\n").unwrap();
            assert!(response.contains(&format!("\r\nContent-Length: {}\r\n", body.len())) && body.starts_with(why));
        }
    }

    #[test]
    fn a_query_does_not_matter() {
        let request = request("", "").replacen("/mqtt ", "/mqtt?token=1 ", 1);
        assert!(matches!(upgrade(request.as_bytes(), &rules()), Upgrade::Accepted(_)));
    }

    #[test]
    fn with_a_list_of_origins_others_and_none_stay_out() {
        let rules = UpgradeRules { origins: vec!["https://app.example.com".into()], ..rules() };
        let allowed = request("", "Origin: https://APP.example.com");
        assert!(matches!(upgrade(allowed.as_bytes(), &rules), Upgrade::Accepted(_)));
        for (origin, why) in [
            ("Origin: https://evil.example.com", "the origin \"https://evil.example.com\" may not connect"),
            ("Origin: null", "the origin \"null\" may not connect"),
            ("", "there is no Origin, and only web pages of configured origins may connect"),
        ] {
            let refusal = refusal(&request("", origin), &rules);
            assert!(refusal.to_string() == why && refusal.response().starts_with("HTTP/1.1 403 "), "{refusal}");
        }
    }
}
