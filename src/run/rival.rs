//! Other people's rules in a simulated world: they hear what a daemon would hear, and each change is a rollout.

use crate::change::{Change, Intent, Step};
use crate::observation::{Counters, EDGES, Fact, FailureClass, Observation};
use crate::probe::Settings;
use crate::reason::Reason;
use crate::replay::{Jacobson, Learn, Lifeguard, PhiAccrual, Policy, Replica, Scrape, Seen, margin};
use crate::sim::{Pause, World};
use crate::units::{Span, Timestamp, Uid};
use std::collections::BTreeMap;

/// A rule that changes numbers as it goes. All decide at each scrape, every 15 s, with the constants of the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// Over 0.8 of load 10/3/2, else 5/1/3.
    LoadRule,
    /// 10/T/3, T above 1.2 times the 99th percentile of the successes of the day, decided at the end of each.
    P99Margin,
    /// The retransmission timer of TCP.
    Jacobson,
    /// The φ accrual failure detector.
    PhiAccrual,
    /// Patience that grows with local failures.
    Lifeguard,
}

/// A scrape of every kubelet.
const STEP: Span = Span::from_seconds(15);

impl Rival {
    const ALL: [Rival; 5] = [Rival::LoadRule, Rival::P99Margin, Rival::Jacobson, Rival::PhiAccrual, Rival::Lifeguard];

    /// Its name in tables and flags: that of the replay.
    pub fn name(self) -> &'static str {
        match self {
            Rival::LoadRule => Policy::LoadRule.name(),
            Rival::P99Margin => Policy::P99Margin.name(),
            Rival::Jacobson => Policy::Jacobson.name(),
            Rival::PhiAccrual => Policy::PhiAccrual.name(),
            Rival::Lifeguard => Policy::Lifeguard.name(),
        }
    }

    /// The rule of this name.
    pub fn parse(name: &str) -> Option<Rival> {
        Rival::ALL.into_iter().find(|r| r.name() == name)
    }

    /// Whether it needs to hear anything but the load.
    pub fn listens(self) -> bool {
        self != Rival::LoadRule
    }
}

/// Lets a rule play in a world from where it stands to `end`.
pub(super) fn play(rival: Rival, world: &mut World, end: Timestamp) {
    let start = world.now();
    let mut policy: Box<dyn Learn> = match rival {
        Rival::LoadRule => return by_load(world, end),
        Rival::P99Margin => Box::new(P99Margin::default()),
        Rival::Jacobson => Box::new(Jacobson::default()),
        Rival::PhiAccrual => Box::new(PhiAccrual::default()),
        Rival::Lifeguard => Box::new(Lifeguard::new(world.settings())),
    };
    let (mut ears, mut facts) = (Ears::default(), Vec::new());
    let mut replicas = vec![Replica::default(); world.setup().replicas as usize];
    while world.now() < end {
        let now = (world.now() + STEP).min(end);
        while world.advance(now, &mut facts) == Pause::Rollout {}
        let seen = ears.hear(world, facts.drain(..), &mut replicas);
        let (at, settings, node_cpu) = (now.since(start), world.settings(), Some(world.load()));
        let scrape = Scrape { at, history: false, settings, replicas: &replicas, node_cpu };
        if let Some((wanted, _)) = policy.step(&seen, &scrape) {
            roll_out(world, wanted);
        }
    }
}

/// The rule that tunes by load, as people first think of it.
fn by_load(world: &mut World, end: Timestamp) {
    while world.now() < end {
        let now = (world.now() + STEP).min(end);
        while world.advance(now, &mut Vec::new()) == Pause::Rollout {}
        if let Some(wanted) = if world.load() > 0.8 { Settings::new(10, 3, 2) } else { Settings::new(5, 1, 3) } {
            roll_out(world, wanted);
        }
    }
}

/// Other numbers are a rollout; while one is under way, none is begun.
fn roll_out(world: &mut World, wanted: Settings) {
    if wanted == world.settings() || world.is_rolling() {
        return;
    }
    let declared = world.workload();
    let steps = vec![Step { probe: world.probe().clone(), from: world.settings(), to: wanted }];
    let (reason, message) = (Reason::Loosen, String::new());
    let change = Change {
        id: 0,
        workload: declared.uid,
        address: declared.address,
        generation: declared.generation,
        intent: Intent::Tune,
        steps,
        reason,
        message,
    };
    world.obey(&change);
}

/// Makes checks of counters and events.
#[derive(Default)]
struct Ears {
    last: BTreeMap<Uid, Counters>,
}

impl Ears {
    /// The checks that the facts of one scrape tell of. A success took what is the middle of its bucket.
    fn hear(&mut self, world: &World, facts: impl Iterator<Item = Observation>, replicas: &mut [Replica]) -> Vec<Seen> {
        let (mut seen, mut slow) = (Vec::new(), BTreeMap::<Uid, u64>::new());
        for fact in facts.map(|o| o.fact) {
            match fact {
                Fact::Unhealthy { pod, class: FailureClass::Slow, count, .. } => {
                    *slow.entry(pod).or_default() += u64::from(count);
                }
                Fact::PodGone(pod) => {
                    self.last.remove(&pod);
                }
                Fact::Sample(sample) => {
                    let Some(replica) = world.replica(sample.pod) else { continue };
                    let (now, before) = (sample.counters, self.last.insert(sample.pod, sample.counters));
                    // Smaller than before: the kubelet began anew.
                    let before =
                        before.filter(|b| b.successful <= now.successful && b.failed <= now.failed).unwrap_or_default();
                    let mut below = 0;
                    for (i, count) in cumulative(&now).zip(cumulative(&before)).map(|(n, b)| n - b).enumerate() {
                        let took = middle(i, world.settings());
                        seen.extend((below..count).map(|_| Seen::success(replica, took)));
                        below = count.max(below);
                    }
                    let failed = now.failed - before.failed;
                    let timed_out = slow.remove(&sample.pod).unwrap_or(0).min(failed);
                    seen.extend((0..failed).map(|n| Seen::failure(replica, n < timed_out)));
                    if let Some(known) = replicas.get_mut(replica) {
                        known.counters = now;
                        known.timed_out += timed_out;
                    }
                }
                _ => {}
            }
        }
        seen
    }
}

/// Successes up to each edge, and all.
fn cumulative(counters: &Counters) -> impl Iterator<Item = u64> {
    counters.buckets.into_iter().chain([counters.count])
}

/// The middle of a bucket; the last one ends at the timeout.
fn middle(bucket: usize, settings: Settings) -> Span {
    let from = bucket.checked_sub(1).map_or(0.0, |i| EDGES[i]);
    let to = EDGES.get(bucket).copied().unwrap_or_else(|| f64::from(settings.timeout()).max(from));
    Span::round_from_secs_f64(f64::midpoint(from, to))
}

/// A fifth above the 99th percentile of a day's successes, as a quantile over the kubelet's histogram has it: linear
/// within a bucket, the last edge beyond it.
#[derive(Default)]
struct P99Margin {
    /// Successes in each bucket since the day began.
    day: [u64; EDGES.len() + 1],
}

impl P99Margin {
    fn p99(&self) -> Option<Span> {
        let rank = 0.99 * self.day.iter().sum::<u64>() as f64;
        let mut below = 0.0;
        for (i, count) in self.day.iter().map(|n| *n as f64).enumerate() {
            if count > 0.0 && below + count >= rank {
                let from = i.checked_sub(1).map_or(0.0, |i| EDGES[i]);
                let to = EDGES.get(i).copied().unwrap_or(from);
                return Some(Span::round_from_secs_f64(from + (to - from) * (rank - below) / count));
            }
            below += count;
        }
        None
    }
}

impl Learn for P99Margin {
    fn step(&mut self, seen: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)> {
        for took in seen.iter().filter_map(Seen::latency) {
            self.day[EDGES.partition_point(|edge| *edge < took.as_secs_f64())] += 1;
        }
        if scrape.at.nanos() % Span::DAY.nanos() != 0 {
            return None;
        }
        let p99 = self.p99();
        self.day = Default::default();
        p99.map(|p99| (margin(p99), format!("p99 {:.3} s, and a fifth more", p99.as_secs_f64())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Family, MONDAY, Setup};

    fn played(rival: Rival, family: Family, days: i64) -> World {
        let mut setup = Setup::new(family, 1, days as f64);
        setup.listen = rival.listens();
        let mut world = World::new(setup);
        play(rival, &mut world, MONDAY + Span::DAY * days);
        world
    }

    #[test]
    fn the_load_rule_pays_for_a_rollout_at_each_crossing() {
        assert!(played(Rival::LoadRule, Family::Diurnal, 7).truth().own_rollouts.len() >= 10);
    }

    #[test]
    fn the_margin_over_a_day_of_quick_answers_is_one_second_and_is_decided_once_a_day() {
        let world = played(Rival::P99Margin, Family::Flat, 2);
        assert_eq!(world.settings().to_string(), "10/1/3");
        let begun: Vec<f64> = world.truth().own_rollouts.iter().map(|at| at.since(MONDAY).as_days_f64()).collect();
        assert_eq!(begun, [1.0]);
    }

    #[test]
    fn a_percentile_is_linear_within_its_bucket_and_never_above_the_last_edge() {
        let mut margin = P99Margin::default();
        assert_eq!(margin.p99(), None);
        (margin.day[7], margin.day[8]) = (98, 2);
        assert_eq!(margin.p99(), Some(Span::from_millis(1750)));
        margin.day[11] = 10_000;
        assert_eq!(margin.p99(), Some(Span::from_seconds(10)));
    }

    #[test]
    fn the_others_answer_each_in_their_way_to_what_the_counters_tell() {
        // Quick answers: mean and four deviations are below a second; the φ detector waits 3 s longer than the mean.
        assert_eq!(played(Rival::Jacobson, Family::Light, 1).settings().to_string(), "10/1/3");
        assert_eq!(played(Rival::PhiAccrual, Family::Light, 1).settings().to_string(), "10/4/3");
        // Stalls: its patience grows and shrinks again, each time by a rollout.
        assert!(played(Rival::Lifeguard, Family::ExecSlow, 2).truth().own_rollouts.len() > 2);
    }
}
