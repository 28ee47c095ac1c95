//! What is expected of a probe of which nothing is known, learnt from all that are watched.
//!
//! Rates of answers above 1 s are taken for draws of a Gamma distribution of shape ½, as each fit takes them; its mean is
//! then their mean. Each probe counts by what was seen of it, its own estimate shrunk as usual and cut off, so that one
//! brown-out is not everybody's prospect; and the mean of before stands for [`DOUBT`] probes more.

use crate::evidence::{Edge, PRIOR_RATE, Seen, YEAR_SECONDS};
use crate::units::Timestamp;

/// The prior of before is worth so many well-known probes.
const DOUBT: f64 = 20.0;
/// A probe seen for this long, in pod-years, counts half: five pods for four days.
const HALF_KNOWN: f64 = 0.055;
/// No probe's own rate counts for more than this many times the prior of before.
const MOST: f64 = 10.0;

/// The mean rate above 1 s to expect, a pod-year, after these probes; [`PRIOR_RATE`] after none.
///
/// `(20·300 + Σ wᵢ·rᵢ)/(20 + Σ wᵢ)` with `rᵢ = min((Cᵢ + ½)/(Eᵢ + ½/300), 3000)` and `wᵢ = Eᵢ/(Eᵢ + 0.055)`: so it lies
/// within a factor of ten of where it began.
pub fn learn<'a>(probes: impl IntoIterator<Item = &'a Seen>, now: Timestamp) -> f64 {
    let (mut weights, mut sum) = (DOUBT, DOUBT * PRIOR_RATE);
    for seen in probes {
        let decay = seen.decay(now);
        let both = [seen.this(), seen.past()];
        let years = both.iter().map(|e| e.exposure(Edge::One)).sum::<f64>() * decay / YEAR_SECONDS;
        let clusters = both.iter().map(|e| e.table(Edge::One).clusters_from(0.0)).sum::<f64>() * decay;
        let rate = ((clusters + 0.5) / (years + 0.5 / PRIOR_RATE)).min(MOST * PRIOR_RATE);
        let weight = years / (years + HALF_KNOWN);
        // Of evidence that is no number nothing is learnt.
        if (weight * rate).is_finite() {
            weights += weight;
            sum += weight * rate;
        }
    }
    (sum / weights).max(PRIOR_RATE / MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_nothing_it_is_where_it_began() {
        assert_eq!(learn([], Timestamp::EPOCH), PRIOR_RATE);
    }
}
