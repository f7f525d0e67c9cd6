//! Values of header fields, as several places here read them.

use http::header::{
    CONNECTION, CONTENT_LENGTH, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};

/// Of the connection alone (RFC 9110 §7.6.1).
pub const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Whether a name, as it was sent, is one of those.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    // The shortest is as long as `te`; most names differ in length from all of them.
    matches!(name.len(), 2 | 7 | 10 | 14 | 16..=19)
        && HOP_BY_HOP.iter().any(|own| name.eq_ignore_ascii_case(own.as_str().as_bytes()))
}

/// Those that the message itself says are.
pub fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    values.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

/// Whether another `Connection` than the first says that it is the last message: Pingora heeds the first alone, and several are one list
/// (RFC 9110 §5.3).
pub fn closes_by_a_later_field(headers: &HeaderMap) -> bool {
    let later = headers.get_all(CONNECTION).iter().skip(1);
    let mut options = later.flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Takes out both.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers).iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The length that the message says its body has; none where it says none that is a number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A length as messages are framed by it: digits, and so few of them that any such number is below `u64::MAX`.
pub fn length(text: &[u8]) -> Option<u64> {
    let is_plain = (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_plain.then(|| text.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

/// Whether there are zeros in front of a number: readers are known that take it for an octal one then.
pub fn is_padded(text: &[u8]) -> bool {
    matches!(text, [b'0', _, ..])
}

/// Whether there is a space at an end. HTTP/1 knows of none there; HTTP/2 could carry it (RFC 9113 §8.2.1), and readers differ.
pub fn is_spaced(value: &[u8]) -> bool {
    value.trim_ascii().len() < value.len()
}

/// Of a `Host` field: for TLS.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
