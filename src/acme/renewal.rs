//! When a certificate is renewed, and when a failed attempt is repeated.
//!
//! ```text
//! validity, renew-before, the authority's window (RFC 9773), seed ──► a time
//! failures, first, longest, Retry-After, seed                     ──► a time
//! ```
//!
//! Pure: time comes in, and what looks random comes from a seed, so that replicas agree.

use std::time::{Duration, SystemTime};

use crate::model::AcmeRetry;
use crate::tls::Validity;

/// Of what a third of: the lifetime that is left when nobody says otherwise.
const SHARE_LEFT: u32 = 3;

/// A certificate is not renewed in the first tenth of its life, whatever is written.
const SHARE_KEPT: u32 = 10;

/// So long a certificate is used, even where its authority wants it replaced at once.
const KEPT_AT_LEAST: Duration = Duration::from_secs(3600);

/// Renewals of one day's certificates spread over a twentieth of the time that is left.
const SHARE_OF_JITTER: u32 = 20;

/// What is written in the file, and what the authority suggests. It decides alone where nothing is written; where something
/// is, the earlier of both stands: an authority that is about to revoke asks for an early renewal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub renew_before: Option<Duration>,
    /// Within the authority's window.
    pub suggested: Option<SystemTime>,
}

/// `issued`: when we got it, where that is known: authorities write an earlier beginning into it.
pub fn due(validity: Validity, wishes: Wishes, issued: Option<SystemTime>, seed: u64) -> SystemTime {
    let Wishes { renew_before, suggested } = wishes;
    let lifetime = validity.lifetime();
    let begun = issued.unwrap_or(validity.not_before);
    // More than the whole lifetime was meant for certificates that live longer.
    let left = renew_before.filter(|left| *left < lifetime).unwrap_or(lifetime / SHARE_LEFT);
    let planned = validity.not_after - left - fraction(left / SHARE_OF_JITTER, seed);
    let planned = planned.max(begun + lifetime / SHARE_KEPT);
    // An authority that suggests the past for whatever it issues must not make us order without end.
    let suggested = suggested.map(|at| at.max(begun + (lifetime / SHARE_KEPT).min(KEPT_AT_LEAST)));
    match (renew_before, suggested) {
        (_, None) => planned,
        (None, Some(suggested)) => suggested,
        (Some(_), Some(suggested)) => suggested.min(planned),
    }
}

/// A time in the authority's window, the same for the same certificate (RFC 9773 §4.2).
pub fn within(start: SystemTime, end: SystemTime, seed: u64) -> SystemTime {
    start + fraction(end.duration_since(start).unwrap_or_default(), seed)
}

/// When to try again after so many failures in a row: three times as long after each, and never before the authority
/// wants to be asked again.
pub fn retry_at(
    now: SystemTime,
    failures: u32,
    retry: &AcmeRetry,
    retry_after: Option<SystemTime>,
    seed: u64,
) -> SystemTime {
    let factor = 3u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = retry.first.saturating_mul(factor).min(retry.longest);
    // At most a tenth earlier: many that failed together do not return together.
    let at = now + wait - fraction(wait / 10, seed);
    // A wish for next year is a mistake.
    const LONGEST_WISH: Duration = Duration::from_secs(7 * 86_400);
    retry_after.map_or(at, |wish| at.max(wish.min(now + LONGEST_WISH)))
}

/// A part of `whole` that the seed decides.
fn fraction(whole: Duration, seed: u64) -> Duration {
    // Spreads neighbouring seeds (the finalizer of MurmurHash3).
    let mixed = (seed ^ (seed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    whole.mul_f64(((mixed ^ (mixed >> 33)) >> 11) as f64 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    fn days(lifetime: u32) -> Validity {
        Validity { not_before: start(), not_after: start() + lifetime * DAY }
    }

    fn written(renew_before: Duration) -> Wishes {
        Wishes { renew_before: Some(renew_before), suggested: None }
    }

    fn suggesting(at: SystemTime) -> Wishes {
        Wishes { renew_before: None, suggested: Some(at) }
    }

    fn both(at: SystemTime) -> Wishes {
        Wishes { renew_before: Some(15 * DAY), suggested: Some(at) }
    }

    fn left(validity: Validity, at: SystemTime) -> f64 {
        validity.not_after.duration_since(at).unwrap().as_secs_f64() / DAY.as_secs_f64()
    }

    #[test]
    fn a_third_of_the_lifetime_is_left_give_or_take_a_little() {
        for (lifetime, third) in [(90, 30.0), (6, 2.0)] {
            for seed in 0..100 {
                let left = left(days(lifetime), due(days(lifetime), Wishes::default(), None, seed));
                assert!((third..=third * 1.05 + 0.001).contains(&left), "{left} of {lifetime} days");
            }
        }
    }

    #[test]
    fn renew_before_counts_in_days_before_the_end() {
        let left = left(days(90), due(days(90), written(15 * DAY), None, 7));
        assert!((15.0..=15.76).contains(&left), "{left}");
    }

    #[test]
    fn renew_before_of_more_than_the_lifetime_does_not_renew_for_ever() {
        let at = due(days(6), written(15 * DAY), None, 7);
        assert!((2.0..=2.2).contains(&left(days(6), at)));
        let nearly_all = due(days(6), written(6 * DAY - DAY / 100), None, 7);
        assert!(nearly_all >= start() + 6 * DAY / 10, "a tenth is waited in any case");
    }

    #[test]
    fn the_authority_decides_and_is_never_later_than_what_is_written() {
        let (early, late) = (start() + DAY, start() + 80 * DAY);
        assert_eq!(due(days(90), suggesting(late), None, 1), late);
        assert_eq!(due(days(90), suggesting(early), None, 1), early);
        assert_eq!(due(days(90), both(early), None, 1), early);
        assert!(due(days(90), both(late), None, 1) < late);
    }

    #[test]
    fn an_authority_that_suggests_the_past_is_not_asked_for_certificates_without_end() {
        assert_eq!(due(days(90), suggesting(start() - DAY), None, 1), start() + KEPT_AT_LEAST);
        // Let's Encrypt writes a beginning that was an hour ago.
        let issued = Some(start() + KEPT_AT_LEAST);
        assert_eq!(due(days(90), suggesting(start() - DAY), issued, 1), start() + 2 * KEPT_AT_LEAST);
        let short = Validity { not_before: start(), not_after: start() + Duration::from_secs(20) };
        assert_eq!(due(short, suggesting(start() - DAY), None, 1), start() + Duration::from_secs(2));
    }

    #[test]
    fn one_window_gives_one_time_and_many_certificates_spread_over_it() {
        let (from, to) = (start(), start() + 2 * DAY);
        assert_eq!(within(from, to, 5), within(from, to, 5));
        let times: std::collections::BTreeSet<_> = (0..100).map(|seed| within(from, to, seed)).collect();
        assert!(times.len() > 90);
        assert!(*times.first().unwrap() >= from && *times.last().unwrap() <= to);
        assert!(*times.first().unwrap() < from + DAY / 4 && *times.last().unwrap() > to - DAY / 4);
    }

    #[test]
    fn failures_triple_the_wait_up_to_the_longest() {
        let retry = AcmeRetry { first: Duration::from_secs(15), longest: Duration::from_secs(6 * 3600) };
        let wait = |failures| retry_at(start(), failures, &retry, None, 3).duration_since(start()).unwrap().as_secs();
        for (failures, seconds) in [(1, 15), (2, 45), (3, 135), (4, 405), (7, 10_935), (8, 21_600), (4_000_000, 21_600)]
        {
            assert!((seconds * 9 / 10..=seconds).contains(&wait(failures)), "{failures}: {}", wait(failures));
        }
    }

    #[test]
    fn retry_after_puts_an_attempt_off_and_never_forward() {
        let retry = AcmeRetry { first: Duration::from_secs(15), longest: Duration::from_secs(60) };
        let wish = start() + Duration::from_secs(3600);
        assert_eq!(retry_at(start(), 1, &retry, Some(wish), 3), wish);
        assert!(retry_at(start(), 1, &retry, Some(start()), 3) > start());
        assert!(retry_at(start(), 1, &retry, Some(start() + 400 * DAY), 3) < start() + 8 * DAY);
    }
}
