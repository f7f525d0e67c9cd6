//! Access tokens of Google's, kept while they last.
//!
//! ```text
//! key file ──ServiceAccount──► assertion ──POST token_uri──┐
//!                                                          ├──► token, until shortly before it expires
//! no key file ──GET metadata server: the machine's account─┘
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Method, Request, header};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::service_account::ServiceAccount;
use crate::acme::dns::json_api::encoded;
use crate::acme::dns::read_secret;
use crate::acme::storage::Secret;
use crate::http_client::HttpClient;

/// A token must outlive the requests that are begun with it.
const MARGIN: Duration = Duration::from_secs(60);

const METADATA: &str = "/computeMetadata/v1";

pub struct Tokens {
    credentials: Option<PathBuf>,
    metadata: Arc<str>,
    http: HttpClient,
    /// Locked while one is got, so that those who wait for it find it.
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
pub struct Access {
    pub token: Secret,
    pub project: String,
}

struct Kept {
    token: Secret,
    until: Instant,
    /// The content of the key file: another one is another account, or a key that was replaced.
    of: Option<Secret>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct Denied {
    error: String,
    error_description: Option<String>,
}

impl Tokens {
    pub fn new(credentials: Option<PathBuf>, metadata: &str, http: HttpClient) -> Self {
        Self { credentials, metadata: metadata.trim_end_matches('/').into(), http, kept: Mutex::new(None) }
    }

    /// `project`: the configured one.
    pub async fn access(&self, project: Option<&str>) -> Result<Access, String> {
        let key_file = match &self.credentials {
            Some(path) => Some((path, read_secret(path).await?)),
            None => None,
        };
        let account = match &key_file {
            Some((path, text)) => {
                Some(ServiceAccount::parse(text).map_err(|reason| format!("{}: {reason}", path.display()))?)
            }
            None => None,
        };
        let token = self.token(account.as_ref(), key_file.map(|(_, text)| text)).await?;
        let project = match (project, account.and_then(|account| account.project_id)) {
            (Some(project), _) => project.to_owned(),
            (None, Some(project)) => project,
            (None, None) => self.own_project().await?,
        };
        Ok(Access { token, project })
    }

    /// The kept one was not taken.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    async fn token(&self, account: Option<&ServiceAccount>, of: Option<Secret>) -> Result<Secret, String> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = &*kept
            && kept.of == of
            && Instant::now() < kept.until
        {
            return Ok(kept.token.clone());
        }
        let asked = Instant::now();
        let granted = match account {
            Some(account) => self.exchange(account).await?,
            None => self.own_token().await?,
        };
        let token = Secret::new(granted.access_token);
        let lifetime = Duration::from_secs(granted.expires_in).saturating_sub(MARGIN);
        *kept = Some(Kept { token: token.clone(), until: asked + lifetime, of });
        Ok(token)
    }

    /// An assertion for a token (RFC 7523 §2.1).
    async fn exchange(&self, account: &ServiceAccount) -> Result<Granted, String> {
        let assertion = account.assertion(SystemTime::now())?;
        let grant = encoded("urn:ietf:params:oauth:grant-type:jwt-bearer");
        let form = format!("grant_type={grant}&assertion={}", encoded(&assertion));
        let request = Request::builder()
            .method(Method::POST)
            .uri(&account.token_uri)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form));
        let at = &account.token_uri;
        let request = request.map_err(|error| format!("{at}: no request can be made: {error}"))?;
        let answer = self.http.send(request).await.map_err(|error| format!("{at}: {error}"))?;
        if answer.status().is_success() {
            return serde_json::from_slice(answer.body()).map_err(|_| format!("{at}: the answer holds no token"));
        }
        let reason = match serde_json::from_slice::<Denied>(answer.body()) {
            Ok(Denied { error, error_description: Some(description) }) => format!("{error}: {description}"),
            Ok(Denied { error, error_description: None }) => error,
            Err(_) => answer.status().to_string(),
        };
        Err(format!("{at} gives {} no token: {reason}", account.client_email))
    }

    async fn own_token(&self) -> Result<Granted, String> {
        let body = self.ask_metadata("/instance/service-accounts/default/token").await?;
        serde_json::from_slice(&body).map_err(|_| format!("{}: the answer holds no token", self.metadata))
    }

    async fn own_project(&self) -> Result<String, String> {
        let body = self.ask_metadata("/project/project-id").await?;
        Ok(String::from_utf8_lossy(&body).trim().to_owned())
    }

    async fn ask_metadata(&self, path: &str) -> Result<Bytes, String> {
        let at = &self.metadata;
        let request = Request::builder().uri(format!("{at}{METADATA}{path}")).header("Metadata-Flavor", "Google");
        let request = request.body(Bytes::new()).map_err(|error| format!("{at}: no request can be made: {error}"))?;
        let elsewhere = "outside of Google Cloud, write credentials: path/to/key.json";
        let answer = self.http.send(request).await;
        let answer =
            answer.map_err(|error| format!("the metadata server {at} cannot be asked: {error}; {elsewhere}"))?;
        match answer.status().is_success() {
            true => Ok(answer.into_body()),
            false => Err(format!(
                "the metadata server {at} answers {} for {path}: has the machine a service account that may use DNS?",
                answer.status().as_u16()
            )),
        }
    }
}
