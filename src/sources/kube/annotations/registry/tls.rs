//! TLS: with clients, and with backends.

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
        "`on` (the default), `optional` or `off`. `optional_no_ca` is refused, and closes the route. Who shows no certificate fails the \
         handshake here, where ingress-nginx answers 400",
        |policy, text| {
            let known = [("on", ClientVerify::On), ("optional", ClientVerify::Optional), ("off", ClientVerify::Off)];
            policy.client_certificate.verify = value::word(text, &known)?;
            Ok(())
        },
    )
    .or_close(),
    Annotation::nothing("auth-tls-verify-depth", Kind::Number, 2, "Chains of any usual length are verified"),
    Annotation::refused("auth-tls-error-page", Kind::Url, 2, "a handshake that fails has no page", super::never),
    Annotation::set(
        "auth-tls-pass-certificate-to-upstream",
        Kind::Boolean,
        2,
        "The backend is told of the certificate: Client-Cert (RFC 9440) and X-Client-*, where ingress-nginx sends ssl-client-*",
        |policy, text| {
            policy.client_certificate.pass_to_upstream = value::boolean(text)?;
            Ok(())
        },
    ),
    Annotation::refused("auth-tls-match-cn", Kind::Text, 2, "names of clients' certificates are not compared", super::never)
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
    Annotation::refused("ssl-ciphers", Kind::Text, 3, "the suites are those of rustls, all of them good", super::never),
    Annotation::nothing("ssl-prefer-server-ciphers", Kind::Boolean, 3, "All suites are good"),
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
