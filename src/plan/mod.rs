//! Turns wishes into ordered changes that may be made now, and says of every other wish what holds it back.
//!
//! **Takes** the judgements of all workloads with what is remembered of each, limits, and whether the fence holds.
//! **Gives** at most a few [`Change`]s in order, and for each workload a [`Gate`]. **Never** looks at evidence, waits,
//! or plans a change whose permission it has not seen in this very turn.
//!
//! Budgets are derived from the changes that are remembered, never stored: after a restart of the daemon the same sums
//! come out.

mod gate;

use crate::change::{Change, Intent, Stage, Step, Verdict};
use crate::decide::{Judgement, Urgency, gives_up_sooner};
use crate::memory::Memory;
use crate::policy::Mode;
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::verify;
use crate::workload::{ProbeId, Workload, WorkloadKind};
use std::collections::{BTreeMap, BTreeSet};

/// How much may change at once. Ordinary configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// No change for this long after the daemon's own start (10 min): a tool that acts on its own restart acts on
    /// half of what it knows, everywhere at once.
    pub warm_up: Span,
    /// Rollouts of ours under way in the whole cluster (3); one a namespace besides.
    pub in_flight: usize,
    /// Rollouts begun in any hour in the whole cluster (6).
    pub per_hour: usize,
    /// Rollouts begun in any day in the whole cluster (24).
    pub per_day: usize,
    /// Rollouts of one workload in seven days (3); ways back are not counted, they are owed.
    pub per_week: usize,
    /// Rest of a workload after a change of ours has ended (30 min); doubled for each revert in a row, up to
    /// [`LONGEST_REST`].
    pub cooldown: Span,
    /// The same for a storm (1 min).
    pub storm_cooldown: Span,
}

/// The longest rest after reverts: a month.
pub const LONGEST_REST: Span = Span::from_seconds(30 * 86_400);

/// How the message of a way back begins.
pub const BACK: &str = "back to the former numbers: ";

/// Reverts in a row after which only a person goes on.
pub const DEGRADED_AFTER: u32 = 3;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            warm_up: Span::MINUTE * 10,
            in_flight: 3,
            per_hour: 6,
            per_day: 24,
            per_week: 3,
            cooldown: Span::MINUTE * 30,
            storm_cooldown: Span::MINUTE,
        }
    }
}

/// One workload as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// As declared now.
    pub workload: &'a Workload,
    /// What is remembered.
    pub memory: &'a Memory,
    /// The judgement of each of its probes.
    pub judgements: &'a [Judgement],
    /// Why verification asks for the way back, if it does.
    pub revert: Option<&'a str>,
}

/// Whether a wish passes, or what holds it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Gate {
    /// Nothing is wished.
    #[default]
    Nothing,
    /// Planned in this turn.
    Open,
    /// Held, with the code and the words.
    Held(Reason, String),
}

/// What may be done now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[must_use]
pub struct Plan {
    /// In this order: ways back first, then storms, then by what they save.
    pub changes: Vec<Change>,
    /// What became of each wish; of whom nothing is wished there is none.
    pub gates: BTreeMap<Uid, Gate>,
}

/// What the plan must know besides the wishes.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// When the daemon began to watch.
    pub started: Timestamp,
    /// Whether the API server's fence was seen to refuse.
    pub fence: bool,
    /// Whether all that an earlier life wrote down was read.
    pub remembers: bool,
}

/// Makes the plan of this moment.
pub fn make<'a>(
    wishes: impl Iterator<Item = Wish<'a>> + Clone,
    limits: &Limits,
    standing: Standing,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let mut taken = Taken::count(wishes.clone(), now);
    let mut open: Vec<(Rank, Change)> = Vec::new();
    for wish in wishes {
        let Some((rank, change)) = change(&wish) else { continue };
        let gate = match gate::hold(&wish, &change, rank.urgency, limits, standing, now) {
            Some((reason, words)) => Gate::Held(reason, words),
            None => {
                open.push((rank, change));
                Gate::Open
            }
        };
        plan.gates.insert(wish.workload.uid, gate);
    }
    open.sort_by(|a, b| a.0.order(&b.0).then_with(|| a.1.address.cmp(&b.1.address)));
    for (rank, change) in open {
        match taken.admit(&change, rank.revert, limits) {
            Ok(()) => plan.changes.push(change),
            Err((reason, words)) => {
                plan.gates.insert(change.workload, Gate::Held(reason, words));
            }
        }
    }
    plan
}

/// What goes first.
#[derive(Clone, Copy, Debug)]
struct Rank {
    revert: bool,
    urgency: Urgency,
    saves: f64,
}

impl Rank {
    fn order(&self, other: &Rank) -> std::cmp::Ordering {
        other.revert.cmp(&self.revert).then(other.urgency.cmp(&self.urgency)).then(other.saves.total_cmp(&self.saves))
    }
}

/// The change that a workload's wishes amount to: all its probes in one patch, since each patch is a rollout. What
/// would wait for the next rollout rides along.
fn change(wish: &Wish<'_>) -> Option<(Rank, Change)> {
    let w = wish.workload;
    if let (Some(why), Some(flight)) = (wish.revert, &wish.memory.in_flight) {
        // A way back that did not arrive is the same way again.
        let back = |s: &Step| match flight.change.intent {
            Intent::Tune => Step { probe: s.probe.clone(), from: s.to, to: s.from },
            Intent::Revert => s.clone(),
        };
        let steps = flight.change.steps.iter().map(back).collect();
        let rank = Rank { revert: true, urgency: Urgency::Storm, saves: 0.0 };
        return Some((rank, new_change(w, Intent::Revert, steps, Reason::Reverted, format!("{BACK}{why}"))));
    }
    let wanted = |j: &&Judgement| j.wanted != j.current && j.urgency > Urgency::Hold;
    let first = wish.judgements.iter().filter(wanted).max_by(|a, b| a.urgency.cmp(&b.urgency))?;
    // What asks for approvals is not sent with what does not: it would hold the other back. What must go together does,
    // or waits together: for the same approval, where it is the most urgent that would wait.
    let free = |j: &Judgement| j.urgency == first.urgency || !gate::far(j.current, j.wanted);
    let bound = |j: &Judgement| wish.judgements.iter().filter(wanted).find(|other| together(j, other));
    let steps: Vec<Step> = wish
        .judgements
        .iter()
        .filter(wanted)
        .filter(|j| match bound(j) {
            Some(other) => free(j) && free(other) || [*j, other].iter().any(|j| j.probe == first.probe),
            None => free(j),
        })
        .map(|j| Step { probe: j.probe.clone(), from: j.current, to: j.wanted })
        .collect();
    let saves = wish.judgements.iter().filter_map(|j| Some(j.now?.loss - j.then?.loss)).sum::<f64>()
        * f64::from(w.replicas.max(1));
    let rank = Rank { revert: false, urgency: first.urgency, saves };
    Some((rank, new_change(w, Intent::Tune, steps, first.reason, first.message.clone())))
}

/// Whether two wishes are those of liveness and readiness of one container, and either alone would end that readiness
/// gives up sooner. Where it does not today, nothing is broken by either, and a storm does not wait for the other.
fn together(a: &Judgement, b: &Judgement) -> bool {
    let (l, r) = match (a.probe.kind, b.probe.kind) {
        (ProbeKind::Liveness, ProbeKind::Readiness) => (a, b),
        (ProbeKind::Readiness, ProbeKind::Liveness) => (b, a),
        _ => return false,
    };
    l.probe.container == r.probe.container
        && gives_up_sooner(r.current, l.current)
        && !(gives_up_sooner(r.current, l.wanted) && gives_up_sooner(r.wanted, l.current))
}

fn new_change(w: &Workload, intent: Intent, steps: Vec<Step>, reason: Reason, message: String) -> Change {
    let id = identify(w.uid, w.generation, &steps);
    Change { id, workload: w.uid, address: w.address.clone(), generation: w.generation, intent, steps, reason, message }
}

/// The name of a change: FNV-1a over uid, generation and values, so that a restarted daemon finds the same name for the
/// same wish.
fn identify(uid: Uid, generation: i64, steps: &[Step]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    eat(&uid.bits().to_be_bytes());
    eat(&generation.to_be_bytes());
    for s in steps {
        eat(format!("{} {} {};", s.probe, s.from, s.to).as_bytes());
    }
    hash
}

/// Whether a change that ended so was a rollout.
fn rolled_out(verdict: Verdict) -> bool {
    verdict != Verdict::Refused
}

/// What is under way and was begun lately.
struct Taken {
    namespaces: BTreeSet<Name>,
    in_flight: usize,
    last_hour: usize,
    last_day: usize,
}

impl Taken {
    fn count<'a>(wishes: impl Iterator<Item = Wish<'a>>, now: Timestamp) -> Self {
        let mut taken = Taken { namespaces: BTreeSet::new(), in_flight: 0, last_hour: 0, last_day: 0 };
        let (hour, day) = (now - Span::HOUR, now - Span::DAY);
        for Wish { workload, memory, .. } in wishes {
            let under_way = memory.in_flight.iter().map(|f| f.applied.unwrap_or(now));
            let begun = memory.past.iter().filter(|c| rolled_out(c.verdict)).map(|c| c.at).chain(under_way);
            for at in begun {
                taken.last_hour += usize::from(at > hour);
                taken.last_day += usize::from(at > day);
            }
            if let Some(f) = &memory.in_flight {
                // A change that is only being watched rolls nothing out any more.
                if f.stage < Stage::Watching {
                    taken.in_flight += 1;
                    taken.namespaces.insert(workload.address.namespace.clone());
                }
            }
        }
        taken
    }

    fn admit(&mut self, change: &Change, revert: bool, limits: &Limits) -> Result<(), (Reason, String)> {
        // A way back is owed: it waits for no budget.
        if !revert {
            if self.namespaces.contains(&change.address.namespace) {
                return Err((
                    Reason::InFlight,
                    format!("another rollout of ours runs in namespace {}", change.address.namespace),
                ));
            }
            if self.in_flight >= limits.in_flight {
                return Err((
                    Reason::RolloutBudget,
                    format!("{} rollouts of ours run in the cluster, {} at most", self.in_flight, limits.in_flight),
                ));
            }
            if self.last_hour >= limits.per_hour {
                return Err((
                    Reason::RolloutBudget,
                    format!("{} rollouts of ours in the last hour, {} at most", self.last_hour, limits.per_hour),
                ));
            }
            if self.last_day >= limits.per_day {
                return Err((
                    Reason::RolloutBudget,
                    format!("{} rollouts of ours in the last day, {} at most", self.last_day, limits.per_day),
                ));
            }
        }
        self.namespaces.insert(change.address.namespace.clone());
        self.in_flight += 1;
        self.last_hour += 1;
        self.last_day += 1;
        Ok(())
    }
}

/// The numbers that wait for the owner's next rollout: what a replay and the simulator let ride, and the daemon
/// recommends. Empty where the owner allows no riding.
pub fn riding(
    workload: &Workload,
    memory: &Memory,
    judgements: &[Judgement],
    now: Timestamp,
) -> Vec<(ProbeId, Settings)> {
    let p = &workload.permission;
    let held = verify::stopped_below(p, Mode::Piggyback, now)
        || p.paused
        || !p.unreadable.is_empty()
        || !memory.contested.is_empty();
    if held || workload.address.kind != WorkloadKind::Deployment {
        return Vec::new();
    }
    judgements
        .iter()
        .filter(|j| j.urgency > Urgency::Hold && j.wanted != j.current)
        .map(|j| (j.probe.clone(), j.wanted))
        .collect()
}
