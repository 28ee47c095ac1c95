//! What several observers saw of one workload becomes one: an earlier life and this one, shards, a history read elsewhere.
//!
//! The observers must not have seen the same check: what two of them counted counts twice. In which order and in which
//! pairs they are merged makes no difference but rounding, as long as the tables have room; beyond it neighbours are
//! merged as always, and counted.

use super::Evidence;
use super::calendar::Ring;
use super::life::one_death;
use super::pods::PodState;
use super::restart::{self, Cause, RESTARTS, RestartRecord};
use super::seen::{OLDER, Older, Seen};
use super::start::{STARTS, Start, Starts};
use super::{MAX_NODES, MAX_PODS, MAX_PROBES};
use crate::units::Timestamp;
use std::collections::BTreeSet;

impl Evidence {
    /// Takes in what another observer saw of the same workload.
    ///
    /// Where they saw different versions, the one heard of last is the present one, and what the other knew of its own is
    /// past, worth as much as after a rollout.
    pub fn merge(&mut self, mut other: Evidence) {
        let key = |e: &Evidence| (e.last_fact, e.version);
        if key(self) < key(&other) {
            std::mem::swap(self, &mut other);
        }
        if other.version.is_some() && other.version != self.version {
            for seen in &mut other.probes {
                let kept = seen.outdate();
                restart::of_probe(&mut other.restarts, &seen.id).for_each(|r| r.kept *= kept);
            }
            other.pods.iter_mut().for_each(|p| p.present = false);
        } else {
            self.version_since = earliest(self.version_since, other.version_since);
            self.begun |= other.begun;
        }
        self.first = earliest(self.first, other.first);
        self.rollouts = self.rollouts.max(other.rollouts);
        self.last_rollout = self.last_rollout.max(other.last_rollout);
        self.last_change = self.last_change.max(other.last_change);
        let places = self.merge_probes(std::mem::take(&mut other.probes));
        self.merge_pods(std::mem::take(&mut other.pods), &places);
        self.merge_restarts(&mut other);
        self.calendar.minutes.merge(&other.calendar.minutes);
        self.calendar.hours.merge(&other.calendar.hours);
        self.calendar.until = self.calendar.until.max(other.calendar.until);
        self.calendar.restored |= other.calendar.restored;
        for node in other.nodes {
            if let Some(known) = self.nodes.iter_mut().find(|n| n.name == node.name) {
                if known.at < node.at {
                    *known = node;
                }
            } else if self.nodes.len() < MAX_NODES {
                self.nodes.push(node);
            } else {
                self.dropped.strangers = self.dropped.strangers.saturating_add(1);
            }
        }
        let beyond = self.load.merge(other.load).saturating_add(other.dropped.throttling);
        self.dropped.throttling = self.dropped.throttling.saturating_add(beyond);
        self.dropped.pods = self.dropped.pods.saturating_add(other.dropped.pods);
        self.dropped.probes = self.dropped.probes.saturating_add(other.dropped.probes);
        self.dropped.strangers = self.dropped.strangers.saturating_add(other.dropped.strangers);
    }

    /// Says at which place each of the other's probes now stands.
    fn merge_probes(&mut self, probes: Vec<Seen>) -> Vec<Option<usize>> {
        let mut places = Vec::with_capacity(probes.len());
        for seen in probes {
            let known = self.probes.iter().position(|s| s.id == seen.id);
            places.push(match known {
                Some(i) => {
                    self.probes[i].merge(seen);
                    Some(i)
                }
                None if self.probes.len() < MAX_PROBES => {
                    self.probes.push(seen);
                    Some(self.probes.len() - 1)
                }
                None => {
                    self.dropped.probes = self.dropped.probes.saturating_add(1);
                    None
                }
            });
        }
        places
    }

    /// Pods that only the other knows; of those that both do, this one's word stands.
    fn merge_pods(&mut self, pods: Vec<PodState>, places: &[Option<usize>]) {
        for mut pod in pods {
            let Err(place) = self.pods.binary_search_by_key(&pod.uid, |p| p.uid) else { continue };
            if self.pods.len() >= MAX_PODS {
                self.dropped.pods = self.dropped.pods.saturating_add(1);
                continue;
            }
            pod.probes.retain_mut(|p| match places.get(p.probe).copied().flatten() {
                Some(now) => {
                    p.probe = now;
                    true
                }
                None => false,
            });
            if pod.counted {
                self.levels.0 += 1;
                self.levels.1 += u32::from(!pod.ready);
            }
            self.pods.insert(place, pod);
        }
    }

    fn merge_restarts(&mut self, other: &mut Evidence) {
        for r in other.restarts.drain(..) {
            let same = |k: &&mut RestartRecord| (k.at, k.pod, &k.container) == (r.at, r.pod, &r.container);
            match self.restarts.iter_mut().find(same) {
                Some(known) => known.join(r),
                None => self.restarts.push(r),
            }
        }
        self.restarts.sort_by(|a, b| (a.at, a.pod, &a.container).cmp(&(b.at, b.pod, &b.container)));
        self.settle_restarts(self.last_fact);
    }

    /// Takes in what this life recorded before an earlier one was recalled, whose last fact was at `known_until`.
    pub(super) fn resume_restarts(&mut self, at: Timestamp, live: Vec<RestartRecord>, known_until: Option<Timestamp>) {
        let earlier = self.restarts.len();
        let (mut paired, mut weaker) = (BTreeSet::new(), BTreeSet::new());
        for mut r in live {
            let same = |i: &usize| !paired.contains(i) && one_death(&self.restarts[*i], &r);
            if let Some(i) = (0..earlier).rev().find(same) {
                paired.insert(i);
                let known = &mut self.restarts[i];
                if r.confidence <= known.confidence {
                    known.around(&r);
                    continue;
                }
                r.around(known);
                weaker.insert(i);
                if r.cause.by_probe() && !known.cause.by_probe() {
                    self.calendar.explained(known.at);
                }
            } else if Some(r.at) > known_until {
                self.calendar.restart(r.at, r.cause.by_probe());
            } else {
                continue;
            }
            self.restarts.push(r);
        }
        let mut place = 0..;
        self.restarts.retain(|_| place.next().is_none_or(|i| !weaker.contains(&i)));
        self.restarts.sort_by_key(|r| r.at);
        self.settle_restarts(Some(at));
    }

    /// Whose company they were, what they weigh, and which of them have room, now that there are others among them.
    fn settle_restarts(&mut self, at: Option<Timestamp>) {
        for i in 0..self.restarts.len() {
            if self.restarts[i].cause == Cause::LivenessKill {
                self.share(i);
            }
        }
        self.weigh();
        while self.restarts.len() > RESTARTS {
            let gone = self.restarts.remove(0);
            self.retire(at.unwrap_or(gone.at), &gone);
        }
    }
}

impl Seen {
    fn merge(&mut self, mut other: Seen) {
        // Both at the same age.
        let hour = self.hour.max(other.hour);
        self.decay_to_hour(hour);
        other.decay_to_hour(hour);
        let mut closed = 0u32;
        for table in
            [&mut self.this, &mut self.past, &mut other.this, &mut other.past].into_iter().flat_map(|e| &mut e.tables)
        {
            closed = closed.saturating_add(table.close_before(hour));
        }
        self.merged = self
            .merged
            .saturating_add(other.merged)
            .saturating_add(closed)
            .saturating_add(self.this.absorb_open(&mut other.this))
            .saturating_add(self.past.absorb_open(&mut other.past));
        // Whether they watched at the same time nobody knows: no more than the longer of both is claimed.
        self.watched = (self.watched.0.max(other.watched.0), self.watched.1.max(other.watched.1));
        self.last_sample = self.last_sample.max(other.last_sample);
        self.pod_seconds += other.pod_seconds;
        self.interval = match (self.interval, other.interval) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.calm = self.calm.max(other.calm);
        self.refusals = (self.refusals.0.max(other.refusals.0), self.refusals.1 + other.refusals.1);
        for (mine, theirs) in self.regimes.iter_mut().zip(&other.regimes) {
            mine.last = latest(mine.last, theirs.last);
            mine.day = mine.day.max(theirs.day);
            mine.days = mine.days.max(theirs.days);
        }
        self.outage = (latest(self.outage.0, other.outage.0), self.outage.1.max(other.outage.1));
        self.together = self.together.max(other.together);
        self.reset_at = self.reset_at.max(other.reset_at);
        self.slow_together = self.slow_together.max(other.slow_together);
        other.older.into_iter().for_each(|o| self.add_older(o));
        self.starts.merge(other.starts);
        self.season.merge(other.season);
        match (&mut self.shadow, other.shadow) {
            (Some(mine), Some(theirs)) => mine.merge(*theirs),
            (mine, theirs) => *mine = mine.take().or(theirs),
        }
        self.told = (self.told.0 + other.told.0, self.told.1 + other.told.1);
        self.habits.merge(other.habits);
        self.begun = (self.begun.0 + other.begun.0, self.begun.1 + other.begun.1);
        self.spells = (self.spells.0 + other.spells.0, self.spells.1 + other.spells.1);
        for (mine, theirs) in self.usual.iter_mut().zip(other.usual) {
            *mine += theirs;
        }
        self.ailing = if (self.ailing.1, &self.ailing.0) < (other.ailing.1, &other.ailing.0) {
            other.ailing
        } else {
            std::mem::take(&mut self.ailing)
        };
    }

    /// Adds to the older restarts of the same kind; the rarest makes room.
    pub(super) fn add_older(&mut self, new: Older) {
        let known = self.older.iter().position(|o| o.edges == new.edges && o.tolerance == new.tolerance);
        if let Some(o) = known.map(|i| &mut self.older[i]) {
            o.weight += new.weight;
        } else if self.older.len() < OLDER {
            self.older.push(new);
        } else if let Some(o) = self.older.iter_mut().min_by(|a, b| a.weight.total_cmp(&b.weight)) {
            *o = new;
            self.merged = self.merged.saturating_add(1);
        }
    }
}

impl Starts {
    /// Of too many starts such as stand for all: evenly spaced by length, the longest among them.
    fn merge(&mut self, other: Starts) {
        self.total = self.total.saturating_add(other.total);
        self.longest = self.longest.max(other.longest);
        self.recent.extend(other.recent);
        self.recent.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then(a.cut_off.cmp(&b.cut_off)));
        let n = self.recent.len();
        if n > STARTS {
            let kept: Vec<Start> = (1..=STARTS).map(|i| self.recent[i * n / STARTS - 1]).collect();
            self.recent = kept;
        }
    }
}

impl Ring {
    fn merge(&mut self, other: &Ring) {
        if other.bins.is_empty() {
            return;
        }
        let length = other.bins.len();
        let oldest = other.oldest();
        for number in oldest..=other.newest {
            let Some(theirs) = other.get(number).copied() else { continue };
            if let Some(mine) = self.bin(number, length) {
                mine.pod_seconds += theirs.pod_seconds;
                mine.unready_seconds += theirs.unready_seconds;
                mine.probe_restarts = mine.probe_restarts.saturating_add(theirs.probe_restarts);
                mine.other_restarts = mine.other_restarts.saturating_add(theirs.other_restarts);
            }
        }
        self.since = match (self.since, other.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The later of two moments, each with who it was.
fn latest<T: Copy + Ord>(a: Option<(T, Timestamp)>, b: Option<(T, Timestamp)>) -> Option<(T, Timestamp)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if (a.1, a.0) < (b.1, b.0) { b } else { a }),
        (a, b) => a.or(b),
    }
}
