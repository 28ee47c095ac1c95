//! A page of `/metrics/probes` as the kubelet writes it, of any number of pods.
#![allow(clippy::unwrap_used, reason = "tests")]

use probe_tuner::units::Uid;
use std::fmt::Write;

const EDGES: [&str; 12] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];

/// Namespace and name of a pod; its uid has its number as bits.
pub fn name(pod: u128) -> (String, String) {
    (format!("team-{}", pod % 7), format!("checkout-{}-fd9b8467d-{:05x}", pod % 23, pod * 7919))
}

/// The page of a node with so many pods, each with a liveness and a readiness probe: durations first, then counters, labels
/// in the order of the alphabet.
pub fn generated(pods: u128) -> String {
    let mut page = String::from(
        "# HELP prober_probe_duration_seconds [ALPHA] Duration in seconds for a probe response.\n# TYPE prober_probe_duration_seconds histogram\n",
    );
    for pod in 0..pods {
        let (namespace, name) = name(pod);
        for kind in ["Liveness", "Readiness"] {
            let labels = format!(r#"container="app",namespace="{namespace}",pod="{name}",probe_type="{kind}""#);
            for (i, edge) in EDGES.iter().enumerate() {
                writeln!(page, "prober_probe_duration_seconds_bucket{{{labels},le=\"{edge}\"}} {}", 40_000 + i * 900)
                    .unwrap();
            }
            writeln!(page, "prober_probe_duration_seconds_sum{{{labels}}} 812.2258613").unwrap();
            writeln!(page, "prober_probe_duration_seconds_count{{{labels}}} 49900").unwrap();
        }
    }
    page += "# HELP prober_probe_total [BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.\n# TYPE prober_probe_total counter\n";
    for pod in 0..pods {
        let (namespace, name) = name(pod);
        let uid = Uid::from_bits(pod);
        for kind in ["Liveness", "Readiness"] {
            for result in ["failed", "successful"] {
                writeln!(page, r#"prober_probe_total{{container="app",namespace="{namespace}",pod="{name}",pod_uid="{uid}",probe_type="{kind}",result="{result}"}} 49900"#).unwrap();
            }
        }
    }
    page
}
