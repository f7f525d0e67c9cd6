//! The two listeners: plain and TLS.

use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    Compress, Conditions, ConnectionLimits, Filter, FilterKind, Http2, Listener, ListenerName, ListenerTls, MediaRange,
    ProxyProtocol, SecurityHeaders,
};

use super::settings::Settings;
use crate::sources::kube::options::Options;

pub fn listeners(settings: &Settings, options: &Options) -> Vec<Listener> {
    let http2 = if options.connections.http2 { Http2::Offer } else { Http2::Off };
    let tls =
        ListenerTls { min_version: options.tls_versions, ciphers: options.ciphers.clone(), http2, client_auth: None };
    [("http", settings.http, None), ("https", settings.https, Some(tls))]
        .into_iter()
        .map(|(name, address, tls)| Listener {
            name: ListenerName::new(name),
            origin: Origin::builtin(),
            address,
            proxy_protocol: options
                .proxy_protocol
                .then(|| ProxyProtocol { trusted: options.forwarded.trusted.clone() }),
            limits: limits(options),
            filters: filters(options, tls.is_some()),
            tls,
        })
        .collect()
}

fn filters(options: &Options, is_tls: bool) -> Vec<Filter> {
    let mut kinds = Vec::new();
    if !options.block.is_empty() {
        kinds.push(FilterKind::Deny(options.block.clone()));
    }
    if !options.block_if.is_empty() {
        kinds.push(FilterKind::Conditions(Conditions(options.block_if.clone())));
    }
    kinds.extend(compress(options));
    if is_tls && let Some(hsts) = options.hsts.value() {
        kinds.push(FilterKind::SecurityHeaders(SecurityHeaders {
            hsts: Some(hsts.into()),
            frame_options: None,
            content_type_options: None,
            referrer_policy: None,
            permissions_policy: None,
            content_security_policy: None,
        }));
    }
    kinds.into_iter().map(|kind| Filter { origin: Origin::builtin(), kind }).collect()
}

fn compress(options: &Options) -> Option<FilterKind> {
    let compression = &options.compression;
    if !compression.gzip && !compression.brotli {
        return None;
    }
    // nginx adds it to whatever is written.
    let html = std::iter::once("text/html");
    let types =
        html.chain(compression.types.iter().map(|kind| &**kind)).filter_map(|kind| MediaRange::parse(kind).ok());
    Some(FilterKind::Compress(Compress {
        gzip: compression.gzip.then_some(compression.gzip_level),
        brotli: compression.brotli.then_some(compression.brotli_level),
        zstd: None,
        types: types.collect(),
        min_size: compression.min_size,
    }))
}

fn limits(options: &Options) -> ConnectionLimits {
    let connections = &options.connections;
    ConnectionLimits {
        max_connections: defaults::MAX_CONNECTIONS as usize,
        max_header_size: connections.header_size,
        header_timeout: connections.header_timeout,
        body_timeout: connections.body_timeout,
        min_body_rate: None,
        idle_timeout: connections.keep_alive,
        max_requests: connections.requests,
        max_streams: connections.streams,
    }
}
