//! What the annotations of one Ingress ask for: read, and not yet looked up.
//!
//! Absent is not the same as the default: global options stand between the two.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::{
    ByteSize, CipherOrder, CipherSuite, Condition, CorsOrigins, HashKey, HeaderEdits, HeaderTemplate, HostName,
    Pattern, RetryOn, ReturnTo, SameSite, TextRewrite,
};
use crate::sources::kube::state::ObjectKey;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// The first reason for which no request may pass.
    pub closed: Option<String>,
    /// Every request is answered with this.
    pub respond: Option<(u16, Arc<str>)>,
    pub rewrite: Rewriting,
    pub redirect: Redirecting,
    pub backend: Backending,
    pub timeouts: Timeouts,
    pub bodies: Bodies,
    pub retry: Retrying,
    pub access: Access,
    pub basic_auth: BasicAuthing,
    pub forward_auth: ForwardAuthing,
    pub client_certificate: ClientCertificates,
    pub upstream_tls: UpstreamTlsing,
    pub limits: Limiting,
    pub cors: Corsing,
    pub errors: Errors,
    pub session: Session,
    pub headers: Headers,
    pub mirror: Mirroring,
    pub response: Responding,
    /// Of snippets.
    pub conditions: Vec<Condition>,
    pub ciphers: Ciphering,
    pub access_log: Option<bool>,
    pub aliases: Vec<HostName>,
    /// TLS ends at the backend.
    pub ssl_passthrough: bool,
    /// The rules are another Ingress's, and this one's backends their second.
    pub canary: Canary,
    /// With their keys.
    pub snippets: Vec<(&'static str, Arc<str>)>,
}

impl Policy {
    /// Nothing passes from here on.
    pub fn close(&mut self, reason: impl Into<String>) {
        self.closed.get_or_insert_with(|| reason.into());
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rewriting {
    pub target: Option<Arc<str>>,
    pub use_regex: bool,
    pub app_root: Option<Arc<str>>,
    /// Told to the upstream where there is a target.
    pub forwarded_prefix: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Redirecting {
    pub ssl: Option<bool>,
    pub force_ssl: Option<bool>,
    pub preserve_trailing_slash: Option<bool>,
    pub from_to_www: bool,
    pub temporal: Option<Destination>,
    pub temporal_code: Option<u16>,
    pub permanent: Option<Destination>,
    pub permanent_code: Option<u16>,
    pub relative: Option<bool>,
    /// To https: with the port that it is listened on.
    pub use_port: bool,
}

/// Where a redirect leads.
#[derive(Clone, Debug, PartialEq)]
pub struct Destination {
    /// None: as the request came.
    pub scheme: Option<crate::model::Scheme>,
    pub host: Option<Arc<str>>,
    pub port: Option<u16>,
    /// Path and query, to the letter. None: those of the request.
    pub path: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backending {
    pub protocol: Protocol,
    /// The Service's own address instead of its endpoints.
    pub service_upstream: Option<bool>,
    pub host: Option<Arc<str>>,
    pub balance: Option<Balance>,
    pub hash_by: Option<HashKey>,
    /// Several endpoints for each key.
    pub hash_subset: bool,
    pub hash_subset_size: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    #[default]
    Http,
    Https,
    /// As the client's.
    AutoHttp,
    Grpc,
    Grpcs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    Ewma,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub send: Option<Duration>,
    pub read: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bodies {
    /// 0: as large as one likes.
    pub max_size: Option<ByteSize>,
    pub request_buffering: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrying {
    pub on: Option<Vec<RetryOn>>,
    /// 0: without end.
    pub timeout: Option<Duration>,
    /// 0: as many as there may be.
    pub tries: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    pub allow: Vec<IpNet>,
    pub deny: Vec<IpNet>,
    /// One of the checks is enough.
    pub satisfy_any: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BasicAuthing {
    pub is_on: bool,
    pub secret: Option<Reference>,
    pub secret_kind: AuthSecretKind,
    pub realm: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthSecretKind {
    /// One key, `auth`: what `htpasswd` writes.
    #[default]
    File,
    /// Keys are users, values their hashes.
    Map,
}

/// An object of the Ingress's own namespace, or of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub namespace: Option<Arc<str>>,
    pub name: Arc<str>,
}

impl Reference {
    /// Reads `name` and `namespace/name`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (namespace, name) = match text.split_once('/') {
            Some((namespace, name)) => (Some(namespace), name),
            None => (None, text),
        };
        let is_name = |part: &str| {
            let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
            !part.is_empty() && part.len() <= 253 && part.bytes().all(good)
        };
        match is_name(name) && namespace.is_none_or(is_name) {
            true => Ok(Self { namespace: namespace.map(Into::into), name: name.into() }),
            false => {
                Err(format!("{} names no object; write \"name\" or \"namespace/name\"", super::value::quoted(text)))
            }
        }
    }

    /// Within the namespace of who refers to it. Another's is not for it to read.
    pub fn within(&self, namespace: &Arc<str>) -> Result<ObjectKey, String> {
        match &self.namespace {
            Some(other) if other != namespace => {
                Err(format!("{other}/{} is in another namespace, whose objects are not this one's to use", self.name))
            }
            Some(_) | None => Ok(ObjectKey::new(namespace.clone(), self.name.clone())),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForwardAuthing {
    pub url: Option<Arc<str>>,
    pub method: Option<Arc<str>>,
    pub sign_in: Option<SignInPage>,
    pub redirect_parameter: Option<Arc<str>>,
    /// A ConfigMap of fields that the service gets.
    pub set_headers: Option<Reference>,
    /// Of a snippet, and what X-Auth-Request-Redirect is to be.
    pub set_fields: Vec<(Arc<str>, HeaderTemplate)>,
    pub response_headers: Vec<Arc<str>>,
    pub always_set_cookie: bool,
    pub cache_key: Option<Arc<str>>,
    pub cache_duration: Option<Vec<(u16, Duration)>>,
    pub enable_global: Option<bool>,
}

/// Where a client signs in.
#[derive(Clone, Debug, PartialEq)]
pub struct SignInPage {
    pub url: HeaderTemplate,
    /// Written at the URL's end: how much the page is told, and in which parameter.
    pub parameter: Option<(Arc<str>, ReturnTo)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientCertificates {
    pub secret: Option<Reference>,
    pub verify: ClientVerify,
    pub pass_to_upstream: bool,
    /// Found in the certificate's subject.
    pub subject: Option<Pattern>,
    /// Where who has none is sent.
    pub error_page: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientVerify {
    #[default]
    On,
    Optional,
    /// Of whatever authority.
    OptionalNoCa,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpstreamTlsing {
    pub secret: Option<Reference>,
    pub verify: bool,
    pub name: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limiting {
    pub per_second: Option<NonZeroU32>,
    pub per_minute: Option<NonZeroU32>,
    pub connections: Option<NonZeroU32>,
    pub burst_multiplier: Option<u32>,
    pub allow: Vec<IpNet>,
    /// KiB in a second; 0 as fast as it goes.
    pub rate: Option<u32>,
    /// KiB.
    pub rate_after: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corsing {
    pub is_on: bool,
    pub origins: Option<CorsOrigins>,
    pub methods: Option<Vec<Arc<str>>>,
    pub headers: Option<Vec<Arc<str>>>,
    pub expose: Vec<Arc<str>>,
    pub credentials: Option<bool>,
    pub max_age: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Errors {
    pub codes: Option<Vec<u16>>,
    /// A Service of the Ingress's namespace.
    pub default_backend: Option<Arc<str>>,
    pub leave_upstreams: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    pub cookie: bool,
    pub name: Option<Arc<str>>,
    pub path: Option<Arc<str>>,
    pub max_age: Option<Duration>,
    pub expires: Option<Duration>,
    pub same_site: Option<SameSite>,
    pub domain: Option<Arc<str>>,
    pub secure: bool,
    /// Each request goes to the canary or not, whatever session it is of.
    pub splits_canaries: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Canary {
    pub is_on: bool,
    pub weight: u32,
    /// 100, unless it is more.
    pub total: u32,
    /// In lowercase.
    pub header: Option<Arc<str>>,
    pub header_value: Option<Arc<str>>,
    pub header_pattern: Option<Pattern>,
    pub cookie: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ciphering {
    pub suites: Option<Vec<CipherSuite>>,
    pub order: Option<CipherOrder>,
}

/// What of upstreams' answers is said in other words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Responding {
    /// Some of nothing: whatever the options say, none.
    pub cookie_domain: Option<Option<TextRewrite>>,
    pub cookie_path: Option<Option<TextRewrite>>,
    /// The beginning of a Location, or a pattern; None: nothing is replaced.
    pub redirect_from: Option<Arc<str>>,
    pub redirect_to: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mirroring {
    /// Scheme, host and port.
    pub target: Option<http::Uri>,
    pub host: Option<Arc<str>>,
    pub omit_body: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers {
    /// Of an answer: a ConfigMap.
    pub custom: Option<Reference>,
    /// `Connection` to the upstream.
    pub connection: Option<Arc<str>>,
    /// Of snippets.
    pub edits: HeaderEdits,
}
