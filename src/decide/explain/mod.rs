//! Everything that one decision was made of, as data: for people to read, and for pictures.
//!
//! **Takes** what [`super::judge`] takes. **Gives** one [`Explanation`] a probe: its judgement, what was seen, what is
//! believed, what each alternative would cost and what stands against it, and the gates in the order in which they were
//! asked. **Never** decides: every figure comes from the case, the gates and the cautions of the judgement itself, so
//! that an explanation cannot tell another story than the decision.
//!
//! Costs about a millisecond a probe, and is asked for by people only.

mod account;
mod alternatives;
mod aside;
mod gates;

pub use account::{Account, Curve, Interval, Point, Restart, StartAccount, TailAccount};
pub use alternatives::Alternative;
pub use aside::{Ahead, LoadAccount, ShadowAccount, Spread, ThrottleAccount};
pub use gates::{Gate, Mark};

use super::case::Case;
use super::{Choice, Judgement, Prices, beside, choose, covered, liveness};
use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{Span, Timestamp};
use crate::workload::{Address, Workload};

/// What one judgement was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Whose.
    pub address: Address,
    /// When.
    pub at: Timestamp,
    /// What was decided.
    pub judgement: Judgement,
    /// How the probe asks.
    pub handler: Handler,
    /// The numbers before we first changed any.
    pub owners: Settings,
    /// False restarts a pod-year that the owner accepts (of a readiness probe: removals).
    pub budget: f64,
    /// The owner's bound from a hang to the verdict.
    pub detect_within: Option<Span>,
    /// What was seen; `None` until anything was heard of the probe.
    pub account: Option<Account>,
    /// The tails that were fitted, by latency edge, refusals last; empty while nothing is known, and for startup.
    pub tails: Vec<TailAccount>,
    /// False verdicts by tolerance, as today's numbers and as the wanted ones see them (one curve where both see alike).
    pub curves: Vec<Curve>,
    /// The extents from which the first curve was fitted, and the restarts that cut some off.
    pub intervals: Vec<Interval>,
    /// Start times, of a startup probe.
    pub starts: Option<StartAccount>,
    /// What is foretold; `None` of a startup probe, and before the first hour is over.
    pub ahead: Option<Ahead>,
    /// The load that was seen.
    pub load: LoadAccount,
    /// What shadow checks saw; `None` where there were none.
    pub shadow: Option<ShadowAccount>,
    /// Every candidate and a few known settings, each with its figures; sorted.
    pub alternatives: Vec<Alternative>,
    /// The gates in the order in which they are asked.
    pub gates: Vec<Gate>,
}

impl Explanation {
    /// The alternative with these numbers.
    pub fn alternative(&self, s: Settings) -> Option<&Alternative> {
        self.alternatives.iter().find(|a| a.settings == s)
    }
}

/// Explains the judgement of each probe that the owner lets us judge, in the order of [`Workload::probes`].
///
/// [`Explanation::judgement`] is what [`super::judge`] gives for the same arguments.
pub fn explain(
    evidence: &Evidence,
    workload: &Workload,
    memory: &Memory,
    prices: &Prices,
    now: Timestamp,
) -> Vec<Explanation> {
    let mut judgements: Vec<Judgement> = Vec::new();
    let mut explanations = Vec::new();
    for probe in covered(workload) {
        let case = Case::new(evidence, workload, memory, prices, now, probe);
        let liveness = beside(&case, &judgements);
        let choice = choose(&case, liveness);
        explanations.push(one(&case, liveness, choice.clone()));
        judgements.push(case.judgement(choice));
    }
    explanations
}

fn one(case: &Case<'_>, beside: Option<Settings>, choice: Choice) -> Explanation {
    let startup = case.probe.id.kind == ProbeKind::Startup;
    let judgement = case.judgement(choice);
    let wanted = judgement.wanted;
    let alternatives = if startup { Vec::new() } else { alternatives::all(case, beside, &judgement) };
    let gates = match case.probe.id.kind {
        ProbeKind::Liveness => gates::liveness(case, &alternatives, wanted),
        ProbeKind::Readiness => gates::readiness(case, beside, &alternatives),
        ProbeKind::Startup => gates::startup(case, wanted),
    };
    Explanation {
        address: case.workload.address.clone(),
        at: case.now,
        handler: case.probe.handler,
        owners: case.owners,
        budget: case.budget(),
        detect_within: case.permission().detect_within,
        account: account::account(case),
        tails: account::tails(case),
        curves: account::curves(case, wanted),
        intervals: account::intervals(case),
        starts: account::starts(case, wanted),
        ahead: aside::ahead(case),
        load: aside::load(case),
        shadow: aside::shadow(case),
        alternatives,
        gates,
        judgement,
    }
}

/// Whether only the setting for the unknown is in question: in a storm, and while the timeout sees nothing above itself.
fn only_the_unknown(case: &Case<'_>) -> bool {
    let blind = case.current().timeout() < super::grid::LEAST_TIMEOUT;
    case.probe.id.kind == ProbeKind::Liveness && (blind || liveness::storm(case).is_some())
}
