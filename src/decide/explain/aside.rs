//! What stands beside a decision: what is foretold, at what load it was seen, and what shadow checks saw.
//!
//! None of it moves a number, except that a workload without CPU is not given more patience twice.

use crate::decide::case::Case;
use crate::evidence::{
    Agreement, Covered, Foretold, LOAD_BINS, Long, NODE_EDGES, POD_EDGES, Record, RestartRecord, Throttled,
};
use crate::observation::EDGES;
use crate::probe::ProbeKind;
use crate::units::{Span, Timestamp};

/// When the timeout will be reached, and how often that was foretold rightly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// What is foretold now.
    pub foretold: Option<Foretold>,
    /// Whether forecasts of this probe are worth telling: not while of the last ten fewer than five came true.
    pub trusted: bool,
    /// How they turned out.
    pub record: Record,
    /// Today's timeout is being reached: since when, and the last hour in which it was; the beginnings of both.
    pub reaching: Option<(Timestamp, Timestamp)>,
}

/// The load that was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadAccount {
    /// Of the nodes that its pods run on, as share of their cores; `None`: nobody told of any.
    pub nodes: Option<Spread>,
    /// Of its pods, in cores; `None`: nobody told of any.
    pub pods: Option<Spread>,
    /// The node's load at each restart of the container of which it is known, rising.
    pub restarts: Vec<f64>,
    /// How often the container was throttled; `None`: it has no CPU limit, or nobody told.
    pub throttled: Option<ThrottleAccount>,
}

/// How long it was how busy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Lower edges of the bins; the last is open.
    pub edges: [f64; LOAD_BINS],
    /// Seconds in each bin, decayed.
    pub seconds: [f64; LOAD_BINS],
    /// The highest ever seen.
    pub highest: f64,
    /// How long ago that was.
    pub highest_ago: Span,
}

impl Spread {
    /// Whether it was seen for less than an hour: a look or two, of which no spread can be told.
    pub fn brief(&self) -> bool {
        self.seconds.iter().sum::<f64>() < 3_600.0
    }
}

/// How often a container was throttled in the last day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThrottleAccount {
    /// Throttled periods among those in which it ran, `[0, 1]`.
    pub share: f64,
    /// Pod-time that was read.
    pub seen: Span,
    /// How long more than 30 % of them have been throttled on most pods, up to now; `None`: they are not.
    pub lasts: Option<Span>,
}

/// What shadow checks saw.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowAccount {
    /// Checks, decayed.
    pub checks: f64,
    /// Those of them without an answer within 30 s.
    pub silent: f64,
    /// Answers that were not healthy.
    pub unhealthy: f64,
    /// The largest edge of the kubelet's histogram not above today's timeout, in seconds, and the checks that took longer.
    pub above: (f64, f64),
    /// The slowest of the last day, the slowest first.
    pub slowest: Vec<Long>,
    /// Whether they see what the kubelet sees; where they differ, what they saw is dropped.
    pub agreement: Agreement,
}

pub(super) fn ahead(case: &Case<'_>) -> Option<Ahead> {
    let season = case.seen.filter(|_| case.probe.id.kind != ProbeKind::Startup)?.season();
    season.newest()?;
    Some(Ahead {
        foretold: season.pending().copied(),
        trusted: season.trusted(),
        record: season.record(),
        reaching: season.reaching(case.current().timeout(), case.now),
    })
}

pub(super) fn load(case: &Case<'_>) -> LoadAccount {
    let load = case.evidence.load();
    let spread = |covered: &Covered, edges| {
        let (highest, at) = covered.highest()?;
        Some(Spread { edges, seconds: covered.seconds(), highest, highest_ago: case.now.since(at) })
    };
    let of_container = |r: &&RestartRecord| r.container == case.probe.id.container;
    let loads = case.evidence.restarts().iter().filter(of_container).filter_map(|r| r.load.node.map(f64::from));
    let mut restarts: Vec<f64> = loads.collect();
    restarts.sort_by(f64::total_cmp);
    LoadAccount {
        nodes: spread(load.nodes(), NODE_EDGES),
        pods: spread(load.pods(), POD_EDGES),
        restarts,
        throttled: load.throttled().iter().find(|t| *t.container() == case.probe.id.container).and_then(|t| {
            let day = Throttled::day(t, case.now)?;
            let since = case.evidence.throttled_since(t.container(), case.now);
            Some(ThrottleAccount {
                share: day.share(),
                seen: Span::from_seconds(i64::from(day.seen)),
                lasts: since.map(|since| case.now.since(since)),
            })
        }),
    }
}

pub(super) fn shadow(case: &Case<'_>) -> Option<ShadowAccount> {
    let shadow = case.seen?.shadow()?;
    let edge = EDGES.iter().rposition(|edge| *edge <= f64::from(case.current().timeout())).unwrap_or(0);
    let lately = |l: &&Long| case.now.since(l.at) <= Span::DAY;
    Some(ShadowAccount {
        checks: shadow.checks(),
        silent: shadow.silent(),
        unhealthy: shadow.unhealthy(),
        above: (EDGES[edge], shadow.above()[edge]),
        slowest: shadow.longest().iter().filter(lately).copied().collect(),
        agreement: shadow.agreement(),
    })
}
