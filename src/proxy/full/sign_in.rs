//! A request that is let pass may have to say who it is from: that takes as long as a password is dear, or as somebody else needs
//! to answer.
//!
//! ```text
//! decision ──jwt──► limits by claims, delay ──► basic-auth ──► forward-auth ──► the same decision, and who it is
//!            └─────────────┴──────────────────────┴──────────────┴──► 401, 403, 429, 302, 500, 503
//! ```
//!
//! What costs least comes first, and what asks somebody else last.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use pingora_proxy::Session;

use super::arrive::{self, Decision};
use super::auth_service::{self, Question};
use super::context::Context;
use super::own_connector::OwnConnector;
use super::{FullLane, delay, departure};
use crate::model::{ForwardCredentials, TokenSource};
use crate::proxy::filters::forward_auth::{self, OriginalUrl};
use crate::proxy::filters::{self, FORWARD_AUTH, JWT, Refusal, SATISFY, Verdict};
use crate::proxy::head;
use crate::snapshot::basic_auth::BasicAuth;
use crate::snapshot::chain::{Addresses, ByAddress, SignIn};
use crate::snapshot::forward_auth::{AuthAnswer, ForwardAuth};
use crate::snapshot::host::Authority;
use crate::snapshot::outage::Asked;
use crate::snapshot::path::Target;
use crate::snapshot::request::{RequestView, WithClaims};
use crate::snapshot::table::Route;
use crate::tokens::Claims;

/// What those who know the client say of it.
#[derive(Default)]
pub struct Vouched {
    /// What the token says.
    claims: Option<Arc<Claims>>,
    /// For the upstream.
    fields: Vec<(HeaderName, HeaderValue)>,
    /// For the client, and who sends them.
    cookies: Option<(Arc<ForwardAuth>, Vec<HeaderValue>)>,
}

impl Vouched {
    /// `Set-Cookie` for an answer of this status.
    pub fn cookies(&self, status: u16) -> &[HeaderValue] {
        match &self.cookies {
            Some((auth, cookies)) if forward_auth::passes_cookies(auth, status) => cookies,
            Some(_) | None => &[],
        }
    }
}

/// What was decided stands for whoever is known; nobody else learns what it was. An error is the client's leaving.
pub async fn ask(
    lane: &FullLane,
    session: &mut Session,
    ctx: &mut Context,
    decision: Decision,
) -> pingora::Result<Decision> {
    let Some(sign_in) = ctx.admission.sign_in.take() else { return Ok(decision) };
    ctx.was_held = true;
    let known = match &sign_in.or_by_address {
        Some(addresses) => anyone(lane, session, ctx, &sign_in, addresses).await?,
        None => match token(session, ctx, &sign_in).await {
            Ok(delay) => {
                delay::wait(session, ctx, delay).await?;
                others(lane, session, ctx, &sign_in).await
            }
            Err(refusal) => Err(refusal),
        },
    };
    let Err((filter, verdict)) = known else { return Ok(decision) };
    // It goes to no upstream, and none counts it.
    ctx.forwarding = None;
    Ok(Decision::Answer(arrive::answer_of(filter, verdict, session, ctx)))
}

/// Verifies the token, and asks the limits that count by what it says: how long the request has to wait.
async fn token(session: &Session, ctx: &mut Context, sign_in: &SignIn) -> Result<Duration, Refusal> {
    let headers = &session.req_header().headers;
    if let Some(jwt) = &sign_in.jwt {
        let calendar = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let query = session.req_header().uri.query();
        let claims = filters::jwt::run(jwt, headers, query, Instant::now(), calendar).await;
        ctx.vouched.claims = claims.map_err(|verdict| (JWT, verdict))?;
        ctx.user = ctx.vouched.claims.as_ref().and_then(|claims| claims.subject()).map(Arc::from);
    }
    if sign_in.rate_limits.is_empty() && sign_in.concurrency_limits.is_empty() {
        return Ok(Duration::ZERO);
    }
    let Some(view) = ctx.view_for_edits(headers) else { return Ok(Duration::ZERO) };
    let (places, delay) = match &ctx.vouched.claims {
        Some(claims) => {
            let known = WithClaims { fields: view.headers, claims };
            filters::admit_known(sign_in, &RequestView { headers: &known, ..view }, Instant::now())?
        }
        None => filters::admit_known(sign_in, &view, Instant::now())?,
    };
    ctx.admission.places.extend(places);
    Ok(delay)
}

async fn others(lane: &FullLane, session: &Session, ctx: &mut Context, sign_in: &SignIn) -> Result<(), Refusal> {
    if let Some(auth) = &sign_in.basic {
        password(lane, session, ctx, auth).await?;
    }
    if let Some(auth) = &sign_in.forward {
        service(lane, session, ctx, auth).await?;
    }
    Ok(())
}

async fn password(lane: &FullLane, session: &Session, ctx: &mut Context, auth: &BasicAuth) -> Result<(), Refusal> {
    let headers = &session.req_header().headers;
    ctx.user = Some(filters::basic_auth(auth, &lane.shared.passwords, headers).await?);
    Ok(())
}

async fn service(
    lane: &FullLane,
    session: &Session,
    ctx: &mut Context,
    auth: &Arc<ForwardAuth>,
) -> Result<(), Refusal> {
    forward(lane, session, ctx, auth).await.map_err(|verdict| (FORWARD_AUTH, verdict))
}

/// One who lets it in is enough. As nginx: who nobody lets in is told to say who it is, where somebody has asked that.
async fn anyone(
    lane: &FullLane,
    session: &mut Session,
    ctx: &mut Context,
    sign_in: &SignIn,
    addresses: &Addresses,
) -> pingora::Result<Result<(), Refusal>> {
    let Some(client) = ctx.client else { return Ok(Err((SATISFY, Verdict::refuse(500, "the request has no client")))) };
    let mut answers = Answers::default();
    match filters::by_address(addresses, client.address) {
        Ok(ByAddress::Allowed) => return Ok(Ok(())),
        Ok(ByAddress::Denied | ByAddress::Unknown) => {}
        Err(refusal) => answers.note(refusal),
    }
    if sign_in.jwt.is_some() {
        match token(session, ctx, sign_in).await {
            Ok(delay) => return delay::wait(session, ctx, delay).await.map(Ok),
            Err(refusal) => answers.note(refusal),
        }
    }
    if let (Some(auth), false) = (&sign_in.basic, answers.is_final()) {
        match password(lane, session, ctx, auth).await {
            Ok(()) => return Ok(Ok(())),
            Err(refusal) => answers.note(refusal),
        }
    }
    if let (Some(auth), false) = (&sign_in.forward, answers.is_final()) {
        match service(lane, session, ctx, auth).await {
            Ok(()) => return Ok(Ok(())),
            Err(refusal) => answers.note(refusal),
        }
    }
    Ok(answers.0.map_or(Ok(()), Err))
}

/// What is told whom nobody lets in.
#[derive(Default)]
struct Answers(Option<Refusal>);

impl Answers {
    fn note(&mut self, refusal: Refusal) {
        let asks_who = |verdict: &Verdict| match verdict {
            Verdict::Refuse { status, .. } | Verdict::Passed { status, .. } | Verdict::Answer { status, .. } => {
                *status == 401
            }
            Verdict::Redirect { .. } => true,
        };
        if self.0.as_ref().is_none_or(|(_, kept)| !asks_who(kept)) {
            self.0 = Some(refusal);
        }
    }

    /// What is neither 401 nor 403 is trouble, and no answer to the question who it is.
    fn is_final(&self) -> bool {
        match &self.0 {
            None | Some((_, Verdict::Redirect { .. })) => false,
            Some((
                _,
                Verdict::Refuse { status, .. } | Verdict::Passed { status, .. } | Verdict::Answer { status, .. },
            )) => !matches!(status, 401 | 403),
        }
    }
}

async fn forward(
    lane: &FullLane,
    session: &Session,
    ctx: &mut Context,
    auth: &Arc<ForwardAuth>,
) -> Result<(), Verdict> {
    let headers = &session.req_header().headers;
    if headers.get_all(LOOP_MARK).iter().any(|mark| *mark == lane.shared.mark) {
        auth.metrics.failed.increment();
        return Err(forward_auth::LOOP);
    }
    let answer = match answer(&lane.auth_connector, &lane.shared.mark, session, ctx, auth).await {
        Ok(answer) => answer,
        Err(failure) => {
            auth.metrics.failed.increment();
            note_failure(auth, &failure);
            return Err(forward_auth::failed(auth));
        }
    };
    let refusal = with_original(session, ctx, |original| {
        let request = ctx.view_for_edits(headers)?;
        forward_auth::judge(auth, &answer, original, &ctx.facts(&request, session.req_header()))
    });
    let outcome = if refusal.is_some() { &auth.metrics.refused } else { &auth.metrics.passed };
    outcome.increment();
    if !answer.cookies.is_empty() {
        ctx.vouched.cookies = Some((auth.clone(), answer.cookies.clone()));
    }
    match refusal {
        Some(verdict) => Err(verdict),
        None => {
            ctx.vouched.fields.extend(answer.fields.iter().cloned());
            Ok(())
        }
    }
}

/// What was kept, else what the service says now.
async fn answer(
    connector: &OwnConnector,
    mark: &HeaderValue,
    session: &Session,
    ctx: &Context,
    auth: &Arc<ForwardAuth>,
) -> Result<Arc<AuthAnswer>, auth_service::Failure> {
    let headers = &session.req_header().headers;
    let route = ctx.route.as_ref().map_or("", |route| route.name.as_str());
    let key = ctx.view_for_edits(headers).and_then(|request| auth.key_of(&request, route));
    if let Some(key) = &key
        && let Some(answer) = auth.kept(key, Instant::now())
    {
        auth.metrics.kept.increment();
        return Ok(answer);
    }
    let question = question(session, ctx, auth, mark);
    let (answer, may_be_kept) = auth_service::ask(connector, auth, &question).await?;
    if auth.outage.note(Asked::Answered, Instant::now()) {
        tracing::info!(filter = %auth.definition().place, "the service that says who may come in answers again");
    }
    let answer = Arc::new(answer);
    if let Some(key) = key
        && may_be_kept
    {
        auth.keep(key, &answer, Instant::now());
    }
    Ok(answer)
}

/// Once for each outage.
fn note_failure(auth: &ForwardAuth, failure: &auth_service::Failure) {
    let (filter, service) = (&auth.definition().place, &auth.definition().service.upstream);
    match auth.outage.note(Asked::Failed, Instant::now()) {
        true => {
            tracing::warn!(%filter, upstream = %service, error = %failure, "nobody says who may come in: nobody comes in");
        }
        false => tracing::debug!(%filter, upstream = %service, error = %failure, "nobody says who may come in"),
    }
}

/// Questions of this process, so that it knows one that comes back.
const LOOP_MARK: HeaderName = HeaderName::from_static("weir-forward-auth");
const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const X_ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const X_AUTH_REQUEST_REDIRECT: HeaderName = HeaderName::from_static("x-auth-request-redirect");
const X_SENT_FROM: HeaderName = HeaderName::from_static("x-sent-from");
/// Traefik's.
const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// As ingress-nginx and Traefik ask.
fn question(session: &Session, ctx: &Context, auth: &ForwardAuth, mark: &HeaderValue) -> Question {
    let client = &session.req_header().headers;
    let mut fields = forward_auth::asked_with(auth, client);
    if let Some(route) = &ctx.route
        && let Some(sign_in) = &route.chain.sign_in
    {
        tell_claims(&mut fields, sign_in, &ctx.vouched);
    }
    let host = arrive::authority(session.req_header());
    departure::introduce(&mut fields, client, host.as_deref(), session, ctx);
    let (method, target) = with_original(session, ctx, |original| {
        let method = HeaderValue::from_str(session.req_header().method.as_str()).ok();
        let target = HeaderValue::from_str(original.target).ok();
        set(&mut fields, X_ORIGINAL_URL, original.to_header_value());
        (method, target)
    });
    for name in [X_ORIGINAL_METHOD, X_FORWARDED_METHOD] {
        set(&mut fields, name, method.clone());
    }
    for name in [X_ORIGINAL_URI, X_AUTH_REQUEST_REDIRECT, X_FORWARDED_URI] {
        set(&mut fields, name, target.clone());
    }
    set(&mut fields, X_SENT_FROM, Some(HeaderValue::from_static("weir")));
    if !auth.set_headers.is_empty()
        && let Some(view) = ctx.view_for_edits(client)
    {
        let facts = ctx.facts(&view, session.req_header());
        for (name, value) in &auth.set_headers {
            set(&mut fields, name.clone(), value.render(&facts).map(Cow::into_owned));
        }
    }
    fields.append(LOOP_MARK, mark.clone());
    let host = auth.host.clone().or_else(|| host.map(Cow::into_owned));
    Question { fields, host: host.unwrap_or(HeaderValue::from_static("")) }
}

fn set(fields: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    remove_all_like(fields, &name);
    if let Some(value) = value {
        fields.insert(name, value);
    }
}

/// The URL that the client asked for, as it has been checked on arrival.
fn with_original<T>(session: &Session, ctx: &Context, use_it: impl FnOnce(&OriginalUrl<'_>) -> T) -> T {
    let header = session.req_header();
    let host = arrive::authority(header);
    let authority = host.as_deref().and_then(|host| Authority::parse(host.as_bytes()).ok());
    let authority = authority.map_or_else(String::new, |authority| match authority.port {
        Some(port) => format!("{}:{port}", authority.host),
        None => authority.host.into_owned(),
    });
    let target = match Target::parse(header.raw_path()) {
        Ok(Target::Resource(resource)) => resource.raw,
        Ok(Target::Server) | Err(_) => Cow::Borrowed("/"),
    };
    let scheme = ctx.client.map_or("http", |client| client.scheme.as_str());
    use_it(&OriginalUrl { scheme, authority: &authority, target: &target })
}

/// Tells the upstream what is known of the client: that, and nothing under these names that the client says itself.
pub fn vouch(headers: &mut HeaderMap, sign_in: &SignIn, vouched: &Vouched) {
    if let Some(jwt) = &sign_in.jwt
        && jwt.definition().forward == ForwardCredentials::Omit
    {
        filters::jwt::remove(&jwt.definition().from, headers);
    }
    tell_claims(headers, sign_in, vouched);
    let names = sign_in.forward.iter().flat_map(|auth| &auth.response_headers);
    names.for_each(|name| remove_all_like(headers, name));
    for (name, value) in &vouched.fields {
        headers.append(name.clone(), value.clone());
    }
}

fn tell_claims(headers: &mut HeaderMap, sign_in: &SignIn, vouched: &Vouched) {
    let Some(jwt) = &sign_in.jwt else { return };
    for (_, name) in &jwt.headers {
        remove_all_like(headers, name);
    }
    let Some(claims) = &vouched.claims else { return };
    for (claim, name) in &jwt.headers {
        // What no header can hold is not told.
        if let Some(value) = claims.text(claim).and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok()) {
            headers.append(name.clone(), value);
        }
    }
}

/// Some services and upstreams take underscores for dashes.
fn remove_all_like(headers: &mut HeaderMap, name: &HeaderName) {
    headers.remove(name);
    let imitates = |other: &&HeaderName| head::imitates_any(&[name.as_str().as_bytes()], other.as_str().as_bytes());
    let imitations: Vec<HeaderName> = headers.keys().filter(imitates).cloned().collect();
    for imitation in imitations {
        headers.remove(imitation);
    }
}

/// What the upstream is asked for, where that is another target for want of the token.
pub fn target_without_token(sign_in: &SignIn, target: &[u8]) -> Option<String> {
    let jwt = sign_in.jwt.as_ref().filter(|jwt| jwt.definition().forward == ForwardCredentials::Omit)?;
    let TokenSource::Query(name) = &jwt.definition().from else { return None };
    filters::jwt::without_parameter(std::str::from_utf8(target).ok()?, name)
}

/// As it may be logged: a token is nobody's to read (RFC 6750 §5.3).
pub fn target_for_log(route: &Route, target: &[u8]) -> Option<String> {
    let jwt = route.chain.sign_in.as_ref()?.jwt.as_ref()?;
    let TokenSource::Query(name) = &jwt.definition().from else { return None };
    filters::jwt::without_parameter(std::str::from_utf8(target).ok()?, name)
}
