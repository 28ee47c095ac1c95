//! Units: moments, spans and rates, each a type of its own so that two bare numbers can never be swapped.
//!
//! Kubernetes takes whole seconds, the kubelet's grid is kept in nanoseconds, and the statistics speak in events a
//! pod-year. Conversions name their rounding: a timeout rounded down kills pods.

use std::fmt;
use std::ops::{Add, AddAssign, Mul, Sub};
use std::sync::Arc;

/// A name out of the cluster (container, pod, node, namespace): shared, because the same few thousand names come again
/// with every scrape.
pub type Name = Arc<str>;

/// Nanoseconds in a second.
pub const NANOS: i64 = 1_000_000_000;

/// A moment: nanoseconds since the Unix epoch. Core code is told it and never asks for it.
///
/// Range: the years 1678 to 2262. A simulation may begin at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch, where virtual time begins.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// The moment `seconds` whole seconds after the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Timestamp(seconds.saturating_mul(NANOS))
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn floor_seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// The time from `earlier` to this moment; negative when `earlier` is later.
    pub const fn since(self, earlier: Timestamp) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in nanoseconds; may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// One second.
    pub const SECOND: Span = Span(NANOS);
    /// One minute.
    pub const MINUTE: Span = Span(60 * NANOS);
    /// One hour.
    pub const HOUR: Span = Span(3_600 * NANOS);
    /// One day of 24 hours.
    pub const DAY: Span = Span(86_400 * NANOS);
    /// A year of 365 days, the year of "a pod-year".
    pub const YEAR: Span = Span(365 * 86_400 * NANOS);

    /// A span of nanoseconds.
    pub const fn from_nanos(nanos: i64) -> Self {
        Span(nanos)
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Span(millis.saturating_mul(1_000_000))
    }

    /// A span of whole seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Span(seconds.saturating_mul(NANOS))
    }

    /// A span of seconds, rounded to the nearest nanosecond; not-a-number becomes zero and what is out of range the
    /// nearest end of it.
    pub fn round_from_secs_f64(seconds: f64) -> Self {
        Span((seconds * 1e9).round() as i64)
    }

    /// Nanoseconds.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Seconds, as a float: exact to the nanosecond up to 104 days.
    pub const fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Days of 24 hours, as a float.
    pub const fn as_days_f64(self) -> f64 {
        self.as_secs_f64() / 86_400.0
    }

    /// Years of 365 days, as a float.
    pub const fn as_years_f64(self) -> f64 {
        self.as_secs_f64() / (365.0 * 86_400.0)
    }

    /// Whole seconds, rounded down.
    pub const fn floor_seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Whole seconds, rounded up.
    pub const fn ceil_seconds(self) -> i64 {
        self.0.div_euclid(NANOS) + if self.0.rem_euclid(NANOS) > 0 { 1 } else { 0 }
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(span.0))
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Span) {
        *self = *self + other;
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Mul<i64> for Span {
    type Output = Span;
    fn mul(self, factor: i64) -> Span {
        Span(self.0.saturating_mul(factor))
    }
}

/// Prints as people write durations: `500ms`, `15s`, `10m`, `24h`, `2m30s`; negative spans with a sign.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if seconds == 0 && rest > 0 {
            return write!(f, "{sign}{}ms", rest.div_ceil(1_000_000));
        }
        let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (h, m, s) {
            (0, 0, s) => write!(f, "{sign}{s}s"),
            (0, m, 0) => write!(f, "{sign}{m}m"),
            (0, m, s) => write!(f, "{sign}{m}m{s}s"),
            (h, 0, 0) => write!(f, "{sign}{h}h"),
            (h, m, 0) => write!(f, "{sign}{h}h{m}m"),
            (h, m, s) => write!(f, "{sign}{h}h{m}m{s}s"),
        }
    }
}

/// Reads a duration as it is written in flags, files and annotations: `500ms`, `5s`, `10m`, `24h`, `7d`, `1h30m`.
///
/// # Errors
/// Says what was found and what is wanted. A bare number is refused: nobody can see its unit. So are negative values
/// and sums beyond a hundred years.
pub fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || {
        format!(
            "{text:?} is no duration; write a number and a unit, such as \"500ms\", \"5s\", \"10m\", \"24h\" or \"7d\""
        )
    };
    let mut rest = text;
    let mut total = 0i128;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        if digits == 0 || digits > 12 {
            return Err(wrong());
        }
        let number: i128 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit: i128 = match &rest[..letters] {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        total += number * unit;
    }
    i64::try_from(total).ok().map(Span).filter(|s| *s <= Span::YEAR * 100).ok_or_else(wrong)
}

/// A rate: events in a pod-year, that is 365 days of one running, started, probed container.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct PerPodYear(f64);

impl PerPodYear {
    /// A rate of `events` a pod-year; `None` unless finite and not negative.
    pub fn new(events: f64) -> Option<Self> {
        (events.is_finite() && events >= 0.0).then_some(PerPodYear(events))
    }

    /// Reads a rate as annotations and files write it: a number above 0, then `/pod-day`, `/pod-week`, `/pod-month` (30
    /// days) or `/pod-year` (365).
    ///
    /// # Errors
    /// Says what was found and what is wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (number, unit) = text.split_once('/')?;
            let times = match unit {
                "pod-day" => 365.0,
                "pod-week" => 365.0 / 7.0,
                "pod-month" => 365.0 / 30.0,
                "pod-year" => 1.0,
                _ => return None,
            };
            let plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let number: f64 = number.parse().ok().filter(|n| plain && *n > 0.0)?;
            PerPodYear::new(number * times)
        };
        read().ok_or_else(|| {
            format!(
                "{text:?} is no rate; write a number above 0 and a unit, as \"1/pod-year\", \"2/pod-month\", \"1/pod-week\" or \"0.5/pod-day\""
            )
        })
    }

    /// Events a pod-year.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// The identity of an object for its whole life, as the API server gives it: a UUID, kept as its 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u128);

impl Uid {
    /// The uid with these bits: simulations count them up.
    pub const fn from_bits(bits: u128) -> Self {
        Uid(bits)
    }

    /// The 128 bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Reads a UUID in its usual form (8-4-4-4-12 hexadecimal digits), or `None`. The kubelet's static pods carry a
    /// hash instead; no workload owns those.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return None;
        }
        let mut bits = 0u128;
        for (i, &b) in bytes.iter().enumerate() {
            if matches!(i, 8 | 13 | 18 | 23) {
                if b != b'-' {
                    return None;
                }
                continue;
            }
            bits = bits << 4 | u128::from(char::from(b).to_digit(16)?);
        }
        Some(Uid(bits))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            b >> 96,
            b >> 80 & 0xffff,
            b >> 64 & 0xffff,
            b >> 48 & 0xffff,
            b & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_uid_prints_as_it_was_read() {
        let text = "7c1e0a4f-0001-4abc-9def-0123456789ab";
        assert_eq!(Uid::parse(text).unwrap().to_string(), text);
        for wrong in [
            "",
            "7c1e0a4f00014abc9def0123456789ab",
            "7c1e0a4f-0001-4abc-9def-0123456789ag",
            "7c1e0a4f_0001-4abc-9def-0123456789ab",
        ] {
            assert_eq!(Uid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_and_printed_as_people_write_them() {
        for (text, span) in [
            ("500ms", Span::from_millis(500)),
            ("5s", Span::SECOND * 5),
            ("10m", Span::MINUTE * 10),
            ("24h", Span::DAY),
            ("2m30s", Span::SECOND * 150),
            ("1h30m", Span::MINUTE * 90),
        ] {
            assert_eq!(parse_span(text).unwrap(), span);
            assert_eq!(span.to_string(), text);
        }
        assert_eq!(parse_span("7d").unwrap(), Span::DAY * 7);
        assert_eq!(parse_span("0s").unwrap(), Span::ZERO);
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_an_example() {
        for wrong in ["", "5", "s", "5 s", "-5s", "5x", "1.5s", "99999999999999d", "200000000000d"] {
            let message = parse_span(wrong).unwrap_err();
            assert!(message.contains("\"5s\"") && message.contains(&format!("{wrong:?}")), "{message}");
        }
    }

    #[test]
    fn rates_are_read_with_their_unit_and_nothing_else() {
        for (text, a_year) in
            [("1/pod-year", 1.0), ("2/pod-month", 365.0 / 15.0), ("1/pod-week", 365.0 / 7.0), ("0.5/pod-day", 182.5)]
        {
            assert!((PerPodYear::parse(text).unwrap().get() - a_year).abs() < 1e-9, "{text}");
        }
        for wrong in ["", "1", "0/pod-year", "-1/pod-year", "inf/pod-year", "1e3/pod-day", "1 /pod-day", "1/year"] {
            let message = PerPodYear::parse(wrong).unwrap_err();
            assert!(message.contains("\"1/pod-year\"") && message.contains(&format!("{wrong:?}")), "{message}");
        }
    }

    #[test]
    fn seconds_round_in_the_direction_that_the_name_says() {
        assert_eq!(Span::from_millis(1001).ceil_seconds(), 2);
        assert_eq!(Span::from_millis(1999).floor_seconds(), 1);
        assert_eq!(Span::from_seconds(2).ceil_seconds(), 2);
        assert_eq!(Span::from_millis(-1).floor_seconds(), -1);
    }
}
