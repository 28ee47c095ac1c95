//! One change of a workload's numbers, and what became of it.

use crate::probe::Settings;
use crate::reason::Reason;
use crate::units::{Name, Timestamp, Uid};
use crate::workload::{Address, ProbeId};

/// One probe's part of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which probe.
    pub probe: ProbeId,
    /// Its numbers when the change was made up; the change is void if they no longer stand.
    pub from: Settings,
    /// Its numbers afterwards.
    pub to: Settings,
}

/// What a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// New numbers.
    Tune,
    /// The former numbers, because the new ones made things worse.
    Revert,
}

/// A change of one workload: all its probes in one patch, hence one rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Names it in our objects, events and logs: derived from uid, generation and values, so the same wish after a
    /// restart of the daemon is the same change.
    pub id: u64,
    /// Whose.
    pub workload: Uid,
    /// Where.
    pub address: Address,
    /// The generation that was looked at.
    pub generation: i64,
    /// What for.
    pub intent: Intent,
    /// The probes, ordered; at least one.
    pub steps: Vec<Step>,
    /// Why.
    pub reason: Reason,
    /// Why, in words for a person.
    pub message: String,
}

/// What became of an attempted change. All are outcomes that the engine learns from, none is an error of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The patch was taken; the workload is at this generation now.
    Applied {
        /// `metadata.generation` in the answer.
        generation: i64,
    },
    /// The object no longer is as the change presumes (other numbers, other generation, another object of the name).
    Contested {
        /// What was found.
        found: Name,
    },
    /// The API server said no: the fence, another policy, rights, validation.
    Refused {
        /// Its words, bounded to 512 characters.
        why: Name,
    },
    /// The workload is gone.
    Gone,
    /// It cannot be known whether it was done (time-out, 500): to be found out by reading.
    Unknown {
        /// What happened.
        why: Name,
    },
    /// Not tried: permission, pause, fence or an ownership check said no at the last moment.
    Withheld {
        /// Which of our own checks.
        reason: Reason,
        /// In words.
        why: Name,
    },
}

/// How far a change in flight has come. Derived from the workload's state; written down before each step, so that a
/// restarted daemon goes on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Written down, not yet sent.
    Intended,
    /// Sent and taken; the rollout runs.
    Patched,
    /// The rollout has finished; being watched.
    Watching,
}

impl Stage {
    /// As our objects name it.
    pub const fn word(self) -> &'static str {
        match self {
            Stage::Intended => "Intended",
            Stage::Patched => "Patched",
            Stage::Watching => "Watching",
        }
    }
}

/// How a change ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Watched to the end and not worse.
    Verified,
    /// Worse, and taken back.
    Reverted,
    /// Somebody else changed the numbers: theirs stand.
    Contested,
    /// Not taken by the API server.
    Refused,
    /// A person stopped it.
    Abandoned,
    /// The owner rolled out another version on top before the watch was over: the numbers stay, unjudged.
    Superseded,
}

impl Verdict {
    /// All verdicts.
    pub const ALL: [Verdict; 6] = [
        Verdict::Verified,
        Verdict::Reverted,
        Verdict::Contested,
        Verdict::Refused,
        Verdict::Abandoned,
        Verdict::Superseded,
    ];

    /// As our objects name it.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Verified => "Verified",
            Verdict::Reverted => "Reverted",
            Verdict::Contested => "Contested",
            Verdict::Refused => "Refused",
            Verdict::Abandoned => "Abandoned",
            Verdict::Superseded => "Superseded",
        }
    }
}

/// A change that has ended, as our object for the workload remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// When it was applied.
    pub at: Timestamp,
    /// What it was.
    pub steps: Vec<Step>,
    /// What it was for.
    pub intent: Intent,
    /// How it ended.
    pub verdict: Verdict,
}
