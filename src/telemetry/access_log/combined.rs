//! nginx's `combined` format, for tools that read it.
//!
//! ```text
//! $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent"
//! ```
//!
//! A session has nginx's stream format: `$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time
//! "$upstream_addr"`.
//!
//! The user is who has proven to be who: nginx logs any name that was tried, which may be a password typed into the wrong field. The
//! time is UTC.

use std::time::SystemTime;

use super::{push_display, push_number};
use crate::telemetry::record::{RequestRecord, RequestText};
use crate::telemetry::session::{SessionProtocol, SessionRecord};
use crate::timestamp::Timestamp;

pub(super) fn append(out: &mut Vec<u8>, record: &RequestRecord, text: &RequestText<'_>, now: SystemTime) {
    push_display(out, record.client.ip());
    out.extend_from_slice(b" - ");
    escape(out, text.user.unwrap_or("-").as_bytes());
    out.extend_from_slice(b" [");
    Timestamp::from(now).push_common_log(out);
    out.extend_from_slice(b"] \"");
    escape(out, text.method.as_bytes());
    out.push(b' ');
    escape(out, text.target);
    out.push(b' ');
    out.extend_from_slice(record.protocol.as_str().as_bytes());
    out.extend_from_slice(b"\" ");
    push_padded_status(out, record.status);
    out.push(b' ');
    push_number(out, record.bytes_out);
    for value in [text.referer, text.user_agent] {
        out.extend_from_slice(b" \"");
        escape(out, value.unwrap_or(b"-"));
        out.push(b'"');
    }
    out.push(b'\n');
}

pub(super) fn append_session(out: &mut Vec<u8>, session: &SessionRecord<'_>, now: SystemTime) {
    push_display(out, session.client.ip());
    out.extend_from_slice(b" [");
    Timestamp::from(now).push_common_log(out);
    out.extend_from_slice(b"] ");
    // To nginx all that is not UDP is TCP.
    out.extend_from_slice(if session.protocol == SessionProtocol::Udp { b"UDP" } else { b"TCP" });
    push_display(out, format_args!(" {} {} {} ", session.ended.status(), session.bytes_out, session.bytes_in));
    push_display(out, format_args!("{:.3} \"", session.duration.as_secs_f64()));
    match session.endpoint {
        Some(endpoint) => push_display(out, endpoint),
        None => out.push(b'-'),
    }
    out.extend_from_slice(b"\"\n");
}

/// nginx writes a request without an answer as `000`.
fn push_padded_status(out: &mut Vec<u8>, status: u16) {
    for unit in [100, 10, 1] {
        out.push(b'0' + (status / unit % 10) as u8);
    }
}

/// As nginx's `escape=default`: quotes, backslashes and what is not printable ASCII as `\xHH`.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                out.extend_from_slice(&[b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::telemetry::record::testing::{record, text};
    use crate::telemetry::session::testing::session;

    fn line(record: &RequestRecord, text: &RequestText<'_>) -> String {
        let mut out = Vec::new();
        append(&mut out, record, text, UNIX_EPOCH + Duration::from_secs(1_772_366_400));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_what_nginx_would_write() {
        let expected =
            "203.0.113.9 - ann [01/Mar/2026:12:00:00 +0000] \"GET /a?b=1 HTTP/1.1\" 200 1024 \"-\" \"curl/8\"\n";
        assert_eq!(line(&record(), &text()), expected);
    }

    #[test]
    fn a_session_is_as_in_nginx_s_stream_log() {
        let mut out = Vec::new();
        append_session(&mut out, &session(), UNIX_EPOCH + Duration::from_secs(1_772_366_400));
        let expected = "203.0.113.9 [01/Mar/2026:12:00:00 +0000] TCP 200 1024 5 0.012 \"10.0.0.1:5432\"\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn who_has_proven_nothing_is_a_hyphen() {
        let text = RequestText { user: None, ..text() };
        assert!(line(&record(), &text).starts_with("203.0.113.9 - - [01/Mar/2026:12:00:00 +0000]"));
    }

    #[test]
    fn hostile_bytes_are_written_in_hexadecimal() {
        let text = RequestText { referer: Some(b"\"\\\n\x7f\xe4 ~"), user_agent: None, ..text() };
        assert!(line(&record(), &text).ends_with("\"\\x22\\x5C\\x0A\\x7F\\xE4 ~\" \"-\"\n"));
    }

    #[test]
    fn a_request_without_an_answer_has_three_zeros() {
        let line = line(&RequestRecord { status: 0, ..record() }, &text());
        assert!(line.contains("HTTP/1.1\" 000 1024"), "{line}");
    }
}
