//! The ACME server: how it is talked to, and the account that we have there.
//!
//! ```text
//! Authority { directory, HttpClient } ──connect──► stored account, or a new one ──► Session { Account, retry_after }
//! ```
//!
//! One session for each attempt: what a server wants us to wait is known by who was told.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient as AcmeHttp,
    NewAccount, Problem,
};
use serde::{Deserialize, Serialize};

use super::storage::{CertificateStorage, Secret};
use super::words;
use crate::http_client::HttpClient;
use crate::model::{self, ExternalAccount};
use crate::timestamp::Timestamp;

pub struct Authority {
    settings: Arc<model::Acme>,
    http: HttpClient,
    storage: Arc<dyn CertificateStorage>,
    /// Nothing is ordered before, whatever the certificate.
    paused_until: Mutex<Option<SystemTime>>,
}

/// One conversation.
pub struct Session {
    pub account: Account,
    retry_after: RetryAfter,
}

/// Why an attempt failed.
#[derive(Debug)]
pub struct Failure {
    pub words: String,
    /// The authority wants to be asked no sooner.
    pub retry_after: Option<SystemTime>,
    /// Nothing is wrong but the nonce: to be tried again at once.
    pub is_bad_nonce: bool,
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self { words, retry_after: None, is_bad_nonce: false }
    }
}

/// What is kept of an account.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StoredAccount {
    credentials: AccountCredentials,
    email: Option<String>,
}

/// Longer than a week nobody is left alone with all certificates.
const LONGEST_PAUSE: Duration = Duration::from_secs(7 * 86_400);

/// Nobody means more.
const LONGEST_WISH: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How often, and how long, another process is waited for that makes the account.
const LOOKS: u32 = 60;
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Authority {
    pub fn new(settings: Arc<model::Acme>, http: HttpClient, storage: Arc<dyn CertificateStorage>) -> Self {
        Self { settings, http, storage, paused_until: Mutex::default() }
    }

    pub fn directory(&self) -> &str {
        &self.settings.directory
    }

    /// The authority has had enough of this account, or of everybody.
    pub fn paused_until(&self) -> Option<SystemTime> {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another process was told.
    pub fn pause_until(&self, at: SystemTime) {
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *paused = (*paused).max(Some(at));
    }

    /// An error of the authority's, in words.
    pub fn failure(&self, session: &Session, error: &Error) -> Failure {
        self.in_words(error, &session.retry_after)
    }

    fn in_words(&self, error: &Error, retry_after: &RetryAfter) -> Failure {
        let now = (SystemTime::now(), Instant::now());
        let later = match error {
            Error::Timeout(Some(at)) => Some(now.0 + at.saturating_duration_since(now.1)),
            _ => retry_after.take(),
        };
        if words::concerns_all(error)
            && let Some(at) = later
        {
            tracing::warn!(directory = self.directory(), until = %Timestamp::from(at), "the authority wants to be left alone");
            self.pause_until(at.min(now.0 + LONGEST_PAUSE));
        }
        Failure {
            words: words::of_error(self.directory(), error),
            retry_after: later,
            is_bad_nonce: words::is_bad_nonce(error),
        }
    }

    /// With the account that is stored, or a new one.
    pub async fn connect(&self) -> Result<Session, Failure> {
        let retry_after = RetryAfter::default();
        match self.stored().await? {
            Some(stored) => self.resume(stored, retry_after).await,
            None => self.register(None, retry_after).await,
        }
    }

    /// A new account instead of one that the authority does not know any more.
    pub async fn connect_anew(&self, forgotten: &Session) -> Result<Session, Failure> {
        self.register(Some(forgotten.account.id()), RetryAfter::default()).await
    }

    async fn stored(&self) -> Result<Option<StoredAccount>, Failure> {
        let text = self.storage.account(self.directory()).await.map_err(|error| error.to_string())?;
        let parse = |text: Secret| {
            serde_json::from_str(text.expose()).map_err(|error| {
                format!(
                    "the account of {} in the storage cannot be read: {error}; take it out to get a new one",
                    self.directory()
                )
            })
        };
        Ok(text.map(parse).transpose()?)
    }

    async fn resume(&self, stored: StoredAccount, retry_after: RetryAfter) -> Result<Session, Failure> {
        let builder = Account::builder_with_http(Box::new(self.http(&retry_after)));
        let credentials = serde_json::to_value(&stored.credentials).map_err(|error| error.to_string())?;
        let account =
            builder.from_credentials(stored.credentials).await.map_err(|e| self.in_words(&e, &retry_after))?;
        if stored.email.as_deref() != self.settings.email.as_deref() {
            let contact = self.contact();
            let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
            match account.update_contacts(&contact).await {
                Ok(()) => {
                    let credentials = serde_json::from_value(credentials).map_err(|error| error.to_string())?;
                    self.store(credentials).await?;
                }
                // Whoever uses the account next is told.
                Err(error) if words::is_unknown_account(&error) => {}
                Err(error) => return Err(self.in_words(&error, &retry_after)),
            }
        }
        Ok(Session { account, retry_after })
    }

    async fn register(&self, forgotten: Option<&str>, retry_after: RetryAfter) -> Result<Session, Failure> {
        for _ in 0..LOOKS {
            let lock = format!("account-{}", self.directory());
            if let Some(_lease) = self.storage.lock(&lock).await.map_err(|error| error.to_string())? {
                return match self.stored().await? {
                    // Another process was faster.
                    Some(stored) if forgotten.is_none_or(|id| !has_id(&stored.credentials, id)) => {
                        self.resume(stored, retry_after).await
                    }
                    Some(_) | None => self.create(retry_after).await,
                };
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("another process has been making the account for a minute; is it stuck?".to_owned().into())
    }

    async fn create(&self, retry_after: RetryAfter) -> Result<Session, Failure> {
        let contact = self.contact();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let binding = match &self.settings.external_account {
            Some(account) => Some(self.external_account_key(account).await?),
            None => None,
        };
        let builder = Account::builder_with_http(Box::new(self.http(&retry_after)));
        let created = builder.create(&wanted, self.directory().to_owned(), binding.as_ref()).await;
        let (account, credentials) = created.map_err(|error| self.in_words(&error, &retry_after))?;
        self.store(credentials).await?;
        tracing::info!(directory = self.directory(), account = account.id(), "registered an ACME account");
        Ok(Session { account, retry_after })
    }

    async fn external_account_key(&self, account: &ExternalAccount) -> Result<ExternalAccountKey, String> {
        let text = self.storage.external_account_key(&account.hmac_file).await;
        let text = text.map_err(|error| format!("cannot read the key of the external account from {error}"))?;
        // Authorities show it in base64url, some in plain base64.
        let text = text.expose().trim().trim_end_matches('=');
        let key = BASE64_URL_SAFE_NO_PAD.decode(text).or_else(|_| BASE64_STANDARD.decode(padded(text)));
        let path = account.hmac_file.display();
        let key = key.map_err(|_| format!("the key of the external account in {path} is not base64url"))?;
        Ok(ExternalAccountKey::new(account.key_id.to_string(), &key))
    }

    async fn store(&self, credentials: AccountCredentials) -> Result<(), Failure> {
        let email = self.settings.email.as_deref().map(str::to_owned);
        let text = serde_json::to_string_pretty(&StoredAccount { credentials, email }).map_err(|e| e.to_string())?;
        Ok(self.storage.put_account(self.directory(), &Secret::new(text)).await.map_err(|error| error.to_string())?)
    }

    fn contact(&self) -> Vec<String> {
        self.settings.email.iter().map(|email| format!("mailto:{email}")).collect()
    }

    fn http(&self, retry_after: &RetryAfter) -> Http {
        Http { client: self.http.clone(), retry_after: retry_after.clone() }
    }
}

impl Session {
    /// What the authority wished since it was last asked.
    pub fn retry_after(&self) -> Option<SystemTime> {
        self.retry_after.take()
    }
}

fn has_id(credentials: &AccountCredentials, id: &str) -> bool {
    serde_json::to_value(credentials).is_ok_and(|stored| stored["id"] == id)
}

fn padded(text: &str) -> String {
    format!("{text}{}", "=".repeat(text.len().wrapping_neg() % 4))
}

/// The last `Retry-After` of an answer that was no success.
#[derive(Clone, Default)]
struct RetryAfter(Arc<Mutex<Option<SystemTime>>>);

impl RetryAfter {
    fn note(&self, at: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn take(&self) -> Option<SystemTime> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Our HTTP client, as instant-acme wants it.
struct Http {
    client: HttpClient,
    retry_after: RetryAfter,
}

impl AcmeHttp for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, retry_after) = (self.client.clone(), self.retry_after.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let method = head.method.clone();
            let Ok(body) = body.collect().await;
            let answer = client.send(Request::from_parts(head, body.to_bytes())).await;
            let mut answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            match retry_after_of(&answer, SystemTime::now()) {
                Some(at) if !answer.status().is_success() => retry_after.note(at),
                Some(_) => {}
                // A number of seconds without end stops instant-acme with a panic.
                None => drop(answer.headers_mut().remove(RETRY_AFTER)),
            }
            match outage(&answer, &method) {
                Some(problem) => Err(problem.into()),
                None => Ok(BytesResponse::from(answer.map(Full::new))),
            }
        })
    }
}

/// What is no answer of an authority's: of a server in front of it, or of one that is something else.
fn outage(answer: &Response<Bytes>, method: &http::Method) -> Option<Problem> {
    let status = answer.status();
    let is_problem = serde_json::from_slice::<Problem>(answer.body()).is_ok();
    let is_answer = status.is_success() || method == http::Method::POST && is_problem;
    let problem = || Problem {
        r#type: None,
        detail: Some(format!("it answers with status {}", status.as_u16())),
        status: Some(status.as_u16()),
        subproblems: Vec::new(),
    };
    (!is_answer).then(problem)
}

/// Seconds or a date (RFC 9110 §10.2.3).
fn retry_after_of(answer: &Response<Bytes>, now: SystemTime) -> Option<SystemTime> {
    let value = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse::<u64>() {
        Ok(seconds) if seconds <= LONGEST_WISH.as_secs() => Some(now + Duration::from_secs(seconds)),
        Ok(_) => None,
        Err(_) => httpdate::parse_http_date(value).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let answer = |value: &str| Response::builder().header(RETRY_AFTER, value).body(Bytes::new()).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(retry_after_of(&answer("120"), now), Some(now + Duration::from_secs(120)));
        assert_eq!(retry_after_of(&answer("Sun, 06 Nov 1994 08:49:37 GMT"), SystemTime::now()), Some(now));
        assert_eq!(retry_after_of(&answer("soon"), now), None);
        assert_eq!(retry_after_of(&answer("18446744073709551615"), now), None);
    }

    #[test]
    fn base64_is_padded_to_fours() {
        for (text, length) in [("", 0), ("ab", 4), ("abc", 4), ("abcd", 4)] {
            assert_eq!(padded(text).len(), length);
        }
    }
}
