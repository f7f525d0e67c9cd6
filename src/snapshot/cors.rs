//! Cross-origin requests: who asks, and what a browser is told.
//!
//! ```text
//! preflight ──► Cors::preflight ──► 204, what may be sent        any answer ──► Cors::permission ──► who may read it
//! ```
//!
//! The fields that do not depend on the request are written once, when the chain is built.

use http::HeaderValue;

use super::request::RequestView;
use crate::model::{self, CorsOrigins, Credentials};

#[derive(Debug)]
pub struct Cors {
    definition: model::Cors,
    pub methods: Option<HeaderValue>,
    pub headers: Option<HeaderValue>,
    pub expose: Option<HeaderValue>,
    pub max_age: HeaderValue,
}

/// What a request's origin may do.
#[derive(Debug, PartialEq, Eq)]
pub enum Permission {
    /// Read the answer; this is `Access-Control-Allow-Origin`.
    Granted(HeaderValue),
    Refused,
    /// It comes from no other origin, or from no browser.
    NotAsked,
}

impl Cors {
    pub fn new(definition: model::Cors) -> Self {
        let list = |names: &[std::sync::Arc<str>]| match names {
            [] => None,
            // Names are checked where they are read.
            names => HeaderValue::try_from(names.join(", ")).ok(),
        };
        Self {
            methods: list(&definition.methods),
            headers: list(&definition.headers),
            expose: list(&definition.expose),
            max_age: HeaderValue::from(definition.max_age.as_secs()),
            definition,
        }
    }

    /// Whether the browser asks, before it sends a request, whether it may (Fetch §4.8).
    pub fn is_preflight(request: &RequestView<'_>) -> bool {
        request.method == "OPTIONS"
            && request.headers.first("origin").is_some()
            && request.headers.first("access-control-request-method").is_some()
    }

    pub fn permission(&self, origin: Option<&[u8]>) -> Permission {
        match (&self.definition.origins, origin) {
            // The same for everyone, so that shared caches may keep it.
            (CorsOrigins::Any, _) => Permission::Granted(HeaderValue::from_static("*")),
            (CorsOrigins::Listed(_), None) => Permission::NotAsked,
            (CorsOrigins::Listed(patterns), Some(origin)) => {
                let allowed = std::str::from_utf8(origin)
                    .is_ok_and(|origin| patterns.iter().any(|pattern| pattern.matches(origin)));
                match HeaderValue::from_bytes(origin) {
                    Ok(value) if allowed => Permission::Granted(value),
                    Ok(_) | Err(_) => Permission::Refused,
                }
            }
        }
    }

    /// Whether the answer differs by origin, so that caches must tell them apart.
    pub fn varies(&self) -> bool {
        match self.definition.origins {
            CorsOrigins::Any => false,
            CorsOrigins::Listed(_) => true,
        }
    }

    pub fn allows_credentials(&self) -> bool {
        self.definition.credentials == Credentials::Allow
    }
}
