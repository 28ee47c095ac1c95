//! How long a container may take to start: an upper bound on the 99th percentile of its start times.

use crate::evidence::{Start, Starts};
use statrs::function::erf::erfc;

/// One-sided tolerance factors of the normal distribution, 99 % of the population with 95 % confidence, for n = 5 … 64:
/// `nct.ppf(0.95, n−1, z·√n)/√n` with `z = norm.ppf(0.99)`, SciPy 1.16.
pub(super) const FACTORS: [f64; 60] = [
    5.7411, 5.0620, 4.6417, 4.3539, 4.1430, 3.9811, 3.8523, 3.7471, 3.6592, 3.5845, 3.5201, 3.4639, 3.4144, 3.3703,
    3.3308, 3.2952, 3.2628, 3.2332, 3.2061, 3.1811, 3.1580, 3.1365, 3.1165, 3.0978, 3.0803, 3.0639, 3.0484, 3.0338,
    3.0201, 3.0070, 2.9946, 2.9828, 2.9716, 2.9609, 2.9507, 2.9409, 2.9316, 2.9227, 2.9141, 2.9058, 2.8979, 2.8903,
    2.8829, 2.8759, 2.8690, 2.8624, 2.8561, 2.8499, 2.8440, 2.8382, 2.8326, 2.8272, 2.8219, 2.8168, 2.8119, 2.8071,
    2.8024, 2.7978, 2.7934, 2.7891,
];
/// From this many starts the longest is itself a bound: `0.99^n ≤ 0.05`.
const DISTRIBUTION_FREE: u32 = 299;
/// Steps of the fit with starts that were cut off; it converges in about ten.
const STEPS: usize = 40;

/// What a start budget rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Fewer than five starts: three times the longest. Too little to change anything.
    Few,
    /// A lognormal tolerance bound.
    Lognormal,
    /// The longest of at least 299.
    Longest,
}

/// The budget that a start needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartBudget {
    /// In seconds; never below 1.2 times the longest start seen.
    pub seconds: f64,
    /// What it rests on.
    pub basis: Basis,
}

/// The upper 95 % bound of the 99th percentile of the time to start; `None` without any start.
pub fn start_budget(starts: &Starts) -> Option<StartBudget> {
    let longest = f64::from(starts.longest());
    let recent = starts.recent();
    let budget = match (recent.len(), starts.total()) {
        (0, _) => return None,
        (n, _) if n < 5 => StartBudget { seconds: 3.0 * longest, basis: Basis::Few },
        (_, total) if total >= DISTRIBUTION_FREE && recent.iter().all(|s| !s.cut_off) => {
            StartBudget { seconds: longest, basis: Basis::Longest }
        }
        (n, _) => StartBudget { seconds: tolerance_bound(recent, FACTORS[n - 5]), basis: Basis::Lognormal },
    };
    Some(StartBudget { seconds: budget.seconds.max(1.2 * longest), ..budget })
}

/// `exp(m + k·s)`. A start that was cut off counts as longer than its age: expectation maximisation.
fn tolerance_bound(starts: &[Start], factor: f64) -> f64 {
    let n = starts.len() as f64;
    let (mut m, mut s) = moments(
        starts.iter().map(|s| {
            let y = f64::from(s.seconds).ln();
            (y, y * y)
        }),
        n,
    );
    if starts.iter().any(|s| s.cut_off) {
        for _ in 0..STEPS {
            let (mean, sd) = (m, s.max(1e-3));
            (m, s) = moments(
                starts.iter().map(|start| {
                    let y = f64::from(start.seconds).ln();
                    if !start.cut_off {
                        return (y, y * y);
                    }
                    let h = hazard((y - mean) / sd);
                    (mean + sd * h, mean * mean + sd * sd + sd * h * (y + mean))
                }),
                n,
            );
        }
    }
    (m + factor * s).exp()
}

fn moments(items: impl Iterator<Item = (f64, f64)>, n: f64) -> (f64, f64) {
    let (sum, squares) = items.fold((0.0, 0.0), |(a, b), (y, yy)| (a + y, b + yy));
    let mean = sum / n;
    (mean, ((squares - n * mean * mean) / (n - 1.0)).max(0.0).sqrt())
}

/// The standard normal's density over what is above: `φ(z)/(1 − Φ(z))`.
pub(super) fn hazard(z: f64) -> f64 {
    let above = 0.5 * erfc(z / std::f64::consts::SQRT_2);
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if above > 1e-300 { density / above } else { z }
}
