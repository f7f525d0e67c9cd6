//! The webhook's own certificate: made by who leads, kept in a Secret, shown by every replica, and told to the API server.
//!
//! ```text
//! ValidatingWebhookConfiguration ──names──► leader ──► Secret NAME-webhook ──watch──► every replica shows it
//!            ▲──────────caBundle──────────────┘
//! ```
//!
//! The API server is told of an authority before anybody shows a certificate of it.

use std::fmt::Debug;
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
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};

use super::identity::{Identity, Shown};

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
    /// The Secret's: no watch of Secrets that are served takes it in.
    pub secret_type: &'static str,
    /// The ValidatingWebhookConfiguration that leads here.
    pub configuration: String,
    /// Whether this process holds the Lease.
    pub leads: watch::Receiver<bool>,
}

/// For as long as it is polled.
pub async fn keep_own_certificate(own: OwnCertificate, shown: Shown) {
    let secret = format!("{}-webhook", own.configuration);
    let secrets: Api<core::Secret> = Api::namespaced(own.client.clone(), &own.namespace);
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(own.client.clone());
    let touched = Notify::new();
    let kept = follow(secrets.clone(), secret.clone(), &touched, |secret| show(&shown, secret));
    let asking = follow(configurations.clone(), own.configuration.clone(), &touched, |_| {});
    let desk = Desk { own, secret, secrets, configurations };
    tokio::join!(kept, asking, desk.look_after(&touched));
}

/// One object, as it is and whenever it changes.
async fn follow<K>(api: Api<K>, name: String, touched: &Notify, take: impl Fn(&K))
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut events = pin!(watcher::watcher(api, watcher::Config::default().fields(&format!("metadata.name={name}"))));
    let mut failing = Failing::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => continue,
            Ok(Event::Apply(object) | Event::InitApply(object)) => take(&object),
            Ok(Event::InitDone | Event::Delete(_)) => {}
            Err(error) => {
                failing.tell(&error);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        failing = Failing::default();
        touched.notify_one();
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
    /// Where this replica leads, whenever something was touched, and now and then.
    async fn look_after(&self, touched: &Notify) {
        let mut leads = self.own.leads.clone();
        let mut failing = Failing::default();
        loop {
            let is_leader = *leads.borrow_and_update();
            let pause = match if is_leader { self.look().await } else { Ok(()) } {
                Ok(()) => {
                    failing = Failing::default();
                    LOOK_EVERY
                }
                Err(error) => {
                    failing.tell(&format_args!("{error:#}"));
                    PAUSE
                }
            };
            tokio::select! {
                changed = leads.changed() => if changed.is_err() { return },
                () = touched.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

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
        let type_ = Some(self.own.secret_type.into());
        let fresh = || core::Secret { metadata, type_, ..core::Secret::default() };
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
