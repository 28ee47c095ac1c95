//! What it is worth that the workloads of a node are watched together: five with loud neighbours on the same six nodes,
//! once by one engine, once by an engine each that sees nothing else.
//!
//! ```sh
//! cargo run --release --example neighbours            # half a year, seeds 5000-5003
//! cargo run --release --example neighbours 28 20      # 28 days, twenty seeds
//! ```

use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::sim::{Family, Fleet, MONDAY, Node, Setup, World};
use probe_tuner::units::{Span, Uid};

const WORKLOADS: u64 = 5;

fn setup(seed: u64, number: u64, days: u32) -> Setup {
    let mut setup = Setup::new(Family::Noisy, seed * WORKLOADS + number, f64::from(days));
    setup.uid = Uid::from_bits(u128::from(number + 1) << 64);
    setup.nodes = Node::several(seed, 6);
    setup.settings = "10/12/2".parse().expect("these are numbers of a probe");
    setup.listen = true;
    setup
}

/// Lets one engine play for all of these workloads; gives what came of each: L, false restarts, own rollouts.
fn play(setups: Vec<Setup>, days: u32) -> Vec<[f64; 3]> {
    let mut fleet = Fleet::new(setups.into_iter().map(World::new).collect());
    let mut engine = Engine::new(Rules::default(), MONDAY);
    engine.observe(Observation { at: MONDAY, fact: Fact::Fence { holds: true } });
    let (mut now, mut facts) = (MONDAY, Vec::new());
    while now < MONDAY + Span::DAY * i64::from(days) {
        now = now + Span::SECOND * 15;
        while let Some(i) = fleet.advance(now, &mut facts) {
            let (uid, at) = (fleet.worlds()[i].setup().uid, fleet.worlds()[i].now());
            let numbers = engine.riding(uid, at);
            if let Some(world) = fleet.world_mut(i) {
                world.ride(&numbers);
            }
        }
        facts.drain(..).for_each(|fact| engine.observe(fact));
        for change in engine.turn(now).changes {
            let outcome = fleet.obey(&change);
            let fact = Fact::Outcome { workload: change.workload, change: change.id, outcome };
            engine.observe(Observation { at: now, fact });
        }
    }
    let truths = fleet.worlds().iter().map(World::truth);
    truths.map(|t| [t.loss(0, days as usize, 5), t.false_restarts.len() as f64, t.own_rollouts.len() as f64]).collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u32>().expect("days and seeds are whole numbers"));
    let (days, seeds) = (arguments.next().unwrap_or(182), arguments.next().unwrap_or(4));
    let mut sums = [[0.0; 3]; 2];
    for seed in (5_000..).take(seeds as usize) {
        let all = |days| (0..WORKLOADS).map(move |n| setup(seed, n, days));
        let together = play(all(days).collect(), days);
        let apart = all(days).flat_map(|one| play(vec![one], days)).collect();
        for (sum, scores) in sums.iter_mut().zip([together, apart]) {
            scores.iter().flatten().enumerate().for_each(|(i, x)| sum[i % 3] += x);
        }
    }
    let runs = f64::from(seeds) * WORKLOADS as f64;
    println!("{days} days, {WORKLOADS} workloads of five pods on the same six nodes, seeds 5000-{}", 4_999 + seeds);
    println!("{:<22} {:>7} {:>15} {:>13}", "watched", "L", "false/pod-year", "own rollouts");
    for (name, [loss, killed, own]) in ["by one engine", "each by its own"].iter().zip(sums) {
        let years = runs * 5.0 * f64::from(days) / 365.0;
        println!("{name:<22} {:>7.1} {:>15.2} {own:>13}", loss / runs, killed / years);
    }
}
