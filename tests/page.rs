//! The parser of the kubelet's probe metrics, on a page recorded from kubelet v1.36.3.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::observation::Counters;
use probe_tuner::observe::page;
use probe_tuner::probe::ProbeKind;
use probe_tuner::units::Uid;

const PAGE: &[u8] = include_bytes!("data/metrics-probes.txt");
const FAST: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";
const SLOW: &str = "1b16a0bd-d8de-4202-8b64-759b66335ba3";

fn pods(namespace: &str, pod: &str) -> Option<Uid> {
    match (namespace, pod) {
        ("default", "fast1b-fd9b8467d-hdpmr") => Uid::parse(FAST),
        ("default", "slow10b-5745df6564-rpvzc") => Uid::parse(SLOW),
        _ => None,
    }
}

#[test]
fn the_recorded_page_is_read_as_it_was_written() {
    let page = page::read(PAGE, pods).unwrap();
    let seen: Vec<_> = page.samples.iter().map(|s| (s.pod.to_string(), s.probe.to_string(), s.counters)).collect();
    let fast = Counters { successful: 20, failed: 15, buckets: [0, 0, 20, 20, 20, 20, 20, 20, 20, 20, 20], count: 20 };
    let live = Counters { successful: 7, failed: 3, buckets: [0, 4, 7, 7, 7, 7, 7, 7, 7, 7, 7], count: 7 };
    let ready = Counters { successful: 8, failed: 5, buckets: [0, 5, 8, 8, 8, 8, 8, 8, 8, 8, 8], count: 8 };
    let wanted = vec![
        (FAST.to_owned(), "app/liveness".to_owned(), fast),
        (SLOW.to_owned(), "app/liveness".to_owned(), live),
        (SLOW.to_owned(), "app/readiness".to_owned(), ready),
    ];
    assert_eq!(seen, wanted);
    assert_eq!(page.skipped, page::Skipped::default());
}

#[test]
fn pods_that_are_not_ours_leave_no_trace() {
    let page = page::read(PAGE, |namespace, pod| pods(namespace, pod).filter(|_| pod.starts_with("fast"))).unwrap();
    assert_eq!(page.samples.len(), 1);
    assert_eq!(page.samples[0].probe.kind, ProbeKind::Liveness);
}

#[test]
fn wherever_the_recorded_page_is_cut_no_counter_seems_to_go_back() {
    let whole = page::read(PAGE, pods).unwrap();
    for at in 0..PAGE.len() {
        if let Ok(cut) = page::read(&PAGE[..at], pods) {
            for sample in &cut.samples {
                assert!(whole.samples.contains(sample), "cut at byte {at}: {sample:?}");
            }
        }
    }
}
