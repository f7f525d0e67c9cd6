//! Listeners.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Datagrams, Either, Field, Filter, List, Tunnel, scalar};
use crate::defaults;
use crate::model::format_duration;

/// An address that is listened on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with address")]
#[schemars(extend("required" = ["address"]))]
pub struct Listener {
    pub address: Field<scalar::BindAddress>,
    /// TLS with the certificates of the file, HTTP/1.1 and HTTP/2. Without it: plain HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: Field<ListenerTls>,
    /// Every connection must begin with a PROXY protocol header, version 1 or 2.
    pub proxy_protocol: Field<ProxyProtocol>,
    /// What bounds a connection.
    pub limits: Field<ConnectionLimits>,
    /// Apply to every request that arrives here, before the host's and the route's.
    pub filters: Field<List<Filter>>,
    /// Connections are carried to an upstream instead of requests. Beside it stand `proxy-protocol`, and of the limits
    /// `max-connections` and `header-timeout`.
    pub tcp: Field<Tunnel>,
    /// Datagrams are carried to an upstream. Nothing stands beside it but the address.
    pub udp: Field<Datagrams>,
}

/// TLS towards clients; `{}` takes the defaults.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map: {} for the defaults, or min-version, ciphers, http2 and client-auth")]
pub struct ListenerTls {
    #[schemars(extend("default" = "1.2"))]
    pub min_version: Field<scalar::TlsMinVersion>,
    /// Which suites of TLS 1.2 are spoken, and whose order of them counts.
    pub ciphers: Field<Ciphers>,
    /// Whether HTTP/2 is offered (ALPN).
    #[schemars(extend("default" = true))]
    pub http2: Field<bool>,
    /// Asks clients for certificates of their own, on every host that says nothing else.
    pub client_auth: Field<ClientAuth>,
}

/// What a host asks of its TLS connections; what is not written is as at the listener. A request by a connection that was
/// not asked for as much is answered 421.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[serde(expecting = "a map with min-version, ciphers and client-auth, or with passthrough")]
pub struct HostTls {
    pub min_version: Field<scalar::TlsMinVersion>,
    /// Instead of the listener's.
    pub ciphers: Field<Ciphers>,
    /// Instead of the listener's; `off` asks for none.
    pub client_auth: Field<Either<scalar::Off, ClientAuth>>,
    /// Connections that ask for this host's names are carried to an upstream, TLS and all: it shows its own certificate. Instead
    /// of routes.
    pub passthrough: Field<Tunnel>,
}

/// Suites of TLS 1.2; those of TLS 1.3 are always there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with tls12 and order")]
pub struct Ciphers {
    /// By OpenSSL's names, the most wanted first. By default all that are good: ECDHE with AES-GCM or ChaCha20-Poly1305.
    pub tls12: Field<List<scalar::CipherSuite>>,
    /// Whose preference decides among the suites that both have.
    #[schemars(extend("default" = "client"))]
    pub order: Field<CipherOrder>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "order", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum CipherOrder {
    Client,
    Server,
}

/// Clients show certificates of their own. `Client-Cert`, `Client-Cert-Chain` and `X-Client-Verify`, `-Subject`, `-Issuer`,
/// `-Serial`, `-Fingerprint` of requests are taken away, so that they can only come from here.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(
    default,
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a map with ca, mode, subject, refuse and forward"
)]
#[schemars(extend("required" = ["ca"]))]
pub struct ClientAuth {
    /// PEM file with the authorities whose certificates are accepted; it is read again when it changes.
    pub ca: Field<scalar::FilePath>,
    /// Whether a client may come without one.
    #[schemars(extend("default" = "required"))]
    pub mode: Field<ClientAuthMode>,
    /// A regular expression that is found in the certificate's subject (RFC 4514, as `CN=ann,O=shop`); others get 403.
    pub subject: Field<scalar::Regex>,
    /// How it is told who is not served: the handshake fails, or the request is answered 400.
    #[schemars(extend("default" = "handshake"))]
    pub refuse: Field<ClientAuthRefusal>,
    /// Tells upstreams of the certificate: `Client-Cert` and `Client-Cert-Chain` (RFC 9440), `X-Client-Verify` (`SUCCESS` or
    /// `NONE`), `X-Client-Subject`, `X-Client-Issuer`, `X-Client-Serial` and `X-Client-Fingerprint` (SHA-256).
    #[schemars(extend("default" = false))]
    pub forward: Field<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "mode", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ClientAuthMode {
    /// Who shows none is not served.
    Required,
    /// Who shows none is served, who shows a wrong one is not.
    Optional,
    /// As `optional`, and one of an authority that nobody knows is not wrong: with `forward`, upstreams are told and decide.
    OptionalOfAnyone,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename = "refuse", rename_all = "kebab-case")]
#[schemars(inline)]
pub enum ClientAuthRefusal {
    Handshake,
    Request,
}

/// The PROXY protocol, as load balancers in front speak it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with trusted")]
#[schemars(extend("required" = ["trusted"]))]
pub struct ProxyProtocol {
    /// Who may say so; connections from elsewhere are closed.
    pub trusted: Field<List<scalar::Network>>,
}

/// What bounds a connection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map of limits")]
pub struct ConnectionLimits {
    /// Connections of this listener; more are closed at once.
    #[schemars(extend("default" = defaults::MAX_CONNECTIONS))]
    pub max_connections: Field<scalar::Count>,
    /// Request line and header fields together; more is answered 431.
    #[schemars(extend("default" = defaults::MAX_HEADER_SIZE.to_string()))]
    pub max_header_size: Field<scalar::Size>,
    /// From the first byte of a request to the end of its header; longer is answered 408. The PROXY header, the TLS handshake
    /// and the HTTP/2 preface have this long, too.
    #[schemars(extend("default" = format_duration(defaults::HEADER_TIMEOUT)))]
    pub header_timeout: Field<scalar::Timeout>,
    /// Between two pieces of a request body, and between two writes to the client.
    #[schemars(extend("default" = format_duration(defaults::BODY_TIMEOUT)))]
    pub body_timeout: Field<scalar::Timeout>,
    /// Request bodies that come more slowly are answered 408. By default any rate will do.
    pub min_body_rate: Field<MinBodyRate>,
    /// How long a connection without a request is kept.
    #[schemars(extend("default" = format_duration(defaults::IDLE_TIMEOUT)))]
    pub idle_timeout: Field<scalar::Timeout>,
    /// Requests on one connection; then it is closed.
    #[schemars(extend("default" = defaults::MAX_REQUESTS))]
    pub max_requests: Field<scalar::Count>,
    /// HTTP/2 streams that are open at one time on one connection.
    #[schemars(extend("default" = defaults::MAX_STREAMS))]
    pub max_streams: Field<scalar::Count>,
}

/// The least rate of a request body, over the time that the client is waited for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", expecting = "a map with rate")]
#[schemars(extend("required" = ["rate"]))]
pub struct MinBodyRate {
    pub rate: Field<scalar::ByteRate>,
    /// So long a body may be slower.
    #[schemars(extend("default" = format_duration(defaults::MIN_BODY_RATE_GRACE)))]
    pub grace: Field<scalar::Span>,
}
