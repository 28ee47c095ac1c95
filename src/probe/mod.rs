//! Kubernetes' contract of a health check: its numbers, their bounds, and what they tolerate.
//!
//! **Takes** numbers as a pod's spec has them. **Gives** settings that are valid by type, the two tolerances of a
//! setting, and (in [`Prober`]) the kubelet's own way of asking and counting. **Never** knows a clock, a pod or a
//! policy.
//!
//! Facts from `kubernetes/kubernetes:pkg/kubelet/prober/worker.go`, v1.36.

mod prober;

pub use prober::{Answer, Check, Outcome, Prober, Verdict};

use crate::units::Span;
use std::fmt;
use std::str::FromStr;

/// Which of a container's three health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    /// Kills the container at its threshold.
    Liveness,
    /// Takes the pod out of Services at its threshold.
    Readiness,
    /// Holds back the other two until it has once succeeded.
    Startup,
}

impl ProbeKind {
    /// All three, in the order in which we report them.
    pub const ALL: [ProbeKind; 3] = [ProbeKind::Liveness, ProbeKind::Readiness, ProbeKind::Startup];

    /// As the kubelet labels it in its metrics and our `ProbeTuning` names it: `Liveness`.
    pub const fn name(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
            ProbeKind::Startup => "Startup",
        }
    }

    /// The key in a pod's spec: `livenessProbe`.
    pub const fn field(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "livenessProbe",
            ProbeKind::Readiness => "readinessProbe",
            ProbeKind::Startup => "startupProbe",
        }
    }

    /// As annotations and tables write it: `liveness`.
    pub const fn word(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "liveness",
            ProbeKind::Readiness => "readiness",
            ProbeKind::Startup => "startup",
        }
    }
}

/// How a check asks. An exec check starts a process each time and so costs about four times the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Handler {
    /// `httpGet`.
    Http,
    /// `tcpSocket`.
    Tcp,
    /// `grpc`.
    Grpc,
    /// `exec`.
    Exec,
}

/// The three numbers of a probe: `periodSeconds`, `timeoutSeconds`, `failureThreshold`, each 1 to 86,400
/// (Kubernetes bounds none of them above; a day is more than anybody means).
///
/// Written `P/T/K`, as in `10/1/3`. Ordered by period, then timeout, then threshold.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Settings {
    period: u32,
    timeout: u32,
    threshold: u32,
}

/// The largest number that [`Settings`] takes.
pub const LARGEST: u32 = 86_400;

impl Settings {
    /// What Kubernetes fills in where nothing is said: 10/1/3.
    pub const KUBERNETES_DEFAULT: Settings = Settings { period: 10, timeout: 1, threshold: 3 };

    /// A setting; `None` unless each number is 1 to [`LARGEST`].
    pub const fn new(period: u32, timeout: u32, threshold: u32) -> Option<Self> {
        const fn fits(n: u32) -> bool {
            n >= 1 && n <= LARGEST
        }
        if fits(period) && fits(timeout) && fits(threshold) {
            Some(Settings { period, timeout, threshold })
        } else {
            None
        }
    }

    /// A setting as a pod's spec has it, where 0 and absent mean the default and are no zeros.
    pub fn from_spec(period: Option<i32>, timeout: Option<i32>, threshold: Option<i32>) -> Option<Self> {
        let or = |n: Option<i32>, default: u32| match n {
            None | Some(0) => Some(default),
            Some(n) => u32::try_from(n).ok(),
        };
        Settings::new(or(period, 10)?, or(timeout, 1)?, or(threshold, 3)?)
    }

    /// `periodSeconds`.
    pub const fn period(self) -> u32 {
        self.period
    }

    /// `timeoutSeconds`.
    pub const fn timeout(self) -> u32 {
        self.timeout
    }

    /// `failureThreshold`.
    pub const fn threshold(self) -> u32 {
        self.threshold
    }

    /// `max(P, T)`, the time from one check of a hang to the next, in seconds.
    pub const fn spacing(self) -> u32 {
        if self.period > self.timeout { self.period } else { self.timeout }
    }

    /// Stall tolerance `A_s = (K−1)·max(P, T) + T`, in seconds: a stall shorter than this never restarts anything, at
    /// any phase.
    pub const fn stall_tolerance(self) -> u64 {
        (self.threshold as u64 - 1) * self.spacing() as u64 + self.timeout as u64
    }

    /// Fast-failure tolerance `A_f = (K−1)·P`, in seconds: a spell of refusals shorter than this never restarts
    /// anything.
    pub const fn refusal_tolerance(self) -> u64 {
        (self.threshold as u64 - 1) * self.period as u64
    }

    /// The longest time from a hang to the verdict, `A_s + P`, in seconds.
    pub const fn worst_hang_detection(self) -> u64 {
        self.stall_tolerance() + self.period as u64
    }

    /// The mean time from a hang to the verdict, `A_s + P/2`, in seconds.
    pub fn mean_hang_detection(self) -> f64 {
        self.stall_tolerance() as f64 + f64::from(self.period) / 2.0
    }

    /// The mean time from a crash that refuses at once to the verdict, `A_f + P/2`, in seconds.
    pub fn mean_crash_detection(self) -> f64 {
        self.refusal_tolerance() as f64 + f64::from(self.period) / 2.0
    }

    /// The period as a span.
    pub const fn period_span(self) -> Span {
        Span::from_seconds(self.period as i64)
    }

    /// The timeout as a span.
    pub const fn timeout_span(self) -> Span {
        Span::from_seconds(self.timeout as i64)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}/{}", self.period, self.timeout, self.threshold);
        f.pad(&text)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Settings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts =
            text.split('/').map(|p| if p.bytes().all(|b| b.is_ascii_digit()) { p.parse::<u32>().ok() } else { None });
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Some(p)), Some(Some(t)), Some(Some(k)), None) => Settings::new(p, t, k),
            _ => None,
        }
        .ok_or_else(|| {
            format!("{text:?} is no probe setting; write PERIOD/TIMEOUT/THRESHOLD in whole seconds, each 1 to {LARGEST}, as \"10/1/3\"")
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn s(text: &str) -> Settings {
        text.parse().unwrap()
    }

    #[test]
    fn tolerances_and_detection_are_those_of_the_worked_examples() {
        // policy, worked example 1: A_s, A_f, hang mean and worst, crash mean.
        for (text, a_s, a_f, hang, worst, crash) in [
            ("10/1/3", 21, 20, 26.0, 31, 25.0),
            ("10/10/2", 20, 10, 25.0, 30, 15.0),
            ("5/15/2", 30, 5, 32.5, 35, 7.5),
            ("7/4/3", 18, 14, 21.5, 25, 17.5),
            ("5/1/3", 11, 10, 13.5, 16, 12.5),
            ("10/3/2", 13, 10, 18.0, 23, 15.0),
        ] {
            let x = s(text);
            assert_eq!(
                (x.stall_tolerance(), x.refusal_tolerance(), x.worst_hang_detection()),
                (a_s, a_f, worst),
                "{text}"
            );
            assert_eq!((x.mean_hang_detection(), x.mean_crash_detection()), (hang, crash), "{text}");
        }
    }

    #[test]
    fn zero_in_a_spec_means_the_default_and_negative_is_refused() {
        assert_eq!(Settings::from_spec(Some(0), None, Some(0)), Some(Settings::KUBERNETES_DEFAULT));
        assert_eq!(Settings::from_spec(Some(30), Some(10), Some(5)), Some(s("30/10/5")));
        assert_eq!(Settings::from_spec(Some(-1), None, None), None);
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_answered_with_an_example() {
        for wrong in ["", "10/1", "10/1/3/4", "10/0/3", "a/1/3", "+10/1/3", "10/1/99999999999", "10 / 1 / 3"] {
            let message = wrong.parse::<Settings>().unwrap_err();
            assert!(message.contains("\"10/1/3\"") && message.contains(&format!("{wrong:?}")), "{message}");
        }
        assert_eq!(s("10/1/3").to_string(), "10/1/3");
    }
}
