//! `https-redirect`: the same URL over https.

use http::HeaderValue;

use super::Verdict;
use crate::model::{HttpsRedirect, Scheme};
use crate::snapshot::request::RequestView;

pub fn run(redirect: &HttpsRedirect, request: &RequestView<'_>, raw_target: &str) -> Option<Verdict> {
    if request.scheme == Scheme::Https {
        return None;
    }
    if request.host.is_empty() {
        return Some(Verdict::refuse(400, "the request names no host to redirect to"));
    }
    let port = match redirect.port {
        443 => String::new(),
        port => format!(":{port}"),
    };
    // The head was inspected: a target holds no control bytes, and a host is a host name.
    match HeaderValue::try_from(format!("https://{}{port}{raw_target}", request.host)) {
        Ok(location) => Some(Verdict::Redirect { status: redirect.status.code(), location }),
        Err(_) => Some(Verdict::refuse(400, "the request's URL cannot be written as a header")),
    }
}
