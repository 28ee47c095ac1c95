//! What really happened: the score that no estimator can see.

use crate::probe::{Handler, Settings};
use crate::units::{Span, Timestamp};

/// True faults a pod-year that the loss is reckoned with, whatever the family's own rate.
pub const FAULTS_A_POD_YEAR: f64 = 12.0;
/// What a false restart costs, in pod-seconds.
pub const FALSE_RESTART: f64 = 120.0;
/// What an own rollout costs, in pod-seconds a pod.
pub const OWN_ROLLOUT: f64 = 30.0;

/// The expected cost of a setting without its false restarts, in pod-seconds a pod-year:
/// `12·(2/3·E[D_h] + 1/3·E[D_c]) + 12·κ/P`, κ = 25 s² (exec 100).
pub fn carrying_cost(settings: Settings, handler: Handler) -> f64 {
    let kappa = if handler == Handler::Exec { 100.0 } else { 25.0 };
    FAULTS_A_POD_YEAR
        * (2.0 / 3.0 * settings.mean_hang_detection()
            + 1.0 / 3.0 * settings.mean_crash_detection()
            + kappa / f64::from(settings.period()))
}

/// A true fault that a probe found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// When the verdict fell.
    pub at: Timestamp,
    /// Whether it hung; else it refused.
    pub hang: bool,
    /// How long it had been so; zero where a leak was ended before it hung.
    pub after: Span,
}

/// A pod that its readiness probe took out of service though it was healthy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Removal {
    /// When the verdict fell.
    pub at: Timestamp,
    /// Which replica.
    pub replica: usize,
    /// Until it was ready again, or ended; `None` while that has not come.
    pub lasted: Option<Span>,
}

/// How far apart removals of different replicas still have one cause.
const TOGETHER: Span = Span::from_nanos(300 * 1_000_000_000);

/// What happened to one workload.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// When a healthy container was restarted by its probe, and which replica.
    pub false_restarts: Vec<(Timestamp, usize)>,
    /// True faults found.
    pub detections: Vec<Detection>,
    /// True faults that a rollout ended before they were found.
    pub undetected: u64,
    /// When own rollouts began.
    pub own_rollouts: Vec<Timestamp>,
    /// When the user's began.
    pub user_rollouts: Vec<Timestamp>,
    /// Restarts by own exit.
    pub exits: u64,
    /// Restarts of a replica that is ill for good: no numbers would have spared them, and none were false.
    pub ill: u64,
    /// For each day from the start: pod-days lived, and their sum weighted with the carrying cost.
    pub days: Vec<(f64, f64)>,
    /// Where the days begin.
    pub start: Timestamp,
    /// Checks made; counted only where somebody listens.
    pub checks: u64,
    /// Healthy pods that readiness took out of service.
    pub removals: Vec<Removal>,
    /// True faults that took a pod out of service: by readiness, or by the kill where that came first.
    pub out_of_service: Vec<Detection>,
    /// When a healthy container was killed by its startup probe, and which replica.
    pub startup_kills: Vec<(Timestamp, usize)>,
    /// When each container began, and how long it would have taken until it served, in seconds, whether it was let or
    /// not; counted where a startup or readiness probe watches.
    pub starts: Vec<(Timestamp, f64)>,
    /// The longest start that a startup probe saw, in seconds: to its success, or to its kill.
    pub longest_start: f64,
    /// How long pods were missing, from their creation or their end until they were ready.
    pub missing: Vec<Span>,
}

impl Truth {
    /// How much has been told so far.
    pub(super) fn told(&self) -> [usize; 5] {
        let removed = (self.removals.len(), self.out_of_service.len(), self.startup_kills.len());
        [self.false_restarts.len(), self.detections.len(), removed.0, removed.1, removed.2]
    }

    /// Replicas lived through a stretch one after the other; what it added is told in the order of time.
    pub(super) fn order_since(&mut self, told: [usize; 5]) {
        self.false_restarts[told[0]..].sort();
        self.detections[told[1]..].sort_by_key(|d| d.at);
        self.removals[told[2]..].sort_by_key(|r| r.at);
        self.out_of_service[told[3]..].sort_by_key(|d| d.at);
        self.startup_kills[told[4]..].sort();
    }

    /// Pod-years lived in the days `from..to` of the run.
    pub fn pod_years(&self, from: usize, to: usize) -> f64 {
        self.part(from, to).iter().map(|d| d.0).sum::<f64>() / 365.0
    }

    fn part(&self, from: usize, to: usize) -> &[(f64, f64)] {
        let to = to.min(self.days.len());
        &self.days[from.min(to)..to]
    }

    fn within(&self, at: Timestamp, from: usize, to: usize) -> bool {
        let day = at.since(self.start).as_days_f64();
        day >= from as f64 && day < to as f64
    }

    /// False restarts in the days `from..to`.
    pub fn false_in(&self, from: usize, to: usize) -> usize {
        self.false_restarts.iter().filter(|(at, _)| self.within(*at, from, to)).count()
    }

    /// False removals of one replica alone, and of several within five minutes.
    pub fn removed(&self) -> (usize, usize) {
        let near =
            |a: &Removal, b: &Removal| a.replica != b.replica && a.at.since(b.at).max(b.at.since(a.at)) <= TOGETHER;
        // They stand in the order of time: only neighbours can be near.
        let shared = |(i, r): (usize, &Removal)| {
            let before =
                self.removals[..i].iter().rev().take_while(|o| r.at.since(o.at) <= TOGETHER).any(|o| near(o, r));
            before || self.removals[i..].iter().take_while(|o| o.at.since(r.at) <= TOGETHER).any(|o| near(o, r))
        };
        let together = self.removals.iter().enumerate().filter(|r| shared(*r)).count();
        (self.removals.len() - together, together)
    }

    /// Mean carrying cost over the days `from..to`, by time lived under each setting.
    pub fn carrying(&self, from: usize, to: usize) -> f64 {
        let (lived, cost) = self.part(from, to).iter().fold((0.0, 0.0), |(a, b), d| (a + d.0, b + d.1));
        if lived > 0.0 { cost / lived } else { 0.0 }
    }

    /// The expected loss L over the days `from..to`, in pod-seconds a pod-year: carrying cost, false restarts and own
    /// rollouts of `replicas` pods.
    pub fn loss(&self, from: usize, to: usize, replicas: u32) -> f64 {
        let years = self.pod_years(from, to);
        if years <= 0.0 {
            return 0.0;
        }
        let rollouts = self.own_rollouts.iter().filter(|at| self.within(**at, from, to)).count() as f64;
        self.carrying(from, to)
            + FALSE_RESTART * self.false_in(from, to) as f64 / years
            + OWN_ROLLOUT * rollouts * f64::from(replicas) / years
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn carrying_costs_are_those_of_the_worked_example() {
        for (text, cost) in [
            ("10/1/3", 338.0),
            ("10/5/3", 370.0),
            ("10/10/2", 290.0),
            ("10/12/2", 322.0),
            ("10/15/2", 370.0),
            ("10/30/2", 610.0),
            ("5/3/2", 174.0),
            ("5/5/2", 190.0),
            ("7/7/2", 224.8571),
            ("7/8/3", 332.8571),
            ("7/12/2", 304.8571),
        ] {
            assert!((carrying_cost(text.parse().unwrap(), Handler::Http) - cost).abs() < 1e-3, "{text}");
        }
        assert!((carrying_cost("10/10/2".parse().unwrap(), Handler::Exec) - 380.0).abs() < 1e-9);
    }

    #[test]
    fn one_false_restart_in_28_days_of_five_pods_is_313_and_an_own_rollout_391() {
        let mut truth = Truth { days: vec![(5.0, 0.0); 28], ..Truth::default() };
        truth.false_restarts.push((Timestamp::from_seconds(5), 0));
        assert!((truth.loss(0, 28, 5) - 312.86).abs() < 0.01);
        truth.false_restarts.clear();
        truth.own_rollouts.push(Timestamp::from_seconds(5));
        assert!((truth.loss(0, 28, 5) - 391.07).abs() < 0.01);
    }
}
