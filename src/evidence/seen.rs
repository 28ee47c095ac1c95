//! What was seen of one probe over all replicas.

use super::habits::Habits;
use super::restart::{Failing, RestartRecord};
use super::season::Season;
use super::shadow::Shadow;
use super::start::Starts;
use super::table::{Edge, Epoch, half_hour, worth_after};
use super::watch::{GAP, LOW};
use crate::probe::Handler;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::ProbeId;
use statrs::function::gamma::gamma_lr;

/// Prior mean of the rate above 1 s (and of refusals), a pod-year; `model` uses the same.
pub const PRIOR_RATE: f64 = 300.0;
/// Prior mean of the tail's exponent where it says how the rate falls with the edge: 300·x^−1.5.
pub const PRIOR_FALL: f64 = 1.5;
/// Seconds in a pod-year.
pub const YEAR_SECONDS: f64 = 365.0 * 86_400.0;
/// A version has been lived through after this much of watched time.
const LIVED_THROUGH: f64 = 12.0 * 3_600.0;
/// Replicas that do the same within this time do it together: a minute, and a scrape's delay.
const TOGETHER: Span = Span::from_nanos(75 * 1_000_000_000);
/// Spells that were told of from which on it is known how checks fail.
const KNOWN_SPELLS: f32 = 10.0;
/// What fewer of them than this share did is what they do not do.
const SELDOM: f32 = 0.1;
/// What they say of a new version.
const TOLD_OVER_A_ROLLOUT: f32 = 0.5;
/// Slower than all but this share of the answers is unusual.
const UNUSUAL: f32 = 0.01;
/// Answers from which on it is known what is usual.
const KNOWN_ANSWERS: f32 = 500.0;
/// Replicas that take turns at being slow this often are not sick.
const WANDERS: u32 = 2;
/// Spells of one replica that its restart must have cured before that is the rule.
const CURES: f32 = 2.5;
/// Their turns are at most this far apart.
const WANDERING: Span = Span::from_nanos(7 * 86_400 * 1_000_000_000);
/// Most kinds of older restarts kept as sums.
pub(super) const OLDER: usize = 8;

/// Days on which several replicas were slow together, above one edge.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Regime {
    pub(super) last: Option<(Uid, Timestamp)>,
    pub(super) day: Option<i64>,
    pub(super) days: f32,
}

/// Restarts too old for the list of records, summed by tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Older {
    /// The tolerance that was not enough, in seconds.
    pub tolerance: f32,
    /// By timeouts: how many latency edges the timeout let us see, 1 to 4. By refusals: 0.
    pub edges: u8,
    /// Sum of their weights, decayed.
    pub weight: f32,
}

/// What was seen of one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub(super) id: ProbeId,
    pub(super) handler: Handler,
    pub(super) this: Epoch,
    pub(super) past: Epoch,
    /// The hour, counted from the epoch, to which counts are decayed.
    pub(super) hour: i64,
    /// Time in which at least one replica was read, in seconds: in all, and under this version.
    pub(super) watched: (f64, f64),
    pub(super) last_sample: Option<Timestamp>,
    pub(super) pod_seconds: f64,
    /// The usual distance of two scrapes of one pod.
    pub(super) interval: Option<Span>,
    /// Changes of version in a row that made nothing worse.
    pub(super) calm: u32,
    /// Half-hours in which an event told of a refusal: the last one, and how many.
    pub(super) refusals: (Option<i64>, f32),
    pub(super) regimes: [Regime; 4],
    /// The last replica in an outage, and when several were.
    pub(super) outage: (Option<(Uid, Timestamp)>, Option<Timestamp>),
    /// When all replicas last failed fast together.
    pub(super) together: Option<Timestamp>,
    pub(super) reset_at: Option<Timestamp>,
    pub(super) older: Vec<Older>,
    pub(super) starts: Starts,
    /// Pods that began under our eyes, and those of them that were slow soon after, decayed.
    pub(super) begun: (f32, f32),
    /// Answers by latency, decayed: up to each low edge, above 1 s.
    pub(super) usual: [f32; LOW + 1],
    /// When several replicas were last slow together for half a minute.
    pub(super) slow_together: Option<Timestamp>,
    /// Where the last runs were set aside as those of a sick replica, how often it was elsewhere than before, and when
    /// last.
    pub(super) ailing: (Option<Name>, u32, Option<Timestamp>),
    /// Spells in which one replica was slow far more often than the others, decayed: those that a kill of that replica
    /// cured, and those that passed by themselves.
    pub(super) spells: (f32, f32),
    /// The levels of the last weeks' hours.
    pub(super) season: Season,
    /// What shadow checks saw.
    pub(super) shadow: Option<Box<Shadow>>,
    /// Intervals that had to be merged for want of room.
    pub(super) merged: u32,
    /// Spells of failures of which events told how, decayed, and halved by each rollout: slow, fast, or both.
    pub(super) told: (f32, f32),
    /// How slow runs that recovered went together with others.
    pub(super) habits: Habits,
}

impl Seen {
    pub(super) fn new(id: ProbeId, handler: Handler) -> Self {
        Seen {
            id,
            handler,
            this: Epoch::default(),
            past: Epoch::default(),
            hour: 0,
            watched: (0.0, 0.0),
            last_sample: None,
            pod_seconds: 0.0,
            interval: None,
            calm: 0,
            refusals: (None, 0.0),
            regimes: [Regime::default(); 4],
            outage: (None, None),
            together: None,
            reset_at: None,
            older: Vec::new(),
            starts: Starts::default(),
            begun: (0.0, 0.0),
            usual: [0.0; LOW + 1],
            slow_together: None,
            ailing: (None, 0, None),
            spells: (0.0, 0.0),
            season: Season::default(),
            shadow: None,
            merged: 0,
            told: (0.0, 0.0),
            habits: Habits::default(),
        }
    }

    /// Which probe.
    pub fn id(&self) -> &ProbeId {
        &self.id
    }

    /// How it asks.
    pub fn handler(&self) -> Handler {
        self.handler
    }

    /// This version of the program.
    pub fn this(&self) -> &Epoch {
        &self.this
    }

    /// All versions before it, at 0.8 for each rollout between.
    pub fn past(&self) -> &Epoch {
        &self.past
    }

    /// What counts and exposures are still worth at `now`, against when they were last decayed: `(0, 1]`.
    pub fn decay(&self, now: Timestamp) -> f64 {
        worth_after(Span::HOUR * (hour(now) - self.hour))
    }

    /// When any replica was last read.
    pub fn last_heard(&self) -> Option<Timestamp> {
        self.last_sample
    }

    /// Time in which at least one replica was read.
    pub fn watched(&self) -> Span {
        Span::round_from_secs_f64(self.watched.0)
    }

    /// Pod-time seen, not decayed.
    pub fn pod_time(&self) -> Span {
        Span::round_from_secs_f64(self.pod_seconds)
    }

    /// The usual distance of two scrapes of one pod, once known.
    pub fn interval(&self) -> Option<Span> {
        self.interval
    }

    /// Half-hours in which an event told of a refusal, decayed.
    pub fn refusals(&self) -> f64 {
        f64::from(self.refusals.1)
    }

    /// Distinct days on which several replicas were above an edge for at least half a minute and four checks.
    pub fn regimes(&self, edge: Edge) -> f64 {
        self.regimes.get(edge.index()).map_or(0.0, |r| f64::from(r.days))
    }

    /// When several replicas were last slow together, above any edge, for at least half a minute and four checks.
    pub fn slow_together(&self) -> Option<Timestamp> {
        self.slow_together
    }

    /// Whether several replicas were slow together since a moment, and above an edge on its day or later.
    pub fn slow_together_since(&self, since: Timestamp, edge: Edge) -> bool {
        let day = self.regimes.get(edge.index()).and_then(|r| r.day);
        self.slow_together >= Some(since) && day >= Some(day_of(since))
    }

    /// When several replicas were last above 10 s, or failing, for more than two minutes.
    pub fn outage(&self) -> Option<Timestamp> {
        self.outage.1
    }

    /// When all replicas last failed at once within a minute.
    pub fn together(&self) -> Option<Timestamp> {
        self.together
    }

    /// When counters last went back without a new pod.
    pub fn reset_at(&self) -> Option<Timestamp> {
        self.reset_at
    }

    /// Restarts too old for the records.
    pub fn older(&self) -> &[Older] {
        &self.older
    }

    /// What shadow checks saw; `None` where there never were any. It moves no number.
    pub fn shadow(&self) -> Option<&Shadow> {
        self.shadow.as_deref()
    }

    /// The levels of the last weeks' hours, and what was foretold of them. They move no number.
    pub fn season(&self) -> &Season {
        &self.season
    }

    /// Start times, of a startup probe.
    pub fn starts(&self) -> &Starts {
        &self.starts
    }

    /// The chance that a pod is slow soon after its start, by the pods that began under our eyes: `(k + ¼)/(n + 1)`.
    pub fn slow_start_chance(&self) -> f64 {
        (f64::from(self.begun.1) + 0.25) / (f64::from(self.begun.0) + 1.0)
    }

    /// How many of a window's answers are slower than 99 of 100 have been; `None` while too few are known.
    pub(super) fn unusual(&self, latencies: &[u32; LOW + 1]) -> Option<u32> {
        let all: f32 = self.usual.iter().sum();
        if all < KNOWN_ANSWERS {
            return None;
        }
        let (mut above, mut edge) = (0.0, LOW);
        while edge > 0 && above + self.usual[edge] <= UNUSUAL * all {
            above += self.usual[edge];
            edge -= 1;
        }
        // Slower than the edge below which 99 of 100 lie.
        Some(latencies[edge + 1..].iter().sum())
    }

    /// A replica was slow far more often than the others, at `place` (its node): whether it is sick. Where now one and
    /// now another is, no replica is: it is what they run on.
    pub(super) fn ails(&mut self, at: Timestamp, place: &Name) -> bool {
        let (last, turns, since) = &mut self.ailing;
        if last.as_ref() != Some(place) {
            // One sick replica after another, months apart, is no wandering.
            let stands = since.is_some_and(|then| at.since(then) <= WANDERING);
            (*last, *turns) = (Some(place.clone()), if stands { turns.saturating_add(1) } else { 1 });
            *since = Some(at);
        }
        *turns <= WANDERS || self.cured()
    }

    /// Whether such spells end with a restart of the replica, and seldom by themselves: then it was the replica that was
    /// sick, one after another, and not what they run on.
    pub fn cured(&self) -> bool {
        let (cured, passed) = self.spells;
        cured >= CURES && cured > passed
    }

    /// Intervals that had to be merged for want of room.
    pub fn merged(&self) -> u32 {
        self.merged
    }

    /// Changes of version in a row that made nothing worse, the present version counted once it has been lived
    /// through; none while it differs. `begun` says whether the present version began under our eyes.
    pub fn calm_changes(&self, begun: bool) -> u32 {
        if self.differs() {
            return 0;
        }
        self.calm + u32::from(begun && self.watched.1 >= LIVED_THROUGH)
    }

    /// Whether this version stalls more often than the past allows, at any edge.
    pub fn differs(&self) -> bool {
        Edge::ALL.into_iter().any(|e| self.differs_at(e))
    }

    /// Whether this version stalls more often than the past allows, at one edge.
    ///
    /// At least three clusters, and `P(≥ n) < 0.01` for a Poisson count of mean `(C_past + ½)/(E_past + ½/r̂)·E_new`, both counted in
    /// bouts where they came in bouts in the past.
    pub fn differs_at(&self, edge: Edge) -> bool {
        let past = self.past.exposure(edge);
        if past <= 0.0 {
            return false;
        }
        let clusters = |epoch: &Epoch| epoch.table(edge).clusters_from(0.0);
        let pods = (self.pod_seconds / self.watched.0.max(1.0)).max(1.0);
        let bout = self.past.table(edge).bout(past / 86_400.0 / pods);
        surprise(clusters(&self.past) / bout, past, clusters(&self.this) / bout, self.this.exposure(edge), edge)
            .is_some_and(|p| p < 0.01)
    }

    /// How slow runs that recovered went together with others.
    pub fn habits(&self) -> &Habits {
        &self.habits
    }

    /// What the past is worth to a new version of the program: the chance that it stalls as those before it did, 0.8 at
    /// first and `(4 + g)/(5 + g)` after `g` changes of version in a row that made nothing worse.
    fn kept_over_a_rollout(&self) -> f32 {
        let calm = self.calm as f32;
        (4.0 + calm) / (5.0 + calm)
    }

    /// What was seen of this version is past: another one is there now. Says what the past is worth to it.
    pub(super) fn outdate(&mut self) -> f32 {
        let kept = self.kept_over_a_rollout();
        self.merged = self.merged.saturating_add(self.past.absorb(&mut self.this));
        self.past.scale(kept);
        self.habits.scale(kept);
        self.older.iter_mut().for_each(|o| o.weight *= kept);
        self.watched.1 = 0.0;
        kept
    }

    /// A rollout of the owner begins another version. Says what of the versions before this one, and of this one, is kept
    /// as evidence.
    pub(super) fn rollout(&mut self, begun: bool) -> (f32, f32) {
        let (lived, differs) = (self.watched.1 >= LIVED_THROUGH, self.differs());
        if differs {
            self.calm = 0;
            self.past.clear();
            self.older.clear();
        } else if begun && lived {
            self.calm = self.calm.saturating_add(1);
        }
        let kept = self.outdate();
        self.told = (self.told.0 * TOLD_OVER_A_ROLLOUT, self.told.1 * TOLD_OVER_A_ROLLOUT);
        (if differs { 0.0 } else { kept }, kept)
    }

    /// Decays everything to the hour of `at`; cheap within the hour.
    pub(super) fn decay_to(&mut self, at: Timestamp) {
        self.decay_to_hour(hour(at));
    }

    /// The same to an hour, counted from the epoch.
    pub(super) fn decay_to_hour(&mut self, hour: i64) {
        if hour <= self.hour {
            return;
        }
        if self.hour > 0 {
            let factor = worth_after(Span::HOUR * (hour - self.hour)) as f32;
            self.this.scale(factor);
            self.past.scale(factor);
            self.refusals.1 *= factor;
            self.usual.iter_mut().for_each(|n| *n *= factor);
            self.begun.0 *= factor;
            self.begun.1 *= factor;
            self.habits.scale(factor);
            self.told.0 *= factor;
            self.told.1 *= factor;
            self.spells.0 *= factor;
            self.spells.1 *= factor;
            self.regimes.iter_mut().for_each(|r| r.days *= factor);
            self.older.iter_mut().for_each(|o| o.weight *= factor);
        }
        self.hour = hour;
    }

    /// Time passes for the workload as a whole.
    pub(super) fn live(&mut self, at: Timestamp, of_this_version: bool) {
        if let Some(last) = self.last_sample.replace(at.max(self.last_sample.unwrap_or(at))) {
            let passed = at.since(last);
            if passed > Span::ZERO && passed <= GAP {
                self.watched.0 += passed.as_secs_f64();
                if of_this_version {
                    self.watched.1 += passed.as_secs_f64();
                }
            }
        }
    }

    /// A scrape came this long after the one before: the usual distance is the shortest of late.
    pub(super) fn scraped(&mut self, after: Span) {
        if after > Span::ZERO && after <= GAP {
            let slack = Span::from_nanos(after.nanos() / 8);
            self.interval = Some(self.interval.map_or(after, |i| after.min(i + slack.min(Span::SECOND))));
        }
    }

    /// A spell of failures is over, and events told how checks failed in it.
    pub(super) fn told(&mut self, slow: bool, fast: bool) {
        self.told.0 += f32::from(u8::from(slow));
        self.told.1 += f32::from(u8::from(fast));
    }

    /// How checks of this probe fail nearly always: what is taken of failures of which no event told.
    pub(super) fn usually_fails(&self) -> Option<Failing> {
        let (slow, fast) = self.told;
        match () {
            () if slow.max(fast) < KNOWN_SPELLS => None,
            () if slow <= SELDOM * fast => Some(Failing::Fast),
            () if fast <= SELDOM * slow => Some(Failing::Slow),
            () => None,
        }
    }

    pub(super) fn refused(&mut self, at: Timestamp) {
        let bin = half_hour(at);
        if self.refusals.0 != Some(bin) {
            self.refusals = (Some(bin), self.refusals.1 + 1.0);
        }
    }

    pub(super) fn regime(&mut self, edge: usize, pod: Uid, at: Timestamp) {
        let r = &mut self.regimes[edge];
        let day = day_of(at);
        let several = r.last.is_some_and(|(other, then)| other != pod && at.since(then) <= TOGETHER);
        if several {
            self.slow_together = Some(at);
        }
        if several && r.day != Some(day) {
            r.day = Some(day);
            r.days += 1.0;
        }
        // The other replica's moment is kept until it is old, so that two that alternate are seen together.
        if r.last.is_none_or(|(other, then)| other == pod || at.since(then) > TOGETHER) {
            r.last = Some((pod, at));
        }
    }

    pub(super) fn outage_of(&mut self, pod: Uid, at: Timestamp) {
        let (last, several) = &mut self.outage;
        if last.is_some_and(|(other, then)| other != pod && at.since(then) <= GAP) {
            *several = Some(at);
        }
        if last.is_none_or(|(other, then)| other == pod || at.since(then) > GAP) {
            *last = Some((pod, at));
        }
    }

    pub(super) fn failed_together(&mut self, at: Timestamp, times: impl Iterator<Item = Option<Timestamp>>) {
        let mut replicas = 0;
        for then in times {
            if then.is_none_or(|t| at.since(t) > TOGETHER) {
                return;
            }
            replicas += 1;
        }
        if replicas >= 2 {
            self.together = Some(at);
        }
    }

    /// Takes in a record that leaves the list, false with a weight.
    pub(super) fn retire(&mut self, record: &RestartRecord, weight: f64) {
        let Some(settings) = record.settings else { return };
        if weight <= 0.0 {
            return;
        }
        let weight = weight as f32;
        let mut add = |tolerance: u64, edges: u8| self.add_older(Older { tolerance: tolerance as f32, edges, weight });
        if record.failing != Failing::Fast {
            add(settings.stall_tolerance(), u8::try_from(Edge::visible(settings.timeout())).unwrap_or(4));
        }
        if record.failing != Failing::Slow {
            add(settings.refusal_tolerance(), 0);
        }
    }

    pub(super) fn heap(&self) -> usize {
        self.this.heap()
            + self.season.heap()
            + self.past.heap()
            + self.older.capacity() * size_of::<Older>()
            + self.starts.recent.capacity() * size_of::<super::start::Start>()
            + self
                .shadow
                .as_ref()
                .map_or(0, |_| size_of::<Shadow>() + super::shadow::LONGEST * size_of::<super::shadow::Long>())
    }
}

/// `P(≥ n)` of the clusters of a new version under what the past allows; `None` with fewer than three.
///
/// Exposures in pod-seconds. `n` need not be whole: decayed counts are not.
pub(super) fn surprise(past: f64, past_seconds: f64, n: f64, new_seconds: f64, edge: Edge) -> Option<f64> {
    if n < 2.5 {
        return None;
    }
    let prior = match edge {
        Edge::Fast => PRIOR_RATE,
        _ => PRIOR_RATE * edge.seconds().powf(-PRIOR_FALL),
    };
    let rate = (past + 0.5) / (past_seconds / YEAR_SECONDS + 0.5 / prior);
    let mean = rate * new_seconds / YEAR_SECONDS;
    if mean <= 0.0 {
        return Some(0.0);
    }
    Some(gamma_lr(n, mean))
}

fn hour(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::HOUR.nanos())
}

fn day_of(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::DAY.nanos())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::probe::ProbeKind;

    #[test]
    fn a_version_differs_where_its_clusters_are_too_many_for_the_past() {
        // Policy, worked example 9.
        let day = 86_400.0;
        let p = surprise(2.0, 60.0 * day, 3.0, 5.0 * day, Edge::One).unwrap();
        assert!((p - 0.001254).abs() < 5e-7, "{p}");
        assert_eq!(surprise(2.0, 60.0 * day, 2.0, 5.0 * day, Edge::One), None);
        assert!((gamma_lr(2.0, 0.2062) - 0.0186).abs() < 5e-5);
    }

    #[test]
    fn what_always_came_in_bouts_makes_no_version_differ_by_one_of_them() {
        let day = Span::DAY;
        let slow = |epoch: &mut Epoch, at: Timestamp, half_hours: i64| {
            for n in 0..half_hours {
                epoch.tables[0].add(at + Span::MINUTE * (30 * n), 1.0, 2.5);
            }
        };
        // On each of these days so many half-hours, in so many days of five pods; then some in the first of a version.
        let differs = |bouts: &[(i64, i64)], days: i64, now: i64| {
            let container = "app".into();
            let mut s = Seen::new(ProbeId { container, kind: ProbeKind::Liveness }, Handler::Http);
            for (on, half_hours) in bouts {
                slow(&mut s.past, Timestamp::EPOCH + day * *on, *half_hours);
            }
            s.past.credit((day * (5 * days)).as_secs_f64(), 12, 10);
            (s.pod_seconds, s.watched.0) = ((day * (5 * days)).as_secs_f64(), (day * days).as_secs_f64());
            slow(&mut s.this, Timestamp::EPOCH + day * (days + 1), now);
            s.this.credit((Span::MINUTE * (150 * now)).as_secs_f64(), 12, 10);
            s.differs_at(Edge::One)
        };
        let in_bouts: Vec<(i64, i64)> = (0..8).map(|n| (4 * n + 1, 8)).collect();
        assert!(!differs(&in_bouts, 32, 8), "one more bout as there were before");
        assert!(differs(&in_bouts, 32, 40), "most of a day of it");
        let lonely: Vec<(i64, i64)> = (0..8).map(|n| (4 * n + 1, 1)).collect();
        assert!(differs(&lonely, 32, 8), "what were lonely half-hours");
        assert!(differs(&[(3, 40)], 30, 24), "half a day, whatever incident there once was");
        // Ten a day, every day, come each for itself: twice as many are another version's.
        let daily: Vec<(i64, i64)> = (0..30).map(|n| (n + 1, 10)).collect();
        assert!(differs(&daily, 30, 24), "what is often is no bout");
    }

    #[test]
    fn the_chance_of_so_many_clusters_is_scipy_s() {
        let all: serde_json::Value = serde_json::from_str(include_str!("../../tests/data/scipy.json")).unwrap();
        for row in all["poisson_tail"].as_array().unwrap() {
            let [past, past_days, n, days, wanted] = [0, 1, 2, 3, 4].map(|i| row[i].as_f64().unwrap());
            let found = surprise(past, past_days * 86_400.0, n, days * 86_400.0, Edge::One).unwrap();
            assert!((found - wanted).abs() < 1e-9 * wanted + 1e-15, "{row}: {found}");
        }
    }
}
