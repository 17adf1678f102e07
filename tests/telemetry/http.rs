//! HTTP for operators, and those who keep it waiting.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::{PATIENCE, TestBroker, get};

/// As `admin::server` has it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A client that has said something, and then keeps the broker waiting.
fn slow(broker: &TestBroker, says: &str) -> TcpStream {
    let mut stream = TcpStream::connect(broker.admin()).expect("HTTP is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.write_all(says.as_bytes()).expect("it is taken");
    stream
}

/// What comes up to the end, whether in order or not.
fn heard(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8(heard).expect("text")
}

#[test]
fn whoever_says_nothing_or_says_it_slowly_is_closed_after_half_a_minute() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"");
    let silent = slow(&broker, "");
    let half = slow(&broker, "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ");
    let mut late = slow(&broker, "GET /livez HTTP/1.1\r\n");
    // Connections are accepted in their order: once this one is answered, the time of the others runs.
    assert_eq!(get(broker.admin(), "/livez").code, 200);
    broker.clock.advance(REQUEST_TIMEOUT - MILLISECOND);
    late.write_all(b"host: 127.0.0.1\r\n\r\n").expect("there is time left");
    assert!(heard(late).starts_with("HTTP/1.1 200 "));
    broker.clock.advance(MILLISECOND);
    assert_eq!((heard(silent), heard(half)), (String::new(), String::new()));
    assert_eq!(get(broker.admin(), "/livez").code, 200);
}

#[test]
fn one_connection_is_for_one_request() {
    let broker = TestBroker::start("[admin]\nhttp = \"127.0.0.1:0\"");
    let request = "GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let answer = heard(slow(&broker, &request.repeat(2))).to_lowercase();
    assert_eq!(answer.matches("http/1.1 200 ").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}
