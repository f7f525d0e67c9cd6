//! What binds a request to an endpoint: a hash key, or the cookie that Weir gave the client.

use std::net::SocketAddr;
use std::time::Instant;

use crate::model::{HashKey, HashPart, LbPolicy, SameSite, Scheme, SecureCookie, StickyCookie};
use crate::snapshot::request::RequestView;
use crate::snapshot::upstream::{Endpoint, PickRequest, Upstream, address_key, hash_key};

/// Taken from the request once; every attempt uses it.
#[derive(Default)]
pub struct Affinity {
    pub key: Option<u64>,
    /// The sticky cookie's value, as the client sent it.
    pub sticky: Option<Box<[u8]>>,
}

impl Affinity {
    pub fn of(upstream: &Upstream, request: &RequestView<'_>) -> Self {
        let definition = upstream.definition();
        let key = match &definition.balance {
            LbPolicy::Hash(by) | LbPolicy::HashSubset(by, _) => key(by, request),
            LbPolicy::RoundRobin | LbPolicy::LeastConnections | LbPolicy::PeakEwma | LbPolicy::Random => None,
        };
        let sticky = definition.sticky.as_ref().and_then(|sticky| request.cookie(&sticky.name)).map(Box::from);
        Self { key, sticky }
    }

    /// The `Set-Cookie` that binds the client to the endpoint; none where it is bound to it already, or is here only
    /// because its own endpoint was full.
    pub fn cookie(
        &self,
        upstream: &Upstream,
        endpoint: &Endpoint,
        tried: &[SocketAddr],
        scheme: Scheme,
    ) -> Option<String> {
        let sticky = upstream.definition().sticky.as_ref()?;
        let value = endpoint.sticky_value();
        if self.sticky.as_deref() == Some(value.as_bytes()) {
            return None;
        }
        let request = PickRequest { sticky: self.sticky.as_deref(), exclude: tried, ..PickRequest::at(Instant::now()) };
        if request.sticky.is_some() && upstream.keeps_session(&request) {
            return None;
        }
        Some(set_cookie(sticky, value, scheme))
    }
}

fn key(by: &HashKey, request: &RequestView<'_>) -> Option<u64> {
    match by {
        HashKey::ClientIp => Some(address_key(request.client)),
        HashKey::Header(name) => request.headers.first(name).map(hash_key),
        HashKey::Cookie(name) => request.cookie(name).map(hash_key),
        HashKey::Path => Some(hash_key(request.path.as_bytes())),
        HashKey::Query(name) => request.query_parameter(name).map(|value| hash_key(value.as_bytes())),
        HashKey::Host => Some(hash_key(request.host.as_bytes())),
        HashKey::Uri => Some(hash_key(request.uri().as_bytes())),
        HashKey::Joined(parts) => {
            let mut text = Vec::new();
            parts.iter().for_each(|part| push(&mut text, part, request));
            Some(hash_key(&text))
        }
    }
}

fn push(text: &mut Vec<u8>, part: &HashPart, request: &RequestView<'_>) {
    let nothing = &b""[..];
    match part {
        HashPart::Text(literal) => text.extend_from_slice(literal.as_bytes()),
        HashPart::Key(HashKey::ClientIp) => text.extend_from_slice(request.client.to_string().as_bytes()),
        HashPart::Key(HashKey::Header(name)) => text.extend_from_slice(request.headers.first(name).unwrap_or(nothing)),
        HashPart::Key(HashKey::Cookie(name)) => text.extend_from_slice(request.cookie(name).unwrap_or(nothing)),
        HashPart::Key(HashKey::Path) => text.extend_from_slice(request.path.as_bytes()),
        HashPart::Key(HashKey::Query(name)) => {
            text.extend_from_slice(request.query_parameter(name).unwrap_or_default().as_bytes());
        }
        HashPart::Key(HashKey::Host) => text.extend_from_slice(request.host.as_bytes()),
        HashPart::Key(HashKey::Uri) => text.extend_from_slice(request.uri().as_bytes()),
        HashPart::Key(HashKey::Joined(parts)) => parts.iter().for_each(|part| push(text, part, request)),
    }
}

/// HttpOnly always: no script has business with it. Secure on TLS.
fn set_cookie(sticky: &StickyCookie, value: &str, scheme: Scheme) -> String {
    let mut cookie = format!("{}={value}; Path={}; HttpOnly", sticky.name, sticky.path);
    if let Some(domain) = &sticky.domain {
        cookie.push_str(&format!("; Domain={domain}"));
    }
    if let Some(max_age) = sticky.max_age {
        cookie.push_str(&format!("; Max-Age={}", max_age.as_secs()));
    }
    // A browser keeps what is Secure even where it came without TLS only on the machine itself; a proxy before us may have had it.
    let is_secure = scheme == Scheme::Https || sticky.secure == SecureCookie::Always;
    match (sticky.same_site, is_secure) {
        (SameSite::Strict, _) => cookie.push_str("; SameSite=Strict"),
        (SameSite::Lax, _) => cookie.push_str("; SameSite=Lax"),
        (SameSite::None, true) => cookie.push_str("; SameSite=None"),
        // Browsers drop `SameSite=None` without `Secure`; without either the cookie works as `Lax`.
        (SameSite::None, false) => {}
    }
    if is_secure {
        cookie.push_str("; Secure");
    }
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sticky_cookie_is_http_only_and_follows_the_scheme() {
        let sticky = StickyCookie {
            name: "weir".into(),
            max_age: Some(std::time::Duration::from_secs(60)),
            path: "/".into(),
            domain: None,
            same_site: SameSite::None,
            secure: SecureCookie::AsGiven,
        };
        assert_eq!(set_cookie(&sticky, "x", Scheme::Http), "weir=x; Path=/; HttpOnly; Max-Age=60");
        assert_eq!(
            set_cookie(&sticky, "x", Scheme::Https),
            "weir=x; Path=/; HttpOnly; Max-Age=60; SameSite=None; Secure"
        );
        let secure = StickyCookie {
            domain: Some("a.test".into()),
            max_age: None,
            same_site: SameSite::Lax,
            secure: SecureCookie::Always,
            ..sticky
        };
        assert_eq!(
            set_cookie(&secure, "x", Scheme::Http),
            "weir=x; Path=/; HttpOnly; Domain=a.test; SameSite=Lax; Secure"
        );
    }
}
