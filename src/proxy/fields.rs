//! Values of header fields, as several places here read them.

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// The length that the message says its body has; none where it says none that is a number.
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Of a `Host` field: for TLS.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}
