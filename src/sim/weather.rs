//! Weather: what a health check of one replica would meet at any moment.
//!
//! Every replica (slot) has sources of spells: candidates come at the most that a source ever gives and are thinned by
//! a mark that belongs to the candidate. So the same spells come whatever settings ask. Sources that share a seed (of
//! a node, of a workload) give the same spells to all who share it: that is what correlation is here.
//!
//! Load, latency and the thinning are constant within a minute.

use super::chance::{Chance, FARTHEST, Length, child, mix, normal_at, normal_below, unit};
use super::family::{Nature, Twist};
use super::recording::Recording;
use super::slot::nanos;
use crate::observation::EDGES;
use crate::units::NANOS;

/// A minute in nanoseconds.
pub(super) const MINUTE: i64 = 60 * NANOS;
const DAY: i64 = 86_400 * NANOS;
/// Logarithms of medians are kept on a grid of this many steps a unit: medians to 1.6 %.
const GRID: f64 = 32.0;
/// The least median on the grid is e^−8 s, a third of a millisecond.
const LEAST: f64 = -8.0;
/// Steps of the grid: up to e^5.5 s, four minutes.
const STEPS: usize = 432;

/// What a check meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    /// How long until the answer, in nanoseconds.
    pub after: i64,
    /// Whether it is a healthy one.
    pub healthy: bool,
    /// The edge of the kubelet's histogram at or below which it falls; `EDGES.len()` above the last. Only of healthy
    /// ones.
    pub bucket: usize,
}

/// The lognormal law of a check's latency during one minute.
struct Law {
    ln_median: f64,
    sigma: f64,
    /// `bits < below[i]` means a latency of at most `EDGES[i]`.
    below: [u64; EDGES.len()],
}

impl Law {
    fn new(ln_median: f64, sigma: f64) -> Law {
        let below = EDGES.map(|edge| {
            let share = normal_below((edge.ln() - ln_median) / sigma);
            (share * 18_446_744_073_709_551_616.0) as u64
        });
        Law { ln_median, sigma, below }
    }

    fn bucket(&self, bits: u64) -> usize {
        self.below.iter().position(|b| bits < *b).unwrap_or(EDGES.len())
    }

    fn latency(&self, bits: u64) -> f64 {
        (self.ln_median + self.sigma * normal_at(unit(bits))).exp()
    }
}

/// Which rule decides whether a candidate comes true.
#[derive(Clone, Copy)]
enum Rule {
    /// A share of them by load.
    Stalls(fn(f64) -> f64),
    /// Always, and it refuses.
    Refusals,
    /// A neighbour becomes loud.
    Loud,
    /// A stall, if a neighbour is loud.
    WhileLoud,
    /// All replicas slow for hours.
    Brownout,
    /// Thirty a day times load, after the middle.
    AfterShift,
    /// By the version.
    Version,
    /// In an hour of Sunday.
    Sunday,
    /// The shared dependency refuses or crawls.
    Dependency,
    /// More with age.
    Age,
    /// At night.
    Night,
    /// A replica becomes hot.
    Hot,
    /// A stall, if this replica is hot.
    WhileHot,
    /// Always.
    Always,
}

/// A Poisson process of candidates: each with its moment, length and mark.
struct Source {
    rule: Rule,
    chance: Chance,
    gap: f64,
    length: Length,
    at: i64,
    lasts: i64,
    mark: f64,
}

impl Source {
    fn new(rule: Rule, chance: Chance, per_day: f64, length: Length, from: i64) -> Source {
        let mut source = Source { rule, chance, gap: 86_400.0 / per_day, length, at: from, lasts: 0, mark: 0.0 };
        source.step();
        source
    }

    fn step(&mut self) {
        self.at += nanos(self.chance.exponential(self.gap));
        self.lasts = nanos(self.chance.length(&self.length));
        self.mark = self.chance.unit();
    }
}

/// A time in which nothing is answered before its end, or all is refused.
#[derive(Clone, Copy)]
struct Spell {
    from: i64,
    to: i64,
    refuses: bool,
}

/// An episode that changes a replica's latency.
#[derive(Clone, Copy, Default)]
struct Episode {
    from: i64,
    to: i64,
    mark: f64,
}

/// What the world tells of a slot at the beginning of a minute.
#[derive(Clone, Copy)]
pub(super) struct Present {
    /// Load in [0, 1], the pressure of missing replicas included.
    pub load: f64,
    /// Seconds since the container began to answer.
    pub age: f64,
    /// How many versions came before.
    pub version: u64,
    /// Whether the run's middle has passed.
    pub shifted: bool,
    /// Hours of growing latency before a hang: how far it has come, in [0, 1).
    pub leaking: Option<f64>,
}

/// One replica's weather.
struct Slot {
    noise: u64,
    sources: Vec<Source>,
    spells: Vec<Spell>,
    loud: Episode,
    broad: Episode,
    hot: Episode,
    law: (usize, usize),
    /// Where in the recording this replica stands at time zero.
    offset: i64,
}

/// The weather of all replicas of one workload.
pub(super) struct Weather {
    seed: u64,
    nature: Nature,
    recording: Option<Recording>,
    slots: Vec<Slot>,
    /// Laws by deviation (usual, brown-out) and median.
    laws: [Vec<Option<Law>>; 2],
    shape: Vec<f64>,
    minute: (i64, i64),
}

/// Deviation of the logarithm of latency in a brown-out.
const BROWNOUT_SIGMA: f64 = 0.25;

impl Weather {
    /// The weather from `start` on, for one slot per node seed in `nodes`.
    pub(super) fn new(
        seed: u64,
        nature: Nature,
        recording: Option<Recording>,
        nodes: &[u64],
        loud: f64,
        start: i64,
    ) -> Weather {
        let slots = nodes
            .iter()
            .zip(0u64..)
            .map(|(&node, number)| {
                let offset = recording.as_ref().map_or(0, |r| nanos(unit(child(seed, "offset", number)) * r.seconds()));
                Slot {
                    noise: child(seed, "noise", number),
                    sources: sources(seed, &nature, number, node, loud, start),
                    spells: Vec::new(),
                    loud: Episode::default(),
                    broad: Episode::default(),
                    hot: Episode::default(),
                    law: (0, 0),
                    offset,
                }
            })
            .collect();
        let shape = (0..1440)
            .map(|minute| {
                let phase = std::f64::consts::TAU * (f64::from(minute) / 1440.0 - 3.0 / 24.0);
                (0.5 - 0.5 * phase.cos()).powi(2)
            })
            .collect();
        let laws = [0, 1].map(|_| (0..STEPS).map(|_| None).collect());
        Weather { seed, nature, recording, slots, laws, shape, minute: (start, start) }
    }

    /// The load at a moment, in [0, 1]: lowest at 3 h, highest at 15 h, six tenths at weekends.
    pub(super) fn load(&self, at: i64) -> f64 {
        let minute = usize::try_from(at.div_euclid(MINUTE).rem_euclid(1440)).unwrap_or(0);
        // The epoch was a Thursday; days 2 and 3 of its week are Saturday and Sunday.
        let weekend = matches!(at.div_euclid(DAY).rem_euclid(7), 2 | 3);
        let (least, most) = self.nature.load;
        least + (most - least) * self.shape[minute] * if weekend { 0.6 } else { 1.0 }
    }

    /// Goes on to the minute `from..to` for one slot.
    pub(super) fn begin(&mut self, number: usize, from: i64, to: i64, present: &Present) {
        self.minute = (from, to);
        let slot = &mut self.slots[number];
        if !slot.spells.is_empty() {
            slot.spells.retain(|s| s.to > from);
        }
        for i in 0..slot.sources.len() {
            while slot.sources[i].at < to {
                let source = &slot.sources[i];
                let found = Candidate { rule: source.rule, at: source.at, lasts: source.lasts, mark: source.mark };
                slot.sources[i].step();
                slot.meet(&found, self.seed, number, present);
            }
        }
        let (ln_median, wide) = self.median(number, from, to, present);
        let step = (((ln_median - LEAST) * GRID).round().max(0.0) as usize).min(STEPS - 1);
        let sigma = if wide { BROWNOUT_SIGMA } else { self.nature.sigma };
        let table = usize::from(wide);
        self.laws[table][step].get_or_insert_with(|| Law::new(LEAST + step as f64 / GRID, sigma));
        self.slots[number].law = (table, step);
    }

    /// The logarithm of the minute's median, and whether it is a brown-out's.
    fn median(&self, number: usize, from: i64, to: i64, present: &Present) -> (f64, bool) {
        let slot = &self.slots[number];
        let mut ln = (self.nature.median)(present.load).ln();
        if slot.loud.to > from {
            ln += 30f64.ln();
        }
        match self.nature.twist {
            Twist::ColdStart if present.age < 400.0 => ln += 90f64.ln() * (1.0 - present.age / 400.0),
            Twist::Shift if present.shifted => ln += 6f64.ln(),
            Twist::HotKey if slot.hot.to > from => ln += 100f64.ln(),
            Twist::NightlyBatch if is_night(from) => ln += 200f64.ln(),
            Twist::Brownout if slot.broad.to >= to => {
                return ((1.5 + 4.5 * slot.broad.mark).ln(), true);
            }
            // The half of the dependency's episodes that crawl: 1 to 8 s.
            Twist::FlakyDependency if slot.broad.to >= to => {
                return (8f64.ln() * (2.0 * slot.broad.mark - 1.0), true);
            }
            Twist::Leak => {
                if let Some(share) = present.leaking {
                    ln += (1.5f64.ln() - ln) * share;
                }
            }
            _ => {}
        }
        (ln, false)
    }

    /// Whether no check of this minute can take as long as `limit` nanoseconds or fail.
    pub(super) fn is_quiet(&self, number: usize, limit: i64) -> bool {
        let slot = &self.slots[number];
        self.recording.is_none() && slot.spells.is_empty() && {
            let law = self.law(slot);
            (limit as f64 / 1e9).ln() > law.ln_median + FARTHEST * law.sigma
        }
    }

    /// What a check started at `at` within the present minute meets; what takes longer than `limit` may be reported
    /// as anything longer.
    pub(super) fn answer(&self, number: usize, at: i64, limit: i64) -> Answer {
        let slot = &self.slots[number];
        let mut wait = 0;
        for spell in &slot.spells {
            if spell.from <= at && at < spell.to {
                if spell.refuses {
                    return Answer { after: NANOS / 1000, healthy: false, bucket: 0 };
                }
                wait = wait.max(spell.to - at);
            }
        }
        if let Some(recording) = &self.recording {
            let (after, healthy) = recording.at(at + slot.offset);
            let after = after.saturating_add(wait);
            return Answer { after, healthy, bucket: bucket(after) };
        }
        let law = self.law(slot);
        let bits = mix(slot.noise ^ at as u64);
        if wait == 0 {
            let bucket = law.bucket(bits);
            // Within the edge: the exact latency changes nothing.
            if bucket < EDGES.len() && nanos(EDGES[bucket]) <= limit {
                return Answer { after: nanos(EDGES[bucket]), healthy: true, bucket };
            }
        }
        let after = wait + nanos(law.latency(bits));
        Answer { after, healthy: true, bucket: bucket(after) }
    }

    fn law(&self, slot: &Slot) -> &Law {
        let (table, step) = slot.law;
        self.laws[table][step].as_ref().expect("made when its minute began")
    }

    /// CPU in use by one replica, in cores: a fifth of a core idle and one core at full load.
    pub(super) fn cores(&self, at: i64) -> f64 {
        match &self.recording {
            Some(recording) => recording.cores(at).unwrap_or(0.1),
            None => 0.1 + 0.9 * self.load(at),
        }
    }
}

/// The edge at or below which a latency falls.
fn bucket(after: i64) -> usize {
    let seconds = after as f64 / 1e9;
    EDGES.iter().position(|e| seconds <= *e).unwrap_or(EDGES.len())
}

fn is_night(at: i64) -> bool {
    (120..150).contains(&at.div_euclid(MINUTE).rem_euclid(1440))
}

fn is_frozen_hour(at: i64) -> bool {
    at.div_euclid(DAY).rem_euclid(7) == 3 && at.div_euclid(60 * MINUTE).rem_euclid(24) == 3
}

/// A candidate out of a source.
struct Candidate {
    rule: Rule,
    at: i64,
    lasts: i64,
    mark: f64,
}

impl Slot {
    /// Lets a candidate come true, or not.
    fn meet(&mut self, c: &Candidate, seed: u64, number: usize, present: &Present) {
        let mut lasts = c.lasts;
        let comes = match c.rule {
            Rule::Stalls(share) => c.mark < share(present.load),
            Rule::Refusals => {
                self.spells.push(Spell { from: c.at, to: c.at + lasts, refuses: true });
                return;
            }
            Rule::Loud => return self.loud.begin(c),
            Rule::Brownout => return self.broad.begin(c),
            Rule::Hot => {
                // The mark says which of five replicas.
                if (c.mark * 5.0) as usize == number {
                    self.hot.begin(c);
                }
                return;
            }
            Rule::Dependency => {
                if c.mark < 0.5 {
                    // It refuses: seconds, not the minutes of a crawl.
                    self.spells.push(Spell { from: c.at, to: c.at + lasts / 25, refuses: true });
                } else {
                    self.broad.begin(c);
                }
                return;
            }
            Rule::WhileLoud => self.loud.covers(c.at),
            Rule::WhileHot => self.hot.covers(c.at),
            Rule::AfterShift => present.shifted && c.mark < present.load,
            Rule::Version => {
                let (share, median, sigma) = version(seed, present.version);
                lasts = nanos(median * (lasts as f64 / 1e9).powf(sigma));
                c.mark < share
            }
            Rule::Sunday => is_frozen_hour(c.at),
            Rule::Age => c.mark * 60.0 < 3.0 * present.age / 86_400.0,
            Rule::Night => is_night(c.at),
            Rule::Always => true,
        };
        if comes {
            self.spells.push(Spell { from: c.at, to: c.at + lasts, refuses: false });
        }
    }
}

impl Episode {
    fn covers(&self, at: i64) -> bool {
        self.from <= at && at < self.to
    }

    fn begin(&mut self, c: &Candidate) {
        if c.at >= self.to {
            *self = Episode { from: c.at, to: c.at + c.lasts, mark: c.mark };
        }
    }
}

/// A version's tail: share of sixty stalls a day, median length and deviation. One version in five is bad.
fn version(seed: u64, number: u64) -> (f64, f64, f64) {
    let mut chance = Chance::new(seed, "version", number);
    if chance.unit() < 0.2 {
        (0.4 + 0.6 * chance.unit(), 2.5 + chance.unit(), 0.75)
    } else {
        (0.02 + 0.2 * chance.unit(), 0.6 + 0.8 * chance.unit(), 0.6)
    }
}

/// The sources of one slot, by its nature.
fn sources(seed: u64, nature: &Nature, number: u64, node: u64, loud: f64, start: i64) -> Vec<Source> {
    let own = |purpose: &str| Chance::new(seed, purpose, number);
    let shared = |purpose: &str| Chance::new(seed, purpose, u64::MAX);
    let of_node = |purpose: &str| Chance::new(node, purpose, 0);
    let mut all = Vec::new();
    let mut add = |rule, chance, per_day, length| all.push(Source::new(rule, chance, per_day, length, start));
    let lognormal = |median, sigma| Length::Lognormal { median, sigma };
    let (gamma, uniform) = (|shape, scale| Length::Gamma { shape, scale }, |from, to| Length::Uniform { from, to });
    let neighbours = loud + if let Twist::Noisy(per_day) = nature.twist { per_day } else { 0.0 };
    if neighbours > 0.0 {
        // First the neighbour, then what it does: within a minute the order of sources is the order of causes.
        add(Rule::Loud, of_node("loud"), neighbours, Length::Pareto { least: 60.0, alpha: 1.5, most: 1800.0 });
        add(Rule::WhileLoud, own("while-loud"), 2160.0, Length::Pareto { least: 1.0, alpha: 1.9, most: 60.0 });
    }
    for (stalls, i) in nature.stalls.iter().zip(0u64..) {
        let chance = Chance::new(child(seed, "stalls", i), "slot", number);
        add(Rule::Stalls(stalls.share), chance, stalls.most, stalls.length);
    }
    if let Some(refusals) = &nature.refusals {
        let together = nature.twist == Twist::SharedRefusals;
        let chance = if together { shared("refusals") } else { own("refusals") };
        add(Rule::Refusals, chance, refusals.per_day, refusals.length);
    }
    match nature.twist {
        Twist::Brownout => add(Rule::Brownout, shared("brownout"), 0.25, uniform(1800.0, 14_400.0)),
        Twist::Shift => add(Rule::AfterShift, own("shift"), 30.0, lognormal(3.0, 0.7)),
        Twist::Release => add(Rule::Version, own("release"), 60.0, lognormal(1.0, 1.0)),
        Twist::Weekly => add(Rule::Sunday, of_node("frozen"), 720.0, uniform(5.0, 15.0)),
        Twist::FlakyDependency => add(Rule::Dependency, shared("dependency"), 0.7, uniform(60.0, 900.0)),
        Twist::Reclaim => add(Rule::Age, own("reclaim"), 60.0, lognormal(3.0, 0.7)),
        Twist::NightlyBatch => add(Rule::Night, own("batch"), 1440.0, gamma(2.0, 2.0)),
        Twist::HotKey => {
            add(Rule::Hot, shared("hot"), 1.0, uniform(3600.0, 21_600.0));
            add(Rule::WhileHot, own("while-hot"), 1440.0, lognormal(2.0, 0.7));
        }
        Twist::SickReplica if number == 0 => add(Rule::Always, own("sick"), 160.0, uniform(40.0, 120.0)),
        Twist::None
        | Twist::Noisy(_)
        | Twist::ColdStart
        | Twist::Leak
        | Twist::SharedRefusals
        | Twist::SickReplica
        | Twist::Exits(..) => {}
    }
    all
}
