//! Sets of keys are fetched from where their issuers show them, at a start and again and again.
//!
//! ```text
//! Keys.source ──GET──► KeySet ──► Keys           due: Cache-Control: max-age, `refresh` at the latest
//!      ▲                 └failed: what was there stays, back-off, a log line for each outage
//!      └── due, or a token names a key that is not there
//! ```
//!
//! Runs on the control plane, one owner for each URL.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::task::JoinSet;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::http_client::HttpClient;
use crate::model::{FilterKind, Jwt, JwtKeys, KeysUrl, Model};
use crate::telemetry::metrics::KeySetMetrics;
use crate::tokens::{FetchOutcome, KeySet, Keys};

/// An issuer that hangs is tried again.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Sooner than this no `max-age` makes it fetched again: some issuers say 0.
const SOONEST: Duration = Duration::from_secs(60);
/// After a first failure; doubled after each further one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

const AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"));

/// Fetches one set for as long as it lives.
#[derive(Debug)]
pub struct KeyFetcher {
    _owner: JoinSet<()>,
}

impl KeyFetcher {
    /// Starts it on the current Tokio runtime.
    pub fn start(keys: Arc<Keys>, metrics: Arc<KeySetMetrics>) -> Self {
        let mut owner = JoinSet::new();
        owner.spawn(run(keys, metrics));
        Self { _owner: owner }
    }
}

async fn run(keys: Arc<Keys>, metrics: Arc<KeySetMetrics>) {
    let (mut failures, mut client) = (0, None);
    loop {
        let outcome = match client_for(&mut client, &keys).await {
            Ok(client) => fetch(client, &keys.source.url).await,
            Err(error) => Err(error),
        };
        let wait = conclude(&keys, &metrics, outcome, &mut failures);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = keys.wanted() => {}
        }
    }
}

/// Takes the outcome in; returns how long to wait until the next.
fn conclude(
    keys: &Keys,
    metrics: &KeySetMetrics,
    outcome: Result<(KeySet, Option<Duration>), String>,
    failures: &mut u32,
) -> Duration {
    let (url, refresh) = (&*keys.source.url, keys.source.refresh);
    match outcome {
        Ok((set, max_age)) => {
            let (count, left_out) = (set.len(), set.left_out);
            metrics.fetched(count, SystemTime::now());
            if *failures > 0 {
                tracing::info!(url, "keys can be fetched again");
            }
            *failures = 0;
            if keys.conclude(FetchOutcome::Got(set)) {
                tracing::info!(url, keys = count, left_out, "keys fetched");
            }
            max_age.map_or(refresh, |age| age.max(SOONEST).min(refresh))
        }
        Err(error) => {
            metrics.failed.increment();
            // Once for each outage; the retries only say it again.
            match (*failures, keys.set()) {
                (0, Some(_)) => tracing::warn!(url, error, "keys cannot be fetched; those that are known are used on"),
                (0, None) => {
                    tracing::error!(
                        url,
                        error,
                        "keys cannot be fetched, and none are known: nobody comes in by a token"
                    );
                }
                (1.., _) => tracing::debug!(url, error, "keys cannot be fetched"),
            }
            let wait = FIRST_RETRY.saturating_mul(2u32.saturating_pow(*failures)).min(LONGEST_RETRY).min(refresh);
            *failures = failures.saturating_add(1);
            keys.conclude(FetchOutcome::Failed);
            wait
        }
    }
}

/// Made anew while its roots cannot be read.
async fn client_for<'c>(client: &'c mut Option<HttpClient>, keys: &Keys) -> Result<&'c HttpClient, String> {
    if client.is_none() {
        let ca = keys.source.ca.clone();
        let make = move || match ca {
            None => HttpClient::new(&[]).map_err(|error| error.to_string()),
            Some(path) => HttpClient::trusting(&roots(&path)?).map_err(|error| error.to_string()),
        };
        let made = tokio::task::spawn_blocking(make).await.map_err(|error| error.to_string())??;
        *client = Some(made.with_time_limit(TIME_LIMIT));
    }
    client.as_ref().ok_or_else(String::new)
}

/// What speaks against fetching: roots that cannot be read. Blocks on files.
pub fn check(model: &Model) -> Diagnostics {
    let mut found = Diagnostics::default();
    for filter in model.filters() {
        if let FilterKind::Jwt(Jwt { keys: JwtKeys::Url(KeysUrl { ca: Some(ca), .. }), .. }) = &filter.kind
            && let Err(message) = roots(ca)
        {
            found.push(Diagnostic::error(filter.origin.clone(), "jwt.ca", message));
        }
    }
    found
}

/// Of a PEM file; at least one. Blocks.
fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |reason: String| format!("cannot read roots from {}: {reason}", path.display());
    let roots: Vec<_> =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| wrong(error.to_string()))?;
    if roots.is_empty() { Err(wrong("there is no certificate in it".into())) } else { Ok(roots) }
}

async fn fetch(client: &HttpClient, url: &str) -> Result<(KeySet, Option<Duration>), String> {
    let request = Request::get(url)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, AGENT)
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let answer = client.send(request).await.map_err(|error| error.to_string())?;
    if answer.status() != StatusCode::OK {
        return Err(format!("it answered {}", answer.status().as_u16()));
    }
    let max_age = max_age(answer.headers());
    Ok((KeySet::parse(answer.body())?, max_age))
}

/// RFC 9111 §5.2.2.1.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        let seconds = seconds.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_an_answer_is_read() {
        for (value, expected) in [
            ("public, max-age=3600", Some(3600)),
            ("Max-Age=\"5\"", Some(5)),
            ("s-maxage=3, no-transform", None),
            ("max-age=abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }
}
