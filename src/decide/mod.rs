//! Turns what is believed of a workload's probes, and what its owners allow, into wishes.
//!
//! **Takes** evidence, the workload as declared, what is remembered, prices. **Gives** one [`Judgement`] a probe.
//! **Never** reads a clock, knows a rollout budget or a window (that is `plan`'s), wishes for numbers outside the
//! owner's bounds, or moves a number for what is not timing: a sick replica, memory, a crash, a dependency, a scrape
//! that is missing.
//!
//! The number to minimise is expected loss in pod-seconds a pod-year ([`Prices`]). Tightening is worth little and must
//! be nearly free of risk; loosening by ten seconds is worth it from 0.7 false restarts a pod-year; rollouts of our own
//! are for emergencies. Read `liveness` next.

mod case;
mod explain;
mod grid;
mod liveness;
mod objection;
mod prices;
mod readiness;
mod refuse;
mod startup;
mod words;

pub use explain::{
    Account, Ahead, Alternative, Curve, Explanation, Gate, Interval, LoadAccount, Mark, Point, Restart, ShadowAccount,
    Spread, StartAccount, TailAccount, ThrottleAccount, explain,
};
pub use objection::Objection;
pub use prices::{Prices, carrying_cost};
pub use readiness::sooner as gives_up_sooner;
pub use words::{about, ago, rate as said};

use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;
use crate::units::{Span, Timestamp};
use crate::workload::{Probe, ProbeId, Workload};
use case::Case;

/// How much a wish is worth: when it may be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing is wished, or nothing may be.
    Hold,
    /// Better, but not worth a rollout of its own.
    WithNextRollout,
    /// Pays for its own rollout at the owner's price.
    OwnRollout,
    /// Timeouts restart several replicas: at once.
    Storm,
}

/// What a setting is expected to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    /// False restarts a pod-year (of a readiness probe: false removals): posterior mean.
    pub false_restarts: f64,
    /// The same, upper bound (95 %).
    pub upper: f64,
    /// Worst time from a hang to the verdict, in seconds.
    pub detect_seconds: u64,
    /// Expected loss in pod-seconds a pod-year.
    pub loss: f64,
}

/// The decision about one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Which.
    pub probe: ProbeId,
    /// Its numbers now.
    pub current: Settings,
    /// The numbers that it should have; equal to `current` when nothing is wished.
    pub wanted: Settings,
    /// When that may happen.
    pub urgency: Urgency,
    /// Why, as a code.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
    /// What today's numbers do; `None` while nothing is known, and for startup probes.
    pub now: Option<Expectation>,
    /// What the wanted numbers would do.
    pub then: Option<Expectation>,
    /// The probability that the wanted numbers keep the budget of false restarts, in `[0, 1]`; 0 while nothing is known.
    pub confidence: f64,
    /// Pod-time that was seen.
    pub seen: Span,
    /// Time in which at least one replica was read: under a day nothing is sure.
    pub watched: Span,
}

/// What was chosen for one probe, before the figures are put beside it.
#[derive(Clone, Debug, PartialEq)]
struct Choice {
    wanted: Settings,
    urgency: Urgency,
    reason: Reason,
    message: String,
}

impl Choice {
    fn hold(current: Settings, reason: Reason, message: String) -> Self {
        Choice { wanted: current, urgency: Urgency::Hold, reason, message }
    }
}

/// The judgement of each probe that the owner lets us judge, in the order of [`Workload::probes`].
///
/// Pure: asked twice with the same evidence and moment, the same answer. Costs about 15 µs a probe.
pub fn judge(
    evidence: &Evidence,
    workload: &Workload,
    memory: &Memory,
    prices: &Prices,
    now: Timestamp,
) -> Vec<Judgement> {
    let mut judgements: Vec<Judgement> = Vec::with_capacity(workload.probes.len());
    for probe in covered(workload) {
        let case = Case::new(evidence, workload, memory, prices, now, probe);
        let choice = choose(&case, beside(&case, &judgements));
        judgements.push(case.judgement(choice));
    }
    judgements
}

/// The probes that the owner lets us judge.
fn covered(workload: &Workload) -> impl Iterator<Item = &Probe> {
    workload.probes.iter().filter(|p| workload.permission.covers(&p.id.container, p.id.kind))
}

/// The liveness numbers that a probe must fit: those just wished for, which stand before the others of their
/// container, or those declared.
fn beside(case: &Case<'_>, judged: &[Judgement]) -> Option<Settings> {
    judged
        .iter()
        .find(|j| j.probe.kind == ProbeKind::Liveness && j.probe.container == case.probe.id.container)
        .map(|j| j.wanted)
        .or_else(|| case.sibling(ProbeKind::Liveness))
}

fn choose(case: &Case<'_>, liveness: Option<Settings>) -> Choice {
    let mut choice = match case.probe.id.kind {
        ProbeKind::Liveness => liveness::choose(case),
        ProbeKind::Readiness => readiness::choose(case, liveness),
        ProbeKind::Startup => startup::choose(case, liveness),
    };
    // Whatever is decided: where CPU is what is missing, that is said, and numbers that are in place are not all there is.
    if let Some(starved) = refuse::starved(case) {
        if choice.reason == Reason::InPlace {
            choice.reason = Reason::Starved;
        }
        if !choice.message.contains(&starved) {
            choice.message += &format!("; {starved}");
        }
    }
    choice
}
