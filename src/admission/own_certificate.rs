//! The webhook's own certificate: made by who leads, kept in a Secret, shown by every replica, and told to the API server.
//!
//! ```text
//! ValidatingWebhookConfiguration ──names──► leader ──► Secret NAME-webhook ──watch──► every replica shows it
//!            ▲──────────caBundle──────────────┘
//! ```
//!
//! The API server is told of an authority before anybody shows a certificate of it.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhookConfiguration, WebhookClientConfig};
use k8s_openapi::api::core::v1 as core;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use super::identity::{Identity, Shown};

/// No watch of Secrets that are served takes it in.
const SECRET_TYPE: &str = "weir/state";

/// Certificates last for months.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// After something that failed.
const PAUSE: Duration = Duration::from_secs(2);

/// What an own certificate needs.
#[derive(Clone)]
pub struct OwnCertificate {
    pub client: Client,
    /// Weir's own, for the Secret.
    pub namespace: String,
    /// The ValidatingWebhookConfiguration that leads here.
    pub configuration: String,
    /// Whether this process holds the Lease.
    pub leads: watch::Receiver<bool>,
}

/// For as long as it is polled.
pub async fn keep_own_certificate(own: OwnCertificate, shown: Shown) {
    let secrets: Api<core::Secret> = Api::namespaced(own.client.clone(), &own.namespace);
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(own.client.clone());
    let mut leads = own.leads.clone();
    let secret = format!("{}-webhook", own.configuration);
    let desk = Desk { secrets: secrets.clone(), configurations: configurations.clone(), secret, own };
    let by_name = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut kept = pin!(watcher::watcher(secrets, by_name(&desk.secret)));
    let mut asking = pin!(watcher::watcher(configurations, by_name(&desk.own.configuration)));
    let mut failing = Failing::default();
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            event = kept.next() => match event {
                Some(Ok(Event::Apply(secret) | Event::InitApply(secret))) => show(&shown, &secret),
                Some(Ok(Event::Init | Event::InitDone | Event::Delete(_))) => {}
                Some(Err(error)) => {
                    failing.tell(&error);
                    tokio::time::sleep(PAUSE).await;
                }
                None => return,
            },
            event = asking.next(), if *leads.borrow() => match event {
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    failing.tell(&error);
                    tokio::time::sleep(PAUSE).await;
                }
                None => return,
            },
            changed = leads.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(look_at) => {}
        }
        if !*leads.borrow_and_update() {
            look_at = Instant::now() + LOOK_EVERY;
            continue;
        }
        look_at = Instant::now()
            + match desk.look().await {
                Ok(()) => {
                    failing = Failing::default();
                    LOOK_EVERY
                }
                Err(error) => {
                    failing.tell(&error);
                    PAUSE
                }
            };
    }
}

fn show(shown: &Shown, secret: &core::Secret) {
    let bytes = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |bytes| &bytes.0);
    if let Err(reason) = shown.replace(bytes("tls.crt"), bytes("tls.key")) {
        tracing::warn!(reason, "the admission webhook's certificate cannot be shown");
    }
}

/// Told once for each outage.
#[derive(Default)]
struct Failing(bool);

impl Failing {
    fn tell(&mut self, error: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(%error, "the admission webhook's certificate cannot be looked after");
        }
    }
}

struct Desk {
    own: OwnCertificate,
    /// Its name.
    secret: String,
    secrets: Api<core::Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
}

impl Desk {
    /// Renews what is due, and tells the API server whom to trust.
    async fn look(&self) -> anyhow::Result<()> {
        let name = &self.own.configuration;
        let configuration = self.configurations.get_opt(name).await.context("the webhook's configuration")?;
        let configuration =
            configuration.ok_or_else(|| anyhow!("there is no ValidatingWebhookConfiguration {name}"))?;
        let names = names(&configuration);
        if names.is_empty() {
            return Err(anyhow!("the ValidatingWebhookConfiguration {name} names no Service and no URL"));
        }
        let secret = self.secrets.get_opt(&self.secret).await.with_context(|| format!("the Secret {}", self.secret))?;
        let before = secret.as_ref().and_then(identity_of);
        let next = Identity::renewed(before.as_ref(), &names, SystemTime::now()).context("making a certificate")?;
        let Some(next) = next else {
            let authorities = before.map(|before| before.authorities).unwrap_or_default();
            return self.tell(configuration, &authorities).await;
        };
        if before.is_some() {
            self.tell(configuration, &next.authorities).await?;
            self.store(secret, &next).await
        } else {
            // Nobody shows anything yet: whoever else is at it may be faster with the Secret.
            self.store(secret, &next).await?;
            self.tell(configuration, &next.authorities).await
        }
    }

    async fn store(&self, before: Option<core::Secret>, identity: &Identity) -> anyhow::Result<()> {
        let metadata = ObjectMeta { name: Some(self.secret.clone()), ..ObjectMeta::default() };
        let fresh = || core::Secret { metadata, type_: Some(SECRET_TYPE.into()), ..core::Secret::default() };
        let is_there = before.is_some();
        let mut secret = before.unwrap_or_else(fresh);
        let Identity { authorities, authority_key, chain, key } = identity;
        let entries = [("ca.crt", authorities), ("ca.key", authority_key), ("tls.crt", chain), ("tls.key", key)];
        let entries = entries.map(|(name, text)| (name.to_owned(), ByteString(text.clone().into_bytes())));
        secret.data = Some(entries.into());
        let labels = secret.metadata.labels.get_or_insert_default();
        labels.insert("app.kubernetes.io/managed-by".into(), "weir".into());
        let written = match is_there {
            true => self.secrets.replace(&self.secret, &PostParams::default(), &secret).await,
            false => self.secrets.create(&PostParams::default(), &secret).await,
        };
        written.with_context(|| format!("the Secret {} cannot be written", self.secret))?;
        tracing::info!("the admission webhook has a new certificate");
        Ok(())
    }

    async fn tell(&self, mut configuration: ValidatingWebhookConfiguration, authorities: &str) -> anyhow::Result<()> {
        let bundle = Some(ByteString(authorities.as_bytes().to_vec()));
        let mut is_told = true;
        for webhook in configuration.webhooks.iter_mut().flatten() {
            is_told &= webhook.client_config.ca_bundle == bundle;
            webhook.client_config.ca_bundle = bundle.clone();
        }
        if is_told {
            return Ok(());
        }
        let name = &self.own.configuration;
        let written = self.configurations.replace(name, &PostParams::default(), &configuration).await;
        written.with_context(|| format!("the ValidatingWebhookConfiguration {name} cannot be written"))?;
        Ok(())
    }
}

fn identity_of(secret: &core::Secret) -> Option<Identity> {
    let data = secret.data.as_ref()?;
    let text = |key: &str| String::from_utf8(data.get(key)?.0.clone()).ok();
    Some(Identity {
        authorities: text("ca.crt")?,
        authority_key: text("ca.key")?,
        chain: text("tls.crt")?,
        key: text("tls.key")?,
    })
}

/// What the API server calls the webhook by. Sorted.
fn names(configuration: &ValidatingWebhookConfiguration) -> Vec<String> {
    let webhooks = configuration.webhooks.iter().flatten();
    let mut names: Vec<String> = webhooks.filter_map(|webhook| name(&webhook.client_config)).collect();
    names.sort();
    names.dedup();
    names
}

fn name(config: &WebhookClientConfig) -> Option<String> {
    if let Some(service) = &config.service {
        return Some(format!("{}.{}.svc", service.name, service.namespace));
    }
    let url: http::Uri = config.url.as_ref()?.parse().ok()?;
    Some(url.host()?.trim_matches(['[', ']']).to_owned())
}
