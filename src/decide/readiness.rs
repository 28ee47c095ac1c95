//! Readiness: a removal costs seconds, not a restart, so more of them are accepted; and it must always give up sooner
//! than liveness.
//!
//! `A_s(readiness) ≤ A_s(liveness)/2` and `A_f(readiness) ≤ A_f(liveness)`. Where liveness is about to change, readiness
//! goes along in the same rollout. A timeout below 5 s is blind as liveness' is, and does more harm: a slowness that all
//! replicas share takes all of them out at once, which is no service at all; it is left for the most patient timeout that
//! still gives up sooner than liveness. Where most replicas are slow at once, removing them moves their load to the rest:
//! then it takes no shorter timeout, and is never loosened for it either. Never a rollout of its own.

use super::case::{Case, REMOVALS};
use super::liveness::BLIND_LOOK;
use super::words::{difference, rate};
use super::{Choice, Objection, Urgency, grid, refuse};
use crate::evidence::Edge;
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;

pub(super) const BETTER: f64 = 0.95;

/// What a readiness probe may become.
pub(super) struct Limits {
    liveness: Option<Settings>,
    /// Today's numbers do not give up sooner than liveness.
    wrong: bool,
    /// Several replicas were slow together.
    pub(super) shared: bool,
    /// More removals are expected than are accepted.
    pub(super) over: bool,
}

impl Limits {
    pub(super) fn of(case: &Case<'_>, liveness: Option<Settings>) -> Self {
        Limits {
            liveness,
            wrong: liveness.is_some_and(|l| !sooner(case.current(), l)),
            shared: case.seen.is_some_and(|s| Edge::LATENCY.into_iter().any(|e| s.regimes(e) >= 0.5)),
            over: case.rate(case.current()) > REMOVALS,
        }
    }

    /// What stands against a setting, if anything: the first that holds.
    pub(super) fn objection(&self, case: &Case<'_>, s: Settings) -> Option<Objection> {
        let current = case.current();
        let tighter = s.stall_tolerance() < current.stall_tolerance();
        let looser =
            s.stall_tolerance() > current.stall_tolerance() || s.refusal_tolerance() > current.refusal_tolerance();
        if self.liveness.is_some_and(|l| !sooner(s, l)) {
            Some(Objection::NotSooner)
        } else if !case.detects(s) {
            Some(Objection::DetectsTooLate)
        } else if !case.permitted(s) {
            Some(Objection::NeedsApproval)
        } else if case.rate(s) > REMOVALS {
            Some(Objection::OverBudget)
        } else if self.shared && (looser || tighter && !(self.wrong && s.timeout() >= current.timeout())) {
            Some(Objection::SlowTogether)
        } else if tighter && case.calm == 0 && !self.wrong {
            Some(Objection::NoChangeYet)
        } else if looser && !self.over {
            Some(Objection::NoRemovals)
        } else {
            None
        }
    }
}

/// Whether readiness `r` gives up sooner than liveness `l`.
pub fn sooner(r: Settings, l: Settings) -> bool {
    2 * r.stall_tolerance() <= l.stall_tolerance() && r.refusal_tolerance() <= l.refusal_tolerance()
}

/// The most patient timeout, and then the most patience, that still gives up sooner than liveness `l` and may be had.
///
/// What of it is known says nothing here: it is for liveness numbers that nobody has lived with yet, and for a probe that
/// sees nothing above its timeout.
fn beside(case: &Case<'_>, l: Settings) -> Option<Settings> {
    most_patient(fitting(case, l).filter(|s| case.permitted(*s)))
}

fn most_patient(candidates: impl Iterator<Item = Settings>) -> Option<Settings> {
    candidates.max_by_key(|s| (s.timeout(), s.stall_tolerance(), s.refusal_tolerance()))
}

/// Within the owner's bounds, and sooner than liveness `l`; whether or not it asks for approvals.
fn fitting(case: &Case<'_>, l: Settings) -> impl Iterator<Item = Settings> {
    let all = grid::readiness(case.probe.handler, &case.permission().bounds);
    all.into_iter().filter(move |s| sooner(*s, l) && case.detects(*s))
}

/// Whether the timeout sees too little of what is above it.
fn blind(s: Settings) -> bool {
    s.timeout() < grid::LEAST_TIMEOUT
}

pub(super) fn choose(case: &Case<'_>, liveness: Option<Settings>) -> Choice {
    let current = case.current();
    let hold = |reason, message: String| Choice::hold(current, reason, message);
    let wrong = liveness.is_some_and(|l| !sooner(current, l));
    if let Some(choice) = with_liveness(case, liveness) {
        return choice;
    }
    if let Some(refusal) = refuse::refusal(case) {
        return refusal;
    }
    if let Some(choice) = leave_blindness(case, liveness) {
        return choice;
    }
    if let Some((reason, message)) = refuse::thin(case) {
        return hold(reason, message);
    }
    let today = case.loss(current);
    let limits = Limits::of(case, liveness);
    let (shared, over) = (limits.shared, limits.over);
    let allowed = |s: &Settings| limits.objection(case, *s).is_none();
    let all = grid::readiness(case.probe.handler, &case.permission().bounds);
    let best = all
        .into_iter()
        .filter(allowed)
        .map(|s| (case.loss(s), s))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(loss, s)| *s != current && (wrong || *loss < BETTER * today));
    match best {
        Some((_, wanted)) => {
            Choice {
                wanted,
                urgency: Urgency::WithNextRollout,
                reason: if tighter(wanted, current) { Reason::Tighten } else { Reason::Loosen },
                message: format!(
                    "{}; {} false removals a pod-year expected instead of {}",
                    difference(current, wanted),
                    rate(case.rate(wanted)),
                    rate(case.rate(current))
                ),
            }
        }
        None if wrong && shared => hold(
            Reason::Sustained,
            "several replicas were slow together: a readiness probe that gives up sooner would move their load to the rest".into(),
        ),
        None if wrong => {
            let need = (2 * current.stall_tolerance(), current.refusal_tolerance());
            hold(
                Reason::InPlace,
                format!(
                    "{current} is as patient as liveness, and no sooner one may be taken yet; liveness would have to tolerate {} s of silence and {} s of refusals",
                    need.0, need.1
                ),
            )
        }
        None if over => hold(
            Reason::OverBudgetAtMax,
            format!("{} false removals a pod-year expected, and nothing looser gives up sooner than liveness", rate(case.rate(current))),
        ),
        None => hold(
            Reason::InPlace,
            format!("{current} is the best allowed setting: {} false removals a pod-year expected", rate(case.rate(current))),
        ),
    }
}

/// Liveness changes with the next rollout: what always holds must hold after it, whatever else is to be said.
pub(super) fn with_liveness(case: &Case<'_>, liveness: Option<Settings>) -> Option<Choice> {
    let l = liveness.filter(|l| !sooner(case.current(), *l) && case.sibling(ProbeKind::Liveness) != Some(*l))?;
    Some(along(case, l, format!("gives up sooner than liveness {l}, which changes too")))
}

/// A timeout below 5 s is left for a longer one, if one gives up sooner than liveness that sees as much.
pub(super) fn leave_blindness(case: &Case<'_>, liveness: Option<Settings>) -> Option<Choice> {
    let current = case.current();
    let l = liveness.filter(|l| blind(current) && !blind(*l) && case.watched() >= BLIND_LOOK)?;
    beside(case, l).filter(|s| s.timeout() > current.timeout())?;
    let all = "what is slow on all replicas takes all of them out";
    Some(along(case, l, format!("a timeout of {} s sees no latency above it, and {all}", current.timeout())))
}

/// The most patient that fits liveness `l`, with the next rollout.
fn along(case: &Case<'_>, l: Settings, why: String) -> Choice {
    let current = case.current();
    match beside(case, l) {
        Some(wanted) => Choice {
            wanted,
            urgency: Urgency::WithNextRollout,
            reason: if tighter(wanted, current) { Reason::Tighten } else { Reason::Loosen },
            message: format!("{}: {why}", difference(current, wanted)),
        },
        None => match most_patient(fitting(case, l)) {
            Some(ideal) => Choice::hold(
                current,
                Reason::NeedsApproval,
                format!("{ideal} gives up sooner than liveness {l}, and is a change that two people must approve"),
            ),
            None => Choice::hold(
                current,
                Reason::InPlace,
                format!("nothing that is tried within the owner's bounds gives up sooner than liveness {l}"),
            ),
        },
    }
}

fn tighter(wanted: Settings, current: Settings) -> bool {
    wanted.stall_tolerance() < current.stall_tolerance()
}
