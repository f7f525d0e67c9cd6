//! `status.loadBalancer.ingress` of Ingresses: where they can be reached.

use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::sources::kube::state::{ClusterState, ObjectKey, PublishedAddress};
use crate::sources::kube::translate::Status;

/// Patches that are under way at one time.
const AT_ONCE: usize = 8;

/// Writes where what is shown differs. `instead`: for those to which the flags give no address.
pub async fn write(
    client: &Client,
    state: &ClusterState,
    statuses: &[Status],
    instead: Option<&Arc<[PublishedAddress]>>,
) {
    let wanted = |status: &Status| match (status.addresses.is_empty(), instead) {
        (true, Some(addresses)) => addresses.clone(),
        (true, None) | (false, _) => status.addresses.clone(),
    };
    patch(client, state, statuses.iter().map(|status| (&status.ingress, wanted(status)))).await;
}

/// Takes every address back.
pub async fn clear(client: &Client, state: &ClusterState, statuses: &[Status]) {
    let nothing: Arc<[PublishedAddress]> = Arc::default();
    patch(client, state, statuses.iter().map(|status| (&status.ingress, nothing.clone()))).await;
}

async fn patch<'a>(
    client: &Client,
    state: &ClusterState,
    wanted: impl Iterator<Item = (&'a ObjectKey, Arc<[PublishedAddress]>)>,
) {
    let differs = |key: &ObjectKey, addresses: &[PublishedAddress]| {
        state.ingresses.get(key).is_some_and(|ingress| sorted(&ingress.published) != sorted(addresses))
    };
    let patches: Vec<_> = wanted.filter(|(key, addresses)| differs(key, addresses)).collect();
    let patches = futures::stream::iter(patches).map(|(key, addresses)| patch_one(client, key, addresses));
    let results: Vec<_> = patches.buffer_unordered(AT_ONCE).collect().await;
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    if let Some(error) = failed.first() {
        tracing::warn!(statuses = failed.len(), %error, "statuses of Ingresses cannot be written; they are tried again");
    } else if !results.is_empty() {
        tracing::info!(statuses = results.len(), "statuses of Ingresses written");
    }
}

async fn patch_one(client: &Client, key: &ObjectKey, addresses: Arc<[PublishedAddress]>) -> Result<(), kube::Error> {
    let api: Api<Ingress> = Api::namespaced(client.clone(), &key.namespace);
    let addresses: Vec<Value> = sorted(&addresses).into_iter().map(shown).collect();
    let status = json!({ "status": { "loadBalancer": { "ingress": addresses } } });
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(&status)).await {
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
