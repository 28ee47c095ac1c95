//! `sim`: the policy table.

use super::{Console, Exit, Failure, Problem};
use crate::run::arena::{self, Match, Player};
use crate::run::kinds;
use crate::run::policy_table::{self, Document};
use crate::sim::{Family, Losses};
use clap::ValueEnum;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

const HELP: &str = "Families, each a kind of workload (src/sim/family.rs):
  tuned      light gc cfs diurnal noisy coldstart leak brownout eventloop flat execslow shift blips;
             the policy was tuned on them
  held-out   release weekly flakydep; written down before any result was seen
  last-look  reclaim nightlybatch hotkey; played for the published table only
  kinds      slowstart crampedstart unready everykind; with readiness and startup probes besides
  all        the first three groups
  wild       each seed another kind of workload, drawn by chance, that nobody chose

Policies:
  owner                as its owner wrote them; numbers with a name: kubernetes-default (10/1/3),
                       advised (10/5/3), even (10/10/2)
  load-rule p99-margin jacobson phi-accrual lifeguard
                       rules that others have published, with their usual constants
  probe-tuner          the engine, from the owner's numbers on; probe-tuner@P/T/K: from those on
  hindsight            the best fixed numbers of each family; takes as long as all others together

The defaults are 676 runs of 28 days, about a minute on two cores.
docs/reference/policy-table.md says how to read the tables, and shows them for 20 seeds.

Examples:
  probe-tuner sim --families gc --seeds 1                a first look, in seconds
  probe-tuner sim --families gc,noisy --days 182         half a year of two families
  probe-tuner sim --policy 10/10/2,probe-tuner@10/12/2   who plays
  probe-tuner sim --losses --policy even,probe-tuner     a cluster that loses scrapes and events
  probe-tuner sim --families kinds --policy owner,probe-tuner
  probe-tuner sim --families held-out -o json            for other programs";

/// What the policy is measured against: families of simulated workloads, fixed seeds, every player on the same stalls.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Families of workloads, by name or in groups; both are listed below
    #[arg(long, value_delimiter = ',', value_name = "NAME", default_value = "tuned")]
    families: Vec<String>,
    /// Who plays: fixed numbers P/T/K (period, timeout, failures in a row) of liveness, or of all three kinds with a plus
    /// between (liveness+readiness+startup); rules and the engine are listed below
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "NAME",
        default_value = "kubernetes-default,advised,10/10/2,10/12/2,10/15/2,load-rule,p99-margin,jacobson,phi-accrual,\
                         lifeguard,probe-tuner@10/12/2,probe-tuner@10/15/2,probe-tuner"
    )]
    policy: Vec<String>,
    /// First and last seed. Stalls, faults and users' rollouts of a run are drawn from its seed, the same for every policy:
    /// each policy plays each family once a seed, and more seeds make the figures surer
    #[arg(long, value_name = "A-B", default_value = "1000-1003")]
    seeds: String,
    /// Days of each run
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = clap::value_parser!(u32).range(2..=730))]
    days: u32,
    /// Lose 2 % of the scrapes and 20 % of the events, and restart each kubelet once a week
    #[arg(long)]
    losses: bool,
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
        Format::Table => {
            write!(console.out, "{}{}", policy_table::table(&game, &rows), kinds::table(&game, &rows))?;
        }
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
            "kinds" => families.extend(Family::KINDS),
            "all" => families.extend(Family::all()),
            _ => match Family::parse(name) {
                Some(family) => families.push(family),
                None => {
                    let names: Vec<&str> = Family::all().chain(Family::KINDS).map(Family::name).collect();
                    problems.push(Problem::new(format!("--families {name:?}: no such family")).hint(format!(
                        "write tuned, held-out, last-look, kinds, all, wild, or of {}",
                        names.join(", ")
                    )));
                }
            },
        }
    }
    // Each plays once, however often it is named.
    let mut known = BTreeSet::new();
    families.retain(|family| known.insert(family.name()));
    let mut players = Vec::new();
    for name in &args.policy {
        match Player::parse(name) {
            Ok(player) if players.contains(&player) => {}
            Ok(player) => players.push(player),
            Err(why) => problems.push(Problem::new(format!("--policy: {why}"))),
        }
    }
    let seeds = args.seeds.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let seeds = seeds.or_else(|| args.seeds.parse().ok().map(|one| (one, one)));
    if seeds.is_none_or(|(a, b): (u64, u64)| a > b || b - a >= 10_000) {
        problems.push(
            Problem::new(format!("--seeds {:?}: no range of at most 10,000 seeds", args.seeds))
                .hint("write the first and the last, as \"1000-1023\", or one alone, as \"7\""),
        );
    }
    match seeds {
        Some(seeds) if problems.is_empty() => Ok(Match {
            families,
            players,
            seeds,
            days: args.days,
            losses: if args.losses { Losses::USUAL } else { Losses::default() },
            threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get())),
        }),
        _ => Err(Failure::unreadable(problems)),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_help_names_every_family_in_its_group() {
        let all = |families: &[Family]| families.iter().map(|f| f.name()).collect::<Vec<_>>().join(" ");
        for (group, families) in [
            ("tuned", all(&Family::TUNED)),
            ("held-out", all(&Family::HELD_OUT)),
            ("last-look", all(&Family::LAST_LOOK)),
            ("kinds", all(&Family::KINDS)),
        ] {
            assert!(HELP.contains(&format!("\n  {group:<10} {families};")), "{group}: {families}");
        }
        assert!(HELP.lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn whoever_is_named_twice_plays_once() {
        #[derive(clap::Parser)]
        struct Sim {
            #[command(flatten)]
            args: Args,
        }
        let line = ["sim", "--families", "leak,held-out,leak,release", "--policy", "even,10/10/2,advised"];
        let game = read(&<Sim as clap::Parser>::parse_from(line).args).ok().unwrap();
        let names: Vec<&str> = game.families.iter().map(|f| f.name()).collect();
        assert_eq!(names, ["leak", "release", "weekly", "flakydep"]);
        let names: Vec<String> = game.players.iter().map(Player::name).collect();
        assert_eq!(names, ["10/10/2", "10/5/3"]);
    }
}
