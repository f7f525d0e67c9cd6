//! How backends are spoken to, and how one is chosen.

use crate::model::{HashKey, HashPart, RetryOn, SameSite};
use crate::sources::kube::annotations::value::{self, Read, quoted};
use crate::sources::kube::annotations::{Annotation, Balance, Kind, Protocol, rewrite};

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "backend-protocol",
        Kind::Words,
        1,
        "HTTP, HTTPS, GRPC, GRPCS, or AUTO_HTTP, which is HTTPS for clients on TLS and HTTP for others. FCGI is refused, and closes the route",
        |policy, text| {
            let known = [
                ("HTTP", Some(Protocol::Http)),
                ("HTTPS", Some(Protocol::Https)),
                ("AUTO_HTTP", Some(Protocol::AutoHttp)),
                ("GRPC", Some(Protocol::Grpc)),
                ("GRPCS", Some(Protocol::Grpcs)),
                ("FCGI", None),
            ];
            match value::word(text, &known)? {
                Some(protocol) => {
                    policy.backend.protocol = protocol;
                    Ok(())
                }
                None => Err("FastCGI is not spoken here; put a server that speaks HTTP before it".into()),
            }
        },
    )
    .or_close(),
    Annotation::set(
        "service-upstream",
        Kind::Boolean,
        2,
        "Requests go to the Service's own address instead of its endpoints'",
        |policy, text| {
            policy.backend.service_upstream = Some(value::boolean(text)?);
            Ok(())
        },
    ),
    Annotation::set("upstream-vhost", Kind::Text, 1, "Sent as Host instead of the client's", |policy, text| {
        let host = value::field_value(text.trim())?;
        match host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte)) {
            true => policy.backend.host = Some(host),
            false => return Err(format!("{} is no host", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set(
        "x-forwarded-prefix",
        Kind::Text,
        1,
        "Sent as X-Forwarded-Prefix where there is a rewrite-target. Captures cannot stand in it",
        |policy, text| {
            if text.contains('$') {
                return Err(format!("{} has a capture; write the prefix itself", quoted(text)));
            }
            policy.rewrite.forwarded_prefix = Some(value::field_value(text.trim())?);
            Ok(())
        },
    ),
    Annotation::refused(
        "proxy-http-version",
        Kind::Words,
        3,
        "HTTP/1.1 is spoken with backends, and HTTP/2 with gRPC ones",
        |text| text.trim() == "1.1",
    ),
    Annotation::set(
        "connection-proxy-header",
        Kind::Text,
        2,
        "`close` ends each connection to the backend after its request; `keep-alive` is what is done anyway. Other values are refused",
        |policy, text| {
            policy.headers.connection = value::word(text, &[("close", Some("close")), ("keep-alive", None)])?.map(Into::into);
            Ok(())
        },
    ),
    Annotation::set(
        "custom-headers",
        Kind::Object,
        2,
        "A ConfigMap whose fields are set on answers. Each must be among the global option `global-allowed-response-headers`",
        |policy, text| {
            policy.headers.custom = Some(super::super::Reference::parse(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set("proxy-connect-timeout", Kind::Seconds, 1, "The default is 5", |policy, text| {
        policy.timeouts.connect = Some(value::seconds(text)?);
        Ok(())
    }),
    Annotation::set("proxy-send-timeout", Kind::Seconds, 1, "Between two writes. The default is 60", |policy, text| {
        policy.timeouts.send = Some(value::seconds(text)?);
        Ok(())
    }),
    Annotation::set("proxy-read-timeout", Kind::Seconds, 1, "Between two reads. The default is 60", |policy, text| {
        policy.timeouts.read = Some(value::seconds(text)?);
        Ok(())
    }),
    Annotation::set(
        "proxy-next-upstream",
        Kind::Words,
        2,
        "When another endpoint is tried: `error`, `timeout`, `http_502` and so on, or `off`. The default is `error timeout`. What is not \
         idempotent is tried again only where nothing of it was sent",
        |policy, text| {
            policy.retry.on = Some(next_upstream(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-next-upstream-timeout",
        Kind::Seconds,
        2,
        "No new attempt begins later than this; 0, the default, is without end",
        |policy, text| {
            policy.retry.timeout = Some(value::seconds(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-next-upstream-tries",
        Kind::Number,
        2,
        "Attempts in all. The default is 3; more than 10 are 10, and so is 0",
        |policy, text| {
            policy.retry.tries = Some(value::number(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-body-size",
        Kind::Size,
        1,
        "A larger request body is answered 413. The default is 1m; 0 is without end",
        |policy, text| {
            policy.bodies.max_size = Some(value::size(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-request-buffering",
        Kind::Switch,
        1,
        "`on`, the default: the backend is asked when the body is whole. `off`: bodies are passed on as they come, with the start of each \
         kept for another attempt. gRPC is always passed on",
        |policy, text| {
            policy.bodies.request_buffering = Some(value::switch(text)?);
            Ok(())
        },
    ),
    Annotation::nothing("proxy-buffering", Kind::Switch, 1, "Answers are passed on as they come, and slow clients hold no file"),
    Annotation::nothing("proxy-buffer-size", Kind::Size, 1, "Heads of answers may be of any usual size"),
    Annotation::nothing("proxy-buffers-number", Kind::Number, 2, "There are no such buffers"),
    Annotation::nothing("proxy-busy-buffers-size", Kind::Size, 3, "There are no such buffers"),
    Annotation::nothing("proxy-max-temp-file-size", Kind::Size, 3, "Answers are never put into files"),
    Annotation::nothing("client-body-buffer-size", Kind::Size, 2, "There are no such buffers"),
    Annotation::set(
        "proxy-cookie-domain",
        Kind::Text,
        3,
        "A domain of backends' cookies and what stands in its place, as `inner.test shop.test`, or `~` and a pattern in place of the \
         domain; `off`: none",
        |policy, text| {
            policy.response.cookie_domain = Some(rewrite::of_cookies(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "proxy-cookie-path",
        Kind::Text,
        3,
        "The beginning of a path of backends' cookies and what stands in its place, as `/app/ /`, or a pattern as before; `off`: none",
        |policy, text| {
            policy.response.cookie_path = Some(rewrite::of_cookies(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "load-balance",
        Kind::Words,
        3,
        "`round_robin` or `ewma`, which takes the better of two by latency and load",
        |policy, text| {
            let known = [("round_robin", Balance::RoundRobin), ("ewma", Balance::Ewma)];
            policy.backend.balance = Some(value::word(text, &known)?);
            Ok(())
        },
    ),
    Annotation::set(
        "upstream-hash-by",
        Kind::Text,
        3,
        "Consistent hashing by variables and text: `$remote_addr`, `$request_uri` (normalized), `$uri`, `$host`, `$http_NAME`, \
         `$cookie_NAME` and `$arg_NAME`, one or several, as `$host$request_uri`",
        |policy, text| {
            policy.backend.hash_by = Some(hash_by(text)?);
            Ok(())
        },
    ),
    Annotation::set(
        "upstream-hash-by-subset",
        Kind::Boolean,
        3,
        "`true`: a key has several endpoints, of which chance takes one",
        |policy, text| {
            policy.backend.hash_subset = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set("upstream-hash-by-subset-size", Kind::Number, 3, "How many. The default is 3", |policy, text| {
        policy.backend.hash_subset_size = value::count(text)?;
        Ok(())
    }),
    Annotation::set(
        "affinity",
        Kind::Words,
        2,
        "`cookie`: a client stays with the endpoint that its cookie names, while that one can be used",
        |policy, text| {
            value::word(text, &[("cookie", ())])?;
            policy.session.cookie = true;
            Ok(())
        },
    ),
    Annotation::nothing("affinity-mode", Kind::Words, 2, "Sessions stay where they are (`persistent`), also when endpoints are added; `balanced` would move some of them"),
    Annotation::set(
        "affinity-canary-behavior",
        Kind::Words,
        3,
        "`sticky`, the default: a session stays with the canary, or with the other; `legacy`: each request is led anew",
        |policy, text| {
            policy.session.splits_canaries = value::word(text, &[("sticky", false), ("legacy", true)])?;
            Ok(())
        },
    ),
    Annotation::set("session-cookie-name", Kind::Text, 2, "The default is INGRESSCOOKIE", |policy, text| {
        policy.session.name = Some(value::token(text)?);
        Ok(())
    }),
    Annotation::set("session-cookie-path", Kind::Text, 2, "The default is the path of the rule", |policy, text| {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b';' && byte != b',';
        match text.trim().starts_with('/') && text.trim().bytes().all(is_plain) {
            true => policy.session.path = Some(text.trim().into()),
            false => return Err(format!("{} is no path of a cookie", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set("session-cookie-max-age", Kind::Seconds, 2, "Without it the cookie lasts for a session", |policy, text| {
        policy.session.max_age = Some(value::seconds(text)?);
        Ok(())
    }),
    Annotation::set(
        "session-cookie-expires",
        Kind::Seconds,
        2,
        "As session-cookie-max-age, which counts where both are written",
        |policy, text| {
            policy.session.expires = Some(value::seconds(text)?);
            Ok(())
        },
    ),
    Annotation::set("session-cookie-samesite", Kind::Words, 2, "None, Lax or Strict. The default is Lax", |policy, text| {
        let known = [("None", SameSite::None), ("Lax", SameSite::Lax), ("Strict", SameSite::Strict)];
        policy.session.same_site = Some(value::word(text, &known)?);
        Ok(())
    }),
    Annotation::nothing("session-cookie-conditional-samesite-none", Kind::Boolean, 3, "The browsers that this was for are gone"),
    Annotation::set("session-cookie-domain", Kind::Text, 2, "Without it the cookie is the host's own", |policy, text| {
        match crate::model::HostName::parse(text.trim().trim_start_matches('.')) {
            Ok(crate::model::HostName::Exact(name)) => policy.session.domain = Some(name),
            Ok(_) | Err(_) => return Err(format!("{} is no domain of a cookie", quoted(text))),
        }
        Ok(())
    }),
    Annotation::set(
        "session-cookie-secure",
        Kind::Boolean,
        2,
        "`true`: the cookie is Secure without TLS, too. `false` is as if it were not written: on TLS it is Secure",
        |policy, text| {
            policy.session.secure = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::nothing(
        "session-cookie-change-on-failure",
        Kind::Boolean,
        2,
        "The cookie changes with the endpoint, when that one cannot be used",
    ),
    Annotation::refused("fastcgi-index", Kind::Text, 4, "FastCGI is not spoken here", super::never),
    Annotation::refused("fastcgi-params-configmap", Kind::Object, 4, "FastCGI is not spoken here", super::never),
];

fn next_upstream(text: &str) -> Read<Vec<RetryOn>> {
    let mut on = Vec::new();
    for word in text.split_ascii_whitespace() {
        match word {
            "off" => return Ok(Vec::new()),
            "error" => on.extend([RetryOn::Connect, RetryOn::Reset]),
            "timeout" => on.push(RetryOn::Timeout),
            // An answer that cannot be read is a broken connection; what is not idempotent is never sent twice.
            "invalid_header" | "non_idempotent" => {}
            _ => match word.strip_prefix("http_").and_then(|code| value::status(code, 400, 599).ok()) {
                Some(code) => on.push(RetryOn::Status(code)),
                None => return Err(format!("{} is no reason to try another endpoint", quoted(word))),
            },
        }
    }
    on.dedup();
    Ok(on)
}

/// Text and variables; one variable alone is what it is.
fn hash_by(text: &str) -> Read<HashKey> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    while let Some((before, after)) = rest.split_once('$') {
        if !before.is_empty() {
            parts.push(HashPart::Text(before.into()));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(braced) => braced,
            None => after.split_at(after.find(|c| !is_word(c)).unwrap_or(after.len())),
        };
        parts.push(HashPart::Key(hash_variable(name)?));
        rest = next;
    }
    if !rest.is_empty() {
        parts.push(HashPart::Text(rest.into()));
    }
    match <[HashPart; 1]>::try_from(parts) {
        Ok([HashPart::Key(key)]) => Ok(key),
        Ok([HashPart::Text(_)]) => Err(format!("{} is the same for every request; write a variable", quoted(text))),
        Err(parts) if parts.is_empty() => Err("nothing is hashed by".into()),
        Err(parts) => Ok(HashKey::Joined(parts)),
    }
}

fn hash_variable(variable: &str) -> Read<HashKey> {
    let refused = || {
        format!(
            "${variable} is not hashed by here; write $remote_addr, $request_uri, $uri, $host, $http_NAME, $cookie_NAME or $arg_NAME"
        )
    };
    let is_word = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !is_word(variable) {
        return Err(refused());
    }
    Ok(match variable {
        "remote_addr" | "binary_remote_addr" | "the_real_ip" => HashKey::ClientIp,
        "uri" | "document_uri" => HashKey::Path,
        "request_uri" => HashKey::Uri,
        "host" | "http_host" => HashKey::Host,
        _ => match variable.split_once('_') {
            Some(("http", name)) if is_word(name) => {
                HashKey::Header(name.replace('_', "-").to_ascii_lowercase().into())
            }
            Some(("cookie", name)) if is_word(name) => HashKey::Cookie(name.into()),
            Some(("arg", name)) if is_word(name) => HashKey::Query(name.into()),
            Some(_) | None => return Err(refused()),
        },
    })
}
