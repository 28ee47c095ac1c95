//! The worked examples of the policy that are about belief.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn starts(whole: &[f32], cut: &[f32]) -> crate::evidence::Starts {
    let mut all = crate::evidence::Starts::default();
    whole.iter().for_each(|s| all.add(Span::round_from_secs_f64(f64::from(*s)), false));
    cut.iter().for_each(|s| all.add(Span::round_from_secs_f64(f64::from(*s)), true));
    all
}

#[track_caller]
fn near(found: f64, wanted: f64) {
    assert!((found - wanted).abs() < 5.1e-5, "{found} is not {wanted}");
}

fn nothing(edge: Edge, exposure: f64) -> Tail {
    let data = Data { edge, tables: [None, None], killed: &[], exposure };
    fit(&data, |u| PRIOR_RATE * u.powf(-PRIOR_FALL), &GRID_OF_ALPHA.ln_prior).0
}

#[test]
fn the_prior_alone_has_mean_three_and_the_survival_of_the_table() {
    let t = nothing(Edge::One, 0.0);
    near(t.alpha(), 3.0);
    for (y, s) in [(2.0, 0.141181), (5.0, 0.014730), (10.0, 0.002979), (24.0, 0.000357)] {
        assert!((t.survival(y) - s).abs() < 5.1e-7, "{y}: {}", t.survival(y));
    }
}

#[test]
fn a_week_without_a_slow_check_leaves_little_to_fear() {
    let t = nothing(Edge::One, 35.0 / 365.0);
    assert!((t.rate() - 5.1252).abs() < 5e-5);
    for (a, r) in [(10.0, 0.0153), (14.0, 0.0070), (20.0, 0.0029), (24.0, 0.0018)] {
        assert!((t.rate() * t.survival(a) - r).abs() < 5.1e-5, "{a}: {}", t.rate() * t.survival(a));
    }
}

#[test]
fn counts_in_buckets_become_the_rates_of_the_worked_example() {
    let table = crate::evidence::Table::of(
        &[(1.0, 2.5, 40.0), (2.5, 5.0, 8.0), (5.0, 10.0, 1.0)],
        &[(1.0, 9.0), (2.5, 4.0), (5.0, 1.0)],
    );
    let data = Data { edge: Edge::One, tables: [Some((&table, 1.0)), None], killed: &[], exposure: 35.0 / 365.0 };
    let (t, _) = fit(&data, |u| PRIOR_RATE * u.powf(-PRIOR_FALL), &GRID_OF_ALPHA.ln_prior);
    assert_eq!((t.start(), t.count(), t.clusters()), (2.5, 9.0, 5.0));
    assert!((t.rate() - 96.6056).abs() < 5.1e-5, "{}", t.rate());
    near(t.alpha(), 3.0432);
    assert!((t.survival(10.0) - 0.017929).abs() < 5.1e-7, "{}", t.survival(10.0));
    assert!((t.survival(24.0) - 0.001449).abs() < 5.1e-7, "{}", t.survival(24.0));
    for (a, r) in [(10.0, 1.7320), (14.0, 0.6757), (20.0, 0.2419), (24.0, 0.1399), (30.0, 0.0694)] {
        near(t.rate() * t.survival(a), r);
    }
}

#[test]
fn restarts_are_weighed_by_company() {
    let c = 0.05;
    near(weight(1.0, (0.5 + 0.5 * c) / c, 8.0), 0.5676);
    near(weight(1.0, 0.5, 8.0), 0.0588);
    near(weight(5.0, 25.5, 8.0), 0.9410);
    assert!((chance_of_company(5, 20.0, 35.0 * 86_400.0) - 0.0192).abs() < 5e-7);
}

#[test]
fn the_bound_of_a_rate_is_that_of_a_gamma_distribution() {
    // scipy.stats.gamma.ppf(0.95, 2, scale=0.5), cdf(1, 2, scale=0.5)
    let r = Rate { mean: 1.0, variance: 0.5 };
    assert!((r.upper() - 2.371932).abs() < 1e-5, "{}", r.upper());
    assert!((r.probability_within(1.0) - 0.593994).abs() < 1e-6);
}

#[test]
fn starts_of_the_worked_example_need_49_seconds() {
    let starts = starts(&[21.0, 24.0, 19.0, 33.0, 27.0, 22.0, 25.0, 30.0, 20.0, 26.0], &[]);
    let b = start_budget(&starts).unwrap();
    assert!((b.seconds - 49.40).abs() < 5e-3, "{}", b.seconds);
    assert_eq!(b.basis, Basis::Lognormal);
}

#[test]
fn a_start_that_was_cut_off_counts_as_longer_than_its_age() {
    let seen = [21.0, 24.0, 19.0, 33.0, 27.0, 22.0, 25.0, 30.0, 20.0];
    let whole = starts(&[&seen[..], &[26.0]].concat(), &[]);
    let cut = starts(&seen, &[26.0]);
    assert!(start_budget(&cut).unwrap().seconds > start_budget(&whole).unwrap().seconds);
}
