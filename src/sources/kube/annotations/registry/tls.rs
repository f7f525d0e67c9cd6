//! TLS: with clients, and with backends.

use crate::model::{CipherOrder, Pattern};
use crate::sources::kube::annotations::value;
use crate::sources::kube::annotations::{Annotation, ClientVerify, Kind, Reference};

pub const ENTRIES: &[Annotation] = &[
    Annotation::set(
        "auth-tls-secret",
        Kind::Object,
        2,
        "A Secret with `ca.crt`: clients of the host must show a certificate of that authority. The first Ingress of a host decides. \
         Without a Secret that can be used the whole host answers 403",
        |policy, text| {
            policy.client_certificate.secret = Some(Reference::parse(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "auth-tls-verify-client",
        Kind::Words,
        2,
        "`on` (the default): who shows none, or a wrong one, is answered 400; `optional`: only for a wrong one; `optional_no_ca`: nor \
         for one of an unknown authority; or `off`. Backends are told in ssl-client-verify, -subject-dn and -issuer-dn",
        |policy, text| {
            let known = [
                ("on", ClientVerify::On),
                ("optional", ClientVerify::Optional),
                ("optional_no_ca", ClientVerify::OptionalNoCa),
                ("off", ClientVerify::Off),
            ];
            policy.client_certificate.verify = value::word(text, &known)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::nothing("auth-tls-verify-depth", Kind::Number, 2, "Chains of any usual length are verified"),
    Annotation::set(
        "auth-tls-error-page",
        Kind::Url,
        2,
        "Where who has no certificate, or a wrong one, is sent (302), in place of the answer 400",
        |policy, text| {
            let url = text.trim();
            let uri: http::Uri = url.parse().map_err(|_| format!("{} is no URL", value::quoted(text)))?;
            match matches!(uri.scheme_str(), Some("http" | "https")) && !url.contains('$') {
                true => policy.client_certificate.error_page = Some(url.into()),
                false => return Err(format!("{} is no URL to send a client to", value::quoted(text))),
            }
            Ok(())
        },
    ),
    Annotation::set(
        "auth-tls-pass-certificate-to-upstream",
        Kind::Boolean,
        2,
        "The backend gets the certificate itself, too: ssl-client-cert, escaped PEM",
        |policy, text| {
            policy.client_certificate.pass_to_upstream = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::set(
        "auth-tls-match-cn",
        Kind::Text,
        2,
        "`CN=` and a pattern, which is found in the certificate's subject; who has another name gets 403",
        |policy, text| {
            let wrong = || format!("{} is no pattern of a name; write it as \"CN=ann\" or \"CN=(ann|bob)\"", value::quoted(text));
            let pattern = Pattern::parse(text.trim()).map_err(|_| wrong())?;
            policy.client_certificate.subject = Some(Some(pattern).filter(|_| text.trim().starts_with("CN=")).ok_or_else(wrong)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "proxy-ssl-secret",
        Kind::Object,
        2,
        "A Secret with `tls.crt` and `tls.key`, which backends are shown, and `ca.crt`, which they are verified against",
        |policy, text| {
            policy.upstream_tls.secret = Some(Reference::parse(text)?);
            Ok(())
        },
    )
    .or_close(),
    Annotation::set(
        "proxy-ssl-verify",
        Kind::Switch,
        2,
        "Whether certificates of backends are verified. The default is off",
        |policy, text| {
            policy.upstream_tls.verify = value::switch(text)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::nothing("proxy-ssl-verify-depth", Kind::Number, 2, "Chains of any usual length are verified"),
    Annotation::set(
        "proxy-ssl-name",
        Kind::Text,
        2,
        "The name that a backend's certificate must have, and that is sent as SNI",
        |policy, text| {
            match crate::model::HostName::parse(text.trim()) {
                Ok(crate::model::HostName::Exact(name)) => policy.upstream_tls.name = Some(name),
                Ok(_) | Err(_) => return Err(format!("{} is no host name", value::quoted(text))),
            }
            Ok(())
        },
    )
    .or_close(),
    Annotation::nothing("proxy-ssl-server-name", Kind::Switch, 2, "A name is always sent: proxy-ssl-name, or the request's host"),
    Annotation::nothing("proxy-ssl-protocols", Kind::Words, 3, "TLS 1.2 and 1.3 are spoken, as the backend likes"),
    Annotation::refused("proxy-ssl-ciphers", Kind::Text, 3, "the suites are those of rustls, all of them good", super::never),
    Annotation::set(
        "ssl-ciphers",
        Kind::Text,
        3,
        "Suites of TLS 1.2 by OpenSSL's names, the most wanted first; those that are not spoken here are named. For the whole host: the \
         first Ingress that speaks of them decides",
        |policy, text| {
            let (suites, unknown) = value::cipher_suites(text);
            let none = suites.is_empty();
            policy.ciphers.suites = Some(suites).filter(|_| !none);
            match (none, unknown.is_empty()) {
                (true, _) => Err(format!("{} has no suite of TLS 1.2 that is spoken here", value::quoted(text))),
                (false, true) => Ok(()),
                (false, false) => Err(format!("not spoken here: {}", value::quoted(&unknown.join(", ")))),
            }
        },
    ),
    Annotation::set(
        "ssl-prefer-server-ciphers",
        Kind::Boolean,
        3,
        "`true`: the order of the suites here decides; else the client's",
        |policy, text| {
            let order = if value::boolean(text)? { CipherOrder::Server } else { CipherOrder::Client };
            policy.ciphers.order = Some(order);
            Ok(())
        },
    ),
    Annotation::set(
        "ssl-passthrough",
        Kind::Boolean,
        3,
        "TLS of the host ends at the backend of its path /, whatever other annotations say; wildcard hosts and aliases, too. Needs the \
         flag --enable-ssl-passthrough: without it the host's routes are closed",
        |policy, text| value::boolean(text).map(|is_on| policy.ssl_passthrough = is_on),
    )
    .or_close(),
];
