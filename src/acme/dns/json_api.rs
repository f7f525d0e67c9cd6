//! An HTTP API that speaks JSON and knows its callers by a bearer token.
//!
//! ```text
//! method, path, token, body ──► HttpClient ──► status, body        what an error looks like, each provider knows
//! ```

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;

use crate::acme::storage::Secret;
use crate::http_client::HttpClient;

pub struct JsonApi {
    http: HttpClient,
    base: Arc<str>,
}

/// One request; `path` follows the API's base, with its query.
pub struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub token: &'a Secret,
    pub body: Option<Value>,
}

impl JsonApi {
    pub fn new(http: HttpClient, base: &Arc<str>) -> Self {
        Self { http, base: base.trim_end_matches('/').into() }
    }

    pub async fn send(&self, call: Call<'_>) -> Result<(StatusCode, Bytes), String> {
        let body = call.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header(header::AUTHORIZATION, format!("Bearer {}", call.token.expose()))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(body)
            .map_err(|error| format!("{}: no request can be made: {error}", self.base))?;
        let answer = self.http.send(request).await.map_err(|error| format!("{}: {error}", self.base))?;
        Ok((answer.status(), answer.into_body()))
    }

    /// Something that is no answer of this API.
    pub fn unreadable(&self, status: StatusCode) -> String {
        format!("{}: the answer ({}) is not what this API says; is the address right?", self.base, status.as_u16())
    }
}

/// For a value of a query or a form (RFC 3986 §2.3).
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
