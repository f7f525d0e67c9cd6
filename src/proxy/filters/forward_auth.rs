//! `forward-auth`: what a service is asked, and what its answer means.
//!
//! ```text
//! request ──question──► head for the service        (asking: `full::auth_service`)
//! its answer ──read──► AuthAnswer, or nothing that says yes or no ──judge──► what the upstream is told · Verdict
//! ```

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, SET_COOKIE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Verdict;
use super::headers::rendered;
use crate::model::{AuthRefusal, ReturnTo, SetCookie};
use crate::proxy::fields;
use crate::snapshot::chain::Facts;
use crate::snapshot::forward_auth::{AuthAnswer, ForwardAuth};
use crate::snapshot::request::RequestView;

/// Of the body, which is not sent, or of what the client has of the answer already: a service that took these for its own could say
/// 304, which is neither yes nor no.
const OF_THE_MESSAGE: [HeaderName; 12] = [
    HOST,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    EXPECT,
    RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
];

/// Of the client's fields, those that the service sees.
pub fn asked_with(auth: &ForwardAuth, client: &HeaderMap) -> HeaderMap {
    let mut fields = match &auth.request_headers {
        None => client.clone(),
        Some(listed) => {
            let pairs = listed.iter().flat_map(|name| client.get_all(name).iter().map(move |value| (name, value)));
            pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
        }
    };
    for name in fields::named_by_connection(client) {
        fields.remove(name);
    }
    for name in fields::HOP_BY_HOP.iter().chain(&OF_THE_MESSAGE) {
        fields.remove(name);
    }
    fields
}

/// What the answer says; none where that is neither yes nor no.
pub fn read(auth: &ForwardAuth, status: u16, headers: &HeaderMap, body: Bytes) -> Option<AuthAnswer> {
    let all = |names: &[HeaderName]| -> Vec<(HeaderName, HeaderValue)> {
        let pairs = names.iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
        pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let cookies = headers.get_all(SET_COOKIE).iter().cloned().collect();
    let (fields, body) = match (status, auth.definition().refusal) {
        (200..=299, _) => (all(&auth.response_headers), Bytes::new()),
        (300..=499, AuthRefusal::Passed) => (all_but_the_connections(headers), body),
        (401, AuthRefusal::Own) => (all(&[WWW_AUTHENTICATE]), Bytes::new()),
        (403, AuthRefusal::Own) => (Vec::new(), Bytes::new()),
        _ => return None,
    };
    Some(AuthAnswer { status, fields, cookies, body })
}

/// Whether the service lets its answer be kept.
pub fn may_be_kept(headers: &HeaderMap) -> bool {
    let forbids = |value: &HeaderValue| {
        let mut directives = value.as_bytes().split(|b| *b == b',').map(<[u8]>::trim_ascii);
        directives.any(|directive| {
            [&b"no-store"[..], b"no-cache", b"private"].iter().any(|word| {
                let name = directive.split(|b| *b == b'=').next().unwrap_or_default();
                name.eq_ignore_ascii_case(word)
            })
        })
    };
    !headers.get_all(CACHE_CONTROL).iter().any(forbids)
}

fn all_but_the_connections(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let named = fields::named_by_connection(headers);
    let goes_on = |name: &HeaderName| {
        !fields::HOP_BY_HOP.contains(name) && !named.contains(name) && *name != CONTENT_LENGTH && *name != SET_COOKIE
    };
    headers.iter().filter(|(name, _)| goes_on(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// What the client is told who is not let in; none where it is. `original` is the URL that it asked for.
pub fn judge(
    auth: &ForwardAuth,
    answer: &AuthAnswer,
    original: &OriginalUrl<'_>,
    facts: &Facts<'_>,
) -> Option<Verdict> {
    match answer.status {
        200..=299 => None,
        401 if auth.definition().sign_in.is_some() => Some(to_sign_in(auth, original, facts)),
        status if auth.definition().refusal == AuthRefusal::Passed => {
            Some(Verdict::Passed { status, fields: answer.fields.clone(), body: answer.body.clone() })
        }
        401 => Some(Verdict::Refuse {
            status: 401,
            detail: "who you are must be known here",
            fields: answer.fields.clone(),
        }),
        status => Some(Verdict::refuse(status, "you may not come in here")),
    }
}

/// Nobody comes in.
pub fn failed(auth: &ForwardAuth) -> Verdict {
    Verdict::refuse(auth.definition().failure_status, "it cannot be found out who may come in: try again later")
}

/// Asking goes in circles.
pub const LOOP: Verdict = Verdict::refuse(508, "a question who may come in has come here itself");

/// Whether the client gets the service's cookies with an answer of this status.
pub fn passes_cookies(auth: &ForwardAuth, status: u16) -> bool {
    match auth.definition().set_cookie {
        SetCookie::Never => false,
        SetCookie::OnSuccess => status < 400,
        SetCookie::Always => true,
    }
}

/// What the client asked for.
pub struct OriginalUrl<'a> {
    pub scheme: &'static str,
    /// With the port, where one was named.
    pub authority: &'a str,
    /// Path and query as sent.
    pub target: &'a str,
}

impl OriginalUrl<'_> {
    pub fn to_header_value(&self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("{}://{}{}", self.scheme, self.authority, self.target)).ok()
    }

    /// As ingress-nginx writes it: what could end the parameter stands in the target alone.
    fn escaped(&self, told: ReturnTo) -> String {
        let mut escaped = match told {
            ReturnTo::Url => format!("{}://{}", self.scheme, self.authority),
            ReturnTo::Uri => String::new(),
        };
        for byte in self.target.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
                other => escaped.push_str(&format!("%{other:02X}")),
            }
        }
        escaped
    }
}

fn to_sign_in(auth: &ForwardAuth, original: &OriginalUrl<'_>, facts: &Facts<'_>) -> Verdict {
    let location = auth.definition().sign_in.as_ref().and_then(|sign_in| {
        let mut url = rendered(&sign_in.url, facts)?;
        if let Some(parameter) = &sign_in.parameter {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(&format!("{parameter}={}", original.escaped(sign_in.told)));
        }
        HeaderValue::try_from(url).ok()
    });
    match location {
        Some(location) => Verdict::Redirect { status: 302, location },
        None => Verdict::refuse(401, "who you are must be known here"),
    }
}

/// For `explain`, which asks nobody.
pub fn in_words(auth: &ForwardAuth, request: &RequestView<'_>) -> String {
    let definition = auth.definition();
    let service = &definition.service;
    // Whatever the route is: it tells nobody.
    let kept = match auth.key_of(request, "") {
        Some(_) => "; its answer may be kept already",
        None => "",
    };
    let host = service.host.as_deref().unwrap_or(request.host);
    format!("asks {} {}{} at upstream {}{kept}", definition.method, host, service.target, service.upstream)
}
