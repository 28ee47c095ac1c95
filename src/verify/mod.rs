//! Watches a change after it was made, and says when it was for the worse.
//!
//! **Takes** the change under way, the workload as declared now, and tallies of restarts and unreadiness from the
//! evidence. **Gives** the next [`Step`] of the change. **Never** asks the model or the decision whether they were
//! right: the judge is not the one who chose.
//!
//! A rollout is finished when the Deployment says so for its last generation (`observedGeneration` first: without it
//! one reads the rollout before). Only then the watch begins, so that pods which start are not held against the change.

use crate::change::{self, Intent, Stage};
use crate::evidence::{Edge, Evidence, OUTAGE_SECONDS, TOGETHER_SECONDS, Tally};
use crate::memory::InFlight;
use crate::policy::{Mode, Permission};
use crate::probe::ProbeKind;
use crate::units::{Span, Timestamp};
use crate::workload::Workload;
use statrs::function::beta::beta_reg;

/// How long to watch and wait. Ordinary configuration: tests set minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a change is watched after its rollout (24 h: one cycle of load).
    pub watch_for: Span,
    /// How long a rollout of ours may take before it counts as stuck (30 min).
    pub rollout_within: Span,
    /// How long an unanswered patch is waited for before the declared numbers decide what became of it (10 min: longer
    /// than the writer may take with all its tries, so that no patch comes after its intent was dropped).
    pub answer_within: Span,
}

impl Default for Terms {
    fn default() -> Self {
        Terms { watch_for: Span::DAY, rollout_within: Span::MINUTE * 30, answer_within: Span::MINUTE * 10 }
    }
}

/// What happens next to a change under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// It turns out to have been applied (a restart or a time-out hid the answer).
    WasApplied,
    /// It turns out never to have been applied: the numbers and the generation are those of before.
    WasNotApplied,
    /// The rollout is finished: the watch begins, or, for a revert, the change is over.
    RolledOut,
    /// Watched to the end, and not worse.
    Good(Comparison),
    /// Worse: back to the former numbers.
    Worse(Why),
    /// Somebody else wrote other numbers: theirs stand.
    Contested,
    /// The owner rolled out another version on top, or hardly a pod could be watched: before and after cannot be
    /// compared. The numbers stay.
    Superseded,
    /// A person stopped everything here (off, a lower mode, skip, freeze).
    Stopped,
}

/// The two windows of equal length that were compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Up to the patch.
    pub before: Tally,
    /// From the end of the rollout.
    pub after: Tally,
}

/// What was worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rollout did not finish within its time.
    Stuck,
    /// More restarts by probes a pod-hour.
    Restarts(Comparison),
    /// A larger share of the time unready.
    Unready(Comparison),
}

impl Why {
    /// In words for a person.
    pub fn words(&self) -> String {
        let hours = |t: &Tally| t.pod_time.as_secs_f64() / 3600.0;
        match self {
            Why::Stuck => "the rollout did not finish in time".into(),
            Why::Restarts(c) => format!(
                "{} restarts by probes in {:.1} pod-hours after it, {} in {:.1} before",
                c.after.probe_restarts,
                hours(&c.after),
                c.before.probe_restarts,
                hours(&c.before)
            ),
            Why::Unready(c) => format!(
                "unready {} of {:.1} pod-hours after it, {} of {:.1} before",
                c.after.unready,
                hours(&c.after),
                c.before.unready,
                hours(&c.before)
            ),
        }
    }
}

/// Whether a person's word stops everything in its reach, a change under way included. A pause is not such a word: it
/// stops writes, and the watch goes on.
pub fn stopped(permission: &Permission, now: Timestamp) -> bool {
    stopped_below(permission, Mode::Auto, now)
}

/// The same for what needs less than [`Mode::Auto`].
pub fn stopped_below(permission: &Permission, least: Mode, now: Timestamp) -> bool {
    permission.mode < least || permission.skip.is_some() || permission.freeze_until.is_some_and(|until| now < until)
}

/// What happens next to the change under way of this workload.
///
/// Pure: asked again at the same moment with the same evidence it answers the same.
pub fn next(flight: &InFlight, workload: &Workload, evidence: &Evidence, terms: &Terms, now: Timestamp) -> Step {
    if stopped(&workload.permission, now) {
        return Step::Stopped;
    }
    let holds = |to: bool| {
        flight
            .change
            .steps
            .iter()
            .all(|s| workload.probe(&s.probe).is_some_and(|p| p.settings == if to { s.to } else { s.from }))
    };
    if flight.stage == Stage::Intended {
        return if holds(true) {
            Step::WasApplied
        } else if !holds(false) {
            Step::Contested
        } else if now.since(flight.since) >= terms.answer_within {
            Step::WasNotApplied
        } else {
            Step::Wait
        };
    }
    // The patch may be known before the watch has shown it: only what is newer than the patch can contradict it.
    // Until then we are blind, which is no reason to take anything back.
    if flight.generation.is_some_and(|g| workload.generation < g) {
        return Step::Wait;
    }
    if !holds(true) {
        return Step::Contested;
    }
    if workload.version != flight.version && flight.version != 0 {
        return Step::Superseded;
    }
    match flight.stage {
        Stage::Patched if workload.at_rest() => Step::RolledOut,
        Stage::Patched if now.since(flight.since) >= terms.rollout_within && flight.change.intent == Intent::Tune => {
            Step::Worse(Why::Stuck)
        }
        Stage::Watching => watch(flight, evidence, terms, now),
        _ => Step::Wait,
    }
}

fn watch(flight: &InFlight, evidence: &Evidence, terms: &Terms, now: Timestamp) -> Step {
    let elapsed = now.since(flight.since);
    let applied = flight.applied.unwrap_or(flight.since);
    let c = Comparison { before: evidence.tally(applied - elapsed, applied), after: evidence.tally(flight.since, now) };
    let done = elapsed >= terms.watch_for;
    if more_restarts(&c, done) {
        return Step::Worse(Why::Restarts(c));
    }
    if !slow_anyway(flight, evidence) && longer_unready(&c, elapsed, terms.watch_for) {
        return Step::Worse(Why::Unready(c));
    }
    // Good is what was watched: half a pod on average at least. Who was scaled to zero, or whose daemon was away, is
    // waited for once more as long, and then left without a verdict.
    let watched = c.after.pod_time.nanos() >= elapsed.min(terms.watch_for).nanos() / 2;
    match (done, watched) {
        (true, true) => Step::Good(c),
        (true, false) if elapsed >= terms.watch_for * 2 => Step::Superseded,
        _ => Step::Wait,
    }
}

/// Fewer restarts than this say nothing: one may be a true fault, and those come at any time.
const FEWEST: u32 = 2;

/// Whether there were more restarts a pod-hour than before.
///
/// At the end of the watch the plain comparison decides. Before it only what chance does not explain (a probability
/// below 1 %, by the exact conditional test of two Poisson rates: given n restarts in all, each fell into the later
/// window with its share of the pod-time), else the first restart after any change would undo it.
fn more_restarts(c: &Comparison, done: bool) -> bool {
    let (before, after) = (c.before.pod_time.as_secs_f64(), c.after.pod_time.as_secs_f64());
    let n = c.after.probe_restarts;
    if n < FEWEST || after <= 0.0 {
        return false;
    }
    // Nothing is known of the time before: what is asked is whether the restarts come thick enough to be a loop.
    if before < after / 10.0 {
        return n > 2 * FEWEST;
    }
    if done {
        return f64::from(n) / after > f64::from(c.before.probe_restarts) / before;
    }
    let share = after / (after + before);
    upper_binomial(n, n + c.before.probe_restarts, share) < 0.01
}

/// P(X ≥ k) for X binomial with `n` trials of chance `p`, `0 < k ≤ n`.
fn upper_binomial(k: u32, n: u32, p: f64) -> f64 {
    beta_reg(f64::from(k), f64::from(n - k + 1), p)
}

/// Whether the pods were unready for longer: half more than their share before, and besides by at least half a percent of
/// their time and by [`UNREADY_AT_LEAST`], after at least an eighth of the watch.
fn longer_unready(c: &Comparison, elapsed: Span, watch_for: Span) -> bool {
    let seconds = |s: Span| s.as_secs_f64();
    let before = seconds(c.before.unready) / seconds(c.before.pod_time).max(1.0);
    let time = seconds(c.after.pod_time);
    let excess = seconds(c.after.unready) - 1.5 * before * time;
    elapsed.nanos() >= watch_for.nanos() / 8 && excess > seconds(UNREADY_AT_LEAST).max(0.005 * time)
}

/// Whether readiness numbers were changed and several replicas were slow together since, so that the former numbers would
/// have made them unready as well: such a slowness says nothing about the new ones. A storm is answered in the middle of
/// one.
///
/// The former ones would have where they were no more patient, or where they could not see above an edge, nor tolerate
/// for so long, what was slow above it. What only the new ones do not live through is held against them.
fn slow_anyway(flight: &InFlight, evidence: &Evidence) -> bool {
    let mut readiness = flight.change.steps.iter().filter(|s| s.probe.kind == ProbeKind::Readiness);
    readiness.any(|&change::Step { ref probe, from, to }| {
        let Some(seen) = evidence.seen(probe) else { return false };
        let no_more_patient = from.timeout() <= to.timeout() && from.stall_tolerance() <= to.stall_tolerance();
        let gives_up = |edge: Edge, seconds: f32| {
            f64::from(from.timeout()) <= edge.seconds() && from.stall_tolerance() as f32 <= seconds
        };
        let top = Edge::LATENCY[Edge::visible(to.timeout()) - 1];
        let mut edges = Edge::LATENCY.into_iter().filter(|e| no_more_patient || gives_up(*e, TOGETHER_SECONDS));
        edges.any(|e| seen.slow_together_since(flight.since, e))
            || gives_up(top, OUTAGE_SECONDS) && seen.outage() >= Some(flight.since)
    })
}

/// Less than this is the tail of the pods' own start, or one slow check: no trend.
const UNREADY_AT_LEAST: Span = Span::from_seconds(30);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_chance_of_so_many_restarts_is_scipy_s() {
        let all: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/scipy.json")).unwrap();
        let rows = |table: &str| all[table].as_array().unwrap().clone();
        for row in rows("binomial_tail") {
            let [k, n] = [0, 1].map(|i| u32::try_from(row[i].as_u64().unwrap()).unwrap());
            let (p, wanted) = (row[2].as_f64().unwrap(), row[3].as_f64().unwrap());
            let found = upper_binomial(k, n, p);
            assert!((found - wanted).abs() < 1e-9 * wanted.max(1e-6), "{row}: {found}");
        }
        // Policy, worked example 4: with this chance k or fewer are met in one case of twenty.
        for row in rows("clopper_pearson") {
            let [k, n] = [0, 1].map(|i| u32::try_from(row[i].as_u64().unwrap()).unwrap());
            let found = upper_binomial(k + 1, n, row[2].as_f64().unwrap());
            assert!((found - 0.95).abs() < 1e-9, "{row}: {found}");
        }
    }
}
