//! The file's shapes: which keys there are, what each holds, and how the JSON Schema describes them.
//!
//! ```text
//! tree ──decode──► File { listeners, upstreams, hosts, … } ──lower──► model
//!                   └──► JSON Schema (weir schema, editors)
//! ```
//!
//! Every value is a [`Field`], so that it knows its place and that a wrong one costs nothing but itself. Enums are
//! externally tagged. What a missing key means stands in `defaults`, what keys mean together in `lower`.

mod bandwidth;
mod basic_auth;
mod buffering;
mod cache;
mod cache_headers;
mod certificate;
mod compress;
mod cors;
mod error_pages;
mod files;
mod filter;
mod forward_auth;
mod health;
mod jwt;
mod limit;
mod listener;
mod mirror;
mod process;
mod redirect;
mod route;
pub mod scalar;
mod tunnel;
mod upstream;

use schemars::JsonSchema;
use serde::Deserialize;

use super::decode::{Either, Field, List, OneOrList, Table};
pub use bandwidth::*;
pub use basic_auth::*;
pub use buffering::*;
pub use cache::*;
pub use cache_headers::*;
pub use certificate::*;
pub use compress::*;
pub use cors::*;
pub use error_pages::*;
pub use files::*;
pub use filter::*;
pub use forward_auth::*;
pub use health::*;
pub use jwt::*;
pub use limit::*;
pub use listener::*;
pub use mirror::*;
pub use process::*;
pub use redirect::*;
pub use route::*;
pub use tunnel::*;
pub use upstream::*;

/// The configuration file of Weir, a reverse proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename = "configuration", default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with listeners, upstreams and hosts")]
#[schemars(extend("required" = ["listeners"]))]
pub struct File {
    /// Data-plane threads. Takes effect at a start, not at a reload.
    #[schemars(extend("default" = "auto"))]
    pub threads: Field<scalar::Threads>,
    /// One line for each request: `json`, `combined` (nginx's) or `off`; on stdout, unless a file is named.
    #[schemars(extend("default" = "json"))]
    pub access_log: Field<Either<AccessLogWord, AccessLog>>,
    /// Peers whose `X-Forwarded-*`, `X-Real-IP`, `X-Request-ID` and `Forwarded` are believed. None by default.
    pub trusted_proxies: Field<List<scalar::Network>>,
    /// Whose `X-Request-ID` a request keeps: that `of-trusted-proxies`, or `of-clients`, whoever they are.
    #[schemars(extend("default" = "of-trusted-proxies"))]
    pub request_ids: Field<RequestIds>,
    /// Which ways requests go: `auto` takes the lean lane where it can do what is needed, and `full` never. Clients cannot tell which;
    /// the log says it.
    #[schemars(extend("default" = "auto"))]
    pub lanes: Field<Lanes>,
    /// Whether `Forwarded` (RFC 7239) is sent upstream beside `X-Forwarded-*`.
    #[schemars(extend("default" = false))]
    pub forwarded: Field<bool>,
    /// Probes, metrics and inspection, or `off`.
    pub admin: Field<Either<scalar::Off, Admin>>,
    /// How the process ends.
    pub shutdown: Field<Shutdown>,
    /// DNS servers to ask. By default those of /etc/resolv.conf.
    pub resolvers: Field<List<scalar::ResolverAddress>>,
    /// How TLS sessions are resumed, or `off`: then every connection begins with a whole handshake.
    pub session_tickets: Field<Either<scalar::Off, SessionTickets>>,
    /// Whether authorities are asked about certificates that name a responder, and their answers shown with them (OCSP).
    #[schemars(extend("default" = "on"))]
    pub ocsp_stapling: Field<Switch>,
    /// Where processes count together.
    pub redis: Field<Redis>,
    /// How many processes share the traffic, for limits of the scope `replica-share`.
    pub replicas: Field<Replicas>,
    /// What is listened on, by name.
    pub listeners: Field<Table<Listener>>,
    /// Certificates; each TLS connection gets the one that fits the name it asks for.
    pub certificates: Field<List<Certificate>>,
    /// The authority that certificates are ordered from.
    pub acme: Field<Acme>,
    /// Where answers are kept, by name, for `cache`.
    pub cache_stores: Field<Table<CacheStore>>,
    /// Where requests can be sent to, by name.
    pub upstreams: Field<Table<Upstream>>,
    /// Which names are answered to, and how.
    pub hosts: Field<List<Host>>,
}
