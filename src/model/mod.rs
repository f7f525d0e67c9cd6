//! The intermediate representation: what Weir is told to do, whoever told it.
//!
//! ```text
//! sources (file, cluster) ──► Model ──► compile ──► Snapshot
//! ```
//!
//! The model is complete (every default filled in), typed (an illegal state cannot be built) and
//! serializable (`/config` shows it). It is never parsed from a file, and knows nothing of YAML,
//! Kubernetes, sockets or Pingora.

mod acme;
pub mod acme_words;
mod bandwidth;
mod basic_auth;
mod buffering;
mod cache;
mod cache_headers;
mod certificate;
mod client_auth;
mod compress;
mod cors;
mod error_pages;
mod files;
mod filter;
mod forward_auth;
mod headers;
mod host;
mod jwt;
mod limit;
mod listener;
mod mirror;
mod names;
mod pattern;
mod process;
mod redirect;
mod redis;
mod replacement;
mod route;
mod split;
mod units;
mod upstream;

pub use acme::*;
pub use bandwidth::*;
pub use basic_auth::*;
pub use buffering::*;
pub use cache::*;
pub use cache_headers::*;
pub use certificate::*;
pub use client_auth::*;
pub use compress::*;
pub use cors::*;
pub use error_pages::*;
pub use files::*;
pub use filter::*;
pub use forward_auth::*;
pub use headers::*;
pub use host::*;
pub use jwt::*;
pub use limit::*;
pub use listener::*;
pub use mirror::*;
pub use names::*;
pub use pattern::*;
pub use process::*;
pub use redirect::*;
pub use redis::*;
pub use replacement::*;
pub use route::*;
pub use split::*;
pub use units::*;
pub use upstream::*;

use serde::Serialize;

/// All of it. Names are unique within their list; references between the lists resolve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Model {
    pub process: Process,
    pub listeners: Vec<Listener>,
    pub certificates: Vec<Certificate>,
    /// Present where certificates are ordered.
    pub acme: Option<Acme>,
    pub hosts: Vec<VirtualHost>,
    pub upstreams: Vec<Upstream>,
    pub cache_stores: Vec<CacheStore>,
}

impl Model {
    /// Of all levels.
    pub fn filters(&self) -> impl Iterator<Item = &Filter> {
        let of_hosts = self
            .hosts
            .iter()
            .flat_map(|host| host.filters.iter().chain(host.routes.iter().flat_map(|route| &route.filters)));
        self.listeners.iter().flat_map(|listener| &listener.filters).chain(of_hosts)
    }

    /// Of all levels.
    pub fn forward_auths(&self) -> impl Iterator<Item = &ForwardAuth> {
        self.filters()
            .filter_map(|filter| if let FilterKind::ForwardAuth(auth) = &filter.kind { Some(auth) } else { None })
    }

    /// Of all levels.
    pub fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.filters().filter_map(|filter| filter.kind.mirror())
    }

    /// Of all levels.
    pub fn jwts(&self) -> impl Iterator<Item = &Jwt> {
        self.filters().filter_map(|filter| if let FilterKind::Jwt(jwt) = &filter.kind { Some(jwt) } else { None })
    }
}

/// How much of what was written a list of the model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    #[default]
    Whole,
    /// What is not there may have been written, but could not be read: that it is missing means nothing.
    Partial,
}
