//! What happens in one slot between two moments: checks, verdicts, kills, starts, and pods that take over.

use super::family::Twist;
use super::pod::{Asker, Pod};
use super::slot::{Fault, Place, after, nanos};
use super::truth::{Detection, Removal};
use super::weather::{Answer, Weather};
use super::worker::Flight;
use super::world::World;
use crate::probe::ProbeKind;
use crate::units::{NANOS, Span, Timestamp, Uid};
use crate::workload::Ended;

/// From the moment that a pod is ready to the moment that it takes over.
const TAKES_OVER: i64 = 5 * NANOS;
/// A refusal takes so long.
const REFUSAL: i64 = NANOS / 1000;

impl World {
    /// Lets one slot live until `stop`.
    pub(super) fn run(&mut self, i: usize, stop: i64) {
        loop {
            if self.slots[i].next.as_ref().is_some_and(|next| !next.announced && next.created < stop) {
                self.create(i);
            }
            self.checks(i, stop);
            let slot = &self.slots[i];
            if slot.next_exit < stop && slot.next_exit == slot.limit(stop) {
                self.exit(i);
            } else if slot.next.as_ref().is_some_and(|next| next.at < stop) {
                self.replace(i);
            } else {
                return;
            }
        }
    }

    /// The pod that is to take a slot over is made.
    fn create(&mut self, i: usize) {
        let handler = self.setup.nature.handler;
        let Some(next) = &mut self.slots[i].next else { return };
        next.announced = true;
        let (uid, created, numbers) = (next.uid, next.created, next.numbers);
        let name = self.pod_name(uid);
        self.voice.pod_created((uid, name.clone()), self.slots[i].node, numbers, created);
        if numbers.liveness_only() {
            return;
        }
        let length = self.start_length(i, 0, created);
        let slot = &mut self.slots[i];
        let mut pod = Pod::new((uid, name), (created, created), numbers, handler, &mut slot.chance);
        pod.serving = pod.running + nanos(length);
        pod.missing = Some(created);
        pod.begin();
        self.voice.pod(&pod, slot.node, pod.running, pod.started, false);
        slot.calm = false;
        if let Some(next) = &mut slot.next {
            next.pod = Some(Box::new(pod));
        }
    }

    fn replace(&mut self, i: usize) {
        let Some(next) = self.slots[i].next.take() else { return };
        let name = self.pod_name(next.uid);
        let handler = self.setup.nature.handler;
        self.returned(i, next.at);
        let slot = &mut self.slots[i];
        if slot.fault.take().is_some_and(|f| f.breaks <= next.at) {
            self.truth.undetected += 1;
        }
        let gone = slot.pod.uid;
        slot.calm = false;
        let watched = next.pod.is_some();
        slot.pod = match next.pod {
            Some(pod) => *pod,
            None => {
                let made = (next.created, next.at);
                let mut pod = Pod::new((next.uid, name), made, next.numbers, handler, &mut slot.chance);
                pod.serving = next.at;
                pod
            }
        };
        self.voice.taken_over(i);
        if !watched {
            self.voice.pod(&slot.pod, slot.node, next.at, true, true);
        }
        self.voice.pod_gone(gone, next.at);
        self.go_on(i + 1, next.at);
    }

    /// Makes one slot's checks: all that end by its limit, and none that starts at it or later.
    fn checks(&mut self, i: usize, stop: i64) {
        let (slot, listen) = (&self.slots[i], self.setup.listen);
        if !slot.pod.beside.is_empty() || slot.next.as_ref().is_some_and(|n| n.pod.is_some()) {
            return self.checks_of_all(i, stop);
        }
        let until = slot.limit(stop);
        loop {
            let slot = &mut self.slots[i];
            let (fault, asker) = (slot.fault, &mut slot.pod.liveness);
            match asker.flight {
                Some(flight) if flight.end > until => return,
                Some(flight) => {
                    let verdict = asker.settle(flight, listen);
                    self.truth.checks += u64::from(listen);
                    if !flight.healthy {
                        let who = (slot.pod.uid, i, Place::Here);
                        self.failed(who, ProbeKind::Liveness, flight, verdict);
                    }
                }
                None if asker.worker.next >= until => return,
                None if slot.calm && !listen => {
                    // Every check of the stretch succeeds at once: nothing to see.
                    asker.worker.skip(until);
                    return;
                }
                None => start(&self.weather, i, fault, slot.pod.serving, asker),
            }
        }
    }

    /// The same where several probes ask: in the order of time.
    fn checks_of_all(&mut self, i: usize, stop: i64) {
        let listen = self.setup.listen;
        loop {
            let slot = &mut self.slots[i];
            let until = slot.limit(stop);
            if slot.calm && !listen && slot.pod.askers().all(|a| a.flight.is_none()) {
                slot.pod.askers_mut().filter(|a| a.worker.next < until).for_each(|a| a.worker.skip(until));
                return;
            }
            let Some((place, k)) = slot.soonest(until) else { return };
            let fault = slot.fault.filter(|_| place == Place::Here);
            let Some(pod) = slot.pod_at(place) else { return };
            let (uid, serving) = (pod.uid, pod.serving);
            let asker = pod.asker(k);
            let Some(flight) = asker.flight else {
                start(&self.weather, i, fault, serving, asker);
                continue;
            };
            let (kind, verdict) = (asker.kind, asker.settle(flight, listen));
            self.truth.checks += u64::from(listen);
            match kind {
                _ if !flight.healthy => self.failed((uid, i, place), kind, flight, verdict),
                ProbeKind::Liveness => {}
                ProbeKind::Readiness => self.ready(i, place, flight.end),
                ProbeKind::Startup => self.started(i, place, flight.end),
            }
        }
    }

    /// A check of the pod in a place of a slot has failed.
    fn failed(&mut self, who: (Uid, usize, Place), kind: ProbeKind, flight: Flight, verdict: bool) {
        self.voice.unhealthy(who, kind, flight.timed_out, flight.end);
        match kind {
            _ if !verdict => {}
            ProbeKind::Readiness => self.unready(who.1, who.2, flight.end),
            ProbeKind::Liveness | ProbeKind::Startup => self.kill(who.1, who.2, kind, flight.end),
        }
    }

    /// The startup probe has succeeded.
    fn started(&mut self, i: usize, place: Place, at: i64) {
        let node = self.slots[i].node;
        let Some(pod) = self.slots[i].pod_at(place) else { return };
        pod.start_succeeded(at);
        let took = (at - pod.running) as f64 / 1e9;
        if pod.has(ProbeKind::Readiness) {
            self.voice.pod(pod, node, at, true, false);
        } else {
            self.ready(i, place, at);
        }
        self.truth.longest_start = self.truth.longest_start.max(took);
    }

    /// A pod is ready, again or for the first time; one that is to take over will do so soon.
    fn ready(&mut self, i: usize, place: Place, at: i64) {
        let node = self.slots[i].node;
        let Some(pod) = self.slots[i].pod_at(place).filter(|p| !p.ready) else { return };
        pod.ready = true;
        if let Some(since) = pod.missing.take() {
            self.truth.missing.push(Span::from_nanos(at - since));
        }
        self.voice.pod(pod, node, at, true, true);
        match (place, &mut self.slots[i].next) {
            (Place::Next, Some(next)) => next.at = next.at.min(at + TAKES_OVER),
            _ => self.returned(i, at),
        }
    }

    /// If a pod that is there was removed, that is over.
    fn returned(&mut self, i: usize, at: i64) {
        if std::mem::take(&mut self.slots[i].pod.removed)
            && let Some(removal) = self.truth.removals.iter_mut().rev().find(|r| r.replica == i)
        {
            removal.lasted = Some(Timestamp::from_nanos(at).since(removal.at));
        }
    }

    /// Readiness has failed too often: the pod is out of service.
    fn unready(&mut self, i: usize, place: Place, at: i64) {
        let slot = &mut self.slots[i];
        slot.calm = false;
        let (node, fault) = (slot.node, slot.fault);
        let Some(pod) = slot.pod_at(place).filter(|p| p.ready) else { return };
        pod.lost(at);
        self.voice.pod(pod, node, at, true, false);
        if place == Place::Next {
            return;
        }
        match fault {
            Some(fault) if fault.breaks <= at => self.out_of_service(i, at),
            _ => {
                pod.removed = true;
                let removal = Removal { at: Timestamp::from_nanos(at), replica: i, lasted: None };
                self.truth.removals.push(removal);
            }
        }
    }

    /// A true fault has taken its pod out of service.
    fn out_of_service(&mut self, i: usize, at: i64) {
        if let Some(fault) = self.slots[i].fault.as_mut().filter(|f| !f.out && f.from <= at) {
            fault.out = true;
            let after = Span::from_nanos((at - fault.breaks).max(0));
            self.truth.out_of_service.push(Detection { at: Timestamp::from_nanos(at), hang: fault.hang, after });
        }
    }

    /// A probe's verdict: the container is killed and started again.
    fn kill(&mut self, i: usize, place: Place, kind: ProbeKind, at: i64) {
        let moment = Timestamp::from_nanos(at);
        let sick = i == 0 && self.setup.nature.twist == Twist::SickReplica;
        if place == Place::Here {
            if self.slots[i].pod.has(ProbeKind::Readiness) {
                self.out_of_service(i, at);
            }
            self.returned(i, at);
        }
        let slot = &mut self.slots[i];
        let fault = if place == Place::Here { slot.fault.take() } else { None };
        match fault {
            Some(fault) if fault.from <= at => {
                let after = Span::from_nanos((at - fault.breaks).max(0));
                self.truth.detections.push(Detection { at: moment, hang: fault.hang, after });
            }
            _ if sick => self.truth.ill += 1,
            fault => {
                if place == Place::Here {
                    slot.fault = fault;
                }
                let killed = match kind {
                    ProbeKind::Startup => &mut self.truth.startup_kills,
                    _ => &mut self.truth.false_restarts,
                };
                killed.push((moment, i));
            }
        }
        let Some(pod) = slot.pod_at(place) else { return };
        if kind == ProbeKind::Startup {
            self.truth.longest_start = self.truth.longest_start.max((at - pod.running) as f64 / 1e9);
        }
        self.voice.killing((pod.uid, i, place), kind, at);
        let wait = pod.backoff.wait(at, false);
        self.start_again(i, place, (at, at + wait), 137, "Error");
    }

    /// The container exits by itself.
    fn exit(&mut self, i: usize) {
        let Twist::Exits(per_day, code) = self.setup.nature.twist else { return };
        let slot = &mut self.slots[i];
        let at = slot.next_exit;
        slot.next_exit = after(at, slot.chance.exponential(86_400.0 / per_day));
        if at < slot.pod.serving {
            return;
        }
        self.truth.exits += 1;
        slot.fault = None;
        self.returned(i, at);
        // Failures counted so far survive: the worker is the same.
        let wait = self.slots[i].pod.backoff.wait(at, true);
        let reason = if code == 137 { "OOMKilled" } else { "Error" };
        self.start_again(i, Place::Here, (at, at + wait), code, reason);
    }

    fn start_again(&mut self, i: usize, place: Place, (end, start): (i64, i64), code: i32, reason: &str) {
        let restarts = self.slots[i].pod_at(place).map_or(0, |p| p.restarts) + 1;
        let watched = self.slots[i].pod_at(place).is_some_and(|p| !p.beside.is_empty());
        let length = if watched {
            self.start_length(i, restarts, start)
        } else {
            self.slots[i].chance.length(&self.setup.nature.start)
        };
        let slot = &mut self.slots[i];
        slot.calm = false;
        let node = slot.node;
        let Some(pod) = slot.pod_at(place) else { return };
        let whole = |nanos: i64| Timestamp::from_seconds(nanos.div_euclid(NANOS));
        let ended =
            Ended { code, reason: reason.into(), started: Some(whole(pod.running)), finished: Some(whole(end)) };
        self.voice.pod_down(pod, node, end);
        pod.running = start + NANOS / 2;
        pod.serving = pod.running + nanos(length);
        pod.restarts = restarts;
        pod.last_end = Some(ended);
        pod.missing.get_or_insert(end);
        pod.begin();
        self.voice.pod(pod, node, pod.running, pod.started && watched, false);
        if !watched {
            self.voice.pod(pod, node, pod.serving, true, true);
        }
    }
}

/// The next check of a prober starts, of a container that serves from `serving` on.
#[inline(always)]
fn start(weather: &Weather, i: usize, fault: Option<Fault>, serving: i64, asker: &mut Asker) {
    let at = asker.worker.next;
    let answer = match fault {
        _ if at < serving => Answer { after: REFUSAL, healthy: false, bucket: 0 },
        Some(fault) if at >= fault.breaks => {
            let after = if fault.hang { i64::MAX } else { REFUSAL };
            Answer { after, healthy: fault.hang, bucket: 0 }
        }
        _ => weather.answer(i, at, asker.worker.unnoticed()),
    };
    asker.flight = Some(asker.worker.launch(answer));
}
