//! The numbers of all probes of one pod.

use crate::probe::{ProbeKind, Settings};

/// The numbers of a pod's probes. It always has a liveness probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Of its liveness probe.
    pub liveness: Settings,
    /// Of its readiness probe, if it has one.
    pub readiness: Option<Settings>,
    /// Of its startup probe, if it has one.
    pub startup: Option<Settings>,
}

impl Numbers {
    /// Those of one probe.
    pub fn of(self, kind: ProbeKind) -> Option<Settings> {
        match kind {
            ProbeKind::Liveness => Some(self.liveness),
            ProbeKind::Readiness => self.readiness,
            ProbeKind::Startup => self.startup,
        }
    }

    /// The same with other numbers for one probe; for one that is not declared nothing changes.
    #[must_use]
    pub fn with(mut self, kind: ProbeKind, to: Settings) -> Numbers {
        match kind {
            ProbeKind::Liveness => self.liveness = to,
            ProbeKind::Readiness => self.readiness = self.readiness.map(|_| to),
            ProbeKind::Startup => self.startup = self.startup.map(|_| to),
        }
        self
    }

    /// The probes that are declared, in the order of their kinds.
    pub fn declared(self) -> impl Iterator<Item = (ProbeKind, Settings)> {
        ProbeKind::ALL.into_iter().filter_map(move |kind| Some((kind, self.of(kind)?)))
    }

    /// Whether liveness is the only probe.
    pub(super) fn liveness_only(self) -> bool {
        self.readiness.is_none() && self.startup.is_none()
    }
}
