//! The document, version 1. Seconds, and events or pod-seconds a pod-year, as the names say.

mod beside;

use super::Explained;
use crate::decide::{Alternative, Curve, Explanation, Gate, Interval, Point, Restart, StartAccount, TailAccount};
use crate::evidence::Edge;
use crate::probe::Settings;
use beside::{Forecast, Load, Shadow};
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    explanations: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'a str>,
    namespace: &'a str,
    kind: &'static str,
    name: &'a str,
    container: &'a str,
    probe: &'static str,
    at: String,
    mode: &'static str,
    phase: &'static str,
    workload_reason: &'static str,
    workload_message: &'a str,
    reason: &'static str,
    message: &'a str,
    urgency: &'static str,
    current: Numbers,
    wanted: Numbers,
    owners: Numbers,
    accepted_a_pod_year: f64,
    detect_within_seconds: Option<f64>,
    confidence: f64,
    seen: Option<Seen<'a>>,
    tails: Vec<Tail>,
    curves: Vec<Drawn>,
    extents: Vec<Extent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts: Option<Starts>,
    alternatives: Vec<Other>,
    gates: Vec<Asked<'a>>,
    /// Absent of startup probes, and before the first hour is over.
    forecast: Option<Forecast>,
    load: Load,
    /// Absent where there were none.
    shadow_checks: Option<Shadow>,
}

#[derive(Serialize)]
struct Numbers {
    period: u32,
    timeout: u32,
    threshold: u32,
}

#[derive(Serialize)]
struct Seen<'a> {
    watched_seconds: f64,
    pod_seconds: f64,
    checks: f64,
    mean_period_seconds: f64,
    scrape_seconds: Option<f64>,
    pods: u32,
    pods_read: u32,
    pods_fresh: u32,
    replicas: u32,
    rollouts: u32,
    last_rollout_seconds_ago: Option<f64>,
    calm_changes: u32,
    differs: bool,
    slow_days: [f64; 4],
    refusal_half_hours: f64,
    false_by_timeouts_30d: f64,
    false_by_refusals_30d: f64,
    starved: Option<&'a str>,
    restarts: Vec<Killed<'a>>,
}

#[derive(Serialize)]
struct Killed<'a> {
    seconds_ago: f64,
    pod: &'a str,
    node: Option<&'a str>,
    cause: &'static str,
    failing: &'static str,
    company: &'static str,
    /// What other workloads on its node were; null where none are watched there.
    neighbours: Option<&'static str>,
    settings: Option<Numbers>,
    false_probability: f64,
}

#[derive(Serialize)]
struct Tail {
    above: &'static str,
    used: bool,
    start_seconds: f64,
    events_a_pod_year: f64,
    half_hours: f64,
    events: f64,
    pod_years: f64,
    alpha: f64,
}

#[derive(Serialize)]
struct Drawn {
    settings: Numbers,
    above: &'static str,
    own: Place,
    points: Vec<Place>,
}

#[derive(Serialize)]
struct Place {
    tolerance_seconds: f64,
    mean: f64,
    upper: f64,
}

#[derive(Serialize)]
struct Extent {
    least_seconds: f64,
    /// Absent where it was cut off.
    most_seconds: Option<f64>,
    count: f64,
    by_restart: bool,
}

#[derive(Serialize)]
struct Starts {
    total: u32,
    longest_seconds: f64,
    bound_seconds: Option<f64>,
    allowed_now_seconds: f64,
    allowed_then_seconds: f64,
    starts: Vec<Began>,
}

#[derive(Serialize)]
struct Began {
    seconds: f64,
    cut_off: bool,
}

#[derive(Serialize)]
struct Other {
    settings: Numbers,
    stall_tolerance_seconds: u64,
    refusal_tolerance_seconds: u64,
    hang_worst_seconds: u64,
    hang_mean_seconds: f64,
    crash_worst_seconds: u64,
    crash_mean_seconds: f64,
    false_restarts: Option<f64>,
    upper: Option<f64>,
    carrying: f64,
    restarts_cost: f64,
    unseen: f64,
    loss: f64,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    objection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objection_message: Option<String>,
}

#[derive(Serialize)]
struct Asked<'a> {
    name: &'static str,
    reason: Option<&'static str>,
    outcome: &'static str,
    figure: &'a str,
}

/// One document with every probe of every workload.
pub(super) fn document(all: &[Explained]) -> String {
    let entries = all.iter().flat_map(|x| x.explanations.iter().map(move |e| entry(x, e)));
    let document = Document { version: 1, explanations: entries.collect() };
    serde_json::to_string_pretty(&document).expect("numbers and texts always serialize") + "\n"
}

fn entry<'a>(x: &'a Explained, e: &'a Explanation) -> Entry<'a> {
    let j = &e.judgement;
    Entry {
        context: x.context.as_deref(),
        namespace: &e.address.namespace,
        kind: e.address.kind.name(),
        name: &e.address.name,
        container: &j.probe.container,
        probe: j.probe.kind.word(),
        at: time(e.at),
        mode: x.view.mode.word(),
        phase: x.view.phase.name(),
        workload_reason: x.view.reason.code(),
        workload_message: &x.view.message,
        reason: j.reason.code(),
        message: &j.message,
        urgency: match j.urgency {
            crate::decide::Urgency::Hold => "hold",
            crate::decide::Urgency::WithNextRollout => "with-next-rollout",
            crate::decide::Urgency::OwnRollout => "own-rollout",
            crate::decide::Urgency::Storm => "storm",
        },
        current: j.current.into(),
        wanted: j.wanted.into(),
        owners: e.owners.into(),
        accepted_a_pod_year: e.budget,
        detect_within_seconds: e.detect_within.map(crate::units::Span::as_secs_f64),
        confidence: j.confidence,
        seen: e.account.as_ref().map(seen),
        tails: e.tails.iter().map(Tail::from).collect(),
        curves: e.curves.iter().map(Drawn::from).collect(),
        extents: e.intervals.iter().map(Extent::from).collect(),
        starts: e.starts.as_ref().map(Starts::from),
        alternatives: e.alternatives.iter().map(Other::from).collect(),
        gates: e.gates.iter().map(Asked::from).collect(),
        forecast: e.ahead.as_ref().map(Forecast::from),
        load: Load::from(&e.load),
        shadow_checks: e.shadow.as_ref().map(Shadow::from),
    }
}

/// RFC 3339.
fn time(at: crate::units::Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(at.nanos())).map_or_else(|_| String::new(), |t| t.to_string())
}

fn seen(a: &crate::decide::Account) -> Seen<'_> {
    let c = a.coverage;
    Seen {
        watched_seconds: a.watched.as_secs_f64(),
        pod_seconds: a.pod_time.as_secs_f64(),
        checks: a.checks.round(),
        mean_period_seconds: a.period,
        scrape_seconds: a.interval.map(crate::units::Span::as_secs_f64),
        pods: c.pods,
        pods_read: c.sampled,
        pods_fresh: c.fresh,
        replicas: a.replicas,
        rollouts: a.rollouts,
        last_rollout_seconds_ago: a.last_rollout.map(crate::units::Span::as_secs_f64),
        calm_changes: a.calm,
        differs: a.differs,
        slow_days: a.slow_days,
        refusal_half_hours: a.refusals,
        false_by_timeouts_30d: a.false_restarts.0,
        false_by_refusals_30d: a.false_restarts.1,
        starved: a.starved.as_deref(),
        restarts: a.restarts.iter().map(Killed::from).collect(),
    }
}

impl From<Settings> for Numbers {
    fn from(s: Settings) -> Self {
        Numbers { period: s.period(), timeout: s.timeout(), threshold: s.threshold() }
    }
}

impl<'a> From<&'a Restart> for Killed<'a> {
    fn from(r: &'a Restart) -> Self {
        use crate::evidence::{Company, Failing};
        Killed {
            seconds_ago: r.ago.as_secs_f64(),
            pod: &r.pod,
            node: r.node.as_deref(),
            cause: r.cause.word(),
            failing: match r.failing {
                Failing::Slow => "timeouts",
                Failing::Fast => "refusals",
                Failing::Untold => "untold",
            },
            company: match r.company {
                Company::Alone => "alone",
                Company::Beside => "beside",
                Company::Shared => "shared",
            },
            neighbours: r.neighbours.map(|slow| if slow { "slow" } else { "well" }),
            settings: r.settings.map(Numbers::from),
            false_probability: r.weight,
        }
    }
}

fn above(edge: Edge) -> &'static str {
    match edge {
        Edge::One => "1s",
        Edge::TwoAndHalf => "2.5s",
        Edge::Five => "5s",
        Edge::Ten => "10s",
        Edge::Fast => "refusals",
    }
}

impl From<&TailAccount> for Tail {
    fn from(t: &TailAccount) -> Self {
        let TailAccount { edge, used, start, rate, clusters, count, exposure, alpha } = *t;
        Tail {
            above: above(edge),
            used,
            start_seconds: start,
            events_a_pod_year: rate,
            half_hours: clusters,
            events: count,
            pod_years: exposure,
            alpha,
        }
    }
}

impl From<Point> for Place {
    fn from(Point { tolerance, mean, upper }: Point) -> Self {
        Place { tolerance_seconds: tolerance, mean, upper }
    }
}

impl From<&Curve> for Drawn {
    fn from(c: &Curve) -> Self {
        let points = c.points.iter().copied().map(Place::from).collect();
        Drawn { settings: c.settings.into(), above: above(c.edge), own: c.own.into(), points }
    }
}

impl From<&Interval> for Extent {
    fn from(i: &Interval) -> Self {
        let Interval { lo, hi, count, restart } = *i;
        Extent { least_seconds: lo, most_seconds: hi, count, by_restart: restart }
    }
}

impl From<&StartAccount> for Starts {
    fn from(s: &StartAccount) -> Self {
        Starts {
            total: s.total,
            longest_seconds: s.longest,
            bound_seconds: s.bound,
            allowed_now_seconds: s.now,
            allowed_then_seconds: s.then,
            starts: s.seconds.iter().map(|&(seconds, cut_off)| Began { seconds, cut_off }).collect(),
        }
    }
}

impl From<&Alternative> for Other {
    fn from(a: &Alternative) -> Self {
        let s = a.settings;
        Other {
            settings: s.into(),
            stall_tolerance_seconds: s.stall_tolerance(),
            refusal_tolerance_seconds: s.refusal_tolerance(),
            hang_worst_seconds: s.worst_hang_detection(),
            hang_mean_seconds: s.mean_hang_detection(),
            crash_worst_seconds: u64::from(s.threshold()) * u64::from(s.period()),
            crash_mean_seconds: s.mean_crash_detection(),
            false_restarts: a.false_restarts,
            upper: a.upper,
            carrying: a.carrying,
            restarts_cost: a.restarts_cost,
            unseen: a.unseen,
            loss: a.loss,
            allowed: a.objection.is_none(),
            objection: a.objection.map(crate::decide::Objection::word),
            objection_message: a.objection.map(|o| o.to_string()),
        }
    }
}

impl<'a> From<&'a Gate> for Asked<'a> {
    fn from(g: &'a Gate) -> Self {
        Asked {
            name: g.name,
            reason: g.reason.map(crate::reason::Reason::code),
            outcome: g.mark.word(),
            figure: &g.figure,
        }
    }
}
