//! Startup: the time that a container may take, from the times that it took.
//!
//! A probe that cuts off most starts hides how long they take: then twice what it allows is tried, from three such starts
//! on. Where its kills cost more pod-time than a rollout of our own until the owner's next one, the rollout is made.

use super::case::Case;
use super::liveness::{AMID, APART, EARNS, until_next_rollout};
use super::{Choice, Urgency, refuse};
use crate::evidence::{Cause, Starts};
use crate::model::{Basis, start_budget};
use crate::probe::{Handler, Settings};
use crate::reason::Reason;
use crate::units::{Span, Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// Starts needed before a budget is made smaller.
pub(super) const STARTS_TO_TIGHTEN: usize = 30;
/// Starts that were cut off from which the probe itself is what is wrong.
const CUT_OFF: usize = 3;
/// Kills of one pod that follow each other within this time are one loop: it was missing all the time between.
const LOOP: Span = Span::from_nanos(600 * 1_000_000_000);

/// How long a setting lets a start take, in seconds: `K·P`.
pub(super) fn budget_of(s: Settings) -> f64 {
    f64::from(s.threshold()) * f64::from(s.period())
}

/// Starts that were cut off, if they are most of the last ones.
pub(super) fn mostly_cut_off(starts: &Starts) -> Option<usize> {
    let cut = cut_off(starts).count();
    (cut >= CUT_OFF && 2 * cut >= starts.recent().len()).then_some(cut)
}

/// How long the starts were let that were cut off, in seconds.
fn cut_off(starts: &Starts) -> impl Iterator<Item = f64> {
    starts.recent().iter().filter(|s| s.cut_off).map(|s| f64::from(s.seconds))
}

/// What starts need in seconds, where enough is seen of them: the bound, or twice what most were cut off at.
pub(super) fn needed(starts: &Starts) -> Option<f64> {
    let budget = start_budget(starts)?;
    match mostly_cut_off(starts) {
        Some(_) => Some(cut_off(starts).map(|s| 2.0 * s).fold(budget.seconds, f64::max)),
        None => Some(budget.seconds).filter(|_| budget.basis != Basis::Few),
    }
}

pub(super) fn choose(case: &Case<'_>, liveness: Option<Settings>) -> Choice {
    let current = case.current();
    let hold = |reason, message: String| Choice::hold(current, reason, message);
    if let Some((reason, message)) = refuse::flapping(case) {
        return hold(reason, message);
    }
    let starts = case.seen.map(|s| s.starts()).filter(|s| !s.recent().is_empty());
    let Some(starts) = starts else {
        return hold(Reason::ThinEvidence, "no start seen yet; five are needed".into());
    };
    let n = starts.recent().len();
    let delay = case.probe.initial_delay.as_secs_f64();
    let Some(need) = needed(starts) else {
        return hold(
            Reason::ThinEvidence,
            format!("{n} starts seen, the longest took {:.0} s; five are needed", starts.longest()),
        );
    };
    let seconds = (need - delay).max(1.0);
    let now = budget_of(current);
    let facts = match mostly_cut_off(starts) {
        Some(cut) => format!("{cut} of {n} starts were cut off: nobody knows how long they take"),
        None => format!(
            "{n} starts seen, the longest took {:.0} s; 99 of 100 take at most {:.0} s (95 % sure)",
            starts.longest(),
            need
        ),
    };
    let too_short = now < seconds;
    let too_long = now > 2.0 * seconds && n >= STARTS_TO_TIGHTEN && case.calm > 0;
    if !too_short && !too_long {
        return hold(Reason::InPlace, format!("{facts}; {current} allows {now:.0} s"));
    }
    // Half or double what the owner had is a risky change.
    let owners = budget_of(case.owners);
    let free = case.permission().approvals;
    let bounded = if free { seconds } else { seconds.clamp(owners / 2.0, owners * 2.0) };
    let wanted = setting(case, bounded, liveness).filter(|s| too_short == (budget_of(*s) > now));
    match wanted {
        Some(wanted) if free || !case.permission().protected => {
            let rest = if bounded < seconds { "; more would double the owner's budget: NEEDS_APPROVAL" } else { "" };
            let message = format!("{facts}; {wanted} allows {:.0} s instead of {now:.0} s{rest}", budget_of(wanted));
            let reason = if too_short { Reason::Loosen } else { Reason::Tighten };
            let mut choice = Choice { wanted, urgency: Urgency::WithNextRollout, reason, message };
            if too_short && bounded >= seconds {
                own_rollout(case, &mut choice);
            }
            choice
        }
        Some(wanted) => hold(
            Reason::NeedsApproval,
            format!(
                "{facts}; {wanted} would allow {:.0} s, and is a change that two people must approve",
                budget_of(wanted)
            ),
        ),
        None if too_short => hold(
            Reason::OverBudgetAtMax,
            format!("{facts}; nothing longer than {now:.0} s lies within the owner's bounds"),
        ),
        None => hold(Reason::InPlace, format!("{facts}; {current} allows {now:.0} s")),
    }
}

/// `P = 5` (exec 10), or longer where the threshold would leave its bounds; `T` as liveness' where the period has room for
/// it; `K = ⌈budget/P⌉`.
fn setting(case: &Case<'_>, seconds: f64, liveness: Option<Settings>) -> Option<Settings> {
    let bounds = &case.permission().bounds;
    let usual = if case.probe.handler == Handler::Exec { 10 } else { 5 };
    let whole = |x: f64| x.ceil().clamp(1.0, 86_400.0) as u32;
    let period = usual.max(bounds.period.0).max(whole(seconds / f64::from(bounds.threshold.1))).min(bounds.period.1);
    let threshold = whole(seconds / f64::from(period)).max(bounds.threshold.0).min(bounds.threshold.1);
    // A timeout beyond the period would only make each check of a hang longer, and the tolerance with it.
    let timeout = case.current().timeout().max(liveness.map_or(1, Settings::timeout).min(period));
    let timeout = timeout.max(bounds.timeout.0).min(bounds.timeout.1);
    Settings::new(period, timeout, threshold).filter(|s| bounds.contain(*s))
}

/// Pod-seconds that startup kills have cost in the last week, at today's numbers.
pub(super) fn lost(case: &Case<'_>) -> f64 {
    let mut last: BTreeMap<Uid, Timestamp> = BTreeMap::new();
    let since = case.since_change().max(case.now - Span::DAY * 7);
    let kills = case.restarts(since).map(|(r, _)| r).filter(|r| r.cause == Cause::StartupKill);
    kills
        .map(|r| {
            let looped = last.insert(r.pod, r.at).map(|before| r.at.since(before)).filter(|gap| *gap <= LOOP);
            looped.or(r.lived).map_or(0.0, Span::as_secs_f64)
        })
        .sum()
}

/// Whether it is the start that is slow, as far as that can be told: several pods were cut off (or the only one was), and
/// of the starts that got there, if any did, some took half of what they are let at least. Where a dependency is away
/// nothing starts that used to start quickly, and where a node is ill nothing does there: no rollout of ours mends that.
fn too_slow(case: &Case<'_>) -> bool {
    let since = case.now - Span::DAY * 7;
    let kills = case.restarts(since).map(|(r, _)| r).filter(|r| r.cause == Cause::StartupKill);
    let pods: BTreeSet<Uid> = kills.map(|r| r.pod).collect();
    let several = pods.len() > 1 || case.evidence.replicas().max(case.evidence.pods()) <= 1;
    let half = budget_of(case.current()) / 2.0;
    let starts = case.seen.into_iter().flat_map(|s| s.starts().recent());
    let mut came = starts.filter(|s| !s.cut_off).map(|s| f64::from(s.seconds)).peekable();
    let calm = case.evidence.probes().iter().filter(|s| s.id().container == case.probe.id.container);
    let calm = calm.filter_map(|s| s.slow_together().max(s.together())).all(|at| case.now.since(at) > AMID);
    several && calm && (came.peek().is_none() || came.any(|seconds| seconds >= half))
}

/// A budget that is long enough is worth a rollout of our own where the kills of the owner's would cost four times its
/// price until his next one. The API server's fence refuses what tolerates more than twice as much as before: up to a
/// fifth of the budget is given up for that.
fn own_rollout(case: &Case<'_>, choice: &mut Choice) {
    let evidence = case.evidence;
    let days = until_next_rollout(evidence.first(), evidence.rollouts(), case.now);
    let saves = lost(case) / 7.0 * days;
    let price = case.permission().rollout_price * f64::from(evidence.replicas().max(1));
    let rested = evidence.last_change().is_none_or(|at| case.now.since(at) >= APART);
    if !rested || saves <= EARNS * price || !too_slow(case) {
        return;
    }
    let ideal = choice.wanted;
    let fits = |s: &Settings| s.stall_tolerance() <= 2 * case.current().stall_tolerance();
    let fewer = (ideal.threshold() * 4 / 5..=ideal.threshold()).rev();
    let near = fewer.filter_map(|k| Settings::new(ideal.period(), ideal.timeout(), k)).find(fits);
    if let Some(wanted) = near.filter(|s| budget_of(*s) > budget_of(case.current())) {
        choice.wanted = wanted;
        choice.urgency = Urgency::OwnRollout;
        choice.message += &format!(
            "; {wanted} is no risky change, and its kills would cost {saves:.0} pod-seconds before the next rollout is due"
        );
    }
}
