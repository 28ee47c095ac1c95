//! Evidence as it is kept in the cluster, where anybody who may write ConfigMaps may edit it.

use probe_tuner::decide::{Prices, judge};
use probe_tuner::evidence::{Edge, Evidence};
use probe_tuner::memory::Memory;
use probe_tuner::model::believe;
use probe_tuner::policy::{Bounds, Mode, Permission};
use probe_tuner::probe::{Handler, ProbeKind, Settings};
use probe_tuner::units::{PerPodYear, Span, Timestamp, Uid};
use probe_tuner::workload::{Address, Probe, ProbeId, Workload, WorkloadKind};

/// What decodes encodes to what decodes as the same, and whatever it says is judged within the owner's bounds.
pub fn evidence(bytes: &[u8]) {
    let Ok(read) = Evidence::decode(bytes) else { return };
    let written = read.encode();
    assert_eq!(Evidence::decode(&written).map(|e| e.encode()).as_ref(), Ok(&written));
    // A little after the seeds were written.
    let now = Timestamp::from_seconds(6 * 86_400);
    let _ = (read.tally(now - Span::DAY, now), read.size(), read.dropped(), read.starved_since(now));
    let _ = read.throttled_since(&"app".into(), now);
    let workload = workload();
    for probe in &workload.probes {
        let Some(seen) = read.seen(&probe.id) else { continue };
        let belief = believe(&read, seen, now);
        for edge in Edge::ALL {
            let tail = belief.tail(edge);
            let (near, far) = (tail.survival(tail.start()), tail.survival(1e4));
            assert!((0.0..=1.0 + 1e-9).contains(&near) && (0.0..=near + 1e-9).contains(&far), "{edge:?} {near} {far}");
        }
        for settings in ["10/1/3", "10/10/2", "5/5/2"].map(|s| s.parse::<Settings>().unwrap()) {
            let rate = belief.rate(settings);
            assert!(rate.mean.is_finite() && rate.mean >= 0.0 && rate.upper() >= 0.0, "{settings}: {rate:?}");
        }
    }
    for j in judge(&read, &workload, &Memory::default(), &Prices::default(), now) {
        assert!(j.wanted == j.current || Bounds::FENCE.contain(j.wanted), "{j:?}");
        assert!((0.0..=1.0).contains(&j.confidence), "{j:?}");
    }
    let mut resumed = Evidence::new();
    resumed.resume(now, read, &workload);
    assert!(Evidence::decode(&resumed.encode()).is_ok());
}

/// The workload of the seeds, with all three probes.
fn workload() -> Workload {
    let permission = Permission {
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
    };
    let probe = |kind| Probe {
        id: ProbeId { container: "app".into(), kind },
        handler: Handler::Http,
        settings: "10/1/3".parse().unwrap(),
        initial_delay: Span::ZERO,
    };
    Workload {
        uid: Uid::from_bits(1),
        address: Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() },
        generation: 1,
        replicas: 5,
        version: 1,
        probes: ProbeKind::ALL.map(probe).to_vec(),
        permission,
        sidecars: Vec::new(),
        unpatchable: Vec::new(),
    }
}
