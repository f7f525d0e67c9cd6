//! Errors, names, and what is refused.

use crate::model::{HostName, Pattern};
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Annotation, Kind};

fn mirror_target(text: &str) -> Read<http::Uri> {
    let wrong = || format!("{} is no target of copies; write it as \"https://shadow.test$request_uri\"", quoted(text));
    let base = text.strip_suffix("$request_uri").unwrap_or(text);
    let uri: http::Uri = base.parse().map_err(|_| wrong())?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    match is_web && uri.host().is_some_and(|host| !host.is_empty()) && uri.path() == "/" && uri.query().is_none() {
        true => Ok(uri),
        false => Err(wrong()),
    }
}

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "server-alias",
        Kind::Text,
        2,
        "More names for the host, separated by commas, unless an Ingress has them itself. Patterns are refused",
        |policy, text| {
            // One that is none takes no other along.
            let (good, bad): (Vec<_>, Vec<_>) = value::list(text).map(alias).partition(Result::is_ok);
            policy.aliases = good.into_iter().flatten().collect();
            bad.into_iter().next().map_or(Ok(()), |bad| bad.map(|_| ()))
        },
    ),
    Annotation::set(
        "custom-http-errors",
        Kind::Codes,
        2,
        "Answers of these statuses are replaced by the default backend's, which is asked for `/` with X-Code, X-Format and so on",
        |policy, text| {
            policy.errors.codes = Some(codes(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "default-backend",
        Kind::Text,
        2,
        "A Service of the namespace, by its first port: it answers where the rule's Service has no endpoints, and gives the pages of \
         custom-http-errors",
        |policy, text| {
            policy.errors.default_backend = Some(super::super::Reference::parse(text)?.name);
            Ok(())
        },
    ),
    Annotation::set(
        "disable-proxy-intercept-errors",
        Kind::Boolean,
        2,
        "Errors of the backend are left alone; those of Weir's own are replaced",
        |policy, text| {
            policy.errors.leave_upstreams = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "canary",
        Kind::Boolean,
        2,
        "The Ingress's backends are the second ones of another's rules of the same host, path and type, wherever these backends are led \
         to. One canary for each; header before cookie before weight",
        |policy, text| {
            policy.canary.is_on = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "canary-weight",
        Kind::Number,
        2,
        "How many of `canary-weight-total` requests it gets",
        |policy, text| {
            policy.canary.weight = value::number(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "canary-weight-total",
        Kind::Number,
        2,
        "The default is 100; less counts as 100",
        |policy, text| {
            policy.canary.total = value::number(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "canary-by-header",
        Kind::Text,
        2,
        "A field of the request: `always` leads to the canary, `never` does not",
        |policy, text| {
            policy.canary.header = Some(value::field_name(text.trim())?.to_ascii_lowercase().into());
            Ok(())
        },
    ),
    Annotation::set("canary-by-header-value", Kind::Text, 2, "This value alone leads to the canary", |policy, text| {
        policy.canary.header_value = Some(value::field_value(text)?);
        Ok(())
    }),
    Annotation::set(
        "canary-by-header-pattern",
        Kind::Text,
        2,
        "Values of this pattern lead to the canary",
        |policy, text| {
            let pattern =
                Pattern::parse(text).map_err(|_| format!("{} is no pattern that can be read", quoted(text)))?;
            policy.canary.header_pattern = Some(pattern);
            Ok(())
        },
    ),
    Annotation::set(
        "canary-by-cookie",
        Kind::Text,
        2,
        "A cookie, with the same values as canary-by-header",
        |policy, text| {
            policy.canary.cookie = Some(value::token(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "mirror-target",
        Kind::Url,
        3,
        "Where copies of requests go: scheme, host and port, and `$request_uri` after them. A copy has the URI that the backend gets; \
         nobody waits for it",
        |policy, text| {
            policy.mirror.target = Some(mirror_target(text)?);
            Ok(())
        },
    ),
    Annotation::set("mirror-host", Kind::Text, 3, "The `Host` of copies, in place of the target's", |policy, text| {
        policy.mirror.host = Some(value::field_value(text)?);
        Ok(())
    }),
    Annotation::set("mirror-request-body", Kind::Switch, 3, "`off`: copies have no body", |policy, text| {
        policy.mirror.omit_body = !value::switch(text)?;
        Ok(())
    }),
    Annotation::set(
        "enable-access-log",
        Kind::Boolean,
        3,
        "`false`: requests are not in the access log",
        |policy, text| {
            policy.access_log = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::nothing("enable-rewrite-log", Kind::Boolean, 3, "There is no such log; `weir explain` tells"),
    Annotation::refused("enable-opentelemetry", Kind::Boolean, 3, "traces are not written yet", super::is_false),
    Annotation::nothing("opentelemetry-trust-incoming-span", Kind::Boolean, 3, "Traces are not written yet"),
    Annotation::nothing("opentelemetry-operation-name", Kind::Text, 3, "Traces are not written yet"),
    Annotation::nothing("http2-push-preload", Kind::Boolean, 4, "Browsers have given up HTTP/2 push"),
    Annotation::refused("enable-modsecurity", Kind::Boolean, 4, "there is no ModSecurity here", super::is_false)
        .or_close(),
    Annotation::refused("enable-owasp-core-rules", Kind::Boolean, 4, "there is no ModSecurity here", super::is_false)
        .or_close(),
    Annotation::refused("modsecurity-snippet", Kind::Text, 4, "there is no ModSecurity here", super::never).or_close(),
    Annotation::nothing("modsecurity-transaction-id", Kind::Text, 4, "There is no ModSecurity here"),
    Annotation::set(
        "configuration-snippet",
        Kind::Text,
        2,
        "Only where the global option `allow-snippet-annotations` is true, and only if all of it is understood: add_header, more_set_headers, \
         more_clear_headers and their input_ forms, proxy_set_header, proxy_hide_header, allow, deny, return, `rewrite` with `permanent` or \
         `redirect`, `if` with a `return` in its block, client_max_body_size and proxy_*_timeout. Otherwise it is left out; where it is about access the route is closed",
        |policy, text| {
            policy.snippets.push(("configuration-snippet", text.into()));
            Ok(())
        },
    ),
    Annotation::set(
        "server-snippet",
        Kind::Text,
        2,
        "As configuration-snippet, for the Ingress's own rules",
        |policy, text| {
            policy.snippets.push(("server-snippet", text.into()));
            Ok(())
        },
    ),
    Annotation::refused("stream-snippet", Kind::Text, 4, "there is no nginx that could read it", super::never),
];

fn alias(text: &str) -> Read<HostName> {
    match HostName::parse(text) {
        Ok(HostName::CatchAll) => Err("\"*\" is every host's name; write those that are meant".into()),
        Ok(HostName::Wildcard(parent)) => Ok(HostName::OneLabel(parent)),
        Ok(name) => Ok(name),
        Err(_) => Err(format!("{} is no host name", quoted(text))),
    }
}

/// 400 to 599.
pub fn codes(text: &str) -> Read<Vec<u16>> {
    value::list(text).map(|code| value::status(code, 400, 599)).collect()
}
