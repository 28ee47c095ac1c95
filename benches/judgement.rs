//! Speed of evidence (one probe, one scrape) and of the judgement (one probe: fit and search), beside the least that a
//! scrape could cost: subtracting two sets of counters and adding up what is above each edge.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

#[path = "../tests/support/fixtures.rs"]
mod fixtures;
#[path = "../tests/support/stage.rs"]
mod stage;

// `stage` names its neighbour as it does in the tests.
use criterion::{Criterion, criterion_group, criterion_main};
use fixtures::{liveness, renumbered, workload};
use probe_tuner::decide::{Prices, judge};
use probe_tuner::evidence::Edge;
use probe_tuner::memory::Memory;
use probe_tuner::model::believe;
use probe_tuner::observation::{Counters, Sample};
use probe_tuner::units::Span;
use stage::{Answer, Stage, well};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn quiet() -> Stage {
    let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
    s.play(Span::DAY * 3, well);
    s.rollout();
    s.play(Span::DAY * 3, well);
    s
}

/// Slow checks of every length, refusals and restarts: full tables.
fn noisy() -> Stage {
    let mut s = quiet();
    s.play(Span::DAY * 2, |i, t| match (t / 10 * 7919 + i as i64 * 104_729) % 997 {
        0..=9 => Answer::After(1.5),
        10..=15 => Answer::After(4.0),
        16..=19 => Answer::After(7.0),
        20..=21 => Answer::After(11.0),
        22 => Answer::After(40.0),
        23 => Answer::Refused,
        _ => well(i, t),
    });
    s
}

fn plain(new: &Counters, old: &Counters, sums: &mut [u64; 5]) {
    sums[0] += new.successful - old.successful + (new.failed - old.failed);
    for (i, sum) in sums[1..].iter_mut().enumerate() {
        *sum += (new.count - old.count) - (new.buckets[7 + i] - old.buckets[7 + i]);
    }
}

fn update(c: &mut Criterion) {
    let mut group = c.benchmark_group("a scrape of one probe");
    let step = |counters: &mut Counters, slow: bool| {
        counters.successful += 1;
        counters.count += 1;
        counters.buckets.iter_mut().take(if slow { 0 } else { 11 }).for_each(|b| *b += 1);
    };
    for (name, every) in [("quiet", u64::MAX), ("every 50th slow", 50)] {
        let mut s = quiet();
        let mut sample = Sample { pod: s.replicas[0].uid, probe: liveness(), counters: s.replicas[0].counters };
        let mut n = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                n += 1;
                s.now = s.now + Span::SECOND * 15;
                step(&mut sample.counters, n % every == 0);
                s.evidence.sample(s.now, black_box(&sample));
            });
        });
    }
    let (mut old, mut new, mut sums) = (Counters::default(), Counters::default(), [0; 5]);
    group.bench_function("plain difference and sum", |b| {
        b.iter(|| {
            step(&mut new, false);
            plain(black_box(&new), black_box(&old), black_box(&mut sums));
            old = new;
        });
    });
    group.finish();
}

/// Median and 99th percentile of 20,000 runs, each timed by itself: criterion tells means only.
#[expect(clippy::disallowed_methods, reason = "a benchmark")]
fn one_by_one<T>(work: impl Fn() -> T) -> [Duration; 2] {
    let mut times: Vec<Duration> = (0..20_000)
        .map(|_| {
            let begun = Instant::now();
            black_box(work());
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    [times[9_999], times[19_799]]
}

fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("a judgement of one probe");
    for (name, s) in [("quiet", quiet()), ("full tables", noisy())] {
        let seen = s.evidence.seen(&liveness()).unwrap();
        let intervals: usize = Edge::ALL.iter().map(|e| seen.this().table(*e).extents().len()).sum();
        println!(
            "{name}: {intervals} intervals, {} restarts, {} bytes held, {} bytes written",
            s.evidence.restarts().len(),
            s.evidence.size(),
            s.evidence.encode().len()
        );
        let each = || judge(black_box(&s.evidence), &s.workload, &Memory::default(), &Prices::default(), s.now);
        let [median, p99] = one_by_one(each);
        println!("{name}: each of 20,000 timed by itself: median {median:?}, 99th percentile {p99:?}");
        group.bench_function(format!("{name}: fit"), |b| b.iter(|| believe(&s.evidence, black_box(seen), s.now)));
        group.bench_function(format!("{name}: judge"), |b| {
            b.iter(|| judge(black_box(&s.evidence), &s.workload, &Memory::default(), &Prices::default(), s.now));
        });
    }
    group.finish();
}

criterion_group!(benches, update, decision);
criterion_main!(benches);
