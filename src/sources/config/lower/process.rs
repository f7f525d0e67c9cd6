//! What concerns the process as a whole.

use std::mem::take;
use std::time::Duration;

use super::Lowering;
use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    AccessLog, AccessLogFormat, Admin, ForwardedField, Lanes, LogTarget, OcspStapling, Process, Redis, RedisTransport,
    RedisUrl, Replicas, RequestIds, SessionTickets, Shutdown, Threads, format_duration,
};
use crate::sources::config::decode::{Either, Field, List, Scalar};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::abridged;

/// Takes the keys of the process out of the file.
pub fn process(cx: &Lowering, file: &mut shapes::File) -> Process {
    let shutdown = take(&mut file.shutdown).value_or(shapes::Shutdown::default());
    Process {
        threads: take(&mut file.threads).scalar_or(Threads::Auto),
        access_log: access_log(cx, take(&mut file.access_log)),
        admin: admin(cx, take(&mut file.admin)),
        trusted_proxies: all(take(&mut file.trusted_proxies)),
        request_ids: match take(&mut file.request_ids).value() {
            Some(shapes::RequestIds::OfTrustedProxies) => RequestIds::OfTrustedProxies,
            Some(shapes::RequestIds::OfClients) => RequestIds::OfClients,
            None => defaults::REQUEST_IDS,
        },
        lanes: match take(&mut file.lanes).value() {
            Some(shapes::Lanes::Auto) => Lanes::Auto,
            Some(shapes::Lanes::Full) => Lanes::Full,
            None => defaults::LANES,
        },
        forwarded: match take(&mut file.forwarded).value() {
            Some(true) => ForwardedField::Send,
            Some(false) => ForwardedField::Omit,
            None => defaults::FORWARDED_FIELD,
        },
        shutdown: Shutdown {
            delay: shutdown.delay.scalar_or(defaults::SHUTDOWN_DELAY),
            timeout: shutdown.timeout.scalar_or(defaults::SHUTDOWN_TIMEOUT),
        },
        resolvers: all(take(&mut file.resolvers)),
        session_tickets: session_tickets(cx, take(&mut file.session_tickets)),
        ocsp_stapling: match take(&mut file.ocsp_stapling).value() {
            Some(shapes::Switch::On) => OcspStapling::On,
            Some(shapes::Switch::Off) => OcspStapling::Off,
            None => defaults::OCSP_STAPLING,
        },
        redis: redis(cx, take(&mut file.redis)),
        replicas: take(&mut file.replicas).value().map(|shape| match shape {
            shapes::Replicas::Count(count) => Replicas::Count(count.0),
            shapes::Replicas::Dns(name) => Replicas::Dns(name.0),
        }),
    }
}

fn redis(cx: &Lowering, written: Field<shapes::Redis>) -> Option<Redis> {
    let (at, shape) = written.given()?;
    let url = cx.required(shape.url, at, "url", "url: redis://redis:6379");
    let is_plain = |url: &RedisUrl| url.transport == RedisTransport::Plain;
    if let (Some(place), Some((_, url))) = (shape.ca.key(), &url)
        && is_plain(&url.0)
    {
        cx.error_with(place, "there is no TLS to verify with it", "write rediss:// in the URL, or take it out");
    }
    if let Field::Given(at, prefix) = &shape.key_prefix
        && !(prefix.len() <= LONGEST_KEY_PREFIX && prefix.bytes().all(|b| b.is_ascii_graphic()))
    {
        let message = format!("\"{}\" cannot begin a key", abridged(prefix));
        cx.error_with(at.value(), message, format!("use up to {LONGEST_KEY_PREFIX} printable characters of ASCII"));
    }
    Some(Redis {
        origin: cx.findings.origin(at.key()),
        url: url.map(|(_, url)| url.0)?,
        password_file: shape.password_file.scalar().map(|path| cx.file(path)),
        ca: shape.ca.scalar().map(|path| cx.file(path)),
        timeout: shape.timeout.scalar_or(defaults::REDIS_TIMEOUT),
        key_prefix: shape.key_prefix.value_or(defaults::REDIS_KEY_PREFIX.to_owned()).into(),
    })
}

/// It stands in every key.
const LONGEST_KEY_PREFIX: usize = 100;

fn session_tickets(cx: &Lowering, written: Field<Either<scalar::Off, shapes::SessionTickets>>) -> SessionTickets {
    let shape = match written.value() {
        Some(Either::Short(scalar::Off(()))) => return SessionTickets::Off,
        Some(Either::Full(shape)) => shape,
        None => shapes::SessionTickets::default(),
    };
    const SHORTEST: Duration = Duration::from_secs(1);
    if let Field::Given(at, time) = &shape.rotate
        && !(SHORTEST..=defaults::TICKET_ROTATION_LIMIT).contains(&time.0)
    {
        let limit = format_duration(defaults::TICKET_ROTATION_LIMIT);
        let message = format!("{} is out of bounds for a key of session tickets", format_duration(time.0));
        cx.error_with(at.value(), message, format!("write 1s to {limit}: no client keeps a ticket for longer"));
    }
    SessionTickets::Rotate { every: shape.rotate.scalar_or(defaults::TICKET_ROTATION) }
}

/// The items of a list that could be read.
pub fn all<S: Scalar>(list: Field<List<S>>) -> Vec<S::Value> {
    list.value().unwrap_or_default().into_iter().filter_map(Field::scalar).collect()
}

/// The items of a list, none where one of them cannot be read.
pub fn every<S: Scalar>(list: Field<List<S>>) -> Option<Vec<S::Value>> {
    match list {
        Field::Wrong(_) => None,
        Field::Absent => Some(Vec::new()),
        Field::Given(_, list) => list.into_iter().map(Field::scalar).collect(),
    }
}

fn access_log(cx: &Lowering, written: Field<Either<shapes::AccessLogWord, shapes::AccessLog>>) -> Option<AccessLog> {
    let origin = written.key().map_or_else(Origin::builtin, |place| cx.findings.origin(place));
    let to_stdout = |format| Some(AccessLog { origin: origin.clone(), format, target: LogTarget::Stdout });
    match written.value() {
        None => to_stdout(defaults::ACCESS_LOG),
        Some(Either::Short(shapes::AccessLogWord::Json)) => to_stdout(AccessLogFormat::Json),
        Some(Either::Short(shapes::AccessLogWord::Combined)) => to_stdout(AccessLogFormat::Combined),
        Some(Either::Short(shapes::AccessLogWord::Off)) => None,
        Some(Either::Full(shapes::AccessLog { format, file })) => Some(AccessLog {
            origin: file.key().map_or(origin, |place| cx.findings.origin(place)),
            format: match format.value() {
                Some(shapes::AccessLogFormat::Json) => AccessLogFormat::Json,
                Some(shapes::AccessLogFormat::Combined) => AccessLogFormat::Combined,
                None => defaults::ACCESS_LOG,
            },
            target: file.scalar().map_or(LogTarget::Stdout, |file| LogTarget::File(cx.path(file))),
        }),
    }
}

fn admin(cx: &Lowering, written: Field<Either<scalar::Off, shapes::Admin>>) -> Option<Admin> {
    let origin = written.key().map_or_else(Origin::builtin, |place| cx.findings.origin(place));
    match written.value() {
        None => Some(Admin { origin, address: defaults::ADMIN_ADDRESS }),
        Some(Either::Short(scalar::Off(()))) => None,
        Some(Either::Full(admin)) => Some(Admin {
            origin: admin.address.key().map_or(origin, |place| cx.findings.origin(place)),
            address: admin.address.scalar_or(defaults::ADMIN_ADDRESS),
        }),
    }
}
