//! One probe's case: everything that its judgement may look at.

use super::prices::{carrying_cost, unseen};
use super::{Choice, Expectation, Judgement, Prices};
use crate::change::Verdict;
use crate::evidence::{Cause, Company, Edge, Evidence, RestartRecord, Seen};
use crate::memory::Memory;
use crate::model::{Belief, believe_under};
use crate::policy::Permission;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{Span, Timestamp, Uid};
use crate::workload::{Probe, Workload};
use std::collections::BTreeMap;

/// False removals from Services that are accepted: one a pod-week.
pub(super) const REMOVALS: f64 = 52.0;

pub(super) struct Case<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) workload: &'a Workload,
    pub(super) memory: &'a Memory,
    pub(super) prices: &'a Prices,
    pub(super) now: Timestamp,
    pub(super) probe: &'a Probe,
    /// `None` until anything was heard of the probe.
    pub(super) seen: Option<&'a Seen>,
    pub(super) belief: Option<Belief>,
    /// The numbers before we first changed any.
    pub(super) owners: Settings,
    /// Changes of version in a row that made nothing worse.
    pub(super) calm: u32,
}

impl<'a> Case<'a> {
    pub(super) fn new(
        evidence: &'a Evidence,
        workload: &'a Workload,
        memory: &'a Memory,
        prices: &'a Prices,
        now: Timestamp,
        probe: &'a Probe,
    ) -> Self {
        let seen = evidence.seen(&probe.id);
        let fitted = seen.filter(|_| probe.id.kind != ProbeKind::Startup);
        let owners = memory.owners.iter().find(|(id, _)| *id == probe.id).map_or(probe.settings, |(_, s)| *s);
        Case {
            evidence,
            workload,
            memory,
            prices,
            now,
            probe,
            seen,
            belief: fitted.map(|s| believe_under(evidence, s, prices.slow_rate, now)),
            owners,
            calm: seen.map_or(0, |s| evidence.calm_changes(s)),
        }
    }

    pub(super) fn current(&self) -> Settings {
        self.probe.settings
    }

    pub(super) fn permission(&self) -> &Permission {
        &self.workload.permission
    }

    /// The declared numbers of another probe of this container.
    pub(super) fn sibling(&self, kind: ProbeKind) -> Option<Settings> {
        let of = |p: &&Probe| p.id.kind == kind && p.id.container == self.probe.id.container;
        self.workload.probes.iter().find(of).map(|p| p.settings)
    }

    /// Most false verdicts a pod-year that are accepted.
    pub(super) fn budget(&self) -> f64 {
        match self.probe.id.kind {
            ProbeKind::Readiness => REMOVALS,
            _ => self.permission().false_restart_budget.get(),
        }
    }

    /// Whether a setting keeps the owner's bound on detection.
    pub(super) fn detects(&self, s: Settings) -> bool {
        let worst = Span::from_seconds(i64::try_from(s.worst_hang_detection()).unwrap_or(i64::MAX));
        self.permission().detect_within.is_none_or(|bound| worst <= bound)
    }

    /// Whether a change to a setting asks for two people's approval.
    pub(super) fn risky(&self, s: Settings) -> bool {
        let (new, old) = (s.stall_tolerance(), self.owners.stall_tolerance());
        s != self.current() && (self.permission().protected || new > 2 * old || 2 * new < old)
    }

    /// Whether it may be wished for: risky changes are, where people can approve them.
    pub(super) fn permitted(&self, s: Settings) -> bool {
        self.permission().approvals || !self.risky(s)
    }

    pub(super) fn watched(&self) -> Span {
        self.seen.map_or(Span::ZERO, Seen::watched)
    }

    /// False verdicts a pod-year at a setting; zero while nothing is known.
    pub(super) fn rate(&self, s: Settings) -> f64 {
        self.belief.as_ref().map_or(0.0, |b| b.mean(s))
    }

    pub(super) fn carrying(&self, s: Settings) -> f64 {
        let exec = self.probe.handler == Handler::Exec;
        carrying_cost(s, self.prices.faults, if exec { self.prices.exec_check } else { self.prices.check })
    }

    /// Posterior loss of a setting, in pod-seconds a pod-year.
    pub(super) fn loss(&self, s: Settings) -> f64 {
        self.loss_and_rate(s).0
    }

    /// The posterior loss of a setting, and its false verdicts a pod-year.
    pub(super) fn loss_and_rate(&self, s: Settings) -> (f64, f64) {
        let (Some(seen), Some(belief)) = (self.seen, &self.belief) else { return (self.carrying(s), 0.0) };
        let rate = belief.mean(s);
        let price = match self.probe.id.kind {
            ProbeKind::Readiness => self.prices.false_removal * rate,
            _ => {
                let regimes = seen.regimes(belief.edge(s.timeout()));
                let years = seen.watched().as_years_f64();
                self.prices.false_restart * rate + unseen(s, self.prices, years, regimes, self.calm)
            }
        };
        (self.carrying(s) + price, rate)
    }

    /// Restarts of this container since `since`, with the probability that each was a false verdict of this probe.
    pub(super) fn restarts(&self, since: Timestamp) -> impl Iterator<Item = (&'a RestartRecord, f64)> + '_ {
        let weights = self.belief.as_ref().map_or(&[] as &[f64], |b| b.weights());
        self.evidence
            .restarts()
            .iter()
            .enumerate()
            .map(|(i, r)| (r, weights.get(i).copied().unwrap_or(0.0)))
            .filter(move |(r, _)| r.container == self.probe.id.container && r.at >= since)
    }

    /// Kills by this liveness probe since `since`.
    pub(super) fn kills(&self, since: Timestamp) -> impl Iterator<Item = (&'a RestartRecord, f64)> + '_ {
        self.restarts(since).filter(|(r, _)| r.cause == Cause::LivenessKill)
    }

    /// Expected number of false restarts by timeouts in the last 30 days, of those that speak about today's timeout: what
    /// a timeout below one of the kubelet's edges was too short for says nothing above that edge.
    pub(super) fn slow_false(&self) -> f64 {
        let visible = Edge::visible(self.current().timeout());
        let kills = self
            .kills(self.now - Span::DAY * 30)
            .filter(|(r, _)| r.failing.slow() && r.settings.is_some_and(|s| Edge::visible(s.timeout()) >= visible));
        // What one pod goes through alone counts once, however often: it may be about to turn out sick.
        let (mut shared, mut alone) = (0.0, BTreeMap::<Uid, f64>::new());
        for (r, weight) in kills {
            if r.company == Company::Shared || self.evidence.replicas().max(self.evidence.pods()) <= 1 {
                shared += weight;
            } else {
                let most = alone.entry(r.pod).or_default();
                *most = most.max(weight);
            }
        }
        shared + alone.values().sum::<f64>()
    }

    /// Just after the last change of numbers; the beginning of time if there was none.
    pub(super) fn since_change(&self) -> Timestamp {
        self.evidence.last_change().map_or(Timestamp::from_nanos(i64::MIN), |t| t + Span::from_nanos(1))
    }

    /// Rollouts of our own in the last week, the one under way included.
    pub(super) fn own_rollouts(&self) -> usize {
        let week = self.now - Span::DAY * 7;
        let past = self.memory.past.iter().filter(|p| p.at >= week);
        let applied = past.filter(|p| matches!(p.verdict, Verdict::Verified | Verdict::Reverted)).count();
        applied + usize::from(self.memory.in_flight.as_ref().is_some_and(|f| f.applied.is_some_and(|at| at >= week)))
    }

    pub(super) fn expectation(&self, s: Settings) -> Option<Expectation> {
        let rate = self.belief.as_ref()?.rate(s);
        if self.watched() <= Span::ZERO {
            return None;
        }
        Some(Expectation {
            false_restarts: rate.mean,
            upper: rate.upper(),
            detect_seconds: s.worst_hang_detection(),
            loss: self.loss(s),
        })
    }

    pub(super) fn judgement(&self, choice: Choice) -> Judgement {
        let Choice { wanted, urgency, reason, message } = choice;
        let now = self.expectation(self.current());
        let then = if wanted == self.current() { now } else { self.expectation(wanted) };
        let known = self.watched() > Span::ZERO;
        let confidence =
            self.belief.as_ref().filter(|_| known).map_or(0.0, |b| b.rate(wanted).probability_within(self.budget()));
        Judgement {
            probe: self.probe.id.clone(),
            current: self.current(),
            wanted,
            urgency,
            reason,
            message,
            now,
            then,
            confidence,
            seen: self.seen.map_or(Span::ZERO, Seen::pod_time),
            watched: self.watched(),
        }
    }
}
