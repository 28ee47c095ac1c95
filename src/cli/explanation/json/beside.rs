//! What stands beside a decision: `forecast`, `load` and `shadow_checks`.

use super::time;
use crate::decide::{Ahead, LoadAccount, ShadowAccount, Spread};
use crate::evidence::{Agreement, Basis, Long};
use crate::units::Span;
use serde::Serialize;

/// When one check in a hundred will run into the timeout.
#[derive(Serialize)]
pub(super) struct Forecast {
    /// The beginning of that hour; absent while nothing is foretold.
    reaches_timeout_at: Option<String>,
    within_seconds: Option<f64>,
    timeout_seconds: Option<u32>,
    probability: Option<f64>,
    /// `season`, or `trend` with its growth a day.
    basis: Option<&'static str>,
    growth_a_day: Option<f64>,
    /// Not worth telling while false: of the last ten fewer than five came true.
    trusted: bool,
    hits: u32,
    misses: u32,
    surprises: u32,
    /// Since when today's timeout is being reached, and the last hour in which it was; absent if it is not.
    reached_since: Option<String>,
    reached_last_at: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Load {
    nodes: Option<Bins>,
    pods: Option<Bins>,
    /// The nodes' load at restarts, as share of their cores, rising.
    at_restarts: Vec<f64>,
    /// Absent where the container has no CPU limit, or nobody told.
    throttled: Option<Throttled>,
}

/// Nodes: shares of their cores. Pods: cores.
#[derive(Serialize)]
struct Bins {
    highest: f64,
    highest_seconds_ago: f64,
    bins: Vec<Bin>,
}

#[derive(Serialize)]
struct Bin {
    from: f64,
    seconds: f64,
}

#[derive(Serialize)]
struct Throttled {
    /// Of the CPU periods of the last day.
    share: f64,
    pod_seconds: f64,
    /// How long most pods have been above 30 %; absent if they are not.
    lasts_seconds: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct Shadow {
    checks: f64,
    silent: f64,
    unhealthy: f64,
    above_seconds: f64,
    above: f64,
    /// Of the last day, the slowest first; `null` for no answer in 30 s.
    slowest_seconds: Vec<Option<f64>>,
    /// `agree`, `differ`, `too-few`.
    kubelet: &'static str,
    /// Since when they differ, and the shares of checks that were slow or not healthy.
    differ_since: Option<String>,
    share: Option<f64>,
    kubelets_share: Option<f64>,
}

/// Four digits after the point: more than anybody believes.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

impl From<&Ahead> for Forecast {
    fn from(a: &Ahead) -> Self {
        let Ahead { foretold, trusted, record, reaching } = *a;
        let growth = foretold.and_then(|f| if let Basis::Trend(growth) = f.basis { Some(growth) } else { None });
        Forecast {
            reaches_timeout_at: foretold.map(|f| time(f.at)),
            within_seconds: foretold.map(|f| f.within.as_secs_f64()),
            timeout_seconds: foretold.map(|f| f.timeout),
            probability: foretold.map(|f| rounded(f64::from(f.probability))),
            basis: foretold.map(|_| if growth.is_some() { "trend" } else { "season" }),
            growth_a_day: growth.map(|g| rounded(f64::from(g))),
            trusted,
            hits: record.hits,
            misses: record.misses,
            surprises: record.surprises,
            reached_since: reaching.map(|(since, _)| time(since)),
            reached_last_at: reaching.map(|(_, last)| time(last)),
        }
    }
}

impl From<&LoadAccount> for Load {
    fn from(l: &LoadAccount) -> Self {
        let LoadAccount { nodes, pods, restarts, throttled } = l;
        Load {
            nodes: nodes.as_ref().map(Bins::from),
            pods: pods.as_ref().map(Bins::from),
            at_restarts: restarts.iter().copied().map(rounded).collect(),
            throttled: throttled.map(|t| Throttled {
                share: rounded(t.share),
                pod_seconds: t.seen.as_secs_f64(),
                lasts_seconds: t.lasts.map(Span::as_secs_f64),
            }),
        }
    }
}

impl From<&Spread> for Bins {
    fn from(s: &Spread) -> Self {
        let Spread { edges, seconds, highest, highest_ago } = s;
        let bins = edges.iter().zip(seconds).map(|(from, seconds)| Bin { from: *from, seconds: seconds.round() });
        Bins { highest: rounded(*highest), highest_seconds_ago: highest_ago.as_secs_f64(), bins: bins.collect() }
    }
}

impl From<&ShadowAccount> for Shadow {
    fn from(s: &ShadowAccount) -> Self {
        let ShadowAccount { checks, silent, unhealthy, above, slowest, agreement } = s;
        let (kubelet, differ) = match *agreement {
            Agreement::NotYet { .. } => ("too-few", None),
            Agreement::Agree => ("agree", None),
            Agreement::Differ { since, shares } => ("differ", Some((since, shares))),
        };
        Shadow {
            checks: rounded(*checks),
            silent: rounded(*silent),
            unhealthy: rounded(*unhealthy),
            above_seconds: above.0,
            above: rounded(above.1),
            slowest_seconds: slowest.iter().map(|Long { latency, .. }| latency.map(Span::as_secs_f64)).collect(),
            kubelet,
            differ_since: differ.map(|(since, _)| time(since)),
            share: differ.map(|(_, shares)| rounded(shares.0)),
            kubelets_share: differ.map(|(_, shares)| rounded(shares.1)),
        }
    }
}
