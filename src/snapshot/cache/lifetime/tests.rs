use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::LazyLock;

use super::*;
use crate::cache::Stores;
use crate::model::{BackgroundUpdate, ByteSize, Cache, CacheStoreName, ClientCaching, Lifetimes, StatusFields};

static STORES: LazyLock<Stores> = LazyLock::new(Stores::default);

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn policy(change: impl FnOnce(&mut Cache)) -> CachePolicy {
    let store = CacheStoreName("test".into());
    let mut definition = Cache {
        store: store.clone(),
        lifetimes: Lifetimes::default(),
        upstream: UpstreamLifetimes::Follow,
        key: Vec::new(),
        bypass: Vec::new(),
        no_store: Vec::new(),
        stale_on: Vec::new(),
        stale_for: Duration::from_secs(3600),
        background_update: BackgroundUpdate::On,
        lock: None,
        min_uses: NonZeroU32::MIN,
        max_object: ByteSize(1),
        client: ClientCaching::Ignore,
        status_fields: StatusFields::Send,
    };
    change(&mut definition);
    CachePolicy { definition, store: STORES.named(&store) }
}

fn with_ttl(definition: &mut Cache) {
    definition.lifetimes.by_status = BTreeMap::from([(200, Duration::from_secs(300)), (404, Duration::from_secs(60))]);
}

/// How many seconds it is fresh and how old it is, or why it is not kept.
fn judge(
    policy: &CachePolicy,
    status: u16,
    fields: &[(&'static str, &str)],
    asked: Asked,
) -> Result<(i64, u64), &'static str> {
    let mut answer = ResponseHeader::build(status, None).unwrap();
    for (name, value) in fields {
        answer.append_header(*name, *value).unwrap();
    }
    let now = SystemTime::UNIX_EPOCH + NOW;
    let lifetime = policy.lifetime(&answer, asked, now)?;
    let fresh = match lifetime.fresh_until.duration_since(now) {
        Ok(left) => left.as_secs() as i64,
        Err(past) => -(past.duration().as_secs() as i64),
    };
    Ok((fresh, now.duration_since(lifetime.epoch).unwrap().as_secs()))
}

#[test]
fn the_first_that_speaks_decides() {
    let policy = policy(with_ttl);
    let of = |fields: &[(&'static str, &str)]| judge(&policy, 200, fields, Asked::Anonymously);
    assert_eq!(of(&[]), Ok((300, 0)));
    assert_eq!(of(&[("expires", "Fri, 15 Jan 2027 08:01:40 GMT")]), Ok((100, 0)));
    assert_eq!(
        of(&[("expires", "Fri, 15 Jan 2027 08:01:40 GMT"), ("date", "Fri, 15 Jan 2027 08:01:10 GMT")]),
        Ok((30, 0)),
        "whatever the upstream's clock says"
    );
    assert_eq!(of(&[("expires", "Fri, 15 Jan 2027 08:01:40 GMT"), ("cache-control", "max-age=10")]), Ok((10, 0)));
    assert_eq!(of(&[("cache-control", "max-age=10, s-maxage=20")]), Ok((20, 0)));
    assert_eq!(of(&[("cache-control", "max-age=10"), ("x-accel-expires", "40")]), Ok((40, 0)));
    assert_eq!(of(&[("x-accel-expires", "@1800000007")]), Ok((7, 0)));
    assert_eq!(of(&[("x-accel-expires", "0"), ("cache-control", "max-age=9")]), Err("X-Accel-Expires says so"));
    assert_eq!(of(&[("cache-control", "max-age=10"), ("age", "4")]), Ok((6, 4)));
}

#[test]
fn statuses_have_lifetimes_of_their_own() {
    let policy = policy(with_ttl);
    let of = |status| judge(&policy, status, &[], Asked::Anonymously);
    assert_eq!((of(404), of(200)), (Ok((60, 0)), Ok((300, 0))));
    assert_eq!(of(500), Err("nothing says how long it is good for"));
    assert_eq!(judge(&policy, 500, &[("cache-control", "max-age=5")], Asked::Anonymously), Ok((5, 0)));
    assert_eq!(of(206), Err("a part of an answer"));
}

#[test]
fn what_is_for_one_alone_is_not_kept() {
    let policy = policy(with_ttl);
    for (fields, reason) in [
        ([("set-cookie", "a=b")], "it sets a cookie"),
        ([("vary", "accept, *")], "it varies by what is not in the request"),
        ([("cache-control", "private")], "Cache-Control says so"),
        ([("cache-control", "max-age=10, no-store")], "Cache-Control says so"),
    ] {
        assert_eq!(judge(&policy, 200, &fields, Asked::Anonymously), Err(reason), "{fields:?}");
    }
    let credentials = |fields: &[(&'static str, &str)]| judge(&policy, 200, fields, Asked::WithCredentials);
    assert!(credentials(&[]).is_err() && credentials(&[("cache-control", "max-age=10")]).is_err());
    assert_eq!(credentials(&[("cache-control", "public, max-age=10")]), Ok((10, 0)));
    assert_eq!(credentials(&[("cache-control", "s-maxage=11")]), Ok((11, 0)));
}

#[test]
fn what_the_upstream_says_can_be_ignored_but_for_cookies_and_variants() {
    let policy = policy(|definition| {
        with_ttl(definition);
        definition.upstream = UpstreamLifetimes::Ignore;
    });
    assert_eq!(judge(&policy, 200, &[("cache-control", "no-store")], Asked::Anonymously), Ok((300, 0)));
    assert_eq!(judge(&policy, 200, &[], Asked::WithCredentials), Ok((300, 0)));
    assert!(judge(&policy, 200, &[("set-cookie", "a=b")], Asked::Anonymously).is_err());
    assert!(judge(&policy, 200, &[("vary", "*")], Asked::Anonymously).is_err());
}

#[test]
fn what_is_past_is_kept_where_it_can_be_validated_or_shown_all_the_same() {
    let strict = policy(|_| {});
    let past = [("cache-control", "max-age=0"), ("etag", "\"a\"")];
    assert_eq!(judge(&strict, 200, &past, Asked::Anonymously), Ok((-1, 0)));
    assert!(judge(&strict, 200, &past[..1], Asked::Anonymously).is_err());
    let lenient = policy(|definition| definition.stale_on = vec![StaleOn::Error]);
    assert_eq!(judge(&lenient, 200, &past[..1], Asked::Anonymously), Ok((-1, 0)));
}

#[test]
fn how_long_stale_answers_are_shown_is_said_by_the_answer_or_configured() {
    let policy = policy(|definition| definition.stale_on = vec![StaleOn::Updating]);
    let times = |control: &'static str| {
        let headers = HeaderMap::from_iter([(http::header::CACHE_CONTROL, http::HeaderValue::from_static(control))]);
        let (updating, error) = policy.stale_times(&headers);
        (updating.as_secs(), error.as_secs())
    };
    assert_eq!(times("max-age=1"), (3600, 0));
    assert_eq!(times("max-age=1, stale-while-revalidate=7, stale-if-error=9"), (7, 9));
    assert_eq!(times("max-age=1, must-revalidate"), (0, 0));
}
