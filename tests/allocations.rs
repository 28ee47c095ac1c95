//! In steady state nothing is allocated for what is known already: scrapes, evidence, turns. The counting allocator is a
//! crate of its own, since the program may hold no unsafe code.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use allocation_counter::measure;
use probe_tuner::decide::{Prices, judge};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::memory::Memory;
use probe_tuner::observation::{Counters, Fact, Observation, Sample};
use probe_tuner::observe::{cadvisor, page};
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Pod, Workload};
use support::fixtures::{liveness, renumbered, workload};
use support::page::{generated, name};
use support::stage::{Answer, Stage, well};

/// How often the allocator is asked, for new memory or for more.
fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

/// The allocations of reading a page of which so many pods are ours.
fn read(pods: u128, ours: u128) -> u64 {
    let text = generated(pods);
    let names: Vec<(String, String)> = (0..ours).map(name).collect();
    let lookup = |namespace: &str, pod: &str| {
        let place = names.iter().position(|(n, p)| n == namespace && p == pod);
        place.map(|i| Uid::from_bits(i as u128))
    };
    allocations(|| {
        let page = page::read(text.as_bytes(), lookup).unwrap();
        assert_eq!(page.samples.len() as u128, 2 * ours);
    })
}

#[test]
fn a_page_of_usage_costs_nothing_for_what_is_not_ours() {
    let lines: String = (0..5_000)
        .map(|i| {
            let labels = format!("container=\"app\",id=\"/kubepods/pod{i}/8f3\",image=\"a\",name=\"b\",namespace=\"other\",pod=\"web-{i}\"");
            format!("container_cpu_cfs_periods_total{{{labels}}} 1 1\ncontainer_memory_rss{{{labels}}} 1 1\n")
        })
        .collect();
    assert_eq!(
        allocations(|| assert_eq!(cadvisor::read(lines.as_bytes(), |_, _| None).unwrap(), Default::default())),
        0
    );
}

#[test]
fn a_page_costs_a_few_tables_and_nothing_for_each_probe() {
    let (none, one, hundred) = (read(110, 0), read(110, 1), read(110, 110));
    println!("a page of 110 pods: none of ours {none}, one {one}, all {hundred} allocations");
    // Whoever they are of, lines of others leave nothing behind.
    assert_eq!((none, one), (read(1, 0), read(1, 1)));
    // Tables that double: twice the probes are at most one more of each.
    assert!(hundred <= one + 3 * 7, "{hundred}");
    assert!(read(220, 220) <= hundred + 3, "{}", read(220, 220));
}

/// The allocations of so many scrapes of a probe that was watched for days, one check in `every` slow.
fn scrapes(s: &mut Stage, scrapes: u64, every: u64) -> u64 {
    let mut sample = Sample { pod: s.replicas[0].uid, probe: liveness(), counters: s.replicas[0].counters };
    allocations(|| {
        for n in 1..=scrapes {
            s.now = s.now + Span::SECOND * 15;
            let c = &mut sample.counters;
            (c.successful, c.count) = (c.successful + 1, c.count + 1);
            c.buckets.iter_mut().take(if n % every == 0 { 0 } else { 11 }).for_each(|b| *b += 1);
            s.evidence.sample(s.now, &sample);
        }
    })
}

/// Six days, in the last two of which there was every kind of slowness.
fn watched() -> Stage {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
    s.play(Span::DAY * 4, well);
    s.play(Span::DAY * 2, |i, t| match (t / 10 * 7919 + i as i64 * 104_729) % 997 {
        0..=9 => Answer::After(1.5),
        10..=15 => Answer::After(4.0),
        16..=19 => Answer::After(7.0),
        20..=21 => Answer::After(11.0),
        22 => Answer::Refused,
        _ => well(i, t),
    });
    s
}

#[test]
fn a_scrape_of_a_probe_that_is_known_allocates_nothing() {
    let mut s = watched();
    assert_eq!(scrapes(&mut s, 5_760, u64::MAX), 0, "a quiet day");
    assert_eq!(scrapes(&mut s, 5_760, 50), 0, "a day with slow checks");
}

#[test]
fn a_judgement_allocates_for_its_words_and_its_fit_only() {
    let s = watched();
    let count = allocations(|| {
        judge(&s.evidence, &s.workload, &Memory::default(), &Prices::default(), s.now);
    });
    println!("a judgement of one probe: {count} allocations");
    assert!((1..=20).contains(&count), "{count}");
}

/// An engine that has watched a workload's pods for an hour.
fn engine(w: &Workload) -> (Engine, Timestamp) {
    let start = Timestamp::from_seconds(86_400);
    let mut engine = Engine::new(Rules::default(), start);
    let mut tell = |at, fact| engine.observe(Observation { at, fact });
    tell(start, Fact::Workload(Box::new(w.clone())));
    for n in 0..5 {
        tell(
            start,
            Fact::Pod(Box::new(Pod {
                uid: Uid::from_bits(n),
                name: format!("web-{n}").into(),
                workload: w.uid,
                node: Some("node".into()),
                probes: w.probes.clone(),
                containers: vec![Container {
                    name: "app".into(),
                    running_since: Some(start),
                    ready: true,
                    started: true,
                    restarts: 0,
                    last_end: None,
                }],
                terminating: false,
                created: start,
                ready: true,
            })),
        );
    }
    (engine, start)
}

#[test]
fn scrapes_and_turns_in_which_nothing_is_due_allocate_nothing() {
    let w = workload("shop", "web");
    let (mut engine, mut now) = engine(&w);
    let (mut checks, id) = (0, liveness());
    let mut scrape = |engine: &mut Engine, now| {
        checks += 1;
        let counters = Counters { successful: checks, failed: 0, buckets: [checks; 11], count: checks };
        for n in 0..5 {
            let sample = Sample { pod: Uid::from_bits(n), probe: id.clone(), counters };
            engine.observe(Observation { at: now, fact: Fact::Sample(sample) });
        }
    };
    for _ in 0..240 {
        now = now + Span::SECOND * 15;
        scrape(&mut engine, now);
    }
    assert!(engine.turn(now).changes.is_empty());
    now = now + Span::SECOND * 15;
    assert_eq!(allocations(|| scrape(&mut engine, now)), 0);
    assert!(engine.turn(now).changes.is_empty());
    assert_eq!(allocations(|| assert!(engine.turn(now).news.is_empty())), 0);
}
