//! What ACME's keys hold: directories, domains, addresses of services.

use std::sync::Arc;

use super::scalar;
use crate::model::AcmeDomain;
use crate::model::acme_words::{directory, email, url};

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
