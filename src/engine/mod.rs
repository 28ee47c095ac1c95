//! One turn of the loop: facts in, a plan out.
//!
//! **Takes** [`Observation`]s in the order in which they became known, and the time at each turn. **Gives** a [`Turn`]:
//! the changes to make now, in order, and which workloads' [`View`] has news. **Never** waits, reads a clock, draws
//! lots, or forgets that a change is under way: what must be written down before it is sent is in the view of the turn
//! that plans it.
//!
//! ```text
//! loop { engine.observe(fact)…; let turn = engine.turn(now); write turn.news; act on turn.plan; observe the outcomes }
//! ```
//!
//! The daemon, `recommend`, the replay, the simulator and the demo all drive this one face. Same facts, same turns:
//! same bytes.

mod ahead;
mod flight;
mod neighbours;
mod places;
mod view;

pub use ahead::Foreseen;
pub use view::{Differing, Forecast, Phase, View};

use crate::change::{Change, Past};
use crate::decide::{self, Explanation, Judgement, Prices, Urgency};
use crate::evidence::{Evidence, Record};
use crate::memory::{InFlight, Memory};
use crate::model;
use crate::observation::{Fact, Observation};
use crate::plan::{self, Gate, Limits, Plan, Standing, Wish};
use crate::policy::Mode;
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::verify::{self, Terms};
use crate::workload::{Address, ProbeId, Workload};
use ahead::Ahead;
use neighbours::Neighbours;
use places::Place;
use std::collections::BTreeMap;

/// Everything about the engine that is configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What things cost.
    pub prices: Prices,
    /// How much may change at once.
    pub limits: Limits,
    /// How long changes are watched.
    pub terms: Terms,
    /// How old a judgement may grow while nothing urgent is seen (15 min). Restarts, failures and changes of the
    /// workload are urgent and are judged in the next turn.
    pub judge_every: Span,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            prices: Prices::default(),
            limits: Limits::default(),
            terms: Terms::default(),
            judge_every: Span::MINUTE * 15,
        }
    }
}

/// What is expected of a workload that nobody knows is learnt anew from all others this often.
const LEARN_EVERY: Span = Span::HOUR;
/// Most workloads, and most pods, that one engine holds; what is beyond is counted in [`Engine::dropped`].
pub const MOST_WORKLOADS: usize = 50_000;
/// Most pods that one engine holds.
pub const MOST_PODS: usize = 500_000;

/// What one turn brings.
#[derive(Clone, Debug, Default)]
#[must_use = "a plan that is dropped leaves its changes written down as intended"]
pub struct Turn {
    /// The changes to make now, in order. Each is already remembered as intended: write the views of `news` first.
    pub changes: Vec<Change>,
    /// Workloads whose view may have changed since the last turn.
    pub news: Vec<Uid>,
    /// Changes that have ended since the last turn, to be announced.
    pub ended: Vec<Ended>,
    /// Forecasts that were made since the last turn, each once, to be told; none of a probe whose forecasts fail.
    pub foretold: Vec<Foreseen>,
    /// How forecasts turned out since the last turn, over all workloads.
    pub judged: Record,
}

/// A change that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whose.
    pub workload: Uid,
    /// Where.
    pub address: Address,
    /// `Change::id`; of a change that was taken back, that of the way back.
    pub change: u64,
    /// What it was and how it ended.
    pub past: Past,
    /// What a person should know besides: why it was taken back or refused, how to undo it.
    pub note: Option<String>,
}

/// The state of the loop.
#[derive(Debug)]
pub struct Engine {
    rules: Rules,
    standing: Standing,
    workloads: BTreeMap<Uid, Entry>,
    pods: BTreeMap<Uid, Place>,
    nodes: BTreeMap<Name, BTreeMap<Uid, u32>>,
    neighbours: Neighbours,
    /// What an earlier life remembered of workloads that have not been seen yet.
    remembered: BTreeMap<Uid, Remembered>,
    dropped: u64,
    /// When the prior was last learnt, and of how many workloads.
    learnt: Option<(Timestamp, usize)>,
}

#[derive(Debug, Default)]
struct Remembered {
    memory: Option<Memory>,
    evidence: Option<Evidence>,
    illegible: bool,
}

#[derive(Debug)]
struct Entry {
    workload: Workload,
    evidence: Evidence,
    memory: Memory,
    judgements: Vec<Judgement>,
    judged: Option<Timestamp>,
    ahead: Ahead,
    urgent: bool,
    news: bool,
    /// Why the way back is owed.
    revert: Option<String>,
    /// From when on it may be planned; `None` while an attempt is under way.
    back_at: Option<Timestamp>,
    gate: Gate,
    note: Option<String>,
    ended: Vec<Ended>,
    /// What its evidence had no room for, as far as [`Engine::dropped`] counts it.
    dropped: u64,
    gone: bool,
    /// Its record cannot be read: it is left alone, and the record too.
    illegible: bool,
}

impl Engine {
    /// An engine that knows nothing. `started` is when the watching began: the warm-up counts from it.
    pub fn new(rules: Rules, started: Timestamp) -> Self {
        Engine {
            rules,
            standing: Standing { started, fence: false, remembers: true },
            workloads: BTreeMap::new(),
            pods: BTreeMap::new(),
            nodes: BTreeMap::new(),
            neighbours: Neighbours::default(),
            remembered: BTreeMap::new(),
            dropped: 0,
            learnt: None,
        }
    }

    /// Learns one fact. Facts about pods and workloads that are not known are dropped and counted.
    pub fn observe(&mut self, observation: Observation) {
        let Observation { at, fact } = observation;
        match fact {
            Fact::Workload(w) => self.workload(at, *w),
            // Deleted, or told off before: a last view of a deleted one would bring back an object that went with it.
            Fact::WorkloadGone(uid) => {
                if let Some(e) = self.workloads.get_mut(&uid) {
                    e.gone = true;
                }
            }
            Fact::Pod(pod) => self.pod(at, &pod),
            Fact::PodGone(uid) => self.pod_gone(at, uid),
            Fact::Sample(s) => match self.entry_of(s.pod) {
                Some(e) => {
                    e.urgent |= e.evidence.sample(at, &s);
                    self.compare_notes(at, s.pod);
                }
                None => self.dropped += 1,
            },
            Fact::ScrapeMissed(node) => self.on_node(&node, |e, node| e.evidence.scrape_missed(at, node)),
            Fact::NodeUsage { node, usage, allocatable_cores } => {
                self.on_node(&node, |e, node| e.evidence.node_usage(at, node, &usage, allocatable_cores));
            }
            Fact::PodUsage { pod, usage } => match self.entry_of(pod) {
                Some(e) => e.evidence.pod_usage(at, pod, &usage),
                None => self.dropped += 1,
            },
            Fact::Throttling(told) => match self.entry_of(told.pod) {
                Some(e) => e.evidence.throttling(at, &told),
                None => self.dropped += 1,
            },
            Fact::ShadowCheck { pod, probe, latency, healthy } => match self.entry_of(pod) {
                Some(e) => e.evidence.shadow_check(at, pod, &probe, latency, healthy),
                None => self.dropped += 1,
            },
            Fact::Unhealthy { pod, container, kind, class, count } => match self.entry_of(pod) {
                Some(e) => {
                    e.evidence.unhealthy(at, pod, &container, kind, class, count);
                    e.urgent = true;
                }
                None => self.dropped += 1,
            },
            Fact::Killing { pod, container, kind } => match self.entry_of(pod) {
                Some(e) => {
                    e.evidence.killing(at, pod, &container, kind);
                    e.urgent = true;
                    self.compare_notes(at, pod);
                }
                None => self.dropped += 1,
            },
            Fact::Outcome { workload, change, outcome } => match self.workloads.get_mut(&workload) {
                Some(e) => e.outcome(at, change, &outcome),
                None => self.dropped += 1,
            },
            Fact::Fence { holds } => self.standing.fence = holds,
            Fact::Records { read } => self.standing.remembers = read,
            Fact::Remembered { workload, memory } => match self.workloads.get_mut(&workload) {
                Some(e) => {
                    e.memory = *memory;
                    e.news = true;
                    e.urgent = true;
                }
                None => self.recall(workload).memory = Some(*memory),
            },
            Fact::Illegible { workload } => match self.workloads.get_mut(&workload) {
                Some(e) => e.set_aside(),
                None => self.recall(workload).illegible = true,
            },
            Fact::RememberedEvidence { workload, bytes } => match Evidence::decode(&bytes) {
                Ok(evidence) => match self.workloads.get_mut(&workload) {
                    Some(e) => {
                        e.evidence.resume(at, evidence, &e.workload);
                        e.ahead.known(&e.evidence);
                        e.urgent = true;
                    }
                    None => self.recall(workload).evidence = Some(evidence),
                },
                Err(_) => self.dropped += 1,
            },
        }
    }

    /// Takes one turn at `now`.
    ///
    /// A second turn without news plans nothing.
    pub fn turn(&mut self, now: Timestamp) -> Turn {
        // At the start, too, as each workload comes to be known.
        let known = self.workloads.len();
        if self.learnt.is_none_or(|(t, n)| now.since(t) >= LEARN_EVERY || n != known) {
            self.learnt = Some((now, known));
            let all = self.workloads.values().flat_map(|e| e.evidence.probes());
            let liveness = all.filter(|s| s.id().kind == ProbeKind::Liveness);
            self.rules.prices.slow_rate = model::learn(liveness, now);
        }
        for e in self.workloads.values_mut() {
            let beyond = e.evidence.dropped().beyond_bounds();
            self.dropped += beyond.saturating_sub(std::mem::replace(&mut e.dropped, beyond));
            e.progress(&self.rules, now);
            e.judge(&self.rules, now);
        }
        let wishes = self.workloads.values().filter(|e| !e.gone).map(|e| e.wish(now));
        let Plan { changes, mut gates } = plan::make(wishes, &self.rules.limits, self.standing, now);
        for (uid, e) in self.workloads.iter_mut().filter(|(_, e)| !e.gone) {
            let gate = gates.remove(uid).unwrap_or_default();
            if e.gate != gate {
                e.gate = gate;
                e.news = true;
            }
        }
        for change in &changes {
            if let Some(e) = self.workloads.get_mut(&change.workload) {
                e.intend(change.clone(), now);
            }
        }
        // Nothing is written over a record that was not read yet, nor over one that cannot be read.
        let remembers = self.standing.remembers;
        let told = self.workloads.iter_mut().filter(|(_, e)| remembers && !e.illegible);
        let news = told.filter_map(|(uid, e)| std::mem::take(&mut e.news).then_some(*uid)).collect();
        let ended = self.workloads.values_mut().flat_map(|e| std::mem::take(&mut e.ended)).collect();
        let (foretold, judged) = self.foreseen();
        Turn { changes, news, ended, foretold, judged }
    }

    /// Lets go of the workloads that are gone, and names them; call it after the news of a turn were taken. What is
    /// remembered of them stays: whoever is opted in again is no stranger.
    pub fn forget_gone(&mut self) -> Vec<Uid> {
        if !self.standing.remembers {
            return Vec::new();
        }
        let gone: Vec<Uid> = self.workloads.iter().filter(|(_, e)| e.gone).map(|(uid, _)| *uid).collect();
        for uid in &gone {
            if let Some(e) = self.workloads.remove(uid).filter(|e| e.memory != Memory::default()) {
                self.recall(*uid).memory = Some(e.memory);
            }
        }
        if !gone.is_empty() {
            self.pods.retain(|_, p| !gone.contains(&p.workload));
            for (node, workloads) in &mut self.nodes {
                workloads.retain(|uid, _| {
                    let stays = !gone.contains(uid);
                    if !stays {
                        self.neighbours.left(node, *uid);
                    }
                    stays
                });
                if workloads.is_empty() {
                    self.neighbours.forget(node);
                }
            }
            self.nodes.retain(|_, workloads| !workloads.is_empty());
        }
        gone
    }

    /// What is shown of a workload.
    pub fn view(&self, workload: Uid) -> Option<View> {
        self.workloads.get(&workload).map(View::of)
    }

    /// What is shown of every workload, ordered by uid.
    pub fn views(&self) -> impl Iterator<Item = View> + '_ {
        self.workloads.values().map(View::of)
    }

    /// Where every workload stands, for metrics.
    pub fn stands(&self) -> impl Iterator<Item = (Phase, crate::reason::Reason)> + '_ {
        self.workloads.values().map(View::stand)
    }

    /// The numbers that wait for the owner's next rollout of this workload, judged anew at `now`: empty when it should
    /// keep what it has, or may not ride.
    pub fn riding(&self, workload: Uid, now: Timestamp) -> Vec<(ProbeId, Settings)> {
        let Some(e) = self.workloads.get(&workload) else { return Vec::new() };
        let judgements = decide::judge(&e.evidence, &e.workload, &e.memory, &self.rules.prices, now);
        plan::riding(&e.workload, &e.memory, &judgements, now)
    }

    /// Everything that the judgements of a workload are made of at `now`, as data; empty for one that is not watched.
    pub fn explain(&self, workload: Uid, now: Timestamp) -> Vec<Explanation> {
        let Some(e) = self.workloads.get(&workload) else { return Vec::new() };
        decide::explain(&e.evidence, &e.workload, &e.memory, &self.rules.prices, now)
    }

    /// The evidence of a workload, to be written down or explained.
    pub fn evidence(&self, workload: Uid) -> Option<&Evidence> {
        self.workloads.get(&workload).map(|e| &e.evidence)
    }

    /// The workloads that are watched, ordered by uid.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values().map(|e| &e.workload)
    }

    /// Facts about nobody known, unreadable evidence, and what was beyond a bound; beyond one of evidence's own, as of the
    /// last turn.
    pub fn dropped(&self) -> u64 {
        self.dropped.saturating_add(self.neighbours.dropped())
    }

    /// What is expected of a probe of which nothing is known: answers above 1 s, half-hours a pod-year, learnt over all
    /// workloads.
    pub fn prior(&self) -> f64 {
        self.rules.prices.slow_rate
    }

    /// Whether the API server's fence was seen to refuse.
    pub fn fence(&self) -> bool {
        self.standing.fence
    }

    fn recall(&mut self, workload: Uid) -> &mut Remembered {
        if self.remembered.len() >= MOST_WORKLOADS && !self.remembered.contains_key(&workload) {
            self.dropped += 1;
            self.remembered.pop_first();
        }
        self.remembered.entry(workload).or_default()
    }

    fn workload(&mut self, at: Timestamp, w: Workload) {
        if let Some(e) = self.workloads.get_mut(&w.uid) {
            e.declared(at, w, &self.rules);
            return;
        }
        // What is off is not watched; but a word that could not be read is shown, and a change that was under way when
        // it was switched off is closed.
        let under_way =
            self.remembered.get(&w.uid).and_then(|r| r.memory.as_ref()).is_some_and(|m| m.in_flight.is_some());
        if off(&w) && !under_way {
            return;
        }
        if self.workloads.len() >= MOST_WORKLOADS {
            self.dropped += 1;
            return;
        }
        let Remembered { memory, evidence, illegible } = self.remembered.remove(&w.uid).unwrap_or_default();
        let mut e = Entry {
            evidence: evidence.unwrap_or_else(Evidence::new),
            memory: memory.unwrap_or_default(),
            judgements: Vec::new(),
            judged: None,
            ahead: Ahead::default(),
            urgent: true,
            news: true,
            revert: None,
            back_at: None,
            gate: Gate::Nothing,
            note: None,
            ended: Vec::new(),
            dropped: 0,
            gone: false,
            illegible: false,
            workload: w.clone(),
        };
        let uid = w.uid;
        if illegible {
            e.set_aside();
        }
        e.ahead.known(&e.evidence);
        e.declared(at, w, &self.rules);
        self.workloads.insert(uid, e);
    }
}

/// Whether the owner wants it neither watched nor shown.
fn off(w: &Workload) -> bool {
    w.permission.mode == Mode::Off && w.permission.unreadable.is_empty()
}

impl Entry {
    fn wish(&self, now: Timestamp) -> Wish<'_> {
        let revert = self.revert.as_deref().filter(|_| self.back_at.is_some_and(|t| t <= now));
        Wish { workload: &self.workload, memory: &self.memory, judgements: &self.judgements, revert }
    }

    /// Takes the present numbers for somebody else's: left alone until a person changes them.
    fn set_aside(&mut self) {
        self.illegible = true;
        self.memory = Memory { contested: self.workload.settings(), ..Memory::default() };
        self.news = true;
    }

    /// The workload as it is declared now.
    fn declared(&mut self, at: Timestamp, w: Workload, rules: &Rules) {
        self.evidence.workload(at, &w);
        let moved = w.generation != self.workload.generation
            || w.permission != self.workload.permission
            || w.unpatchable != self.workload.unpatchable;
        self.gone = off(&w);
        self.workload = w;
        self.urgent |= moved;
        self.news |= moved;
        if !self.illegible
            && !self.memory.contested.is_empty()
            && self.memory.contested.iter().any(|(id, s)| self.workload.probe(id).is_none_or(|p| p.settings != *s))
        {
            // Edited again: what stood against us no longer stands.
            self.memory.contested.clear();
        }
        if verify::stopped(&self.workload.permission, at) {
            // A person's stop is obeyed at once, not at the next turn: the workload may be out of our sight by then.
            self.progress(rules, at);
        }
    }

    fn judge(&mut self, rules: &Rules, now: Timestamp) {
        let due = self.judged.is_none_or(|t| now.since(t) >= rules.judge_every);
        if !(due || self.urgent) || self.gone {
            return;
        }
        self.urgent = false;
        self.judged = Some(now);
        let judgements = decide::judge(&self.evidence, &self.workload, &self.memory, &rules.prices, now);
        self.news |= judgements != self.judgements;
        self.judgements = judgements;
        self.look_ahead(now);
        self.compare();
    }

    /// Writes down a planned change as intended.
    fn intend(&mut self, change: Change, now: Timestamp) {
        let applied = self.memory.in_flight.as_ref().and_then(|f| f.applied);
        self.memory.in_flight = Some(InFlight {
            change,
            stage: crate::change::Stage::Intended,
            since: now,
            applied,
            generation: None,
            version: self.workload.version,
        });
        self.back_at = None;
        self.note = None;
        self.news = true;
    }

    /// The strongest wish among the probes.
    fn foremost(&self) -> Option<&Judgement> {
        let rank = |j: &Judgement| (j.urgency, j.wanted != j.current, j.reason != crate::reason::Reason::InPlace);
        self.judgements.iter().rev().max_by(|a, b| rank(a).cmp(&rank(b)))
    }

    fn wishes(&self) -> bool {
        self.judgements.iter().any(|j| j.urgency > Urgency::Hold && j.wanted != j.current)
    }
}
