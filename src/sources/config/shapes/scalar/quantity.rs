//! Numbers and quantities, with their bounds.

use std::num::{NonZeroU32, NonZeroUsize};
use std::str::FromStr;
use std::time::Duration;

use super::scalar;
use crate::model::{self, ByteSize, Percent, parse_duration};

scalar! {
    /// A span of time with its unit, as `250ms`, `5s`, `1m30s`, `1h` or `7d`; `0s` is none.
    Span(Duration), "a duration, as 5s", duration,
    { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$" }
}

scalar! {
    /// A span of time with its unit, as `250ms`, `5s`, `1m30s`, `1h` or `7d`; more than none.
    Timeout(Duration), "a duration, as 5s", timeout,
    { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$" }
}

scalar! {
    /// A number of bytes, as `512KiB`, `10MB` or `1GiB`; `KB`, `MB`, `GB` are powers of 1000; `KiB`, `MiB`, `GiB` and
    /// nginx's `k`, `m`, `g` are powers of 1024.
    Size(ByteSize), "a size, as 10MB", ByteSize::parse,
    { "type": ["string", "integer"], "pattern": "^[0-9]+(B|[kKMG]B|[KMG]iB|[kKmMgG])?$", "minimum": 0 }
}

scalar! {
    /// Bytes in a second, as `500KB/s` or `1MiB/s`.
    ByteRate(model::ByteRate), "a rate of bytes, as 1MB/s", model::ByteRate::parse,
    { "type": "string", "pattern": "^[0-9]+(B|[kKMG]B|[KMG]iB|[kKmMgG])?/s$" }
}

scalar! {
    /// A share, as `20%`.
    Share(Percent), "a share, as 20%", share,
    { "type": "string", "pattern": "^(100|[0-9]{1,2})%$" }
}

scalar! {
    /// So many in a time, as `30/s`, `5/m`, `10/h` or `100/d`.
    Rate(model::Rate), "a rate, as 10/h", model::Rate::parse,
    { "type": "string", "pattern": "^[0-9]+/[smhd]$" }
}

scalar! {
    /// Requests above a rate: 0 to 1000000.
    Burst(model::Burst), "a number of requests", burst,
    { "type": "integer", "minimum": 0, "maximum": 1_000_000 }
}

scalar! {
    /// Which requests of a burst wait: `none`, `all`, or all but so many.
    Delay(model::Delay), "none, all or a number of requests", delay,
    { "anyOf": [{ "enum": ["none", "all"] }, { "type": "integer", "minimum": 1, "maximum": 1_000_000 }] }
}

scalar! {
    /// The length of an IPv6 prefix, in bits: 1 to 128.
    Ipv6PrefixLength(u8), "a number of bits from 1 to 128", ipv6_prefix,
    { "type": "integer", "minimum": 1, "maximum": 128 }
}

scalar! {
    /// A whole number of 1 or more.
    Count(NonZeroU32), "a whole number of 1 or more", count,
    { "type": "integer", "minimum": 1, "maximum": 4_294_967_295u32 }
}

scalar! {
    /// A whole number; 0 is none.
    Amount(u32), "a whole number", amount,
    { "type": "integer", "minimum": 0, "maximum": 4_294_967_295u32 }
}

scalar! {
    /// A share of the requests beside that of the other endpoints: 1 to 1000.
    Weight(NonZeroU32), "a weight from 1 to 1000", weight,
    { "type": "integer", "minimum": 1, "maximum": 1000 }
}

scalar! {
    /// A part of the sum of the weights: 0 to 1000000.
    SplitWeight(u32), "a weight from 0 to 1000000", split_weight,
    { "type": "integer", "minimum": 0, "maximum": 1000000 }
}

scalar! {
    /// Data-plane threads: `auto` is one for each processor that the process may use; a number pins it.
    Threads(model::Threads), "\"auto\" or a number of threads", threads,
    { "anyOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }] }
}

/// Deadlines are sums with the present time, which has an end: nothing longer than this is kept.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        long if long > LONGEST => Err(format!("\"{text}\" is longer than ten years")),
        duration => Ok(duration),
    }
}

pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("\"{text}\" leaves no time at all; write how long it may take, as \"5s\"")),
        duration => Ok(duration),
    }
}

fn share(text: &str) -> Result<Percent, String> {
    let wrong = || format!("\"{text}\" is not a share; write it as \"20%\", from 0% to 100%");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    whole(number).filter(|percent| *percent <= 100).map(Percent).ok_or_else(wrong)
}

fn count(text: &str) -> Result<NonZeroU32, String> {
    whole(text).ok_or_else(|| format!("\"{text}\" is not a whole number of 1 or more"))
}

fn amount(text: &str) -> Result<u32, String> {
    whole(text).ok_or_else(|| format!("\"{text}\" is not a whole number"))
}

fn weight(text: &str) -> Result<NonZeroU32, String> {
    if text == "0" {
        return Err("a weight of 0 would never be chosen; take the endpoint out, or write backup: true".into());
    }
    whole(text)
        .filter(|weight: &NonZeroU32| weight.get() <= 1000)
        .ok_or_else(|| format!("\"{text}\" is not a weight; write a whole number from 1 to 1000"))
}

fn split_weight(text: &str) -> Result<u32, String> {
    whole(text)
        .filter(|weight: &u32| *weight <= 1_000_000)
        .ok_or_else(|| format!("\"{text}\" is not a weight; write a whole number from 0 to 1000000"))
}

fn burst(text: &str) -> Result<model::Burst, String> {
    let wrong = || format!("\"{text}\" is not a burst; write a number of requests from 0 to {}", model::Burst::MOST);
    whole(text).and_then(model::Burst::new).ok_or_else(wrong)
}

fn delay(text: &str) -> Result<model::Delay, String> {
    match text {
        "none" => Ok(model::Delay::None),
        "all" | "0" => Ok(model::Delay::All),
        _ => whole(text).map(model::Delay::After).ok_or_else(|| {
            format!("\"{text}\" does not say which requests wait; write none, all, or how many of a burst do not")
        }),
    }
}

fn ipv6_prefix(text: &str) -> Result<u8, String> {
    whole(text)
        .filter(|bits| (1..=128).contains(bits))
        .ok_or_else(|| format!("\"{text}\" is not the length of an IPv6 prefix; write a number of bits from 1 to 128"))
}

fn threads(text: &str) -> Result<model::Threads, String> {
    const MOST: usize = 1024;
    if text == "auto" {
        return Ok(model::Threads::Auto);
    }
    whole(text)
        .filter(|threads: &NonZeroUsize| threads.get() <= MOST)
        .map(model::Threads::Fixed)
        .ok_or_else(|| format!("\"{text}\" is not a number of threads; write \"auto\", or a number from 1 to {MOST}"))
}

/// Digits alone: no sign, no blanks.
pub(super) fn whole<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
