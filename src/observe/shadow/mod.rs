//! Shadow checks: the endpoints of pods whose owners allow it are asked by the daemon itself, and waited for 30 s.
//!
//! A kubelet cuts an answer off at its timeout and tells only that it did; this is how long it would have taken. Whom we
//! may ask is judged at the moment of asking, from what the watches know then, and once more when the answer is there:
//! an answer of a pod that meanwhile went, or has another address, is thrown away.

mod turns;

pub(super) use turns::Candidate;

use super::{Closed, Notice, Shared};
use crate::ask::{Asked, Reply, Target, ask};
use crate::observation::Fact;
use crate::probe::Answer;
use crate::units::Span;
use crate::workload::ProbeId;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use turns::Turns;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Checks in a row that reached nobody before it is said: pods of a few minutes' turns.
const UNREACHED: u32 = 20;

/// How shadow checks are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shadowing {
    /// Checks a second over the whole cluster; above 0.
    pub rate: f64,
    /// Pods may have loopback addresses: only where the cluster is this one machine.
    pub loopback: bool,
}

/// Why a pod was not asked when it was its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It shares its node's network.
    HostNetwork,
    /// It, or the container that is probed, does not run, is starting, or is shutting down.
    NotRunning,
    /// It has no address.
    NoAddress,
    /// Its address is none of a pod: a node's, a link's, loopback.
    Address,
    /// Another pod has the same address.
    Shared,
    /// The probe's port has no number.
    Port,
    /// The probe sends headers of its own.
    Headers,
    /// It is gone, or its owner no longer allows it.
    Gone,
}

impl Rule {
    /// All rules.
    pub const ALL: [Rule; 8] = [
        Rule::HostNetwork,
        Rule::NotRunning,
        Rule::NoAddress,
        Rule::Address,
        Rule::Shared,
        Rule::Port,
        Rule::Headers,
        Rule::Gone,
    ];

    /// A word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Rule::HostNetwork => "host_network",
            Rule::NotRunning => "not_running",
            Rule::NoAddress => "no_address",
            Rule::Address => "address",
            Rule::Shared => "shared_address",
            Rule::Port => "port",
            Rule::Headers => "headers",
            Rule::Gone => "gone",
        }
    }
}

/// What came of a pod's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shadowed {
    /// Asked, and healthy.
    Healthy,
    /// Asked, and not healthy.
    Unhealthy,
    /// Asked, and connected, but no answer within the patience.
    Silent,
    /// Asked, but nobody was at that address: nothing is known.
    Unreached,
    /// Asked, but the pod went meanwhile: nothing is known.
    Stale,
    /// Not asked.
    Refused(Rule),
}

impl Shadowed {
    /// A word for metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Shadowed::Healthy => "healthy",
            Shadowed::Unhealthy => "unhealthy",
            Shadowed::Silent => "silent",
            Shadowed::Unreached => "unreached",
            Shadowed::Stale => "stale",
            Shadowed::Refused(rule) => rule.word(),
        }
    }
}

/// Whether pods can be reached from here at all.
#[derive(Default)]
struct Reached {
    missed: u32,
    told: bool,
}

/// Asks, for ever.
pub(super) async fn run(settings: Shadowing, shared: Shared) {
    let mut progress = shared.progress.subscribe();
    if progress.wait_for(|p| p.full).await.is_err() {
        return;
    }
    let every = Span::round_from_secs_f64(1.0 / settings.rate);
    let mut turns = Turns::new(every);
    let mut ticks = interval(Duration::from_secs_f64((1.0 / settings.rate).clamp(0.02, 1.0)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut checks, mut reached) = (JoinSet::new(), Reached::default());
    loop {
        tokio::select! {
            Some(done) = checks.join_next() => {
                // A check does not panic; one that did would have ended the process.
                let Ok((candidate, probe, target, asked)) = done else { continue };
                turns.ended(&candidate);
                if told(&shared, &mut reached, &candidate, probe, &target, &asked).await.is_err() {
                    return;
                }
            }
            _ = ticks.tick() => {
                let now = shared.now();
                if turns.over(now) {
                    turns.begin(now, shared.index().candidates());
                }
                let Some((candidate, round)) = turns.next(now) else { continue };
                let found = shared.index().target(&candidate, round, settings.loopback);
                match found {
                    Ok((probe, target)) => {
                        checks.spawn(async move {
                            let asked = ask(&target, PATIENCE).await;
                            (candidate, probe, target, asked)
                        });
                    }
                    Err(rule) => {
                        turns.ended(&candidate);
                        shared.note(Notice::Shadowed(Shadowed::Refused(rule)));
                    }
                }
            }
        }
    }
}

/// Tells what a check met, if it is still about the pod that was meant.
async fn told(
    shared: &Shared,
    reached: &mut Reached,
    of: &Candidate,
    probe: ProbeId,
    target: &Target,
    asked: &Asked,
) -> Result<(), Closed> {
    let still = target.place().is_some_and(|place| shared.index().holds(of, place.addresses[0].ip()));
    let result = match asked.reply {
        _ if !asked.reached => Shadowed::Unreached,
        _ if !still => Shadowed::Stale,
        Reply::Healthy => Shadowed::Healthy,
        Reply::Silent => Shadowed::Silent,
        _ => Shadowed::Unhealthy,
    };
    shared.note(Notice::Shadowed(result));
    if result == Shadowed::Unreached {
        reached.missed = reached.missed.saturating_add(1);
        if reached.missed >= UNREACHED && !std::mem::replace(&mut reached.told, true) {
            shared.note(Notice::PodsUnreached { example: format!("{target}: {}", asked.reply) });
        }
        return Ok(());
    }
    reached.missed = 0;
    if std::mem::replace(&mut reached.told, false) {
        shared.note(Notice::PodsReached);
    }
    if result == Shadowed::Stale {
        return Ok(());
    }
    let (latency, healthy) = match asked.answer() {
        Answer::Healthy(after) => (Some(after), true),
        Answer::Unhealthy(after) => (Some(after), false),
        Answer::Never => (None, false),
    };
    let at = shared.now();
    shared.tell(at, vec![Fact::ShadowCheck { pod: of.pod, probe, latency, healthy }]).await
}
