//! HTTP to the broker, over its Unix socket: one request a connection.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::error::CtlError;

pub(super) struct Client {
    path: PathBuf,
}

/// A broker with a million sessions takes seconds to list them.
const PATIENCE: Duration = Duration::from_secs(30);
/// As many as one answer holds.
const PAGE_LIMIT: usize = 10_000;

impl Client {
    pub(super) fn new(path: PathBuf) -> Self {
        Client { path }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, CtlError> {
        self.request(Method::GET, path).await
    }

    /// `Null` when there is nothing to say but that it is done.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, CtlError> {
        self.request(Method::DELETE, path).await
    }

    /// The first `limit` of a list; says on standard error when there are more.
    pub(super) async fn list(
        &self,
        path: &str,
        parameters: &[(&str, Option<&str>)],
        limit: usize,
    ) -> Result<Vec<Value>, CtlError> {
        let mut query = String::new();
        for (name, value) in parameters {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", encoded(value));
            }
        }
        let page_limit = limit.clamp(1, PAGE_LIMIT);
        let mut rows = Vec::new();
        for page in 1.. {
            let mut answer = self.get(&format!("{path}?page={page}&limit={page_limit}{query}")).await?;
            let Value::Array(data) = answer["data"].take() else { return Err(self.strange()) };
            rows.extend(data);
            let has_next = answer["meta"]["hasnext"] == true;
            if rows.len() >= limit || !has_next {
                tell_of_more(rows.len().min(limit), &answer["meta"]["count"]);
                break;
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    async fn request(&self, method: Method, path: &str) -> Result<Value, CtlError> {
        let exchange = tokio::time::timeout(PATIENCE, self.exchange(method, path));
        let (status, body) = exchange.await.map_err(|_| CtlError::Silent { path: self.path.clone() })??;
        let answer = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).map_err(|_| self.strange())?,
        };
        match (status, answer["message"].as_str()) {
            (status, _) if status.is_success() => Ok(answer),
            (StatusCode::NOT_FOUND, Some(message)) => Err(CtlError::NotThere(message.into())),
            (_, Some(message)) => Err(CtlError::Refused(message.into())),
            (_, None) => Err(self.strange()),
        }
    }

    async fn exchange(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), CtlError> {
        let socket = UnixStream::connect(&self.path).await;
        let socket = socket.map_err(|error| CtlError::NoBroker { path: self.path.clone(), error })?;
        let cut = |error| CtlError::Cut { path: self.path.clone(), error };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(cut)?;
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v5/{path}"))
            .header(HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|error| CtlError::Refused(error.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            drop(sender);
            Ok((status, body))
        };
        let (answer, _) = tokio::join!(answer, connection);
        answer.map_err(cut)
    }

    fn strange(&self) -> CtlError {
        CtlError::Strange { path: self.path.clone() }
    }
}

fn tell_of_more(shown: usize, count: &Value) {
    if count.as_u64().is_some_and(|count| count > shown as u64) {
        eprintln!("{shown} of {count} shown: --limit shows more");
    }
}

/// For a place in a path or a query: everything but letters, digits and `-._~` as `%XX`.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_filters_are_one_segment_of_a_path() {
        assert_eq!(encoded("plant/7 #1?%&é"), "plant%2F7%20%231%3F%25%26%C3%A9");
        assert_eq!(encoded("pump-7_a.b~c"), "pump-7_a.b~c");
    }
}
