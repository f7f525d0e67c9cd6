//! A state of the cluster out of manifests, as `kubectl get -o yaml` writes them and `kubectl apply` takes them.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::state::{ClusterState, ConfigMap, EndpointSlice, Ingress, IngressClass, Service};

/// Takes in every document of a text, of the kinds that are looked at; others are passed over. The error says what cannot be read.
pub fn read_into(state: &mut ClusterState, text: &str) -> Result<(), String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| error.to_string())?;
    documents.into_iter().filter(|document| !document.is_null()).try_for_each(|document| add(state, document))
}

pub(super) fn add(state: &mut ClusterState, mut value: Value) -> Result<(), String> {
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    if let Some(items) = value.get_mut("items").filter(|_| kind.ends_with("List")) {
        let items = items.as_array_mut().map(std::mem::take).unwrap_or_default();
        // Items of a typed list say no kind of their own.
        let inner = kind.trim_end_matches("List");
        return items.into_iter().try_for_each(|mut item| {
            if item.get("kind").is_none() && item.is_object() {
                item["kind"] = inner.into();
            }
            add(state, item)
        });
    }
    if value.get("metadata").is_some_and(|metadata| metadata.is_object() && metadata.get("namespace").is_none()) {
        value["metadata"]["namespace"] = "default".into();
    }
    match &*kind {
        "Ingress" => {
            let object = Ingress::from(&read::<networking::Ingress>(&kind, value)?);
            state.ingresses.insert(object.key.clone(), object);
        }
        "IngressClass" => {
            let object = IngressClass::from(&read::<networking::IngressClass>(&kind, value)?);
            state.classes.insert(object.name.clone(), object);
        }
        "Service" => {
            let object = Service::from(&read::<core::Service>(&kind, value)?);
            state.services.insert(object.key.clone(), object);
        }
        "EndpointSlice" => {
            let object = EndpointSlice::from(&read::<discovery::EndpointSlice>(&kind, value)?);
            state.slices.insert(object.key.clone(), object);
        }
        "ConfigMap" => {
            let object = ConfigMap::from(&read::<core::ConfigMap>(&kind, value)?);
            state.config_maps.insert(object.key.clone(), object);
        }
        _ => {}
    }
    Ok(())
}

fn read<T: DeserializeOwned>(kind: &str, value: Value) -> Result<T, String> {
    let name = value["metadata"]["name"].as_str().unwrap_or("without a name").to_owned();
    serde_json::from_value(value).map_err(|error| format!("{kind} {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_lists_and_json_are_read_and_other_kinds_passed_over() {
        let mut state = ClusterState::default();
        let text = "apiVersion: v1\nkind: List\nitems:\n- kind: Ingress\n  metadata: { name: a, namespace: x }\n  spec: {}\n\
                    ---\nkind: Deployment\nmetadata: { name: d }\n---\n---\nkind: Service\nmetadata: { name: s }\nspec: {}\n";
        read_into(&mut state, text).unwrap();
        read_into(&mut state, r#"{ "kind": "IngressList", "items": [{ "metadata": { "name": "b" } }] }"#).unwrap();
        let keys: Vec<_> = state.ingresses.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, ["default/b", "x/a"]);
        assert_eq!(state.services.iter().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut state = ClusterState::default();
        let error = read_into(&mut state, "kind: Ingress\nmetadata: { name: a }\nspec: { rules: 5 }\n").unwrap_err();
        assert!(error.starts_with("Ingress a: "), "{error}");
        assert!(read_into(&mut state, "a: [").is_err());
    }
}
