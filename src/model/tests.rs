//! The worked examples of the policy that are about belief.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use serde_json::Value;

/// SciPy's values, worked out by `tests/data/scipy-values.py`.
fn scipy() -> Value {
    serde_json::from_str(include_str!("../../tests/data/scipy.json")).unwrap()
}

fn pairs(table: &Value) -> Vec<(f64, f64)> {
    let pair = |row: &Value| (row[0].as_f64().unwrap(), row[1].as_f64().unwrap());
    table.as_array().unwrap().iter().map(pair).collect()
}

/// All digits that SciPy gives, where the tests below hold the worked examples' four.
#[track_caller]
fn as_scipy(tail: &Tail, table: &str) {
    let wanted = &scipy()[table];
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-7 * wanted, "{table}: {found}, {wanted}");
    near(tail.alpha(), wanted["alpha"].as_f64().unwrap());
    pairs(&wanted["survival"]).into_iter().for_each(|(y, s)| near(tail.survival(y), s));
    if tail.exposure() > 0.0 {
        near(tail.rate(), wanted["rate"].as_f64().unwrap());
        pairs(&wanted["false_restarts"]).into_iter().for_each(|(y, r)| near(tail.rate() * tail.survival(y), r));
    }
}

#[test]
fn tolerance_factors_are_the_quantiles_of_the_noncentral_t() {
    let factors = pairs(&scipy()["tolerance_factors"]);
    assert_eq!(factors.len(), start::FACTORS.len());
    for ((n, wanted), found) in factors.into_iter().zip(start::FACTORS) {
        assert!((found - wanted).abs() < 5.1e-5, "{n} starts: {found}, {wanted}");
    }
}

#[test]
fn the_hazard_of_a_start_that_was_cut_off_is_the_normal_distribution_s() {
    for (z, wanted) in pairs(&scipy()["hazard"]) {
        let found = start::hazard(z);
        assert!((found - wanted).abs() < 1e-9 * wanted, "{z}: {found}, {wanted}");
    }
}

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
    as_scipy(&t, "prior");
    near(t.alpha(), 3.0);
    for (y, s) in [(2.0, 0.141181), (5.0, 0.014730), (10.0, 0.002979), (24.0, 0.000357)] {
        assert!((t.survival(y) - s).abs() < 5.1e-7, "{y}: {}", t.survival(y));
    }
}

#[test]
fn a_week_without_a_slow_check_leaves_little_to_fear() {
    let t = nothing(Edge::One, 35.0 / 365.0);
    as_scipy(&t, "quiet_week");
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
    as_scipy(&t, "busy_week");
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

#[test]
fn decay_of_counts_and_exposure_by_one_factor_leaves_their_ratio() {
    let fitted = |factor: f32| {
        let table = crate::evidence::Table::of(
            &[(1.0, 2.5, 4000.0 * factor), (2.5, 5.0, 800.0 * factor), (5.0, 10.0, 100.0 * factor)],
            &[(1.0, 900.0 * factor), (2.5, 400.0 * factor), (5.0, 2.0 * factor)],
        );
        let exposure = 50.0 * f64::from(factor);
        let data = Data { edge: Edge::One, tables: [Some((&table, 1.0)), None], killed: &[], exposure };
        fit(&data, |u| PRIOR_RATE * u.powf(-PRIOR_FALL), &GRID_OF_ALPHA.ln_prior).0
    };
    let (whole, half) = (fitted(1.0), fitted(0.5));
    assert_eq!(whole.count() / whole.exposure(), half.count() / half.exposure());
    // Much evidence outweighs the prior, whose part alone is not halved.
    assert!((whole.rate() / half.rate() - 1.0).abs() < 0.005, "{} {}", whole.rate(), half.rate());
}

proptest::proptest! {
    #[test]
    fn a_rate_falls_with_exposure_at_fixed_counts_and_one_more_slow_extent_never_lowers_it(
        counts in proptest::collection::vec((0usize..6, 1u8..40), 0..8), more in 0usize..6, exposure in 0.001f64..3.0,
    ) {
        const EXTENTS: [(f32, f32); 6] = [(1.0, 2.5), (1.0, 11.0), (2.5, 5.0), (5.0, 10.0), (10.0, 21.0), (21.0, 31.0)];
        let fitted = |counts: &[(usize, u8)], exposure: f64| {
            let all = |at: &(usize, u8)| (EXTENTS[at.0].0, EXTENTS[at.0].1, f32::from(at.1));
            let extents: Vec<_> = counts.iter().map(all).collect();
            // Each half-hour holds three of them.
            let clusters: Vec<_> = extents.iter().map(|(lo, _, n)| (*lo, (n / 3.0).ceil())).collect();
            let table = crate::evidence::Table::of(&extents, &clusters);
            let data = Data { edge: Edge::One, tables: [Some((&table, 1.0)), None], killed: &[], exposure };
            fit(&data, |u| PRIOR_RATE * u.powf(-PRIOR_FALL), &GRID_OF_ALPHA.ln_prior).0
        };
        let at = |t: &Tail, y: f64| t.rate() * t.survival(y);
        let (less, longer) = (fitted(&counts, exposure), fitted(&counts, exposure * 1.5));
        for y in [1.0, 4.0, 10.0, 14.0, 20.0, 24.0, 40.0] {
            proptest::prop_assert!(at(&longer, y) < at(&less, y), "{y}");
        }
        let with = fitted(&[&counts[..], &[(more, 3)]].concat(), exposure);
        if with.start() == less.start() {
            for y in [1.0, 2.5, 5.0, 10.0, 21.0].into_iter().filter(|y| *y <= f64::from(EXTENTS[more].0)) {
                proptest::prop_assert!(at(&with, y) >= at(&less, y) * (1.0 - 1e-9), "{y}: {} {}", at(&with, y), at(&less, y));
            }
        }
    }
}

#[test]
fn a_timeout_is_not_believed_safer_than_a_larger_one_that_tolerates_as_much() {
    let prior = |u: f64| PRIOR_RATE * u.powf(-PRIOR_FALL);
    let killed = [Killed { tolerance: 24.0, edges: 4, weight: 5.0, cluster: 5.0, before: false }];
    let data = Data { edge: Edge::Ten, tables: [None, None], killed: &killed, exposure: 1.0 };
    let above_ten = fit(&data, prior, &GRID_OF_ALPHA.ln_prior).0;
    let [one, two, five, fast] = [Edge::One, Edge::TwoAndHalf, Edge::Five, Edge::Fast].map(|edge| nothing(edge, 1.0));
    let mut belief = Belief {
        tails: [one, two, five, above_ten, fast],
        usable: [true; 4],
        period: 7.0,
        weights: [0.0; RESTARTS],
        fast_false: 0.0,
    };
    let [short, long] = ["7/8/3", "7/12/2"].map(|s| s.parse::<Settings>().unwrap());
    assert_eq!(short.stall_tolerance(), long.stall_tolerance());
    assert!(belief.slow(long).mean > 3.0, "{:?}", belief.slow(long));
    assert_eq!(belief.slow(short), belief.slow(long));
    assert!(belief.mean(short) > 3.0);
    // Nor are the curves on which they stand.
    for tolerance in [8.0, 12.0, 20.0, 24.0, 40.0] {
        let [short, long] = [short, long].map(|s| belief.beyond(s.timeout(), tolerance, s.period()).mean);
        assert!(short >= long, "{tolerance} s: {short}, {long}");
    }
    // Of what has hardly been visible nothing is said.
    belief.usable[Edge::Ten.index()] = false;
    assert!(belief.slow(short).mean < 1.0, "{:?}", belief.slow(short));
}

#[test]
fn a_lonely_restart_weighs_one_half_until_stalls_are_known_to_be_lonely() {
    for chance in [0.0, 0.1, 0.9] {
        assert!((calm((0.0, 0.0), chance) - 0.5).abs() < 1e-12, "{chance}");
        // Company that stalls always have says for a fault no more than was taken for granted.
        assert!((calm((40.0, 0.0), chance) - 0.5).abs() < 1e-12, "{chance}");
    }
    // q = 4·½/44.
    assert!((calm((0.0, 40.0), 0.0) - (1.0 - 2.0 / 44.0)).abs() < 1e-12);
    assert!((calm((0.0, 1e9), 0.5) - 1.0).abs() < 1e-12, "never more than one");
    assert!((calm((0.0, 9.0), 1.0) - 0.5).abs() < 1e-12, "where chance is certain nothing is known");
}
