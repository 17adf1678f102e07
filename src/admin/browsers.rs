//! Keeps web pages out of an API that trusts everybody on this machine.
//!
//! A browser runs strangers' code on the operator's machine. It says where a page came from when the page writes
//! (`Origin`), and by which name it believes to reach this address (`Host`): a name of somebody else's that was pointed
//! here (DNS rebinding) is none of ours.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::api::ApiError;

pub(super) async fn keep_out(request: Request, next: Next) -> Response {
    if may_be_a_page(request.headers()) {
        let message = "the API is not for web pages: use an address or localhost, and send no Origin";
        return ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", message).into_response();
    }
    next.run(request).await
}

fn may_be_a_page(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or_default());
    headers.contains_key(ORIGIN) || host.is_some_and(|host| !is_this_machine(host))
}

/// Whether it is an address, or the one name that nobody else can have; a port may follow.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_this_machine_and_other_names_are_not() {
        for host in ["127.0.0.1:8888", "127.0.0.1", "[::1]:8888", "[::1]", "localhost", "LocalHost:80", "10.0.0.7"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8888", "127.0.0.1.evil.example", "localhost.evil", "", "[evil]:1"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
