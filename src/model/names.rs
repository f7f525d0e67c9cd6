//! Names of things, one type each, so that an upstream's name cannot stand where a listener's is meant.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                Self(name.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a listener: the key under `listeners`.
    ListenerName
);
name!(
    /// The name of an upstream: the key under `upstreams`.
    UpstreamName
);
name!(
    /// The name of a route, unique in the model: given, or made of its host and its match.
    RouteName
);
