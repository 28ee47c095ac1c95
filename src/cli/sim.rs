//! `sim`: the policy table.

use super::{Console, Exit, Failure, Problem};
use crate::run::arena::{self, Match, Player, Row, Score, mean};
use crate::sim::Family;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{IsTerminal, Write};

/// What the policy is measured against: families of simulated workloads, fixed seeds, every player on the same stalls.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
probe-tuner sim --seeds 1000-1003                      a first look at every family\n  \
probe-tuner sim --families gc,noisy --days 182         half a year of two of them\n  \
probe-tuner sim --policy 10/10/2,probe-tuner@10/12/2   who plays\n  \
probe-tuner sim --families held-out -o json            for other programs")]
pub struct Args {
    /// Families by name, or the groups tuned, held-out, last-look
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_value = "tuned")]
    families: Vec<String>,
    /// Who plays: P/T/K, kubernetes-default, advised, even, load-rule, hindsight, probe-tuner, probe-tuner@P/T/K
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "kubernetes-default,10/10/2,10/12/2,10/15/2,load-rule,probe-tuner@10/12/2,probe-tuner"
    )]
    policy: Vec<String>,
    /// First and last seed
    #[arg(long, value_name = "A-B", default_value = "1000-1003")]
    seeds: String,
    /// Days of each run
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = clap::value_parser!(u32).range(2..=730))]
    days: u32,
    /// Threads (default: one for each core)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One document, version 1.
    Json,
}

/// Plays and prints.
///
/// # Errors
/// Names, seeds and policies that cannot be read, all at once; and those of standard output.
pub fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit, Failure> {
    let game = read(args)?;
    let quiet = !std::io::stderr().is_terminal();
    let rows = arena::play(&game, &|done, all| {
        if !quiet {
            // Progress is nobody's data: what cannot be written is not missed.
            write!(std::io::stderr(), "\r{done}/{all} runs ").unwrap_or_default();
        }
    });
    if !quiet {
        write!(console.err, "\r")?;
    }
    match args.output {
        Format::Json => console.json(&Document::of(&game, &rows))?,
        Format::Table => table(&game, &rows, console.out)?,
    }
    Ok(Exit::Done)
}

fn read(args: &Args) -> Result<Match, Failure> {
    let mut problems = Vec::new();
    let mut families = Vec::new();
    for name in &args.families {
        match name.as_str() {
            "tuned" => families.extend(Family::TUNED),
            "held-out" => families.extend(Family::HELD_OUT),
            "last-look" => families.extend(Family::LAST_LOOK),
            "all" => families.extend(Family::all()),
            _ => match Family::parse(name) {
                Some(family) => families.push(family),
                None => {
                    let names: Vec<&str> = Family::all().map(Family::name).collect();
                    problems.push(
                        Problem::new(format!("--families {name:?}: no such family"))
                            .hint(format!("write tuned, held-out, last-look, all, or of {}", names.join(", "))),
                    );
                }
            },
        }
    }
    let mut players = Vec::new();
    for name in &args.policy {
        match Player::parse(name) {
            Ok(player) => players.push(player),
            Err(why) => problems.push(Problem::new(format!("--policy: {why}"))),
        }
    }
    let seeds = args.seeds.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let seeds = seeds.or_else(|| args.seeds.parse().ok().map(|one| (one, one)));
    if seeds.is_none_or(|(a, b): (u64, u64)| a > b || b - a >= 10_000) {
        problems.push(
            Problem::new(format!("--seeds {:?}: no range of at most 10,000 seeds", args.seeds))
                .hint("write the first and the last, as \"1000-1023\""),
        );
    }
    match seeds {
        Some(seeds) if problems.is_empty() => Ok(Match {
            families,
            players,
            seeds,
            days: args.days,
            threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get())),
        }),
        _ => Err(Failure::unreadable(problems)),
    }
}

/// All runs of one player.
fn of<'a>(rows: &'a [Row], policy: &'a str) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |r| r.policy == policy)
}

struct Summary {
    policy: String,
    loss: f64,
    second_half: f64,
    carrying: f64,
    false_a_pod_year: f64,
    within_one: f64,
    in_budget: f64,
    own_a_month: f64,
    worst: Option<(Family, f64)>,
}

fn summary(rows: &[Row], player: &Player, days: u32) -> Summary {
    let policy = player.name();
    let scores: Vec<Score> = of(rows, &policy).flat_map(|r| r.scores.iter().copied()).collect();
    let share = |f: &dyn Fn(&Score) -> bool| mean(&scores, |s| f64::from(u8::from(f(s))));
    let years: f64 = scores.iter().map(|s| s.pod_years).sum();
    let found: usize = scores.iter().map(|s| s.false_restarts).sum();
    let base = |family: Family| rows.iter().find(|r| r.policy == "10/10/2" && r.family == family);
    let worst = of(rows, &policy)
        .filter_map(|r| Some((r.family, mean(&r.scores, |s| s.loss) / mean(&base(r.family)?.scores, |s| s.loss))))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|_| policy != "10/10/2");
    Summary {
        loss: mean(&scores, |s| s.loss),
        second_half: mean(&scores, |s| s.second_half),
        carrying: mean(&scores, |s| s.carrying),
        false_a_pod_year: if years > 0.0 { found as f64 / years } else { 0.0 },
        within_one: share(&|s| s.false_restarts <= 1),
        in_budget: share(&|s| s.false_restarts <= arena::allowed(s.pod_years)),
        own_a_month: mean(&scores, |s| s.own_rollouts as f64) * 28.0 / f64::from(days),
        worst,
        policy,
    }
}

fn table(game: &Match, rows: &[Row], out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(
        out,
        "{} days, {} families, seeds {}-{}, five pods each. L: expected loss in pod-seconds a pod-year,\n\
         12 true faults a pod-year, a false restart 120, an own rollout 30 a pod.\n",
        game.days,
        game.families.len(),
        game.seeds.0,
        game.seeds.1
    )?;
    writeln!(
        out,
        "{:<22} {:>9} {:>9} {:>9} {:>11} {:>7} {:>9} {:>9}  worst against 10/10/2",
        "policy", "L", "2nd half", "carrying", "false/pod-y", "runs≤1", "in budget", "own/month"
    )?;
    for player in &game.players {
        let s = summary(rows, player, game.days);
        let worst = s.worst.map_or(String::new(), |(family, ratio)| format!("{} ×{ratio:.2}", family.name()));
        writeln!(
            out,
            "{:<22} {:>9.1} {:>9.1} {:>9.1} {:>11.2} {:>7.2} {:>9.2} {:>9.2}  {worst}",
            s.policy, s.loss, s.second_half, s.carrying, s.false_a_pod_year, s.within_one, s.in_budget, s.own_a_month
        )?;
    }
    write!(out, "\n{:<14}", "L (false)")?;
    for player in &game.players {
        write!(out, " {:>22}", player.name())?;
    }
    writeln!(out)?;
    for family in &game.families {
        write!(out, "{:<14}", family.name())?;
        for player in &game.players {
            let name = player.name();
            let cell = of(rows, &name).find(|r| r.family == *family).map_or(String::new(), |r| {
                let found: usize = r.scores.iter().map(|s| s.false_restarts).sum();
                let chosen = r.chosen.map_or(String::new(), |s| format!("{s} "));
                format!("{chosen}{:.0} ({found})", mean(&r.scores, |s| s.loss))
            });
            write!(out, " {cell:>22}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The JSON document.
#[derive(Serialize)]
struct Document {
    version: u32,
    days: u32,
    seeds: [u64; 2],
    results: Vec<Entry>,
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

impl Document {
    fn of(game: &Match, rows: &[Row]) -> Document {
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
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
            runs_in_budget: r.scores.iter().filter(|s| s.false_restarts <= arena::allowed(s.pod_years)).count(),
        };
        Document {
            version: 1,
            days: game.days,
            seeds: [game.seeds.0, game.seeds.1],
            results: rows.iter().map(entry).collect(),
        }
    }
}
