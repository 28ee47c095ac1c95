//! What the owners of a workload allow, after everybody's word has been narrowed into one.
//!
//! The text of annotations and files is parsed at the door (`config`, `observe`) into these types; what cannot be read
//! never counts as permission.

use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, PerPodYear, Span, Timestamp};

/// How far the daemon may go, rising in this order: the smaller of two modes is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Not watched at all.
    #[default]
    Off,
    /// Watched and reported; no workload is written.
    Recommend,
    /// New numbers ride on pods that are created anyway.
    Piggyback,
    /// Also a few pods are evicted to bring a slice under the new numbers first.
    Canary,
    /// Also rolls out under the budgets.
    Auto,
}

impl Mode {
    /// All modes, rising.
    pub const ALL: [Mode; 5] = [Mode::Off, Mode::Recommend, Mode::Piggyback, Mode::Canary, Mode::Auto];

    /// As annotations write it.
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Off => "off",
            Mode::Recommend => "recommend",
            Mode::Piggyback => "piggyback",
            Mode::Canary => "canary",
            Mode::Auto => "auto",
        }
    }

    /// The mode of this exact word; anything else is no permission.
    pub fn parse(word: &str) -> Option<Mode> {
        Mode::ALL.into_iter().find(|m| m.word() == word)
    }
}

/// The least and the most that each number may become. Inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of `periodSeconds`.
    pub period: (u32, u32),
    /// Of `timeoutSeconds`.
    pub timeout: (u32, u32),
    /// Of `failureThreshold`.
    pub threshold: (u32, u32),
}

impl Bounds {
    /// What the fence in the API server lets through: 1–60, 1–30, 1–10.
    pub const FENCE: Bounds = Bounds { period: (1, 60), timeout: (1, 30), threshold: (1, 10) };

    /// Whether a setting lies within.
    pub fn contain(&self, s: Settings) -> bool {
        let within = |(least, most): (u32, u32), n: u32| least <= n && n <= most;
        within(self.period, s.period()) && within(self.timeout, s.timeout()) && within(self.threshold, s.threshold())
    }
}

/// Something in an annotation or a policy that could not be read. It is reported, and it never permits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// The key, as `probe-tuner.io/mode`.
    pub key: Name,
    /// The value as found, cut to 128 characters.
    pub value: Name,
    /// An example of a right one.
    pub wanted: Name,
    /// Whether it stands on the Namespace rather than on the workload.
    pub on_namespace: bool,
}

/// Times of the week in which changes may start, each as seconds from Monday 00:00 in its zone.
///
/// Kept already resolved to moments by the edge, since core rooms know no time zones: `open` says whether the present
/// moment is inside, `next` when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Whether a change may start now.
    pub open: bool,
    /// When it opens next (or closes, if open); `None` if never.
    pub changes_at: Option<Timestamp>,
}

/// What one workload's owners allow: the strictest of configuration, Namespace and workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Permission {
    /// How far the daemon may go.
    pub mode: Mode,
    /// `probe-tuner.io/skip`: never touch it, and why.
    pub skip: Option<Name>,
    /// Hold until then.
    pub freeze_until: Option<Timestamp>,
    /// Only these containers; `None` means all.
    pub containers: Option<Vec<Name>>,
    /// Only these kinds of probe.
    pub probes: Vec<ProbeKind>,
    /// Most false liveness restarts that the owner accepts.
    pub false_restart_budget: PerPodYear,
    /// Longest time from a hang to the verdict, at the worst phase; `None`: not stated.
    pub detect_within: Option<Span>,
    /// The least and most of each number.
    pub bounds: Bounds,
    /// When changes may start; `None`: always.
    pub window: Option<Window>,
    /// What an own rollout costs, in pod-seconds a pod.
    pub rollout_price: f64,
    /// Whether risky changes (tolerance more than doubled or halved) are approved by people in a ledger. Without one,
    /// risky changes are not made at all.
    pub approvals: bool,
    /// `probe-tuner.io/protected`: every change is risky.
    pub protected: bool,
    /// Writes are stopped here by `probe-tuner pause` (or nobody could tell).
    pub paused: bool,
    /// What could not be read. If it is not empty nothing is written: a mode so written counts as off, all else as hold.
    pub unreadable: Vec<Unreadable>,
}

impl Permission {
    /// Whether a probe is among those chosen by the owner.
    pub fn covers(&self, container: &str, kind: ProbeKind) -> bool {
        self.probes.contains(&kind)
            && self.containers.as_ref().is_none_or(|only| only.iter().any(|c| **c == *container))
    }
}
