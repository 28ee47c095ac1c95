//! Checks a second and core of a replay: 10/1/3 on a quiet trace, and every policy on a loaded one, beside a plain loop.
#![expect(clippy::unwrap_used, reason = "a bench")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use probe_tuner::probe::{Answer, Settings};
use probe_tuner::record::{Columns, Load, Row, Trace, read};
use probe_tuner::replay::{Options, Play, Policy, replay};
use probe_tuner::units::Span;
use std::hint::black_box;

/// Twelve minutes at ten checks a second, each answered within 20 ms.
fn quiet() -> Trace {
    let row = |i: i64| Row {
        at: Span::from_millis(i * 100),
        answer: Answer::Healthy(Span::from_nanos(1_000_000 + i * 7_919 % 19_000_000)),
        load: Load::default(),
    };
    Trace::new((0..=7200).map(row).collect(), Columns::default()).unwrap()
}

/// The same rule without a shortcut: each check finds its row, waits for its answer and its tick.
fn plain(trace: &Trace, numbers: Settings, seconds: i64) -> (u64, u64) {
    let rows = trace.rows();
    let round = trace.seconds() + trace.median_step();
    let (mut checks, mut restarts) = (0, 0);
    for phase in 0..10 {
        let (mut next, mut failures) = (Span::from_nanos(phase * numbers.period_span().nanos() / 10), 0);
        let mut tick = next;
        while next <= Span::from_seconds(seconds) {
            let within = Span::from_nanos(next.nanos() % round.nanos());
            let row = &rows[rows.partition_point(|r| r.at <= within).saturating_sub(1)];
            let (took, outcome) = row.answer.within(numbers.timeout_span());
            checks += 1;
            failures = if outcome == probe_tuner::probe::Outcome::Failure { failures + 1 } else { 0 };
            restarts += u64::from(failures == numbers.threshold());
            let end = next + took;
            while tick <= next {
                tick += numbers.period_span();
            }
            next = tick.max(end);
        }
    }
    (checks, restarts)
}

fn quiet_trace(c: &mut Criterion) {
    let (trace, numbers) = (quiet(), Settings::KUBERNETES_DEFAULT);
    let week = 7 * 86_400;
    let mut group = c.benchmark_group("replay 10/1/3 on a quiet trace");
    for (name, seconds, lasting) in [("once", 720, None), ("for a week", week, Some(Span::from_seconds(week)))] {
        let options = Options { lasting, ..Options::default() };
        group.throughput(Throughput::Elements(plain(&trace, numbers, seconds).0));
        group.bench_function(format!("{name}, with its 20,000 trials"), |b| {
            b.iter(|| replay(black_box(&trace), &[], &[Play::Fixed(numbers)], &options, None));
        });
        group.bench_function(format!("{name}, plain loop without trials"), |b| {
            b.iter(|| plain(black_box(&trace), numbers, seconds));
        });
    }
    group.finish();
}

fn every_policy(c: &mut Criterion) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces/node-eventloop-bursts.csv");
    let bytes = std::fs::read(path).unwrap();
    let trace = read(&bytes).unwrap();
    let plays = Policy::ALL.map(Play::Policy);
    let mut group = c.benchmark_group("trace");
    group.sample_size(10);
    group.bench_function("every policy on 720 s", |b| {
        b.iter(|| replay(black_box(&trace), &[], &plays, &Options::default(), None));
    });
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read", |b| b.iter_batched(|| &bytes, |bytes| read(bytes), BatchSize::SmallInput));
    group.finish();
}

criterion_group!(benches, quiet_trace, every_policy);
criterion_main!(benches);
