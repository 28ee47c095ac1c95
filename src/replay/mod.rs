//! What each policy would have done on recorded traces.
//!
//! **Takes** a [`Trace`], policies or fixed numbers, and the terms of the replay. **Gives** for each the restarts that it
//! would have caused (all false: the traces hold no real fault), the time unready, and how long hangs and crashes would
//! have lasted until the verdict. **Never** lets a policy see a fault, the future, or more than it says it sees; nor
//! reads a clock: the same trace gives the same figures.
//!
//! ```text
//! trace ─▶ tape ─▶ timeline of numbers (policy) ─▶ walks of N probers, watched by trials ─▶ figures ─▶ text, JSON
//! ```
//!
//! The rules stand in `docs/reference/replay.md`. The prober is that of [`crate::probe::Prober`]; `walk` plays it
//! faster, and `tests/replay.rs` holds it to a plain one.

mod adaptive;
mod policy;
mod render;
mod tape;
mod trial;
mod walk;

pub use adaptive::{Hook, Jacobson, Learn, Lifeguard, PhiAccrual, Replica, Scrape, Seen};
pub use policy::{Policy, margin};
pub use render::{json, table};
pub use walk::Kind;

use crate::probe::Settings;
use crate::record::Trace;
use crate::units::{PerPodYear, Span};
use std::collections::BTreeMap;
use std::rc::Rc;
use tape::{Noise, Tape};
use trial::Trials;
use walk::{Grid, Nobody, Rules, Verdicts, Walk};

/// The terms of a replay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What the numbers serve.
    pub kind: Kind,
    /// Probers, evenly spaced over the period; 1 to [`MOST_PHASES`].
    pub phases: u32,
    /// From the verdict of a liveness probe until the container runs again.
    pub restart_takes: Span,
    /// False restarts that are allowed; only `hindsight` and `probe-tuner` ask.
    pub budget: PerPodYear,
    /// Play the trace end to end until this is over; `None`: once.
    pub lasting: Option<Span>,
    /// The numbers that a policy which changes them starts from.
    pub start: Settings,
}

/// The most phases: a hundred times what is usual.
pub const MOST_PHASES: u32 = 1000;

impl Default for Options {
    /// Liveness, ten phases, 20 s, one false restart a pod-year, once, from 10/1/3.
    fn default() -> Self {
        Options {
            kind: Kind::Liveness,
            phases: 10,
            restart_takes: Span::from_seconds(20),
            budget: PerPodYear::new(1.0).expect("one is a rate"),
            lasting: None,
            start: Settings::KUBERNETES_DEFAULT,
        }
    }
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// These numbers from start to end.
    Fixed(Settings),
    /// What a policy does.
    Policy(Policy),
}

/// Numbers and since when, from the start of the trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Since when, in nanoseconds.
    pub at: i64,
    /// The numbers.
    pub settings: Settings,
    /// Why these.
    pub why: String,
}

/// Times from a fault to the verdict, over all moments and phases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Mean.
    pub mean: Span,
    /// The ⌈n/2⌉-th smallest.
    pub p50: Span,
    /// The ⌈0.99·n⌉-th smallest.
    pub p99: Span,
    /// The largest.
    pub max: Span,
}

/// What came of one policy on one trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The numbers, the first at 0.
    pub settings: Vec<Change>,
    /// Checks started, over all phases.
    pub checks: u64,
    /// Of them failed.
    pub failed: u64,
    /// Restarts, over all phases; 0 for readiness.
    pub false_restarts: u64,
    /// Time unready if the same numbers serve a readiness probe, averaged over the phases.
    pub false_unready: Span,
    /// From a hang to the verdict.
    pub hang: Detection,
    /// From a crash that refuses at once to the verdict.
    pub crash: Detection,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// The policy's name, or the fixed numbers.
    pub policy: String,
    /// How long the trace was played.
    pub length: Span,
    /// Over how many phases.
    pub phases: u32,
    /// The figures, or why it could not be played.
    pub outcome: Result<Figures, String>,
}

/// Plays each of `plays` on a trace, in order. `history` is shown to the policies first, at the start's numbers, and not
/// counted. `engine` is the daemon's own engine, where there is one to ask.
pub fn replay(
    trace: &Trace,
    history: &[Trace],
    plays: &[Play],
    options: &Options,
    mut engine: Option<&mut Hook<'_>>,
) -> Vec<Played> {
    let mut stage = Stage::new(trace, options);
    let play = |play: &Play| {
        let (policy, timeline) = match play {
            Play::Fixed(settings) => {
                (settings.to_string(), Ok(vec![Change { at: 0, settings: *settings, why: "as given".into() }]))
            }
            Play::Policy(policy) => {
                (policy.name().to_owned(), policy::timeline(*policy, &mut stage, history, engine.as_deref_mut()))
            }
        };
        let outcome = timeline.map(|timeline| stage.score(timeline));
        Played { policy, length: Span::from_nanos(stage.tape.end), phases: options.phases, outcome }
    };
    plays.iter().map(play).collect()
}

/// When the verdicts of these numbers fell, over all phases, rising: restarts, or with readiness each "unready". All are
/// false, as the traces hold no fault. The restarts are as many as [`Figures::false_restarts`].
pub fn verdicts(trace: &Trace, timeline: &[Change], options: &Options) -> Vec<Span> {
    if timeline.is_empty() {
        return Vec::new();
    }
    let mut stage = Stage::new(trace, options);
    let noises: Vec<Rc<Noise>> = timeline.iter().map(|change| stage.noise(change.settings)).collect();
    let rules = stage.rules(options.kind);
    let mut found = Verdicts::default();
    for phase in 0..options.phases {
        let grid = |change: &Change| Grid::new(change.settings, change.at, phase, options.phases);
        let mut walk = Walk::new(grid(&timeline[0]));
        found.unready = false;
        for (noise, next) in noises.iter().zip(timeline.iter().skip(1).map(Some).chain([None])) {
            match next {
                Some(change) => {
                    walk.before(&stage.tape, noise, rules, change.at, &mut found);
                    walk.switch(&stage.tape, grid(change), change.at);
                    found.unready = false;
                }
                None => walk.until_the_end(&stage.tape, noise, rules, &mut found),
            }
        }
    }
    found.at.sort_unstable();
    found.at.into_iter().map(Span::from_nanos).collect()
}

/// A trace laid out for playing, and what was worked out of it so far.
struct Stage<'a> {
    tape: Tape,
    options: &'a Options,
    noises: BTreeMap<i64, Rc<Noise>>,
}

impl<'a> Stage<'a> {
    fn new(trace: &Trace, options: &'a Options) -> Self {
        Stage { tape: Tape::new(trace, options.lasting), options, noises: BTreeMap::new() }
    }

    /// What a prober of these numbers notices. One for each of the values that min(P, T) takes.
    fn noise(&mut self, settings: Settings) -> Rc<Noise> {
        let patience = settings.period_span().min(settings.timeout_span()).nanos();
        let tape = &self.tape;
        Rc::clone(self.noises.entry(patience).or_insert_with(|| Rc::new(tape.noise(patience))))
    }

    fn rules(&self, kind: Kind) -> Rules {
        Rules { kind, restart_takes: self.options.restart_takes.nanos(), phases: self.options.phases }
    }

    /// The figures of numbers that are known for the whole time.
    fn score(&mut self, timeline: Vec<Change>) -> Figures {
        let kind = self.options.kind;
        let phases = self.options.phases;
        let trials = trial::MOMENTS as usize * phases as usize;
        let (mut hang, mut crash) = (Vec::with_capacity(trials), Vec::with_capacity(trials));
        let noises: Vec<Rc<Noise>> = timeline.iter().map(|change| self.noise(change.settings)).collect();
        let (mut checks, mut failed, mut restarts, mut unready) = (0, 0, 0, 0i128);
        for phase in 0..phases {
            let walk = self.walk(&timeline, &noises, kind, phase, Some((&mut hang, &mut crash)));
            checks += walk.checks;
            failed += walk.failed;
            restarts += walk.restarts;
            let readiness = match kind {
                Kind::Readiness => walk,
                Kind::Liveness => self.walk(&timeline, &noises, Kind::Readiness, phase, None),
            };
            unready += i128::from(readiness.unready_by(self.tape.end));
        }
        Figures {
            settings: timeline,
            checks,
            failed,
            false_restarts: restarts,
            false_unready: Span::from_nanos((unready / i128::from(phases)) as i64),
            hang: Detection::of(&mut hang),
            crash: Detection::of(&mut crash),
        }
    }

    /// One phase from start to end, its trials noted where wanted.
    fn walk(
        &self,
        timeline: &[Change],
        noises: &[Rc<Noise>],
        kind: Kind,
        phase: u32,
        detections: Option<(&mut Vec<i64>, &mut Vec<i64>)>,
    ) -> Walk {
        let phases = self.options.phases;
        let rules = self.rules(kind);
        let mut walk = Walk::new(Grid::new(timeline[0].settings, timeline[0].at, phase, phases));
        let mut trials = detections.map(|lists| Trials::new(timeline, (phase, phases), self.tape.end, lists));
        for (i, noise) in noises.iter().enumerate() {
            match (timeline.get(i + 1), &mut trials) {
                (Some(change), None) => walk.before(&self.tape, noise, rules, change.at, &mut Nobody),
                (Some(change), Some(trials)) => walk.before(&self.tape, noise, rules, change.at, trials),
                (None, None) => walk.until_the_end(&self.tape, noise, rules, &mut Nobody),
                (None, Some(trials)) => walk.until_the_end(&self.tape, noise, rules, trials),
            }
            if let Some(change) = timeline.get(i + 1) {
                walk.switch(&self.tape, Grid::new(change.settings, change.at, phase, phases), change.at);
                if let Some(trials) = &mut trials {
                    trials.next_segment();
                }
            }
        }
        if let Some(trials) = trials {
            trials.finish(walk.next, walk.failures);
        }
        walk
    }
}

impl Detection {
    /// Of at least one time; sorts them.
    fn of(times: &mut [i64]) -> Self {
        times.sort_unstable();
        let n = times.len().max(1);
        let nth = |percent: usize| Span::from_nanos(times[(n * percent).div_ceil(100) - 1]);
        let sum: i128 = times.iter().map(|t| i128::from(*t)).sum();
        let mean = Span::from_nanos((sum / n as i128) as i64);
        Detection { mean, p50: nth(50), p99: nth(99), max: nth(100) }
    }
}
