//! All that was seen of one workload.
//!
//! **Takes** facts about one workload, its pods and their probes. **Gives** tallies and, to `model`, what a tail is
//! fitted to. **Never** guesses what was not seen.
//!
//! This is the room's face; what it keeps comes with the judgement.

use crate::observation::{FailureClass, Sample, Usage};
use crate::probe::ProbeKind;
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{Pod, Workload};

/// All that was seen of one workload: its probes, pods, restarts.
#[derive(Clone, Debug, Default)]
pub struct Evidence;

/// What happened to a workload's pods between two moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Pod-time that was watched.
    pub pod_time: Span,
    /// Restarts by liveness or startup probes.
    pub probe_restarts: u32,
    /// Restarts by anything else.
    pub other_restarts: u32,
    /// Pod-time unready, after the pod was ready once.
    pub unready: Span,
}

/// One restart.
#[derive(Clone, Debug, PartialEq)]
pub struct RestartRecord {
    /// When it became known.
    pub at: Timestamp,
    /// Whose.
    pub pod: Uid,
}

/// Evidence that cannot be read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError;

impl Evidence {
    /// Nothing seen.
    pub fn new() -> Self {
        Evidence
    }
    /// The workload as declared.
    pub fn workload(&mut self, _at: Timestamp, _w: &Workload) {}
    /// A pod as it is now.
    pub fn pod(&mut self, _at: Timestamp, _p: &Pod) {}
    /// A pod is gone.
    pub fn pod_gone(&mut self, _at: Timestamp, _pod: Uid) {}
    /// A probe's counters.
    pub fn sample(&mut self, _at: Timestamp, _s: &Sample) {}
    /// A node's scrape is missing.
    pub fn scrape_missed(&mut self, _at: Timestamp, _node: &Name) {}
    /// Checks failed.
    pub fn unhealthy(
        &mut self,
        _at: Timestamp,
        _pod: Uid,
        _container: &Name,
        _kind: ProbeKind,
        _class: FailureClass,
        _count: u32,
    ) {
    }
    /// A container is killed for a probe.
    pub fn killing(&mut self, _at: Timestamp, _pod: Uid, _container: &Name, _kind: ProbeKind) {}
    /// A pod's usage.
    pub fn pod_usage(&mut self, _at: Timestamp, _pod: Uid, _usage: &Usage) {}
    /// A node's usage.
    pub fn node_usage(&mut self, _at: Timestamp, _node: &Name, _usage: &Usage, _allocatable_cores: Option<f64>) {}
    /// Our own rollout was applied.
    pub fn changed_by_us(&mut self, _at: Timestamp) {}
    /// What happened between two moments.
    pub fn tally(&self, _from: Timestamp, _to: Timestamp) -> Tally {
        Tally::default()
    }
    /// The last restarts.
    pub fn restarts(&self) -> &[RestartRecord] {
        &[]
    }
    /// As it is written down.
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }
    /// As it was written down.
    ///
    /// # Errors
    /// Bytes that are no evidence.
    pub fn decode(_bytes: &[u8]) -> Result<Evidence, DecodeError> {
        Ok(Evidence)
    }
}
