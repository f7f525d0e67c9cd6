//! `cache`, and the stores.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use super::Lowering;
use super::names::check_name;
use crate::defaults;
use crate::diagnostics::Origin;
use crate::model::{
    BackgroundUpdate, ByteSize, Cache, CacheCondition, CacheKeyPart, CacheStore, CacheStoreName, ClientCaching,
    DiskTier, Lifetimes, StatusFields, UpstreamLifetimes,
};
use crate::sources::config::decode::{Either, Field, List, Table};
use crate::sources::config::shapes::{self, scalar};
use crate::sources::config::tree::NodeId;

/// Those that are declared, and the one that need not be.
pub fn cache_stores(cx: &Lowering, written: Field<Table<shapes::CacheStore>>) -> Vec<CacheStore> {
    let mut stores = Vec::new();
    let mut folders: HashMap<PathBuf, u32> = HashMap::new();
    for (name, field) in written.value().map_or(Vec::new(), |Table(entries)| entries) {
        let Some(place) = field.key() else { continue };
        check_name(cx, "cache store", &name, place);
        let Some((at, shape)) = field.given() else { continue };
        let disk = disk(cx, shape.disk, &mut folders);
        let memory = shape.memory.scalar_or(defaults::CACHE_MEMORY);
        if memory.0 == 0 && disk.is_none() {
            cx.error_with(at.value(), "a store without memory and without a disk keeps nothing", "write memory: 64MiB");
        }
        stores.push(CacheStore { origin: cx.findings.origin(place), name: CacheStoreName(name.into()), memory, disk });
    }
    if !stores.iter().any(|store| *store.name.0 == *defaults::CACHE_STORE) {
        let name = CacheStoreName(defaults::CACHE_STORE.into());
        stores.push(CacheStore { origin: Origin::builtin(), name, memory: defaults::CACHE_MEMORY, disk: None });
    }
    stores
}

fn disk(cx: &Lowering, written: Field<shapes::DiskTier>, folders: &mut HashMap<PathBuf, u32>) -> Option<DiskTier> {
    let (at, shape) = written.given()?;
    let path = cx.required(shape.path, at, "path", "path: /var/cache/weir");
    let size = cx.required(shape.size, at, "size", "size: 1GB");
    let (path_at, path) = path?;
    let path = cx.path(path.0);
    let line = cx.findings.line(path_at.value());
    if let Some(first) = folders.insert(path.clone(), line) {
        let message = format!("the store at line {first} has this folder already");
        cx.error_with(path_at.value(), message, "each store needs a folder of its own");
    }
    let (_, scalar::Size(size)) = size?;
    Some(DiskTier { origin: cx.findings.origin(path_at.value()), path, size })
}

pub fn cache(cx: &Lowering, at: NodeId, shape: shapes::Cache) -> Cache {
    let upstream = match shape.upstream_ttl.value() {
        Some(shapes::UpstreamTtl::Follow) => UpstreamLifetimes::Follow,
        Some(shapes::UpstreamTtl::Ignore) => UpstreamLifetimes::Ignore,
        None => defaults::UPSTREAM_LIFETIMES,
    };
    if upstream == UpstreamLifetimes::Ignore && matches!(shape.ttl, Field::Absent) {
        let message = "with \"upstream-ttl: ignore\" and without \"ttl\" nothing is ever kept";
        cx.missing(at, &["ttl"], message, "write ttl: { 200: 5m }");
    }
    Cache {
        store: store(cx, shape.store),
        lifetimes: lifetimes(cx, shape.ttl),
        upstream,
        key: key(cx, shape.key),
        bypass: conditions(shape.bypass),
        no_store: conditions(shape.no_store),
        stale_on: shape.use_stale.value().unwrap_or_default().into_iter().filter_map(Field::scalar).collect(),
        stale_for: shape.stale_for.scalar_or(defaults::CACHE_STALE_FOR),
        background_update: match shape.background_update.value() {
            Some(true) => BackgroundUpdate::On,
            Some(false) => BackgroundUpdate::Off,
            None => defaults::BACKGROUND_UPDATE,
        },
        lock: shape.lock.scalar_or(Some(defaults::CACHE_LOCK)),
        min_uses: shape.min_uses.scalar_or(defaults::CACHE_MIN_USES),
        max_object: max_object(cx, shape.max_object),
        client: match shape.client_cache_control.value() {
            Some(shapes::ClientCacheControl::Heed) => ClientCaching::Heed,
            Some(shapes::ClientCacheControl::Ignore) => ClientCaching::Ignore,
            None => defaults::CLIENT_CACHING,
        },
        status_fields: match shape.status_headers.value() {
            Some(true) => StatusFields::Send,
            Some(false) => StatusFields::Omit,
            None => defaults::CACHE_STATUS_FIELDS,
        },
    }
}

fn store(cx: &Lowering, written: Field<String>) -> CacheStoreName {
    match written {
        Field::Given(at, name) => {
            if name != defaults::CACHE_STORE {
                cx.stores.resolve(cx, at, &name);
            }
            CacheStoreName(name.into())
        }
        Field::Wrong(_) => {
            cx.stores.lost_a_use();
            CacheStoreName(defaults::CACHE_STORE.into())
        }
        Field::Absent => CacheStoreName(defaults::CACHE_STORE.into()),
    }
}

/// One time alone is meant as nginx means it.
const ONE_TIME_FOR: [u16; 3] = [200, 301, 302];

fn lifetimes(cx: &Lowering, written: Field<Either<scalar::Span, Table<scalar::Span>>>) -> Lifetimes {
    let entries = match written.value() {
        None => return Lifetimes::default(),
        Some(Either::Short(time)) => {
            return Lifetimes { by_status: ONE_TIME_FOR.map(|status| (status, time.0)).into(), any: None };
        }
        Some(Either::Full(Table(entries))) => entries,
    };
    let (mut by_status, mut any): (BTreeMap<u16, Duration>, _) = (BTreeMap::new(), None);
    for (word, field) in entries {
        let Some(place) = field.key() else { continue };
        let time = field.scalar();
        match (word.as_str(), word.parse::<u16>()) {
            ("any", _) => any = time,
            (_, Ok(206 | 304)) => cx.error_with(place, format!("answers of {word} are parts of others"), "write 200"),
            (_, Ok(status @ 200..=599)) => by_status.extend(time.map(|time| (status, time))),
            (_, Ok(_) | Err(_)) => {
                let help = "write a status from 200 to 599, or any for all others";
                cx.error_with(place, format!("\"{word}\" is not the status of an answer"), help);
            }
        }
    }
    Lifetimes { by_status, any }
}

fn key(cx: &Lowering, written: Field<List<shapes::CacheKeyPart>>) -> Vec<CacheKeyPart> {
    let Some((at, parts)) = written.given() else { return defaults::CACHE_KEY.to_vec() };
    if parts.is_empty() {
        let help = "write what tells requests apart, as key: [host, target]";
        cx.error_with(at.value(), "with an empty key every request would get the same answer", help);
    }
    let part = |part| match part {
        shapes::CacheKeyPart::Scheme => CacheKeyPart::Scheme,
        shapes::CacheKeyPart::Host => CacheKeyPart::Host,
        shapes::CacheKeyPart::Target => CacheKeyPart::Target,
        shapes::CacheKeyPart::Path => CacheKeyPart::Path,
        shapes::CacheKeyPart::Header(name) => CacheKeyPart::Header(name.0.to_ascii_lowercase().into()),
        shapes::CacheKeyPart::Cookie(name) => CacheKeyPart::Cookie(name.0),
        shapes::CacheKeyPart::Query(name) => CacheKeyPart::Query(name.0),
    };
    parts.into_iter().filter_map(Field::value).map(part).collect()
}

fn conditions(written: Field<List<shapes::CacheCondition>>) -> Vec<CacheCondition> {
    let condition = |condition| match condition {
        shapes::CacheCondition::Header(name) => CacheCondition::Header(name.0.to_ascii_lowercase().into()),
        shapes::CacheCondition::Cookie(name) => CacheCondition::Cookie(name.0),
        shapes::CacheCondition::Query(name) => CacheCondition::Query(name.0),
    };
    written.value().unwrap_or_default().into_iter().filter_map(Field::value).map(condition).collect()
}

fn max_object(cx: &Lowering, written: Field<scalar::Size>) -> ByteSize {
    if let Field::Given(at, size) = &written
        && size.0.0 == 0
    {
        cx.error_with(at.value(), "with a largest object of 0 bytes nothing is kept", "write max-object: 16MiB");
    }
    written.scalar_or(defaults::CACHE_MAX_OBJECT)
}
