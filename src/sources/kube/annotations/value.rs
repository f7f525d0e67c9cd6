//! What the values of annotations and of global options are read as. Errors say what was written and what to write.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::model::{ByteSize, CipherSuite};

pub type Read<T> = Result<T, String>;

/// As Go's `strconv.ParseBool`, which ingress-nginx reads with.
pub fn boolean(text: &str) -> Read<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{} is neither \"true\" nor \"false\"", quoted(text))),
    }
}

/// `on` and `off`, as nginx writes them.
pub fn switch(text: &str) -> Read<bool> {
    match text.trim() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{} is neither \"on\" nor \"off\"", quoted(text))),
    }
}

pub fn number(text: &str) -> Read<u32> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| format!("{} is not a whole number", quoted(text)))
}

/// None: 0, which switches it off.
pub fn count(text: &str) -> Read<Option<NonZeroU32>> {
    number(text).map(NonZeroU32::new)
}

/// Bare seconds.
pub fn seconds(text: &str) -> Read<Duration> {
    number(text)
        .map(|seconds| Duration::from_secs(seconds.into()))
        .map_err(|_| format!("{} is not a time; write whole seconds without a unit, as \"60\"", quoted(text)))
}

/// Seconds where there is no unit; else as nginx: `30s`, `5m`, `1h30m`.
pub fn time(text: &str) -> Read<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return seconds(text);
    }
    crate::model::parse_duration(text)
        .map_err(|_| format!("{} is not a time; write it as \"60s\" or \"5m\"", quoted(text)))
}

/// nginx's sizes: `1000`, `8k`, `10m`, `1g`.
pub fn size(text: &str) -> Read<ByteSize> {
    let lower = text.trim().to_ascii_lowercase();
    let wrong = || format!("{} is not a size; write it as \"8k\", \"10m\" or \"1g\"", quoted(text));
    let (digits, shift) = match lower.as_bytes().last() {
        Some(b'b') => (&lower[..lower.len() - 1], 0),
        Some(b'k') => (&lower[..lower.len() - 1], 10),
        Some(b'm') => (&lower[..lower.len() - 1], 20),
        Some(b'g') => (&lower[..lower.len() - 1], 30),
        Some(_) | None => (&lower[..], 0),
    };
    let bytes: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())).ok_or_else(wrong)?;
    bytes.checked_mul(1 << shift).map(ByteSize).ok_or_else(|| format!("{} is too large a size", quoted(text)))
}

/// Separated by commas, trimmed, without empty ones.
pub fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Addresses and networks. None of them is passed over: a list with a gap would not be what was meant.
pub fn networks(text: &str) -> Read<Vec<IpNet>> {
    let network = |item: &str| {
        let address = || item.parse().ok().map(|address: std::net::IpAddr| IpNet::from(address));
        item.parse().ok().or_else(address).ok_or_else(|| {
            format!("{} is neither an address nor a network; write it as \"192.0.2.1\" or \"10.0.0.0/8\"", quoted(item))
        })
    };
    let networks = list(text).map(network).collect::<Result<Vec<_>, _>>()?;
    if networks.is_empty() { Err("no network is named".into()) } else { Ok(networks) }
}

/// Names of header fields, separated by commas.
pub fn field_names(text: &str) -> Read<Vec<Arc<str>>> {
    list(text).map(field_name).collect()
}

pub fn field_name(text: &str) -> Read<Arc<str>> {
    match http::HeaderName::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(format!("{} is not the name of a header field", quoted(text))),
    }
}

/// Nothing that could end the field and begin another.
pub fn field_value(text: &str) -> Read<Arc<str>> {
    match http::HeaderValue::from_str(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(format!("{} cannot stand in a header field", quoted(text))),
    }
}

pub fn token(text: &str) -> Read<Arc<str>> {
    let text = text.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_token) {
        true => Ok(text.into()),
        false => {
            Err(format!("{} may have letters, digits and a few signs, but neither spaces nor separators", quoted(text)))
        }
    }
}

/// A status of this many.
pub fn status(text: &str, from: u16, to: u16) -> Read<u16> {
    let code = number(text).ok().and_then(|code| u16::try_from(code).ok()).filter(|code| (from..=to).contains(code));
    code.ok_or_else(|| format!("{} is not a status from {from} to {to}", quoted(text)))
}

/// A text of somebody else's, short enough to be shown.
pub fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// As OpenSSL lists them, with colons between: those that are spoken here, and those that are not. What is only ruled out is not there anyway.
pub fn cipher_suites(text: &str) -> (Vec<CipherSuite>, Vec<&str>) {
    // Names of TLS 1.3 are always spoken, and no matter of this list.
    let is_of_no_matter =
        |name: &&str| !name.is_empty() && !name.starts_with(['!', '-', '@']) && !name.starts_with("TLS_");
    let names = text.split([':', ',', ' ']).map(str::trim).filter(is_of_no_matter);
    let mut found = (Vec::new(), Vec::new());
    for name in names {
        match CipherSuite::parse(name) {
            Ok(suite) if !found.0.contains(&suite) => found.0.push(suite),
            Ok(_) => {}
            Err(_) => found.1.push(name),
        }
    }
    found
}

/// One of some words, in any case.
pub fn word<T: Copy>(text: &str, known: &[(&str, T)]) -> Read<T> {
    let found = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = known.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        format!("{} is none of {}", quoted(text), words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_ingress_nginx_reads_them() {
        assert_eq!((boolean("T"), boolean("0")), (Ok(true), Ok(false)));
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(
            (size("10M"), size("8k"), size("0")),
            (Ok(ByteSize(10 << 20)), Ok(ByteSize(8 << 10)), Ok(ByteSize(0)))
        );
        assert_eq!(networks("10.0.0.0/8, ::1").unwrap().len(), 2);
        assert_eq!(list(" a,, b ").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_what_to_write() {
        assert_eq!(boolean("yes").unwrap_err(), "\"yes\" is neither \"true\" nor \"false\"");
        assert!(seconds("60s").unwrap_err().contains("without a unit"));
        assert!(size("10 MB").unwrap_err().contains("write it as"));
        assert!(size("99999999999g").unwrap_err().contains("too large"));
        assert!(networks("10.0.0.0/8, all").unwrap_err().starts_with("\"all\" is neither"));
        assert!(networks(" , ").unwrap_err().contains("no network"));
        assert!(field_value("a\r\nSet-Cookie: b").unwrap_err().contains("\\r\\n"));
        assert!(field_name("a b").is_err() && token("a;b").is_err() && number("-1").is_err() && number("+1").is_err());
        assert!(quoted(&"x".repeat(1000)).len() < 100);
    }
}
