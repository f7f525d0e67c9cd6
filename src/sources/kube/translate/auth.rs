//! Who may come in, by password or by somebody else's word, and what backends are shown.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::backend::is_here;
use super::context::Context;
use super::report::Reason;
use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    AskedWith, AuthCache, AuthCacheKey, AuthRefusal, AuthService, BasicAuth, ClientCertificate, EndpointAddress,
    EndpointSpec, FilterKind, ForwardAuth, ForwardCredentials, HeaderTemplate, ReturnTo, SetCookie, SignIn,
    UpstreamName, UpstreamTls, Verify,
};
use crate::sources::asked_upstream::asked_upstream;
use crate::sources::kube::annotations::value::{field_name, quoted};
use crate::sources::kube::annotations::{AuthSecretKind, ForwardAuthing, Policy};
use crate::sources::kube::snippet;
use crate::sources::kube::state::{AUTHORITIES, CERTIFICATE, Ingress, PRIVATE_KEY, SecretBytes};

/// What cannot be built closes the policy.
pub fn filters(cx: &mut Context<'_>, ingress: &Arc<Ingress>, policy: &mut Policy) -> Vec<FilterKind> {
    let mut filters = Vec::new();
    if policy.closed.is_some() {
        return filters;
    }
    let basic = policy.basic_auth.is_on.then(|| basic_auth(cx, ingress, policy));
    let own = policy.forward_auth.url.is_some();
    let global =
        !own && policy.forward_auth.enable_global != Some(false) && cx.options.global_auth.forward_auth.url.is_some();
    let forward = (own || global).then(|| match own {
        true => {
            let fields = told_fields(cx, ingress, &policy.forward_auth)?;
            forward_auth(cx, &format!("ingress:{}", ingress.key), &policy.forward_auth, fields)
        }
        false => {
            let asked = &cx.options.global_auth.forward_auth;
            forward_auth(cx, "global", asked, asked.set_fields.clone())
        }
    });
    for (key, built) in [("auth-secret", basic), ("auth-url", forward)] {
        match built {
            Some(Ok(filter)) => filters.push(filter),
            Some(Err(message)) => {
                let path = cx.annotation(key);
                cx.warn(ingress, Reason::RouteClosed, path, message.clone());
                policy.close(message);
            }
            None => {}
        }
    }
    filters
}

fn basic_auth(cx: &mut Context<'_>, ingress: &Ingress, policy: &Policy) -> Result<FilterKind, String> {
    let asked = &policy.basic_auth;
    let reference = asked.secret.as_ref().ok_or("no auth-secret says who may come in")?;
    let key = reference.within(&ingress.key.namespace)?;
    let secret = cx.secret(&key)?;
    let (file, content) = match asked.secret_kind {
        AuthSecretKind::File => (
            "auth",
            secret.bytes("auth").map_err(|reason| format!("the Secret {key} cannot be used: {reason}"))?.clone(),
        ),
        AuthSecretKind::Map => ("auth-map", users(&secret.data)),
    };
    if std::str::from_utf8(content.as_bytes()).is_err() {
        return Err(format!("the Secret {key} cannot be used: its users are not UTF-8"));
    }
    Ok(FilterKind::BasicAuth(BasicAuth {
        file: cx.material.add(&key, file, content),
        realm: asked.realm.clone().unwrap_or_default(),
        forward: ForwardCredentials::Omit,
    }))
}

/// Lines of users as `htpasswd` writes them. One that would be another's line is left out.
fn users(data: &BTreeMap<Arc<str>, SecretBytes>) -> SecretBytes {
    let mut lines = Vec::new();
    for (user, hash) in data {
        let hash = hash.as_bytes().trim_ascii();
        if !user.contains([':', '\n']) && !hash.contains(&b'\n') {
            lines.extend_from_slice(user.as_bytes());
            lines.push(b':');
            lines.extend_from_slice(hash);
            lines.push(b'\n');
        }
    }
    SecretBytes::new(lines)
}

type Fields = Vec<(Arc<str>, HeaderTemplate)>;

/// Of a ConfigMap, and above them those of the snippet.
fn told_fields(cx: &mut Context<'_>, ingress: &Ingress, asked: &ForwardAuthing) -> Result<Fields, String> {
    let mut fields = Fields::new();
    if let Some(reference) = &asked.set_headers {
        let key = reference.within(&ingress.key.namespace)?;
        let map = cx.config_map(&key).ok_or_else(|| format!("there is no ConfigMap {key}"))?;
        for (name, value) in &map.data {
            fields.push((field_name(name)?, snippet::template(value)?));
        }
    }
    fields.extend(asked.set_fields.iter().cloned());
    Ok(fields)
}

fn forward_auth(
    cx: &mut Context<'_>,
    place: &str,
    asked: &ForwardAuthing,
    set_headers: Fields,
) -> Result<FilterKind, String> {
    let cache = cache(asked)?;
    let service = service(cx, place, asked.url.as_deref().unwrap_or_default())?;
    let sign_in = asked.sign_in.as_ref().map(|page| {
        let own = page.parameter.clone();
        let (parameter, told) = own.unwrap_or_else(|| {
            let written = asked.redirect_parameter.clone();
            (written.unwrap_or_else(|| defaults::SIGN_IN_PARAMETER.into()), ReturnTo::Url)
        });
        SignIn { url: page.url.clone(), parameter: Some(parameter), told }
    });
    Ok(FilterKind::ForwardAuth(ForwardAuth {
        place: place.into(),
        service,
        method: asked.method.clone().unwrap_or_else(|| "GET".into()),
        timeout: TIMEOUT,
        request_headers: AskedWith::All,
        set_headers,
        response_headers: asked.response_headers.clone(),
        set_cookie: if asked.always_set_cookie { SetCookie::Always } else { SetCookie::OnSuccess },
        sign_in,
        refusal: AuthRefusal::Own,
        failure_status: defaults::FORWARD_AUTH_FAILURE_STATUS,
        cache,
    }))
}

/// ingress-nginx's `proxy-read-timeout` holds for the question, too.
const TIMEOUT: Duration = Duration::from_secs(60);

fn cache(asked: &ForwardAuthing) -> Result<Option<AuthCache>, String> {
    let Some(key) = &asked.cache_key else { return Ok(None) };
    let ttl = match &asked.cache_duration {
        Some(durations) => durations.iter().copied().collect(),
        None => [200, 202, 401].map(|status| (status, Duration::from_secs(300))).into(),
    };
    let max_entries = NonZeroUsize::try_from(defaults::AUTH_CACHE_ENTRIES).unwrap_or(NonZeroUsize::MIN);
    Ok(Some(AuthCache { key: cache_key(key)?, ttl, max_entries }))
}

/// As ingress-nginx keeps them: those of each host and location by themselves. Text between the variables tells nothing apart.
fn cache_key(text: &str) -> Result<Vec<AuthCacheKey>, String> {
    let refused = || format!("auth-cache-key: {} has something that answers cannot be kept by", quoted(text));
    let mut key = vec![AuthCacheKey::Host, AuthCacheKey::Route];
    for part in text.split('$').skip(1) {
        key.push(key_part(variable(part).ok_or_else(refused)?).ok_or_else(refused)?);
    }
    if text.contains('$') { Ok(key) } else { Err(refused()) }
}

/// The name that text behind a `$` begins with.
fn variable(text: &str) -> Option<&str> {
    match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}').map(|(name, _)| name),
        None => text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next(),
    }
}

fn key_part(name: &str) -> Option<AuthCacheKey> {
    let is_name = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    Some(match name {
        "remote_user" => AuthCacheKey::Header("authorization".into()),
        "remote_addr" | "binary_remote_addr" => AuthCacheKey::ClientIp,
        "host" | "http_host" => AuthCacheKey::Host,
        "uri" => AuthCacheKey::Path,
        "request_method" => AuthCacheKey::Method,
        _ => match name.split_once('_').filter(|(_, field)| is_name(field))? {
            ("http", field) => AuthCacheKey::Header(field.replace('_', "-").to_ascii_lowercase().into()),
            ("cookie", cookie) => AuthCacheKey::Cookie(cookie.into()),
            _ => return None,
        },
    })
}

fn service(cx: &mut Context<'_>, place: &str, url: &str) -> Result<AuthService, String> {
    let uri: http::Uri = url.parse().map_err(|_| format!("{} is no URL", quoted(url)))?;
    Ok(AuthService {
        upstream: upstream_of_url(cx, format!("forward-auth:{place}").into(), &uri)?,
        target: uri.path_and_query().map_or("/", |target| target.as_str()).into(),
        host: uri.authority().map(|authority| authority.as_str().into()),
    })
}

/// An upstream of its own. Names that lead here are found out when they are resolved.
pub fn upstream_of_url(cx: &mut Context<'_>, name: Arc<str>, uri: &http::Uri) -> Result<UpstreamName, String> {
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let address = EndpointAddress::parse(&format!("{host}:{port}"))?;
    let admin = cx.settings.process.admin.as_ref().map(|admin| admin.address.port());
    if let EndpointAddress::Ip(address) = &address
        && is_here(address.ip())
        && admin == Some(port)
    {
        return Err("Weir's own operation is not asked by this way".into());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let server_name = bare.parse::<std::net::IpAddr>().is_err().then(|| bare.into());
    // As ingress-nginx: encrypted, and not verified.
    let tls = is_tls.then_some(UpstreamTls { verify: Verify::Skip, server_name, ca: None, client_certificate: None });
    let upstream = UpstreamName::new(name.clone());
    let endpoints = vec![EndpointSpec { address, weight: defaults::WEIGHT, backup: false }];
    let make = || asked_upstream(upstream.clone(), Origin::builtin(), endpoints, tls, TIMEOUT);
    cx.others.entry(name).or_insert_with(make);
    Ok(upstream)
}

/// `proxy-ssl-*`: not verified unless that is asked for.
pub fn upstream_tls(cx: &mut Context<'_>, ingress: &Ingress, policy: &Policy) -> Result<UpstreamTls, String> {
    let asked = &policy.upstream_tls;
    let mut tls = UpstreamTls {
        verify: if asked.verify { Verify::Full } else { Verify::Skip },
        server_name: asked.name.clone(),
        ca: None,
        client_certificate: None,
    };
    let Some(reference) = &asked.secret else { return Ok(tls) };
    let key = reference.within(&ingress.key.namespace)?;
    let secret = cx.secret(&key)?.clone();
    let wrong = |reason: &str| format!("the Secret {key} cannot be used: {reason}");
    if secret.data.contains_key(AUTHORITIES) {
        let authorities = secret.authorities().map_err(|reason| wrong(&reason))?;
        tls.ca = Some(cx.material.add(&key, AUTHORITIES, authorities.clone()));
    }
    if secret.data.contains_key(CERTIFICATE) {
        secret.key_pair().map_err(wrong)?;
        let mut file = |name: &str| secret.bytes(name).map(|bytes| cx.material.add(&key, name, bytes.clone()));
        tls.client_certificate = Some(ClientCertificate {
            cert: file(CERTIFICATE).map_err(|reason| wrong(&reason))?,
            key: file(PRIVATE_KEY).map_err(|reason| wrong(&reason))?,
        });
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_kept_by_host_location_and_the_variables() {
        let header = |name: &str| AuthCacheKey::Header(name.into());
        let parts = |text: &str| cache_key(text).map(|key| key[2..].to_vec());
        assert_eq!(cache_key("$cookie_id").unwrap()[..2], [AuthCacheKey::Host, AuthCacheKey::Route]);
        for (text, expected) in [
            ("$remote_user$http_authorization", vec![header("authorization"), header("authorization")]),
            ("${http_authorization}v2${host}", vec![header("authorization"), AuthCacheKey::Host]),
            ("a-$http_x_user.$request_method", vec![header("x-user"), AuthCacheKey::Method]),
            ("${cookie_session}x$uri", vec![AuthCacheKey::Cookie("session".into()), AuthCacheKey::Path]),
        ] {
            assert_eq!(parts(text), Ok(expected), "{text}");
        }
        for text in ["", "constant", "$geoip", "$http_", "${http_a", "$", "${cookie_a-b}"] {
            assert!(cache_key(text).is_err(), "{text}");
        }
    }
}
