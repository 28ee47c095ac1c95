//! Chance: generators that descend from one seed, and the distributions that the families are written in.
//!
//! Every workload and purpose has a generator of its own, so one workload more, or one draw more for one purpose,
//! changes nothing for the others. What a check would meet at a moment is a pure function of the slot's seed and that
//! moment: it is the same whatever settings ask, and whether anybody listens.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use statrs::function::erf::{erfc, erfc_inv};
use std::f64::consts::{SQRT_2, TAU};

/// A generator for one purpose.
pub(super) struct Chance(ChaCha8Rng);

/// The seed of a child: of what, and the how manieth.
pub(super) fn child(seed: u64, purpose: &str, number: u64) -> u64 {
    // FNV-1a over the purpose, then two rounds of mixing: no two purposes share a stream.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in purpose.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(mix(seed ^ hash).wrapping_add(number))
}

/// The finalizer of splitmix64: a bijection on 64 bits whose every output bit depends on every input bit.
pub(super) const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// 64 bits as a number in the open interval (0, 1).
pub(super) fn unit(bits: u64) -> f64 {
    // 52 bits, so that the half is exact and the largest stays below one.
    ((bits >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0
}

/// The largest deviation that [`normal_at`] can give, in standard deviations: 2⁻⁵³ lies 8.2 below the mean.
pub(super) const FARTHEST: f64 = 8.4;

/// The standard normal deviate at a quantile in (0, 1).
pub(super) fn normal_at(quantile: f64) -> f64 {
    -SQRT_2 * erfc_inv(2.0 * quantile)
}

/// The standard normal distribution function.
pub(super) fn normal_below(z: f64) -> f64 {
    0.5 * erfc(-z / SQRT_2)
}

impl Chance {
    /// The generator of a child.
    pub(super) fn new(seed: u64, purpose: &str, number: u64) -> Self {
        Chance(ChaCha8Rng::seed_from_u64(child(seed, purpose, number)))
    }

    /// Uniform in the open interval (0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        unit(self.0.next_u64())
    }

    /// Exponential with this mean.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (TAU * self.unit()).cos()
    }

    /// A length drawn from a distribution, in seconds.
    pub(super) fn length(&mut self, of: &Length) -> f64 {
        match *of {
            Length::Lognormal { median, sigma } => median * (sigma * self.normal()).exp(),
            Length::Gamma { shape, scale } => scale * self.gamma(shape),
            Length::Uniform { from, to } => from + (to - from) * self.unit(),
            Length::Exponential { mean } => self.exponential(mean),
            Length::Pareto { least, alpha, most } => (least * self.unit().powf(-1.0 / alpha)).min(most),
            Length::Either { first, share, second } => {
                let (from, to) = if self.unit() < share { first } else { second };
                from + (to - from) * self.unit()
            }
        }
    }

    /// Gamma with scale 1 and a shape of at least 1 (Marsaglia and Tsang 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }
}

/// How long something lasts: a distribution, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Lognormal.
    Lognormal {
        /// Its median.
        median: f64,
        /// Deviation of its logarithm.
        sigma: f64,
    },
    /// Gamma.
    Gamma {
        /// At least 1.
        shape: f64,
        /// Mean divided by shape.
        scale: f64,
    },
    /// Uniform.
    Uniform {
        /// Least.
        from: f64,
        /// Most.
        to: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean.
        mean: f64,
    },
    /// Pareto, cut off.
    Pareto {
        /// Least.
        least: f64,
        /// Exponent of its survival.
        alpha: f64,
        /// What is longer lasts as long as this.
        most: f64,
    },
    /// One of two uniform kinds.
    Either {
        /// The first kind: least and most.
        first: (f64, f64),
        /// Share of the first kind, in [0, 1].
        share: f64,
        /// The second kind.
        second: (f64, f64),
    },
}

impl Length {
    /// What a share of all lengths stays below, in seconds; `None` where no formula says.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        match *self {
            Length::Lognormal { median, sigma } => Some(median * (sigma * normal_at(share)).exp()),
            Length::Uniform { from, to } => Some(from + (to - from) * share),
            Length::Exponential { mean } => Some(-mean * (1.0 - share).ln()),
            Length::Gamma { .. } | Length::Pareto { .. } | Length::Either { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_distribution_has_the_mean_that_its_formula_says() {
        for (length, mean) in [
            (Length::Lognormal { median: 2.0, sigma: 0.5 }, 2.0 * 0.125f64.exp()),
            (Length::Gamma { shape: 2.0, scale: 1.5 }, 3.0),
            (Length::Uniform { from: 8.0, to: 22.0 }, 15.0),
            (Length::Exponential { mean: 6.0 }, 6.0),
            (Length::Pareto { least: 1.0, alpha: 3.0, most: 1e9 }, 1.5),
            (Length::Either { first: (0.0, 1.0), share: 0.8, second: (2.0, 4.0) }, 1.0),
        ] {
            let mut chance = Chance::new(1, "test", 0);
            let sum: f64 = (0..200_000).map(|_| chance.length(&length)).sum();
            assert!((sum / 200_000.0 / mean - 1.0).abs() < 0.02, "{length:?}: {}", sum / 200_000.0);
        }
    }

    #[test]
    fn quantile_and_distribution_function_are_inverse_and_bounded() {
        for z in [-5.0, -1.0, 0.0, 0.3, 2.0, 5.0] {
            assert!((normal_at(normal_below(z)) - z).abs() < 1e-6, "{z}");
        }
        assert!(normal_at(unit(u64::MAX)) < FARTHEST && normal_at(unit(0)) > -FARTHEST);
    }

    #[test]
    fn children_of_one_seed_differ_by_purpose_and_by_number() {
        let mut seen: Vec<u64> = ["a", "b", "ab"].iter().flat_map(|p| (0..3).map(|n| child(7, p, n))).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 9);
    }
}
