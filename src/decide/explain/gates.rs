//! The gates of a judgement, each with its figure, whether it stopped the decision or not.
//!
//! A gate that stops answers with its own words, the very ones of the refusal; one that lets pass says what it looked at.

use super::{Alternative, only_the_unknown};
use crate::decide::case::Case;
use crate::decide::liveness::{self, BETTER, BLIND_LOOK, EARNS, LOOSENS, earning};
use crate::decide::words::{about, ago, count, rate};
use crate::decide::{grid, readiness, refuse, startup};
use crate::evidence::Cause;
use crate::probe::Settings;
use crate::reason::Reason;
use crate::units::Span;

/// What a gate did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It lets pass.
    Passed,
    /// It narrows what may be taken.
    Limits,
    /// It stops: nothing is changed.
    Stops,
    /// It decides by itself what is taken.
    Acts,
    /// What came before left it nothing to say.
    NotAsked,
}

impl Mark {
    /// As text and JSON have it.
    pub const fn word(self) -> &'static str {
        match self {
            Mark::Passed => "passed",
            Mark::Limits => "limits",
            Mark::Stops => "stops",
            Mark::Acts => "acts",
            Mark::NotAsked => "not asked",
        }
    }
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// What it asks.
    pub name: &'static str,
    /// The code that it gives when it stops.
    pub reason: Option<Reason>,
    /// What it did.
    pub mark: Mark,
    /// By which figures.
    pub figure: String,
}

fn refusal(name: &'static str, reason: Reason, found: Option<(Reason, String)>, else_: String) -> Gate {
    match found {
        Some((reason, figure)) => Gate { name, reason: Some(reason), mark: Mark::Stops, figure },
        None => Gate { name, reason: Some(reason), mark: Mark::Passed, figure: else_ },
    }
}

fn limit(name: &'static str, free: bool, figure: String) -> Gate {
    Gate { name, reason: None, mark: if free { Mark::Passed } else { Mark::Limits }, figure }
}

/// What forbids any change but a storm's.
fn refusals(case: &Case<'_>) -> Vec<Gate> {
    let c = case.evidence.coverage(&case.probe.id, case.now);
    let ago = |at| ago(case.now.since(at));
    let seen = case.seen;
    let day = case.now - Span::DAY;
    let by = |causes: &[Cause]| case.restarts(day).filter(|(r, _)| causes.contains(&r.cause)).count();
    vec![
        refusal(
            "flapping",
            Reason::Flapping,
            refuse::flapping(case),
            format!("{} of {} rollouts of our own in a week", case.own_rollouts(), refuse::FLAPPING),
        ),
        refusal(
            "data gap",
            Reason::DataGap,
            refuse::gap(case),
            format!("{} of {} pods read within three scrapes", c.fresh, c.pods),
        ),
        refusal(
            "sick replica",
            Reason::SickReplica,
            refuse::sick(case),
            "no pod alone was restarted three times in an hour, in the last day".into(),
        ),
        refusal(
            "synchronous",
            Reason::Synchronous,
            refuse::together(case),
            seen.and_then(crate::evidence::Seen::together).map_or_else(
                || "never did all replicas fail within a minute".into(),
                |at| format!("all replicas failed within a minute, {}", ago(at)),
            ),
        ),
        refusal(
            "sustained",
            Reason::Sustained,
            refuse::sustained(case),
            seen.and_then(crate::evidence::Seen::outage).map_or_else(
                || "never were several replicas above 10 s for two minutes".into(),
                |at| format!("several replicas were above 10 s for two minutes, {}", ago(at)),
            ),
        ),
        refusal(
            "other causes",
            Reason::Crash,
            refuse::other_causes(case),
            format!(
                "in a day {} by memory, {} by its own exit",
                count(by(&[Cause::Oom]), "restart"),
                by(&[Cause::Crash, Cause::Exit])
            ),
        ),
    ]
}

fn thin(case: &Case<'_>) -> Gate {
    let c = case.evidence.coverage(&case.probe.id, case.now);
    let figure = format!("{} seen (24 h are asked), {} of {} pods read", about(case.watched()), c.sampled, c.pods);
    refusal("thin evidence", Reason::ThinEvidence, refuse::thin(case), figure)
}

pub(super) fn liveness(case: &Case<'_>, alternatives: &[Alternative], wanted: Settings) -> Vec<Gate> {
    let current = case.current();
    let blind = current.timeout() < grid::LEAST_TIMEOUT;
    let storm = liveness::storm(case);
    let kills = case.kills(case.since_change()).filter(|(r, _)| r.settings == Some(current)).count();
    let mut gates = vec![match &storm {
        Some(choice) => Gate {
            name: "storm",
            reason: Some(Reason::Storm),
            mark: if choice.wanted == current { Mark::Stops } else { Mark::Acts },
            figure: choice.message.clone(),
        },
        None => refusal(
            "storm",
            Reason::Storm,
            None,
            format!("{} by these numbers since they stand, no two pods within ten minutes", count(kills, "kill")),
        ),
    }];
    gates.extend(refusals(case));
    let mut seen = thin(case);
    if seen.mark == Mark::Stops && blind && case.watched() >= BLIND_LOOK {
        seen.mark = Mark::Passed;
        seen.figure = format!("{} seen: an hour is enough to leave a timeout under 5 s", about(case.watched()));
    }
    gates.push(seen);
    let candidates = grid::liveness(case.probe.handler, &case.permission().bounds, current);
    let bounds = case.permission().detect_within.map_or_else(
        || format!("no detect-within; {} false restarts a pod-year are accepted", rate(case.budget())),
        |d| format!("a hang within {d} and {} false restarts a pod-year can both be held", rate(case.budget())),
    );
    let conflict = liveness::conflict(case, &candidates).map(|c| (c.reason, c.message));
    gates.push(refusal("bounds", Reason::BoundConflict, conflict, bounds));
    gates.push(Gate {
        name: "blind",
        reason: Some(Reason::Loosen),
        mark: if blind { Mark::Acts } else { Mark::Passed },
        figure: if blind {
            format!(
                "a timeout of {} s sees nothing above it: the setting for the unknown, whatever the data say",
                current.timeout()
            )
        } else {
            format!("a timeout of {} s sees answers up to there; under 5 s it would see too little", current.timeout())
        },
    });
    gates.extend(limits(case, &candidates));
    gates.push(better(case, alternatives, BETTER));
    gates.push(own_rollout(case, wanted));
    if only_the_unknown(case) {
        let first = gates.iter().position(|g| g.mark == Mark::Acts).unwrap_or(gates.len());
        let silent = |g: &Gate| g.name != "own rollout" && g.mark != Mark::Acts;
        gates.iter_mut().skip(first).filter(|g| silent(g)).for_each(|g| g.mark = Mark::NotAsked);
    }
    gates
}

/// What caution allows.
fn limits(case: &Case<'_>, candidates: &[Settings]) -> Vec<Gate> {
    let caution = liveness::cautions(case, candidates);
    let (slow, fast) = case.belief.as_ref().map_or((0.0, 0.0), |b| (case.slow_false(), b.fast_false()));
    let free = caution.most_stall == u64::MAX;
    let upto = if free { "any tolerance".into() } else { format!("up to {} s of silence", caution.most_stall) };
    let mut gates = vec![limit(
        "looser",
        free,
        format!("{slow:.2} false restarts by timeouts in 30 days ({LOOSENS} are asked): {upto}"),
    )];
    let calm = count(case.calm as usize, "change");
    gates.push(limit(
        "tighter",
        caution.least_stall == 0,
        if caution.least_stall == 0 {
            format!("{calm} of version lived through without harm: any tolerance")
        } else {
            format!("no change of version lived through yet: at least {} s of silence", caution.least_stall)
        },
    ));
    let free = caution.most_refusal == u64::MAX;
    let spells = case.seen.map_or(0.0, |s| s.refusals());
    gates.push(limit(
        "refusals",
        free && caution.least_refusal == 0,
        match (free, caution.least_refusal) {
            (_, least @ 1..) => format!("seen in {spells:.0} half-hours: at least {least} s of refusals"),
            (true, _) => format!("{fast:.2} false restarts by refusals in 30 days: any tolerance"),
            (false, _) => format!(
                "{fast:.2} false restarts by refusals in 30 days, seen in {spells:.0} half-hours: up to {} s of them",
                caution.most_refusal
            ),
        },
    ));
    gates
}

/// Whether the best that is allowed is enough better than what is there.
fn better(case: &Case<'_>, alternatives: &[Alternative], share: f64) -> Gate {
    let current = case.current();
    let today = case.loss(current);
    let open = alternatives.iter().filter(|a| a.objection.is_none() && a.settings != current);
    let best = open.min_by(|a, b| a.loss.total_cmp(&b.loss));
    let (mark, figure) = match best {
        None => (Mark::Stops, "nothing else is allowed".to_owned()),
        Some(a) => (
            if a.loss < share * today { Mark::Passed } else { Mark::Stops },
            format!(
                "{} loses {:.0}, {current} {today:.0} pod-seconds a pod-year; 5 % less is asked",
                a.settings, a.loss
            ),
        ),
    };
    Gate { name: "5 % better", reason: Some(Reason::InPlace), mark, figure }
}

fn own_rollout(case: &Case<'_>, wanted: Settings) -> Gate {
    let name = "own rollout";
    if wanted == case.current() {
        return Gate {
            name,
            reason: Some(Reason::WaitsForRollout),
            mark: Mark::NotAsked,
            figure: "nothing to roll out".into(),
        };
    }
    let e = earning(case, wanted);
    let when = format!("saves {:.0} pod-seconds a pod in the {:.0} days until your next one is due", e.saves, e.days);
    let figure = if e.amid {
        format!("{when}, but several replicas were slow together within the hour: a rollout would make it worse")
    } else if e.price <= 0.0 {
        format!("{when}; one of ours is free")
    } else if !e.hurt {
        format!("{when}, but no restart since the last change looks false: no reason to hurry")
    } else if !e.rested {
        format!("{when}, but the last change is not half an hour old")
    } else {
        format!("{when}; {:.0} are asked, {EARNS:.0} times its price", EARNS * e.price)
    };
    Gate { name, reason: Some(Reason::WaitsForRollout), mark: if e.pays { Mark::Passed } else { Mark::Limits }, figure }
}

pub(super) fn readiness(case: &Case<'_>, beside: Option<Settings>, alternatives: &[Alternative]) -> Vec<Gate> {
    let current = case.current();
    let limits = readiness::Limits::of(case, beside);
    let acts = |name, figure| Gate { name, reason: None, mark: Mark::Acts, figure };
    if let Some(choice) = readiness::with_liveness(case, beside) {
        return vec![acts("with liveness", choice.message)];
    }
    let mut gates = refusals(case);
    if let Some(choice) = readiness::leave_blindness(case, beside) {
        gates.push(acts("blind timeout", choice.message));
        return gates;
    }
    gates.push(thin(case));
    gates.push(match beside {
        None => limit("before liveness", true, "the container has no liveness probe".into()),
        Some(l) => limit(
            "before liveness",
            false,
            format!(
                "liveness {l} waits {} s: at most {} s of silence and {} s of refusals",
                l.stall_tolerance(),
                l.stall_tolerance() / 2,
                l.refusal_tolerance()
            ),
        ),
    });
    gates.push(limit(
        "tighter",
        !limits.shared && case.calm > 0,
        if limits.shared {
            "several replicas were slow together: never tighter, it would move their load to the rest".into()
        } else if case.calm == 0 {
            "no change of version lived through yet: not tighter".into()
        } else {
            format!("{} of version lived through without harm", count(case.calm as usize, "change"))
        },
    ));
    gates.push(limit(
        "looser",
        limits.over,
        format!(
            "{} false removals a pod-year expected, {} are accepted{}",
            rate(case.rate(current)),
            rate(case.budget()),
            if limits.over { "" } else { ": not looser" }
        ),
    ));
    gates.push(better(case, alternatives, readiness::BETTER));
    gates
}

pub(super) fn startup(case: &Case<'_>, wanted: Settings) -> Vec<Gate> {
    let current = case.current();
    let starts = case.seen.map(|s| s.starts());
    let n = starts.map_or(0, |s| s.recent().len());
    let need = starts.and_then(startup::needed);
    let mut gates = vec![refusal(
        "flapping",
        Reason::Flapping,
        refuse::flapping(case),
        format!("{} of {} rollouts of our own in a week", case.own_rollouts(), refuse::FLAPPING),
    )];
    let few = need.is_none().then(|| (Reason::ThinEvidence, format!("{} seen, five are asked", count(n, "start"))));
    gates.push(refusal(
        "thin evidence",
        Reason::ThinEvidence,
        few,
        format!("{} seen, five are asked", count(n, "start")),
    ));
    let Some(need) = need else { return gates };
    let (now, asked) = (startup::budget_of(current), need - case.probe.initial_delay.as_secs_f64());
    gates.push(Gate {
        name: "long enough",
        reason: Some(Reason::InPlace),
        mark: if wanted == current { Mark::Stops } else { Mark::Passed },
        figure: format!(
            "{current} allows {now:.0} s, {asked:.0} s are needed; between that and twice that nothing is changed"
        ),
    });
    let enough = n >= startup::STARTS_TO_TIGHTEN && case.calm > 0;
    gates.push(limit(
        "tighter",
        enough,
        format!(
            "{} starts seen ({} are asked), {} of version lived through",
            n,
            startup::STARTS_TO_TIGHTEN,
            count(case.calm as usize, "change")
        ),
    ));
    gates
}
