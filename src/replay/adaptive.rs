//! Policies that learn from the checks: they are shown each 15 seconds, once these are over, and answer new numbers.
//!
//! What they see is what the daemon could have seen: a check belongs to the scrape after its end.

use super::policy::STEP;
use super::tape::{Noise, Tape};
use super::walk::{Checked, Grid, Rules, Walk, Watch};
use super::{Change, Stage};
use crate::observation::{Counters, EDGES};
use crate::probe::{LARGEST, Settings};
use crate::record::Trace;
use crate::units::Span;
use std::collections::VecDeque;

/// What a daemon would have known of one replica at a scrape, cumulative since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replica {
    /// The kubelet's counters: successes only in the buckets, nothing beyond the timeout.
    pub counters: Counters,
    /// Failures that ran into the timeout, as events tell; the other failures were answered before it.
    pub timed_out: u64,
    /// Restarts by the liveness probe.
    pub restarts: u64,
}

/// A scrape of all replicas.
#[derive(Clone, Copy, Debug)]
pub struct Scrape<'a> {
    /// When, from the start of the trace; a multiple of 15 s.
    pub at: Span,
    /// It belongs to the history, after which everything starts over: counters, replicas, time.
    pub history: bool,
    /// The numbers in force until now.
    pub settings: Settings,
    /// One a phase.
    pub replicas: &'a [Replica],
    /// Mean load of the node over the last 15 s, where known.
    pub node_cpu: Option<f64>,
}

/// The daemon's own engine, asked at each scrape: new numbers and why, or none.
pub type Hook<'a> = dyn FnMut(&Scrape<'_>) -> Option<(Settings, String)> + 'a;

/// A check that ended in the last 15 seconds.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    phase: usize,
    end: i64,
    took: i64,
    failed: bool,
    timed_out: bool,
    verdict: bool,
}

impl Seen {
    /// A check of which no more is known than a counter tells at a scrape: that a replica's check succeeded, after about
    /// this time.
    pub fn success(phase: usize, took: Span) -> Seen {
        Seen { phase, end: 0, took: took.nanos(), failed: false, timed_out: false, verdict: false }
    }

    /// Likewise, that it failed, and whether an event said that it ran into its timeout.
    pub fn failure(phase: usize, timed_out: bool) -> Seen {
        Seen { phase, end: 0, took: 0, failed: true, timed_out, verdict: false }
    }

    /// How long the check took, if it succeeded.
    pub fn latency(&self) -> Option<Span> {
        (!self.failed).then_some(Span::from_nanos(self.took))
    }
}

/// A policy that learns.
pub trait Learn {
    /// Is shown the checks that ended since the last step, in order of their ends, and what was scraped.
    fn step(&mut self, seen: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)>;
}

/// Collects checks until they are over.
struct Collect<'a> {
    tape: &'a Tape,
    grid: Grid,
    phase: usize,
    seen: &'a mut Vec<Seen>,
}

impl Watch for Collect<'_> {
    fn quiet(&mut self, start: i64, count: i64, period: i64) {
        for start in (0..count).map(|n| start + n * period) {
            let (took, _) = self.tape.answer(start + self.grid.late());
            let end = start + took;
            self.seen.push(Seen { phase: self.phase, end, took, failed: false, timed_out: false, verdict: false });
        }
    }

    fn check(&mut self, check: Checked) {
        let took = check.end - check.start;
        let timed_out = check.failed && took == self.grid.timeout;
        let (end, failed, verdict) = (check.end, check.failed, check.verdict);
        self.seen.push(Seen { phase: self.phase, end, took, failed, timed_out, verdict });
    }
}

/// Plays a policy that learns: the history at the start's numbers, then the trace.
pub fn play(stage: &mut Stage<'_>, history: &[Trace], policy: &mut dyn Learn) -> Vec<Change> {
    let start = stage.options.start;
    for trace in history {
        let mut past = Stage::new(trace, stage.options);
        past.tape = Tape::new(trace, None);
        steps(&mut past, start, true, policy);
    }
    steps(stage, start, false, policy)
}

/// The engine's timeline, where there is one to ask.
pub fn engine(stage: &mut Stage<'_>, history: &[Trace], engine: Option<&mut Hook<'_>>) -> Result<Vec<Change>, String> {
    struct Asked<'a, 'b>(&'a mut Hook<'b>);
    impl Learn for Asked<'_, '_> {
        fn step(&mut self, _: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)> {
            (self.0)(scrape)
        }
    }
    let hook = engine.ok_or("no engine was given to ask")?;
    Ok(play(stage, history, &mut Asked(hook)))
}

fn steps(stage: &mut Stage<'_>, start: Settings, history: bool, policy: &mut dyn Learn) -> Vec<Change> {
    let phases = stage.options.phases;
    let rules = stage.rules(stage.options.kind);
    let mut timeline = vec![Change { at: 0, settings: start, why: "the start".to_owned() }];
    let (mut settings, mut noise) = (start, stage.noise(start));
    let mut walks: Vec<Walk> = (0..phases).map(|i| Walk::new(Grid::new(start, 0, i, phases))).collect();
    let mut replicas = vec![Replica::default(); phases as usize];
    let (mut running, mut over) = (Vec::new(), Vec::new());
    for at in (STEP..=stage.tape.end).step_by(STEP as usize) {
        advance(&stage.tape, &noise, rules, &mut walks, at, &mut running);
        over.clear();
        running.retain(|seen: &Seen| {
            let ended = seen.end < at;
            if ended {
                over.push(*seen);
            }
            !ended
        });
        over.sort_unstable_by_key(|seen| (seen.end, seen.phase));
        over.iter().for_each(|seen| replicas[seen.phase].count(seen));
        let node_cpu = stage.tape.mean_node_cpu(at - STEP, at);
        let scrape = Scrape { at: Span::from_nanos(at), history, settings, replicas: &replicas, node_cpu };
        let Some((wanted, why)) = policy.step(&over, &scrape) else { continue };
        if history || wanted == settings {
            continue;
        }
        (settings, noise) = (wanted, stage.noise(wanted));
        for (i, walk) in (0..).zip(&mut walks) {
            walk.switch(&stage.tape, Grid::new(wanted, at, i, phases), at);
        }
        timeline.push(Change { at, settings: wanted, why });
    }
    timeline
}

fn advance(tape: &Tape, noise: &Noise, rules: Rules, walks: &mut [Walk], until: i64, seen: &mut Vec<Seen>) {
    for (phase, walk) in walks.iter_mut().enumerate() {
        let mut collect = Collect { tape, grid: walk.grid(), phase, seen };
        walk.before(tape, noise, rules, until, &mut collect);
    }
}

impl Replica {
    fn count(&mut self, seen: &Seen) {
        if seen.failed {
            self.counters.failed += 1;
            self.timed_out += u64::from(seen.timed_out);
            self.restarts += u64::from(seen.verdict);
            return;
        }
        self.counters.successful += 1;
        self.counters.count += 1;
        let took = seen.took as f64 / 1e9;
        let buckets = self.counters.buckets.iter_mut().zip(EDGES);
        buckets.filter(|(_, edge)| took <= *edge).for_each(|(bucket, _)| *bucket += 1);
    }
}

/// Whole seconds, rounded up, within 1 and 30: beyond 30 s nobody sets a timeout.
fn timeout_of(seconds: f64) -> u32 {
    seconds.ceil().clamp(1.0, 30.0) as u32
}

/// Van Jacobson's estimate with the constants of RFC 6298: α = 1/8, β = 1/4, mean + 4 deviations; doubled after 15 s
/// with a timeout in them. Sees successes only, as the kubelet's histogram does.
#[derive(Default)]
pub struct Jacobson {
    mean: Option<f64>,
    deviation: f64,
    doublings: i32,
}

impl Learn for Jacobson {
    fn step(&mut self, seen: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)> {
        for took in seen.iter().filter(|s| !s.failed).map(|s| s.took as f64 / 1e9) {
            match &mut self.mean {
                None => (self.mean, self.deviation) = (Some(took), took / 2.0),
                Some(mean) => {
                    self.deviation += ((took - *mean).abs() - self.deviation) / 4.0;
                    *mean += (took - *mean) / 8.0;
                }
            }
        }
        let mean = self.mean?;
        let late = seen.iter().any(|s| s.timed_out);
        self.doublings = if late { (self.doublings + 1).min(5) } else { 0 };
        let limit = (mean + 4.0 * self.deviation) * f64::from(1 << self.doublings);
        // Doubling a limit that was rounded up: from the timeout in force.
        let doubled = if late { 2.0 * f64::from(scrape.settings.timeout()) } else { 0.0 };
        let timeout = timeout_of(limit.max(doubled));
        let why = format!(
            "mean {:.0} ms + 4 deviations of {:.0} ms (gains 1/8 and 1/4){}",
            mean * 1e3,
            self.deviation * 1e3,
            if late { ", doubled after a timeout" } else { "" }
        );
        Some((with(scrape.settings, scrape.settings.period(), timeout)?, why))
    }
}

/// Akka's φ accrual detector: φ = 8 over the last 1000 intervals, deviation at least 100 ms, pause 3 s.
#[derive(Default)]
pub struct PhiAccrual {
    last: VecDeque<f64>,
}

impl PhiAccrual {
    const SAMPLES: usize = 1000;
    const PAUSE: f64 = 3.0;
    const LEAST_DEVIATION: f64 = 0.1;
    /// The standard normal quantile whose upper tail is 10⁻⁸.
    const DEVIATIONS: f64 = 5.612;
}

impl Learn for PhiAccrual {
    fn step(&mut self, seen: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)> {
        for took in seen.iter().filter(|s| !s.failed).map(|s| s.took as f64 / 1e9) {
            if self.last.len() == Self::SAMPLES {
                self.last.pop_front();
            }
            self.last.push_back(took);
        }
        if self.last.is_empty() {
            return None;
        }
        let n = self.last.len() as f64;
        let mean = self.last.iter().sum::<f64>() / n;
        let variance = self.last.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let deviation = variance.sqrt().max(Self::LEAST_DEVIATION);
        let timeout = timeout_of(mean + Self::PAUSE + Self::DEVIATIONS * deviation);
        let why = format!(
            "phi 8: mean {:.0} ms + pause 3 s + {} deviations of {:.0} ms, last {} successes",
            mean * 1e3,
            Self::DEVIATIONS,
            deviation * 1e3,
            self.last.len()
        );
        Some((with(scrape.settings, scrape.settings.period(), timeout)?, why))
    }
}

/// Lifeguard's local health: a score from 0 to 8 for each replica, up with a failure, down with a success; period and
/// timeout are the start's times (1 + the worst score), at most 60 and 30 s.
pub struct Lifeguard {
    start: Settings,
    scores: Vec<u32>,
}

impl Lifeguard {
    const WORST: u32 = 8;

    /// With the numbers that a healthy replica has.
    pub fn new(start: Settings) -> Self {
        Lifeguard { start, scores: Vec::new() }
    }
}

impl Learn for Lifeguard {
    fn step(&mut self, seen: &[Seen], scrape: &Scrape<'_>) -> Option<(Settings, String)> {
        self.scores.resize(scrape.replicas.len(), 0);
        for check in seen {
            let score = &mut self.scores[check.phase];
            *score = if check.failed { (*score + 1).min(Self::WORST) } else { score.saturating_sub(1) };
        }
        let worst = self.scores.iter().copied().max().unwrap_or(0);
        let scaled = |n: u32, most: u32| n.saturating_mul(1 + worst).min(most.max(n));
        let (period, timeout) = (scaled(self.start.period(), 60), scaled(self.start.timeout(), 30));
        Some((with(self.start, period, timeout)?, format!("worst local health {worst} of 8, times {}", 1 + worst)))
    }
}

/// The same threshold with another period and timeout.
fn with(settings: Settings, period: u32, timeout: u32) -> Option<Settings> {
    Settings::new(period.min(LARGEST), timeout, settings.threshold())
}
