//! What ACME's keys hold: directories, domains, addresses of services.

use std::sync::Arc;

use super::scalar;
use crate::model::AcmeDomain;

scalar! {
    /// An ACME directory: `letsencrypt`, `letsencrypt-staging`, `zerossl`, `google`, or the URL of another.
    AcmeDirectory(Arc<str>), "letsencrypt, letsencrypt-staging, zerossl, google or a URL", directory,
    { "type": "string" }
}

scalar! {
    /// A name that a certificate is ordered for: `example.org`, or `*.example.org` for any one label before it.
    Domain(AcmeDomain), "a DNS name", AcmeDomain::parse,
    { "type": "string" }
}

scalar! {
    /// A mail address.
    Email(Arc<str>), "a mail address", email,
    { "type": "string", "format": "email" }
}

scalar! {
    /// A URL, with http or https.
    Url(Arc<str>), "a URL", url,
    { "type": "string", "format": "uri" }
}

const DIRECTORIES: [(&str, &str); 4] = [
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
];

fn directory(text: &str) -> Result<Arc<str>, String> {
    if let Some((_, url)) = DIRECTORIES.iter().find(|(name, _)| *name == text) {
        return Ok((*url).into());
    }
    if text.starts_with("http://") {
        return Err(format!("\"{text}\" is not https, which ACME demands; write https://"));
    }
    match text.starts_with("https://") {
        true => url(text),
        false => {
            let names: Vec<_> = DIRECTORIES.iter().map(|(name, _)| *name).collect();
            Err(format!("there is no directory \"{text}\"; write {} or a URL", names.join(", ")))
        }
    }
}

fn email(text: &str) -> Result<Arc<str>, String> {
    let wrong = || format!("\"{text}\" is not a mail address; write it as \"ops@example.org\"");
    let (user, host) = text.split_once('@').ok_or_else(wrong)?;
    let is_plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || ",@?".contains(c));
    match is_plain(user) && is_plain(host) && !text.starts_with("mailto:") {
        true => Ok(text.into()),
        false => Err(wrong()),
    }
}

pub(super) fn url(text: &str) -> Result<Arc<str>, String> {
    let wrong = || format!("\"{text}\" is not a URL; write it as \"https://example.org/path\"");
    let uri: http::Uri = text.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(text.into()),
        _ => Err(wrong()),
    }
}
