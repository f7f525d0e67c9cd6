use proptest::prelude::*;

use super::*;

fn parse(target: &str) -> Result<Resource<'_>, BadTarget> {
    match Target::parse(target.as_bytes())? {
        Target::Resource(resource) => Ok(resource),
        Target::Server => panic!("{target} names a resource"),
    }
}

fn path(target: &str) -> String {
    parse(target).unwrap_or_else(|error| panic!("{target}: {error}")).path.into_owned()
}

#[test]
fn a_clean_path_is_borrowed() {
    for clean in ["/", "/a", "/a/", "/a/b.c/..d/.well-known/x..", "/ü/"] {
        let with_query = format!("{clean}?x=/../%00//");
        for target in [clean, &with_query] {
            let resource = parse(target).unwrap();
            assert!(matches!(resource.path, Cow::Borrowed(_)), "{target} was copied");
            assert_eq!(resource.raw, target);
        }
    }
}

#[test]
fn a_path_is_decoded_resolved_and_merged() {
    for (raw, normal) in [
        ("/%61%2E", "/a."),
        ("/a%20b", "/a b"),
        ("/caf%C3%A9", "/café"),
        ("/a/./b/../c", "/a/c"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a/%2e%2e/b", "/b"),
        ("//a///b//", "/a/b/"),
        ("/a//b/../c", "/a/c"),
        ("/group%2Fname/x", "/group/name/x"),
        ("/a%2f", "/a/"),
        ("/a%3Fb%23c%25d", "/a?b#c%d"),
        ("/...", "/..."),
        ("/..a/.b", "/..a/.b"),
    ] {
        assert_eq!(path(raw), normal, "{raw}");
    }
}

#[test]
fn an_escape_is_decoded_once() {
    assert_eq!(path("/%252e%252e/%2561"), "/%2e%2e/%61");
}

#[test]
fn what_servers_read_differently_is_refused() {
    for (raw, reason) in [
        ("/..", BadTarget::AboveRoot),
        ("/%2e%2E/a", BadTarget::AboveRoot),
        ("/a/../..", BadTarget::AboveRoot),
        ("/a//..", BadTarget::AmbiguousDots),
        ("//..", BadTarget::AmbiguousDots),
        ("/a//b/../..", BadTarget::AmbiguousDots),
        ("/a%2F..", BadTarget::AmbiguousDots),
        ("/a/..%2Fb", BadTarget::AmbiguousDots),
        ("/a%2Fb/../c", BadTarget::AmbiguousDots),
        ("/a%2F./b", BadTarget::AmbiguousDots),
        ("/a/..;x/b", BadTarget::DotParameter),
        ("/a/.;", BadTarget::DotParameter),
        ("/a\\b", BadTarget::Backslash),
        ("/a%5Cb", BadTarget::Backslash),
        ("/a\0", BadTarget::Control),
        ("/a%00", BadTarget::Control),
        ("/a%0d%0aX: y", BadTarget::Control),
        ("/a%7f", BadTarget::Control),
        ("/a b", BadTarget::Space),
        ("/a%", BadTarget::Escape),
        ("/a%2", BadTarget::Escape),
        ("/a%+1", BadTarget::Escape),
        ("/a%zz", BadTarget::Escape),
        ("/%ff", BadTarget::NotUtf8),
        ("/a#b", BadTarget::Fragment),
        ("/a?b#c", BadTarget::Fragment),
        ("/a?b c", BadTarget::Space),
        ("/a?b\r\nc", BadTarget::Control),
        ("a/b", BadTarget::Form),
        ("", BadTarget::Form),
        ("**", BadTarget::Form),
        ("host:443", BadTarget::Form),
        ("ftp://host/", BadTarget::Form),
        ("http:///a", BadTarget::Form),
        ("http://host#a", BadTarget::Fragment),
    ] {
        assert_eq!(parse(raw), Err(reason), "{raw:?}");
    }
    assert_eq!(Target::parse(b"/\xFF"), Err(BadTarget::NotUtf8));
    assert_eq!(BadTarget::AboveRoot.to_string(), "\"..\" climbs above the root of the path");
}

#[test]
fn the_query_is_kept_as_sent() {
    let resource = parse("/a%20b/?x=%00&y=a/../b?").unwrap();
    assert_eq!((&*resource.path, resource.query), ("/a b/", Some("x=%00&y=a/../b?")));
    assert_eq!(parse("/a?").unwrap().query, Some(""));
    assert_eq!(parse("/a").unwrap().query, None);
}

#[test]
fn a_url_gives_its_authority_and_at_least_the_root() {
    for (url, authority, path, query, raw) in [
        ("http://a.test/x//y?q", "a.test", "/x/y", Some("q"), "/x//y?q"),
        ("HTTPS://a.test:8443", "a.test:8443", "/", None, "/"),
        ("http://a.test?q=/", "a.test", "/", Some("q=/"), "/?q=/"),
    ] {
        let resource = parse(url).unwrap();
        assert_eq!(resource.authority, Some(authority));
        assert_eq!((&*resource.path, resource.query, &*resource.raw), (path, query, raw));
    }
}

#[test]
fn a_star_asks_for_the_server() {
    assert_eq!(Target::parse(b"*"), Ok(Target::Server));
}

/// A segment with the separators it stood between, as `normalize_naively` cuts them.
#[derive(Clone, Debug)]
struct Segment {
    text: Vec<u8>,
    beside_encoded_slash: bool,
}

/// The same rules, told in another way: cut into segments first, then keep a stack that remembers empty ones.
fn normalize_naively(path: &str) -> Result<String, BadTarget> {
    let mut segments = cut(path)?;
    let last = segments.pop().expect("a path that begins with a slash has a segment");
    let mut stack: Vec<Segment> = Vec::new();
    let mut trailing_slash = true;
    for (segment, is_last) in segments.into_iter().map(|s| (s, false)).chain([(last, true)]) {
        let text = segment.text.as_slice();
        let dots = text == b"." || text == b"..";
        if dots && segment.beside_encoded_slash {
            return Err(BadTarget::AmbiguousDots);
        }
        if text.starts_with(b".;") || text.starts_with(b"..;") {
            return Err(BadTarget::DotParameter);
        }
        if text == b".." {
            let removed = stack.pop().ok_or(BadTarget::AboveRoot)?;
            if removed.text.is_empty() || removed.beside_encoded_slash {
                return Err(BadTarget::AmbiguousDots);
            }
        } else if !dots {
            trailing_slash = !is_last || text.is_empty();
            stack.push(segment);
        }
    }
    let kept: Vec<Vec<u8>> = stack.into_iter().map(|s| s.text).filter(|t| !t.is_empty()).collect();
    let mut out = b"/".to_vec();
    out.extend(kept.join(&b'/'));
    if trailing_slash && out.len() > 1 {
        out.push(b'/');
    }
    String::from_utf8(out).map_err(|_| BadTarget::NotUtf8)
}

fn cut(path: &str) -> Result<Vec<Segment>, BadTarget> {
    let mut segments = Vec::new();
    let mut current = Segment { text: Vec::new(), beside_encoded_slash: false };
    let mut bytes = path.bytes().skip(1);
    while let Some(byte) = bytes.next() {
        let (byte, encoded) = match byte {
            b'%' => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                let is_hex = digits.len() == 2 && digits.chars().all(|c| c.is_ascii_hexdigit());
                if !is_hex {
                    return Err(BadTarget::Escape);
                }
                (u8::from_str_radix(&digits, 16).unwrap(), true)
            }
            b' ' => return Err(BadTarget::Space),
            b'#' => return Err(BadTarget::Fragment),
            byte => (byte, false),
        };
        match byte {
            b'\\' => return Err(BadTarget::Backslash),
            0..=0x1F | 0x7F => return Err(BadTarget::Control),
            b'/' => {
                current.beside_encoded_slash |= encoded;
                segments.push(current);
                current = Segment { text: Vec::new(), beside_encoded_slash: encoded };
            }
            byte => current.text.push(byte),
        }
    }
    segments.push(current);
    Ok(segments)
}

/// Paths made of the pieces that matter, so that odd neighbours are common.
fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => Just("/"), 3 => Just("."), 3 => Just(".."), 4 => Just("a"), 2 => Just("bc"),
        1 => Just("%2e"), 1 => Just("%2F"), 1 => Just("%41"), 1 => Just("%25"), 1 => Just("%3f"), 1 => Just("%20"),
        1 => Just("é"), 1 => Just("%C3%A9"), 1 => Just(";"), 1 => Just("%23"), 1 => Just("%252e"),
    ];
    let wrong = prop_oneof![
        Just("%5c"),
        Just("\\"),
        Just("%00"),
        Just("\n"),
        Just(" "),
        Just("%zz"),
        Just("%2"),
        Just("%C3"),
        Just("#"),
    ];
    let pieces = prop::collection::vec(prop_oneof![40 => piece, 1 => wrong], 0..14);
    pieces.prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn equals_the_naive_reference(raw in paths()) {
        // Which of several reasons is named is no part of the promise.
        let normal = parse(&raw).map(|resource| resource.path.into_owned()).ok();
        prop_assert_eq!(normal, normalize_naively(&raw).ok());
    }

    #[test]
    fn a_normal_path_holds_no_empty_and_no_dot_segment(raw in paths()) {
        if let Ok(resource) = parse(&raw) {
            prop_assert!(resource.path.starts_with('/'));
            let inner: Vec<&str> = resource.path[1..].split('/').collect();
            let (last, rest) = inner.split_last().unwrap();
            prop_assert!(rest.iter().all(|segment| !["", ".", ".."].contains(segment)));
            prop_assert!(![".", ".."].contains(last));
        }
    }

    #[test]
    fn a_normal_path_stays_as_it_is_when_encoded_and_read_again(raw in paths()) {
        if let Ok(resource) = parse(&raw) {
            let mut encoded = String::new();
            encode_into(&mut encoded, &resource.path);
            prop_assert_eq!(path(&encoded), resource.path);
        }
    }

    #[test]
    fn a_path_is_borrowed_exactly_when_nothing_changes(raw in paths()) {
        if let Ok(resource) = parse(&raw) {
            prop_assert_eq!(matches!(resource.path, Cow::Borrowed(_)), resource.path == raw);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Target::parse(&bytes);
        let _ = Target::parse(&[b"/", bytes.as_slice()].concat());
        let _ = Target::parse(&[b"http://", bytes.as_slice()].concat());
    }
}
