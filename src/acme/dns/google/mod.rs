//! Google Cloud DNS, API v1.
//!
//! ```text
//! Tokens ──► bearer, project
//! name ──managedZones?dnsName=──► zone ──rrsets──► all values of the name ──changes { − old, + new }──► done
//!                                                      ▲                          └── 409 │ 412: changed meanwhile
//!                                                      └──────────────────────────────────┘
//! ```
//!
//! The values of a name are one object there, which is replaced as a whole: whoever changes it says what it was.

mod service_account;
mod token;

use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::token::{Access, Tokens};
use super::json_api::{Call, JsonApi, encoded};
use super::{Solver, TTL, suffixes};
use crate::http_client::HttpClient;
use crate::model::GoogleDns;

/// Others who write the same name do so as rarely as we.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

pub struct CloudDns {
    settings: GoogleDns,
    api: JsonApi,
    tokens: Tokens,
}

enum Refusal {
    /// What was to be replaced is not there any more, or what was to be added is there.
    Conflict(String),
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedZones {
    #[serde(default)]
    managed_zones: Vec<ManagedZone>,
}

#[derive(Deserialize)]
struct ManagedZone {
    name: String,
    /// None from before there were private zones.
    visibility: Option<String>,
}

#[derive(Deserialize)]
struct RecordSets {
    #[serde(default)]
    rrsets: Vec<RecordSet>,
}

#[derive(Clone, Deserialize, Serialize)]
struct RecordSet {
    name: String,
    r#type: String,
    ttl: u32,
    #[serde(default)]
    rrdatas: Vec<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: FailureReason,
}

#[derive(Deserialize)]
struct FailureReason {
    message: String,
}

impl CloudDns {
    pub fn new(settings: GoogleDns, http: HttpClient) -> Self {
        let api = JsonApi::new(http.clone(), &settings.api);
        let tokens = Tokens::new(settings.credentials.clone(), &settings.metadata, http);
        Self { settings, api, tokens }
    }

    /// Replaces the values of `name` by what `change` makes of them; it says None where there is nothing to do.
    async fn edit(&self, name: &str, change: impl Fn(&[String]) -> Option<Vec<String>> + Sync) -> Result<(), String> {
        let access = self.tokens.access(self.settings.project.as_deref()).await?;
        let zone = self.zone(&access, name).await?;
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS {
            tokio::time::sleep(PAUSE * attempt).await;
            let old = self.record_set(&access, &zone, name).await?;
            let Some(values) = change(old.as_ref().map_or(&[], |old| &old.rrdatas)) else { return Ok(()) };
            let new = (!values.is_empty()).then(|| RecordSet {
                name: format!("{name}."),
                r#type: "TXT".into(),
                ttl: old.as_ref().map_or(TTL, |old| old.ttl),
                rrdatas: values,
            });
            let body = json!({ "deletions": Vec::from_iter(old), "additions": Vec::from_iter(new) });
            match self.call::<Value>(Method::POST, &format!("{zone}/changes"), &access, Some(body)).await {
                Ok(_) => return Ok(()),
                Err(Refusal::Conflict(text)) => reason = text,
                Err(Refusal::Other(text)) => return Err(text),
            }
        }
        Err(format!("{reason}; others changed the record each of {ATTEMPTS} times"))
    }

    /// The path of the closest zone. Nobody outside sees private ones.
    async fn zone(&self, access: &Access, name: &str) -> Result<String, String> {
        let zones = format!("/projects/{}/managedZones", encoded(&access.project));
        for zone in suffixes(name) {
            let path = format!("{zones}?dnsName={}.", encoded(zone));
            let found: ManagedZones = self.call(Method::GET, &path, access, None).await?;
            let public =
                |zone: &&ManagedZone| zone.visibility.as_deref().is_none_or(|visibility| visibility == "public");
            if let Some(zone) = found.managed_zones.iter().find(public) {
                return Ok(format!("{zones}/{}", encoded(&zone.name)));
            }
        }
        Err(format!(
            "google: project {} has no public zone for {name}; write the one that has as google.project",
            access.project
        ))
    }

    async fn record_set(&self, access: &Access, zone: &str, name: &str) -> Result<Option<RecordSet>, String> {
        let path = format!("{zone}/rrsets?name={}.&type=TXT", encoded(name));
        let found: RecordSets = self.call(Method::GET, &path, access, None).await?;
        Ok(found.rrsets.into_iter().next())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        access: &Access,
        body: Option<Value>,
    ) -> Result<T, Refusal> {
        let call = Call { method, path, token: &access.token, body };
        let (status, body) = self.api.send(call).await.map_err(Refusal::Other)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| Refusal::Other(self.api.unreadable(status)));
        }
        if status == StatusCode::UNAUTHORIZED {
            self.tokens.forget().await;
        }
        let reason = match serde_json::from_slice::<Failure>(&body) {
            Ok(failure) => format!("google refuses ({}): {}", status.as_u16(), failure.error.message),
            Err(_) => self.api.unreadable(status),
        };
        Err(match status {
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Refusal::Conflict(reason),
            _ => Refusal::Other(reason),
        })
    }
}

#[async_trait]
impl Solver for CloudDns {
    async fn present(&self, name: &str, value: &str) -> Result<(), String> {
        let with = |old: &[String]| {
            let missing = !old.iter().any(|old| is(old, value));
            missing.then(|| old.iter().cloned().chain([format!("\"{value}\"")]).collect())
        };
        self.edit(name, with).await
    }

    async fn cleanup(&self, name: &str, value: &str) -> Result<(), String> {
        let without = |old: &[String]| {
            let rest: Vec<String> = old.iter().filter(|old| !is(old, value)).cloned().collect();
            (rest.len() < old.len()).then_some(rest)
        };
        self.edit(name, without).await
    }
}

/// They are kept as in a zone file, in quotes.
fn is(rrdata: &str, value: &str) -> bool {
    rrdata.trim_matches('"') == value
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict(reason) | Refusal::Other(reason) => reason,
        }
    }
}
