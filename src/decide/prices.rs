//! What things cost, in pod-seconds a pod-year.

use crate::evidence::PRIOR_RATE;
use crate::probe::Settings;

/// Prices, in pod-seconds and events a pod-year. What an own rollout costs stands in the owner's permission.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// True faults a pod-year (12), of which two thirds hang.
    pub faults: f64,
    /// Pod-seconds a false restart costs (120).
    pub false_restart: f64,
    /// κ for HTTP, TCP and gRPC, in s² (25): a check takes about 1 ms of a core, priced at 1/100 of a pod-second of
    /// failed service.
    pub check: f64,
    /// κ for exec, in s² (100).
    pub exec_check: f64,
    /// Pod-seconds a false removal from Services costs (15): until the next check succeeds.
    pub false_removal: f64,
    /// Answers above 1 s expected of a probe of which nothing is known, half-hours a pod-year (300). No price: the engine
    /// learns it over all workloads.
    pub slow_rate: f64,
    /// What regimes that were never seen cost before anything was (210).
    pub unseen_regime: f64,
    /// What a version that was never seen costs at a tolerance of 10 s (50).
    pub unseen_version: f64,
}

impl Default for Prices {
    fn default() -> Self {
        Prices {
            faults: 12.0,
            false_restart: 120.0,
            check: 25.0,
            exec_check: 100.0,
            false_removal: 15.0,
            slow_rate: PRIOR_RATE,
            unseen_regime: 210.0,
            unseen_version: 50.0,
        }
    }
}

/// What a setting costs without any false restart: `φ·(2/3·E[D_h] + 1/3·E[D_c]) + φ·κ/P`, in pod-seconds a pod-year.
pub fn carrying_cost(s: Settings, faults: f64, check: f64) -> f64 {
    let detection = 2.0 / 3.0 * s.mean_hang_detection() + 1.0 / 3.0 * s.mean_crash_detection();
    faults * detection + faults * check / f64::from(s.period())
}

/// What has not been seen yet, at a setting: regimes of slowness on several replicas, refusals on all of them, and bad
/// versions.
///
/// `210·(½·T^−1.2 + n)/(½ + Y) + 120·½/A_f/(½ + Y) + 50/(1 + g)²·(A_s/10)^−1.5`, `Y` years watched, `n` days on which
/// several replicas were slow together, `g` changes of version that made nothing worse.
pub(super) fn unseen(s: Settings, prices: &Prices, years: f64, regimes: f64, calm: u32) -> f64 {
    let seen = 0.5 + years;
    let (timeout, stall) = (f64::from(s.timeout()), s.stall_tolerance() as f64);
    let regime = prices.unseen_regime * (0.5 * timeout.powf(-1.2) + regimes) / seen;
    let refusals = prices.false_restart * 0.5 / (s.refusal_tolerance() as f64).max(1.0) / seen;
    let version = prices.unseen_version / (1.0 + f64::from(calm)).powi(2) * (stall / 10.0).powf(-1.5);
    regime + refusals + version
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn carrying_costs_are_those_of_the_table() {
        // Policy, worked example 2.
        for (s, kappa, cost) in [
            ("10/1/3", 25.0, 338.0),
            ("10/5/3", 25.0, 370.0),
            ("10/10/2", 25.0, 290.0),
            ("10/12/2", 25.0, 322.0),
            ("10/15/2", 25.0, 370.0),
            ("10/30/2", 25.0, 610.0),
            ("5/3/2", 25.0, 174.0),
            ("5/5/2", 25.0, 190.0),
            ("7/7/2", 25.0, 224.8571),
            ("7/8/3", 25.0, 332.8571),
            ("7/12/2", 25.0, 304.8571),
            ("10/10/2", 100.0, 380.0),
        ] {
            let found = carrying_cost(s.parse().unwrap(), 12.0, kappa);
            assert!((found - cost).abs() < 5e-5, "{s}: {found}");
        }
    }

    #[test]
    fn what_was_not_seen_costs_what_the_example_says() {
        // Policy, worked example 10: 28 days, no regime, three quiet changes of version.
        for (s, parts) in [("10/12/2", [9.2302, 10.4038, 0.8405]), ("5/5/2", [26.3916, 20.8076, 3.1250])] {
            let found = unseen(s.parse().unwrap(), &Prices::default(), 28.0 / 365.0, 0.0, 3);
            let sum: f64 = parts.iter().sum();
            assert!((found - sum).abs() < 2e-4, "{s}: {found}, not {sum}");
        }
    }
}
