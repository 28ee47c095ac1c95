//! Evidence outlives the daemon: what an earlier release wrote down is still read, and what this one writes comes back.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::evidence::{Basis, Edge, Evidence, Foretold, Record};
use probe_tuner::observation::{Throttling, Usage};
use probe_tuner::units::Span;
use support::fixtures::{liveness, renumbered, workload};
use support::stage::{Answer, Stage, node, well};

/// Five days of five pods on busy nodes: a stall a night, one of which is foretold, a release, and two restarts.
fn lived() -> Stage {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/1/3"));
    s.starts = 20;
    for hour in 0..5 * 24 {
        for minute in 0..60 {
            let night = hour % 24 == 3;
            let stalled = hour == 50 && minute == 20;
            s.play(Span::MINUTE, |i, t| match (night, stalled) {
                (_, true) if i < 2 => Answer::After(9.0),
                (true, _) if t < 20 => Answer::After(1.5),
                _ => well(i, t),
            });
            let cores = if night { 3.4 } else { 1.0 };
            s.evidence.node_usage(s.now, &node(0), &Usage { until: s.now, cores, working_set: 1 }, Some(4.0));
            let usage = Usage { until: s.now, cores: 0.25, working_set: 1 };
            s.evidence.pod_usage(s.now, s.replicas[0].uid, &usage);
        }
        if hour == 76 {
            s.rollout();
        }
        if hour == 90 {
            let (made, at) = (s.now, s.now + Span::HOUR * 8);
            let foretold =
                Foretold { made, at, within: Span::HOUR, timeout: 1, probability: 0.9, basis: Basis::Season };
            s.evidence.foretell(&liveness(), foretold);
        }
    }
    s
}

/// The same, with what format 4 holds beside it.
fn lived_on() -> Stage {
    let mut s = lived();
    for minute in 0..200 {
        s.play(Span::MINUTE, well);
        for i in 0..s.replicas.len() {
            let (pod, container) = (s.replicas[i].uid, "app".into());
            let told = Throttling { pod, container, periods: 600 * minute, throttled: 240 * minute };
            s.evidence.throttling(s.now, &told);
            let latency = Some(Span::from_millis(if (minute, i) == (30, 0) { 2_500 } else { 4 }));
            s.evidence.shadow_check(s.now, pod, &liveness(), latency, true);
        }
    }
    s
}

#[test]
fn evidence_of_format_3_is_still_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/evidence/format-3.bin");
    let old = Evidence::decode(&std::fs::read(path).unwrap()).unwrap();
    let seen = old.seen(&liveness()).unwrap();
    assert_eq!(seen.season().record(), Record { hits: 1, misses: 0, surprises: 1 });
    assert_eq!((old.rollouts().0, seen.watched()), (1, Span::from_millis(431_986_000)));
    assert_eq!(old.restarts().len(), 2);
    assert!((old.load().nodes().highest().unwrap().0 - 0.85).abs() < 1e-6);
    // What it did not know yet is unknown, and written anew it is of this format.
    assert_eq!((old.load().throttled().len(), seen.shadow()), (0, None));
    let new = Evidence::decode(&old.encode()).unwrap();
    assert_eq!((new.encode(), new.load()), (old.encode(), old.load()));
    assert_eq!(old.encode()[3], 6);
}

#[test]
fn evidence_of_format_4_is_still_read() {
    let old = Evidence::decode(include_bytes!("data/evidence/format-4.bin")).unwrap();
    let seen = old.seen(&liveness()).unwrap();
    // How many half-hours a day had nobody had counted: each is taken for one that comes for itself.
    for epoch in [seen.this(), seen.past()] {
        assert!((epoch.table(Edge::One).bout(2.0) - 1.0).abs() < 1e-6);
    }
    assert!(seen.past().table(Edge::One).clusters_from(0.0) > 3.0);
    assert!(seen.shadow().is_some() && old.load().throttled().len() == 1);
    let new = Evidence::decode(&old.encode()).unwrap();
    assert_eq!((new.encode(), new.probes()), (old.encode(), old.probes()));
}

#[test]
fn evidence_of_format_5_is_still_read() {
    let old = Evidence::decode(include_bytes!("data/evidence/format-5.bin")).unwrap();
    // What rollouts left of its restarts it did not know: they count in full.
    assert_eq!(old.restarts().len(), 2);
    assert!(old.restarts().iter().all(|r| r.kept == 1.0));
    let new = Evidence::decode(&old.encode()).unwrap();
    assert_eq!((new.encode(), new.probes(), new.restarts()), (old.encode(), old.probes(), old.restarts()));
}

#[test]
fn evidence_of_this_format_is_read_as_it_was_written() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/evidence/format-6.bin");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, lived_on().evidence.encode()).unwrap();
    }
    let bytes = std::fs::read(path).unwrap();
    let e = Evidence::decode(&bytes).unwrap();
    assert_eq!(e.encode(), bytes);
    let past = e.seen(&liveness()).unwrap().past().table(Edge::One);
    assert!(past.bout(300.0) > 1.5, "some half-hours of each of three nights, {}", past.bout(300.0));
    let shadow = e.seen(&liveness()).unwrap().shadow().unwrap();
    assert!(shadow.checks() > 900.0 && shadow.longest()[0].latency == Some(Span::from_millis(2_500)), "{shadow:?}");
    let throttled = &e.load().throttled()[0];
    let day = throttled.day(e.seen(&liveness()).unwrap().last_heard().unwrap()).unwrap();
    assert_eq!((&**throttled.container(), (day.share() * 100.0).round() as u32), ("app", 40));
    assert!(day.seen > 5 * 190 * 60 && day.throttled == day.seen, "{day:?}");
}

#[test]
fn everything_that_is_kept_comes_back() {
    let e = lived_on().evidence;
    let back = Evidence::decode(&e.encode()).unwrap();
    assert_eq!((back.probes(), back.restarts(), back.load()), (e.probes(), e.restarts(), e.load()));
}

#[test]
fn wherever_it_is_cut_or_changed_it_is_an_error_or_evidence() {
    let all: [&[u8]; 2] = [include_bytes!("data/evidence/format-5.bin"), include_bytes!("data/evidence/format-6.bin")];
    for (bytes, at) in all.into_iter().flat_map(|bytes| (0..bytes.len()).map(move |at| (bytes, at))) {
        assert!(Evidence::decode(&bytes[..at]).is_err(), "cut at byte {at}");
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x81;
        if let Ok(e) = Evidence::decode(&changed) {
            assert_eq!(Evidence::decode(&e.encode()).unwrap().encode(), e.encode(), "byte {at}");
        }
    }
}
