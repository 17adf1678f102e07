use std::net::TcpStream;

use crate::support::{TestBroker, get, request};

const ADMIN: &str = "[admin]\nhttp = \"127.0.0.1:0\"";

#[test]
fn a_broker_that_serves_is_alive_and_ready() {
    let broker = TestBroker::start(ADMIN);
    for path in ["/livez", "/readyz", "/health"] {
        let answer = get(broker.admin(), path);
        assert_eq!((answer.code, answer.body.as_str()), (200, "ok\n"), "{path}");
    }
}

#[test]
fn status_says_in_words_how_the_broker_does() {
    let broker = TestBroker::start(ADMIN);
    let answer = get(broker.admin(), "/status");
    assert_eq!(answer.code, 200);
    assert!(answer.body.starts_with(concat!("midge ", env!("CARGO_PKG_VERSION"), " is running\n")), "{}", answer.body);
}

#[test]
fn what_is_not_there_is_not_found_and_reading_is_all_that_is_allowed() {
    let broker = TestBroker::start(ADMIN);
    assert_eq!(get(broker.admin(), "/nothing").code, 404);
    assert_eq!(request(broker.admin(), "POST", "/metrics").code, 405);
}

#[test]
fn without_an_address_nothing_is_served_and_a_stop_closes_it() {
    // An address of its own: on 127.0.0.1 another test's broker may take the port as soon as it is free.
    let mut broker = TestBroker::start("[admin]\nhttp = \"127.77.1.1:0\"");
    let address = broker.admin();
    broker.stop();
    assert!(TcpStream::connect(address).is_err());
}
