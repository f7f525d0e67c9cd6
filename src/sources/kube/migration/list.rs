//! What a running cluster holds, read once and changed nowhere. Secrets are not asked for.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::sources::kube::state::{ClusterState, ConfigMap, EndpointSlice, Ingress, IngressClass, ObjectKey, Service};

/// Objects in one answer.
const PAGE: u32 = 500;

/// `config_maps`: those that flags name.
pub async fn list<'k>(client: Client, config_maps: impl Iterator<Item = &'k ObjectKey>) -> kube::Result<ClusterState> {
    let mut state = ClusterState::default();
    for object in all::<networking::Ingress>(&client).await? {
        let object = Ingress::from(&object);
        state.ingresses.insert(object.key.clone(), object);
    }
    for object in all::<networking::IngressClass>(&client).await? {
        let object = IngressClass::from(&object);
        state.classes.insert(object.name.clone(), object);
    }
    for object in all::<core::Service>(&client).await? {
        let object = Service::from(&object);
        state.services.insert(object.key.clone(), object);
    }
    for object in all::<discovery::EndpointSlice>(&client).await? {
        let object = EndpointSlice::from(&object);
        state.slices.insert(object.key.clone(), object);
    }
    for key in config_maps {
        let maps: Api<core::ConfigMap> = Api::namespaced(client.clone(), &key.namespace);
        if let Some(object) = maps.get_opt(&key.name).await? {
            state.config_maps.insert(key.clone(), ConfigMap::from(&object));
        }
    }
    Ok(state)
}

async fn all<K>(client: &Client) -> kube::Result<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut parameters = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        found.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(found),
        }
    }
}
