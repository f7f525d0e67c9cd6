//! Who may come in.

use std::time::Duration;

use crate::model::{HeaderTemplate, ReturnTo, parse_duration};
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Annotation, AuthSecretKind, Kind, Reference, SignInPage};
use crate::sources::kube::snippet;

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "allowlist-source-range",
        Kind::Networks,
        1,
        "Only these clients; others get 403",
        |policy, text| {
            policy.access.allow = value::networks(text)?;
            Ok(())
        },
    )
    .alias(&["whitelist-source-range"])
    .or_close(),
    Annotation::set(
        "denylist-source-range",
        Kind::Networks,
        3,
        "Not these clients; they get 403. Asked first",
        |policy, text| {
            policy.access.deny = value::networks(text)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "satisfy",
        Kind::Words,
        3,
        "`any`: an address that is allowed, a password or the word of auth-url is enough; `all`, the default: each of them must let a \
         request in",
        |policy, text| {
            policy.access.satisfy_any = value::word(text, &[("all", false), ("any", true)])?;
            Ok(())
        },
    ),
    Annotation::set(
        "auth-type",
        Kind::Words,
        2,
        "`basic`. `digest` is refused, and closes the route",
        |policy, text| match value::word(text, &[("basic", true), ("digest", false)])? {
            true => {
                policy.basic_auth.is_on = true;
                Ok(())
            }
            false => Err("digest authentication is broken (MD5) and not spoken here; write \"basic\", over TLS".into()),
        },
    )
    .or_close(),
    Annotation::set(
        "auth-secret",
        Kind::Object,
        2,
        "The Secret of users: of the Ingress's own namespace. Without one that can be used the route answers 503",
        |policy, text| {
            policy.basic_auth.secret = Some(Reference::parse(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-secret-type",
        Kind::Words,
        2,
        "`auth-file`, the default: one key `auth`, as htpasswd writes it; `auth-map`: a key for each user",
        |policy, text| {
            let known = [("auth-file", AuthSecretKind::File), ("auth-map", AuthSecretKind::Map)];
            policy.basic_auth.secret_kind = value::word(text, &known)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::set("auth-realm", Kind::Text, 2, "What browsers show when they ask", |policy, text| {
        let realm = value::field_value(text)?;
        match realm.contains(['"', '\\']) {
            false => policy.basic_auth.realm = Some(realm),
            true => return Err(format!("{} has quotes or backslashes", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set(
        "auth-url",
        Kind::Url,
        2,
        "Who says by its status whether a request may pass. Variables cannot stand in it",
        |policy, text| {
            let url = text.trim();
            let uri: http::Uri = url.parse().map_err(|_| format!("{} is no URL", quoted(text)))?;
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            if !is_http
                || uri.authority().is_none_or(|authority| authority.as_str().contains(['@', '$']))
                || url.contains('$')
            {
                return Err(format!(
                    "{} cannot be asked; write it as \"http://auth.default.svc.cluster.local/verify\"",
                    quoted(text)
                ));
            }
            policy.forward_auth.url = Some(url.into());
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-method",
        Kind::Text,
        2,
        "The method that it is asked with. The default is GET",
        |policy, text| {
            let method = value::token(text)?;
            http::Method::from_bytes(method.as_bytes()).map_err(|_| format!("{} is no method", quoted(text)))?;
            policy.forward_auth.method = Some(method);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-signin",
        Kind::Url,
        2,
        "Where who is not signed in is sent (302), with where they wanted to go in the parameter `rd`. `$host` and `$scheme` \
         may stand in it, and a parameter for `$escaped_request_uri` at its end",
        |policy, text| {
            policy.forward_auth.sign_in = Some(sign_in(text)?);
            Ok(())
        },
    ),
    Annotation::set("auth-signin-redirect-param", Kind::Text, 2, "Instead of `rd`", |policy, text| {
        let name = value::token(text)?;
        match name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            true => policy.forward_auth.redirect_parameter = Some(name),
            false => return Err(format!("{} cannot name a parameter", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set(
        "auth-response-headers",
        Kind::FieldNames,
        2,
        "Fields of its answer that the backend gets",
        |policy, text| {
            let names = value::field_names(text)?;
            policy.forward_auth.response_headers = names.iter().map(|name| name.to_ascii_lowercase().into()).collect();
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-always-set-cookie",
        Kind::Boolean,
        3,
        "The client gets the cookies of its answer with errors, too",
        |policy, text| {
            policy.forward_auth.always_set_cookie = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "auth-cache-key",
        Kind::Text,
        3,
        "Its answers are kept by this: one or several of `$remote_user`, `$http_NAME`, `$cookie_NAME`, `$host`, `$uri`, `$remote_addr` and `$request_method`",
        |policy, text| {
            policy.forward_auth.cache_key = Some(text.trim().into());
            Ok(())
        },
    ),
    Annotation::set(
        "auth-cache-duration",
        Kind::Text,
        3,
        "How long they are kept, by status. The default is `200 202 401 5m`",
        |policy, text| {
            policy.forward_auth.cache_duration = Some(durations(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "auth-request-redirect",
        Kind::Url,
        3,
        "X-Auth-Request-Redirect is this, in place of the request's own URI; variables as `$host` may stand in it",
        |policy, text| {
            let template = snippet::template(text.trim())?;
            policy.forward_auth.set_fields.push(("X-Auth-Request-Redirect".into(), template));
            Ok(())
        },
    ),
    Annotation::set(
        "auth-proxy-set-headers",
        Kind::Object,
        3,
        "A ConfigMap of the Ingress's own namespace, whose fields the service gets; variables as `$host` may stand in them",
        |policy, text| {
            policy.forward_auth.set_headers = Some(Reference::parse(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-snippet",
        Kind::Text,
        3,
        "proxy_set_header alone is understood; anything else closes the route. Not asked whether snippets are allowed: it sets fields",
        |policy, text| {
            policy.forward_auth.set_fields.extend(snippet::fields_of_question(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::nothing("auth-keepalive", Kind::Number, 3, "Connections to the service are kept and used again"),
    Annotation::nothing("auth-keepalive-share-vars", Kind::Boolean, 3, "There are no such variables"),
    Annotation::nothing(
        "auth-keepalive-requests",
        Kind::Number,
        3,
        "Connections to the service are kept and used again",
    ),
    Annotation::nothing(
        "auth-keepalive-timeout",
        Kind::Seconds,
        3,
        "Connections to the service are kept and used again",
    ),
    Annotation::set(
        "enable-global-auth",
        Kind::Boolean,
        3,
        "`false`: the global option `global-auth-url` is not for this Ingress",
        |policy, text| {
            policy.forward_auth.enable_global = Some(value::boolean(text)?);
            Ok(())
        },
    ),
];

/// nginx's variables become Weir's. Where the request went stands at the end, if it stands there at all, and is escaped.
fn sign_in(text: &str) -> Read<SignInPage> {
    let text = text.trim();
    let is_url = ["http://", "https://", "$scheme://", "/"].iter().any(|start| text.starts_with(start));
    if !is_url || text.starts_with("//") || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} is no URL to send a client to", quoted(text)));
    }
    let (url, parameter) = match return_to(text) {
        Some((url, name, told)) => (url, Some((name.into(), told))),
        None => (text, None),
    };
    Ok(SignInPage { url: template(url)?, parameter })
}

/// `…?rd=$escaped_request_uri` and `…?rd=$scheme://$host$escaped_request_uri`: the rest, the parameter, and what it says.
fn return_to(text: &str) -> Option<(&str, &str, ReturnTo)> {
    const ENDS: [(&str, ReturnTo); 2] = [("$escaped_request_uri", ReturnTo::Uri), ("$request_uri", ReturnTo::Uri)];
    const SCHEMES: [&str; 3] = ["$scheme://", "$pass_access_scheme://", "https://"];
    let (rest, told) = ENDS.iter().find_map(|(end, told)| Some((text.strip_suffix(end)?, *told)))?;
    let host = HOSTS.iter().find_map(|host| rest.strip_suffix(host));
    let whole = host.and_then(|rest| SCHEMES.iter().find_map(|scheme| rest.strip_suffix(scheme)));
    let (rest, told) = whole.map_or((rest, told), |rest| (rest, ReturnTo::Url));
    let (url, name) = rest.strip_suffix('=')?.rsplit_once(['?', '&'])?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    is_name.then_some((url, name, told))
}

const HOSTS: [&str; 3] = ["$best_http_host", "$http_host", "$host"];

fn template(text: &str) -> Read<HeaderTemplate> {
    let known = HOSTS.iter().map(|host| (&host[1..], "${host}"));
    let known: Vec<_> = known.chain([("pass_access_scheme", "${scheme}"), ("scheme", "${scheme}")]).collect();
    let mut template = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        template.push_str(before);
        let (name, next) = match known.iter().find(|(name, _)| after.starts_with(name)) {
            Some((name, variable)) => (*variable, &after[name.len()..]),
            None => {
                let help = "$host and $scheme may stand anywhere, the request's URI as a parameter at the end";
                return Err(format!("{} cannot be sent to; {help}", quoted(text)));
            }
        };
        template.push_str(name);
        rest = next;
    }
    template.push_str(rest);
    HeaderTemplate::parse(&template)
}

/// `200 202 10m, 401 5m`
fn durations(text: &str) -> Read<Vec<(u16, Duration)>> {
    let mut durations = Vec::new();
    for item in value::list(text) {
        let wrong = || format!("{} is not how long answers are kept; write it as \"200 202 401 5m\"", quoted(item));
        let mut words: Vec<_> = item.split_ascii_whitespace().collect();
        let time = parse_duration(words.pop().ok_or_else(wrong)?).map_err(|_| wrong())?;
        if words.is_empty() {
            words = vec!["200"];
        }
        for word in words {
            let code = value::status(word, 200, 499).ok().filter(|code| matches!(code, 200..=299 | 401 | 403));
            durations.push((code.ok_or_else(wrong)?, time));
        }
    }
    Ok(durations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_page_may_have_nginx_variables() {
        let read = |text: &str| sign_in(text).map(|page| (page.url, page.parameter)).unwrap();
        let of = |text: &str| HeaderTemplate::parse(text).unwrap();
        let parameter = |name: &str, told| Some((name.into(), told));
        assert_eq!(
            read("https://$host/start?a=b&rd=$escaped_request_uri"),
            (of("https://${host}/start?a=b"), parameter("rd", ReturnTo::Uri))
        );
        assert_eq!(
            read("https://auth.test/start?next=$scheme://$http_host$escaped_request_uri"),
            (of("https://auth.test/start"), parameter("next", ReturnTo::Url))
        );
        assert_eq!(read("$scheme://auth.test/"), (of("${scheme}://auth.test/"), None));
        for wrong in
            ["auth.test", "//auth.test", "https://auth.test/$x", "https://a b", "https://a.test/$request_uri/x"]
        {
            assert!(sign_in(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_are_kept_by_status() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(
            durations("200 202 10m, 401 5m").unwrap(),
            [(200, minutes(10)), (202, minutes(10)), (401, minutes(5))]
        );
        assert!(durations("500 5m").is_err() && durations("200").is_err());
    }
}
