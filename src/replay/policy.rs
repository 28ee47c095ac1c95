//! From a policy to the numbers that it sets, and when.

use super::adaptive::{self, Hook};
use super::walk::{Grid, LongestRun, Nobody, Rules, SECOND, Walk};
use super::{Change, Kind, Stage};
use crate::probe::Settings;
use crate::record::Trace;
use crate::units::Span;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How numbers are chosen. The reference on replay says what each does, with its constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// 10/1/3.
    KubernetesDefault,
    /// 10/5/3.
    Advised,
    /// 10/10/2.
    Even,
    /// By the node's load.
    LoadRule,
    /// The 99th percentile and a fifth more.
    P99Margin,
    /// The best fixed numbers, the whole trace being known.
    Hindsight,
    /// Smoothed latency and deviation, as TCP sets its retransmission timer.
    Jacobson,
    /// The φ accrual failure detector.
    PhiAccrual,
    /// Patience that grows with local failures.
    Lifeguard,
    /// The daemon's own engine.
    ProbeTuner,
}

impl Policy {
    /// All, in the order in which they are played when none is named.
    pub const ALL: [Policy; 10] = [
        Policy::KubernetesDefault,
        Policy::Advised,
        Policy::Even,
        Policy::LoadRule,
        Policy::P99Margin,
        Policy::Hindsight,
        Policy::Jacobson,
        Policy::PhiAccrual,
        Policy::Lifeguard,
        Policy::ProbeTuner,
    ];

    /// Its name on the command line and in results.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::KubernetesDefault => "kubernetes-default",
            Policy::Advised => "advised",
            Policy::Even => "even",
            Policy::LoadRule => "load-rule",
            Policy::P99Margin => "p99-margin",
            Policy::Hindsight => "hindsight",
            Policy::Jacobson => "jacobson",
            Policy::PhiAccrual => "phi-accrual",
            Policy::Lifeguard => "lifeguard",
            Policy::ProbeTuner => "probe-tuner",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Policy::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| {
            let names = Policy::ALL.map(Policy::name).join(", ");
            format!("{text:?} is no policy; there are {names}; numbers of your own go into --settings, as \"10/10/2\"")
        })
    }
}

/// Policies decide at multiples of this.
pub const STEP: i64 = 15 * SECOND;

/// The numbers of a policy over the whole time, or why it cannot be played.
pub fn timeline(
    policy: Policy,
    stage: &mut Stage<'_>,
    history: &[Trace],
    engine: Option<&mut Hook<'_>>,
) -> Result<Vec<Change>, String> {
    let fixed = |settings, why: &str| Ok(vec![Change { at: 0, settings, why: why.to_owned() }]);
    match policy {
        Policy::KubernetesDefault => fixed(Settings::KUBERNETES_DEFAULT, "what Kubernetes fills in"),
        Policy::Advised => fixed(settings(10, 5, 3), "the usual advice: a timeout of 5 s"),
        Policy::Even => fixed(settings(10, 10, 2), "the stall tolerance of the default, bought with the timeout"),
        Policy::LoadRule => load_rule(stage),
        Policy::P99Margin => p99_margin(stage),
        Policy::Hindsight => Ok(hindsight(stage)),
        Policy::Jacobson => Ok(adaptive::play(stage, history, &mut adaptive::Jacobson::default())),
        Policy::PhiAccrual => Ok(adaptive::play(stage, history, &mut adaptive::PhiAccrual::default())),
        Policy::Lifeguard => {
            let mut lifeguard = adaptive::Lifeguard::new(stage.options.start);
            Ok(adaptive::play(stage, history, &mut lifeguard))
        }
        Policy::ProbeTuner => adaptive::engine(stage, history, engine),
    }
}

/// Numbers of our own that are valid by construction.
fn settings(period: u32, timeout: u32, threshold: u32) -> Settings {
    Settings::new(period, timeout, threshold).expect("within 1 and 86,400")
}

/// Over 0.8 of the node's cores in use: 10/3/2, else 5/1/3.
fn load_rule(stage: &Stage<'_>) -> Result<Vec<Change>, String> {
    if !stage.tape.knows_node_cpu() {
        return Err("no node_cpu".to_owned());
    }
    let start = stage.options.start;
    let mut timeline = vec![Change { at: 0, settings: start, why: "the start".to_owned() }];
    for at in (STEP..=stage.tape.end).step_by(STEP as usize) {
        let Some(load) = stage.tape.mean_node_cpu(at - STEP, at) else { continue };
        // A mean of 0.8 that sums to a hair more is 0.8.
        let busy = load > 0.8 + 1e-9;
        let wanted = if busy { settings(10, 3, 2) } else { settings(5, 1, 3) };
        if timeline.last().is_none_or(|now| now.settings != wanted) {
            let why = format!("node at {load:.2} over 15 s, {} 0.8", if busy { "over" } else { "not over" });
            timeline.push(Change { at, settings: wanted, why });
        }
    }
    Ok(timeline)
}

/// 10/T/3, T above 1.2 times the 99th percentile of all latencies, slow and failed ones too.
fn p99_margin(stage: &Stage<'_>) -> Result<Vec<Change>, String> {
    let p99 = stage.tape.latency_quantile(99).ok_or("no latency")?;
    let why = format!("p99 {:.3} s, and a fifth more", p99 as f64 / 1e9);
    Ok(vec![Change { at: 0, settings: margin(Span::from_nanos(p99)), why }])
}

/// What `p99-margin` makes of a 99th percentile: 10/T/3, T the first whole second above 1.2 times it.
pub fn margin(p99: Span) -> Settings {
    let timeout = i128::from(p99.nanos()) * 12 / (10 * i128::from(SECOND)) + 1;
    settings(10, timeout.clamp(1, i128::from(crate::probe::LARGEST)) as u32, 3)
}

/// A candidate of the search, with twenty times P times its cost: exact, so that ties are ties.
#[derive(Clone, Copy)]
struct Candidate {
    settings: Settings,
    scaled: u64,
}

impl Candidate {
    /// Cost 0.7·((K−1)·max(P,T) + T + P/2) + 0.3·((K−1)·P + P/2) + 25/P, in seconds.
    fn new(settings: Settings) -> Self {
        let [p, t, more, m] =
            [settings.period(), settings.timeout(), settings.threshold() - 1, settings.spacing()].map(u64::from);
        Candidate { settings, scaled: (14 * (more * m + t) + 10 * p + 6 * more * p) * p + 500 }
    }

    fn cost(self) -> f64 {
        self.scaled as f64 / (20.0 * f64::from(self.settings.period()))
    }

    /// Cheaper first; ties: larger P, smaller K, smaller T.
    fn order(&self, other: &Self) -> Ordering {
        let (a, b) = (self.settings, other.settings);
        let scaled = |c: &Candidate, by: Settings| c.scaled * u64::from(by.period());
        scaled(self, b)
            .cmp(&scaled(other, a))
            .then(b.period().cmp(&a.period()))
            .then(a.threshold().cmp(&b.threshold()))
            .then(a.timeout().cmp(&b.timeout()))
    }
}

/// The cheapest fixed numbers whose restarts are within the budget; where there are none, the cheapest of those with the
/// fewest restarts. Restarts are those of a liveness probe, whatever the numbers serve.
fn hindsight(stage: &mut Stage<'_>) -> Vec<Change> {
    let one_to = |n: u32| 1..=n;
    let mut candidates: Vec<Candidate> = one_to(30)
        .flat_map(|p| one_to(30).flat_map(move |t| (2..=10).map(move |k| Candidate::new(settings(p, t, k)))))
        .collect();
    candidates.sort_unstable_by(Candidate::order);
    let pod_years = stage.options.phases as f64 * stage.tape.end as f64 / (365.0 * 86_400.0 * 1e9);
    let allowed = (stage.options.budget.get() * pod_years).floor() as u64;
    let mut longest = [[None::<u32>; 31]; 31];
    let within = candidates.iter().find(|c| {
        let (p, t) = (c.settings.period(), c.settings.timeout());
        let run = *longest[p as usize][t as usize].get_or_insert_with(|| longest_run(stage, c.settings));
        run < c.settings.threshold() || allowed > 0 && restarts(stage, c.settings, allowed) <= allowed
    });
    let (chosen, why) = match within {
        Some(c) => (*c, "within the budget"),
        None => {
            // The most patient first: they restart least, so that the others are soon known to be worse.
            let mut fewest = (u64::MAX, usize::MAX);
            let mut order: Vec<usize> = (0..candidates.len()).collect();
            order.sort_by_key(|i| std::cmp::Reverse(candidates[*i].settings.stall_tolerance()));
            for i in order {
                fewest = fewest.min((restarts(stage, candidates[i].settings, fewest.0), i));
            }
            (candidates[fewest.1], "fewest restarts, none being within the budget")
        }
    };
    vec![Change { at: 0, settings: chosen.settings, why: format!("cost {:.3} s, {why}", chosen.cost()) }]
}

/// The longest run of failures on any phase if nothing ever restarts: up to the first restart all is the same, so that
/// thresholds above it have none and thresholds up to it at least one.
fn longest_run(stage: &mut Stage<'_>, numbers: Settings) -> u32 {
    let noise = stage.noise(numbers);
    let rules = stage.rules(Kind::Readiness);
    let mut longest = LongestRun::default();
    for phase in 0..rules.phases {
        Walk::new(Grid::new(numbers, 0, phase, rules.phases)).until_the_end(&stage.tape, &noise, rules, &mut longest);
    }
    longest.0
}

/// Restarts over all phases; some number above `most` as soon as there are more.
fn restarts(stage: &mut Stage<'_>, numbers: Settings, most: u64) -> u64 {
    let noise = stage.noise(numbers);
    let rules: Rules = stage.rules(Kind::Liveness);
    let mut sum = 0;
    for phase in 0..rules.phases {
        let mut walk = Walk::new(Grid::new(numbers, 0, phase, rules.phases));
        walk.until_the_end(&stage.tape, &noise, rules, &mut Nobody);
        sum += walk.restarts;
        if sum > most {
            break;
        }
    }
    sum
}
