//! Challenges as this process's own watch has seen them, whoever wrote them.
//!
//! ```text
//! Secret weir-acme-challenges ──watch──► Seen ──► Mirror ──► tls::Challenges (requests, handshakes)
//! ```
//!
//! Every replica follows them: the authority asks whichever it comes to.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1 as core;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::error::Elapsed;

use crate::acme::mirror::Mirror;
use crate::acme::storage::StoredChallenge;

pub const CHALLENGES: &str = "weir-acme-challenges";

/// A watch tells within milliseconds; one that was cut off is back by then.
pub const SEEN_LIMIT: Duration = Duration::from_secs(15);

/// After a watch that failed.
const PAUSE: Duration = Duration::from_secs(1);

/// By token.
#[derive(Clone, Default)]
pub struct Seen(Arc<watch::Sender<BTreeMap<String, StoredChallenge>>>);

impl Seen {
    pub fn all(&self) -> Vec<StoredChallenge> {
        self.0.borrow().values().cloned().collect()
    }

    pub async fn wait_for(&self, token: &str) -> Result<(), Elapsed> {
        let mut seen = self.0.subscribe();
        let found = async {
            // It cannot be closed: this is one of its owners.
            drop(seen.wait_for(|seen| seen.contains_key(token)).await);
        };
        tokio::time::timeout(SEEN_LIMIT, found).await
    }

    fn replace(&self, object: Option<&core::Secret>) {
        let data = object.and_then(|object| object.data.as_ref());
        // What nobody of us wrote is no challenge.
        let read = |bytes: &k8s_openapi::ByteString| serde_json::from_slice(&bytes.0).ok();
        let challenges = data.into_iter().flatten().filter_map(|(token, bytes)| Some((token.clone(), read(bytes)?)));
        self.0.send_replace(challenges.collect());
    }
}

/// For as long as it is polled. `namespace`: Weir's own.
pub async fn follow_challenges(client: Client, namespace: String, seen: Seen, mirror: Arc<Mirror>) {
    let api: Api<core::Secret> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().fields(&format!("metadata.name={CHALLENGES}"));
    let mut events = pin!(watcher::watcher(api, config));
    let (mut listed, mut has_failed) = (None, false);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                listed = None;
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listed = Some(object);
                continue;
            }
            Ok(Event::InitDone) => seen.replace(listed.as_ref()),
            Ok(Event::Apply(object)) => seen.replace(Some(&object)),
            Ok(Event::Delete(_)) => seen.replace(None),
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(%error, "challenges of the ACME authority cannot be followed");
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        has_failed = false;
        if let Err(error) = mirror.refresh_challenges().await {
            tracing::warn!(%error, "challenges of the ACME authority cannot be answered");
        }
    }
}
