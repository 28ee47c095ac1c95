//! Which pods there are, on which nodes, and what the workloads of a node tell each other.

use super::{Engine, Entry, MOST_PODS};
use crate::units::{Name, Timestamp, Uid};
use crate::workload::Pod;

/// Where a pod belongs.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) workload: Uid,
    pub(super) node: Option<Name>,
    pub(super) restarts: u32,
}

impl Engine {
    pub(super) fn pod(&mut self, at: Timestamp, pod: &Pod) {
        let Some(e) = self.workloads.get_mut(&pod.workload) else {
            self.dropped += 1;
            return;
        };
        let restarts = pod.containers.iter().map(|c| c.restarts).sum();
        let known = self.pods.get(&pod.uid);
        if known.is_none() && self.pods.len() >= MOST_PODS {
            self.dropped += 1;
            return;
        }
        e.urgent |= known.is_some_and(|p| p.restarts != restarts);
        e.evidence.pod(at, pod);
        if known.is_none_or(|p| p.node != pod.node || p.workload != pod.workload) {
            self.unplace(pod.uid);
            if let Some(node) = &pod.node {
                *self.nodes.entry(node.clone()).or_default().entry(pod.workload).or_insert(0) += 1;
                self.neighbours.watch(node, at);
            }
        }
        self.pods.insert(pod.uid, Place { workload: pod.workload, node: pod.node.clone(), restarts });
        self.compare_notes(at, pod.uid);
    }

    pub(super) fn pod_gone(&mut self, at: Timestamp, uid: Uid) {
        if let Some(e) = self.entry_of(uid) {
            e.evidence.pod_gone(at, uid);
        }
        self.unplace(uid);
        self.pods.remove(&uid);
    }

    /// Takes a pod off the node where it was last seen.
    fn unplace(&mut self, uid: Uid) {
        let Some(Place { workload, node: Some(node), .. }) = self.pods.get(&uid) else { return };
        let Some(workloads) = self.nodes.get_mut(node) else { return };
        if let Some(n) = workloads.get_mut(workload) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                workloads.remove(workload);
                self.neighbours.left(node, *workload);
            }
        }
        if workloads.is_empty() {
            self.neighbours.forget(node);
            self.nodes.remove(node);
        }
    }

    pub(super) fn entry_of(&mut self, pod: Uid) -> Option<&mut Entry> {
        let place = self.pods.get(&pod)?;
        self.workloads.get_mut(&place.workload)
    }

    pub(super) fn on_node(&mut self, node: &Name, mut tell: impl FnMut(&mut Entry, &Name)) {
        let Some(workloads) = self.nodes.get(node) else { return };
        for uid in workloads.keys() {
            if let Some(e) = self.workloads.get_mut(uid) {
                tell(e, node);
            }
        }
    }

    /// After news of a pod: whether it was slow is told to the workloads beside it on its node, and a kill of it is held
    /// against what they said.
    pub(super) fn compare_notes(&mut self, at: Timestamp, pod: Uid) {
        let Some(Place { workload, node, .. }) = self.pods.get(&pod) else { return };
        let Some(e) = self.workloads.get_mut(workload) else { return };
        let (slow, killed) = e.evidence.take_notes();
        let Some(node) = node.as_ref().filter(|_| slow || killed.is_some()) else { return };
        if let Some(killed) = killed {
            // Of neighbours whose counters nobody read then nothing is known.
            let read = |uid: &&Uid| {
                *uid != workload && self.workloads.get(*uid).is_some_and(|e| e.evidence.read_on(node, killed))
            };
            let heard = self.nodes.get(node).is_some_and(|w| w.keys().any(|uid| read(&uid)));
            let said = self.neighbours.killed(node, *workload, killed).filter(|n| n.slow || heard);
            if let Some(e) = self.workloads.get_mut(workload) {
                e.evidence.neighbours_said(node, killed, said);
            }
        }
        if !slow {
            return;
        }
        for (uid, killed, said) in self.neighbours.slow(node, *workload, at) {
            if let Some(e) = self.workloads.get_mut(&uid) {
                e.urgent |= e.evidence.neighbours_said(node, killed, Some(said));
            }
        }
    }
}
