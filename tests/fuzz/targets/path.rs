//! Any bytes as `target NUL host NUL rewrite-prefix`: what is accepted is normal, and stays so when it is read again.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use weir::model::{PathMatch, PathRewrite, Pattern, QueryRewrite, Replacement, Scheme};
use weir::snapshot::host::Authority;
use weir::snapshot::path::{Resource, Target, encode_into};
use weir::snapshot::request::RequestView;
use weir::snapshot::rewrite;

static PATTERN: LazyLock<Pattern> = LazyLock::new(|| Pattern::parse("^/a([^/]*)(.*)").expect("a pattern"));

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let (target, host, prefix) = (part(), part(), part());
    let authority = Authority::parse(host);
    if let Ok(authority) = &authority {
        check_host(authority);
    }
    let Ok(Target::Resource(resource)) = Target::parse(target) else { return };
    check_path(&resource.path);
    assert!(!resource.raw.bytes().any(|byte| byte <= b' ' || byte == 0x7f), "raw: {:?}", resource.raw);
    check_stable(&resource);
    let host = authority.as_ref().map_or("", |authority| &authority.host);
    let prefix = std::str::from_utf8(prefix).unwrap_or_default();
    check_rewrites(&resource, host, &format!("/{prefix}"));
});

fn check_host(authority: &Authority<'_>) {
    let host = &authority.host;
    assert!(!host.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' ' || byte >= 0x7f), "{host:?}");
    let again = Authority::parse(host.as_bytes()).expect("what was read is a host");
    assert_eq!(again.host, *host);
}

fn check_path(path: &str) {
    assert!(path.starts_with('/'), "{path:?}");
    assert!(!path.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == b'\\'), "{path:?}");
    let mut segments: Vec<&str> = path[1..].split('/').collect();
    // A trailing slash is kept; it leaves one empty segment.
    segments.pop_if(|last| last.is_empty());
    assert!(!segments.iter().any(|segment| matches!(*segment, "" | "." | "..")), "{path:?}");
}

/// The normalized path, written out again, reads as itself.
fn check_stable(resource: &Resource<'_>) {
    let mut encoded = String::new();
    encode_into(&mut encoded, &resource.path);
    match Target::parse(encoded.as_bytes()) {
        Ok(Target::Resource(again)) => assert_eq!(again.path, resource.path, "{encoded:?}"),
        other => panic!("{encoded:?} of {resource:?} is {other:?}"),
    }
}

fn check_rewrites(resource: &Resource<'_>, host: &str, prefix: &str) {
    let headers = http::HeaderMap::new();
    let view = RequestView {
        method: "GET",
        path: &resource.path,
        query: resource.query,
        host,
        port: None,
        headers: &headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        scheme: Scheme::Http,
    };
    let replaced = PathRewrite::Prefix(prefix.into());
    let full = PathRewrite::Full(Replacement::literal(prefix));
    let regex = Replacement::parse(&format!("{prefix}$2/$1?x=$1"), &PATTERN).ok();
    let regex = regex.map(|replacement| PathRewrite::Regex { pattern: PATTERN.clone(), replacement });
    for rewritten in [replaced, full].into_iter().chain(regex) {
        let matched = PathMatch::Prefix("/".into());
        let Ok(target) = rewrite::upstream_target(Some(&rewritten), QueryRewrite::Keep, &matched, &view, &resource.raw)
        else {
            continue;
        };
        if target == resource.raw {
            continue;
        }
        assert!(target.starts_with('/'), "{target:?}");
        let path = target.split('?').next().unwrap_or_default();
        assert!(!path.contains("//"), "{target:?}");
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?}");
    }
}
