//! The options, and ingress-nginx's defaults.

use std::time::Duration;

use super::{Compression, Connections, Effect, Entry, Forwarded, Hsts, Options, Streams, as_annotation};
use crate::model::{
    ByteSize, CipherOrder, Ciphers, Condition, ConditionalAnswer, Pattern, RedirectStatus, Respond, RetryOn, Subject,
    Test, TlsVersion,
};
use crate::sources::kube::annotations::value::{self, quoted};
use crate::sources::kube::annotations::{Balance, Policy, Responding, rewrite};
use crate::sources::kube::state::ObjectKey;

/// Those of ingress-nginx v1.15.1.
impl Default for Options {
    fn default() -> Self {
        let acme = || vec!["/.well-known/acme-challenge".into()];
        Self {
            ssl_redirect: true,
            force_ssl_redirect: false,
            preserve_trailing_slash: false,
            relative_redirects: false,
            redirect_status: RedirectStatus::PermanentRedirect,
            no_tls_redirect: acme(),
            no_auth: acme(),
            hsts: Hsts { is_on: true, max_age: 31_536_000, subdomains: true, preload: false },
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
            body_size: ByteSize::mib(1),
            request_buffering: true,
            next_upstream: vec![RetryOn::Connect, RetryOn::Reset, RetryOn::Timeout],
            next_upstream_timeout: Duration::ZERO,
            next_upstream_tries: 3,
            streams: Streams {
                timeout: Duration::from_secs(600),
                next_upstream: true,
                next_upstream_timeout: Duration::from_secs(600),
                next_upstream_tries: 3,
                responses: 1,
            },
            forwarded: Forwarded {
                use_headers: false,
                real_ip: false,
                trusted: vec![std::net::Ipv4Addr::UNSPECIFIED]
                    .into_iter()
                    .filter_map(|any| ipnet::Ipv4Net::new(any, 0).ok().map(Into::into))
                    .collect(),
                full: false,
            },
            proxy_protocol: false,
            compression: Compression {
                gzip: false,
                gzip_level: 1,
                min_size: ByteSize(256),
                types: GZIP_TYPES.iter().map(|kind| (*kind).into()).collect(),
                brotli: false,
                brotli_level: 4,
            },
            connections: Connections {
                keep_alive: Duration::from_secs(75),
                requests: 1000,
                header_timeout: Duration::from_secs(60),
                body_timeout: Duration::from_secs(60),
                header_size: ByteSize::kib(32),
                http2: true,
                streams: 128,
                upstream_idle: 320,
                upstream_idle_timeout: Duration::from_secs(60),
                upstream_requests: 10_000,
            },
            tls_versions: TlsVersion::V1_2,
            ciphers: Ciphers::default(),
            custom_errors: Vec::new(),
            leave_upstream_errors: false,
            block: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            limit_status: 503,
            connection_limit_status: 503,
            limit_rate: 0,
            limit_rate_after: 0,
            response_headers: Vec::new(),
            allow_snippets: false,
            strict_paths: true,
            balance: Balance::RoundRobin,
            service_upstream: false,
            access_log: true,
            keep_server: false,
            request_headers: None,
            answer_headers: None,
            hidden_headers: Vec::new(),
            original_uri: false,
            block_if: Vec::new(),
            response: Responding::default(),
            global_auth: Policy::default(),
        }
    }
}

const GZIP_TYPES: [&str; 17] = [
    "application/atom+xml",
    "application/javascript",
    "application/x-javascript",
    "application/json",
    "application/rss+xml",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/x-web-app-manifest+json",
    "application/xhtml+xml",
    "application/xml",
    "font/opentype",
    "image/svg+xml",
    "image/x-icon",
    "text/css",
    "text/javascript",
    "text/plain",
    "text/x-component",
];

/// `set!("key", options.field = expression of text)`
macro_rules! set {
    ($key:literal, $field:ident $(. $inner:ident)* = $read:expr) => {
        Entry { key: $key, effect: Effect::Set(|options, text| {
            let read: fn(&str) -> value::Read<_> = $read;
            options.$field $(. $inner)* = read(text)?;
            Ok(())
        }) }
    };
}

const fn nothing(key: &'static str) -> Entry {
    Entry { key, effect: Effect::Nothing }
}

const fn refused(key: &'static str, why: &'static str) -> Entry {
    Entry { key, effect: Effect::Refused(why) }
}

const fn global_auth(key: &'static str, set: fn(&mut Options, &str) -> value::Read<()>) -> Entry {
    Entry { key, effect: Effect::Set(set) }
}

fn object(text: &str) -> value::Read<ObjectKey> {
    ObjectKey::parse(text).ok_or_else(|| format!("{} names no ConfigMap; write it as \"namespace/name\"", quoted(text)))
}

/// As nginx's `map`: texts in whatever case, and patterns after `~` or `~*`.
fn block(options: &mut Options, field: &str, text: &str) -> value::Read<()> {
    for item in value::list(text) {
        let source = match (item.strip_prefix("~*"), item.strip_prefix('~')) {
            (Some(pattern), _) => format!("(?i){pattern}"),
            (None, Some(pattern)) => pattern.to_owned(),
            (None, None) => format!("(?i)^{}$", regex::escape(item)),
        };
        let pattern =
            Pattern::parse(&source).map_err(|_| format!("{} is no pattern that can be read", quoted(item)))?;
        let respond = Respond { status: 403, headers: Vec::new(), body: "".into() };
        options.block_if.push(Condition {
            subject: Subject::Header(field.into()),
            test: Test::Matches(pattern),
            answer: ConditionalAnswer::Respond(respond),
        });
    }
    Ok(())
}

const SNIPPET: &str = "there is no nginx that could read it";
const NO_TRACES: &str = "traces are not written yet";

pub const ENTRIES: &[Entry] = &[
    set!("ssl-redirect", ssl_redirect = value::boolean),
    set!("force-ssl-redirect", force_ssl_redirect = value::boolean),
    set!("preserve-trailing-slash", preserve_trailing_slash = value::boolean),
    set!("relative-redirects", relative_redirects = value::boolean),
    set!(
        "http-redirect-code",
        redirect_status = |text| {
            let status = value::number(text).ok().and_then(|code| RedirectStatus::from_code(u16::try_from(code).ok()?));
            status
                .filter(|status| status.code() != 303)
                .ok_or_else(|| format!("{} is none of 301, 302, 307 and 308", quoted(text)))
        }
    ),
    set!("no-tls-redirect-locations", no_tls_redirect = |text| Ok(value::list(text).map(Into::into).collect())),
    set!("no-auth-locations", no_auth = |text| Ok(value::list(text).map(Into::into).collect())),
    set!("hsts", hsts.is_on = value::boolean),
    set!("hsts-max-age", hsts.max_age = value::number),
    set!("hsts-include-subdomains", hsts.subdomains = value::boolean),
    set!("hsts-preload", hsts.preload = value::boolean),
    set!("proxy-connect-timeout", connect_timeout = value::seconds),
    set!("proxy-send-timeout", send_timeout = value::seconds),
    set!("proxy-read-timeout", read_timeout = value::seconds),
    set!("proxy-body-size", body_size = value::size),
    set!("proxy-request-buffering", request_buffering = value::switch),
    Entry {
        key: "proxy-next-upstream",
        effect: Effect::Set(|options, text| {
            let mut policy = Policy::default();
            as_annotation(&mut policy, "proxy-next-upstream", text)?;
            options.next_upstream = policy.retry.on.unwrap_or_default();
            Ok(())
        }),
    },
    set!("proxy-stream-timeout", streams.timeout = value::time),
    set!("proxy-stream-next-upstream", streams.next_upstream = value::boolean),
    set!("proxy-stream-next-upstream-timeout", streams.next_upstream_timeout = value::time),
    set!("proxy-stream-next-upstream-tries", streams.next_upstream_tries = value::number),
    set!("proxy-stream-responses", streams.responses = value::number),
    set!("proxy-next-upstream-timeout", next_upstream_timeout = value::seconds),
    set!("proxy-next-upstream-tries", next_upstream_tries = value::number),
    set!("use-forwarded-headers", forwarded.use_headers = value::boolean),
    set!("enable-real-ip", forwarded.real_ip = value::boolean),
    set!("proxy-real-ip-cidr", forwarded.trusted = value::networks),
    set!("compute-full-forwarded-for", forwarded.full = value::boolean),
    set!("use-proxy-protocol", proxy_protocol = value::boolean),
    set!("use-gzip", compression.gzip = value::boolean),
    set!(
        "gzip-level",
        compression.gzip_level = |text| value::number(text).and_then(|level| match level {
            1..=9 => Ok(level as u8),
            _ => Err(format!("{} is not a level from 1 to 9", quoted(text))),
        })
    ),
    set!("gzip-min-length", compression.min_size = |text| value::number(text).map(|bytes| ByteSize(bytes.into()))),
    set!("gzip-types", compression.types = |text| Ok(text.split_ascii_whitespace().map(Into::into).collect())),
    set!("enable-brotli", compression.brotli = value::boolean),
    set!(
        "brotli-level",
        compression.brotli_level = |text| value::number(text).and_then(|level| match level {
            0..=11 => Ok(level as u8),
            _ => Err(format!("{} is not a level from 0 to 11", quoted(text))),
        })
    ),
    set!("keep-alive", connections.keep_alive = value::seconds),
    set!("keep-alive-requests", connections.requests = |text| value::number(text).map(|requests| requests.max(1))),
    set!("client-header-timeout", connections.header_timeout = value::seconds),
    set!("client-body-timeout", connections.body_timeout = value::seconds),
    set!(
        "large-client-header-buffers",
        connections.header_size = |text| {
            let wrong = || format!("{} is not \"NUMBER SIZE\", as \"4 8k\"", quoted(text));
            let (count, size) = text.trim().split_once(' ').ok_or_else(wrong)?;
            let (count, size) = (value::number(count)?, value::size(size)?);
            let total = size.0.checked_mul(count.into()).filter(|total| (1 << 10..=1 << 20).contains(total));
            total.map(ByteSize).ok_or_else(|| format!("{} is out of bounds: 1k to 1m in all", quoted(text)))
        }
    ),
    set!("use-http2", connections.http2 = value::boolean),
    set!(
        "http2-max-concurrent-streams",
        connections.streams = |text| value::number(text).map(|streams| streams.max(1))
    ),
    set!(
        "upstream-keepalive-connections",
        connections.upstream_idle = |text| value::number(text).map(|count| count as usize)
    ),
    set!("upstream-keepalive-timeout", connections.upstream_idle_timeout = value::seconds),
    set!("upstream-keepalive-requests", connections.upstream_requests = value::number),
    set!(
        "ssl-protocols",
        tls_versions = |text| {
            let words: Vec<_> = text.split_ascii_whitespace().collect();
            match (words.contains(&"TLSv1.2"), words.contains(&"TLSv1.3")) {
                _ if words.iter().any(|word| !matches!(*word, "TLSv1.2" | "TLSv1.3")) => {
                    Err(format!("{} has versions that are not spoken; TLSv1.2 and TLSv1.3 are", quoted(text)))
                }
                (false, true) => Ok(TlsVersion::V1_3),
                (true, true) => Ok(TlsVersion::V1_2),
                (true, false) | (false, false) => {
                    Err(format!("{} leaves TLSv1.3 out, which is always spoken", quoted(text)))
                }
            }
        }
    ),
    Entry {
        key: "ssl-ciphers",
        effect: Effect::Set(|options, text| {
            let mut policy = Policy::default();
            let read = as_annotation(&mut policy, "ssl-ciphers", text);
            // What is not spoken is named, and the others are.
            options.ciphers.tls12 = policy.ciphers.suites;
            read
        }),
    },
    set!(
        "ssl-prefer-server-ciphers",
        ciphers.order = |text| Ok(if value::boolean(text)? { CipherOrder::Server } else { CipherOrder::Client })
    ),
    set!(
        "custom-http-errors",
        custom_errors = |text| value::list(text).map(|code| value::status(code, 400, 599)).collect()
    ),
    set!("disable-proxy-intercept-errors", leave_upstream_errors = value::boolean),
    set!("block-cidrs", block = value::networks),
    set!("whitelist-source-range", allow = value::networks),
    set!("denylist-source-range", deny = value::networks),
    set!("limit-req-status-code", limit_status = |text| value::status(text, 400, 599)),
    set!("limit-conn-status-code", connection_limit_status = |text| value::status(text, 400, 599)),
    set!("limit-rate", limit_rate = value::number),
    set!("limit-rate-after", limit_rate_after = value::number),
    set!("global-allowed-response-headers", response_headers = value::field_names),
    set!("allow-snippet-annotations", allow_snippets = value::boolean),
    set!("strict-validate-path-type", strict_paths = value::boolean),
    set!(
        "load-balance",
        balance = |text| value::word(text, &[("round_robin", Balance::RoundRobin), ("ewma", Balance::Ewma)])
    ),
    set!("allow-backend-server-header", keep_server = value::boolean),
    set!("service-upstream", service_upstream = value::boolean),
    set!("proxy-cookie-path", response.cookie_path = |text| rewrite::of_cookies(text).map(Some)),
    set!("proxy-cookie-domain", response.cookie_domain = |text| rewrite::of_cookies(text).map(Some)),
    set!("proxy-redirect-from", response.redirect_from = |text| value::field_value(text).map(Some)),
    set!("proxy-redirect-to", response.redirect_to = |text| value::field_value(text).map(Some)),
    set!("add-headers", answer_headers = |text| object(text).map(Some)),
    set!("proxy-set-headers", request_headers = |text| object(text).map(Some)),
    set!("hide-headers", hidden_headers = value::field_names),
    set!("proxy-add-original-uri-header", original_uri = value::boolean),
    Entry { key: "block-user-agents", effect: Effect::Set(|options, text| block(options, "user-agent", text)) },
    Entry { key: "block-referers", effect: Effect::Set(|options, text| block(options, "referer", text)) },
    set!("disable-access-log", access_log = |text| value::boolean(text).map(|off| !off)),
    global_auth("global-auth-url", |options, text| as_annotation(&mut options.global_auth, "auth-url", text)),
    global_auth("global-auth-method", |options, text| as_annotation(&mut options.global_auth, "auth-method", text)),
    global_auth("global-auth-signin", |options, text| as_annotation(&mut options.global_auth, "auth-signin", text)),
    global_auth("global-auth-signin-redirect-param", |options, text| {
        as_annotation(&mut options.global_auth, "auth-signin-redirect-param", text)
    }),
    global_auth("global-auth-response-headers", |options, text| {
        as_annotation(&mut options.global_auth, "auth-response-headers", text)
    }),
    global_auth("global-auth-always-set-cookie", |options, text| {
        as_annotation(&mut options.global_auth, "auth-always-set-cookie", text)
    }),
    global_auth("global-auth-cache-key", |options, text| {
        as_annotation(&mut options.global_auth, "auth-cache-key", text)
    }),
    global_auth("global-auth-cache-duration", |options, text| {
        as_annotation(&mut options.global_auth, "auth-cache-duration", text)
    }),
    global_auth("global-auth-request-redirect", |options, text| {
        as_annotation(&mut options.global_auth, "auth-request-redirect", text)
    }),
    global_auth("global-auth-snippet", |options, text| as_annotation(&mut options.global_auth, "auth-snippet", text)),
    refused("main-snippet", SNIPPET),
    refused("http-snippet", SNIPPET),
    refused("server-snippet", SNIPPET),
    refused("stream-snippet", SNIPPET),
    refused("location-snippet", SNIPPET),
    refused("enable-modsecurity", "there is no ModSecurity here"),
    refused("enable-owasp-modsecurity-crs", "there is no ModSecurity here"),
    refused("modsecurity-snippet", "there is no ModSecurity here"),
    refused("allow-cross-namespace-resources", "objects of another namespace are not an Ingress's to use"),
    refused("retry-non-idempotent", "what is not idempotent is never sent twice"),
    refused("log-format-upstream", "the access log is JSON or combined; see the flags"),
    refused("log-format-stream", "the access log is JSON or combined; see the flags"),
    refused("skip-access-log-urls", "all requests are in the access log, or none"),
    refused("access-log-path", "the access log goes to stdout"),
    refused("http-access-log-path", "the access log goes to stdout"),
    refused("ssl-reject-handshake", "a client without a known name is shown the default certificate"),
    refused("use-geoip", "there is no GeoIP here"),
    refused("use-geoip2", "there is no GeoIP here"),
    refused("forwarded-for-header", "clients' addresses are read from X-Forwarded-For"),
    refused("enable-opentelemetry", NO_TRACES),
    refused("ssl-session-ticket-key", "keys of session tickets are made and rotated by Weir"),
    refused("enable-syslog", "logs go to stdout and stderr"),
    refused("enable-ocsp", "it is on where a certificate names a responder; see the flags"),
    // Not in the reference's list of documented keys, and met all the same.
    nothing("annotations-risk-level"),
    nothing("annotation-value-word-blocklist"),
    nothing("server-tokens"),
    nothing("access-log-params"),
    nothing("stream-access-log-path"),
    nothing("enable-access-log-for-default-backend"),
    nothing("enable-auth-access-log"),
    nothing("error-log-path"),
    nothing("error-log-level"),
    nothing("client-header-buffer-size"),
    nothing("client-body-buffer-size"),
    nothing("disable-ipv6"),
    nothing("disable-ipv6-dns"),
    nothing("enable-underscores-in-headers"),
    nothing("ignore-invalid-headers"),
    nothing("http2-max-field-size"),
    nothing("http2-max-header-size"),
    nothing("http2-max-requests"),
    nothing("log-format-escape-none"),
    nothing("log-format-escape-json"),
    nothing("enable-multi-accept"),
    nothing("max-worker-connections"),
    nothing("max-worker-open-files"),
    nothing("map-hash-bucket-size"),
    nothing("nginx-status-ipv4-whitelist"),
    nothing("nginx-status-ipv6-whitelist"),
    nothing("server-name-hash-max-size"),
    nothing("server-name-hash-bucket-size"),
    nothing("proxy-headers-hash-max-size"),
    nothing("proxy-headers-hash-bucket-size"),
    nothing("reuse-port"),
    nothing("ssl-ecdh-curve"),
    nothing("ssl-dh-param"),
    nothing("ssl-early-data"),
    nothing("ssl-session-cache"),
    nothing("ssl-session-cache-size"),
    nothing("ssl-session-tickets"),
    nothing("ssl-session-timeout"),
    nothing("ssl-buffer-size"),
    nothing("proxy-protocol-header-timeout"),
    nothing("forwarded-for-proxy-protocol-header"),
    nothing("forwarded-host-header"),
    nothing("enable-aio-write"),
    nothing("geoip2-autoreload-in-minutes"),
    nothing("brotli-min-length"),
    nothing("brotli-types"),
    nothing("gzip-disable"),
    nothing("worker-processes"),
    nothing("worker-cpu-affinity"),
    nothing("worker-shutdown-timeout"),
    nothing("enable-serial-reloads"),
    nothing("variables-hash-bucket-size"),
    nothing("variables-hash-max-size"),
    nothing("upstream-keepalive-time"),
    nothing("limit-conn-zone-variable"),
    nothing("bind-address"),
    nothing("generate-request-id"),
    nothing("jaeger-collector-host"),
    nothing("jaeger-collector-port"),
    nothing("jaeger-endpoint"),
    nothing("jaeger-service-name"),
    nothing("jaeger-propagation-format"),
    nothing("jaeger-sampler-type"),
    nothing("jaeger-sampler-param"),
    nothing("jaeger-sampler-host"),
    nothing("jaeger-sampler-port"),
    nothing("jaeger-trace-context-header-name"),
    nothing("jaeger-debug-header"),
    nothing("jaeger-baggage-header"),
    nothing("jaeger-trace-baggage-header-prefix"),
    nothing("opentelemetry-trust-incoming-span"),
    nothing("opentelemetry-operation-name"),
    nothing("opentelemetry-config"),
    nothing("otlp-collector-host"),
    nothing("otlp-collector-port"),
    nothing("otel-max-queuesize"),
    nothing("otel-schedule-delay-millis"),
    nothing("otel-max-export-batch-size"),
    nothing("otel-service-name"),
    nothing("otel-sampler"),
    nothing("otel-sampler-parent-based"),
    nothing("otel-sampler-ratio"),
    nothing("proxy-buffering"),
    nothing("proxy-buffers-number"),
    nothing("proxy-buffer-size"),
    nothing("proxy-busy-buffers-size"),
    nothing("proxy-http-version"),
    nothing("proxy-max-temp-file-size"),
    nothing("lua-shared-dicts"),
    nothing("syslog-host"),
    nothing("syslog-port"),
    nothing("default-type"),
    nothing("proxy-ssl-location-only"),
    nothing("debug-connections"),
    nothing("grpc-buffer-size-kb"),
];
