//! What must survive a restart of the daemon about one workload: its part of the `ProbeTuning` object, typed.

use crate::change::{Change, Past, Stage};
use crate::units::Timestamp;

/// The change that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// What is changed; written down before it is sent.
    pub change: Change,
    /// How far it has come.
    pub stage: Stage,
    /// When that stage began.
    pub since: Timestamp,
    /// When the patch was taken.
    pub applied: Option<Timestamp>,
    /// The generation that the patch made, once it is known.
    pub generation: Option<i64>,
    /// [`crate::workload::Workload::version`] when it was patched: another one on top ends the comparison.
    pub version: u64,
}

/// What is remembered of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// The change under way.
    pub in_flight: Option<InFlight>,
    /// The last five changes, oldest first.
    pub past: Vec<Past>,
    /// The numbers that the owner had before we first changed any, per probe: what "doubled" is counted from.
    pub owners: Vec<(crate::workload::ProbeId, crate::probe::Settings)>,
    /// Somebody put these numbers in the place of ours: theirs stand, and we leave the workload alone for as long as
    /// they do. Empty: not contested.
    pub contested: Vec<(crate::workload::ProbeId, crate::probe::Settings)>,
    /// Reverts in a row: each doubles the wait before the next change.
    pub reverts: u32,
    /// When the last change ended, was refused or was taken back: what a cooldown counts from.
    pub rested_since: Option<Timestamp>,
}

/// Most past changes that are remembered.
pub const PAST_KEPT: usize = 5;
