//! HTTP/1.1 as its own bytes: one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, "GET", path)
}

pub fn request(address: SocketAddr, method: &str, path: &str) -> Answer {
    request_with(address, method, path, &["host: 127.0.0.1"])
}

/// With headers of the caller's.
pub fn request_with(address: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let stream = TcpStream::connect(address).expect("HTTP is served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    exchange(stream, method, path, headers)
}

fn exchange(mut stream: impl Read + Write, method: &str, path: &str, headers: &[&str]) -> Answer {
    let headers = headers.join("\r\n");
    let head = format!("{method} {path} HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("the request is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    Answer { code, head: head.to_lowercase(), body: body.into() }
}
