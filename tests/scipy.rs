//! The statistics of the judgement against SciPy's, which `tests/data/scipy-values.py` worked out.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::evidence::Starts;
use probe_tuner::model::Rate;
use probe_tuner::run::arena::allowed;
use probe_tuner::units::Span;
use serde_json::Value;

/// The rows of one table of SciPy's.
fn rows(table: &str) -> Vec<Vec<Value>> {
    let all: Value = serde_json::from_str(include_str!("data/scipy.json")).unwrap();
    let rows = all[table].as_array().unwrap().iter().map(|row| row.as_array().unwrap().clone());
    rows.collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[track_caller]
fn near(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{found}, SciPy says {wanted}");
}

#[test]
fn the_chance_to_keep_a_budget_is_that_of_a_gamma_distribution() {
    for row in rows("gamma") {
        let rate = Rate { mean: number(&row[0]), variance: number(&row[1]) };
        for at in row[3].as_array().unwrap() {
            let (found, wanted) = (rate.probability_within(number(&at[0])), number(&at[1]));
            assert!((found - wanted).abs() < 1e-9, "{rate:?} within {}: {found}, SciPy says {wanted}", at[0]);
        }
    }
}

#[test]
fn the_upper_bound_of_a_rate_is_the_gamma_distribution_s_or_the_mean_where_that_is_more() {
    for row in rows("gamma") {
        let rate = Rate { mean: number(&row[0]), variance: number(&row[1]) };
        near(rate.upper(), number(&row[2]).max(rate.mean), 1e-7);
    }
}

#[test]
fn after_n_events_the_upper_bound_is_the_exact_one_of_poisson() {
    let bounds = rows("poisson_upper");
    for row in &bounds {
        let shape = number(&row[0]) + 1.0;
        near(Rate { mean: shape, variance: shape }.upper(), number(&row[1]), 1e-8);
    }
    // Policy, worked example 4.
    let four_digits = |row: &[Value]| (number(&row[1]) * 1e4).round() / 1e4;
    assert_eq!((four_digits(&bounds[0]), four_digits(&bounds[3])), (2.9957, 7.7537));
}

#[test]
fn as_many_false_restarts_are_within_the_budget_as_poisson_s_quantile_allows() {
    for row in rows("poisson_quantile") {
        assert_eq!(allowed(number(&row[0])) as u64, row[1].as_u64().unwrap(), "of {}", row[0]);
    }
}

#[test]
fn start_budgets_are_lognormal_tolerance_bounds() {
    for row in rows("starts") {
        let mut starts = Starts::default();
        for seconds in row[0].as_array().unwrap() {
            starts.add(Span::round_from_secs_f64(number(seconds)), false);
        }
        // The factors stand in the code to four digits.
        near(probe_tuner::model::start_budget(&starts).unwrap().seconds, number(&row[1]), 1e-4);
    }
}
