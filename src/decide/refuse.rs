//! Reasons not to touch a number, each with the figures that say so.
//!
//! In the order in which they are asked: the first that holds is the answer.

use super::Choice;
use super::case::Case;
use super::words::{about, ago, count};
use crate::evidence::{Cause, Edge, Failing, THROTTLED};
use crate::reason::Reason;
use crate::units::{Span, Timestamp};
use std::collections::BTreeSet;

/// A refusal stands for this long after its cause was last seen.
pub(super) const STANDS: Span = Span::DAY;
/// A replica is seen from this share of pods on.
const SEEN_SHARE: f64 = 0.7;
/// Least watched time before numbers follow from it.
pub(super) const LOOK: Span = Span::DAY;
/// A kill this soon after the container's start is one of a start.
pub(super) const START: Span = Span::from_nanos(300 * 1_000_000_000);
/// Kills are looked through this far back for whether all came after a start.
const START_LOOK: Span = Span::from_nanos(7 * 86_400 * 1_000_000_000);
/// Refusals seen in this many half-hours are a habit of the program and no accident.
pub(super) const HABIT: f64 = 5.5;
/// Pods are starved once their node has been full, or they were throttled, for this long.
const STARVED: Span = Span::from_nanos(2 * 3_600 * 1_000_000_000);
/// After counters went back nothing is believed for this long.
const RESET: Span = Span::from_nanos(600 * 1_000_000_000);
/// Own rollouts in a week that are too many.
pub(super) const FLAPPING: usize = 3;

/// What forbids any change but a storm's.
pub(super) fn refusal(case: &Case<'_>) -> Option<Choice> {
    let hold = |(reason, message)| Choice::hold(case.current(), reason, message);
    flapping(case)
        .or_else(|| gap(case))
        .or_else(|| sick(case))
        .or_else(|| together(case))
        .or_else(|| sustained(case))
        .or_else(|| other_causes(case))
        .map(hold)
}

pub(super) fn flapping(case: &Case<'_>) -> Option<(Reason, String)> {
    let n = case.own_rollouts();
    (n >= FLAPPING).then(|| {
        (
            Reason::Flapping,
            format!("{n} rollouts of our own within a week: numbers alone do not settle this, a person decides"),
        )
    })
}

pub(super) fn gap(case: &Case<'_>) -> Option<(Reason, String)> {
    let seen = case.seen?;
    let c = case.evidence.coverage(&case.probe.id, case.now);
    if c.sampled > 0 && f64::from(c.fresh) < SEEN_SHARE * f64::from(c.pods) {
        let missing = c.pods - c.fresh;
        return Some((
            Reason::DataGap,
            format!("{missing} of {} pods could not be read for more than three scrapes: unknown is not zero", c.pods),
        ));
    }
    let reset = seen.reset_at().filter(|at| case.now.since(*at) < RESET)?;
    let ago = ago(case.now.since(reset));
    Some((Reason::DataGap, format!("counters went back without a new pod {ago}: what happened meanwhile is unknown")))
}

pub(super) fn sick(case: &Case<'_>) -> Option<(Reason, String)> {
    if starting(case) {
        return None;
    }
    let since = case.now - STANDS;
    let records = case.evidence.restarts();
    let sick = records
        .iter()
        .enumerate()
        .rev()
        .find(|(i, r)| r.at >= since && r.container == case.probe.id.container && case.evidence.sick(*i));
    let (_, r) = sick.filter(|_| case.evidence.replicas().max(case.evidence.pods()) > 1)?;
    let n = records.iter().filter(|o| o.pod == r.pod && o.at >= since).count();
    let node = r.node.as_ref().map_or(String::new(), |n| format!(" on node {n}"));
    let whose = match r.neighbours {
        Some(n) if n.slow => "; other workloads on that node were slow, too: look at the node",
        _ => ": look at it, not at the probe",
    };
    Some((
        Reason::SickReplica,
        format!("pod {}{node} alone restarted {n} times in a day while the others are well{whose}", r.pod_name),
    ))
}

/// Whether every kill of the last week came within minutes of its container's start.
pub(super) fn starting(case: &Case<'_>) -> bool {
    let mut kills = case.kills(case.now - START_LOOK).peekable();
    kills.peek().is_some() && kills.all(|(r, _)| r.lived.is_some_and(|l| l <= START))
}

/// Whether the refusals that were seen are a habit, which a threshold of three is for.
pub(super) fn refuses_often(case: &Case<'_>) -> bool {
    case.seen.is_some_and(|s| s.refusals() >= HABIT)
}

pub(super) fn together(case: &Case<'_>) -> Option<(Reason, String)> {
    let at = case.seen?.together().filter(|at| case.now.since(*at) < STANDS)?;
    // A habit is loosened for once; what the owner's numbers already were is not loosened twice.
    if refuses_often(case) && case.current().refusal_tolerance() <= case.owners.refusal_tolerance().max(10) {
        return None;
    }
    Some((
        Reason::Synchronous,
        format!(
            "all replicas failed at once within a minute, {}: the check depends on something shared; take that out of it, no number helps",
            ago(case.now.since(at))
        ),
    ))
}

pub(super) fn sustained(case: &Case<'_>) -> Option<(Reason, String)> {
    let at = case.seen?.outage().filter(|at| case.now.since(*at) < STANDS)?;
    Some((
        Reason::Sustained,
        format!(
            "several replicas were above 10 s or failing for more than two minutes, {}: overload or a dependency; patience would only hide it",
            ago(case.now.since(at))
        ),
    ))
}

/// Restarts by memory or by the program itself, with none by the probe that looks false.
pub(super) fn other_causes(case: &Case<'_>) -> Option<(Reason, String)> {
    let since = case.now - STANDS;
    if case.kills(since).any(|(_, w)| w >= 0.5) {
        return None;
    }
    let of = |causes: &[Cause]| case.restarts(since).filter(|(r, _)| causes.contains(&r.cause)).count();
    let (oom, crash) = (of(&[Cause::Oom]), of(&[Cause::Crash, Cause::Exit]));
    if oom > 0 {
        let n = count(oom, "restart");
        return Some((
            Reason::Oom,
            format!("{n} by the out-of-memory killer in a day: memory is what is missing, not time"),
        ));
    }
    (crash > 0).then(|| {
        let n = count(crash, "restart");
        (Reason::Crash, format!("{n} by the program's own exit in a day: that is not timing"))
    })
}

/// Too little seen for any number to follow.
pub(super) fn thin(case: &Case<'_>) -> Option<(Reason, String)> {
    let watched = case.watched();
    let c = case.evidence.coverage(&case.probe.id, case.now);
    let few = c.pods > 0 && f64::from(c.sampled) < SEEN_SHARE * f64::from(c.pods);
    if watched >= LOOK && !few {
        return None;
    }
    let pods = if c.pods > 0 { format!(", {} of {} pods read", c.sampled, c.pods) } else { String::new() };
    let ready =
        if watched < LOOK { format!("; ready in {} at the earliest", about(LOOK - watched)) } else { String::new() };
    Some((Reason::ThinEvidence, format!("{} of 24 h seen{pods}{ready}", about(watched))))
}

/// That CPU has been missing for hours, as a sentence, if it has: to the container by its own limit, or to its node.
pub(super) fn starved(case: &Case<'_>) -> Option<String> {
    let lasts = |since| Some(case.now.since(since)).filter(|long| *long >= STARVED);
    let container = &case.probe.id.container;
    let throttled = case.evidence.throttled_since(container, case.now).and_then(lasts).map(|long| {
        format!(
            "container {container} has been throttled in more than {:.0} % of its CPU periods on most pods for {}: CPU is what is missing, by its own limit",
            THROTTLED * 100.0,
            about(long)
        )
    });
    throttled.or_else(|| {
        let (node, since) = case.evidence.starved_since(case.now)?;
        let long = about(lasts(since)?);
        Some(format!("node {node} has been above 90 % of its cores for {long}: CPU is what is missing"))
    })
}

/// Whether false restarts by refusals fell on two days at least: one bad hour of a dependency is no evidence.
pub(super) fn refused_on_two_days(case: &Case<'_>) -> bool {
    let days: BTreeSet<i64> = case
        .kills(case.now - Span::DAY * 30)
        .filter(|(r, w)| *w >= 0.5 && r.failing != Failing::Slow)
        .map(|(r, _)| day(r.at))
        .collect();
    days.len() >= 2
}

fn day(at: Timestamp) -> i64 {
    at.nanos().div_euclid(Span::DAY.nanos())
}

/// What slowness on most replicas a loosening would hide, for its message.
pub(super) fn shared_slowness(case: &Case<'_>) -> Option<String> {
    let seen = case.seen?;
    let edge = Edge::LATENCY.into_iter().rev().find(|e| seen.regimes(*e) >= 0.5)?;
    Some(format!(
        "several replicas were above {} s together on {:.0} days: look at their load",
        edge.seconds(),
        seen.regimes(edge).ceil()
    ))
}
