//! What each setting would cost, and what stands against it.

use super::only_the_unknown;
use crate::decide::case::Case;
use crate::decide::{Judgement, Objection, grid, liveness, readiness};
use crate::probe::{ProbeKind, Settings};
use crate::units::Span;

/// One setting and its figures, in pod-seconds and false verdicts a pod-year.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// The numbers.
    pub settings: Settings,
    /// What it costs without any false restart.
    pub carrying: f64,
    /// False restarts (of a readiness probe: removals) a pod-year: posterior mean; `None` while nothing is known.
    pub false_restarts: Option<f64>,
    /// Their upper bound (95 %).
    pub upper: Option<f64>,
    /// What they cost.
    pub restarts_cost: f64,
    /// What has not been seen yet costs.
    pub unseen: f64,
    /// The sum: expected loss.
    pub loss: f64,
    /// What stands against it; `None`: it may be taken.
    pub objection: Option<Objection>,
}

/// Settings that everybody knows, shown whether or not they may be taken.
const KNOWN: [(u32, u32, u32); 3] = [(10, 1, 3), (10, 10, 2), (10, 12, 2)];

/// Every candidate, the known settings, today's, the owner's and the wanted one: sorted, without doubles.
pub(super) fn all(case: &Case<'_>, beside: Option<Settings>, judgement: &Judgement) -> Vec<Alternative> {
    let bounds = &case.permission().bounds;
    let current = case.current();
    let candidates = match case.probe.id.kind {
        ProbeKind::Readiness => grid::readiness(case.probe.handler, bounds),
        _ => grid::liveness(case.probe.handler, bounds, current),
    };
    let mut shown = candidates.clone();
    shown.extend([current, judgement.wanted, case.owners]);
    shown.extend(KNOWN.iter().filter_map(|(p, t, k)| Settings::new(*p, *t, *k)));
    shown.sort_unstable();
    shown.dedup();
    let objection = objections(case, beside, &candidates, judgement.wanted);
    shown.into_iter().map(|s| alternative(case, s, objection(s))).collect()
}

fn alternative(case: &Case<'_>, s: Settings, objection: Option<Objection>) -> Alternative {
    let rate = case.belief.as_ref().filter(|_| case.watched() > Span::ZERO).map(|b| b.rate(s));
    let price = match case.probe.id.kind {
        ProbeKind::Readiness => case.prices.false_removal,
        _ => case.prices.false_restart,
    };
    let (carrying, loss) = (case.carrying(s), case.loss(s));
    let restarts_cost = price * case.rate(s);
    Alternative {
        settings: s,
        carrying,
        false_restarts: rate.map(|r| r.mean),
        upper: rate.map(|r| r.upper()),
        restarts_cost,
        unseen: (loss - carrying - restarts_cost).max(0.0),
        loss,
        objection,
    }
}

fn objections<'a>(
    case: &'a Case<'_>,
    beside: Option<Settings>,
    candidates: &'a [Settings],
    wanted: Settings,
) -> Box<dyn Fn(Settings) -> Option<Objection> + 'a> {
    let (current, bounds) = (case.current(), &case.permission().bounds);
    let outside = move |s: Settings| (s != current && !bounds.contain(s)).then_some(Objection::OutsideBounds);
    if case.probe.id.kind == ProbeKind::Readiness {
        let limits = readiness::Limits::of(case, beside);
        if readiness::with_liveness(case, beside).or_else(|| readiness::leave_blindness(case, beside)).is_some() {
            let rest = move |s| (s != wanted && s != current).then_some(Objection::OnlyTheUnknown);
            return Box::new(move |s| outside(s).or_else(|| rest(s)));
        }
        return Box::new(move |s| outside(s).or_else(|| limits.objection(case, s)));
    }
    let caution = liveness::cautions(case, candidates);
    let owners = move |s: Settings| {
        if s != current && (s.timeout() < grid::LEAST_TIMEOUT || s.threshold() < 2) {
            Some(Objection::NeverSet)
        } else if !case.detects(s) {
            Some(Objection::DetectsTooLate)
        } else if !case.permitted(s) {
            Some(Objection::NeedsApproval)
        } else {
            None
        }
    };
    if only_the_unknown(case) {
        let rest = move |s| (s != wanted && s != current).then_some(Objection::OnlyTheUnknown);
        return Box::new(move |s| outside(s).or_else(|| owners(s)).or_else(|| rest(s)));
    }
    let budget = case.budget();
    let allowed = move |s: Settings| owners(s).or_else(|| caution.objection(current, s));
    // Where nothing keeps the budget, what is better than today is still better.
    let some = candidates.iter().any(|s| allowed(*s).is_none() && case.rate(*s) <= budget);
    let most = if some { budget } else { case.rate(current) };
    let over = move |s: Settings| (s != current && case.rate(s) > most).then_some(Objection::OverBudget);
    Box::new(move |s| outside(s).or_else(|| allowed(s)).or_else(|| over(s)))
}
