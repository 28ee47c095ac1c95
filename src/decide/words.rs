//! Sentences for people on call: short, with figures, why before what.

use crate::probe::Settings;
use crate::units::Span;

/// `10/12/2 tolerates 24 s instead of 21 s and sees latencies up to 12 s`.
pub(super) fn difference(from: Settings, to: Settings) -> String {
    let (a, b) = (from.stall_tolerance(), to.stall_tolerance());
    let mut text = if a == b {
        format!("{to} tolerates {b} s as {from} does")
    } else {
        format!("{to} tolerates {b} s instead of {a} s")
    };
    if to.timeout() > from.timeout() {
        text += &format!(" and sees latencies up to {} s", to.timeout());
    }
    if to.refusal_tolerance() > from.refusal_tolerance() {
        text += &format!(
            " and lives through refusals of {} s instead of {} s",
            to.refusal_tolerance(),
            from.refusal_tolerance()
        );
    }
    if to.worst_hang_detection() < from.worst_hang_detection() {
        text += &format!(
            "; a hang is found within {} s instead of {} s",
            to.worst_hang_detection(),
            from.worst_hang_detection()
        );
    }
    text
}

/// A rate as people say it: `0.07`, `1.2`, `340`.
pub fn rate(x: f64) -> String {
    match x {
        x if x < 0.01 => "under 0.01".into(),
        x if x < 1.0 => format!("{x:.2}"),
        x if x < 100.0 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// A span rounded to what matters: `12 min`, `7 h`, `3 days`.
pub fn about(span: Span) -> String {
    let seconds = span.floor_seconds().max(0);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long ago, in words: `just now`, `12 min ago`.
pub fn ago(span: Span) -> String {
    if span.floor_seconds() < 1 { "just now".into() } else { format!("{} ago", about(span)) }
}

/// `1 restart`, `5 restarts`.
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_this_second_happened_just_now() {
        for (seconds, said) in [(0, "just now"), (1, "1 s ago"), (720, "12 min ago")] {
            assert_eq!(ago(Span::from_seconds(seconds)), said);
        }
    }
}
