//! dns-01: who writes the TXT record, and when it can be taken for seen.
//!
//! ```text
//! name ──► alias: where CNAMEs lead ──► Solver: present ──► propagation: do the zone's servers show it? ──► Solver: cleanup
//!                                          ▲
//! model::DnsProvider ──────────────────────┴─ rfc2136 │ cloudflare │ google │ exec
//! ```
//!
//! A solver reads the file of its secret whenever it needs it: one that was replaced is in use without a reload. It knows
//! nothing of orders, and nobody waits here for the authority.

mod alias;
mod cloudflare;
mod exec;
mod google;
mod json_api;
mod lookup;
mod propagation;
mod rfc2136;

#[cfg(test)]
mod tests;

pub use alias::target;
pub use propagation::wait;

use std::path::Path;

use async_trait::async_trait;

use super::storage::Secret;
use crate::http_client::HttpClient;
use crate::model::DnsProvider;

/// How long resolvers may keep a record, in seconds: it is there for minutes, and the next one has another value.
const TTL: u32 = 60;

/// Writes TXT records. Several values may stand under one name: a wildcard and its base name are proven together.
#[async_trait]
pub trait Solver: Send + Sync {
    /// `name`: as `_acme-challenge.a.test`, without a trailing dot. The error is a reason to show.
    async fn present(&self, name: &str, value: &str) -> Result<(), String>;

    /// Takes this one value back. One that is not there is no error.
    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String>;
}

/// Reads and asks nothing yet. `http`: for the providers that are an API.
pub fn solver(provider: &DnsProvider, http: HttpClient) -> Box<dyn Solver> {
    match provider {
        DnsProvider::Rfc2136(settings) => Box::new(rfc2136::DynamicUpdate::new(settings.clone())),
        DnsProvider::Cloudflare(settings) => Box::new(cloudflare::CloudflareApi::new(settings.clone(), http)),
        DnsProvider::Google(settings) => Box::new(google::CloudDns::new(settings.clone(), http)),
        DnsProvider::Exec(settings) => Box::new(exec::Program::new(settings.clone())),
    }
}

/// The text of a secret's file, without the white space around it.
async fn read_secret(path: &Path) -> Result<Secret, String> {
    let text = tokio::fs::read_to_string(path).await.map_err(|error| format!("{}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{}: the file is empty; write the secret into it", path.display())),
        secret => Ok(Secret::new(secret)),
    }
}

/// `c.b.a`, `b.a`, `a`: the zones that a name may be in, the closest first.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent))
}
