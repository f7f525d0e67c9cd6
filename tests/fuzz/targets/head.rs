//! Any bytes as a request head: what is accepted means the same to a second parser.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The room is closed; the file stands alone.
#[path = "../../../src/proxy/head.rs"]
#[allow(dead_code)]
mod head;

#[path = "../../../src/proxy/fields.rs"]
#[allow(dead_code)]
mod fields;

#[path = "../../../src/proxy/span.rs"]
#[allow(dead_code)]
mod span;

use head::Body;

fuzz_target!(|bytes: &[u8]| {
    let whole = head::end_of_head(bytes, 0);
    for from in 0..bytes.len().min(64) {
        if whole.is_none_or(|end| from + 3 < end) {
            assert_eq!(head::end_of_head(bytes, from), whole, "searched from {from}");
        }
    }
    let Some(end) = whole else { return };
    let Ok(accepted) = head::inspect(&bytes[..end]) else { return };
    let mut spelt = bytes[..end].to_vec();
    head::spell_host_as_the_target_does(&mut spelt, &accepted);
    assert!(spelt.eq_ignore_ascii_case(&bytes[..end]));
    assert_eq!(head::inspect(&spelt).map(|head| head.body), Ok(accepted.body), "spelt as the target is");
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut request = httparse::Request::new(&mut fields);
    // What the second parser refuses is refused by Pingora, which has the same.
    let Ok(parsed) = request.parse(&bytes[..end]) else { return };
    assert_eq!(parsed, httparse::Status::Complete(end), "both see the same end");
    let values = |name: &str| {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| String::from_utf8_lossy(field.value).trim().to_ascii_lowercase()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(values("host").len() <= 1 && lengths.len() <= 1 && codings.len() <= 1);
    assert!(lengths.is_empty() || codings.is_empty());
    let connection = values("connection").join(",");
    let upgrades = !values("upgrade").is_empty() && connection.split(',').any(|option| option.trim() == "upgrade");
    let bodiless = if upgrades { Body::Upgrade } else { Body::None };
    let expected = match (&lengths[..], &codings[..]) {
        ([], []) => bodiless,
        ([length], _) => match length.parse().expect("a number") {
            0 => bodiless,
            length => Body::Length(length),
        },
        (_, [coding]) if coding == "chunked" => Body::Chunked,
        other => panic!("{other:?} was accepted"),
    };
    assert_eq!(accepted.body, expected);
});
