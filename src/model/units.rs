//! Quantities with their unit in the type, and how they are written and read: `5s`, `10MiB`, `20%`.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }

    /// Reads `1048576`, `512B`, `10KB`, `10MB`, `1GB` (powers of 1000) and `10KiB`, `10MiB`, `1GiB` (powers of 1024).
    /// nginx's `k`, `m`, `g` are powers of 1024, as they are there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_number(text);
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" | "k" | "K" => 1 << 10,
            "MiB" | "m" | "M" => 1 << 20,
            "GiB" | "g" | "G" => 1 << 30,
            _ => return Err(format!("\"{text}\" is not a size; write it as \"512KiB\", \"10MB\" or \"1GiB\"")),
        };
        let number: u64 = number.parse().map_err(|_| {
            format!("\"{text}\" is not a size; write a whole number and a unit, as \"512KiB\", \"10MB\" or \"1GiB\"")
        })?;
        number.checked_mul(factor).map(Self).ok_or_else(|| format!("\"{text}\" is too large a size"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A share of a whole, in whole per cent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}%", self.0))
    }
}

/// So many in a time: `10/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
}

impl Rate {
    /// Reads `30/s`, `5/m`, `10/h` and `100/d`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not a rate; write it as \"30/s\", \"5/m\", \"10/h\" or \"100/d\"");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(wrong()),
        };
        let is_number = count.bytes().all(|b| b.is_ascii_digit());
        let count = count.parse().ok().filter(|_| is_number).ok_or_else(wrong)?;
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }

    /// For `#[serde(serialize_with = …)]`: as it is written in the file.
    pub fn serialize_text<S: Serializer>(rate: &Self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Reads `250ms`, `5s`, `1m`, `1h`, `7d`, `1w`, and sums of them as `1h30m`. A bare number has no unit and is refused.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write it as \"250ms\", \"5s\", \"1m30s\", \"1h\" or \"7d\"");
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("\"{text}\" has no unit; write \"{text}s\" for seconds"));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_length = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_length);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let piece = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(piece)).ok_or_else(wrong)?;
        rest = next;
    }
    Ok(total)
}

/// The way `parse_duration` reads it back: `1h30m`, `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let mut milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 {
        return "0s".into();
    }
    let mut out = String::new();
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
        if milliseconds >= size {
            out.push_str(&format!("{}{unit}", milliseconds / size));
            milliseconds %= size;
        }
    }
    out
}

/// For `#[serde(serialize_with = …)]`: a duration as it is written in the file.
pub fn serialize_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

/// As [`serialize_duration`], where there may be none.
pub fn serialize_optional_duration<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serialize_duration(duration, serializer),
        None => serializer.serialize_none(),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_back() {
        for text in ["250ms", "5s", "1m30s", "1h", "7d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_duration("1w").unwrap(), Duration::from_secs(604_800));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_the_mend() {
        assert_eq!(parse_duration("5").unwrap_err(), "\"5\" has no unit; write \"5s\" for seconds");
        assert!(parse_duration("5 s").unwrap_err().contains("not a duration"));
        assert!(parse_duration("").unwrap_err().contains("not a duration"));
    }

    #[test]
    fn rates_are_read_and_written_back() {
        for text in ["30/s", "5/m", "10/h", "100/d"] {
            assert_eq!(Rate::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["30", "0/s", "-1/s", "+1/s", "1/w", "1.5/s", "/s"] {
            assert!(Rate::parse(wrong).unwrap_err().contains("not a rate"), "{wrong}");
        }
    }

    #[test]
    fn sizes_follow_their_unit() {
        assert_eq!(ByteSize::parse("10MB").unwrap(), ByteSize(10_000_000));
        assert_eq!(ByteSize::parse("10MiB").unwrap(), ByteSize(10 << 20));
        assert_eq!(ByteSize::parse("10m").unwrap(), ByteSize(10 << 20));
        assert_eq!(ByteSize(10 << 20).to_string(), "10MiB");
        assert!(ByteSize::parse("10 MB").is_err());
        assert!(ByteSize::parse("99999999999GiB").unwrap_err().contains("too large"));
    }
}
