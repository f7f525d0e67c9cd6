//! What a key means that was not written: every default of the file, with its unit and its reason.
//!
//! ```text
//! sources ──► (what was written, else this) ──► model
//! ```
//!
//! The model never holds "unset" where a default exists, so nothing after the sources reads this module.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::{
    AccessLogFormat, AuthRefusal, BackgroundUpdate, Burst, ByteSize, CacheKeyPart, ChallengeType, ClientAuthMode,
    ClientCaching, Credentials, Delay, EditedStatuses, Expires, ForwardCertificate, ForwardCredentials, ForwardedField,
    HiddenFiles, Http2, Intercept, JwtAlgorithm, KeyType, Lanes, LbPolicy, LimitKey, LimitMode, LimitScope,
    LocationForm, MirroredBody, OcspStapling, OnRedisFailure, Percent, QueryRewrite, Rate, RedirectStatus, RequestIds,
    RetryOn, RoutePrefix, SameSite, SetCookie, StatusFields, StatusRange, TlsVersion, TokenPresence, TsigAlgorithm,
    UpstreamCaching, UpstreamLifetimes, UpstreamProtocol, Verify, WhenAllUnhealthy,
};

const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

// The process.

/// On stdout: whoever starts a proxy wants to see its traffic, and a container's log is collected from there.
pub const ACCESS_LOG: AccessLogFormat = AccessLogFormat::Json;

/// Loopback: it shows the configuration. 9180 is not taken by anything common beside a proxy (9090 Prometheus, 9100 node exporter).
pub const ADMIN_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9180);

/// `X-Forwarded-*` is what origins read; the RFC 7239 field only costs bytes for most.
pub const FORWARDED_FIELD: ForwardedField = ForwardedField::Omit;

/// Nothing looks at `/readyz` beside a docker-compose stack; behind a load balancer write its check interval times its threshold.
pub const SHUTDOWN_DELAY: Duration = Duration::ZERO;

/// What Kubernetes and most supervisors wait before they kill.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// ingress-nginx's `worker-shutdown-timeout`: WebSockets may go on for so long. `terminationGracePeriodSeconds` bounds it.
pub const INGRESS_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(240);

/// The port of DNS.
pub const RESOLVER_PORT: u16 = 53;

/// A key that leaks opens what was recorded while it was in use: half a day of it, and no client of the day before has to begin
/// anew.
pub const TICKET_ROTATION: Duration = Duration::from_secs(12 * 3600);

/// Clients may keep a ticket for no longer (RFC 8446 §4.6.1).
pub const TICKET_ROTATION_LIMIT: Duration = Duration::from_secs(7 * 86_400);

/// Without it clients that ask do so themselves: slowly, and telling the authority whom they visit. Certificates that name no
/// responder cost nothing.
pub const OCSP_STAPLING: OcspStapling = OcspStapling::On;

// Listeners.

/// TLS 1.0 and 1.1 are withdrawn (RFC 8996).
pub const TLS_MIN_VERSION: TlsVersion = TlsVersion::V1_2;

/// Every browser speaks it, and none loses by the offer.
pub const HTTP2: Http2 = Http2::Offer;

/// Who names an authority means to let nobody else in.
pub const CLIENT_AUTH_MODE: ClientAuthMode = ClientAuthMode::Required;

/// A certificate is kilobytes of header that most origins do not read, and some refuse.
pub const FORWARD_CERTIFICATE: ForwardCertificate = ForwardCertificate::Omit;

/// Connections of one listener. At 10 KB for an idle one this is 200 MB, and with one upstream connection for each it stays
/// below the 65,536 descriptors that container runtimes allow.
pub const MAX_CONNECTIONS: u32 = 20_000;

/// nginx's own (four buffers of 8 KiB): room for large cookies and tokens, too little to hurt.
pub const MAX_HEADER_SIZE: ByteSize = ByteSize::kib(32);

/// Mobile networks need two or three; more only helps slow-header attacks.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two pieces, not for the whole: slow uploads pass, stalled ones end. nginx's own.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// A phone that changes networks is silent for seconds.
pub const MIN_BODY_RATE_GRACE: Duration = Duration::from_secs(5);

/// nginx's own; longer than the 60 s for which CDNs and cloud load balancers keep a connection, so that they close first.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A bound, not a policy: nothing piles up per request, and each closed connection costs the client a handshake.
pub const MAX_REQUESTS: u32 = 1_000_000;

/// nginx's own, and above the 100 that RFC 9113 §6.5.2 recommends as the least.
pub const MAX_STREAMS: u32 = 128;

/// nginx's `proxy_timeout` of streams, and ingress-nginx's: a database connection that is not asked anything for minutes is usual.
pub const TUNNEL_IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// An answer to a datagram takes seconds at most, and a session that is kept is a socket that is kept. Envoy's own.
pub const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Each is a socket: beside the connections of other listeners they stay below the 65,536 descriptors that container runtimes
/// allow.
pub const MAX_UDP_SESSIONS: u32 = 10_000;

// Certificates.

/// Free, known to every client, and who "get me a certificate" means.
pub const ACME_DIRECTORY_NAME: &str = "letsencrypt";
pub const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Where a service keeps what must survive it.
pub const ACME_STORAGE: &str = "/var/lib/weir/acme";

/// Needs nothing but the port 80 that a web server has anyway.
pub const ACME_CHALLENGE: ChallengeType = ChallengeType::Http01;

/// Every client in use takes it, and its handshakes cost a fraction of RSA's.
pub const ACME_KEY: KeyType = KeyType::EcdsaP256;

/// A name that was just pointed here is tried again soon. With threefold steps five attempts take ten minutes: Let's Encrypt
/// allows five failures per name and hour, and gives one back every twelve minutes.
pub const ACME_RETRY_FIRST: Duration = Duration::from_secs(15);

/// Often enough to be through within a day of whatever was mended, rarely enough to be no burden.
pub const ACME_RETRY_LONGEST: Duration = Duration::from_secs(6 * 3600);

/// Against somebody who found a name that the ask URL lets pass: Let's Encrypt allows 300 orders in three hours.
pub const ON_DEMAND_RATE: Rate = Rate { count: at_least_one(10), per: Duration::from_secs(3600) };

/// A program that talks to an API; longer is a hang.
pub const DNS_EXEC_TIMEOUT: Duration = Duration::from_secs(60);

/// The servers are asked, so that nothing has to be waited for blindly.
pub const DNS_PROPAGATION_DELAY: Duration = Duration::ZERO;

/// Cloudflare and Google take seconds; secondaries that are notified take less.
pub const DNS_PROPAGATION_TIMEOUT: Duration = Duration::from_secs(120);

pub const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";
pub const GOOGLE_DNS_API: &str = "https://dns.googleapis.com/dns/v1";
pub const GOOGLE_METADATA: &str = "http://metadata.google.internal";

/// What every signed zone and every tool of the last decade takes.
pub const TSIG_ALGORITHM: TsigAlgorithm = TsigAlgorithm::HmacSha256;

// Upstreams.

/// Equal endpoints and short requests are what most have; it is the cheapest and the most predictable.
pub const BALANCE: LbPolicy = LbPolicy::RoundRobin;

/// An endpoint's share beside its siblings.
pub const WEIGHT: NonZeroU32 = at_least_one(1);

/// What every origin speaks.
pub const PROTOCOL: UpstreamProtocol = UpstreamProtocol::Http1;

/// Unverified TLS protects from nobody who matters.
pub const VERIFY: Verify = Verify::Full;

/// The checks may be wrong, and a 503 is certain.
pub const WHEN_ALL_UNHEALTHY: WhenAllUnhealthy = WhenAllUnhealthy::TryAll;

/// Idle connections per data-plane thread and endpoint: room for bursts, little for the origin to hold.
pub const KEEPALIVE_CONNECTIONS: u32 = 64;

/// Must be shorter than the origin's own, or a request meets a connection that is being closed: nginx closes after 75 s, Tomcat
/// after 60 s, Go's server never. Node closes after 5 s and gunicorn after 2 s: write less for those.
pub const KEEPALIVE_IDLE_TIMEOUT: Duration = Duration::from_secs(55);

/// One lost SYN costs 1 s and two cost 3 s; an endpoint that is not there by 5 s will not come.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// nginx's own; between two reads.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// nginx's own; between two writes.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// The first and two more: enough to pass two dead endpoints, too little to multiply an overload.
pub const RETRY_ATTEMPTS: NonZeroU32 = at_least_one(3);

/// More would multiply load faster than any origin recovers.
pub const RETRY_ATTEMPTS_LIMIT: u32 = 10;

/// Failures that cost the origin nothing. Not timeouts: asking twice makes a slow origin slower.
pub const RETRY_ON: [RetryOn; 2] = [RetryOn::Connect, RetryOn::Reset];

/// Two connect timeouts; who waited longer has gone.
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client calls its request itself may be called so a thousand times.
pub const REQUEST_IDS: RequestIds = RequestIds::OfTrustedProxies;

pub const LANES: Lanes = Lanes::Auto;

/// Retries add at most a fifth to the load of an upstream that is failing already.
pub const RETRY_BUDGET: Percent = Percent(20);

/// What a session keeps of a request body; almost every API call fits. Also the most that can be asked for.
pub const RETRY_MAX_BODY: ByteSize = ByteSize::kib(64);

/// Requests that may wait where `max-connections` is set: a short burst; a longer queue only delays the 503.
pub const QUEUE: u32 = 100;

/// Longer than a burst, shorter than a person's patience.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// A cookie for the whole site.
pub const STICKY_PATH: &str = "/";

/// What browsers assume where nothing is said, spelled out.
pub const STICKY_SAME_SITE: SameSite = SameSite::Lax;

// Health.

/// Failover within seconds; one small request per endpoint and interval.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(5);

/// A health endpoint that needs longer is not healthy.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// One lost packet or one long garbage collection is no failure.
pub const UNHEALTHY_AFTER: NonZeroU32 = at_least_one(3);

/// One good answer may be luck.
pub const HEALTHY_AFTER: NonZeroU32 = at_least_one(2);

/// Any answer that is no error, as Kubernetes' probes take it.
pub const HEALTH_STATUS: StatusRange = StatusRange { from: 200, to: 399 };

/// What every health endpoint answers.
pub const HEALTH_METHOD: &str = "GET";

/// Outlier detection is on, as in nginx: without it and without health checks a dead endpoint costs every n-th request a failed
/// connect for ever. Three failures, where nginx takes one: a single reset is no outage.
pub const OUTLIER_FAILURES: NonZeroU32 = at_least_one(3);

/// nginx's `fail_timeout`.
pub const OUTLIER_WINDOW: Duration = Duration::from_secs(10);

/// nginx's `fail_timeout`; then it gets requests again, and loses them again if nothing changed.
pub const OUTLIER_EJECT_FOR: Duration = Duration::from_secs(10);

/// When half of them fail the cause is elsewhere. A single endpoint is never ejected.
pub const OUTLIER_MAX_EJECTED: Percent = Percent(50);

// Routes and filters. A request body has no limit by default: bodies are streamed in constant memory, `body-timeout` ends stalled
// ones, and nginx's 1 MiB is its best-known surprise; `max-body-size` guards an origin that needs it.

/// Browsers keep a permanent redirect for ever, so that is for whoever writes it.
pub const REDIRECT_STATUS: RedirectStatus = RedirectStatus::Found;

pub const RESPOND_STATUS: u16 = 200;

/// A path that has moved has its parameters still.
pub const QUERY_REWRITE: QueryRewrite = QueryRewrite::Keep;

/// nginx's own: what an application says of its errors is its own business.
pub const INTERCEPT: Intercept = Intercept::Own;

/// ingress-nginx's own.
pub const ERROR_PAGE_PATH: &str = "/";

/// As nginx writes it; every client reads it.
pub const LOCATION_FORM: LocationForm = LocationForm::Absolute;

/// https is there to stay, and 308 keeps method and body where 301 turns a POST into a GET.
pub const HTTPS_REDIRECT_STATUS: RedirectStatus = RedirectStatus::PermanentRedirect;

/// Left out of the URL.
pub const HTTPS_REDIRECT_PORT: u16 = 443;

/// ingress-nginx's own.
pub const WWW_REDIRECT_STATUS: RedirectStatus = RedirectStatus::PermanentRedirect;

/// ingress-nginx's own: where an application begins may change.
pub const APP_ROOT_STATUS: RedirectStatus = RedirectStatus::Found;

/// nginx answers 301, with which a POST becomes a GET.
pub const TRAILING_SLASH_STATUS: RedirectStatus = RedirectStatus::PermanentRedirect;

/// nginx leaves errors out. What a field says, as that nobody may sniff the type, mostly holds for these, too.
pub const EDITED_STATUSES: EditedStatuses = EditedStatuses::All;

/// A year, as browsers' preload lists ask. Without `includeSubDomains`: it would reach hosts that this file does not know.
pub const HSTS: &str = "max-age=31536000";

/// Sites that frame themselves say so; by all others it is clickjacking.
pub const FRAME_OPTIONS: &str = "DENY";

pub const CONTENT_TYPE_OPTIONS: &str = "nosniff";

/// What browsers assume where nothing is said; older ones did not.
pub const REFERRER_POLICY: &str = "strict-origin-when-cross-origin";

/// Every cache since 1999 knows `Cache-Control`.
pub const EXPIRES: Expires = Expires::Off;

/// A rule that is written is meant.
pub const UPSTREAM_CACHING: UpstreamCaching = UpstreamCaching::Replace;

/// nginx's own.
pub const FILES_INDEX: &str = "index.html";

/// nginx serves them. What begins with a dot is seldom meant for others (`.git`, `.env`), and is what scanners ask for first.
pub const HIDDEN_FILES: HiddenFiles = HiddenFiles::Deny;

/// A path reads as it stands on the disk.
pub const ROUTE_PREFIX: RoutePrefix = RoutePrefix::Keep;

/// What zlib-ng makes of it is as small as nginx's 5, in 0.6 of the time. 1 leaves a page a third larger; 9 makes it a hundredth
/// smaller for twice the time.
pub const GZIP_LEVEL: u8 = 5;

/// 5 makes a page 7 % smaller for half as much time again, 9 hardly smaller for ten times as much.
pub const BROTLI_LEVEL: u8 = 4;

/// From here on levels are for what is compressed once and served often.
pub const BROTLI_LEVEL_FOR_FILES: u8 = 8;

/// zstd's own.
pub const ZSTD_LEVEL: u8 = 3;

/// As brotli's.
pub const ZSTD_LEVEL_FOR_FILES: u8 = 13;

/// Text, and what is text in disguise. What is compressed in itself (images, video, archives, WOFF) only costs time.
pub const COMPRESSED_TYPES: [&str; 18] = [
    "text/*",
    "application/json",
    "application/ld+json",
    "application/problem+json",
    "application/manifest+json",
    "application/geo+json",
    "application/graphql-response+json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/wasm",
    "image/svg+xml",
    "image/x-icon",
    "font/ttf",
    "font/otf",
];

/// What is smaller goes out in one packet either way.
pub const COMPRESS_MIN_SIZE: ByteSize = ByteSize::kib(1);

/// Says nothing to whom it is shown.
pub const BASIC_AUTH_REALM: &str = "Restricted";

/// nginx passes them on. What was typed for one server is nobody else's: the upstream could be anybody, and logs what it gets.
pub const FORWARD_CREDENTIALS: ForwardCredentials = ForwardCredentials::Omit;

/// Issuers announce a key hours before they sign with it; a token of a key that is not known makes it fetched at once.
pub const JWKS_REFRESH: Duration = Duration::from_secs(900);

/// Clocks that NTP keeps differ by less than a second; some are not kept.
pub const JWT_LEEWAY: Duration = Duration::from_secs(30);

/// Whatever public keys are for: nobody who only has what is shown to everybody can sign.
pub const JWT_ALGORITHMS: [JwtAlgorithm; 10] = [
    JwtAlgorithm::RS256,
    JwtAlgorithm::RS384,
    JwtAlgorithm::RS512,
    JwtAlgorithm::PS256,
    JwtAlgorithm::PS384,
    JwtAlgorithm::PS512,
    JwtAlgorithm::ES256,
    JwtAlgorithm::ES384,
    JwtAlgorithm::ES512,
    JwtAlgorithm::EdDSA,
];

/// What libraries sign with by default.
pub const JWT_SECRET_ALGORITHMS: [JwtAlgorithm; 1] = [JwtAlgorithm::HS256];

/// Unlike a password it was made for the API, which mostly reads it, too.
pub const FORWARD_TOKEN: ForwardCredentials = ForwardCredentials::Send;

/// A filter that is written is meant.
pub const TOKEN_PRESENCE: TokenPresence = TokenPresence::Required;

/// What most services have there; their documentation says another where not.
pub const FORWARD_AUTH_PATH: &str = "/";

/// nginx's own, and Traefik's: a question has no body.
pub const FORWARD_AUTH_METHOD: &str = "GET";

/// Every request waits for it: a service that needs longer is not up to it.
pub const FORWARD_AUTH_TIMEOUT: Duration = Duration::from_secs(5);

/// nginx's own. It is our side that failed, and retrying at once would only make it worse.
pub const FORWARD_AUTH_FAILURE_STATUS: u16 = 500;

/// At once, over all threads, to one address: a service that hangs must not hold more.
pub const FORWARD_AUTH_CONNECTIONS: NonZeroU32 = at_least_one(512);

/// More than a burst, less than the memory that requests which wait would take.
pub const FORWARD_AUTH_QUEUE: usize = 1024;

/// ingress-nginx's own (`auth-always-set-cookie: false`).
pub const AUTH_SET_COOKIE: SetCookie = SetCookie::OnSuccess;

/// nginx's own.
pub const AUTH_REFUSAL: AuthRefusal = AuthRefusal::Own;

/// ingress-nginx's own, which OAuth2 Proxy reads.
pub const SIGN_IN_PARAMETER: &str = "rd";

/// Some MiB with the headers of usual answers.
pub const AUTH_CACHE_ENTRIES: NonZeroU32 = at_least_one(10_000);

/// ingress-nginx's own: what an API is usually called with.
pub const CORS_METHODS: [&str; 6] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];

/// ingress-nginx's own: what scripts usually send beyond what they may always.
pub const CORS_HEADERS: [&str; 9] = [
    "DNT",
    "Keep-Alive",
    "User-Agent",
    "X-Requested-With",
    "If-Modified-Since",
    "Cache-Control",
    "Content-Type",
    "Range",
    "Authorization",
];

/// ingress-nginx allows them by default. To act for whoever is signed in is more than to read what anyone may: it is for whoever writes it.
pub const CORS_CREDENTIALS: Credentials = Credentials::Omit;

/// ingress-nginx's own, 20 days; browsers keep it for a day or two hours at most.
pub const CORS_MAX_AGE: Duration = Duration::from_secs(1_728_000);

/// nginx's own: how much above the rate is meant is for whoever writes the rate.
pub const RATE_LIMIT_BURST: Burst = Burst::NONE;

/// nginx delays them all. A request that waits holds memory and, mostly, a place at a concurrency limit; the client takes the proxy for
/// slow, and asks again. Who writes a burst means to let it pass.
pub const RATE_LIMIT_DELAY: Delay = Delay::None;

/// One process is what most have, and it asks nobody.
pub const LIMIT_SCOPE: LimitScope = LimitScope::Process;

/// Never without a limit, and nothing is refused that Redis would let pass: a process alone has counted less than all together.
pub const ON_REDIS_FAILURE: OnRedisFailure = OnRedisFailure::Local;

/// A hundred times what a Redis in the same network takes; short enough that nobody notices the first that wait in vain.
pub const REDIS_TIMEOUT: Duration = Duration::from_millis(50);

/// Keys of others may stand beside it.
pub const REDIS_KEY_PREFIX: &str = "weir:";

/// What nearly every limit is for.
pub const LIMIT_KEY: LimitKey = LimitKey::ClientIp;

/// The least that a subscriber is given: by whole addresses, as nginx counts, one client would be 2⁶⁴.
pub const LIMIT_IPV6_PREFIX: u8 = 64;

/// Too Many Requests (RFC 6585 §4) says whose fault it is; nginx's 503 has clients and load balancers take the site for down.
pub const LIMIT_STATUS: u16 = 429;

/// nginx's own: from the first byte on.
pub const BANDWIDTH_AFTER: ByteSize = ByteSize(0);

/// Room for almost every form and API call. nginx's is 16 KiB, and most of its bodies go through files.
pub const BUFFER_MEMORY: ByteSize = ByteSize::kib(64);

/// Of a disk that others need, too.
pub const BUFFER_SIZE: ByteSize = ByteSize::mib(1024);

/// Who names a shadow means all that comes; nginx's own.
pub const MIRROR_PERCENTAGE: Percent = Percent(100);

/// nginx's own: a shadow that is to do what the upstream does needs it.
pub const MIRRORED_BODY: MirroredBody = MirroredBody::Send;

/// As long as anybody would wait for an answer who did: a shadow that hangs holds its places no longer.
pub const MIRROR_TIMEOUT: Duration = Duration::from_secs(30);

/// What some ten milliseconds bring at 1 Gbit/s: time for a connection to be made. With as many copies as there may be it is
/// 128 MiB.
pub const MIRROR_MAX_LAG: ByteSize = ByteSize::mib(1);

/// A shadow that answers within 100 ms keeps up with 1,000 requests a second; one that hangs holds no more sockets.
pub const MIRROR_MAX_IN_FLIGHT: NonZeroU32 = at_least_one(128);

/// A limit that is written is meant.
pub const LIMIT_MODE: LimitMode = LimitMode::Enforce;

// The cache.

/// What a filter means that names no store.
pub const CACHE_STORE: &str = "default";

/// Enough for the small answers of an API, and nothing on a machine that runs a proxy.
pub const CACHE_MEMORY: ByteSize = ByteSize(64 << 20);

/// nginx's `$scheme$proxy_host$request_uri`, and the host besides: upstreams serve several.
pub const CACHE_KEY: [CacheKeyPart; 3] = [CacheKeyPart::Scheme, CacheKeyPart::Host, CacheKeyPart::Target];

/// The upstream knows its answers.
pub const UPSTREAM_LIFETIMES: UpstreamLifetimes = UpstreamLifetimes::Follow;

/// A day bridges a night's outage; nginx has no such bound but its `inactive`.
pub const CACHE_STALE_FOR: Duration = Duration::from_secs(86_400);

/// nginx's `proxy_cache_lock_timeout`; it is off there unless asked for, and thundering herds are what a cache is against.
pub const CACHE_LOCK: Duration = Duration::from_secs(5);

/// Off in nginx; but then one client of many pays for all, each time.
pub const BACKGROUND_UPDATE: BackgroundUpdate = BackgroundUpdate::On;

/// nginx's `proxy_cache_min_uses`.
pub const CACHE_MIN_USES: NonZeroU32 = NonZeroU32::MIN;

/// A quarter of the default memory, which is the most that it gives to one.
pub const CACHE_MAX_OBJECT: ByteSize = ByteSize(16 << 20);

/// As nginx: a reload key is no reason to make the upstream work.
pub const CLIENT_CACHING: ClientCaching = ClientCaching::Ignore;

/// Who runs a cache wants to see it work.
pub const CACHE_STATUS_FIELDS: StatusFields = StatusFields::Send;
