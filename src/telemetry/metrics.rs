//! Every metric there is: name, help, labels.

use super::event::Lost;
use crate::change::{Intent, Outcome, Verdict};
use crate::engine::Phase;
use crate::reason::Reason;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::ops::Deref;
use std::sync::Mutex;

type Label = (&'static str, &'static str);
type By1 = Family<[Label; 1], Counter>;
type By2 = Family<[Label; 2], Counter>;

/// The metrics of one daemon. Shared by reference; every method takes microseconds.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    turns: Histogram,
    observations: By1,
    dropped: By1,
    scrapes: By1,
    scrape_seconds: Histogram,
    page_bytes: Counter,
    throttling: By1,
    throttling_bytes: Counter,
    shadow_checks: By1,
    shadow_refusals: By1,
    forecasts: By1,
    histories: By1,
    history_samples: Counter,
    workloads: Family<[Label; 1], Gauge>,
    held: Family<[Label; 1], Gauge>,
    changes: By2,
    verifications: By1,
    requests: By2,
    watch_failures: By1,
    fence: Gauge,
    paused: Gauge,
    paused_namespaces: Gauge,
    unreadable: Counter,
    evidence_bytes: Gauge,
    prior: Gauge,
    /// One writer of `workloads` and `held` at a time: a page never shows half of a turn.
    standing: Mutex<()>,
}

/// The verbs of API requests, as RBAC has them.
const VERBS: [&str; 7] = ["get", "list", "watch", "create", "update", "patch", "delete"];

/// The codes that have a label of their own; all others are named by their class. So at most 7 × 17 series.
const CODES: [(u16, &str); 12] = [
    (200, "200"),
    (201, "201"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (409, "409"),
    (410, "410"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (503, "503"),
];

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// Metrics of a daemon that has just started: all at zero. Series of short closed lists are there from the start, so
    /// that a rate over them is right from their first event on.
    pub fn new() -> Self {
        let mut r = Registry::with_prefix("probe_tuner");
        let info = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The program that runs", info);
        let turns = Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5]);
        r.register_with_unit("turn", "How long the engine's turns took", Unit::Seconds, turns.clone());
        let scrape_seconds = Histogram::new([0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        let help = "How long kubelets took to answer or to fail";
        r.register_with_unit("scrape_duration", help, Unit::Seconds, scrape_seconds.clone());
        let page_bytes = Counter::default();
        r.register_with_unit("page", "Bytes of kubelets' pages that arrived", Unit::Bytes, page_bytes.clone());
        let throttling_bytes = Counter::default();
        let help = "Bytes of kubelets' cAdvisor pages that arrived";
        r.register_with_unit("cadvisor_page", help, Unit::Bytes, throttling_bytes.clone());
        let history_samples = Counter::default();
        let help = "Samples of workloads' past that a Prometheus gave";
        r.register("history_samples", help, history_samples.clone());
        let paused = Gauge::default();
        r.register("paused", "1 while every write is stopped by a person", paused.clone());
        let paused_namespaces = Gauge::default();
        r.register("paused_namespaces", "Namespaces in which writes are stopped by name", paused_namespaces.clone());
        let fence = Gauge::default();
        let help = "1 while the API server refuses what the fence must refuse; nothing is written at 0";
        r.register("fence_holds", help, fence.clone());
        let unreadable = Counter::default();
        r.register(
            "unreadable_annotations",
            "Annotations that could not be read and permit nothing",
            unreadable.clone(),
        );
        let evidence_bytes = Gauge::default();
        r.register_with_unit("evidence", "Evidence kept in the cluster", Unit::Bytes, evidence_bytes.clone());
        let prior = Gauge::default();
        let help = "Half-hours a pod-year with an answer above 1 s, expected of a probe of which nothing is known";
        r.register("expected_slow_half_hours", help, prior.clone());
        let metrics = Metrics {
            observations: family(&mut r, "observations", "Facts learnt, by kind"),
            dropped: family(&mut r, "dropped", "What was dropped because a bound was reached, by what"),
            scrapes: family(&mut r, "scrapes", "Readings of kubelets, by result: ok or why not"),
            throttling: family(
                &mut r,
                "cadvisor_scrapes",
                "Readings of kubelets' cAdvisor pages, for throttling, by result: ok or why not",
            ),
            shadow_checks: family(&mut r, "shadow_checks", "Endpoints asked by ourselves, by what came of it"),
            shadow_refusals: family(
                &mut r,
                "shadow_refusals",
                "Pods that were not asked at their turn, by the rule that forbids it",
            ),
            forecasts: family(
                &mut r,
                "forecasts",
                "Forecasts of timeouts that turned out, and timeouts reached that none foretold, by outcome",
            ),
            histories: family(&mut r, "histories", "Workloads whose past was asked of a Prometheus, by result"),
            workloads: family(&mut r, "workloads", "Opted-in workloads, by phase"),
            held: family(&mut r, "held_workloads", "Workloads whose wished change is held, by reason code"),
            changes: family(&mut r, "changes", "Changes tried, by intent and by what became of them"),
            verifications: family(&mut r, "verifications", "Changes ended, by verdict"),
            requests: family(&mut r, "api_requests", "Requests to the API server, by verb and status"),
            watch_failures: family(&mut r, "watch_failures", "Watches that broke and began anew, by resource"),
            registry: r,
            turns,
            scrape_seconds,
            page_bytes,
            throttling_bytes,
            history_samples,
            fence,
            paused,
            paused_namespaces,
            unreadable,
            evidence_bytes,
            prior,
            standing: Mutex::new(()),
        };
        for what in Lost::ALL {
            metrics.dropped(what);
        }
        for verdict in Verdict::ALL {
            metrics.verifications(verdict);
        }
        for intent in [Intent::Tune, Intent::Revert].map(intent) {
            for outcome in ["applied", "contested", "refused", "gone", "unknown", "withheld"] {
                metrics.changes(intent, outcome);
            }
        }
        for outcome in ["hit", "miss", "surprise"] {
            metrics.forecasts(outcome);
        }
        metrics.scrapes.get_or_create(&[("result", "ok")]).inc_by(0);
        metrics.stand([]);
        metrics
    }

    /// Where every workload stands now, in place of what was said before.
    pub fn stand(&self, workloads: impl IntoIterator<Item = (Phase, Reason)>) {
        let _one_writer = self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut phases = Phase::ALL.map(|phase| (phase, 0));
        let mut held = std::collections::BTreeMap::new();
        for (phase, reason) in workloads {
            if let Some((_, count)) = phases.iter_mut().find(|(p, _)| *p == phase) {
                *count += 1;
            }
            if phase == Phase::Held {
                *held.entry(reason).or_insert(0) += 1;
            }
        }
        for (phase, count) in phases {
            self.workloads.get_or_create(&[("phase", phase.name())]).set(count);
        }
        self.held.clear();
        for (reason, count) in held {
            self.held.get_or_create(&[("reason", reason.code())]).set(count);
        }
    }

    /// The page, in OpenMetrics 1.0 or in Prometheus' text format 0.0.4, and its content type.
    pub fn page(&self, openmetrics: bool) -> (String, &'static str) {
        let _no_half_turn = self.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut page = String::new();
        let written = if openmetrics {
            text::encode(&mut page, &self.registry)
        } else {
            prometheus_text::encode(&mut page, &self.registry)
        };
        written.expect("writing to a String cannot fail, and no metric encodes itself in a way of its own");
        let kind = if openmetrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            prometheus_text::CONTENT_TYPE
        };
        (page, kind)
    }

    pub(super) fn observations(&self, kind: &'static str) -> impl Deref<Target = Counter> {
        self.observations.get_or_create(&[("kind", kind)])
    }

    pub(super) fn dropped(&self, what: Lost) -> impl Deref<Target = Counter> {
        self.dropped.get_or_create(&[("what", what.word())])
    }

    pub(super) fn scraped(&self, result: &'static str, seconds: f64, bytes: u64) {
        self.scrapes.get_or_create(&[("result", result)]).inc();
        self.scrape_seconds.observe(seconds);
        self.page_bytes.inc_by(bytes);
    }

    pub(super) fn throttling(&self, result: &'static str, bytes: u64) {
        self.throttling.get_or_create(&[("result", result)]).inc();
        self.throttling_bytes.inc_by(bytes);
    }

    pub(super) fn shadow_checks(&self, result: &'static str) -> impl Deref<Target = Counter> {
        self.shadow_checks.get_or_create(&[("result", result)])
    }

    pub(super) fn shadow_refusals(&self, rule: &'static str) -> impl Deref<Target = Counter> {
        self.shadow_refusals.get_or_create(&[("rule", rule)])
    }

    pub(super) fn forecasts(&self, outcome: &'static str) -> impl Deref<Target = Counter> {
        self.forecasts.get_or_create(&[("outcome", outcome)])
    }

    pub(super) fn recalled(&self, result: &'static str, samples: u64) {
        self.histories.get_or_create(&[("result", result)]).inc();
        self.history_samples.inc_by(samples);
    }

    pub(super) fn turned(&self, seconds: f64) {
        self.turns.observe(seconds);
    }

    pub(super) fn changes(&self, intent: &'static str, outcome: &'static str) -> impl Deref<Target = Counter> {
        self.changes.get_or_create(&[("intent", intent), ("outcome", outcome)])
    }

    pub(super) fn verifications(&self, verdict: Verdict) -> impl Deref<Target = Counter> {
        self.verifications.get_or_create(&[("verdict", verdict.word())])
    }

    pub(super) fn requests(&self, verb: &str, code: Option<u16>) -> impl Deref<Target = Counter> {
        let verb = VERBS.iter().find(|v| **v == verb).copied().unwrap_or("other");
        let code = match code {
            None => "none",
            Some(code) => CODES.iter().find(|(c, _)| *c == code).map_or(
                match code / 100 {
                    2 => "2xx",
                    3 => "3xx",
                    4 => "4xx",
                    _ => "5xx",
                },
                |(_, word)| *word,
            ),
        };
        self.requests.get_or_create(&[("verb", verb), ("code", code)])
    }

    pub(super) fn watch_failures(&self, resource: &'static str) -> impl Deref<Target = Counter> {
        self.watch_failures.get_or_create(&[("resource", resource)])
    }

    pub(super) fn fence(&self, holds: bool) {
        self.fence.set(i64::from(holds));
    }

    pub(super) fn paused(&self, everywhere: bool, namespaces: usize) {
        self.paused.set(i64::from(everywhere));
        self.paused_namespaces.set(i64::try_from(namespaces).unwrap_or(i64::MAX));
    }

    pub(super) fn unreadable(&self) {
        self.unreadable.inc();
    }

    /// What is expected of a probe of which nothing is known, learnt over all workloads.
    pub fn expected(&self, half_hours: f64) {
        self.prior.set(half_hours.round() as i64);
    }

    pub(super) fn stored(&self, bytes: u64) {
        self.evidence_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn family<const N: usize, M>(registry: &mut Registry, name: &str, help: &str) -> Family<[Label; N], M>
where
    Family<[Label; N], M>: prometheus_client::registry::Metric + Default + Clone,
{
    let family = Family::default();
    registry.register(name, help, Clone::clone(&family));
    family
}

pub(super) const fn intent(intent: Intent) -> &'static str {
    match intent {
        Intent::Tune => "tune",
        Intent::Revert => "revert",
    }
}

pub(super) const fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Applied { .. } => "applied",
        Outcome::Contested { .. } => "contested",
        Outcome::Refused { .. } => "refused",
        Outcome::Gone => "gone",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Withheld { .. } => "withheld",
    }
}
