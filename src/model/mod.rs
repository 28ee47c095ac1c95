//! Belief about one probe: how many false restarts a year each setting would have, and how sure that is.
//!
//! **Takes** evidence and a moment. **Gives** a [`Belief`]: tails per latency edge, the rate of false restarts of any
//! setting with its 95 % bound, the weight with which each restart was false, and the budget that a container's start
//! needs. **Never** chooses, reads a clock, or lets a restart judge itself: runs that ended in a restart are weighed by
//! the tail of those that recovered, else each true fault would make the next one look false.
//!
//! The method stands in the reference documentation ("How the numbers are chosen"). Edges are chained: what is known
//! above 1 s predicts the rate above 2.5 s and lends half of what it knows about the shape. Read `tail` next.

mod prior;
mod start;
mod tail;

pub use prior::learn;
pub use start::{Basis, StartBudget, start_budget};
pub use tail::Tail;

use crate::evidence::{CRASHES, HANGS, KNOWN_YEARS, YEAR_SECONDS, chance_of_another, worth_after};
use crate::evidence::{
    Cause, Company, Edge, Evidence, Failing, PRIOR_FALL, PRIOR_RATE, RELAPSE, RESTARTS, RestartRecord, Seen,
};
use crate::probe::Settings;
use crate::units::{Span, Timestamp};
use statrs::function::gamma::{gamma_lr, ln_gamma};
use tail::{Data, GRID, GRID_OF_ALPHA, Killed, Moments, fit};

/// Faults of a pod a year that end in a restart by timeouts (hangs), and by refusals (crashes).
const TRUE_FAULTS: (f64, f64) = (HANGS, CRASHES);
/// False restarts a pod-year that there may be, whatever the tail says, where evidence this many times likelier under a
/// false restart speaks for one.
const UNEXPLAINED: f64 = 1.0;
/// See [`UNEXPLAINED`].
const SPEAKS: f64 = 3.0;
/// An edge is used once it has been visible in this share of the time in which 1 s was.
const VISIBLE_SHARE: f64 = 0.2;
/// Stalls that recovered by which what is expected of them counts.
const HABIT: f64 = 4.0;
/// Restarts older than this no longer count as evidence to loosen.
const LATELY: Span = Span::from_nanos(30 * 86_400 * 1_000_000_000);

/// False restarts a pod-year: posterior mean and variance.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Rate {
    /// Mean.
    pub mean: f64,
    /// Variance.
    pub variance: f64,
}

impl Rate {
    /// The probability that the true rate is at most `rate`, with the Gamma distribution of the same two moments.
    pub fn probability_within(self, rate: f64) -> f64 {
        if self.mean <= 0.0 || self.variance <= 0.0 {
            return if self.mean <= rate { 1.0 } else { 0.0 };
        }
        if rate <= 0.0 {
            return 0.0;
        }
        let (shape, scale) = (self.mean * self.mean / self.variance, self.variance / self.mean);
        gamma_lr(shape, (rate / scale).min(700.0 + 10.0 * shape))
    }

    /// The 95 % upper bound, with the Gamma distribution of the same two moments; never below the mean.
    pub fn upper(self) -> f64 {
        let (mut low, mut high) = (self.mean, self.mean + 5.0 * self.variance.sqrt());
        if self.mean <= 0.0 || self.variance <= 0.0 || self.probability_within(low) >= 0.95 {
            return low;
        }
        let (shape, scale) = (self.mean * self.mean / self.variance, self.variance / self.mean);
        let constant = ln_gamma(shape) + scale.ln();
        // Newton's steps within a bracket, which halve it where they would leave it.
        let mut x = f64::midpoint(low, high);
        for _ in 0..STEPS {
            let over = self.probability_within(x) - 0.95;
            if over < 0.0 {
                low = x
            } else {
                high = x
            }
            let density = ((shape - 1.0) * (x / scale).ln() - x / scale - constant).exp();
            let next = x - over / density;
            let next = if low < next && next < high { next } else { f64::midpoint(low, high) };
            if (next - x).abs() <= 1e-9 * high {
                return next;
            }
            x = next;
        }
        x
    }
}

/// Most steps of the search for an upper bound; five are usual.
const STEPS: usize = 60;

/// What is believed about one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Belief {
    tails: [Tail; 5],
    usable: [bool; 4],
    period: f64,
    weights: [f64; RESTARTS],
    fast_false: f64,
}

/// Fits a belief to what was seen of a probe until `now`. Pure: same evidence and moment, same belief.
pub fn believe(evidence: &Evidence, seen: &Seen, now: Timestamp) -> Belief {
    believe_under(evidence, seen, PRIOR_RATE, now)
}

/// The same where `prior` is what is expected of the rate above 1 s before anything is seen, a pod-year: see [`learn`].
pub fn believe_under(evidence: &Evidence, seen: &Seen, prior: f64, now: Timestamp) -> Belief {
    let of = |tails| Belief {
        tails,
        usable: usable(seen),
        period: mean_period(seen),
        weights: [0.0; RESTARTS],
        fast_false: 0.0,
    };
    let mut belief = of(tails(seen, prior, now, Scope::Now(&[], &[])));
    // Restarts of another version that stalled otherwise are weighed by how that one stalled.
    let began = evidence.version_since().filter(|_| seen.differs());
    let earlier = began.map(|_| of(tails(seen, prior, now, Scope::Past)));
    let before = |record: &RestartRecord| began.is_some_and(|began| record.at < began);
    let recovered = |record: &RestartRecord, b: &Belief, s| {
        let b = earlier.as_ref().filter(|_| before(record)).unwrap_or(b);
        (b.slow(s).mean, b.fast(s).mean)
    };
    let mut slow = Vec::new();
    let mut fast = Vec::new();
    let company = Surroundings::of(evidence, seen, now);
    let faults = own_faults(evidence, seen, |record, s| recovered(record, &belief, s), &company, now);
    for (i, record) in evidence.restarts().iter().enumerate() {
        let Some(settings) = judged(seen, record) else { continue };
        let by = |p: f64, faults: f64| company.weight(evidence, i, record, p, faults, now);
        let (by_slow, by_fast) = recovered(record, &belief, settings);
        let (by_slow, by_fast) = (by(by_slow, faults.0), by(by_fast, faults.1));
        let age = now.since(record.at);
        let decayed = worth_after(age) * f64::from(record.kept);
        let bin = record.at.nanos().div_euclid(Span::MINUTE.nanos() * 30);
        if record.failing.slow() {
            slow.push((
                bin,
                Killed {
                    tolerance: settings.stall_tolerance() as f64,
                    edges: Edge::visible(settings.timeout()),
                    weight: by_slow * decayed,
                    cluster: 0.0,
                    before: before(record),
                },
            ));
        }
        if record.failing.fast() {
            let tolerance = (settings.refusal_tolerance() as f64).max(Edge::Fast.seconds());
            fast.push((
                bin,
                Killed { tolerance, edges: 0, weight: by_fast * decayed, cluster: 0.0, before: before(record) },
            ));
        }
        belief.weights[i] = match record.failing {
            Failing::Slow => by_slow,
            Failing::Fast => by_fast,
            Failing::Untold => by_slow.max(by_fast),
        };
        if age <= LATELY {
            belief.fast_false += if record.failing.fast() { by_fast } else { 0.0 };
        }
    }
    let decay = seen.decay(now);
    let (mut slow, mut fast) = (clustered(slow), clustered(fast));
    for o in seen.older() {
        let weight = f64::from(o.weight) * decay;
        let list = if o.edges > 0 { &mut slow } else { &mut fast };
        list.push(Killed {
            tolerance: f64::from(o.tolerance).max(0.5),
            edges: usize::from(o.edges),
            weight,
            cluster: weight,
            before: began.is_some(),
        });
    }
    if !slow.is_empty() || !fast.is_empty() {
        belief.tails = tails(seen, prior, now, Scope::Now(&slow, &fast));
    }
    belief
}

/// True faults a pod-year of this workload, by timeouts and by refusals: as many as any has, or as many of its own
/// restarts as do not look false. One that truly breaks once a week must not be called falsely restarted for what chance
/// puts beside a few of them.
fn own_faults(
    evidence: &Evidence,
    seen: &Seen,
    recovered: impl Fn(&RestartRecord, Settings) -> (f64, f64),
    company: &Surroundings,
    now: Timestamp,
) -> (f64, f64) {
    let all = evidence.restarts();
    let Some(first) = all.first() else { return TRUE_FAULTS };
    // Of a full list the time since its first is known to be whole; of another one, all that was watched.
    let since = if all.len() < RESTARTS { evidence.first().map_or(first.at, |t| t.min(first.at)) } else { first.at };
    let pods = f64::from(evidence.replicas().max(evidence.pods()).max(1));
    let years = pods * now.since(since).as_years_f64().max(0.0);
    let (mut slow, mut fast) = (0.0, 0.0);
    for (i, record) in all.iter().enumerate() {
        let Some(settings) = judged(seen, record) else { continue };
        let true_part = |p: f64, faults: f64| 1.0 - company.weight(evidence, i, record, p, faults, now);
        match record.failing {
            Failing::Fast => fast += true_part(recovered(record, settings).1, TRUE_FAULTS.1),
            Failing::Slow | Failing::Untold => slow += true_part(recovered(record, settings).0, TRUE_FAULTS.0),
        }
    }
    let of = |usual: f64, seen: f64| usual.max((usual * KNOWN_YEARS + seen) / (KNOWN_YEARS + years));
    (of(TRUE_FAULTS.0, slow), of(TRUE_FAULTS.1, fast))
}

/// The settings that a record speaks of, if it is a kill by this probe.
fn judged(seen: &Seen, record: &RestartRecord) -> Option<Settings> {
    let ours = record.cause == Cause::LivenessKill
        && record.container == seen.id().container
        && seen.id().kind == crate::probe::ProbeKind::Liveness;
    record.settings.filter(|_| ours)
}

/// Lets only the heaviest restart of each half-hour count as a cluster.
fn clustered(list: Vec<(i64, Killed)>) -> Vec<Killed> {
    let heaviest = |bin: i64| list.iter().filter(|(b, _)| *b == bin).map(|(_, k)| k.weight).fold(0.0, f64::max);
    let mut done = Vec::with_capacity(list.len());
    list.iter()
        .map(|(bin, k)| {
            let first = k.weight >= heaviest(*bin) && !done.contains(bin);
            if first {
                done.push(*bin);
            }
            Killed { cluster: if first { k.weight } else { 0.0 }, ..*k }
        })
        .collect()
}

/// Of which time tails are fitted.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// What is to be expected of this version, restarts by timeouts and by refusals among it: at an edge at which it
    /// differs from the past, nothing of the past.
    Now(&'a [Killed], &'a [Killed]),
    /// Versions before this one, without restarts.
    Past,
}

fn tails(seen: &Seen, prior_rate: f64, now: Timestamp, scope: Scope<'_>) -> [Tail; 5] {
    let decay = seen.decay(now);
    let (slow, fast) = if let Scope::Now(slow, fast) = scope { (slow, fast) } else { (&[][..], &[][..]) };
    let fit_at = |edge: Edge, killed: &[Killed], expected: &dyn Fn(f64) -> f64, ln_prior: &[f64; GRID]| {
        let differs = seen.differs_at(edge);
        let (this, past) = (matches!(scope, Scope::Now(..)), matches!(scope, Scope::Past) || !differs);
        let epochs = [this.then(|| seen.this()), past.then(|| seen.past())];
        let exposure = epochs.iter().flatten().map(|e| e.exposure(edge)).sum::<f64>() * decay / YEAR_SECONDS;
        let tables = epochs.map(|e| e.map(|e| (e.table(edge), decay)));
        if past {
            return fit(&Data { edge, tables, killed, exposure }, expected, ln_prior);
        }
        let killed: Vec<Killed> = killed.iter().filter(|k| !k.before).copied().collect();
        fit(&Data { edge, tables, killed: &killed, exposure }, expected, ln_prior)
    };
    let from_base = |rate: f64, edge: Edge| move |u: f64| rate * (u / edge.seconds()).powf(-PRIOR_FALL);
    let prior = &GRID_OF_ALPHA.ln_prior;
    let (one, mut below) = fit_at(Edge::One, slow, &from_base(prior_rate, Edge::One), prior);
    let mut next = |edge: Edge, last: &Tail| {
        let ln_prior = std::array::from_fn(|i| 0.5 * prior[i] + 0.5 * below[i]);
        // Kills by a timeout below this edge say nothing above it.
        let visible: Vec<Killed> = slow.iter().filter(|k| k.edges > edge.index()).copied().collect();
        let (tail, ln_post) = fit_at(edge, &visible, &|u| last.rate() * last.survival(u), &ln_prior);
        below = ln_post;
        tail
    };
    let two = next(Edge::TwoAndHalf, &one);
    let five = next(Edge::Five, &two);
    let ten = next(Edge::Ten, &five);
    let (fast, _) = fit_at(Edge::Fast, fast, &from_base(PRIOR_RATE, Edge::Fast), prior);
    [one, two, five, ten, fast]
}

fn usable(seen: &Seen) -> [bool; 4] {
    let exposure = |edge| seen.this().exposure(edge) + seen.past().exposure(edge);
    let one = exposure(Edge::One);
    Edge::LATENCY.map(|edge| exposure(edge) >= VISIBLE_SHARE * one)
}

fn mean_period(seen: &Seen) -> f64 {
    let exposure = seen.this().exposure(Edge::Fast) + seen.past().exposure(Edge::Fast);
    if exposure <= 0.0 { 10.0 } else { (seen.this().periods() + seen.past().periods()) / exposure }
}

/// What restarts are weighed by.
struct Surroundings {
    pods: u32,
    /// The chance that some other replica is slow within five minutes by accident; `None` with a single replica.
    chance: Option<f64>,
    /// The chance that a replica is slow within ten minutes of a restart that cured it.
    relapse: f64,
    /// Whether replicas that fall ill alone are cured by their restart.
    cured: bool,
    /// What it says for a false restart by timeouts that nothing was slow beside it, and nothing after it.
    calm: (f64, f64),
}

impl Surroundings {
    fn of(evidence: &Evidence, seen: &Seen, now: Timestamp) -> Self {
        let pods = evidence.replicas().max(evidence.pods());
        let decay = seen.decay(now);
        let clusters =
            [seen.this(), seen.past()].iter().map(|e| e.table(Edge::One).clusters_from(0.0)).sum::<f64>() * decay;
        let exposure = (seen.this().exposure(Edge::One) + seen.past().exposure(Edge::One)) * decay;
        let chance = chance_of_company(pods, clusters, exposure);
        let relapse = seen.slow_start_chance().max(chance_of_company(1, clusters, exposure));
        Surroundings {
            pods,
            chance: (pods > 1).then_some(chance),
            relapse,
            cured: seen.cured(),
            calm: (calm(seen.habits().company(), chance), calm(seen.habits().again(), relapse)),
        }
    }

    fn weight(
        &self,
        evidence: &Evidence,
        index: usize,
        record: &RestartRecord,
        p: f64,
        faults: f64,
        now: Timestamp,
    ) -> f64 {
        if evidence.sick(index) {
            return 0.0;
        }
        let by_habit = if record.failing == Failing::Slow { self.calm } else { (0.5, 0.5) };
        let company = match (record.company, self.chance) {
            (Company::Shared, _) => {
                // Unless two truly broke at once.
                let c = chance_of_another(self.pods, faults);
                return weight(p.max(UNEXPLAINED), (0.5 + 0.5 * c) / c, faults) * record.confidence;
            }
            (_, None) => 1.0,
            (Company::Beside, Some(c)) => (0.5 + 0.5 * c) / c,
            (Company::Alone, Some(_)) => by_habit.0,
        };
        // What a restart cured was a fault; what goes on after it was none of the container's.
        let relapse = match record.relapsed {
            true => (0.5 + 0.5 * self.relapse) / self.relapse,
            false if now.since(record.at) > RELAPSE => by_habit.1,
            false => 1.0,
        };
        // Slowness of several that goes on after the restart is one thing that was seen, and not two.
        let persists = match record.company == Company::Beside && record.relapsed {
            true => company.max(relapse),
            false => company * relapse,
        };
        let evidence = persists * record.circumstances(self.cured);
        // Runs that recovered know nothing of the stalls that never do: where a restart itself speaks for one, they are
        // not what it is weighed by alone.
        let p = if evidence > SPEAKS { p.max(UNEXPLAINED) } else { p };
        weight(p, evidence, faults) * record.confidence
    }
}

/// How much likelier a false restart is to have been lonely, or not followed by slowness, than one that ended a fault, at
/// which chance alone decides: one half, or more where `(with, without)` stalls that recovered were so, too.
fn calm((with, without): (f64, f64), chance: f64) -> f64 {
    let expected = 0.5 + 0.5 * chance;
    let share = (with + HABIT * expected) / (with + without + HABIT);
    if chance >= 1.0 { 0.5 } else { ((1.0 - share) / (1.0 - chance)).clamp(0.5, 1.0) }
}

/// The chance that some other replica answers above 1 s within ±5 min by accident: `1 − exp(−600·pods·(n + 0.1)/(E + 1
/// day))`, `n` clusters above 1 s in `exposure` pod-seconds.
pub fn chance_of_company(pods: u32, clusters: f64, exposure: f64) -> f64 {
    -(-600.0 * f64::from(pods) * (clusters + 0.1) / (exposure + 86_400.0)).exp_m1()
}

/// The probability that a restart was false: `p·b/(p·b + φ)` with `p` false restarts a pod-year at its setting, `b` the
/// weight of company, `φ` true faults a pod-year that end the same way.
pub fn weight(p: f64, company: f64, faults: f64) -> f64 {
    p * company / (p * company + faults)
}

impl Belief {
    /// The tail above an edge.
    pub fn tail(&self, edge: Edge) -> &Tail {
        &self.tails[edge.index()]
    }

    /// The probability that each restart was false, parallel to [`Evidence::restarts`]; 0 for other causes.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Sum of the weights of restarts by refusals in the last 30 days: the expected number of false ones.
    pub fn fast_false(&self) -> f64 {
        self.fast_false
    }

    /// The mean period at which everything was seen, in seconds.
    pub fn period(&self) -> f64 {
        self.period
    }

    /// The latency edge by which a timeout is judged: the largest not above it that has been visible long enough.
    pub fn edge(&self, timeout: u32) -> Edge {
        let visible = Edge::visible(timeout);
        let i = (0..visible).rev().find(|i| self.usable[*i]).unwrap_or(0);
        Edge::LATENCY[i]
    }

    /// False restarts a pod-year of a setting, stalls and refusals together.
    pub fn rate(&self, s: Settings) -> Rate {
        let (slow, fast) = (self.slow(s), self.fast(s));
        Rate { mean: slow.mean + fast.mean, variance: slow.variance + fast.variance }
    }

    /// The mean of [`Belief::rate`] alone, at half its cost.
    pub fn mean(&self, s: Settings) -> f64 {
        let slow = |edge| self.mean_exceeding(self.tail(edge), s.stall_tolerance() as f64, s.period());
        self.edges(s.timeout()).map(slow).fold(0.0, f64::max)
            + self.mean_exceeding(self.tail(Edge::Fast), s.refusal_tolerance() as f64, s.period())
    }

    /// The mean of [`Belief::exceeding`].
    fn mean_exceeding(&self, tail: &Tail, tolerance: f64, period: u32) -> f64 {
        let at = tail.rate() * tail.survival(tolerance.max(0.0));
        let factor = self.period / f64::from(period);
        if factor <= 1.0 {
            return at;
        }
        (at * factor).min(tail.rate() * tail.survival((tolerance - self.period).max(0.0)))
    }

    /// Those by timeouts.
    pub fn slow(&self, s: Settings) -> Rate {
        self.beyond(s.timeout(), s.stall_tolerance() as f64, s.period())
    }

    /// The edge by which a timeout is judged, and those above it that have been visible long enough.
    fn edges(&self, timeout: u32) -> impl Iterator<Item = Edge> + '_ {
        let first = self.edge(timeout);
        Edge::LATENCY.into_iter().filter(move |e| *e == first || *e > first && self.usable(*e))
    }

    /// Those by refusals.
    pub fn fast(&self, s: Settings) -> Rate {
        self.exceeding(self.tail(Edge::Fast), s.refusal_tolerance() as f64, s.period())
    }

    /// False restarts a pod-year by whatever lasts beyond `tolerance` seconds above a timeout, asked at a period: the curve
    /// on which [`Belief::slow`] is a point.
    ///
    /// What lasts above an edge lasts above each lower one: a timeout has no fewer than any larger one that tolerates as
    /// much, whatever each edge by itself would say.
    pub fn beyond(&self, timeout: u32, tolerance: f64, period: u32) -> Rate {
        let each = self.edges(timeout).map(|edge| self.exceeding(self.tail(edge), tolerance, period));
        each.fold(Rate::default(), |most, rate| if rate.mean > most.mean { rate } else { most })
    }

    /// Whether an edge has been visible long enough to judge timeouts by it.
    pub fn usable(&self, edge: Edge) -> bool {
        self.usable.get(edge.index()).copied().unwrap_or(true)
    }

    /// Seen at another period, the rate is at most `rate(W)·max(1, P₀/P)` and at most `rate(W − P₀)`.
    fn exceeding(&self, tail: &Tail, tolerance: f64, period: u32) -> Rate {
        let moments = |y: f64| {
            let Moments { mean, square } = tail.moments(y.max(0.0));
            let rate = tail.rate();
            let mean_rate = rate * mean;
            let second = rate * rate * (1.0 + tail.spread()) * square;
            Rate { mean: mean_rate, variance: (second - mean_rate * mean_rate).max(0.0) }
        };
        let at = moments(tolerance);
        let factor = self.period / f64::from(period);
        if factor <= 1.0 {
            return at;
        }
        let earlier = moments(tolerance - self.period);
        if earlier.mean < at.mean * factor {
            earlier
        } else {
            Rate { mean: at.mean * factor, variance: at.variance * factor * factor }
        }
    }
}

#[cfg(test)]
mod tests;
