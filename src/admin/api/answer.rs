//! The shapes of answers, and of what is asked.

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::net::operator::OperatorError;

/// `{"code": "NOT_FOUND", "message": "…"}` with its status.
#[derive(Debug)]
pub(in crate::admin) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'a str,
    message: &'a str,
}

impl ApiError {
    pub(in crate::admin) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { code: self.code, message: &self.message })).into_response()
    }
}

impl From<OperatorError> for ApiError {
    fn from(error: OperatorError) -> Self {
        let (status, code) = match error {
            OperatorError::NotFound => (StatusCode::NOT_FOUND, "CLIENTID_NOT_FOUND"),
            OperatorError::NotConnected => (StatusCode::CONFLICT, "CLIENT_NOT_CONNECTED"),
            OperatorError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "BUSY"),
        };
        ApiError::new(status, code, error.to_string())
    }
}

/// The query of a request; a mistake in it is answered as errors are here.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(params)| Params(params))
            .map_err(|rejection| ApiError::bad_request(rejection.body_text()))
    }
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    page: usize,
    pub(super) limit: usize,
}

const LIMIT_DEFAULT: usize = 100;
/// An answer stays a few megabytes.
const LIMIT_MAX: usize = 10_000;

impl Page {
    pub(super) fn new(page: Option<usize>, limit: Option<usize>) -> Result<Page, ApiError> {
        let (page, limit) = (page.unwrap_or(1), limit.unwrap_or(LIMIT_DEFAULT));
        if page == 0 || !(1..=LIMIT_MAX).contains(&limit) {
            return Err(ApiError::bad_request(format!("page starts at 1, and limit is from 1 to {LIMIT_MAX}")));
        }
        Ok(Page { page, limit })
    }

    pub(super) fn skip(&self) -> usize {
        (self.page - 1).saturating_mul(self.limit)
    }

    /// `count`: how many there are on all pages.
    pub(super) fn list<T>(&self, data: Vec<T>, count: usize) -> Json<List<T>> {
        let hasnext = count > self.skip().saturating_add(data.len());
        Json(List { data, meta: Meta { page: self.page, limit: self.limit, count, hasnext } })
    }
}

#[derive(Serialize)]
pub(super) struct List<T> {
    data: Vec<T>,
    meta: Meta,
}

#[derive(Serialize)]
struct Meta {
    page: usize,
    limit: usize,
    count: usize,
    hasnext: bool,
}
