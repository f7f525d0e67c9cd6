//! dns-01: who writes the TXT record, and when it can be taken for seen.
//!
//! ```text
//! model::DnsProvider ──► Solver: present ──► propagation: do the zone's servers show it? ──► cleanup
//! ```

use async_trait::async_trait;

/// Writes TXT records. Several values may stand under one name: a wildcard and its base name are proven together.
#[async_trait]
pub trait Solver: Send + Sync {
    /// `name`: as `_acme-challenge.a.test`, without a trailing dot. The error is a reason to show.
    async fn present(&self, name: &str, value: &str) -> Result<(), String>;

    /// Takes this one value back. One that is not there is no error.
    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String>;
}

pub fn solver(_: &crate::model::DnsProvider, _: crate::http_client::HttpClient) -> Box<dyn Solver> {
    unimplemented!("on its way")
}
pub async fn target(name: &str, _: &[std::net::SocketAddr]) -> String {
    name.to_owned()
}
pub async fn wait(
    _: &str,
    _: &str,
    _: &crate::model::DnsPropagation,
    _: &[std::net::SocketAddr],
) -> Result<(), String> {
    Ok(())
}
