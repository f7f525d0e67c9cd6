//! `forward-auth`. A URL becomes an upstream of its own, so that it is resolved, pooled and bounded as every other.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use super::{Lowering, headers};
use crate::defaults;
use crate::model::{
    AskedWith, AuthCache, AuthCacheKey, AuthRefusal, AuthService, EndpointAddress, EndpointSpec, ForwardAuth,
    HeaderTemplate, SetCookie, SignIn, TemplatePart, UpstreamName, UpstreamTls,
};
use crate::sources::asked_upstream::asked_upstream;
use crate::sources::config::decode::{Field, List, OneOrList, Table};
use crate::sources::config::findings::Place;
use crate::sources::config::shapes::{self, TextOrOff, scalar};
use crate::sources::config::tree::{NodeId, abridged};

/// `level` is where it stands, as `route:api`.
pub fn forward_auth(cx: &Lowering, at: NodeId, shape: shapes::ForwardAuth, level: &str) -> ForwardAuth {
    let timeout = shape.timeout.scalar_or(defaults::FORWARD_AUTH_TIMEOUT);
    let keys = ServiceKeys { url: shape.url, ca: shape.ca, upstream: shape.upstream, path: shape.path };
    let service = service(cx, at, keys, level, timeout);
    let named = |written: Field<List<scalar::HeaderName>>| names(cx, written);
    ForwardAuth {
        place: level.into(),
        service: AuthService { host: shape.host.scalar().or(service.host), ..service },
        method: shape.method.scalar_or(defaults::FORWARD_AUTH_METHOD.into()),
        timeout,
        request_headers: match shape.request_headers {
            Field::Absent => AskedWith::All,
            written => AskedWith::Listed(named(written)),
        },
        set_headers: headers::fields(cx, shape.set_headers),
        response_headers: named(shape.response_headers),
        set_cookie: match shape.set_cookie.value() {
            Some(shapes::SetCookie::Never) => SetCookie::Never,
            Some(shapes::SetCookie::OnSuccess) => SetCookie::OnSuccess,
            Some(shapes::SetCookie::Always) => SetCookie::Always,
            None => defaults::AUTH_SET_COOKIE,
        },
        sign_in: sign_in(cx, shape.sign_in, shape.sign_in_redirect_param),
        refusal: match shape.pass_answer.value() {
            Some(true) => AuthRefusal::Passed,
            Some(false) => AuthRefusal::Own,
            None => defaults::AUTH_REFUSAL,
        },
        failure_status: shape.failure_status.scalar_or(defaults::FORWARD_AUTH_FAILURE_STATUS),
        cache: shape.cache.given().and_then(|(at, shape)| cache(cx, at, shape)),
    }
}

struct ServiceKeys {
    url: Field<scalar::Url>,
    ca: Field<scalar::FilePath>,
    upstream: Field<String>,
    path: Field<scalar::ProbePath>,
}

fn service(cx: &Lowering, at: NodeId, keys: ServiceKeys, level: &str, timeout: Duration) -> AuthService {
    let written = [("url", keys.url.key()), ("upstream", keys.upstream.key())];
    if cx.only_one(&written) == 0 {
        let help = "write url: http://127.0.0.1:4180/verify, or upstream: the name of one";
        cx.missing(at, &["url", "upstream"], "nothing says whom to ask", help);
    }
    if let Some((at, name)) = keys.upstream.given() {
        if let Some(place) = keys.ca.key() {
            let help = "write it at the upstream, as tls: { ca: … }";
            cx.error_with(place, "\"ca\" says whom to trust behind \"url\"", help);
        }
        cx.upstreams.resolve(cx, at, &name);
        let target = keys.path.scalar_or(defaults::FORWARD_AUTH_PATH.into());
        return AuthService { upstream: UpstreamName::new(name), target, host: None };
    }
    if let (Some(place), Field::Given(..)) = (keys.path.key(), &keys.url) {
        cx.error_with(place, "\"path\" belongs to \"upstream\"", "write the path into the url");
    }
    match keys.url.given() {
        Some((at, url)) => of_url(cx, at, &url.0, keys.ca, level, timeout),
        // It has been reported: no such model is served.
        None => AuthService { upstream: UpstreamName::new(""), target: "/".into(), host: None },
    }
}

fn of_url(
    cx: &Lowering,
    at: NodeId,
    url: &str,
    ca: Field<scalar::FilePath>,
    level: &str,
    timeout: Duration,
) -> AuthService {
    // No name that is written has a colon.
    let name = UpstreamName::new(format!("forward-auth:{level}"));
    let uri: http::Uri = url.parse().unwrap_or_default();
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        let help = "leave it out; what the client sends is what the service goes by";
        cx.error_with(at.value(), "a user name in the url is sent to nobody", help);
    }
    let address = EndpointAddress::parse(&format!("{host}:{port}"));
    let endpoints = match address {
        Ok(address) => vec![EndpointSpec { address, weight: defaults::WEIGHT, backup: false }],
        Err(message) => {
            cx.error(at.value(), message);
            Vec::new()
        }
    };
    let ca = match (is_tls, ca) {
        (false, Field::Given(at, _)) => {
            cx.error_with(
                at.key(),
                "there is no certificate to verify: the url is http",
                "write https, or take it out",
            );
            None
        }
        (_, ca) => ca.scalar().map(|path| cx.file(path)),
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let server_name = bare.parse::<std::net::IpAddr>().is_err().then(|| bare.into());
    let tls = is_tls.then_some(UpstreamTls { verify: defaults::VERIFY, server_name, ca, client_certificate: None });
    let origin = cx.findings.origin(at.value());
    cx.services.borrow_mut().push(asked_upstream(name.clone(), origin, endpoints, tls, timeout));
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let authority = uri.authority().map(|authority| authority.as_str().into());
    AuthService { upstream: name, target: target.into(), host: authority }
}

fn names(cx: &Lowering, written: Field<List<scalar::HeaderName>>) -> Vec<Arc<str>> {
    let names = written.value().unwrap_or_default().into_iter().filter_map(Field::given);
    names.filter_map(|(at, name)| headers::checked_name(cx, at.value(), &name.0)).collect()
}

fn sign_in(cx: &Lowering, url: Field<scalar::Template>, parameter: Field<TextOrOff>) -> Option<SignIn> {
    if let (Field::Absent, Some(place)) = (&url, parameter.key()) {
        let help = "write sign-in: https://…, or take it out";
        cx.error_with(place, "\"sign-in-redirect-param\" belongs to \"sign-in\"", help);
    }
    let (at, scalar::Template(url)) = url.given()?;
    check_sign_in(cx, at.value(), &url);
    let parameter = match parameter.given() {
        None => Some(defaults::SIGN_IN_PARAMETER.into()),
        Some((_, TextOrOff::Off)) => None,
        Some((at, TextOrOff::Text(scalar::HeaderValue(name)))) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_plain) {
                let message = format!("\"{}\" cannot name a parameter of a query", abridged(&name));
                cx.error_with(at.value(), message, "use letters, digits, hyphens, dots and underscores");
            }
            Some(name)
        }
    };
    Some(SignIn { url, parameter, told: Default::default() })
}

fn check_sign_in(cx: &Lowering, place: Place, url: &HeaderTemplate) {
    let beginning = match url.0.first() {
        Some(TemplatePart::Text(text)) => text,
        Some(TemplatePart::Variable(_)) | None => "",
    };
    let is_url = ["http://", "https://", "${scheme}"].iter().any(|scheme| beginning.starts_with(scheme));
    let begins_with_scheme = matches!(url.0.first(), Some(TemplatePart::Variable(crate::model::Variable::Scheme)));
    let is_path = beginning.starts_with('/') && !beginning.starts_with("//");
    if !is_url && !is_path && !begins_with_scheme {
        let help = "write it as https://auth.example.org/start, or as a path of the same host";
        cx.error_with(place, "this is no URL to send a client to", help);
    }
}

fn cache(cx: &Lowering, at: NodeId, shape: shapes::AuthCache) -> Option<AuthCache> {
    let key = cx.required(shape.key, at, "key", "key: { header: Authorization }, or a list of what is decided by");
    let ttl = cx.required(shape.ttl, at, "ttl", "ttl: { 200: 5m }");
    Some(AuthCache {
        key: key.map(|(at, parts)| self::key(cx, at, parts)).unwrap_or_default(),
        ttl: ttl.map(|(at, table)| self::ttl(cx, at, table)).unwrap_or_default(),
        max_entries: entries(shape.max_entries.scalar_or(defaults::AUTH_CACHE_ENTRIES)),
    })
}

fn entries(count: NonZeroU32) -> NonZeroUsize {
    NonZeroUsize::try_from(count).unwrap_or(NonZeroUsize::MIN)
}

fn key(cx: &Lowering, at: NodeId, written: OneOrList<shapes::AuthCacheKey>) -> Vec<AuthCacheKey> {
    let parts: Vec<_> = match written {
        OneOrList::One(part) => vec![key_part(part)],
        OneOrList::List(parts) => parts.into_iter().filter_map(Field::value).map(key_part).collect(),
    };
    if parts.is_empty() {
        let help = "name what the service decides by, as { header: Authorization }";
        cx.error_with(
            at.value(),
            "an empty list tells no requests apart, so that one answer would be everybody's",
            help,
        );
    }
    parts
}

fn key_part(shape: shapes::AuthCacheKey) -> AuthCacheKey {
    match shape {
        shapes::AuthCacheKey::ClientIp => AuthCacheKey::ClientIp,
        shapes::AuthCacheKey::Host => AuthCacheKey::Host,
        shapes::AuthCacheKey::Method => AuthCacheKey::Method,
        shapes::AuthCacheKey::Path => AuthCacheKey::Path,
        shapes::AuthCacheKey::Header(name) => AuthCacheKey::Header(name.0.to_ascii_lowercase().into()),
        shapes::AuthCacheKey::Cookie(name) => AuthCacheKey::Cookie(name.0),
    }
}

fn ttl(cx: &Lowering, at: NodeId, Table(entries): Table<scalar::Timeout>) -> BTreeMap<u16, Duration> {
    if entries.is_empty() {
        cx.error_with(at.value(), "no answer is kept", "write how long, as { 200: 5m }");
    }
    let mut ttl = BTreeMap::new();
    for (status, field) in entries {
        let Some((at, scalar::Timeout(time))) = field.given() else { continue };
        let known = status.parse().ok().filter(|code| matches!(code, 200..=299 | 401 | 403));
        match known {
            Some(code) => drop(ttl.insert(code, time)),
            None => {
                let message = format!("\"{}\" is no answer that is kept", abridged(&status));
                cx.error_with(at.key(), message, "write 401, 403, or one from 200 to 299");
            }
        }
    }
    ttl
}
