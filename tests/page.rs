//! The parsers of the kubelet's pages, on pages recorded from kubelet v1.36.3.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::observation::Counters;
use probe_tuner::observe::{cadvisor, page};
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

/// As its handler of /metrics/cadvisor writes it, with the pods of a cluster for tests: the paths of their cgroups are
/// those of the cgroupfs driver, and disks and networks are left out.
const CADVISOR: &[u8] = include_bytes!("data/metrics-cadvisor.txt");
const LIMITED: [&str; 2] = ["291d840a-3acb-455b-9c0b-c41a71123772", "d8459fc0-9c6b-486c-94bd-0772271cfe6c"];

fn limited(namespace: &str, pod: &str) -> Option<Uid> {
    match (namespace, pod) {
        ("default", "web-58d7c7bd4c-7snjh") => Uid::parse(LIMITED[0]),
        ("default", "web-58d7c7bd4c-ftt6w") => Uid::parse(LIMITED[1]),
        _ => None,
    }
}

#[test]
fn how_often_containers_were_throttled_is_read_of_those_with_a_limit() {
    let page = cadvisor::read(CADVISOR, limited).unwrap();
    let told: Vec<_> =
        page.throttling.iter().map(|t| (t.pod.to_string(), &*t.container, t.periods, t.throttled)).collect();
    let of = |i: usize, periods, throttled| (LIMITED[i].to_owned(), "app", periods, throttled);
    assert_eq!(told, [of(0, 119, 71), of(1, 120, 72)], "the container `free` has no limit");
    assert_eq!(page.skipped, cadvisor::Skipped::default());
    for size in [1, 7, 1000, 4096] {
        let mut parser = cadvisor::Parser::new(limited, cadvisor::PAGE_LIMIT);
        CADVISOR.chunks(size).for_each(|piece| parser.feed(piece).unwrap());
        assert_eq!(parser.finish().unwrap(), page, "pieces of {size}");
    }
    assert_eq!(cadvisor::read(CADVISOR, |_, _| None).unwrap(), cadvisor::Page::default());
}
