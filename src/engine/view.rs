//! What is shown of one workload: the same words in the `ProbeTuning` object, in `recommend`, and on the metrics page.

use super::Entry;
use crate::change::Stage;
use crate::decide::Judgement;
use crate::evidence::{Agreement, Foretold, Record, RestartRecord};
use crate::memory::Memory;
use crate::plan::{DEGRADED_AFTER, Gate};
use crate::policy::{Mode, Unreadable};
use crate::reason::Reason;
use crate::units::{Name, Timestamp, Uid};
use crate::workload::{Address, ProbeId};

/// Where a workload stands. Derived at each look, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Watched; its numbers are the best known, or too little is known.
    Observing,
    /// Better numbers are known and recommended.
    Recommending,
    /// A change of ours is being written or rolled out.
    RollingOut,
    /// A change of ours is being watched.
    Verifying,
    /// A change is wished and something holds it.
    Held,
    /// Several changes were taken back, or one could not be: a person decides.
    Degraded,
    /// The numbers are not what is wrong.
    Refused,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 7] = [
        Phase::Observing,
        Phase::Recommending,
        Phase::RollingOut,
        Phase::Verifying,
        Phase::Held,
        Phase::Degraded,
        Phase::Refused,
    ];

    /// As our objects name it.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Observing => "Observing",
            Phase::Recommending => "Recommending",
            Phase::RollingOut => "RollingOut",
            Phase::Verifying => "Verifying",
            Phase::Held => "Held",
            Phase::Degraded => "Degraded",
            Phase::Refused => "Refused",
        }
    }
}

/// A workload as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Identity.
    pub uid: Uid,
    /// Where.
    pub address: Address,
    /// `metadata.generation` that was looked at.
    pub generation: i64,
    /// What its owners allow.
    pub mode: Mode,
    /// Where it stands.
    pub phase: Phase,
    /// Why, as a code.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
    /// Which of its containers are sidecars.
    pub sidecars: Vec<Name>,
    /// The judgement of each covered probe.
    pub judgements: Vec<Judgement>,
    /// What must survive a restart of the daemon.
    pub memory: Memory,
    /// Its last restarts, oldest first, at most 20.
    pub restarts: Vec<RestartRecord>,
    /// Probes of which something was foretold: what is foretold now, and how it turned out so far.
    pub forecasts: Vec<Forecast>,
    /// Probes of which shadow checks see something else than the kubelet: what they saw is dropped.
    pub differing: Vec<Differing>,
    /// Annotations that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// It is gone or no longer opted in: this is the last view of it.
    pub gone: bool,
}

/// What is foretold of a probe, and how that turned out so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Which.
    pub probe: ProbeId,
    /// When its timeout will be reached; `None` if nothing says so, or if too many forecasts failed.
    pub foretold: Option<Foretold>,
    /// Hits, misses and surprises so far.
    pub record: Record,
}

/// A probe of which shadow checks see something else than the kubelet, by more than chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Differing {
    /// Which.
    pub probe: ProbeId,
    /// Since when.
    pub since: Timestamp,
    /// Shares of checks that were slow or not healthy: ours, the kubelets'.
    pub shares: (f64, f64),
}

impl View {
    /// Where it stands and why, without the words.
    pub(super) fn stand(e: &Entry) -> (Phase, Reason) {
        let (phase, reason, _) = stand(e);
        (phase, reason)
    }

    pub(super) fn of(e: &Entry) -> View {
        let (phase, reason, message) = stand(e);
        View {
            uid: e.workload.uid,
            address: e.workload.address.clone(),
            generation: e.workload.generation,
            mode: e.workload.permission.mode,
            phase,
            reason,
            message,
            sidecars: e.workload.sidecars.clone(),
            judgements: e.judgements.clone(),
            memory: e.memory.clone(),
            restarts: e.evidence.restarts().to_vec(),
            forecasts: forecasts(e),
            differing: differing(e),
            unreadable: e.workload.permission.unreadable.clone(),
            gone: e.gone,
        }
    }
}

fn forecasts(e: &Entry) -> Vec<Forecast> {
    let of = |judgement: &Judgement| {
        let season = e.evidence.seen(&judgement.probe)?.season();
        let foretold = season.pending().filter(|_| season.trusted()).copied();
        let record = season.record();
        (foretold.is_some() || record != Record::default()).then(|| Forecast {
            probe: judgement.probe.clone(),
            foretold,
            record,
        })
    };
    e.judgements.iter().filter_map(of).collect()
}

fn differing(e: &Entry) -> Vec<Differing> {
    let of = |s: &crate::evidence::Seen| match s.shadow()?.agreement() {
        Agreement::Differ { since, shares } => Some(Differing { probe: s.id().clone(), since, shares }),
        _ => None,
    };
    e.evidence.probes().iter().filter_map(of).collect()
}

/// Where it stands, and why: what is under way comes first, then what holds, then what is believed.
fn stand(e: &Entry) -> (Phase, Reason, String) {
    let with_note = |words: String| match &e.note {
        Some(note) if words.is_empty() => note.clone(),
        Some(note) => format!("{words}; {note}"),
        None => words,
    };
    if let Some(flight) = &e.memory.in_flight {
        if let (Some(why), Gate::Held(reason, held)) = (&e.revert, &e.gate) {
            return (Phase::Verifying, *reason, with_note(format!("to be taken back ({why}), but {held}")));
        }
        let phase = if flight.stage == Stage::Watching { Phase::Verifying } else { Phase::RollingOut };
        let reason = if flight.stage == Stage::Watching { Reason::Verifying } else { flight.change.reason };
        return (phase, reason, with_note(flight.change.message.clone()));
    }
    let foremost = e.foremost();
    let believed = foremost.map_or((Reason::InPlace, "no probe to tune".to_owned()), |j| (j.reason, j.message.clone()));
    if let Gate::Held(reason, held) = &e.gate {
        let words = with_note(format!("{}; {held}", believed.1));
        return match reason {
            Reason::RecommendOnly => (Phase::Recommending, believed.0, words),
            Reason::WaitsForRollout => (Phase::Recommending, *reason, words),
            Reason::Flapping => (Phase::Degraded, *reason, words),
            _ => (Phase::Held, *reason, words),
        };
    }
    if let Some(u) = e.workload.permission.unreadable.first() {
        let words = format!("{} is {:?}, which cannot be read; write for example {:?}", u.key, u.value, u.wanted);
        return (Phase::Held, Reason::Unreadable, with_note(words));
    }
    if e.memory.reverts >= DEGRADED_AFTER {
        return (Phase::Degraded, Reason::Flapping, with_note(believed.1));
    }
    if !e.memory.contested.is_empty() {
        return (
            Phase::Held,
            Reason::Contested,
            with_note("somebody put other numbers in the place of ours: theirs stand".into()),
        );
    }
    if let Some(why) = &e.workload.permission.skip {
        return (
            Phase::Held,
            Reason::Skipped,
            with_note(format!("annotated probe-tuner.io/skip: {why}").trim_end_matches([' ', ':']).to_owned()),
        );
    }
    let phase = match believed.0 {
        Reason::Sustained
        | Reason::Synchronous
        | Reason::SickReplica
        | Reason::ColdStart
        | Reason::Oom
        | Reason::Crash
        | Reason::Starved
        | Reason::OverBudgetAtMax
        | Reason::BoundConflict => Phase::Refused,
        _ if e.wishes() => Phase::Recommending,
        _ => Phase::Observing,
    };
    (phase, believed.0, with_note(believed.1))
}
