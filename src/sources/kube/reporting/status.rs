//! `status.loadBalancer.ingress` of Ingresses: where they can be reached.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::PatchParams;
use kube::{Api, Client, api};
use serde_json::{Value, json};

use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};
use crate::sources::kube::translate::Status;

/// Patches that are under way at one time.
const AT_ONCE: usize = 8;

/// Writes where what is shown differs. `instead`: of what the translation says.
pub async fn write(
    client: &Client,
    state: &ClusterState,
    statuses: &[Status],
    instead: Option<&Arc<[PublishedAddress]>>,
) {
    patch(client, differing(state, statuses, |status| instead.unwrap_or(&status.addresses).clone())).await;
}

/// Takes every address back.
pub async fn clear(client: &Client, state: &ClusterState, statuses: &[Status]) {
    patch(client, differing(state, statuses, |_| Arc::default())).await;
}

type Patch = (ObjectKey, Arc<[PublishedAddress]>);

fn differing(
    state: &ClusterState,
    statuses: &[Status],
    wanted: impl Fn(&Status) -> Arc<[PublishedAddress]>,
) -> Vec<Patch> {
    let differs = |(key, addresses): &Patch| {
        state.ingresses.get(key).is_some_and(|ingress| sorted(&ingress.published) != sorted(addresses))
    };
    statuses.iter().map(|status| (status.ingress.clone(), wanted(status))).filter(differs).collect()
}

async fn patch(client: &Client, patches: Vec<Patch>) {
    let patches = patches.into_iter().map(|(key, addresses)| patch_one(client.clone(), key, addresses));
    let patches = futures::stream::iter(patches);
    let results: Vec<_> = patches.buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    if let Some(error) = failed.first() {
        tracing::warn!(statuses = failed.len(), %error, "statuses of Ingresses cannot be written; they are tried again");
    } else if !results.is_empty() {
        tracing::info!(statuses = results.len(), "statuses of Ingresses written");
    }
}

async fn patch_one(client: Client, key: ObjectKey, addresses: Arc<[PublishedAddress]>) -> Result<(), kube::Error> {
    let ingresses: Api<Ingress> = Api::namespaced(client, &key.namespace);
    let addresses: Vec<Value> = sorted(&addresses).into_iter().map(shown).collect();
    let status = json!({ "status": { "loadBalancer": { "ingress": addresses } } });
    match ingresses.patch_status(&key.name, &PatchParams::default(), &api::Patch::Merge(&status)).await {
        Ok(_) => Ok(()),
        // It is gone, and with it what was to be said of it.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

fn shown(address: &PublishedAddress) -> Value {
    match address {
        PublishedAddress::Ip(address) => json!({ "ip": address }),
        PublishedAddress::Hostname(name) => json!({ "hostname": name }),
    }
}

fn sorted(addresses: &[PublishedAddress]) -> Vec<&PublishedAddress> {
    let mut sorted: Vec<_> = addresses.iter().collect();
    sorted.sort();
    sorted.dedup();
    sorted
}
