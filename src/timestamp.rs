//! Points in time as people and tools read them: RFC 3339 and the Common Log Format, always UTC.
//!
//! ```text
//! SystemTime ──► Timestamp ──► "2026-03-01T12:00:00.250Z" · "01/Mar/2026:12:00:00 +0000"
//! ```
//!
//! Written by hand so that a log line costs no allocation. Knows no clock: the time is passed in.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time of the proleptic Gregorian calendar. Times before 1970 are shown as 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp {
    year: u64,
    /// 1–12
    month: u64,
    /// 1–31
    day: u64,
    /// Since midnight.
    seconds: u64,
    milliseconds: u32,
}

impl Timestamp {
    /// `2026-03-01T12:00:00Z`
    pub fn rfc3339(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", self.year, self.month, self.day)
    }

    /// Appends `2026-03-01T12:00:00.250Z`.
    pub fn push_rfc3339_milliseconds(self, out: &mut Vec<u8>) {
        let (hour, minute, second) = self.clock();
        push_padded(out, self.year, 4);
        for (separator, value) in [(b'-', self.month), (b'-', self.day), (b'T', hour), (b':', minute), (b':', second)] {
            out.push(separator);
            push_padded(out, value, 2);
        }
        out.push(b'.');
        push_padded(out, u64::from(self.milliseconds), 3);
        out.push(b'Z');
    }

    /// Appends `01/Mar/2026:12:00:00 +0000`.
    pub fn push_common_log(self, out: &mut Vec<u8>) {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (hour, minute, second) = self.clock();
        push_padded(out, self.day, 2);
        out.push(b'/');
        out.extend_from_slice(MONTHS[(self.month as usize - 1) % 12].as_bytes());
        out.push(b'/');
        push_padded(out, self.year, 4);
        for value in [hour, minute, second] {
            out.push(b':');
            push_padded(out, value, 2);
        }
        out.extend_from_slice(b" +0000");
    }

    fn clock(self) -> (u64, u64, u64) {
        (self.seconds / 3600, self.seconds / 60 % 60, self.seconds % 60)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (year, month, day) = date_of(since_epoch.as_secs() / 86_400);
        let (seconds, milliseconds) = (since_epoch.as_secs() % 86_400, since_epoch.subsec_millis());
        Self { year, month, day, seconds, milliseconds }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

/// For `#[serde(serialize_with = …)]`: a time as RFC 3339.
pub fn serialize<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Timestamp::from(*time))
}

/// As [`serialize`], where there may be none.
pub fn serialize_optional<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// Years are counted from March, so that the leap day is a year's last and months follow one linear rule.
fn date_of(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_03_01_TO_1970: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let days = days_since_1970 + DAYS_FROM_0000_03_01_TO_1970;
    let (era, day_of_era) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn push_padded(out: &mut Vec<u8>, value: u64, width: u32) {
    for position in (0..width).rev() {
        out.push(b'0' + (value / 10_u64.pow(position) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, milliseconds: u64) -> Timestamp {
        Timestamp::from(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(milliseconds))
    }

    #[test]
    fn dates_follow_the_calendar_over_leap_days_and_centuries() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(at(seconds, 0).rfc3339(), text);
        }
    }

    #[test]
    fn log_formats_append_to_what_is_there() {
        let mut line = b"> ".to_vec();
        at(1_772_366_400, 7).push_rfc3339_milliseconds(&mut line);
        line.push(b' ');
        at(1_772_366_400, 7).push_common_log(&mut line);
        assert_eq!(String::from_utf8(line).unwrap(), "> 2026-03-01T12:00:00.007Z 01/Mar/2026:12:00:00 +0000");
    }
}
