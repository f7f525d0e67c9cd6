//! This replica and its siblings, as pods of the cluster: who else runs, and on which nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::sources::kube::state::PublishedAddress;

/// Which address of a node is shown, where it has several kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAddresses {
    /// The internal one where it has no other.
    External,
    Internal,
}

/// Labels that differ between the pods of one DaemonSet or Deployment while it is rolled out.
const OF_A_REVISION: [&str; 3] = ["controller-revision-hash", "pod-template-generation", "pod-template-hash"];

pub struct Pods {
    client: Client,
    namespace: String,
    /// None: this is no pod of the cluster.
    name: Option<String>,
    identity: String,
}

impl Pods {
    /// As the manifests' downward API says it: `POD_NAME` and `POD_NAMESPACE`.
    pub fn of_environment(client: &Client) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = variable("POD_NAME");
        let namespace = variable("POD_NAMESPACE").unwrap_or_else(|| client.default_namespace().to_owned());
        let host = variable("HOSTNAME").unwrap_or_else(|| "weir".to_owned());
        // A pod whose container began anew, and an upgrade's successor, is another one.
        let identity = format!("{}_{:016x}", name.as_deref().unwrap_or(&host), random());
        Self { client: client.clone(), namespace, name, identity }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Of this process alone.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Whether another replica goes on. Where that cannot be known: one that is no pod has none; else it might.
    pub async fn has_others(&self) -> bool {
        let Some(own) = &self.name else { return false };
        match self.siblings().await {
            Ok(pods) => pods.iter().any(|pod| pod.name_any() != *own),
            Err(error) => {
                tracing::warn!(%error, "other replicas cannot be found; the statuses of Ingresses stay as they are");
                true
            }
        }
    }

    /// Of the nodes that replicas are ready on. None where they cannot be known.
    pub async fn node_addresses(&self, which: NodeAddresses) -> Option<Arc<[PublishedAddress]>> {
        self.name.as_ref()?;
        let found = async {
            let nodes: BTreeSet<String> =
                self.siblings().await?.into_iter().filter(is_ready).filter_map(|pod| pod.spec?.node_name).collect();
            let api: Api<Node> = Api::all(self.client.clone());
            let mut addresses = BTreeSet::new();
            for name in nodes {
                addresses.extend(api.get_opt(&name).await?.and_then(|node| address_of(&node, which)));
            }
            Ok::<_, kube::Error>(addresses.into_iter().collect())
        };
        found.await.inspect_err(|error| tracing::warn!(%error, "the addresses of nodes cannot be found")).ok()
    }

    /// The pods that run and stay, this one among them.
    async fn siblings(&self) -> Result<Vec<Pod>, kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let own = api.get(self.name.as_deref().unwrap_or_default()).await?;
        let labels = own.labels().iter().filter(|(name, _)| !OF_A_REVISION.contains(&name.as_str()));
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let pods = api.list(&ListParams::default().labels(&labels.join(","))).await?;
        let runs = |pod: &Pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
        };
        Ok(pods.items.into_iter().filter(runs).collect())
    }
}

/// A node that is gone leaves its pods running.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn address_of(node: &Node, which: NodeAddresses) -> Option<PublishedAddress> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind && !address.address.is_empty());
    let address = match which {
        NodeAddresses::External => of("ExternalIP").or_else(|| of("InternalIP")),
        NodeAddresses::Internal => of("InternalIP"),
    };
    Some(PublishedAddress::Ip(address?.address.as_str().into()))
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness two replicas outside of a cluster might take each other's Lease; pods have names.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
