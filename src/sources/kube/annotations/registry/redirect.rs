//! Where requests are sent: rewrites of paths, and redirects.

use std::sync::Arc;

use crate::model::Scheme;
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Annotation, Destination, Kind};

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "rewrite-target",
        Kind::Text,
        1,
        "The URI that the backend gets, with the path's captures as `$1`. An absolute URL is a redirect (302). Where it differs from \
         the path, every path of the host becomes a case-insensitive pattern",
        |policy, text| {
            policy.rewrite.target = Some(uri(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "use-regex",
        Kind::Boolean,
        1,
        "Every path of the host is a case-insensitive pattern (linear time: no look-around, no back references), the longest first",
        |policy, text| {
            policy.rewrite.use_regex = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set("app-root", Kind::Text, 1, "`/` redirects there (302)", |policy, text| {
        let path = uri(text)?;
        match path.starts_with('/') && !path.starts_with("//") {
            true => policy.rewrite.app_root = Some(path),
            false => return Err(format!("{} is no path; begin it with a slash", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set(
        "ssl-redirect",
        Kind::Boolean,
        1,
        "Plain requests are redirected to https (308) where the host has a certificate. The default is the global option's: true",
        |policy, text| {
            policy.redirect.ssl = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "force-ssl-redirect",
        Kind::Boolean,
        1,
        "Plain requests are redirected to https (308) whatever the host has",
        |policy, text| {
            policy.redirect.force_ssl = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "preserve-trailing-slash",
        Kind::Boolean,
        1,
        "The redirect to https keeps a slash at the URI's end, which it drops by default",
        |policy, text| {
            policy.redirect.preserve_trailing_slash = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "permanent-redirect",
        Kind::Url,
        1,
        "Every request is redirected there (301). `$scheme`, `$host` and `$request_uri` may stand in it",
        |policy, text| {
            policy.redirect.permanent = Some(destination(text)?);
            Ok(())
        },
    ),
    Annotation::set("permanent-redirect-code", Kind::Number, 1, "Instead of 301: 300 to 308", |policy, text| {
        policy.redirect.permanent_code = Some(value::status(text, 300, 308)?);
        Ok(())
    }),
    Annotation::set(
        "temporal-redirect",
        Kind::Url,
        1,
        "As permanent-redirect, with 302; where both are written, this one counts",
        |policy, text| {
            policy.redirect.temporal = Some(destination(text)?);
            Ok(())
        },
    ),
    Annotation::set("temporal-redirect-code", Kind::Number, 1, "Instead of 302: 300 to 307", |policy, text| {
        policy.redirect.temporal_code = Some(value::status(text, 300, 307)?);
        Ok(())
    }),
    Annotation::set(
        "from-to-www-redirect",
        Kind::Boolean,
        2,
        "The host's other form, with or without `www.`, redirects to it (308), unless an Ingress has that host itself",
        |policy, text| {
            policy.redirect.from_to_www = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "relative-redirects",
        Kind::Boolean,
        2,
        "The redirect from `/foo` to `/foo/` has a path alone as its Location",
        |policy, text| {
            policy.redirect.relative = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "use-port-in-redirects",
        Kind::Boolean,
        3,
        "The redirect to https names the port that HTTPS listens on. Others name the port that the request names, with or without this",
        |policy, text| {
            policy.redirect.use_port = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-redirect-from",
        Kind::Text,
        3,
        "The beginning of backends' Location that is replaced by proxy-redirect-to, or `~` and a pattern; `off` and `default`: none",
        |policy, text| {
            policy.response.redirect_from = Some(value::field_value(text.trim())?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-redirect-to",
        Kind::Text,
        3,
        "What stands in its place; `$scheme`, `$host` and their like may stand in it, or a pattern's captures",
        |policy, text| {
            policy.response.redirect_to = Some(value::field_value(text.trim())?);
            Ok(())
        },
    ),
];

/// Of visible ASCII: it goes into a request line, or into a header.
fn uri(text: &str) -> Read<Arc<str>> {
    let text = text.trim();
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.into()),
        false => Err(format!("{} has spaces or other bytes that no URI has", quoted(text))),
    }
}

/// A URL, in which few of nginx's variables may stand.
pub fn destination(text: &str) -> Read<Destination> {
    let url = uri(text)?;
    let wrong = || format!("{} is no URL to redirect to; write it as \"https://www.example.org/path\"", quoted(text));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let scheme = match scheme {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        "$scheme" => None,
        _ => return Err(wrong()),
    };
    let end = rest.find(['/', '?']).or_else(|| rest.find("$request_uri")).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| wrong())?)),
        Some(_) | None => (authority, None),
    };
    let host = match host {
        "$host" | "$http_host" | "$best_http_host" => None,
        _ => match crate::model::HostName::parse(host) {
            Ok(crate::model::HostName::Exact(name)) => Some(name),
            Ok(_) | Err(_) => return Err(wrong()),
        },
    };
    let path: Option<Arc<str>> = match path {
        "$request_uri" => None,
        "" => Some("/".into()),
        path if path.contains('$') => {
            return Err(format!("{} has a variable that Weir does not have; $request_uri may end it", quoted(text)));
        }
        path if path.starts_with('?') => Some(format!("/{path}").into()),
        path => Some(path.into()),
    };
    Ok(Destination { scheme, host, port, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_url_with_few_variables() {
        let read = destination("https://www.example.org:8443/a?b=c").unwrap();
        assert_eq!(
            (read.scheme, read.host.as_deref(), read.port),
            (Some(Scheme::Https), Some("www.example.org"), Some(8443))
        );
        assert_eq!(read.path.as_deref(), Some("/a?b=c"));
        let read = destination("$scheme://$host$request_uri").unwrap();
        assert_eq!(read, Destination { scheme: None, host: None, port: None, path: None });
        assert_eq!(destination("https://a.test").unwrap().path.as_deref(), Some("/"));
        for wrong in
            ["ftp://a.test", "/a", "https://a b", "https://", "https://a.test/$x", "https://a.test:x", "javascript:1"]
        {
            assert!(destination(wrong).is_err(), "{wrong}");
        }
    }
}
