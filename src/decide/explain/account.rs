//! What was seen of one probe, and what is believed of it.

use crate::decide::case::Case;
use crate::decide::{refuse, startup};
use crate::evidence::{Cause, Company, Coverage, Edge, Failing};
use crate::probe::{ProbeKind, Settings};
use crate::units::{Name, Span};

/// What was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    /// Time in which at least one replica was read.
    pub watched: Span,
    /// Pod-time that was seen.
    pub pod_time: Span,
    /// Checks in it, about.
    pub checks: f64,
    /// The mean period at which all this was seen, in seconds.
    pub period: f64,
    /// The usual distance of two scrapes, once known.
    pub interval: Option<Span>,
    /// How many replicas are read now.
    pub coverage: Coverage,
    /// Replicas as declared.
    pub replicas: u32,
    /// Changes of version that were seen.
    pub rollouts: u32,
    /// How long ago the last one was.
    pub last_rollout: Option<Span>,
    /// Changes of version in a row that made nothing worse.
    pub calm: u32,
    /// This version stalls more often than the past allows: the past is left out.
    pub differs: bool,
    /// Days on which several replicas were slow together, above 1, 2.5, 5 and 10 s.
    pub slow_days: [f64; 4],
    /// Half-hours in which an event told of a refusal.
    pub refusals: f64,
    /// Expected number of false restarts in 30 days: by timeouts, by refusals.
    pub false_restarts: (f64, f64),
    /// That CPU has been missing for hours, as a sentence, if it has.
    pub starved: Option<String>,
    /// The container's last restarts, oldest first, at most 20.
    pub restarts: Vec<Restart>,
}

/// One restart of the probe's container.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// How long ago it became known.
    pub ago: Span,
    /// The pod's name.
    pub pod: Name,
    /// Its node, where known.
    pub node: Option<Name>,
    /// What ended it.
    pub cause: Cause,
    /// How its checks had failed.
    pub failing: Failing,
    /// What the other replicas did then.
    pub company: Company,
    /// Whether other workloads on its node were slow then; `None` where none are watched there.
    pub neighbours: Option<bool>,
    /// The numbers that did it.
    pub settings: Option<Settings>,
    /// The probability that it was false.
    pub weight: f64,
}

/// A fitted tail.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailAccount {
    /// Above which latency edge, or refusals.
    pub edge: Edge,
    /// Whether it was visible long enough to be used.
    pub used: bool,
    /// Where it begins, `u`, in seconds.
    pub start: f64,
    /// Events above its start a pod-year.
    pub rate: f64,
    /// Half-hours with such an event: the evidence.
    pub clusters: f64,
    /// Events: the frequency.
    pub count: f64,
    /// Pod-years in which the edge could be seen.
    pub exposure: f64,
    /// Posterior mean of the exponent α.
    pub alpha: f64,
}

/// False verdicts by tolerance, at one edge and period.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// The numbers that see so.
    pub settings: Settings,
    /// The edge by which their timeout is judged.
    pub edge: Edge,
    /// Where they themselves stand on it: the part by timeouts.
    pub own: Point,
    /// Rising in tolerance.
    pub points: Vec<Point>,
}

/// False verdicts a pod-year of a tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// In seconds.
    pub tolerance: f64,
    /// Posterior mean.
    pub mean: f64,
    /// Upper bound, 95 %.
    pub upper: f64,
}

/// Runs of slow checks whose extent lies in an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Surely at least this, in seconds.
    pub lo: f64,
    /// At most this; `None` where it was cut off.
    pub hi: Option<f64>,
    /// How many, decayed; of restarts their weight.
    pub count: f64,
    /// Whether a restart cut it off.
    pub restart: bool,
}

/// Start times against what is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct StartAccount {
    /// The last starts, in seconds; those cut off by a kill would have taken longer.
    pub seconds: Vec<(f64, bool)>,
    /// All ever seen.
    pub total: u32,
    /// The longest.
    pub longest: f64,
    /// 99 of 100 starts take at most this, 95 % sure; `None` below five starts.
    pub bound: Option<f64>,
    /// What today's numbers allow, in seconds.
    pub now: f64,
    /// What the wanted ones allow.
    pub then: f64,
}

/// Points of a curve.
const POINTS: u32 = 96;
/// What counts less than this is not shown: a restart that was surely no false one, or long ago.
const NOTHING: f64 = 0.005;
/// Most seconds of tolerance that a curve shows.
const FARTHEST: f64 = 300.0;

pub(super) fn account(case: &Case<'_>) -> Option<Account> {
    let seen = case.seen?;
    let exposure = seen.this().exposure(Edge::Fast) + seen.past().exposure(Edge::Fast);
    let periods = seen.this().periods() + seen.past().periods();
    let period = if exposure > 0.0 { periods / exposure } else { f64::from(case.current().period()) };
    let (rollouts, last) = case.evidence.rollouts();
    let belief = case.belief.as_ref();
    let restart = |(r, weight): (&crate::evidence::RestartRecord, f64)| Restart {
        ago: case.now.since(r.at),
        pod: r.pod_name.clone(),
        node: r.node.clone(),
        cause: r.cause,
        failing: r.failing,
        company: r.company,
        neighbours: r.neighbours.map(|n| n.slow),
        settings: r.settings,
        weight,
    };
    Some(Account {
        watched: seen.watched(),
        pod_time: seen.pod_time(),
        checks: seen.pod_time().as_secs_f64() / period.max(1.0),
        period,
        interval: seen.interval(),
        coverage: case.evidence.coverage(&case.probe.id, case.now),
        replicas: case.evidence.replicas(),
        rollouts,
        last_rollout: last.map(|at| case.now.since(at)),
        calm: case.calm,
        differs: seen.differs(),
        slow_days: Edge::LATENCY.map(|e| seen.regimes(e)),
        refusals: seen.refusals(),
        false_restarts: belief.map_or((0.0, 0.0), |b| (case.slow_false(), b.fast_false())),
        starved: refuse::starved(case),
        restarts: case.restarts(crate::units::Timestamp::from_nanos(i64::MIN)).map(restart).collect(),
    })
}

pub(super) fn tails(case: &Case<'_>) -> Vec<TailAccount> {
    let Some(belief) = &case.belief else { return Vec::new() };
    let account = |edge: Edge| {
        let t = belief.tail(edge);
        TailAccount {
            edge,
            used: belief.usable(edge),
            start: t.start(),
            rate: t.rate(),
            // The sum of nothing is a negative zero, which nobody wants to read.
            clusters: t.clusters() + 0.0,
            count: t.count() + 0.0,
            exposure: t.exposure(),
            alpha: t.alpha(),
        }
    };
    Edge::ALL.map(account).into()
}

/// The curve on which today's numbers stand, and that of the wanted ones where it is another.
pub(super) fn curves(case: &Case<'_>, wanted: Settings) -> Vec<Curve> {
    let Some(belief) = case.belief.as_ref().filter(|_| case.watched() > Span::ZERO) else { return Vec::new() };
    let current = case.current();
    let bound = case.permission().detect_within.map_or(0.0, Span::as_secs_f64);
    let tolerances = [current, wanted].map(|s| s.stall_tolerance() as f64);
    let end = (1.15 * tolerances[0].max(tolerances[1]).max(bound)).clamp(60.0, FARTHEST);
    let curve = |s: Settings| {
        let edge = belief.edge(s.timeout());
        let point = |tolerance: f64| {
            let rate = belief.beyond(s.timeout(), tolerance, s.period());
            Point { tolerance, mean: rate.mean, upper: rate.upper() }
        };
        let from = edge.seconds();
        let points = (0..=POINTS).map(|i| point(from + (end - from) * f64::from(i) / f64::from(POINTS))).collect();
        Curve { settings: s, edge, own: point(s.stall_tolerance() as f64), points }
    };
    let mut curves = vec![curve(current)];
    if wanted != current {
        curves.push(curve(wanted));
    }
    curves
}

/// What the curve of today's numbers was fitted to.
pub(super) fn intervals(case: &Case<'_>) -> Vec<Interval> {
    let (Some(seen), Some(belief)) = (case.seen, &case.belief) else { return Vec::new() };
    let edge = belief.edge(case.current().timeout());
    let decay = seen.decay(case.now);
    let mut all: Vec<Interval> = Vec::new();
    let mut add =
        |new: Interval| match all.iter_mut().find(|i| (i.lo, i.hi, i.restart) == (new.lo, new.hi, new.restart)) {
            Some(known) => known.count += new.count,
            None => all.push(new),
        };
    let past = (!seen.differs_at(edge)).then_some(seen.past());
    for e in [Some(seen.this()), past].into_iter().flatten().flat_map(|epoch| epoch.table(edge).extents()) {
        let hi = e.hi.is_finite().then_some(f64::from(e.hi));
        add(Interval { lo: f64::from(e.lo), hi, count: f64::from(e.count) * decay, restart: false });
    }
    if case.probe.id.kind == ProbeKind::Liveness {
        let slow = case.kills(crate::units::Timestamp::from_nanos(i64::MIN)).filter(|(r, _)| r.failing.slow());
        for (s, weight) in slow.filter_map(|(r, w)| Some((r.settings?, w))) {
            add(Interval { lo: s.stall_tolerance() as f64, hi: None, count: weight, restart: true });
        }
    }
    all.retain(|i| i.count >= NOTHING);
    all.sort_by(|a, b| a.lo.total_cmp(&b.lo).then(a.hi.unwrap_or(f64::MAX).total_cmp(&b.hi.unwrap_or(f64::MAX))));
    all
}

pub(super) fn starts(case: &Case<'_>, wanted: Settings) -> Option<StartAccount> {
    let starts = case.seen.filter(|_| case.probe.id.kind == ProbeKind::Startup)?.starts();
    Some(StartAccount {
        seconds: starts.recent().iter().map(|s| (f64::from(s.seconds), s.cut_off)).collect(),
        total: starts.total(),
        longest: f64::from(starts.longest()),
        bound: startup::needed(starts),
        now: startup::budget_of(case.current()),
        then: startup::budget_of(wanted),
    })
}
