//! What holds one change back, asked from the strongest word to the weakest: a person's, the fence's, the object's own
//! state, then our manners.

use super::{DEGRADED_AFTER, LONGEST_REST, Limits, Standing, Wish, rolled_out};
use crate::change::{Change, Intent, Step};
use crate::decide::Urgency;
use crate::policy::{Mode, Permission};
use crate::probe::Settings;
use crate::reason::Reason;
use crate::units::{Span, Timestamp};
use crate::workload::{Unpatchable, Workload};

/// A code and words for a person.
type Held = (Reason, String);

/// The first thing that forbids this change now, or `None`.
pub(super) fn hold(
    wish: &Wish<'_>,
    change: &Change,
    urgency: Urgency,
    limits: &Limits,
    standing: Standing,
    now: Timestamp,
) -> Option<Held> {
    let revert = change.intent == Intent::Revert;
    owner(&wish.workload.permission, now).or_else(|| {
        if !standing.fence {
            return Some((
                Reason::NoFence,
                "the API server was not seen to refuse what it must; `kubectl apply -k deploy/manifests` installs the fence".into(),
            ));
        }
        if !standing.remembers {
            return Some((
                Reason::WarmUp,
                "what an earlier life wrote down was not read yet: a change may be under way".into(),
            ));
        }
        if revert {
            return unpatchable(wish.workload, true);
        }
        if let Some(held) = risky(wish, change) {
            return Some(held);
        }
        history(wish, urgency)
            .or_else(|| unpatchable(wish.workload, false))
            .or_else(|| outside_window(&wish.workload.permission, now))
            .or_else(|| pace(wish, urgency, limits, standing, now))
    })
}

/// What people said.
fn owner(p: &Permission, now: Timestamp) -> Option<Held> {
    if let Some(u) = p.unreadable.first() {
        return Some((
            Reason::Unreadable,
            format!("{} is {:?}, which cannot be read; write for example {:?}", u.key, u.value, u.wanted),
        ));
    }
    if let Some(why) = &p.skip {
        let words = if why.is_empty() {
            "annotated probe-tuner.io/skip".into()
        } else {
            format!("annotated probe-tuner.io/skip: {why}")
        };
        return Some((Reason::Skipped, words));
    }
    if let Some(until) = p.freeze_until.filter(|&until| now < until) {
        return Some((Reason::Frozen, format!("frozen for another {}", rest(until.since(now)))));
    }
    if p.mode < Mode::Auto {
        return Some((Reason::RecommendOnly, format!("the mode is {}: no rollout of our own", p.mode.word())));
    }
    if p.paused {
        return Some((Reason::Paused, "paused by a person; `probe-tuner resume` goes on".into()));
    }
    None
}

/// What the fence refuses because two people would have to approve it, which nobody can yet: asking would only be
/// refused.
fn risky(wish: &Wish<'_>, change: &Change) -> Option<Held> {
    let far = |s: &Step| far(s.from, s.to);
    let words = if wish.workload.permission.protected {
        "the namespace is probe-tuner.io/protected: every change needs two approvals, which cannot be given yet"
    } else if change.steps.iter().any(far) {
        "the tolerance would more than double or halve: that needs two approvals, which cannot be given yet"
    } else {
        return None;
    };
    Some((Reason::NeedsApproval, words.into()))
}

/// Whether the tolerance more than doubles or halves, as the fence reckons it.
pub(super) fn far(from: Settings, to: Settings) -> bool {
    let (from, to) = (from.stall_tolerance(), to.stall_tolerance());
    to > 2 * from || 2 * to < from
}

/// What has happened to this workload, and whether the wish is worth a rollout at all.
fn history(wish: &Wish<'_>, urgency: Urgency) -> Option<Held> {
    let memory = wish.memory;
    if memory.in_flight.is_some() {
        return Some((Reason::Verifying, "its last change is still being watched".into()));
    }
    if !memory.contested.is_empty() {
        return Some((Reason::Contested, "somebody put other numbers in the place of ours: theirs stand".into()));
    }
    if memory.reverts >= DEGRADED_AFTER {
        return Some((
            Reason::Flapping,
            format!("{} changes in a row were taken back: a person decides", memory.reverts),
        ));
    }
    if urgency < Urgency::OwnRollout {
        return Some((
            Reason::WaitsForRollout,
            "better, but not worth a rollout of its own: write it into the manifest with the next release".into(),
        ));
    }
    None
}

/// What forbids to patch the object as it stands. A way back may be stacked on a rollout that is stuck by our own
/// change, since waiting for it to finish may be waiting for ever.
fn unpatchable(w: &Workload, revert: bool) -> Option<Held> {
    let first = w.unpatchable.iter().find(|u| !(revert && **u == Unpatchable::Progressing))?;
    let words = match first {
        Unpatchable::Kind(kind) => {
            format!("only Deployments are patched; for a {} numbers are only recommended", kind.name())
        }
        Unpatchable::Paused => "the Deployment is paused".into(),
        Unpatchable::Progressing => "a rollout is under way".into(),
        Unpatchable::Recreate => "strategy Recreate: every change of the template is an outage".into(),
        Unpatchable::ScaledToZero => "scaled to zero: nothing could be verified".into(),
        Unpatchable::OwnedBy(owner) => format!("{owner} owns it and would write its own numbers again"),
        Unpatchable::Pipeline(name) => {
            format!("{name} deploys it and would write its own numbers again; change them there")
        }
    };
    Some((Reason::Unpatchable, words))
}

fn outside_window(p: &Permission, now: Timestamp) -> Option<Held> {
    let window = p.window.filter(|w| !w.open)?;
    let opens = window.changes_at.map_or("never opens".into(), |t| format!("opens in {}", whole(t.since(now))));
    Some((Reason::OutsideWindow, format!("outside the owner's window, which {opens}")))
}

/// Our own manners: warm-up, rest, and few rollouts a week.
fn pace(wish: &Wish<'_>, urgency: Urgency, limits: &Limits, standing: Standing, now: Timestamp) -> Option<Held> {
    let memory = wish.memory;
    let warm = now.since(standing.started);
    if warm < limits.warm_up {
        return Some((Reason::WarmUp, format!("started {} ago; changes begin after {}", whole(warm), limits.warm_up)));
    }
    let base = if urgency == Urgency::Storm { limits.storm_cooldown } else { limits.cooldown };
    let rest = Span::from_nanos(base.nanos().saturating_mul(1i64 << memory.reverts.min(20)).min(LONGEST_REST.nanos()));
    if let Some(rested) = memory.rested_since.map(|t| now.since(t)).filter(|&r| r < rest) {
        return Some((
            Reason::Cooldown,
            format!("the last change ended {} ago; the next may come after {rest}", whole(rested)),
        ));
    }
    let week = now - Span::DAY * 7;
    let spent = memory.past.iter().filter(|c| c.at > week && c.intent == Intent::Tune && rolled_out(c.verdict)).count();
    if spent >= limits.per_week {
        return Some((Reason::Flapping, format!("{spent} rollouts of ours in seven days: a person decides")));
    }
    None
}

/// Rounded up to whole hours, or to whole minutes of less than two hours.
fn rest(span: Span) -> Span {
    let unit = if span < Span::HOUR * 2 { 60 } else { 3_600 };
    Span::from_seconds((span.ceil_seconds() + unit - 1) / unit * unit)
}

/// Rounded up to whole seconds, as people read it.
fn whole(span: Span) -> Span {
    Span::from_seconds(span.ceil_seconds())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freeze_is_said_in_hours_and_its_last_ones_in_minutes() {
        for (seconds, said) in [(3, "1m"), (3_600, "1h"), (7_199, "2h"), (342_585, "96h"), (259_200, "72h")] {
            assert_eq!(rest(Span::from_seconds(seconds)).to_string(), said);
        }
    }
}
