//! Workloads and judgements for tests, by builders: `workload("shop", "web").liveness("10/1/3")`.
#![allow(dead_code, reason = "each test binary uses some of them")]
#![allow(clippy::unwrap_used, reason = "tests")]

use probe_tuner::change::{Change, Intent, Step};
use probe_tuner::decide::{Expectation, Judgement, Urgency};
use probe_tuner::policy::{Bounds, Mode, Permission};
use probe_tuner::probe::{Handler, ProbeKind, Settings};
use probe_tuner::reason::Reason;
use probe_tuner::units::{PerPodYear, Span, Timestamp, Uid};
use probe_tuner::workload::{Address, Probe, ProbeId, Workload, WorkloadKind};

/// `10/1/3` as settings.
pub fn settings(text: &str) -> Settings {
    text.parse().unwrap()
}

/// So many minutes after the epoch.
pub fn minute(n: i64) -> Timestamp {
    Timestamp::from_seconds(n * 60)
}

/// The liveness probe of the container `app`.
pub fn liveness() -> ProbeId {
    ProbeId { container: "app".into(), kind: ProbeKind::Liveness }
}

/// All that an owner can allow.
pub fn allowed() -> Permission {
    Permission {
        mode: Mode::Auto,
        skip: None,
        freeze_until: None,
        containers: None,
        probes: ProbeKind::ALL.to_vec(),
        false_restart_budget: PerPodYear::new(1.0).unwrap(),
        detect_within: None,
        bounds: Bounds::FENCE,
        window: None,
        rollout_price: 30.0,
        approvals: false,
        protected: false,
        paused: false,
        unreadable: Vec::new(),
    }
}

/// A Deployment of five replicas with a liveness probe at 10/1/3, at rest, its owner allowing everything. The uid is
/// made of its address, so equal addresses are the same workload.
pub fn workload(namespace: &str, name: &str) -> Workload {
    let bits =
        format!("{namespace}/{name}").bytes().fold(7u128, |h, b| h.wrapping_mul(1_000_003).wrapping_add(u128::from(b)));
    Workload {
        uid: Uid::from_bits(bits),
        address: Address { namespace: namespace.into(), kind: WorkloadKind::Deployment, name: name.into() },
        generation: 1,
        replicas: 5,
        version: 1,
        probes: vec![Probe {
            id: liveness(),
            handler: Handler::Http,
            settings: settings("10/1/3"),
            initial_delay: Span::ZERO,
        }],
        permission: allowed(),
        sidecars: Vec::new(),
        unpatchable: Vec::new(),
    }
}

/// The same workload with other numbers, a generation later.
pub fn renumbered(mut w: Workload, to: &str) -> Workload {
    w.probes[0].settings = settings(to);
    w.generation += 1;
    w
}

/// A wish of the liveness probe, from its present numbers.
pub fn wish(w: &Workload, to: &str, urgency: Urgency) -> Judgement {
    let expectation = |false_restarts, loss| {
        Some(Expectation { false_restarts, upper: 2.0 * false_restarts, detect_seconds: 31, loss })
    };
    Judgement {
        probe: liveness(),
        current: w.probes[0].settings,
        wanted: settings(to),
        urgency,
        reason: if urgency == Urgency::Storm { Reason::Storm } else { Reason::Loosen },
        message: "timeouts restarted it".into(),
        now: expectation(100.0, 12_338.0),
        then: expectation(1.0, 442.0),
        confidence: 0.9,
        seen: Span::DAY,
        watched: Span::DAY,
    }
}

/// A change of the liveness probe, as the plan would make it.
pub fn change(w: &Workload, to: &str) -> Change {
    Change {
        id: 1,
        workload: w.uid,
        address: w.address.clone(),
        generation: w.generation,
        intent: Intent::Tune,
        steps: vec![Step { probe: liveness(), from: w.probes[0].settings, to: settings(to) }],
        reason: Reason::Storm,
        message: String::new(),
    }
}
