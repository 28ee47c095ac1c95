//! One workload alive: its replicas' checks, restarts and rollouts, minute by minute.

use super::backoff::Backoff;
use super::chance::{Chance, child};
use super::family::Twist;
use super::setup::{Node, Setup};
use super::slot::{Fault, Slot, Successor, after, nanos};
use super::truth::{Detection, Truth};
use super::voice::Voice;
use super::weather::{Answer, MINUTE, Present, Weather};
use super::worker::{Flight, Worker};
use crate::change::{Change, Outcome};
use crate::observation::{Counters, Observation};
use crate::probe::{ProbeKind, Settings};
use crate::units::{NANOS, Name, Span, Timestamp, Uid};
use crate::workload::{Ended, ProbeId, Workload};

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
    setup: Setup,
    probe: ProbeId,
    weather: Weather,
    slots: Vec<Slot>,
    voice: Voice,
    truth: Truth,
    template: Settings,
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
            template: setup.settings,
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
        let mut slot = Slot {
            uid,
            name: self.pod_name(uid),
            node: i as usize % self.setup.nodes.len(),
            created,
            worker: Worker::new(self.template, start),
            cost: 0.0,
            flight: None,
            serving: created + 20 * NANOS,
            started: created + 2 * NANOS,
            restarts: 0,
            last_end: None,
            backoff: Backoff::default(),
            fault: None,
            next_fault: after(start, faults.exponential(YEAR / self.setup.nature.faults.max(1e-9))),
            next_exit: if exits > 0.0 { after(start, chance.exponential(86_400.0 / exits)) } else { i64::MAX },
            successor: None,
            counters: Counters::default(),
            calm: false,
            chance,
            faults,
        };
        slot.probe_with(self.template, self.setup.nature.handler, start);
        slot
    }

    fn pod_name(&self, uid: Uid) -> Name {
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
            let told = (self.truth.false_restarts.len(), self.truth.detections.len());
            for i in 0..self.slots.len() {
                self.run(i, stop);
            }
            self.now = stop;
            // Replicas lived through this stretch one after the other; the stretch is told in the order of time.
            self.truth.false_restarts[told.0..].sort();
            self.truth.detections[told.1..].sort_by_key(|d| d.at);
            if self.rolling && self.slots.iter().all(|s| s.successor.is_none()) {
                self.rolling = false;
                let declared = self.workload();
                self.voice.workload(declared, stop);
            }
            if self.setup.listen {
                self.voice.flush(stop, facts);
                if stop % SCRAPE == 0 {
                    self.voice.scrape(&self.slots, &self.probe, stop, facts);
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
        if let Some((_, settings)) = numbers.iter().find(|(id, _)| *id == self.probe) {
            self.template = *settings;
        }
    }

    /// Obeys a change, as the API server would take our patch: an own rollout begins.
    pub fn obey(&mut self, change: &Change) -> Outcome {
        let contested = |found: String| Outcome::Contested { found: found.into() };
        if change.generation != self.generation {
            return contested(format!("generation {}", self.generation));
        }
        let Some(step) = change.steps.iter().find(|s| s.probe == self.probe) else {
            return contested(format!("no probe but {}", self.probe));
        };
        if step.from != self.template {
            return contested(self.template.to_string());
        }
        self.template = step.to;
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
    fn roll_out(&mut self) {
        let mut at = self.now;
        for i in 0..self.slots.len() {
            let created = at + NANOS;
            let start = self.chance.length(&self.setup.nature.start);
            at = created + nanos(start) + 5 * NANOS;
            let uid = self.next_uid();
            self.slots[i].successor = Some(Successor { created, at, settings: self.template, announced: false, uid });
        }
        self.rolling = true;
        let declared = self.workload();
        self.voice.workload(declared, self.now);
    }

    fn begin_minute(&mut self) {
        let from = self.now;
        let to = (from.div_euclid(MINUTE) + 1) * MINUTE;
        self.minute = to;
        let up = self.slots.iter().filter(|s| s.serving <= from).count().max(1);
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
            self.truth.days[day].1 += share * slot.cost;
            let present = Present {
                load,
                age: (from - slot.serving) as f64 / 1e9,
                version: self.version,
                shifted,
                leaking: slot.fault.filter(|f| from < f.breaks).map(|f| (from - f.from) as f64 / LEAK as f64),
            };
            self.weather.begin(i, from, to, &present);
            self.slots[i].calm = slot.fault.is_none() && self.weather.is_quiet(i, slot.worker.unnoticed());
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
            if slot.fault.is_none() && from >= slot.serving {
                let breaks = if leaks { from + LEAK } else { from };
                slot.fault = Some(Fault { from, breaks, hang: hang || leaks });
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
                slot.counters = Counters::default();
                slot.flight = None;
                let settings = slot.worker.settings;
                slot.worker = Worker::new(settings, at + nanos(chance.unit() * f64::from(settings.period())));
                slot.worker.resume(slot.serving.max(at));
            }
        }
    }

    /// Lets one slot live until `stop`.
    fn run(&mut self, i: usize, stop: i64) {
        loop {
            let slot = &mut self.slots[i];
            if let Some(next) = &mut slot.successor
                && !next.announced
                && next.created < stop
            {
                next.announced = true;
                let (uid, created) = (next.uid, next.created);
                let node = slot.node;
                let settings = next.settings;
                let name = self.pod_name(uid);
                self.voice.pod_created(uid, name, node, settings, created);
            }
            let slot = &self.slots[i];
            let limit = slot.successor.map_or(stop, |next| next.at.min(stop)).min(slot.next_exit);
            self.checks(i, limit);
            let slot = &self.slots[i];
            if slot.next_exit < stop && slot.next_exit == limit {
                self.exit(i);
            } else if slot.successor.is_some_and(|next| next.at < stop) {
                self.replace(i);
            } else {
                return;
            }
        }
    }

    fn replace(&mut self, i: usize) {
        let Some(next) = self.slots[i].successor.take() else { return };
        let name = self.pod_name(next.uid);
        let handler = self.setup.nature.handler;
        let slot = &mut self.slots[i];
        if slot.fault.take().is_some_and(|f| f.breaks <= next.at) {
            self.truth.undetected += 1;
        }
        let gone = slot.uid;
        slot.uid = next.uid;
        slot.name = name;
        slot.created = next.created;
        slot.started = next.created + 2 * NANOS;
        slot.serving = next.at;
        slot.restarts = 0;
        slot.last_end = None;
        slot.backoff = Backoff::default();
        slot.counters = Counters::default();
        slot.flight = None;
        slot.calm = false;
        slot.probe_with(next.settings, handler, next.at);
        self.voice.pod(slot, next.at, true, true);
        self.voice.pod_gone(gone, next.at);
    }

    /// Makes one slot's checks: all that end by `until`, and none that starts at it or later.
    fn checks(&mut self, i: usize, until: i64) {
        let listen = self.setup.listen;
        loop {
            let slot = &mut self.slots[i];
            if let Some(flight) = slot.flight {
                if flight.end > until {
                    return;
                }
                slot.flight = None;
                self.finish(i, flight);
                continue;
            }
            if slot.worker.next >= until {
                return;
            }
            if slot.calm && !listen {
                // Every check of the stretch succeeds at once: nothing to see.
                slot.worker.skip(until);
                return;
            }
            self.start(i);
        }
    }

    fn start(&mut self, i: usize) {
        let slot = &mut self.slots[i];
        let at = slot.worker.next;
        let answer = match slot.fault {
            Some(fault) if at >= fault.breaks => {
                let after = if fault.hang { i64::MAX } else { NANOS / 1000 };
                Answer { after, healthy: fault.hang, bucket: 0 }
            }
            _ => self.weather.answer(i, at, slot.worker.unnoticed()),
        };
        slot.flight = Some(slot.worker.launch(answer));
    }

    fn finish(&mut self, i: usize, flight: Flight) {
        let slot = &mut self.slots[i];
        if self.setup.listen {
            self.truth.checks += 1;
        }
        let verdict = slot.worker.settle(flight.healthy);
        if flight.healthy {
            if self.setup.listen {
                slot.counters.successful += 1;
                slot.counters.count += 1;
                for bucket in slot.counters.buckets.iter_mut().skip(flight.bucket) {
                    *bucket += 1;
                }
            }
            return;
        }
        slot.counters.failed += 1;
        self.voice.unhealthy(slot, i, flight.timed_out, flight.end);
        if verdict {
            self.kill(i, flight.end);
        }
    }

    /// The probe's verdict: the container is killed and started again.
    fn kill(&mut self, i: usize, at: i64) {
        let moment = Timestamp::from_nanos(at);
        let slot = &mut self.slots[i];
        match slot.fault.take() {
            Some(fault) if fault.from <= at => {
                let after = Span::from_nanos((at - fault.breaks).max(0));
                self.truth.detections.push(Detection { at: moment, hang: fault.hang, after });
            }
            _ if i == 0 && self.setup.nature.twist == Twist::SickReplica => self.truth.ill += 1,
            fault => {
                slot.fault = fault;
                self.truth.false_restarts.push((moment, i));
            }
        }
        self.voice.killing(slot, i, at);
        let wait = slot.backoff.wait(at, false);
        self.start_again(i, at, at + wait, 137, "Error");
    }

    /// The container exits by itself.
    fn exit(&mut self, i: usize) {
        let Twist::Exits(per_day, code) = self.setup.nature.twist else { return };
        let slot = &mut self.slots[i];
        let at = slot.next_exit;
        slot.next_exit = after(at, slot.chance.exponential(86_400.0 / per_day));
        if at < slot.serving {
            return;
        }
        self.truth.exits += 1;
        slot.fault = None;
        // Failures counted so far survive: the worker is the same.
        let wait = slot.backoff.wait(at, true);
        let reason = if code == 137 { "OOMKilled" } else { "Error" };
        self.start_again(i, at, at + wait, code, reason);
    }

    fn start_again(&mut self, i: usize, end: i64, start: i64, code: i32, reason: &str) {
        let length = self.setup.nature.start;
        let slot = &mut self.slots[i];
        let whole = |nanos: i64| Timestamp::from_seconds(nanos.div_euclid(NANOS));
        let ended =
            Ended { code, reason: reason.into(), started: Some(whole(slot.started)), finished: Some(whole(end)) };
        slot.flight = None;
        slot.calm = false;
        self.voice.pod_down(slot, end);
        slot.started = start + NANOS / 2;
        slot.serving = slot.started + nanos(slot.chance.length(&length));
        slot.restarts += 1;
        slot.last_end = Some(ended);
        slot.worker.resume(slot.serving);
        self.voice.pod(slot, slot.started, false, false);
        self.voice.pod(slot, slot.serving, true, true);
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

    /// The numbers that it declares.
    pub fn settings(&self) -> Settings {
        self.template
    }

    /// Its one probe.
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
        self.slots.iter().position(|s| s.uid == pod)
    }
}
