//! The JSON access log: one object on each line, its fields always in this order.
//!
//! | Field | Value |
//! |---|---|
//! | `time` | when the answer ended, RFC 3339, UTC |
//! | `request_id`, `client`, `listener` | texts |
//! | `protocol` | `HTTP/1.0`, `HTTP/1.1`, `HTTP/2.0` |
//! | `lane` | which way it went: `lean`, or `full` (Pingora's) |
//! | `user` | who it is: whose password was right (`basic-auth`), or the token's `sub` (`jwt`) |
//! | `method`, `host`, `target` | as the client sent them; `target` is path and query |
//! | `status` | a number; 0 where no answer was sent |
//! | `bytes_in`, `bytes_out` | body bytes |
//! | `duration_ms` | from when the request's head was whole to the last byte of the answer |
//! | `route`, `upstream`, `endpoint` | where it was sent |
//! | `connection`, `connect_ms` | `new` (and what opening it took, TLS included) or `reused` |
//! | `first_byte_ms` | from the request's start to the first byte of the upstream's answer |
//! | `upstream_ms` | from the first attempt to the end of the upstream's answer |
//! | `retries` | attempts after the first |
//! | `cache` | what the cache made of it: `hit`, `miss`, `expired`, `revalidated`, `stale`, `updating`, `bypass` |
//! | `tls_version`, `tls_cipher`, `sni` | of the client's connection |
//! | `user_agent`, `referer` | as the client sent them |
//! | `ended`, `refused_by` | why it ended ([`Ended`](crate::telemetry::record::Ended)); which check or filter refused it |
//!
//! A session (a connection that is carried on, or datagrams) has of these `time`, `client`, `listener`, `protocol` (`TCP`, `TLS`,
//! `UDP`), `bytes_in`, `bytes_out`, `duration_ms`, `upstream`, `endpoint`, `connect_ms`, `retries`, `sni` and `ended`
//! ([`SessionEnd`](crate::telemetry::session::SessionEnd)).
//!
//! A field that has no value is left out. Times in `_ms` are numbers with three decimals.

use std::time::{Duration, SystemTime};

use super::{push_display, push_number};
use crate::telemetry::record::{RequestRecord, RequestText, UpstreamConnection};
use crate::telemetry::session::SessionRecord;
use crate::timestamp::Timestamp;

pub(super) fn append(out: &mut Vec<u8>, record: &RequestRecord, text: &RequestText<'_>, now: SystemTime) {
    let mut line = Line { out };
    line.out.extend_from_slice(b"{\"time\":\"");
    Timestamp::from(now).push_rfc3339_milliseconds(line.out);
    line.out.push(b'"');
    append_request(&mut line, record, text);
    append_upstream(&mut line, record, text);
    if let Some(tls) = record.tls {
        line.text("tls_version", tls.version.as_bytes());
        line.text("tls_cipher", tls.cipher.as_bytes());
    }
    line.optional("sni", text.sni.map(str::as_bytes));
    line.optional("user_agent", text.user_agent);
    line.optional("referer", text.referer);
    line.text("ended", record.ended.as_str().as_bytes());
    line.optional("refused_by", record.ended.refused_by().map(str::as_bytes));
    line.out.extend_from_slice(b"}\n");
}

fn append_request(line: &mut Line<'_>, record: &RequestRecord, text: &RequestText<'_>) {
    line.text("request_id", text.request_id.as_bytes());
    line.address("client", record.client.ip());
    line.optional("user", text.user.map(str::as_bytes));
    line.text("listener", text.listener.as_bytes());
    line.text("protocol", record.protocol.as_str().as_bytes());
    line.text("lane", record.lane.as_str().as_bytes());
    line.text("method", text.method.as_bytes());
    line.text("host", text.host.as_bytes());
    line.text("target", text.target);
    line.number("status", u64::from(record.status));
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.milliseconds("duration_ms", record.duration);
}

fn append_upstream(line: &mut Line<'_>, record: &RequestRecord, text: &RequestText<'_>) {
    line.optional("route", text.route.map(str::as_bytes));
    line.optional("upstream", text.upstream.map(str::as_bytes));
    if let Some(endpoint) = record.endpoint {
        line.address("endpoint", endpoint);
    }
    if let Some(connection) = record.connection {
        line.text("connection", connection.as_str().as_bytes());
        if let UpstreamConnection::New { took } = connection {
            line.milliseconds("connect_ms", took);
        }
    }
    if let Some(first_byte) = record.first_byte {
        line.milliseconds("first_byte_ms", first_byte);
    }
    if let Some(upstream_time) = record.upstream_time {
        line.milliseconds("upstream_ms", upstream_time);
    }
    line.number("retries", u64::from(record.retries));
    line.optional("cache", record.cache.map(|outcome| outcome.as_str().as_bytes()));
}

pub(super) fn append_session(out: &mut Vec<u8>, session: &SessionRecord<'_>, now: SystemTime) {
    let mut line = Line { out };
    line.out.extend_from_slice(b"{\"time\":\"");
    Timestamp::from(now).push_rfc3339_milliseconds(line.out);
    line.out.push(b'"');
    line.address("client", session.client.ip());
    line.text("listener", session.listener.as_bytes());
    line.text("protocol", session.protocol.as_str().as_bytes());
    line.number("bytes_in", session.bytes_in);
    line.number("bytes_out", session.bytes_out);
    line.milliseconds("duration_ms", session.duration);
    line.text("upstream", session.upstream.as_bytes());
    if let Some(endpoint) = session.endpoint {
        line.address("endpoint", endpoint);
    }
    if let Some(connect) = session.connect {
        line.milliseconds("connect_ms", connect);
    }
    line.number("retries", u64::from(session.retries));
    line.optional("sni", session.sni.map(str::as_bytes));
    line.text("ended", session.ended.as_str().as_bytes());
    line.out.extend_from_slice(b"}\n");
}

/// An object that has one field already.
struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        self.out.push(b'"');
        escape(self.out, value);
        self.out.push(b'"');
    }

    fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// Addresses hold nothing to escape.
    fn address(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        self.out.push(b'"');
        push_display(self.out, value);
        self.out.push(b'"');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        push_number(self.out, value);
    }

    fn milliseconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        let microseconds = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        push_number(self.out, microseconds / 1_000);
        self.out.push(b'.');
        for unit in [100, 10, 1] {
            self.out.push(b'0' + (microseconds / unit % 10) as u8);
        }
    }
}

/// RFC 8259 §7. Bytes that are not UTF-8 are taken for Latin-1, so that the line is always valid JSON.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| needs_care(*byte)) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..0x20 | 0x7f => push_unicode(out, byte),
                _ => out.push(byte),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_unicode(out, *byte));
    }
}

fn needs_care(byte: u8) -> bool {
    !(0x20..0x7f).contains(&byte) || byte == b'"' || byte == b'\\'
}

fn push_unicode(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::record::Ended;
    use crate::telemetry::record::testing::{record, text};
    use crate::telemetry::session::testing::session;

    fn line(record: &RequestRecord, text: &RequestText<'_>) -> String {
        let mut out = Vec::new();
        append(&mut out, record, text, UNIX_EPOCH + Duration::from_millis(1_772_366_400_250));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_holds_every_documented_field_in_order() {
        let expected = concat!(
            r#"{"time":"2026-03-01T12:00:00.250Z","request_id":"r-1","client":"203.0.113.9","user":"ann","listener":"https","#,
            r#""protocol":"HTTP/1.1","lane":"full","method":"GET","host":"a.test","target":"/a?b=1","status":200,"bytes_in":5,"#,
            r#""bytes_out":1024,"duration_ms":12.345,"route":"api","upstream":"backend","endpoint":"10.0.0.1:8500","#,
            r#""connection":"new","connect_ms":0.250,"first_byte_ms":9.000,"upstream_ms":11.001,"retries":1,"#,
            r#""tls_version":"TLSv1.3","tls_cipher":"TLS_AES_128_GCM_SHA256","sni":"a.test","user_agent":"curl/8","#,
            r#""ended":"completed"}"#,
            "\n"
        );
        assert_eq!(line(&record(), &text()), expected);
    }

    #[test]
    fn a_session_holds_what_is_known_of_it() {
        let mut out = Vec::new();
        append_session(&mut out, &session(), UNIX_EPOCH + Duration::from_millis(1_772_366_400_250));
        let expected = concat!(
            r#"{"time":"2026-03-01T12:00:00.250Z","client":"203.0.113.9","listener":"db","protocol":"TLS","bytes_in":5,"#,
            r#""bytes_out":1024,"duration_ms":12.345,"upstream":"postgres","endpoint":"10.0.0.1:5432","connect_ms":0.250,"#,
            r#""retries":1,"sni":"db.a.test","ended":"idle-timeout"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn what_has_no_value_is_left_out_and_a_refusal_names_its_filter() {
        let mut record = RequestRecord { endpoint: None, connection: None, tls: None, ..record() };
        (record.first_byte, record.upstream_time) = (None, None);
        record.ended = Ended::Refused("deny");
        let text = RequestText { user: None, route: None, upstream: None, sni: None, user_agent: None, ..text() };
        let value: Value = serde_json::from_str(&line(&record, &text)).unwrap();
        for absent in
            ["user", "route", "upstream", "endpoint", "connection", "connect_ms", "first_byte_ms", "upstream_ms"]
        {
            assert_eq!(value.get(absent), None, "{absent}");
        }
        assert_eq!((value.get("tls_version"), value.get("user_agent")), (None, None));
        assert_eq!((&value["ended"], &value["refused_by"]), (&json!("refused"), &json!("deny")));
    }

    #[test]
    fn hostile_bytes_stay_inside_their_text() {
        let hostile = b"a\"b\\c\nd\x00e\x7f\xffg\xc3\xa4";
        let value: Value =
            serde_json::from_str(&line(&record(), &RequestText { referer: Some(hostile), ..text() })).unwrap();
        assert_eq!(value["referer"], json!("a\"b\\c\nd\0e\u{7f}\u{ff}g\u{e4}"));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_make_one_line_of_valid_json(bytes: Vec<u8>) {
            let line = line(&record(), &RequestText { target: &bytes, ..text() });
            proptest::prop_assert_eq!(line.matches('\n').count(), 1);
            let value: Value = serde_json::from_str(&line).unwrap();
            if let Ok(text) = std::str::from_utf8(&bytes) {
                proptest::prop_assert_eq!(value["target"].as_str(), Some(text));
            }
        }
    }
}
