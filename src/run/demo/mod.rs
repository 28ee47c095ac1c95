//! A day of a small cluster, played twice on the same weather: with the numbers as their owners wrote them, and with
//! the engine. The story is told as it happens, and summed up.

mod cast;

use super::drive::{self, Scene};
use crate::change::{Intent, Outcome};
use crate::engine::{Engine, Rules, View};
use crate::observation::{Fact, FailureClass, Observation};
use crate::policy::Mode;
use crate::probe::Settings;
use crate::reason::Reason;
use crate::sim::{Fleet, MONDAY, Truth, World};
use crate::units::{Span, Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// What kind of line of the story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A healthy container was killed.
    Killed,
    /// Numbers were changed.
    Changed,
    /// A change has come through, or was judged.
    Settled,
    /// Numbers rode on the owner's rollout.
    Rode,
    /// Left alone, and why.
    Left,
    /// The sum of an hour.
    Hour,
}

/// One line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Since midnight.
    pub at: Span,
    /// What kind of line.
    pub kind: Kind,
    /// `namespace/name`; empty for the sum of an hour.
    pub who: String,
    /// What happened.
    pub text: String,
}

/// What the cluster is, before anything happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Workloads.
    pub workloads: usize,
    /// Pods.
    pub pods: usize,
    /// Nodes.
    pub nodes: u32,
}

/// One of the two days.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Day {
    /// False restarts by hour, of workloads that may be changed.
    pub free: Vec<usize>,
    /// The same, of workloads that may not.
    pub bound: Vec<usize>,
    /// Workloads with a false restart.
    pub stricken: usize,
    /// Detection times of hangs, in seconds, rising.
    pub hangs: Vec<f64>,
    /// Of crashes.
    pub crashes: Vec<f64>,
    /// Own rollouts, and the pods that they replaced.
    pub own_rollouts: (usize, usize),
    /// Rollouts of the owners.
    pub owners_rollouts: usize,
    /// Expected loss of the workloads that may be changed, in pod-seconds a pod-year.
    pub loss: f64,
}

/// A workload that was left alone to the end of the day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// `namespace/name`.
    pub who: String,
    /// Why, as a code.
    pub code: &'static str,
    /// Why, in words.
    pub words: String,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The day with the numbers untouched.
    pub before: Day,
    /// The day with the engine.
    pub after: Day,
    /// Numbers that rode on owners' rollouts.
    pub rode: usize,
    /// Who was left alone.
    pub left: Vec<Left>,
    /// Facts that the engine was told, and checks that were made.
    pub facts: u64,
    /// Checks made by all probers.
    pub checks: u64,
}

/// The day begins on a Monday at midnight and ends 24 hours later.
const END: Timestamp = Timestamp::from_seconds(MONDAY.floor_seconds() + 86_400);

/// How large the cluster is.
pub fn scale() -> Scale {
    let worlds = cast::worlds(0, MONDAY, false);
    let pods = worlds.iter().map(|(w, _)| w.setup().replicas as usize).sum();
    Scale { workloads: worlds.len(), pods, nodes: cast::NODES }
}

/// Plays both days and tells the second line by line. Same seed, same lines.
pub fn play(seed: u64, tell: &mut dyn FnMut(&Line)) -> Summary {
    let before = untouched(seed);
    let (worlds, free): (Vec<World>, Vec<bool>) = cast::worlds(seed, MONDAY, true).into_iter().unzip();
    let mut fleet = Fleet::new(worlds);
    let mut narrator = Narrator::new(&fleet, &before, tell);
    let engine =
        drive::play(&mut fleet, Rules::default(), (MONDAY, END), Span::SECOND * 15, |at, engine, fleet, scene| {
            narrator.watch(at, engine, fleet, &scene);
        });
    let Narrator { rode, facts, reasons, changed, .. } = narrator;
    Summary {
        after: day(fleet.worlds(), &free),
        before,
        rode,
        left: left(&engine, &fleet, &reasons, &changed),
        facts,
        checks: fleet.worlds().iter().map(|w| w.truth().checks).sum(),
    }
}

fn untouched(seed: u64) -> Day {
    let (worlds, free): (Vec<World>, Vec<bool>) = cast::worlds(seed, MONDAY, false).into_iter().unzip();
    let mut fleet = Fleet::new(worlds);
    while fleet.advance(END, &mut Vec::new()).is_some() {}
    day(fleet.worlds(), &free)
}

fn day(worlds: &[World], free: &[bool]) -> Day {
    let mut day = Day { free: vec![0; 24], bound: vec![0; 24], ..Day::default() };
    let (mut lived, mut lost) = (0.0, 0.0);
    for (world, &free) in worlds.iter().zip(free) {
        let truth: &Truth = world.truth();
        let replicas = world.setup().replicas;
        let by_hour = if free { &mut day.free } else { &mut day.bound };
        for (at, _) in &truth.false_restarts {
            let hour = usize::try_from(at.since(MONDAY).floor_seconds() / 3600).unwrap_or(0).min(23);
            by_hour[hour] += 1;
        }
        day.stricken += usize::from(!truth.false_restarts.is_empty());
        for d in &truth.detections {
            let times = if d.hang { &mut day.hangs } else { &mut day.crashes };
            times.push(d.after.as_secs_f64());
        }
        day.own_rollouts.0 += truth.own_rollouts.len();
        day.own_rollouts.1 += truth.own_rollouts.len() * replicas as usize;
        day.owners_rollouts += truth.user_rollouts.len();
        if free {
            let years = truth.pod_years(0, 1);
            lived += years;
            lost += years * truth.loss(0, 1, replicas);
        }
    }
    day.hangs.sort_by(f64::total_cmp);
    day.crashes.sort_by(f64::total_cmp);
    day.loss = if lived > 0.0 { lost / lived } else { 0.0 };
    day
}

/// Reasons for which numbers are not touched at all.
fn leaves_alone(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::SickReplica
            | Reason::Oom
            | Reason::Crash
            | Reason::Synchronous
            | Reason::Sustained
            | Reason::ColdStart
            | Reason::Starved
            | Reason::Skipped
            | Reason::Unreadable
            | Reason::RecommendOnly
            | Reason::Frozen
            | Reason::Paused
            | Reason::Unpatchable
            | Reason::NeedsApproval
            | Reason::OverBudgetAtMax
            | Reason::BoundConflict
            | Reason::Flapping
            | Reason::Contested
            | Reason::Refused
    )
}

/// What is said of a change that was held until now, so that it does not seem to contradict what was said then.
fn no_longer(held: Reason) -> String {
    match held {
        Reason::SickReplica => ", since now it is more than one pod".to_owned(),
        held => format!(", since it is no longer {}", held.code()),
    }
}

/// Why it is left alone, without what would be done otherwise; that is said in numbers.
fn why_left(view: &View) -> String {
    let wished = view.judgements.iter().find(|j| j.wanted != j.current);
    let Some(judgement) = wished else { return view.message.clone() };
    let held = view.message.strip_prefix(&judgement.message).map(|rest| rest.trim_start_matches("; "));
    match held.filter(|held| !held.is_empty()) {
        Some(held) => format!("{held} (it would be {})", judgement.wanted),
        None => view.message.clone(),
    }
}

/// Who was left alone all day: by what holds it at the end, or else by what held it last.
fn left(engine: &Engine, fleet: &Fleet, told: &BTreeMap<Uid, (Reason, String)>, changed: &BTreeSet<Uid>) -> Vec<Left> {
    let mut all = Vec::new();
    for world in fleet.worlds() {
        let uid = world.setup().uid;
        let Some(view) = engine.view(uid).filter(|_| !changed.contains(&uid)) else { continue };
        let wished = view.judgements.iter().any(|j| j.wanted != j.current);
        let (reason, words) = if world.setup().permission.mode < Mode::Auto && wished {
            (Reason::RecommendOnly, why_left(&view))
        } else if leaves_alone(view.reason) && !view.message.contains("rollout is under way") {
            (view.reason, why_left(&view))
        } else if let Some((reason, words)) = told.get(&uid) {
            (*reason, words.clone())
        } else {
            continue;
        };
        all.push(Left { who: name(world), code: reason.code(), words });
    }
    all
}

fn name(world: &World) -> String {
    let address = &world.setup().address;
    format!("{}/{}", address.namespace, address.name)
}

/// Who tells the story.
struct Narrator<'a> {
    tell: &'a mut dyn FnMut(&Line),
    before: &'a Day,
    index: BTreeMap<Uid, usize>,
    /// What each workload's last failed check met.
    last: BTreeMap<Uid, FailureClass>,
    pods: BTreeMap<Uid, Uid>,
    /// False restarts told so far, by workload.
    known: Vec<usize>,
    rolling: BTreeSet<Uid>,
    left: BTreeSet<(Uid, Reason)>,
    /// Why each was left alone last, and who was changed or rode.
    reasons: BTreeMap<Uid, (Reason, String)>,
    changed: BTreeSet<Uid>,
    hour: i64,
    rode: usize,
    facts: u64,
}

impl<'a> Narrator<'a> {
    fn new(fleet: &Fleet, before: &'a Day, tell: &'a mut dyn FnMut(&Line)) -> Narrator<'a> {
        let index = fleet.worlds().iter().zip(0..).map(|(w, i)| (w.setup().uid, i)).collect();
        Narrator {
            tell,
            before,
            index,
            last: BTreeMap::new(),
            pods: BTreeMap::new(),
            known: vec![0; fleet.worlds().len()],
            rolling: BTreeSet::new(),
            left: BTreeSet::new(),
            reasons: BTreeMap::new(),
            changed: BTreeSet::new(),
            hour: 0,
            rode: 0,
            facts: 0,
        }
    }

    fn say(&mut self, at: Timestamp, kind: Kind, who: String, text: String) {
        (self.tell)(&Line { at: at.since(MONDAY), kind, who, text });
    }

    fn world<'f>(&self, fleet: &'f Fleet, uid: Uid) -> Option<&'f World> {
        self.index.get(&uid).and_then(|i| fleet.worlds().get(*i))
    }

    fn watch(&mut self, at: Timestamp, engine: &Engine, fleet: &Fleet, scene: &Scene<'_>) {
        match scene {
            Scene::Fact(observation) => self.fact(observation, fleet),
            Scene::Rides(uid, numbers) => {
                let Some(world) = self.world(fleet, *uid) else { return };
                if let Some((_, to)) = numbers.first() {
                    self.rode += 1;
                    self.changed.insert(*uid);
                    let from = world.settings();
                    let text = format!("rides on its owner's rollout: {from} becomes {to}");
                    self.say(at, Kind::Rode, name(world), text);
                }
            }
            Scene::Changed(change, outcome) => {
                let Some(world) = self.world(fleet, change.workload) else { return };
                let Some(step) = change.steps.first() else { return };
                let (from, to) = (step.from, step.to);
                let text = match outcome {
                    Outcome::Applied { .. } if change.intent == Intent::Revert => {
                        format!("{}: {from} becomes {to}; {}", Reason::Reverted.code(), change.message)
                    }
                    Outcome::Applied { .. } => {
                        let since =
                            self.reasons.get(&change.workload).map_or(String::new(), |(held, _)| no_longer(*held));
                        format!("{}{since}: {from} becomes {to}; {}", change.reason.code(), change.message)
                    }
                    other => format!("{to} instead of {from} was not taken: {other:?}"),
                };
                self.rolling.insert(change.workload);
                self.changed.insert(change.workload);
                self.say(at, Kind::Changed, name(world), text);
            }
            Scene::Turn(turn) => {
                self.restarts(at, fleet);
                for uid in &turn.news {
                    self.news(at, *uid, engine, fleet);
                }
                self.hours(at, fleet);
            }
        }
    }

    fn fact(&mut self, observation: &Observation, fleet: &Fleet) {
        self.facts += 1;
        match &observation.fact {
            Fact::Pod(pod) => {
                self.pods.insert(pod.uid, pod.workload);
            }
            Fact::PodGone(pod) => {
                self.pods.remove(pod);
            }
            Fact::Unhealthy { pod, class, .. } => {
                if let Some(workload) = self.pods.get(pod) {
                    self.last.insert(*workload, *class);
                }
            }
            Fact::Workload(w) if w.at_rest() && self.rolling.remove(&w.uid) => {
                let Some(world) = self.world(fleet, w.uid) else { return };
                let (who, pods) = (name(world), w.replicas);
                let numbers = world.settings();
                let text = format!("all {pods} pods run {numbers}; watched from now on");
                self.say(observation.at, Kind::Settled, who, text);
            }
            _ => {}
        }
    }

    /// The first restarts of healthy containers, by workload. The engine does not know that they were healthy; we do.
    fn restarts(&mut self, at: Timestamp, fleet: &Fleet) {
        for (i, world) in fleet.worlds().iter().enumerate() {
            let found = world.truth().false_restarts.len();
            if found > self.known[i] && self.known[i] == 0 {
                let settings: Settings = world.settings();
                let met = match self.last.get(&world.setup().uid) {
                    Some(FailureClass::Fast) => "refused".to_owned(),
                    _ => format!("no answer within {} s", settings.timeout()),
                };
                let text = format!("healthy, but killed: {met}, {} times in a row ({settings})", settings.threshold());
                self.say(at, Kind::Killed, name(world), text);
            }
            self.known[i] = found;
        }
    }

    fn news(&mut self, at: Timestamp, uid: Uid, engine: &Engine, fleet: &Fleet) {
        let (Some(view), Some(world)) = (engine.view(uid), self.world(fleet, uid)) else { return };
        let passing = view.message.contains("rollout is under way");
        if leaves_alone(view.reason) && !passing && self.left.insert((uid, view.reason)) {
            let words = why_left(&view);
            self.reasons.insert(uid, (view.reason, words.clone()));
            self.say(at, Kind::Left, name(world), format!("{}: {words}", view.reason.code()));
        }
    }

    fn hours(&mut self, at: Timestamp, fleet: &Fleet) {
        let hour = at.since(MONDAY).floor_seconds() / 3600;
        if hour <= self.hour {
            return;
        }
        self.hour = hour;
        let (from, to) = (MONDAY + Span::HOUR * (hour - 1), MONDAY + Span::HOUR * hour);
        let within = |t: Timestamp| t > from && t <= to;
        let mut found = 0;
        let mut faults = Vec::new();
        for world in fleet.worlds() {
            let truth = world.truth();
            found +=
                truth.false_restarts.iter().rev().take_while(|(t, _)| *t > from).filter(|(t, _)| within(*t)).count();
            faults.extend(truth.detections.iter().rev().take_while(|d| d.at > from).map(|d| d.after.as_secs_f64()));
        }
        let index = usize::try_from(hour - 1).unwrap_or(0);
        let untouched = self.before.free[index] + self.before.bound[index];
        let slowest = faults.iter().copied().fold(0.0, f64::max);
        let hung = match faults.len() {
            0 => String::new(),
            1 => format!("; a true fault found after {slowest:.0} s"),
            n => format!("; {n} true faults found, slowest after {slowest:.0} s"),
        };
        let text = format!("false restarts this hour: {found} (untouched: {untouched}){hung}");
        self.say(at, Kind::Hour, String::new(), text);
    }
}
