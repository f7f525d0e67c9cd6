//! What the cache makes of a request: Pingora's phases, steered by the route's policy.
//!
//! ```text
//! arrive ──consider──► Caching ──at_hand──► fresh and in memory: answered at once
//!                         └──enable──► Pingora: lookup ─► hit · stale · miss ─► upstream ─► kept? ─► tell
//! ```

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, HOST, LOCATION,
    PRAGMA, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorSource, ErrorType, Result};
use pingora_cache::cache_control::{CacheControl, InterpretCacheControl};
use pingora_cache::key::{HashBinary, hash_key};
use pingora_cache::lock::CacheKeyLockImpl;
use pingora_cache::{
    CacheKey, CacheMeta, CacheOptionOverrides, CachePhase, ForcedFreshness, NoCacheReason, RespCacheable,
};
use pingora_proxy::Session;

use super::arrive;
use super::compression;
use super::context::{Context, Replaced};
use super::pace;
use super::page;
use super::page_upstream::Fetcher;
use super::reply;
use super::retry;
use crate::cache::{FOR_NOW, Url};
use crate::model::{BackgroundUpdate, CacheKeyPart, RetryOn, StaleOn};
use crate::proxy::answer::{self, Answer};
use crate::proxy::hit;
use crate::snapshot::cache::{Asked, CachePolicy, allows_stale_if_error};
use crate::snapshot::request::RequestView;
use crate::snapshot::table::{CertificateFields, Route};
use crate::telemetry::record::{CacheOutcome, Ended};

/// Of a request whose route has a cache.
pub struct Caching {
    policy: std::sync::Arc<CachePolicy>,
    key: Vec<u8>,
    /// Of the key: what Pingora and the store know it by.
    hash: HashBinary,
    url: Box<str>,
    way: Way,
    wish: Wish,
    kept: Kept,
    asked: Asked,
    /// Whether others that ask for the same may wait for it.
    stands_for_others: bool,
    /// The upstream's answer was put aside for what is kept: there is no other attempt.
    gave_way: bool,
    /// It begins what others are shown the stale answer during.
    is_first: bool,
    /// What a 304 said: fields of what is kept are brought up to date by it.
    validated: Option<HeaderMap>,
}

/// What the request and the cache have to do with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Lookup,
    /// Sent on as the configuration says; the answer is kept.
    Bypass,
    /// A change: what is kept of the same URL is out of date (RFC 9111 §4.4).
    Invalidate,
}

/// What the client says by `Cache-Control`, where it is heeded.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Wish {
    /// Nothing older than this.
    max_age: Option<Duration>,
    only_if_cached: bool,
}

/// What becomes of the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It has not been looked at, or was not asked for.
    Unknown,
    Never,
    Stored,
    Not(&'static str),
}

/// None: the route keeps nothing, or the request is none that a cache could answer.
pub fn consider(
    route: &Route,
    upstream: &str,
    request: &RequestHeader,
    view: &RequestView<'_>,
    target: &str,
) -> Option<Box<Caching>> {
    let policy = route.chain.cache.as_ref()?;
    let headers = &request.headers;
    let mut way = match request.method {
        Method::GET | Method::HEAD if headers.contains_key(UPGRADE) => return None,
        Method::GET | Method::HEAD => Way::Lookup,
        Method::OPTIONS => return None,
        _ => Way::Invalidate,
    };
    if way == Way::Lookup && policy.bypasses(view) {
        way = Way::Bypass;
    }
    let wish = if policy.heeds_clients() { Wish::of(headers) } else { (Wish::default(), Kept::Unknown) };
    let never = policy.keeps_nothing_of(view) || wish.1 == Kept::Never;
    // Whoever had to say who he is may have got an answer of his own, by whatever he said it: a certificate among that.
    let is_known = route.chain.sign_in.is_some()
        || matches!(route.certificate_fields, CertificateFields::Set | CertificateFields::SetSslClient(_));
    let brought = Asked::by(headers);
    let key = policy.key(upstream, view, target);
    Some(Box::new(Caching {
        hash: hash_key(&key),
        key,
        policy: policy.clone(),
        url: format!("{}{target}", view.host).into(),
        way,
        wish: wish.0,
        kept: if never { Kept::Never } else { Kept::Unknown },
        asked: if is_known { Asked::WithCredentials } else { brought },
        stands_for_others: way == Way::Lookup && !never && (is_known || brought == Asked::Anonymously),
        gave_way: false,
        is_first: false,
        validated: None,
    }))
}

/// What a GET carries would be no part of its key. Only the session knows of it: over HTTP/2 no field need say so.
pub fn heed_body(session: &mut Session, ctx: &mut Context) {
    let is_looked_up = ctx.caching.as_deref().is_some_and(|caching| caching.way != Way::Invalidate);
    if is_looked_up && !session.as_mut().is_body_empty() {
        ctx.caching = None;
    }
}

impl Wish {
    /// And whether the answer may be kept.
    fn of(headers: &HeaderMap) -> (Self, Kept) {
        let Some(control) = CacheControl::from_headers_named(CACHE_CONTROL.as_str(), headers) else {
            let pragma = headers.get(PRAGMA).is_some_and(|pragma| pragma.as_bytes().eq_ignore_ascii_case(b"no-cache"));
            return (Self { max_age: pragma.then_some(Duration::ZERO), only_if_cached: false }, Kept::Unknown);
        };
        let max_age = match (control.no_cache(), control.max_age()) {
            (true, _) => Some(Duration::ZERO),
            (false, Ok(seconds)) => seconds.map(|seconds| Duration::from_secs(seconds.into())),
            (false, Err(_)) => None,
        };
        let wish = Self { max_age, only_if_cached: control.only_if_cached() };
        (wish, if control.no_store() { Kept::Never } else { Kept::Unknown })
    }
}

/// An object that is fresh and in memory is sent without Pingora's way through its phases: most hits are such.
pub async fn at_hand(fetcher: &Fetcher, session: &mut Session, ctx: &mut Context) -> Result<bool> {
    let Some(caching) = ctx.caching.as_deref().filter(|caching| caching.way == Way::Lookup) else { return Ok(false) };
    let (headers, now) = (&session.req_header().headers, SystemTime::now());
    if caching.wish != Wish::default() {
        return Ok(false);
    }
    let Some(object) = hit::find(&caching.policy, caching.hash, headers, now) else { return Ok(false) };
    let mut head = hit::head(&object, &caching.policy, now)?;
    ctx.record.cache = Some(CacheOutcome::Hit);
    // No upstream is asked.
    ctx.forwarding = None;
    if page::intercept(fetcher, session, &mut head, ctx).await? == Replaced::Nothing {
        reply::edit(session, &mut head, ctx);
        let body = compression::whole(session, &mut head, object.body.clone(), ctx)?;
        pace::response(session, ctx, body.len() as u64);
        answer::send(session, head, body).await?;
    }
    Ok(true)
}

/// Pingora's cache begins here.
pub fn enable(session: &mut Session, ctx: &Context) {
    let Some(caching) = ctx.caching.as_deref().filter(|caching| caching.way != Way::Invalidate) else { return };
    let (store, definition) = (caching.policy.store, &caching.policy.definition);
    let mut overrides = CacheOptionOverrides::default();
    overrides.wait_timeout = definition.lock;
    let lock: Option<&'static CacheKeyLockImpl> = match definition.lock {
        Some(_) if caching.stands_for_others => Some(&store.lock),
        Some(_) | None => None,
    };
    session.cache.enable(store, None, Some(&store.unkept), lock, Some(overrides));
    session.cache.set_max_file_size_bytes(usize::try_from(definition.max_object.0).unwrap_or(usize::MAX));
}

pub fn key(ctx: &Context) -> Result<CacheKey> {
    let Some(caching) = ctx.caching.as_deref() else {
        return Error::e_explain(ErrorType::InternalError, "a cache without a policy");
    };
    let mut key = CacheKey::new(caching.key.clone(), "");
    // Else it would be hashed again at each step.
    key.set_primary_bin_override(caching.hash);
    key.extensions.insert(Url(caching.url.clone()));
    Ok(key)
}

/// Whether what was found is used as it is.
pub fn found(meta: &CacheMeta, ctx: &Context) -> Option<ForcedFreshness> {
    let caching = ctx.caching.as_deref()?;
    match (caching.way, caching.wish.max_age) {
        (Way::Bypass, _) => Some(ForcedFreshness::ForceMiss),
        (_, Some(max_age)) if meta.age() >= max_age => Some(ForcedFreshness::ForceExpired),
        (_, Some(_) | None) => None,
    }
}

/// The answer where nothing is kept and the client wants nothing else (RFC 9111 §5.2.1.7).
pub fn only_if_cached(session: &Session, ctx: &Context) -> Option<Answer> {
    let caching = ctx.caching.as_deref()?;
    let detail = "the request asks for what is kept alone, and nothing is";
    (caching.wish.only_if_cached && caching.way == Way::Lookup)
        .then(|| Answer::error(504, detail, ctx.request_id(), answer::accept(session)))
}

/// Whether the upstream's answer is kept, and for how long.
pub fn judge(response: &ResponseHeader, ctx: &mut Context) -> RespCacheable {
    let Some(caching) = ctx.caching.as_deref_mut() else {
        return RespCacheable::Uncacheable(NoCacheReason::NeverEnabled);
    };
    let by_ours = ctx.route.as_ref().is_some_and(|route| varies_by_ours(&response.headers, route, caching));
    let judged = if by_ours { Err("it varies by a field that is set here") } else { caching.judge(response) };
    match judged {
        Ok(meta) => {
            caching.kept = Kept::Stored;
            RespCacheable::Cacheable(meta)
        }
        Err(reason) => {
            caching.kept = Kept::Not(reason.strip_prefix(FOR_NOW).unwrap_or(reason));
            RespCacheable::Uncacheable(NoCacheReason::Custom(if caching.stands_for_others {
                reason
            } else {
                OF_ITS_OWN
            }))
        }
    }
}

/// Why the answer to a request that is no other's is not kept: nobody remembers it of the next.
const OF_ITS_OWN: &str = "for now: the request is of its own kind";

/// Whether the answer varies by a field that clients do not send: what is written for the upstream may differ where they are alike.
fn varies_by_ours(answer: &HeaderMap, route: &Route, caching: &Caching) -> bool {
    let is_keyed = |part: &CacheKeyPart| caching.policy.definition.key.contains(part);
    let is_introduced = |name: &str| match name {
        "x-forwarded-for" | "x-real-ip" | "x-request-id" | "forwarded" => true,
        "x-forwarded-proto" | "x-forwarded-port" => !is_keyed(&CacheKeyPart::Scheme),
        "x-forwarded-host" => !is_keyed(&CacheKeyPart::Host),
        _ => false,
    };
    let is_vouched = |name: &str| route.chain.sign_in.as_ref().is_some_and(|sign_in| sign_in.tells_upstream(name));
    let is_edited = |name: &str| route.chain.request_edits.iter().any(|edit| edit.differs(name));
    let fields = answer.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    fields
        .flat_map(|field| field.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .any(|name| is_introduced(&name) || is_vouched(&name) || is_edited(&name))
}

/// The upstream says that what is kept is the same still. Pingora brings a few fields up to date; RFC 9111 §3.2 means all.
pub fn note_validation(response: &ResponseHeader, ctx: &mut Context) {
    if let Some(caching) = ctx.caching.as_deref_mut() {
        caching.validated = Some(response.headers.clone());
    }
}

/// What a 304 says of a body that it does not have.
const OF_A_BODY: [HeaderName; 3] = [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE];

fn bring_up_to_date(head: &mut ResponseHeader, fields: &HeaderMap) {
    for name in fields.keys().filter(|name| !OF_A_BODY.contains(name)) {
        head.remove_header(name);
        for value in fields.get_all(name) {
            // Fails only beyond 32,768 fields.
            let _ = head.append_header(name.clone(), value.clone());
        }
    }
}

impl Caching {
    fn judge(&mut self, response: &ResponseHeader) -> std::result::Result<CacheMeta, &'static str> {
        if self.kept == Kept::Never {
            return Err("for now: the request is not to be kept of");
        }
        let mut head = response.clone();
        if let Some(fields) = self.validated.take() {
            bring_up_to_date(&mut head, &fields);
        }
        reply::strip_hop_by_hop(&mut head);
        let now = SystemTime::now();
        let lifetime = self.policy.lifetime(&head, self.asked, now)?;
        let uses = self.policy.definition.min_uses.get();
        if uses > 1 && self.policy.store.used(u128::from_be_bytes(self.hash)) < u64::from(uses) {
            return Err("for now: it was not asked for often enough");
        }
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        if let Some(control) = CacheControl::from_headers_named(CACHE_CONTROL.as_str(), &head.headers) {
            // Fields that it names as one client's own.
            control.strip_private_headers(&mut head);
        }
        for name in [AGE, CONNECTION, TRANSFER_ENCODING] {
            head.remove_header(&name);
        }
        let (updating, error) = (seconds(lifetime.stale_while_revalidate), seconds(lifetime.stale_if_error));
        let mut meta = CacheMeta::new(lifetime.fresh_until, now, updating, error, head);
        if lifetime.epoch != now {
            meta.set_epoch_override(lifetime.epoch);
        }
        Ok(meta)
    }
}

/// Whether what is past its time is shown. `error`: why the upstream has nothing better; none while it is fetched anew.
pub fn shows_stale(session: &mut Session, ctx: &mut Context, error: Option<&Error>) -> bool {
    // How long it may be shown for that was noted when it was kept.
    let Some(error) = error else { return shows_while_updating(session, ctx) };
    let Some(reason) = stale_reason(error) else { return false };
    let has_given_way = has_given_way(ctx);
    if let StaleOn::Status(status) = reason
        && !has_given_way
    {
        // Another endpoint may have something better; `reply::received` asks it.
        if ctx
            .forwarding
            .as_deref()
            .is_some_and(|forwarding| retry::is_left(session, forwarding, RetryOn::Status(status)))
        {
            return false;
        }
        reply::note_answer(status, ctx);
    }
    let Some(caching) = ctx.caching.as_deref() else { return false };
    let by_its_word = || {
        let is_outage = matches!(reason, StaleOn::Error | StaleOn::Timeout | StaleOn::Status(500 | 502 | 503 | 504));
        is_outage && session.cache.maybe_cache_meta().is_some_and(|meta| allows_stale_if_error(meta.headers()))
    };
    let shown = caching.policy.is_stale_shown_on(reason) || by_its_word();
    if shown {
        // Whatever befell the upstream: the client is answered.
        ctx.record.ended = Ended::Completed;
    }
    shown
}

fn shows_while_updating(session: &mut Session, ctx: &mut Context) -> bool {
    let Some(caching) = ctx.caching.as_deref_mut() else { return false };
    caching.is_first = session.cache.is_cache_lock_writer();
    let is_shown = !caching.is_first || caching.policy.definition.background_update == BackgroundUpdate::On;
    if is_shown && caching.is_first {
        lend(session.req_header_mut());
    }
    is_shown
}

/// To the request that fetches it anew: Pingora makes that of this one's head, written and read as HTTP/1, which a head of HTTP/2 is not.
/// This one goes nowhere else.
fn lend(request: &mut RequestHeader) {
    let host = arrive::authority(request).map(Cow::into_owned);
    request.set_version(Version::HTTP_11);
    if let Some(host) = host {
        // Fails only beyond 32,768 fields.
        let _ = request.insert_header(HOST, host);
    }
}

fn stale_reason(error: &Error) -> Option<StaleOn> {
    match error.etype() {
        ErrorType::HTTPStatus(status) => Some(StaleOn::Status(*status)),
        _ if *error.esource() == ErrorSource::Downstream => None,
        ErrorType::ConnectTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout
        | ErrorType::TLSHandshakeTimedout => Some(StaleOn::Timeout),
        _ => Some(StaleOn::Error),
    }
}

/// Whether an answer of this status gives way to what is kept: Pingora asks for server errors alone, and before other endpoints
/// were tried.
pub fn gives_way(session: &Session, status: u16, ctx: &mut Context) -> bool {
    let Some(caching) = ctx.caching.as_deref_mut() else { return false };
    caching.gave_way = session.cache.enabled()
        && session.cache.can_serve_stale_error()
        && caching.policy.is_stale_shown_on(StaleOn::Status(status));
    caching.gave_way
}

pub fn has_given_way(ctx: &Context) -> bool {
    ctx.caching.as_deref().is_some_and(|caching| caching.gave_way)
}

/// Notes what became of the request, and says so where the policy does. For answers that went Pingora's way.
pub fn account(session: &Session, response: &mut ResponseHeader, ctx: &mut Context) {
    let Some(caching) = ctx.caching.as_deref() else { return };
    if ctx.record.cache.is_some() || caching.way == Way::Invalidate {
        return;
    }
    let phase = session.cache.phase();
    let outcome = match phase {
        CachePhase::Hit => CacheOutcome::Hit,
        CachePhase::Revalidated | CachePhase::RevalidatedNoCache(_) => CacheOutcome::Revalidated,
        CachePhase::Stale => CacheOutcome::Stale,
        // As nginx tells the two apart.
        CachePhase::StaleUpdating if caching.is_first => CacheOutcome::Stale,
        CachePhase::StaleUpdating => CacheOutcome::Updating,
        CachePhase::Expired => CacheOutcome::Expired,
        CachePhase::Miss | CachePhase::Bypass | CachePhase::Disabled(_) | CachePhase::Uninit | CachePhase::CacheKey => {
            if caching.way == Way::Bypass {
                CacheOutcome::Bypass
            } else {
                CacheOutcome::Miss
            }
        }
    };
    ctx.record.cache = Some(outcome);
    let (kept, status) = (caching.kept, response.status.as_u16());
    let waited = session.cache.lock_duration().is_some();
    let left =
        session.cache.maybe_cache_meta().map(|meta| match meta.fresh_until().duration_since(SystemTime::now()) {
            Ok(left) => left.as_secs() as i64,
            Err(past) => -(past.duration().as_secs() as i64) - 1,
        });
    hit::tell(response, &caching.policy, outcome, || cache_status(outcome, kept, status, waited, left));
}

/// RFC 9211.
fn cache_status(outcome: CacheOutcome, kept: Kept, status: u16, waited: bool, left: Option<i64>) -> String {
    let mut text = match outcome {
        CacheOutcome::Hit => "weir; hit".to_owned(),
        CacheOutcome::Stale | CacheOutcome::Updating => "weir; hit; fwd=stale".to_owned(),
        CacheOutcome::Revalidated => "weir; hit; fwd=stale; fwd-status=304".to_owned(),
        CacheOutcome::Expired => format!("weir; fwd=stale; fwd-status={status}"),
        CacheOutcome::Miss => format!("weir; fwd=uri-miss; fwd-status={status}"),
        CacheOutcome::Bypass => format!("weir; fwd=bypass; fwd-status={status}"),
    };
    let was_fetched = matches!(outcome, CacheOutcome::Expired | CacheOutcome::Miss | CacheOutcome::Bypass);
    match (kept, left) {
        (Kept::Stored, _) if was_fetched => text.push_str("; stored"),
        (Kept::Not(reason), _) if was_fetched => text.push_str(&format!("; detail=\"{reason}\"")),
        (_, Some(left)) if !was_fetched => text.push_str(&format!("; ttl={left}")),
        _ => {}
    }
    if waited {
        text.push_str("; collapsed");
    }
    text
}

/// After a change that went well what is kept of its URL, and of those that its answer names, is out of date. Whoever hears of the
/// change finds it gone.
pub async fn invalidate(response: &ResponseHeader, ctx: &Context) {
    let Some(caching) = ctx.caching.as_deref().filter(|caching| caching.way == Way::Invalidate) else { return };
    if response.status.is_informational() || response.status.is_client_error() || response.status.is_server_error() {
        return;
    }
    let (store, key) = (caching.policy.store, u128::from_be_bytes(caching.hash));
    let others =
        [LOCATION, CONTENT_LOCATION].into_iter().filter_map(|name| caching.sibling(response.headers.get(name)?));
    let keys: Vec<u128> = std::iter::once(key).chain(others).collect();
    store.remove_all(keys).await;
}

impl Caching {
    /// The key of a URL of the same host, which differs in the target alone.
    fn sibling(&self, location: &HeaderValue) -> Option<u128> {
        let uri: Uri = location.to_str().ok()?.parse().ok()?;
        let (host, own) = self.url.split_at(self.url.find('/')?);
        if uri.host().is_some_and(|named| !named.eq_ignore_ascii_case(host)) {
            return None;
        }
        let target = uri.path_and_query()?.as_str();
        let parts =
            self.key.split(|b| *b == 0).map(|part| if part == own.as_bytes() { target.as_bytes() } else { part });
        Some(u128::from_be_bytes(hash_key(parts.collect::<Vec<_>>().join(&0))))
    }
}
