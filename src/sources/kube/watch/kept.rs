//! The kinds of objects that are kept, and where.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::networking::v1 as networking;
use kube::ResourceExt;
use serde::de::DeserializeOwned;

use super::board::{Extent, Seen};
use crate::sources::kube::state::{
    ConfigMap, EndpointSlice, Ingress, IngressClass, ObjectKey, Objects, Secret, Service,
};

/// A slim copy of an object.
pub trait Kept: PartialEq + Send + Sync + Sized + 'static {
    type Object: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static;
    type Key: Ord + Clone + Send + Sync + 'static;

    fn key(object: &Self::Object) -> Self::Key;
    fn of(object: &Self::Object) -> Self;
    fn objects(seen: &mut Seen) -> &mut Objects<Self::Key, Self>;

    /// What a change of it concerns.
    fn extent(&self) -> Extent {
        Extent::Everything
    }

    /// Whether anything else may be served for this than for what there was before; they are not equal.
    fn differs(&self, _before: &Self) -> bool {
        true
    }
}

/// Kinds of a namespace: kept as they are converted, under namespace and name.
macro_rules! kept {
    ($($kept:ident: $object:ty, $field:ident;)*) => {$(
        impl Kept for $kept {
            type Object = $object;
            type Key = ObjectKey;

            fn key(object: &$object) -> ObjectKey {
                ObjectKey::from(&object.metadata)
            }

            fn of(object: &$object) -> Self {
                Self::from(object)
            }

            fn objects(seen: &mut Seen) -> &mut Objects<ObjectKey, Self> {
                &mut seen.state.$field
            }
        }
    )*};
}

kept! {
    Service: core::Service, services;
    Secret: core::Secret, secrets;
    ConfigMap: core::ConfigMap, config_maps;
}

impl Kept for EndpointSlice {
    type Object = discovery::EndpointSlice;
    type Key = ObjectKey;

    fn key(object: &discovery::EndpointSlice) -> ObjectKey {
        ObjectKey::from(&object.metadata)
    }

    fn of(object: &discovery::EndpointSlice) -> Self {
        Self::from(object)
    }

    fn objects(seen: &mut Seen) -> &mut Objects<ObjectKey, Self> {
        &mut seen.state.slices
    }

    fn extent(&self) -> Extent {
        Extent::Endpoints([self.service.clone()].into())
    }
}

impl Kept for Ingress {
    type Object = networking::Ingress;
    type Key = ObjectKey;

    fn key(object: &networking::Ingress) -> ObjectKey {
        ObjectKey::from(&object.metadata)
    }

    fn of(object: &networking::Ingress) -> Self {
        Self::from(object)
    }

    fn objects(seen: &mut Seen) -> &mut Objects<ObjectKey, Self> {
        &mut seen.state.ingresses
    }

    fn differs(&self, before: &Self) -> bool {
        !self.asks_for_the_same_as(before)
    }
}

impl Kept for IngressClass {
    type Object = networking::IngressClass;
    type Key = Arc<str>;

    fn key(object: &networking::IngressClass) -> Arc<str> {
        object.name_any().into()
    }

    fn of(object: &networking::IngressClass) -> Self {
        Self::from(object)
    }

    fn objects(seen: &mut Seen) -> &mut Objects<Arc<str>, Self> {
        &mut seen.state.classes
    }
}

/// That it is there, and has the labels.
#[derive(PartialEq)]
pub struct Namespace;

impl Kept for Namespace {
    type Object = core::Namespace;
    type Key = Arc<str>;

    fn key(object: &core::Namespace) -> Arc<str> {
        object.name_any().into()
    }

    fn of(_: &core::Namespace) -> Self {
        Self
    }

    fn objects(seen: &mut Seen) -> &mut Objects<Arc<str>, Self> {
        &mut seen.namespaces
    }
}
