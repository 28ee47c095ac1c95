//! Turns what is believed of a workload's probes, and what its owners allow, into wishes.
//!
//! **Takes** evidence, the workload as declared, what is remembered, prices. **Gives** one [`Judgement`] a probe.
//! **Never** reads a clock, knows a rollout budget or a window (that is `plan`'s), or wishes for numbers outside the
//! owner's bounds.
//!
//! This is the room's face; the judgement itself comes next.

use crate::evidence::Evidence;
use crate::memory::Memory;
use crate::probe::Settings;
use crate::reason::Reason;
use crate::units::{Span, Timestamp};
use crate::workload::{ProbeId, Workload};

/// How much a wish is worth: when it may be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Nothing is wished, or nothing may be.
    Hold,
    /// Better, but not worth a rollout of its own.
    WithNextRollout,
    /// Pays for its own rollout at the owner's price.
    OwnRollout,
    /// Timeouts restart several replicas: at once.
    Storm,
}

/// What a setting is expected to do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    /// False restarts a pod-year: posterior mean.
    pub false_restarts: f64,
    /// The same, upper bound (95 %).
    pub upper: f64,
    /// Worst time from a hang to the verdict, in seconds.
    pub detect_seconds: u64,
    /// Expected loss in pod-seconds a pod-year.
    pub loss: f64,
}

/// The decision about one probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Which.
    pub probe: ProbeId,
    /// Its numbers now.
    pub current: Settings,
    /// The numbers that it should have; equal to `current` when nothing is wished.
    pub wanted: Settings,
    /// When that may happen.
    pub urgency: Urgency,
    /// Why, as a code.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
    /// What today's numbers do; `None` while nothing is known.
    pub now: Option<Expectation>,
    /// What the wanted numbers would do.
    pub then: Option<Expectation>,
    /// How sure, in `[0, 1]`.
    pub confidence: f64,
    /// Pod-time that was seen.
    pub seen: Span,
}

/// Prices, in pod-seconds and events a pod-year.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// True faults a pod-year (12), of which two thirds hang.
    pub faults: f64,
    /// Pod-seconds a false restart costs (120).
    pub false_restart: f64,
    /// κ for HTTP, TCP and gRPC, in s² (25).
    pub check: f64,
    /// κ for exec, in s² (100).
    pub exec_check: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Prices { faults: 12.0, false_restart: 120.0, check: 25.0, exec_check: 100.0 }
    }
}

/// The judgement of each covered probe.
pub fn judge(
    _evidence: &Evidence,
    workload: &Workload,
    _memory: &Memory,
    _prices: &Prices,
    _now: Timestamp,
) -> Vec<Judgement> {
    let covered = workload.probes.iter().filter(|p| workload.permission.covers(&p.id.container, p.id.kind));
    covered
        .map(|p| Judgement {
            probe: p.id.clone(),
            current: p.settings,
            wanted: p.settings,
            urgency: Urgency::Hold,
            reason: Reason::ThinEvidence,
            message: "nothing seen yet".into(),
            now: None,
            then: None,
            confidence: 0.0,
            seen: Span::ZERO,
        })
        .collect()
}
