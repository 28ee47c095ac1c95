//! The policy table: from scores to figures, and from figures to text and JSON.

use super::arena::{Match, Player, Row, Score, mean};
use crate::sim::{Family, Losses};
use serde::Serialize;
use std::fmt::Write;

/// A mean over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean over all runs.
    pub mean: f64,
    /// Its standard error over the seeds, the families being given; `None` of one seed.
    pub error: Option<f64>,
}

impl Estimate {
    /// Of one value a run, family by family.
    fn of(families: &[Vec<f64>]) -> Option<Estimate> {
        let all: Vec<f64> = families.iter().flatten().copied().collect();
        let average = |xs: &[f64]| xs.iter().sum::<f64>() / xs.len() as f64;
        let error = families.iter().all(|xs| xs.len() > 1).then(|| {
            let variance_of_sum = |xs: &Vec<f64>| {
                let middle = average(xs);
                let n = xs.len() as f64;
                n * xs.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (n - 1.0)
            };
            families.iter().map(variance_of_sum).sum::<f64>().sqrt() / all.len() as f64
        });
        (!all.is_empty()).then(|| Estimate { mean: average(&all), error })
    }
}

/// What came of one player over all families and seeds. What it is held against must have played too: else `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The player.
    pub policy: String,
    /// Expected loss L.
    pub loss: Estimate,
    /// L of the second half of the days alone.
    pub second_half: f64,
    /// The part of L that is neither false restarts nor rollouts.
    pub carrying: f64,
    /// False restarts a pod-year.
    pub false_a_pod_year: f64,
    /// Share of runs with at most one false restart.
    pub within_one: f64,
    /// Share of runs within a budget of one a pod-year.
    pub in_budget: f64,
    /// Own rollouts a workload and 28 days.
    pub own_a_month: f64,
    /// L less that of 10/10/2, run by run.
    pub less_even: Option<Estimate>,
    /// The same as a share of the L of 10/10/2.
    pub relative: Option<f64>,
    /// The family with the largest ratio of L to the better of 10/1/3 and 10/10/2, and that ratio.
    pub worst: Option<(Family, f64)>,
    /// L against that of each family's best fixed numbers in hindsight.
    pub of_hindsight: Option<f64>,
    /// Share of runs in which the load rule lost more.
    pub below_load_rule: Option<f64>,
    /// Share of runs in which `p99-margin` lost more.
    pub below_p99_margin: Option<f64>,
}

const EVEN: &str = "10/10/2";

/// The figures of one player; `None` if it has no run.
pub fn figures(rows: &[Row], player: &Player, days: u32) -> Option<Figures> {
    let policy = player.name();
    let own: Vec<&Row> = of(rows, &policy).collect();
    let scores: Vec<Score> = own.iter().flat_map(|r| r.scores.iter().copied()).collect();
    let share = |f: &dyn Fn(&Score) -> bool| mean(&scores, |s| f64::from(u8::from(f(s))));
    let years: f64 = scores.iter().map(|s| s.pod_years).sum();
    let found: usize = scores.iter().map(|s| s.false_restarts).sum();
    let loss = Estimate::of(&own.iter().map(|r| r.scores.iter().map(|s| s.loss).collect()).collect::<Vec<_>>())?;
    let against = |other: &str| -> Option<Vec<Vec<f64>>> {
        let less = |r: &&Row| {
            let other = of(rows, other).find(|o| o.family == r.family)?;
            Some(r.scores.iter().zip(&other.scores).map(|(a, b)| a.loss - b.loss).collect())
        };
        own.iter().map(less).collect::<Option<_>>().filter(|_| other != policy)
    };
    let of_other = |other: &str| against(other).map(|_| mean_loss(rows, other));
    let below = |other: &str| {
        let runs: Vec<f64> = against(other)?.concat();
        Some(runs.iter().filter(|less| **less < 0.0).count() as f64 / runs.len() as f64)
    };
    let less_even = against(EVEN).and_then(|less| Estimate::of(&less));
    let default = Player::Fixed(crate::probe::Settings::KUBERNETES_DEFAULT).name();
    let better = |family: Family| {
        let of_family =
            |policy: &str| of(rows, policy).find(|r| r.family == family).map(|r| mean(&r.scores, |s| s.loss));
        Some(of_family(&default)?.min(of_family(EVEN)?))
    };
    let worst = own
        .iter()
        .filter_map(|r| Some((r.family, mean(&r.scores, |s| s.loss) / better(r.family)?)))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    Some(Figures {
        second_half: mean(&scores, |s| s.second_half),
        carrying: mean(&scores, |s| s.carrying),
        false_a_pod_year: if years > 0.0 { found as f64 / years } else { 0.0 },
        within_one: share(&|s| s.false_restarts <= 1),
        in_budget: share(&Score::in_budget),
        own_a_month: mean(&scores, |s| s.own_rollouts as f64) * 28.0 / f64::from(days),
        relative: less_even.map(|less| less.mean / (loss.mean - less.mean)),
        less_even,
        worst,
        of_hindsight: of_other("hindsight").map(|best| loss.mean / best),
        below_load_rule: below("load-rule"),
        below_p99_margin: below("p99-margin"),
        loss,
        policy,
    })
}

/// All rows of one player.
fn of<'a>(rows: &'a [Row], policy: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |r| r.policy == policy)
}

fn mean_loss(rows: &[Row], policy: &str) -> f64 {
    let scores: Vec<Score> = of(rows, policy).flat_map(|r| r.scores.iter().copied()).collect();
    mean(&scores, |s| s.loss)
}

/// A figure of L: as many digits as say something.
fn short(x: f64) -> String {
    if x.abs() < 9999.95 { format!("{x:.1}") } else { format!("{x:.0}") }
}

fn with_error(estimate: Estimate) -> String {
    let error = estimate.error.map_or(String::new(), |e| format!(" ± {}", short(e)));
    short(estimate.mean) + &error
}

/// Players side by side in the table of families.
const ABREAST: usize = 5;

/// For people; lines of at most 120 columns.
pub fn table(game: &Match, rows: &[Row]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    write_table(game, rows, &mut out).unwrap_or_default();
    out
}

fn write_table(game: &Match, rows: &[Row], out: &mut String) -> std::fmt::Result {
    let (first, last) = game.seeds;
    let families = match game.families.as_slice() {
        [one] => format!("family {}", one.name()),
        several => format!("{} families", several.len()),
    };
    let seeds = if first == last { format!("seed {first}") } else { format!("seeds {first}-{last}") };
    write!(out, "{} days, {families}, {seeds}, five pods each", game.days)?;
    if game.losses != Losses::default() {
        let Losses { scrapes, events, kubelet_restarts } = game.losses;
        let (scrapes, events, week) = (scrapes * 100.0, events * 100.0, kubelet_restarts * 7.0);
        write!(out, "; lost: {scrapes:.0} % of scrapes, {events:.0} % of events, {week:.0} kubelet restart a week")?;
    }
    writeln!(
        out,
        ".\nL: expected loss in pod-seconds a pod-year, with 12 true faults a pod-year, 120 for a false restart, 30 a pod \
         for an\nown rollout. ±: standard error over the seeds. In budget: runs within one false restart a pod-year \
         (95 % of Poisson).\n"
    )?;
    let figures: Vec<Figures> = game.players.iter().filter_map(|p| figures(rows, p, game.days)).collect();
    writeln!(
        out,
        "{:<20} {:>19} {:>9} {:>9} {:>12} {:>8} {:>10} {:>10}",
        "policy", "L", "2nd half", "carrying", "false/pod-y", "runs≤1", "in budget", "own/month"
    )?;
    for f in &figures {
        writeln!(
            out,
            "{:<20} {:>19} {:>9} {:>9} {:>12.2} {:>8.2} {:>10.3} {:>10.3}",
            f.policy,
            with_error(f.loss),
            short(f.second_half),
            short(f.carrying),
            f.false_a_pod_year,
            f.within_one,
            f.in_budget,
            f.own_a_month
        )?;
    }
    writeln!(
        out,
        "\nAgainst 10/10/2 run by run; the worst family against the better of 10/1/3 and 10/10/2; L against each family's \
         best\nfixed numbers in hindsight; share of runs in which the load rule, and p99-margin, lose more. -: not played.\n"
    )?;
    writeln!(
        out,
        "{:<20} {:>29} {:>21} {:>12} {:>12} {:>13}",
        "policy", "L - L of 10/10/2", "worst family", "/ hindsight", "< load-rule", "< p99-margin"
    )?;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for f in &figures {
        let less = f.less_even.zip(f.relative);
        writeln!(
            out,
            "{:<20} {:>29} {:>21} {:>12} {:>12} {:>13}",
            f.policy,
            or_dash(less.map(|(less, share)| format!("{} ({:+.0} %)", with_error(less), share * 100.0))),
            or_dash(f.worst.map(|(family, ratio)| format!("{} ×{ratio:.2}", family.name()))),
            or_dash(f.of_hindsight.map(|ratio| format!("×{ratio:.2}"))),
            or_dash(f.below_load_rule.map(|share| format!("{share:.3}"))),
            or_dash(f.below_p99_margin.map(|share| format!("{share:.3}")))
        )?;
    }
    for players in game.players.chunks(ABREAST) {
        write!(out, "\n{:<14}", "L (false)")?;
        for player in players {
            write!(out, " {:>20}", player.name())?;
        }
        writeln!(out)?;
        for family in &game.families {
            write!(out, "{:<14}", family.name())?;
            for player in players {
                let name = player.name();
                let cell = of(rows, &name).find(|r| r.family == *family).map_or(String::new(), |r| {
                    let found: usize = r.scores.iter().map(|s| s.false_restarts).sum();
                    let chosen = r.chosen.map_or(String::new(), |s| format!("{s} "));
                    format!("{chosen}{:.0} ({found})", mean(&r.scores, |s| s.loss))
                });
                write!(out, " {cell:>20}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The JSON document, version 1. Fields may be added.
#[derive(Serialize)]
pub struct Document {
    version: u32,
    days: u32,
    seeds: [u64; 2],
    losses: Lost,
    policies: Vec<Line>,
    results: Vec<Entry>,
}

#[derive(Serialize)]
struct Lost {
    scrapes: f64,
    events: f64,
    kubelet_restarts_a_day: f64,
}

/// [`Figures`]; what was not played against is null.
#[derive(Serialize)]
struct Line {
    policy: String,
    loss: f64,
    loss_error: Option<f64>,
    loss_second_half: f64,
    carrying_cost: f64,
    false_restarts_a_pod_year: f64,
    runs_within_one: f64,
    runs_in_budget: f64,
    own_rollouts_a_month: f64,
    less_than_even: Option<f64>,
    less_than_even_error: Option<f64>,
    less_than_even_relative: Option<f64>,
    worst_family: Option<&'static str>,
    worst_ratio: Option<f64>,
    of_hindsight: Option<f64>,
    runs_below_load_rule: Option<f64>,
    runs_below_p99_margin: Option<f64>,
}

#[derive(Serialize)]
struct Entry {
    policy: String,
    family: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    loss: f64,
    loss_second_half: f64,
    carrying_cost: f64,
    false_restarts: usize,
    pod_years: f64,
    own_rollouts: usize,
    runs: usize,
    runs_in_budget: usize,
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

impl Document {
    /// Of a match that is over.
    pub fn of(game: &Match, rows: &[Row]) -> Document {
        let entry = |r: &Row| Entry {
            policy: r.policy.clone(),
            family: r.family.name(),
            settings: r.chosen.map(|s| s.to_string()),
            loss: round(mean(&r.scores, |s| s.loss)),
            loss_second_half: round(mean(&r.scores, |s| s.second_half)),
            carrying_cost: round(mean(&r.scores, |s| s.carrying)),
            false_restarts: r.scores.iter().map(|s| s.false_restarts).sum(),
            pod_years: round(r.scores.iter().map(|s| s.pod_years).sum()),
            own_rollouts: r.scores.iter().map(|s| s.own_rollouts).sum(),
            runs: r.scores.len(),
            runs_in_budget: r.scores.iter().filter(|s| s.in_budget()).count(),
        };
        let Losses { scrapes, events, kubelet_restarts } = game.losses;
        Document {
            version: 1,
            days: game.days,
            seeds: [game.seeds.0, game.seeds.1],
            losses: Lost { scrapes, events, kubelet_restarts_a_day: round(kubelet_restarts) },
            policies: game.players.iter().filter_map(|p| figures(rows, p, game.days)).map(Line::of).collect(),
            results: rows.iter().map(entry).collect(),
        }
    }
}

impl Line {
    fn of(f: Figures) -> Line {
        Line {
            policy: f.policy,
            loss: round(f.loss.mean),
            loss_error: f.loss.error.map(round),
            loss_second_half: round(f.second_half),
            carrying_cost: round(f.carrying),
            false_restarts_a_pod_year: round(f.false_a_pod_year),
            runs_within_one: round(f.within_one),
            runs_in_budget: round(f.in_budget),
            own_rollouts_a_month: round(f.own_a_month),
            less_than_even: f.less_even.map(|e| round(e.mean)),
            less_than_even_error: f.less_even.and_then(|e| e.error).map(round),
            less_than_even_relative: f.relative.map(round),
            worst_family: f.worst.map(|(family, _)| family.name()),
            worst_ratio: f.worst.map(|(_, ratio)| round(ratio)),
            of_hindsight: f.of_hindsight.map(round),
            runs_below_load_rule: f.below_load_rule.map(round),
            runs_below_p99_margin: f.below_p99_margin.map(round),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PLAYERS: [&str; 6] = ["kubernetes-default", "10/10/2", "load-rule", "p99-margin", "probe-tuner", "hindsight"];

    fn game() -> Match {
        Match {
            families: vec![Family::Light, Family::Gc],
            players: PLAYERS.iter().map(|p| Player::parse(p).unwrap()).collect(),
            seeds: (1, 2),
            days: 28,
            losses: Losses::default(),
            threads: 1,
        }
    }

    /// Rows of these losses, two seeds of two families for each player.
    fn rows(losses: [[[f64; 2]; 2]; 6]) -> Vec<Row> {
        let mut rows = Vec::new();
        for (policy, losses) in PLAYERS.iter().zip(losses) {
            for (family, losses) in [Family::Light, Family::Gc].into_iter().zip(losses) {
                let scores = losses.map(|loss| Score { loss, pod_years: 0.38, ..Score::default() }).to_vec();
                rows.push(Row { policy: (*policy).to_owned(), family, scores, chosen: None });
            }
        }
        rows
    }

    #[test]
    fn one_family_and_one_seed_are_named_in_the_singular() {
        let game = Match { families: vec![Family::Light], seeds: (7, 7), ..game() };
        let text = table(&game, &example());
        assert!(text.starts_with("28 days, family light, seed 7, five pods each.\n"), "{text}");
    }

    fn example() -> Vec<Row> {
        rows([
            [[300.0, 300.0], [900.0, 900.0]],
            [[290.0, 310.0], [500.0, 540.0]],
            [[5000.0, 5000.0], [9000.0, 9000.0]],
            [[400.0, 200.0], [1e6, 1e6]],
            [[250.0, 250.0], [560.0, 620.0]],
            [[200.0, 200.0], [300.0, 300.0]],
        ])
    }

    #[test]
    fn figures_are_those_of_a_pencil() {
        let f = figures(&example(), &Player::Engine(None), 28).unwrap();
        assert_eq!(f.loss.mean, 420.0);
        // Two runs of 560 and 620: a variance of 1800, 900 of their mean, over two families a quarter.
        assert!((f.loss.error.unwrap() - 15.0).abs() < 1e-9);
        // Differences -40, -60, +60, +80: two variances of 200.
        assert_eq!(f.less_even.unwrap().mean, 10.0);
        assert!((f.less_even.unwrap().error.unwrap() - 50f64.sqrt()).abs() < 1e-9);
        assert!((f.relative.unwrap() - 10.0 / 410.0).abs() < 1e-12);
        assert_eq!(f.worst.unwrap().0, Family::Gc);
        assert!((f.worst.unwrap().1 - 590.0 / 520.0).abs() < 1e-12);
        assert_eq!(f.of_hindsight.unwrap(), 420.0 / 250.0);
        assert_eq!((f.below_load_rule, f.below_p99_margin), (Some(1.0), Some(0.75)));
    }

    #[test]
    fn who_did_not_play_is_not_held_against() {
        let rows: Vec<Row> = of(&example(), "probe-tuner").cloned().collect();
        let f = figures(&rows, &Player::Engine(None), 28).unwrap();
        assert!(f.less_even.is_none() && f.worst.is_none() && f.of_hindsight.is_none() && f.below_load_rule.is_none());
        assert!(figures(&rows, &Player::Hindsight, 28).is_none());
    }

    #[test]
    fn one_seed_has_no_standard_error() {
        let mut rows = example();
        rows.iter_mut().for_each(|r| r.scores.truncate(1));
        assert_eq!(figures(&rows, &Player::Engine(None), 28).unwrap().loss.error, None);
    }

    #[test]
    fn the_table_fits_120_columns_whatever_was_lost() {
        let mut rows = example();
        rows.iter_mut().flat_map(|r| &mut r.scores).for_each(|s| s.loss *= 12_345.0);
        let text = table(&Match { losses: Losses::USUAL, ..game() }, &rows);
        for line in text.lines() {
            assert!(line.chars().count() <= 120, "{line:?}");
        }
        assert!(text.contains("20 % of events"), "{text}");
    }

    #[test]
    fn the_document_says_what_the_table_says() {
        let document = serde_json::to_value(Document::of(&game(), &example())).unwrap();
        assert_eq!(document["version"], 1);
        assert_eq!(document["policies"][4]["policy"], "probe-tuner");
        assert_eq!(document["policies"][4]["of_hindsight"], 1.68);
        assert_eq!(document["policies"][1]["less_than_even"], serde_json::Value::Null);
        assert_eq!(document["results"].as_array().unwrap().len(), 12);
    }
}
