//! One workload alive, from outside: time, rollouts and what befalls it, minute by minute.

use super::chance::{Chance, child};
use super::family::Twist;
use super::numbers::Numbers;
use super::pod::Pod;
use super::setup::{Node, Setup};
use super::slot::{Fault, Place, Slot, Successor, after, nanos};
use super::truth::Truth;
use super::voice::Voice;
use super::weather::{MINUTE, Present, Weather};
use crate::change::{Change, Outcome};
use crate::observation::Observation;
use crate::probe::{ProbeKind, Settings};
use crate::units::{NANOS, Name, Timestamp, Uid};
use crate::workload::{ProbeId, Workload};

/// A scrape of every kubelet, in nanoseconds.
const SCRAPE: i64 = 15 * NANOS;
const DAY: i64 = 86_400 * NANOS;
const YEAR: f64 = 365.0 * 86_400.0;
/// Users' rollouts repeat after this many days.
const FOUR_WEEKS: f64 = 28.0;
/// A leak grows for twelve hours before it hangs.
const LEAK: i64 = 12 * 3600 * NANOS;

/// Why [`World::advance`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// The asked moment has come.
    Reached,
    /// The user rolls out a new version now: numbers may ride on it ([`World::ride`]) before advancing again.
    Rollout,
}

/// A simulated workload: seeded, virtual, obedient.
///
/// Shape of a run: [`World::advance`] to each moment at which something is to be decided; hand the facts on; give it the
/// changes that come back ([`World::obey`]); when it pauses for the user's rollout, say what rides ([`World::ride`]).
pub struct World {
    pub(super) setup: Setup,
    probe: ProbeId,
    pub(super) weather: Weather,
    pub(super) slots: Vec<Slot>,
    pub(super) voice: Voice,
    pub(super) truth: Truth,
    template: Numbers,
    generation: i64,
    version: u64,
    now: i64,
    minute: i64,
    /// User rollouts so far, and when the next comes.
    next_rollout: i64,
    rollouts: usize,
    due: bool,
    rolling: bool,
    chance: Chance,
    kubelets: Vec<(Chance, i64)>,
    pods: u64,
}

/// The name of the one container that a simulated pod has.
const CONTAINER: &str = "app";

impl World {
    /// The workload of this setup, up and serving at its start.
    ///
    /// A setup without replica or node gets one.
    pub fn new(mut setup: Setup) -> World {
        setup.replicas = setup.replicas.max(1);
        if setup.nodes.is_empty() {
            setup.nodes.push(Node { name: "node-0".into(), seed: child(setup.seed, "node", 0) });
        }
        let start = setup.start.nanos();
        let of = |i: u32| setup.nodes[i as usize % setup.nodes.len()].seed;
        let nodes: Vec<u64> = (0..setup.replicas).map(of).collect();
        let weather =
            Weather::new(setup.seed, setup.nature.clone(), setup.recording.clone(), &nodes, setup.loud_a_day, start);
        let probe = ProbeId { container: CONTAINER.into(), kind: ProbeKind::Liveness };
        let kubelet = |node: &Node| {
            let mut chance = Chance::new(node.seed, "kubelet", 0);
            let next = after(start, chance.exponential(86_400.0 / setup.losses.kubelet_restarts.max(1e-9)));
            (chance, next)
        };
        let mut world = World {
            kubelets: setup.nodes.iter().map(kubelet).collect(),
            probe,
            weather,
            slots: Vec::new(),
            voice: Voice::new(&setup),
            truth: Truth { start: setup.start, ..Truth::default() },
            template: setup.numbers(),
            generation: 1,
            version: 0,
            now: start,
            minute: start,
            next_rollout: start,
            rollouts: 0,
            due: false,
            rolling: false,
            chance: Chance::new(setup.seed, "rollouts", 0),
            pods: 0,
            setup,
        };
        for i in 0..world.setup.replicas {
            let slot = world.first_pod(i, start);
            world.slots.push(slot);
        }
        world.next_rollout = world.user_rollout(0);
        world
    }

    fn next_uid(&mut self) -> Uid {
        self.pods += 1;
        Uid::from_bits(self.setup.uid.bits() + u128::from(self.pods))
    }

    fn first_pod(&mut self, i: u32, start: i64) -> Slot {
        let number = u64::from(i);
        let mut chance = Chance::new(self.setup.seed, "slot", number);
        let mut faults = Chance::new(self.setup.seed, "faults", number);
        let age = 600.0 + 86_400.0 * chance.unit();
        let created = start - nanos(age);
        let uid = self.next_uid();
        let exits = if let Twist::Exits(per_day, _) = self.setup.nature.twist { per_day } else { 0.0 };
        let name = self.pod_name(uid);
        let next_fault = after(start, faults.exponential(YEAR / self.setup.nature.faults.max(1e-9)));
        let next_exit = if exits > 0.0 { after(start, chance.exponential(86_400.0 / exits)) } else { i64::MAX };
        let pod = Pod::new((uid, name), (created, start), self.template, self.setup.nature.handler, &mut chance);
        Slot {
            node: i as usize % self.setup.nodes.len(),
            pod,
            next: None,
            fault: None,
            next_fault,
            next_exit,
            calm: false,
            chance,
            faults,
        }
    }

    pub(super) fn pod_name(&self, uid: Uid) -> Name {
        let tail = super::chance::mix(uid.bits() as u64 ^ (uid.bits() >> 64) as u64);
        format!("{}-{:05x}", self.setup.address.name, tail & 0xf_ffff).into()
    }

    /// When the user's rollout of this number begins.
    fn user_rollout(&self, number: usize) -> i64 {
        let start = self.setup.start.nanos();
        if self.setup.nature.twist == Twist::Shift {
            return if number == 0 { self.middle() } else { i64::MAX };
        }
        let days = &self.setup.nature.rollouts;
        if days.is_empty() {
            return i64::MAX;
        }
        let day = FOUR_WEEKS * (number / days.len()) as f64 + days[number % days.len()];
        after(start, day * 86_400.0)
    }

    fn middle(&self) -> i64 {
        after(self.setup.start.nanos(), self.setup.days * 43_200.0)
    }

    /// Goes on to `until`, or to the user's next rollout if that comes first, and appends what became known on the way
    /// to `facts`, in the order of time. Nothing is appended where nobody listens.
    pub fn advance(&mut self, until: Timestamp, facts: &mut Vec<Observation>) -> Pause {
        let until = until.nanos();
        if self.due {
            self.due = false;
            self.begin_user_rollout();
        }
        if self.setup.listen && !self.voice.introduced() {
            let declared = self.workload();
            self.voice.introduce(&declared, &self.slots, self.now, facts);
        }
        while self.now < until {
            if self.now >= self.minute {
                self.begin_minute();
            }
            let mut stop = until.min(self.minute).min(self.next_rollout);
            if self.setup.listen {
                stop = stop.min((self.now.div_euclid(SCRAPE) + 1) * SCRAPE);
            }
            let told = self.truth.told();
            for i in 0..self.slots.len() {
                self.run(i, stop);
            }
            self.now = stop;
            self.truth.order_since(told);
            if self.rolling && self.slots.iter().all(|s| s.next.is_none()) {
                self.rolling = false;
                let declared = self.workload();
                self.voice.workload(declared, stop);
            }
            if self.setup.listen {
                self.voice.flush(stop, facts);
                if stop % SCRAPE == 0 {
                    self.voice.scrape(&self.slots, stop, facts);
                }
                if stop % MINUTE == 0 {
                    self.voice.usage(&self.slots, self.weather.cores(stop), stop, facts);
                }
            }
            if stop == self.next_rollout {
                self.rollouts += 1;
                self.next_rollout = self.user_rollout(self.rollouts);
                self.due = true;
                return Pause::Rollout;
            }
        }
        Pause::Reached
    }

    /// Numbers that ride on the user's rollout for which [`World::advance`] has just paused. The pods that it makes
    /// run them, and the workload declares them from then on.
    pub fn ride(&mut self, numbers: &[(ProbeId, Settings)]) {
        for (id, settings) in numbers.iter().filter(|(id, _)| id.container == self.probe.container) {
            self.template = self.template.with(id.kind, *settings);
        }
    }

    /// Obeys a change, as the API server would take our patch: an own rollout begins.
    pub fn obey(&mut self, change: &Change) -> Outcome {
        let contested = |found: String| Outcome::Contested { found: found.into() };
        if change.generation != self.generation {
            return contested(format!("generation {}", self.generation));
        }
        let mut to = self.template;
        for step in &change.steps {
            let declared = self.template.of(step.probe.kind).filter(|_| step.probe.container == self.probe.container);
            match declared {
                None => return contested(format!("no probe {}", step.probe)),
                Some(found) if found != step.from => return contested(found.to_string()),
                Some(_) => to = to.with(step.probe.kind, step.to),
            }
        }
        if change.steps.is_empty() {
            return contested("nothing to change".into());
        }
        self.template = to;
        self.generation += 1;
        self.truth.own_rollouts.push(Timestamp::from_nanos(self.now));
        self.roll_out();
        Outcome::Applied { generation: self.generation }
    }

    fn begin_user_rollout(&mut self) {
        self.version += 1;
        self.generation += 1;
        self.truth.user_rollouts.push(Timestamp::from_nanos(self.now));
        self.roll_out();
    }

    /// Replaces the pods one after the other, each when its successor is ready.
    ///
    /// Where nothing but liveness is declared a successor is ready five seconds after it serves, and so is known now when
    /// each takes over; where a startup or readiness probe watches, each lives a life of its own until it is ready.
    fn roll_out(&mut self) {
        let watched = !self.template.liveness_only();
        let mut created = self.now + NANOS;
        for i in 0..self.slots.len() {
            let mut at = i64::MAX;
            if !watched {
                let start = self.chance.length(&self.setup.nature.start);
                at = created + nanos(start) + 5 * NANOS;
            } else if let Some(given_up) = self.slots[i].next.take().filter(|n| n.announced) {
                self.voice.pod_gone(given_up.uid, self.now);
            }
            let uid = self.next_uid();
            let (numbers, announced) = (self.template, false);
            self.slots[i].next = Some(Successor { created, at, numbers, announced, uid, pod: None });
            created = if watched { i64::MAX } else { at + NANOS };
        }
        self.rolling = true;
        let declared = self.workload();
        self.voice.workload(declared, self.now);
    }

    /// The next pod of a rollout may be made: that of slot `i` follows one that took over at `at`.
    pub(super) fn go_on(&mut self, i: usize, at: i64) {
        if let Some(next) = self.slots.get_mut(i).and_then(|s| s.next.as_mut()) {
            next.created = next.created.min(at + NANOS);
        }
    }

    /// How long the container that a pod of slot `i` begins now takes until it serves, in seconds: the same for every
    /// policy in the same version and at the same number of its restarts.
    pub(super) fn start_length(&mut self, i: usize, restarts: u32, at: i64) -> f64 {
        let day = (at - self.setup.start.nanos()) as f64 / DAY as f64;
        let slot = child(self.setup.seed, "starts", i as u64);
        let mut chance = Chance::new(slot, "start", self.version << 32 | u64::from(restarts));
        let length = chance.length(&self.setup.nature.start) * (1.0 + self.setup.nature.growth * day);
        self.truth.starts.push((Timestamp::from_nanos(at), length));
        length
    }

    fn begin_minute(&mut self) {
        let from = self.now;
        let to = (from.div_euclid(MINUTE) + 1) * MINUTE;
        self.minute = to;
        let up = self.slots.iter().filter(|s| s.pod.in_service(from)).count().max(1);
        let load = (self.weather.load(from) * self.slots.len() as f64 / up as f64).min(1.0);
        if self.setup.losses.kubelet_restarts > 0.0 {
            self.restart_kubelets(to);
        }
        let shifted = self.setup.nature.twist == Twist::Shift && !self.truth.user_rollouts.is_empty();
        let day = usize::try_from((from - self.setup.start.nanos()) / DAY).unwrap_or(0);
        if self.truth.days.len() <= day {
            self.truth.days.resize(day + 1, (0.0, 0.0));
        }
        let share = (to - from) as f64 / DAY as f64;
        for i in 0..self.slots.len() {
            self.befall(i, to);
            let slot = &self.slots[i];
            self.truth.days[day].0 += share;
            self.truth.days[day].1 += share * slot.pod.cost;
            let present = Present {
                load,
                age: (from - slot.pod.serving) as f64 / 1e9,
                version: self.version,
                shifted,
                leaking: slot.fault.filter(|f| from < f.breaks).map(|f| (from - f.from) as f64 / LEAK as f64),
            };
            self.weather.begin(i, from, to, &present);
            self.slots[i].calm = slot.is_steady() && self.weather.is_quiet(i, slot.pod.unnoticed());
        }
    }

    /// True faults and exits of the minute that ends at `to`.
    fn befall(&mut self, i: usize, to: i64) {
        let leaks = self.setup.nature.twist == Twist::Leak;
        let mean = YEAR / self.setup.nature.faults.max(1e-9);
        let slot = &mut self.slots[i];
        while slot.next_fault < to {
            let from = slot.next_fault;
            let hang = slot.faults.unit() < 2.0 / 3.0;
            slot.next_fault = after(from, slot.faults.exponential(mean));
            if slot.fault.is_none() && from >= slot.pod.serving {
                let breaks = if leaks { from + LEAK } else { from };
                slot.fault = Some(Fault { from, breaks, hang: hang || leaks, out: false });
            }
        }
    }

    fn restart_kubelets(&mut self, to: i64) {
        let mean = 86_400.0 / self.setup.losses.kubelet_restarts;
        for (node, (chance, next)) in self.kubelets.iter_mut().enumerate() {
            if *next >= to {
                continue;
            }
            let at = (*next).max(self.now);
            *next = after(*next, chance.exponential(mean));
            self.voice.missed(node, at);
            for slot in self.slots.iter_mut().filter(|s| s.node == node) {
                slot.pod.probed_anew(at, chance);
                if let Some(pod) = slot.pod_at(Place::Next) {
                    pod.probed_anew(at, chance);
                }
            }
        }
    }

    /// The workload as it is declared now.
    pub fn workload(&self) -> Workload {
        self.voice.declare(self.generation, self.version, self.template, self.rolling)
    }

    /// What really happened so far.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// What it was made of.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The numbers of its liveness probe that it declares.
    pub fn settings(&self) -> Settings {
        self.template.liveness
    }

    /// The numbers of all its probes that it declares.
    pub fn numbers(&self) -> Numbers {
        self.template
    }

    /// Its liveness probe.
    pub fn probe(&self) -> &ProbeId {
        &self.probe
    }

    /// Whether a rollout is under way.
    pub fn is_rolling(&self) -> bool {
        self.rolling
    }

    /// Its load now, in [0, 1], as the day has it.
    pub fn load(&self) -> f64 {
        self.weather.load(self.now)
    }

    /// CPU that one of its replicas uses now, in cores.
    pub fn cores(&self) -> f64 {
        self.weather.cores(self.now)
    }

    /// Where it stands in time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    /// How many of its replicas run on a node.
    pub(super) fn replicas_on(&self, node: &str) -> usize {
        self.slots.iter().filter(|s| &*self.setup.nodes[s.node].name == node).count()
    }

    /// The replica that a pod is, if it lives.
    pub fn replica(&self, pod: Uid) -> Option<usize> {
        self.slots.iter().position(|s| s.pod.uid == pod)
    }
}
