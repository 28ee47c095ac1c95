//! What stands against a setting: one rule of caution or of the owner, with its figure.

use std::fmt;

/// Why a setting may not be taken, however little it is expected to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// A timeout too short to see by, or a threshold of one: never set.
    NeverSet,
    /// Outside the owner's bounds.
    OutsideBounds,
    /// It finds a hang later than the owner accepts.
    DetectsTooLate,
    /// It expects more false restarts than the owner accepts.
    OverBudget,
    /// Twice or half the owner's tolerance, or a protected namespace: two people would have to approve it.
    NeedsApproval,
    /// Looser than this many seconds, without restarts judged false.
    MorePatient {
        /// The most, in seconds.
        most: u64,
    },
    /// Tighter than this many seconds, before a change of version was lived through.
    LessPatient {
        /// The least, in seconds.
        least: u64,
    },
    /// More patient with refusals than this many seconds, without restarts judged false.
    MoreRefusals {
        /// The most, in seconds.
        most: u64,
    },
    /// Less patient with refusals than this many seconds, while spells of them are seen.
    FewerRefusals {
        /// The least, in seconds.
        least: u64,
    },
    /// It would give up before readiness does.
    BeforeReadiness,
    /// Kills come only after a start: neither a larger threshold nor a smaller timeout is the answer.
    ColdStart,
    /// While nothing above the timeout is seen, or in a storm, only the setting for the unknown is taken.
    OnlyTheUnknown,
    /// It would not give up sooner than liveness (readiness).
    NotSooner,
    /// Several replicas were slow together: removing them would move their load to the rest (readiness).
    SlowTogether,
    /// No change of version was lived through yet (readiness).
    NoChangeYet,
    /// Looser without more removals than are accepted (readiness).
    NoRemovals,
}

impl Objection {
    /// A word for programs.
    pub const fn word(self) -> &'static str {
        match self {
            Objection::NeverSet => "never-set",
            Objection::OutsideBounds => "outside-bounds",
            Objection::DetectsTooLate => "detects-too-late",
            Objection::OverBudget => "over-budget",
            Objection::NeedsApproval => "needs-approval",
            Objection::MorePatient { .. } => "more-patient",
            Objection::LessPatient { .. } => "less-patient",
            Objection::MoreRefusals { .. } => "more-refusals",
            Objection::FewerRefusals { .. } => "fewer-refusals",
            Objection::BeforeReadiness => "before-readiness",
            Objection::ColdStart => "cold-start",
            Objection::OnlyTheUnknown => "only-the-unknown",
            Objection::NotSooner => "not-sooner",
            Objection::SlowTogether => "slow-together",
            Objection::NoChangeYet => "no-change-yet",
            Objection::NoRemovals => "no-removals",
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::NeverSet => f.write_str("never set: timeout under 5 s or threshold 1"),
            Objection::OutsideBounds => f.write_str("outside the owner's bounds"),
            Objection::DetectsTooLate => f.write_str("finds a hang later than detect-within"),
            Objection::OverBudget => f.write_str("over the budget of false verdicts"),
            Objection::NeedsApproval => f.write_str("two people would have to approve it"),
            Objection::MorePatient { most } => write!(f, "looser than {most} s: too few false restarts for it"),
            Objection::LessPatient { least } => write!(f, "tighter than {least} s: no release lived through yet"),
            Objection::MoreRefusals { most } => write!(f, "over {most} s of refusals: too few false restarts for it"),
            Objection::FewerRefusals { least } => write!(f, "under {least} s of refusals, and such spells are seen"),
            Objection::BeforeReadiness => f.write_str("would give up before readiness does"),
            Objection::ColdStart => f.write_str("no answer to kills after a start"),
            Objection::OnlyTheUnknown => f.write_str("not while so little is seen"),
            Objection::NotSooner => f.write_str("would not give up sooner than liveness"),
            Objection::SlowTogether => f.write_str("tighter, and replicas are slow together"),
            Objection::NoChangeYet => f.write_str("tighter: no release lived through yet"),
            Objection::NoRemovals => f.write_str("looser, without need"),
        }
    }
}
