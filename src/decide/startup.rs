//! Startup: the time that a container may take, from the times that it took.

use super::case::Case;
use super::{Choice, Urgency, refuse};
use crate::model::{Basis, start_budget};
use crate::probe::{Handler, Settings};
use crate::reason::Reason;

/// Starts needed before a budget is made smaller.
pub(super) const STARTS_TO_TIGHTEN: usize = 30;

/// How long a setting lets a start take, in seconds: `K·P`.
pub(super) fn budget_of(s: Settings) -> f64 {
    f64::from(s.threshold()) * f64::from(s.period())
}

pub(super) fn choose(case: &Case<'_>, liveness: Option<Settings>) -> Choice {
    let current = case.current();
    let hold = |reason, message: String| Choice::hold(current, reason, message);
    if let Some((reason, message)) = refuse::flapping(case) {
        return hold(reason, message);
    }
    let starts = case.seen.map(|s| s.starts());
    let Some((starts, need)) = starts.and_then(|s| Some((s, start_budget(s)?))) else {
        return hold(Reason::ThinEvidence, "no start seen yet; five are needed".into());
    };
    let n = starts.recent().len();
    let delay = case.probe.initial_delay.as_secs_f64();
    if need.basis == Basis::Few {
        return hold(
            Reason::ThinEvidence,
            format!("{n} starts seen, the longest took {:.0} s; five are needed", starts.longest()),
        );
    }
    let seconds = (need.seconds - delay).max(1.0);
    let now = budget_of(current);
    let facts = format!(
        "{n} starts seen, the longest took {:.0} s; 99 of 100 take at most {:.0} s (95 % sure)",
        starts.longest(),
        need.seconds
    );
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
            Choice {
                wanted,
                urgency: Urgency::WithNextRollout,
                reason: if too_short { Reason::Loosen } else { Reason::Tighten },
                message: format!("{facts}; {wanted} allows {:.0} s instead of {now:.0} s{rest}", budget_of(wanted)),
            }
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

/// `P = 5` (exec 10), or longer where the threshold would leave its bounds; `T` at least liveness'; `K = ⌈budget/P⌉`.
fn setting(case: &Case<'_>, seconds: f64, liveness: Option<Settings>) -> Option<Settings> {
    let bounds = &case.permission().bounds;
    let usual = if case.probe.handler == Handler::Exec { 10 } else { 5 };
    let whole = |x: f64| x.ceil().clamp(1.0, 86_400.0) as u32;
    let period = usual.max(bounds.period.0).max(whole(seconds / f64::from(bounds.threshold.1))).min(bounds.period.1);
    let threshold = whole(seconds / f64::from(period)).max(bounds.threshold.0).min(bounds.threshold.1);
    let timeout = case.current().timeout().max(liveness.map_or(1, Settings::timeout));
    let timeout = timeout.max(bounds.timeout.0).min(bounds.timeout.1);
    Settings::new(period, timeout, threshold).filter(|s| bounds.contain(*s))
}
