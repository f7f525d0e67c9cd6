//! `https-redirect`, `www-redirect`, `app-root` and `trailing-slash`: the client is sent to the right URL.

use http::HeaderValue;

use super::Verdict;
use crate::snapshot::redirect::Redirecting;
use crate::snapshot::request::RequestView;
use crate::snapshot::rewrite::BadRewrite;

pub fn run(redirecting: &Redirecting, request: &RequestView<'_>, raw_target: &str) -> Option<Verdict> {
    Some(match redirecting.location(request, raw_target)?.map(HeaderValue::try_from) {
        Ok(Ok(location)) => Verdict::Redirect { status: redirecting.status().code(), location },
        Ok(Err(_)) => Verdict::refuse(400, "the request's URL cannot be written as a header"),
        Err(BadRewrite::NoHost) => Verdict::refuse(400, "the request names no host to redirect to"),
        Err(BadRewrite::DotSegment | BadRewrite::NoMatch) => Verdict::refuse(400, "the request cannot be redirected"),
    })
}

pub fn name(redirecting: &Redirecting) -> &'static str {
    match redirecting {
        Redirecting::Https(_) => "https-redirect",
        Redirecting::Www(_) => "www-redirect",
        Redirecting::AppRoot(_) => "app-root",
        Redirecting::TrailingSlash(_) => "trailing-slash",
    }
}
