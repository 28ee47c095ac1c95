//! How often forecasts are right: plays every family of the simulator at its own numbers, and counts.
//!
//! `cargo run --release --example forecasts [days] [seeds]`. A miss: foretold and not reached. A surprise: the timeout was
//! reached, for the first time in six hours, and no forecast named that hour.

use probe_tuner::engine::{Engine, Rules};
use probe_tuner::sim::{Family, Fleet, MONDAY, Setup, World};
use probe_tuner::units::Span;

fn main() {
    let mut args = std::env::args().skip(1).map(|n| n.parse::<i64>());
    let mut next = |usual| args.next().and_then(Result::ok).unwrap_or(usual);
    let (days, seeds) = (next(42), next(4));
    println!("{:<13} {:>5} {:>7} {:>10} {:>9}", "family", "hits", "misses", "surprises", "hit rate");
    let mut all = [0; 3];
    for family in Family::all() {
        let mut counts = [0; 3];
        for seed in 1000..1000 + seeds.unsigned_abs() {
            for (sum, n) in counts.iter_mut().zip(play(family, seed, days)) {
                *sum += n;
            }
        }
        all.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        row(family.name(), counts);
    }
    row("all", all);
}

fn row(name: &str, [hits, misses, surprises]: [u32; 3]) {
    let rate = match hits + misses {
        0 => "-".to_owned(),
        judged => format!("{:.2}", f64::from(hits) / f64::from(judged)),
    };
    println!("{name:<13} {hits:>5} {misses:>7} {surprises:>10} {rate:>9}");
}

/// Hits, misses and surprises of one run in which nothing is changed.
fn play(family: Family, seed: u64, days: i64) -> [u32; 3] {
    let mut setup = Setup::new(family, seed, days as f64);
    setup.listen = true;
    let mut fleet = Fleet::new(vec![World::new(setup)]);
    let (mut engine, mut facts) = (Engine::new(Rules::default(), MONDAY), Vec::new());
    for minute in 1..=days * 24 * 60 {
        let now = MONDAY + Span::MINUTE * minute;
        // The user's rollouts carry no numbers of ours.
        while let Some(i) = fleet.advance(now, &mut facts) {
            fleet.world_mut(i).into_iter().for_each(|w| w.ride(&[]));
        }
        facts.drain(..).for_each(|fact| engine.observe(fact));
        if minute % 15 == 0 {
            drop(engine.turn(now));
        }
    }
    let mut counts = [0; 3];
    for forecast in engine.views().flat_map(|v| v.forecasts) {
        let record = forecast.record;
        counts.iter_mut().zip([record.hits, record.misses, record.surprises]).for_each(|(sum, n)| *sum += n);
    }
    counts
}
