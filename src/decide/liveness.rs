//! Liveness: the setting with the least posterior loss among those that caution allows.
//!
//! Evidence loosens, not extrapolation: never looser than what is there without restarts judged false. Tightening rides
//! on the very rollout that may change the tail: never tighter than the ignorance setting before a change of version
//! has been lived through. Refusals are met with the threshold, stalls with the timeout.

use super::case::Case;
use super::words::{about, difference, rate};
use super::{Choice, Objection, Urgency, grid, refuse};
use crate::evidence::{Company, Failing, RestartRecord, SICK_WITHIN};
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;
use crate::units::{Span, Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// Expected number of false restarts in 30 days from which looser numbers are allowed.
pub(super) const LOOSENS: f64 = 1.2;
/// A candidate must be this much better than what is there.
pub(super) const BETTER: f64 = 0.95;
/// The tolerance up to which loosening needs no restart: the ignorance setting's.
const FREE_STALL: u64 = 24;
/// The same for refusals.
const FREE_REFUSAL: u64 = 10;
/// Refusal tolerance at least, in seconds, where spells of refusals are seen.
const SPELLS: u64 = 14;
/// The stall tolerance up to which a threshold of three may go where refusals are seen, in seconds.
const SPELLS_STALL: u64 = 30;
/// A timeout below this is a storm's doing, in seconds: from 10 s on, most of what kills is seen.
const STORM_BELOW: u32 = 10;
/// Restarts of two replicas within this time are a storm.
const STORM: Span = Span::from_nanos(600 * 1_000_000_000);
/// Where true faults of two replicas come within [`STORM`] by accident more than once in this time, three make a storm.
const ACCIDENT: Span = Span::from_nanos(10 * 365 * 86_400 * 1_000_000_000);
/// A kill that was false with less than this probability was a true fault.
const TRUE: f64 = 0.1;
/// So many of them say how often containers truly break.
const KNOWN: f64 = 5.0;
/// Three restarts of the only replica within this time are one.
const LONE_STORM: Span = Span::from_nanos(1_800 * 1_000_000_000);
/// A storm is answered this long after its last restart; later it is no emergency any more.
pub(super) const STORM_STANDS: Span = Span::HOUR;
/// Own rollouts are at least this far apart.
pub(super) const APART: Span = Span::from_nanos(1_800 * 1_000_000_000);
/// After several replicas were slow together no rollout of our own is made for so long, but in a storm.
pub(super) const AMID: Span = Span::HOUR;
/// An own rollout must earn its price this many times before the owner's next one.
pub(super) const EARNS: f64 = 4.0;
/// Days between rollouts before any was seen.
const USUAL_GAP: f64 = 14.0;
/// A blind timeout is left for the ignorance setting once the probe has been watched for this long.
pub(super) const BLIND_LOOK: Span = Span::HOUR;

pub(super) fn choose(case: &Case<'_>) -> Choice {
    let current = case.current();
    if let Some(storm) = storm(case) {
        return match refuse::flapping(case) {
            Some((reason, message)) => Choice::hold(current, reason, message),
            None => storm,
        };
    }
    if let Some(refusal) = refuse::refusal(case) {
        return refusal;
    }
    let all = grid::liveness(case.probe.handler, &case.permission().bounds, current);
    let blind = current.timeout() < grid::LEAST_TIMEOUT;
    match refuse::thin(case) {
        Some((reason, message)) if !blind || case.watched() < BLIND_LOOK => {
            return Choice::hold(current, reason, message);
        }
        _ => {}
    }
    if let Some(conflict) = conflict(case, &all) {
        return conflict;
    }
    if blind { leave_blindness(case, &all) } else { best(case, &all) }
}

/// The loosest of some candidates: most stall tolerance, then the largest timeout, then the longest period.
fn loosest(candidates: impl Iterator<Item = Settings>) -> Option<Settings> {
    candidates.max_by_key(|s| (s.stall_tolerance(), s.timeout(), s.period()))
}

/// The ignorance setting within the owner's bounds and detection bound; exec checks keep their own longer period.
fn ignorance(case: &Case<'_>, least_period: u32, candidates: &[Settings]) -> Option<Settings> {
    let (p, t, k) = grid::IGNORANCE;
    let bounds = &case.permission().bounds;
    let clamp = |n: u32, (least, most): (u32, u32)| n.max(least).min(most);
    let ideal =
        Settings::new(clamp(p.max(least_period), bounds.period), clamp(t, bounds.timeout), clamp(k, bounds.threshold))
            .filter(|s| bounds.contain(*s) && s.timeout() >= grid::LEAST_TIMEOUT && s.threshold() >= 2);
    ideal.filter(|s| case.detects(*s)).or_else(|| {
        loosest(candidates.iter().copied().filter(|s| case.detects(*s) && s.stall_tolerance() <= FREE_STALL))
    })
}

/// Timeouts restarted two replicas within ten minutes, or the only one three times in half an hour.
pub(super) fn storm(case: &Case<'_>) -> Option<Choice> {
    let current = case.current();
    if current.timeout() >= STORM_BELOW || case.probe.id.kind != ProbeKind::Liveness {
        return None;
    }
    let since = case.since_change().max(case.now - STORM_STANDS - LONE_STORM);
    let kills: Vec<_> = case
        .kills(since)
        .map(|(r, _)| r)
        .filter(|r| r.failing == Failing::Slow && r.settings == Some(current))
        .collect();
    let last = kills.last().filter(|r| case.now.since(r.at) <= STORM_STANDS)?;
    let replicas = case.evidence.replicas().max(case.evidence.pods()) as usize;
    let needed = if coincides(case, since) { 3 } else { 2 };
    // Those of one burst that this kill ends, if they are of several pods and enough: so many, or half of the replicas.
    let burst = |b: &RestartRecord| {
        let near = |a: &&&RestartRecord| a.at <= b.at && b.at.since(a.at) <= STORM;
        let pods: BTreeSet<_> = kills.iter().filter(near).map(|a| a.pod).collect();
        pods.len() > 1 && (kills.iter().filter(near).count() >= needed || 2 * pods.len() >= replicas)
    };
    let several = kills.iter().any(|b| burst(b));
    let lone = case.evidence.replicas().max(case.evidence.pods()) <= 1
        && kills.windows(3).any(|w| w[2].at.since(w[0].at) <= LONE_STORM);
    if !several && !lone {
        return None;
    }
    // Told is the last such burst, and not what came hours before it.
    let last = kills.iter().rev().find(|b| burst(b)).unwrap_or(last);
    let span = if several { STORM } else { LONE_STORM };
    let kills: Vec<_> = kills.iter().filter(|r| r.at <= last.at && last.at.since(r.at) <= span).collect();
    let pods = kills.iter().map(|r| r.pod).collect::<BTreeSet<_>>().len();
    let first = kills.first().map_or(last.at, |r| r.at);
    let what = format!(
        "liveness {current} restarted {} {} by timeout",
        if pods == 1 { format!("the only pod {} times", kills.len()) } else { format!("{pods} pods") },
        match last.at.since(first) {
            within if within < Span::SECOND => "at once".to_owned(),
            within => format!("in {}", about(within)),
        }
    );
    let all = grid::liveness(case.probe.handler, &case.permission().bounds, current);
    let helps = |s: &Settings| s.timeout() > current.timeout() && s.stall_tolerance() + 1 >= current.stall_tolerance();
    let period = current.period().max(10);
    let ideal = ignorance(case, period, &all).map(|s| {
        let patient = Settings::new(s.period(), s.timeout(), current.threshold()).unwrap_or(s);
        if helps(&s) { s } else { patient }
    });
    let ideal = ideal.filter(|s| helps(s) && case.detects(*s) && case.permission().bounds.contain(*s));
    let within = || {
        let allowed = |s: &Settings| helps(s) && case.detects(*s) && case.permitted(*s);
        let slow = loosest(all.iter().copied().filter(|s| allowed(s) && s.period() >= 10));
        slow.or_else(|| loosest(all.iter().copied().filter(allowed)))
    };
    let taken = ideal.filter(|s| case.permitted(*s)).or_else(within);
    Some(match (taken, ideal) {
        (Some(s), ideal) => {
            let mut message = format!("{what}; {}", difference(current, s));
            if let Some(rest) = ideal.filter(|i| *i != s) {
                message += &format!("; {rest} would more than double the owner's tolerance: NEEDS_APPROVAL");
            }
            if let Some(starved) = refuse::starved(case) {
                message += &format!("; {starved}");
            }
            Choice { wanted: s, urgency: Urgency::Storm, reason: Reason::Storm, message }
        }
        (None, Some(ideal)) => Choice::hold(
            current,
            Reason::NeedsApproval,
            format!("{what}; {ideal} would help, and is a change that two people must approve"),
        ),
        (None, None) => Choice::hold(
            current,
            Reason::OverBudgetAtMax,
            format!("{what}; nothing looser lies within the owner's bounds"),
        ),
    })
}

/// Whether containers truly break so often that two of them do within [`STORM`] by accident more than once in
/// [`ACCIDENT`]: `λ²·STORM` of `λ` kills a second at today's numbers that look true, of those kept from before a moment.
fn coincides(case: &Case<'_>, before: Timestamp) -> bool {
    let mut last: BTreeMap<Uid, Timestamp> = BTreeMap::new();
    let (mut n, mut first) = (0.0, None);
    for (r, weight) in case.kills(Timestamp::EPOCH) {
        let alone = r.failing == Failing::Slow && r.company == Company::Alone && weight < TRUE && !r.relapsed;
        if r.at >= before || !alone || r.settings != Some(case.current()) {
            continue;
        }
        // A replica that is restarted again and again is ill once.
        if last.insert(r.pod, r.at).is_none_or(|then| r.at.since(then) > SICK_WITHIN) {
            n += 1.0;
            first = first.or(Some(r.at));
        }
    }
    let Some(first) = first else { return false };
    let often = n / case.now.since(first).as_secs_f64().max(1.0);
    n >= KNOWN && often * often * STORM.as_secs_f64() * ACCIDENT.as_secs_f64() > 1.0
}

/// Budget and detection bound exclude each other.
pub(super) fn conflict(case: &Case<'_>, all: &[Settings]) -> Option<Choice> {
    let bound = case.permission().detect_within?;
    let budget = case.budget();
    let current = case.current();
    let mut every: Vec<Settings> = all.to_vec();
    every.push(current);
    let by_rate = |a: &&Settings, b: &&Settings| case.rate(**a).total_cmp(&case.rate(**b));
    let quick = every.iter().filter(|s| case.detects(**s)).min_by(by_rate);
    if quick.is_some_and(|s| case.rate(*s) <= budget) {
        return None;
    }
    let safe = every
        .iter()
        .filter(|s| case.rate(**s) <= budget)
        .min_by_key(|s| (s.worst_hang_detection(), s.stall_tolerance()))?;
    let quick = quick.map_or_else(
        || "no sane setting keeps the bound".to_owned(),
        |s| format!("{s} keeps it with {} false restarts a pod-year", rate(case.rate(*s))),
    );
    Some(Choice::hold(
        current,
        Reason::BoundConflict,
        format!(
            "a hang within {bound} and {} false restarts a pod-year exclude each other: {quick}; {safe} keeps the budget and finds a hang within {} s",
            rate(budget),
            safe.worst_hang_detection()
        ),
    ))
}

/// A timeout below 5 s sees nothing above itself: the ignorance setting, with the next rollout, whatever the data say.
fn leave_blindness(case: &Case<'_>, all: &[Settings]) -> Choice {
    let current = case.current();
    let looser = |s: &Settings| s.timeout() > current.timeout();
    let ideal = ignorance(case, 0, all).filter(looser);
    let taken = ideal.filter(|s| case.permitted(*s)).or_else(|| {
        let fits =
            |s: &Settings| looser(s) && case.detects(*s) && case.permitted(*s) && s.stall_tolerance() <= FREE_STALL;
        // Of the rest the nearest to it that may be had: from above where the owner's tolerance is far larger.
        loosest(all.iter().copied().filter(fits)).or_else(|| {
            let fits = |s: &Settings| looser(s) && case.detects(*s) && case.permitted(*s);
            all.iter().copied().filter(fits).min_by_key(|s| s.stall_tolerance())
        })
    });
    let blind = format!("a timeout of {} s sees no latency above it", current.timeout());
    let Some(wanted) = taken else {
        return match ideal {
            Some(ideal) => Choice::hold(
                current,
                Reason::NeedsApproval,
                format!("{blind}; {ideal} would, and is a change that two people must approve"),
            ),
            None => Choice::hold(
                current,
                Reason::OverBudgetAtMax,
                format!("{blind}; no larger one lies within the owner's bounds"),
            ),
        };
    };
    let mut choice = Choice {
        wanted,
        urgency: Urgency::WithNextRollout,
        reason: Reason::Loosen,
        message: format!("{blind}; {}", difference(current, wanted)),
    };
    if refuse::starting(case) {
        choice.reason = Reason::ColdStart;
        choice.message = format!(
            "all kills come within minutes of a start; a startup probe would be better; {}",
            difference(current, wanted)
        );
    }
    own_rollout(case, &mut choice);
    choice
}

/// What caution allows besides bounds and permission.
pub(super) struct Caution {
    pub(super) most_stall: u64,
    pub(super) least_stall: u64,
    pub(super) most_refusal: u64,
    pub(super) least_refusal: u64,
    most_threshold: u32,
    least_timeout: u32,
    readiness: Option<Settings>,
}

impl Caution {
    fn of(case: &Case<'_>) -> Self {
        let current = case.current();
        let (stall, refusal) = (current.stall_tolerance(), current.refusal_tolerance());
        let belief = case.belief.as_ref();
        let starved = refuse::starved(case).is_some() && stall > case.owners.stall_tolerance();
        let stalls = case.slow_false() >= LOOSENS && !starved;
        let spells = refuse::refuses_often(case);
        let refusals = spells || belief.is_some_and(|b| b.fast_false() >= LOOSENS) && refuse::refused_on_two_days(case);
        let starting = refuse::starting(case);
        Caution {
            most_stall: match () {
                () if stalls => u64::MAX,
                // Three failures ten seconds apart are 25 s of silence at least.
                () if refusals => stall.max(SPELLS_STALL),
                () => stall.max(FREE_STALL),
            },
            least_stall: if case.calm == 0 { stall.min(FREE_STALL) } else { 0 },
            most_refusal: if refusals { u64::MAX } else { refusal.max(FREE_REFUSAL) },
            least_refusal: if spells { SPELLS } else { 0 },
            most_threshold: if starting { current.threshold() } else { u32::MAX },
            least_timeout: if starting { current.timeout() } else { 0 },
            readiness: case.sibling(ProbeKind::Readiness),
        }
    }

    fn allows(&self, current: Settings, s: Settings) -> bool {
        self.objection(current, s).is_none()
    }

    /// What stands against a setting, if anything: the first that holds.
    pub(super) fn objection(&self, current: Settings, s: Settings) -> Option<Objection> {
        let (stall, refusal) = (s.stall_tolerance(), s.refusal_tolerance());
        if stall > self.most_stall {
            return Some(Objection::MorePatient { most: self.most_stall });
        }
        if stall < self.least_stall {
            return Some(Objection::LessPatient { least: self.least_stall });
        }
        if refusal > self.most_refusal {
            return Some(Objection::MoreRefusals { most: self.most_refusal });
        }
        if refusal < self.least_refusal {
            return Some(Objection::FewerRefusals { least: self.least_refusal });
        }
        // Readiness is never more patient than liveness: a tightening that would break this waits for readiness.
        let together = self.readiness.is_none_or(|r| {
            (stall >= current.stall_tolerance() || 2 * r.stall_tolerance() <= stall)
                && (refusal >= current.refusal_tolerance() || r.refusal_tolerance() <= refusal)
        });
        if !together {
            return Some(Objection::BeforeReadiness);
        }
        let starts = s.threshold() > self.most_threshold || s.timeout() < self.least_timeout;
        starts.then_some(Objection::ColdStart)
    }
}

/// What caution asks of these candidates: threshold three for refusals only where one of them can be had.
pub(super) fn cautions(case: &Case<'_>, all: &[Settings]) -> Caution {
    let mut caution = Caution::of(case);
    let open = |s: &Settings| case.detects(*s) && caution.allows(case.current(), *s);
    if caution.least_refusal > 0 && !all.iter().any(|s| open(s) && case.permitted(*s)) {
        caution.least_refusal = 0;
    }
    caution
}

/// The candidate of least posterior loss, if it is 5 % better than what is there.
fn best(case: &Case<'_>, all: &[Settings]) -> Choice {
    let current = case.current();
    let caution = cautions(case, all);
    let open = |caution: &Caution, s: &Settings| case.detects(*s) && caution.allows(current, *s);
    let budget = case.budget();
    let today = case.loss(current);
    let (mut permitted, mut ideal) = (Least::default(), Least::default());
    let free = case.permission().approvals;
    for s in all.iter().copied().filter(|s| open(&caution, s)) {
        let may = case.permitted(s);
        // What a setting costs without any restart bounds its loss from below: most candidates need no survival.
        let carrying = case.carrying(s);
        if (!may || permitted.beats(carrying)) && (free || ideal.beats(carrying)) {
            continue;
        }
        let (loss, rate) = case.loss_and_rate(s);
        if may {
            permitted.offer(loss, s, rate, budget);
        }
        if !free {
            ideal.offer(loss, s, rate, budget);
        }
    }
    // Where nothing keeps the budget, what is better than today is still better.
    let permitted = permitted.found(case.rate(current));
    let ideal = if free { permitted } else { ideal.found(case.rate(current)) };
    let forced =
        caution.least_refusal > 0 && current.refusal_tolerance() < caution.least_refusal || !case.detects(current);
    let worth = |(loss, s): &(f64, Settings)| *s != current && (forced || *loss < BETTER * today);
    let rest = ideal.filter(worth).filter(|(_, s)| !case.permitted(*s));
    let Some((loss, wanted)) = permitted.filter(worth) else {
        return stay(case, rest.map(|(_, s)| s));
    };
    let loosens = wanted.stall_tolerance() > current.stall_tolerance()
        || wanted.stall_tolerance() == current.stall_tolerance()
            && wanted.refusal_tolerance() > current.refusal_tolerance()
        || caution.least_refusal > 0 && forced;
    let mut message = format!(
        "{}; expected loss {loss:.0} instead of {today:.0} pod-seconds a pod-year, {} false restarts instead of {}",
        difference(current, wanted),
        rate(case.rate(wanted)),
        rate(case.rate(current))
    );
    if loosens {
        for more in [refuse::shared_slowness(case), refuse::starved(case)].into_iter().flatten() {
            message += &format!("; {more}");
        }
    }
    if let Some((_, rest)) = rest {
        message += &format!("; {rest} would be better still: NEEDS_APPROVAL");
    }
    let reason = match (refuse::starting(case), loosens) {
        (true, true) => Reason::ColdStart,
        (_, true) => Reason::Loosen,
        (_, false) => Reason::Tighten,
    };
    let mut choice = Choice { wanted, urgency: Urgency::WithNextRollout, reason, message };
    own_rollout(case, &mut choice);
    choice
}

/// The least loss among candidates: of those that keep the budget, and of the others.
#[derive(Default)]
struct Least {
    within: Option<(f64, Settings)>,
    beyond: Option<(f64, Settings, f64)>,
}

impl Least {
    /// Whether a candidate that costs at least so much cannot be it.
    fn beats(&self, carrying: f64) -> bool {
        self.within.is_some_and(|(loss, _)| carrying >= loss)
    }

    fn offer(&mut self, loss: f64, s: Settings, rate: f64, budget: f64) {
        if rate <= budget {
            if self.within.is_none_or(|(least, _)| loss < least) {
                self.within = Some((loss, s));
            }
        } else if self.beyond.is_none_or(|(least, ..)| loss < least) {
            self.beyond = Some((loss, s, rate));
        }
    }

    /// One within the budget, else one beyond it with no more false restarts than `today`.
    fn found(self, today: f64) -> Option<(f64, Settings)> {
        self.within.or(self.beyond.filter(|(.., rate)| *rate <= today).map(|(loss, s, _)| (loss, s)))
    }
}

/// Nothing better is allowed: says what stands in the way, if something does.
fn stay(case: &Case<'_>, rest: Option<Settings>) -> Choice {
    let current = case.current();
    let expected = rate(case.rate(current));
    let hold = |reason, message| Choice::hold(current, reason, message);
    if let Some(rest) = rest {
        return hold(
            Reason::NeedsApproval,
            format!("{}, and is a change that two people must approve", difference(current, rest)),
        );
    }
    if refuse::starting(case) {
        return hold(
            Reason::ColdStart,
            "all kills come within minutes of a start: a startup probe is what is missing, not patience later".into(),
        );
    }
    if case.rate(current) > case.budget() {
        let starved = refuse::starved(case);
        let reason = if starved.is_some() { Reason::Starved } else { Reason::OverBudgetAtMax };
        let why = starved.unwrap_or_else(|| "nothing that may be taken is better".into());
        return hold(
            reason,
            format!("{expected} false restarts a pod-year expected, the budget is {}; {why}", rate(case.budget())),
        );
    }
    hold(
        Reason::InPlace,
        format!("{current} is the best allowed setting: {expected} false restarts a pod-year expected"),
    )
}

/// What a rollout of our own would bring before the owner's next one.
pub(super) struct Earning {
    /// Pod-seconds a pod that the new numbers save until then.
    pub(super) saves: f64,
    /// Days until then.
    pub(super) days: f64,
    /// Pod-seconds a pod that the rollout costs.
    pub(super) price: f64,
    /// The last change is long enough ago.
    pub(super) rested: bool,
    /// Several replicas were slow together just now.
    pub(super) amid: bool,
    /// A restart of today's numbers was probably false.
    pub(super) hurt: bool,
    /// Whether it is worth it.
    pub(super) pays: bool,
}

/// Weighs a rollout of our own.
pub(super) fn earning(case: &Case<'_>, wanted: Settings) -> Earning {
    let gain = case.loss(case.current()) - case.loss(wanted);
    let price = case.permission().rollout_price;
    let change = case.evidence.last_change();
    let rested = change.is_none_or(|at| case.now.since(at) >= APART);
    // In the middle of a slowness of all, restarts say little, and a rollout makes it worse.
    let amid = case.seen.and_then(|s| s.slow_together()).is_some_and(|at| case.now.since(at) < AMID);
    // Pods that a rollout has not reached yet still die of the former numbers.
    let hurt = case.kills(case.since_change()).any(|(r, w)| w >= 0.5 && r.settings == Some(case.current()));
    let days = until_next_rollout(case.evidence.first(), case.evidence.rollouts(), case.now);
    let saves = gain * days / 365.0;
    // A price of nothing: the owner wants every worthwhile change.
    let worth = price <= 0.0 || hurt && saves > EARNS * price;
    let pays = !amid && rested && case.own_rollouts() < refuse::FLAPPING && gain > 0.0 && worth;
    Earning { saves, days, price, rested, amid, hurt, pays }
}

/// Makes a wish urgent where it pays for a rollout of its own before the owner's next one.
fn own_rollout(case: &Case<'_>, choice: &mut Choice) {
    let earning = earning(case, choice.wanted);
    if earning.pays {
        choice.urgency = Urgency::OwnRollout;
        if earning.price > 0.0 {
            choice.message += &format!("; saves {:.0} pod-seconds a pod before the next rollout is due", earning.saves);
        }
    }
}

/// Days until the owner's next rollout: `gap = (14 + last rollout's day)/(1 + rollouts seen)`, `max(gap − days since,
/// gap/2)`.
pub(super) fn until_next_rollout(first: Option<Timestamp>, rollouts: (u32, Option<Timestamp>), now: Timestamp) -> f64 {
    let Some(first) = first else { return USUAL_GAP };
    let (n, last) = rollouts;
    let last_day = last.map_or(0.0, |at| at.since(first).as_days_f64());
    let gap = (USUAL_GAP + last_day) / (1.0 + f64::from(n));
    let since = now.since(first).as_days_f64() - last_day;
    (gap - since).max(gap / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_own_rollout_pays_before_the_owners_next_one_or_not_at_all() {
        // Policy, worked example 11: rollouts on days 5 and 19, now day 21.
        let day = |d: i64| Timestamp::EPOCH + Span::DAY * d;
        let days = until_next_rollout(Some(day(0)), (2, Some(day(19))), day(21));
        assert!((days - 9.0).abs() < 1e-9);
        assert!((1670.0 * days / 365.0 - 41.18).abs() < 5e-3);
        assert!((5670.0 * days / 365.0 - 139.81).abs() < 5e-3);
    }
}
