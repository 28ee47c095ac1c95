//! Why: the closed list of codes that every decision carries, and that people search for.

/// The reason of a decision. Its code is part of our interface; the message beside it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Present numbers are the best allowed ones.
    InPlace,
    /// More tolerance: restarts judged false, or a blind timeout.
    Loosen,
    /// Less tolerance: detection is better bought than paid for.
    Tighten,
    /// Timeouts restart several replicas at once.
    Storm,
    /// Too little seen.
    ThinEvidence,
    /// Scrapes are missing, or counters went back without a new pod.
    DataGap,
    /// A better setting that does not pay for a rollout of its own.
    WaitsForRollout,
    /// Nothing looser is allowed.
    OverBudgetAtMax,
    /// Slow or failing for minutes on several replicas: overload or a dependency.
    Sustained,
    /// All replicas fail fast within a minute: the check depends on something shared.
    Synchronous,
    /// One replica alone fails.
    SickReplica,
    /// Restarts only within minutes of a start.
    ColdStart,
    /// Restarts by the out-of-memory killer.
    Oom,
    /// Restarts by own exit.
    Crash,
    /// Throttled, or its node is full.
    Starved,
    /// Three own rollouts in a week.
    Flapping,
    /// Budget and detection bound exclude each other.
    BoundConflict,
    /// A risky change and nobody to approve it.
    NeedsApproval,
    /// The owner said `skip`.
    Skipped,
    /// The mode allows no write.
    RecommendOnly,
    /// Frozen until a date.
    Frozen,
    /// Paused by a person.
    Paused,
    /// An annotation or policy cannot be read.
    Unreadable,
    /// Outside the owner's window.
    OutsideWindow,
    /// The workload cannot be patched as it stands (paused, progressing, Recreate, owned, no replicas, not a Deployment).
    Unpatchable,
    /// Held by a budget of rollouts.
    RolloutBudget,
    /// Another change is in flight in the namespace.
    InFlight,
    /// The daemon has just started.
    WarmUp,
    /// The fence in the API server does not refuse: nothing is written.
    NoFence,
    /// Somebody put other numbers in the place of ours.
    Contested,
    /// The API server refused the change.
    Refused,
    /// Cooling down after a change or a revert.
    Cooldown,
    /// Rolled out and being watched.
    Verifying,
    /// Taken back because it made things worse.
    Reverted,
    /// A person stopped a change under way.
    Abandoned,
}

impl Reason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Reason; 35] = [
        Reason::InPlace,
        Reason::Loosen,
        Reason::Tighten,
        Reason::Storm,
        Reason::ThinEvidence,
        Reason::DataGap,
        Reason::WaitsForRollout,
        Reason::OverBudgetAtMax,
        Reason::Sustained,
        Reason::Synchronous,
        Reason::SickReplica,
        Reason::ColdStart,
        Reason::Oom,
        Reason::Crash,
        Reason::Starved,
        Reason::Flapping,
        Reason::BoundConflict,
        Reason::NeedsApproval,
        Reason::Skipped,
        Reason::RecommendOnly,
        Reason::Frozen,
        Reason::Paused,
        Reason::Unreadable,
        Reason::OutsideWindow,
        Reason::Unpatchable,
        Reason::RolloutBudget,
        Reason::InFlight,
        Reason::WarmUp,
        Reason::NoFence,
        Reason::Contested,
        Reason::Refused,
        Reason::Cooldown,
        Reason::Verifying,
        Reason::Reverted,
        Reason::Abandoned,
    ];

    /// The reason of this exact code.
    pub fn parse(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.code() == code)
    }

    /// The code, as `THIN_EVIDENCE`.
    pub const fn code(self) -> &'static str {
        match self {
            Reason::InPlace => "IN_PLACE",
            Reason::Loosen => "LOOSEN",
            Reason::Tighten => "TIGHTEN",
            Reason::Storm => "STORM",
            Reason::ThinEvidence => "THIN_EVIDENCE",
            Reason::DataGap => "DATA_GAP",
            Reason::WaitsForRollout => "WAITS_FOR_ROLLOUT",
            Reason::OverBudgetAtMax => "OVER_BUDGET_AT_MAX",
            Reason::Sustained => "SUSTAINED",
            Reason::Synchronous => "SYNCHRONOUS",
            Reason::SickReplica => "SICK_REPLICA",
            Reason::ColdStart => "COLD_START",
            Reason::Oom => "OOM",
            Reason::Crash => "CRASH",
            Reason::Starved => "STARVED",
            Reason::Flapping => "FLAPPING",
            Reason::BoundConflict => "BOUND_CONFLICT",
            Reason::NeedsApproval => "NEEDS_APPROVAL",
            Reason::Skipped => "SKIPPED",
            Reason::RecommendOnly => "RECOMMEND_ONLY",
            Reason::Frozen => "FROZEN",
            Reason::Paused => "PAUSED",
            Reason::Unreadable => "UNREADABLE",
            Reason::OutsideWindow => "OUTSIDE_WINDOW",
            Reason::Unpatchable => "UNPATCHABLE",
            Reason::RolloutBudget => "ROLLOUT_BUDGET",
            Reason::InFlight => "IN_FLIGHT",
            Reason::WarmUp => "WARM_UP",
            Reason::NoFence => "NO_FENCE",
            Reason::Contested => "CONTESTED",
            Reason::Refused => "REFUSED",
            Reason::Cooldown => "COOLDOWN",
            Reason::Verifying => "VERIFYING",
            Reason::Reverted => "REVERTED",
            Reason::Abandoned => "ABANDONED",
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_code_and_by_no_other() {
        assert!(Reason::ALL.is_sorted_by(|a, b| a < b));
        assert_eq!(*Reason::ALL.last().unwrap() as usize + 1, Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.code()), Some(reason));
        }
        assert_eq!(Reason::parse("in_place"), None);
    }
}
