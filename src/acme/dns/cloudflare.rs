//! Cloudflare's API v4.
//!
//! ```text
//! name ──GET /zones?name=──► zone ──► POST /zones/ID/dns_records
//!                                 └─► GET …?type=TXT&name= ──► DELETE …/ID of those with the value
//! ```

use async_trait::async_trait;
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::json_api::{Call, JsonApi, encoded};
use super::{Solver, TTL, read_secret, suffixes};
use crate::acme::storage::Secret;
use crate::http_client::HttpClient;
use crate::model::Cloudflare;

/// The same record is there already; "identical" in their words.
const ALREADY_THERE: [u32; 2] = [81057, 81058];
/// Somebody else was faster.
const NOT_THERE: u32 = 81044;
/// What a name can have in TXT records at most is less.
const PAGE: u32 = 100;

pub struct CloudflareApi {
    settings: Cloudflare,
    api: JsonApi,
}

struct Refusal {
    codes: Vec<u32>,
    reason: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<ApiError>,
    result: Option<T>,
}

#[derive(Deserialize)]
struct ApiError {
    code: u32,
    message: String,
    /// The cause, where `message` is but a heading.
    #[serde(default)]
    error_chain: Vec<ApiError>,
}

#[derive(Deserialize)]
struct Zone {
    id: String,
}

#[derive(Deserialize)]
struct DnsRecord {
    id: String,
    content: String,
}

impl CloudflareApi {
    pub fn new(settings: Cloudflare, http: HttpClient) -> Self {
        let api = JsonApi::new(http, &settings.api);
        Self { settings, api }
    }

    async fn token(&self) -> Result<Secret, String> {
        read_secret(&self.settings.token_file).await
    }

    /// The path of the closest zone's records.
    async fn records(&self, token: &Secret, name: &str) -> Result<String, String> {
        for zone in suffixes(name).filter(|zone| zone.contains('.')) {
            let path = format!("/zones?name={}", encoded(zone));
            let zones: Vec<Zone> = self.call(Method::GET, &path, token, None).await?;
            if let Some(zone) = zones.first() {
                return Ok(format!("/zones/{}/dns_records", zone.id));
            }
        }
        let file = self.settings.token_file.display();
        Err(format!("cloudflare shows no zone for {name}; may the token in {file} read the zone and edit its DNS?"))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        token: &Secret,
        body: Option<Value>,
    ) -> Result<T, Refusal> {
        let (status, body) = self.api.send(Call { method, path, token, body }).await.map_err(Refusal::other)?;
        let envelope = serde_json::from_slice::<Envelope<T>>(&body);
        match envelope.map_err(|_| Refusal::other(self.api.unreadable(status)))? {
            Envelope { success: true, result: Some(result), .. } => Ok(result),
            Envelope { errors, .. } => Err(Refusal {
                codes: errors.iter().map(|error| error.code).collect(),
                reason: format!("cloudflare refuses ({}): {}", status.as_u16(), in_words(&errors)),
            }),
        }
    }
}

#[async_trait]
impl Solver for CloudflareApi {
    async fn present(&self, name: &str, value: &str) -> Result<(), String> {
        let token = self.token().await?;
        let records = self.records(&token, name).await?;
        let record = json!({ "type": "TXT", "name": name, "content": quoted(value), "ttl": TTL });
        match self.call::<DnsRecord>(Method::POST, &records, &token, Some(record)).await {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.codes.iter().any(|code| ALREADY_THERE.contains(code)) => Ok(()),
            Err(refusal) => Err(refusal.reason),
        }
    }

    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String> {
        let token = self.token().await?;
        let records = self.records(&token, name).await?;
        let path = format!("{records}?type=TXT&name={}&per_page={PAGE}", encoded(name));
        let found: Vec<DnsRecord> = self.call(Method::GET, &path, &token, None).await?;
        // Older records come without the quotes.
        let ours = found.iter().filter(|record| record.content.trim_matches('"') == value);
        for record in ours {
            let path = format!("{records}/{}", record.id);
            match self.call::<Value>(Method::DELETE, &path, &token, None).await {
                Ok(_) => {}
                Err(refusal) if refusal.codes.contains(&NOT_THERE) => {}
                Err(refusal) => return Err(refusal.reason),
            }
        }
        Ok(())
    }
}

impl Refusal {
    fn other(reason: String) -> Self {
        Self { codes: Vec::new(), reason }
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.reason
    }
}

/// `10000 Authentication error`; causes follow in parentheses.
fn in_words(errors: &[ApiError]) -> String {
    let word = |error: &ApiError| match error.error_chain.as_slice() {
        [] => format!("{} {}", error.code, error.message),
        causes => format!("{} {} ({})", error.code, error.message, in_words(causes)),
    };
    match errors {
        [] => "no reason is given".into(),
        errors => errors.iter().map(word).collect::<Vec<_>>().join("; "),
    }
}

/// As in a zone file; content without quotes is taken too, but marked as a mistake in their dashboard.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}
