//! Who is watched: workloads, their containers' probes, and their pods.
//!
//! These records keep only what some later room uses; a pod is a few hundred bytes, not the kilobytes of its object.

use crate::policy::Permission;
use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{Name, Span, Timestamp, Uid};
use std::fmt;

/// The kinds of workload whose templates carry probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1` Deployment, the one kind that is patched.
    Deployment,
    /// `apps/v1` StatefulSet.
    StatefulSet,
    /// `apps/v1` DaemonSet.
    DaemonSet,
}

impl WorkloadKind {
    /// As Kubernetes writes it: `Deployment`.
    pub const fn name(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "Deployment",
            WorkloadKind::StatefulSet => "StatefulSet",
            WorkloadKind::DaemonSet => "DaemonSet",
        }
    }

    /// In lower case, as it begins the name of a `ProbeTuning`: `deployment`.
    pub const fn word(self) -> &'static str {
        match self {
            WorkloadKind::Deployment => "deployment",
            WorkloadKind::StatefulSet => "statefulset",
            WorkloadKind::DaemonSet => "daemonset",
        }
    }
}

/// Where a workload is found: `shop/Deployment/web`. Another workload may later have the same address; its [`Uid`]
/// tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Namespace.
    pub namespace: Name,
    /// Kind.
    pub kind: WorkloadKind,
    /// `metadata.name`.
    pub name: Name,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.name(), self.name)
    }
}

/// Which probe of a pod: of which container (or restartable init container), of which kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    /// The container's name, unique in its pod.
    pub container: Name,
    /// Which of its three probes.
    pub kind: ProbeKind,
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.container, self.kind.word())
    }
}

/// One probe as a template declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Whose.
    pub id: ProbeId,
    /// How it asks.
    pub handler: Handler,
    /// Its three numbers, defaults filled in.
    pub settings: Settings,
    /// `initialDelaySeconds`.
    pub initial_delay: Span,
}

/// Why a workload must not be patched as it stands, whatever its numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unpatchable {
    /// Not a Deployment: its numbers are recommended only.
    Kind(WorkloadKind),
    /// `spec.paused`.
    Paused,
    /// A rollout is under way (status not at the last generation, or replicas not all updated and available).
    Progressing,
    /// `strategy.type: Recreate`: every patch is a full outage.
    Recreate,
    /// No replicas, so nothing could be verified.
    ScaledToZero,
    /// `metadata.ownerReferences` names a controller (`Kind/name`), which would write its own numbers again.
    OwnedBy(Name),
    /// Written by a deployment pipeline that reverts what it did not write (`argocd`, `flux`).
    Pipeline(Name),
}

/// A workload as it is declared now.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Identity.
    pub uid: Uid,
    /// Where it is found.
    pub address: Address,
    /// `metadata.generation`: moves with each change of the spec.
    pub generation: i64,
    /// `spec.replicas`, for a DaemonSet the number of nodes that should run it.
    pub replicas: u32,
    /// Hash of the pod template without the three numbers of its probes: another value is another version of the
    /// program, the same value with other numbers is not.
    pub version: u64,
    /// Its probes, ordered by container and kind.
    pub probes: Vec<Probe>,
    /// Which of its containers are sidecars: init containers that restart. A template lists them in another place.
    pub sidecars: Vec<Name>,
    /// What its owners allow: Namespace, annotations and configuration together.
    pub permission: Permission,
    /// What forbids a patch just now; empty when it could be patched.
    pub unpatchable: Vec<Unpatchable>,
}

impl Workload {
    /// The probe with this id.
    pub fn probe(&self, id: &ProbeId) -> Option<&Probe> {
        self.probes.iter().find(|p| p.id == *id)
    }

    /// The numbers of each probe, in the order of [`Workload::probes`].
    pub fn settings(&self) -> Vec<(ProbeId, Settings)> {
        self.probes.iter().map(|p| (p.id.clone(), p.settings)).collect()
    }

    /// Whether all that it runs is of its last generation.
    pub fn at_rest(&self) -> bool {
        !self.unpatchable.contains(&Unpatchable::Progressing)
    }
}

/// How a container's last life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `exitCode`.
    pub code: i32,
    /// `reason`: `OOMKilled`, `Error`, `Completed`, …
    pub reason: Name,
    /// `startedAt` of the life that ended, to the second.
    pub started: Option<Timestamp>,
    /// `finishedAt`, to the second.
    pub finished: Option<Timestamp>,
}

/// One container of a pod, as its status has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Name.
    pub name: Name,
    /// `state.running.startedAt`, to the second; `None` while it does not run.
    pub running_since: Option<Timestamp>,
    /// `ready`.
    pub ready: bool,
    /// `started`: its startup probe has succeeded, or it has none.
    pub started: bool,
    /// `restartCount`.
    pub restarts: u32,
    /// `lastState.terminated`: only the previous life.
    pub last_end: Option<Ended>,
}

/// A pod of a watched workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Identity.
    pub uid: Uid,
    /// Name; its namespace is the workload's.
    pub name: Name,
    /// The workload at the end of its owner references.
    pub workload: Uid,
    /// `spec.nodeName`; `None` until scheduled.
    pub node: Option<Name>,
    /// The probes that this very pod runs: during a rollout not all pods run the same.
    pub probes: Vec<Probe>,
    /// Its containers, restartable init containers among them, ordered by name.
    pub containers: Vec<Container>,
    /// `metadata.deletionTimestamp` is set: whatever its probes say from now on is shutdown, not evidence.
    pub terminating: bool,
    /// `metadata.creationTimestamp`.
    pub created: Timestamp,
    /// Condition Ready.
    pub ready: bool,
}
