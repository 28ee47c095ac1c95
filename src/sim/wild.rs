//! Wild workloads: each seed another kind, drawn by chance, so that no kind was chosen by anybody.
//!
//! Rates, lengths and latencies are drawn over the whole range that services have, most of them by their logarithm;
//! half of the workloads have one of the twists besides. Left out is only what no numbers can help: stalls as long as
//! any timeout many times a day, and a dependency that fails for all.

use super::chance::{Chance, Length};
use super::family::{Nature, Refusals, Stalls, Twist};
use crate::probe::{Handler, Settings};

/// How load moves the rate of stalls, as a share of the most.
const BY_LOAD: [fn(f64) -> f64; 4] =
    [|_| 1.0, |load| load, |load| load.powi(3), |load| ((load - 0.7) / 0.25).clamp(0.0, 1.0)];

/// Median latencies in seconds at a load: steady, saturating, throttled, and slow throughout.
///
/// The first [`QUICK`] are those of workloads whose twist multiplies them: what answers in half a second and is a hundred
/// times slower every night has no health check.
const MEDIANS: [fn(f64) -> f64; 6] = [
    |_| 0.0015,
    |_| 0.008,
    |load| 0.006 / (1.05 - load),
    |load| 0.010 * (4.0 * ((load - 0.7) / 0.25).clamp(0.0, 1.0)).exp(),
    |load| 0.060 * (1.5 * load).exp(),
    |load| 0.150 * (2.6 * (load - 0.3)).exp(),
];

const QUICK: usize = 3;

/// Days between the releases of its users; most release weekly or every other week.
const RELEASES: [f64; 8] = [1.0, 3.5, 7.0, 7.0, 7.0, 14.0, 14.0, 28.0];

/// What owners write; most leave the numbers that nobody chose.
const OWN: [(u32, u32, u32); 6] = [(10, 1, 3), (10, 1, 3), (10, 1, 3), (10, 5, 3), (30, 10, 5), (5, 5, 3)];

/// Stalls longer than this many seconds come at most [`LONG_A_DAY`] times a replica and day.
const LONG: f64 = 15.0;
const LONG_A_DAY: f64 = 0.5;

/// The workload of this seed.
pub(super) fn nature(seed: u64) -> Nature {
    let chance = &mut Chance::new(seed, "wild", 0);
    let handler = if chance.unit() < 0.2 { Handler::Exec } else { Handler::Http };
    let (least, most) = (between(chance, 0.05, 0.3), between(chance, 0.3, 0.97));
    let sigma = between(chance, 0.3, 0.8);
    let count = (between(chance, 0.0, 2.5).round() as usize).min(2);
    let stalls = (0..count).map(|_| stalls(chance)).collect();
    let refusals = (chance.unit() < 0.2).then(|| Refusals {
        per_day: scaled(chance, 0.1, 5.0),
        length: Length::Gamma { shape: 2.0, scale: between(chance, 0.5, 2.0) },
    });
    let loud = scaled(chance, 0.3, 3.0);
    let twists = [
        Twist::Noisy(loud),
        Twist::ColdStart,
        Twist::Leak,
        Twist::Brownout,
        Twist::Shift,
        Twist::Release,
        Twist::Weekly,
        Twist::Reclaim,
        Twist::NightlyBatch,
        Twist::HotKey,
    ];
    let twist = if chance.unit() < 0.5 { Twist::None } else { of(chance, &twists) };
    let multiplies = matches!(twist, Twist::Noisy(_) | Twist::ColdStart | Twist::NightlyBatch | Twist::HotKey);
    let median = of(chance, if multiplies { &MEDIANS[..QUICK] } else { &MEDIANS });
    let start = Length::Lognormal { median: scaled(chance, 5.0, 60.0), sigma: between(chance, 0.2, 0.5) };
    let every = of(chance, &RELEASES);
    let first = every * chance.unit();
    let rollouts = (0u32..).map(|n| first + every * f64::from(n)).take_while(|day| *day < 28.0).collect();
    let (period, timeout, threshold) = of(chance, &OWN);
    Nature {
        handler,
        load: (least, most),
        median,
        sigma,
        stalls,
        refusals,
        twist,
        start,
        rollouts,
        own: Settings::new(period, timeout, threshold).expect("the numbers written in this file are in range"),
        ..Nature::quiet()
    }
}

/// One kind of stalls: mostly short, seldom as long as a timeout.
fn stalls(chance: &mut Chance) -> Stalls {
    let length = match of(chance, &[0, 0, 1, 2]) {
        0 => Length::Lognormal { median: scaled(chance, 0.3, 6.0), sigma: between(chance, 0.3, 0.9) },
        1 => Length::Gamma { shape: 2.0, scale: between(chance, 0.5, 2.5) },
        _ => {
            let from = scaled(chance, 0.5, 8.0);
            Length::Uniform { from, to: from + between(chance, 1.0, 14.0) }
        }
    };
    let draws = 1000;
    let long = (0..draws).filter(|_| chance.length(&length) > LONG).count();
    let share_long = (long as f64 + 0.5) / f64::from(draws);
    let most = scaled(chance, 0.1, 300.0).min(LONG_A_DAY / share_long);
    Stalls { share: of(chance, &BY_LOAD), most, length }
}

/// One of several, each as likely.
fn of<T: Copy>(chance: &mut Chance, among: &[T]) -> T {
    among[((chance.unit() * among.len() as f64) as usize).min(among.len() - 1)]
}

fn between(chance: &mut Chance, from: f64, to: f64) -> f64 {
    from + (to - from) * chance.unit()
}

/// Between two numbers, each tenfold as likely as the next.
fn scaled(chance: &mut Chance, from: f64, to: f64) -> f64 {
    from * (to / from).powf(chance.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_workload_and_another_seed_another() {
        let text = |seed| format!("{:?}", nature(seed));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn every_twist_and_no_twist_come_up() {
        let mut seen: Vec<String> = (0..300)
            .map(|seed| format!("{:?}", nature(seed).twist).chars().take_while(|c| c.is_alphabetic()).collect())
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 11, "{seen:?}");
    }
}
