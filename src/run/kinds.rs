//! What readiness and startup probes did in a run, and whether the engine's plans kept what must always hold of them.

use super::arena::{Match, Row};
use crate::probe::{ProbeKind, Settings};
use crate::sim::{Family, Numbers, World};
use crate::units::{Span, Timestamp};
use crate::workload::ProbeId;
use std::fmt::Write;

/// What was asked of every plan, and how often it did not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    /// Plans with another number in them.
    pub plans: usize,
    /// After it readiness was not at least twice as quick with silence, and as quick with refusals, as liveness.
    pub not_sooner: usize,
    /// It loosened readiness though no pod had ever been removed alone.
    pub loosened_for_all: usize,
    /// It made a startup budget smaller than 1.2 times the longest start.
    pub below_longest: usize,
}

impl Kept {
    /// Takes note of a plan: the numbers before it, and those that it changes.
    pub(super) fn plan(&mut self, world: &World, from: Numbers, steps: impl Iterator<Item = (ProbeId, Settings)>) {
        let to = steps.fold(from, |n, (id, s)| n.with(id.kind, s));
        if to == from {
            return;
        }
        self.plans += 1;
        if let Some(readiness) = to.readiness {
            let sooner = 2 * readiness.stall_tolerance() <= to.liveness.stall_tolerance()
                && readiness.refusal_tolerance() <= to.liveness.refusal_tolerance();
            self.not_sooner += usize::from(!sooner);
            let looser = from.readiness.is_some_and(|r| readiness.stall_tolerance() > r.stall_tolerance());
            self.loosened_for_all += usize::from(looser && world.truth().removed().0 == 0);
        }
        if let (Some(before), Some(after)) = (from.startup.map(budget), to.startup.map(budget)) {
            self.below_longest += usize::from(after < before && after < 1.2 * world.truth().longest_start);
        }
    }

    fn broken(&self) -> usize {
        self.not_sooner + self.loosened_for_all + self.below_longest
    }
}

/// How long a startup probe lets a container take, in seconds: `K·P`.
fn budget(s: Settings) -> f64 {
    f64::from(s.threshold()) * f64::from(s.period())
}

/// What readiness and startup did in one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kinds {
    /// The numbers at its end.
    pub last: Option<Numbers>,
    /// Healthy pods taken out of service alone, and several at once.
    pub removals: (usize, usize),
    /// Pod-seconds in which a healthy pod was out of service.
    pub unready: f64,
    /// True faults that took a pod out of service, and the sum of how long each took to, in seconds.
    pub out_of_service: (usize, f64),
    /// Containers begun, and those of them that their startup probe killed in health: in the first half of the days, and
    /// in the second.
    pub starts: [(usize, usize); 2],
    /// Pods that became ready, the sum of how long each was missing, in seconds, and the longest.
    pub missing: (usize, f64, f64),
    /// What 99 of 100 starts stay below at the end of the run, in seconds; 0 without a startup probe.
    pub p99: f64,
    /// What was asked of every plan.
    pub kept: Kept,
}

impl Kinds {
    /// Of a run that is over.
    pub(super) fn of(world: &World) -> Kinds {
        let (setup, truth) = (world.setup(), world.truth());
        if setup.readiness.is_none() && setup.startup.is_none() {
            return Kinds::default();
        }
        let seconds = |spans: &mut dyn Iterator<Item = Span>| spans.map(Span::as_secs_f64).fold(0.0, |sum, s| sum + s);
        let days = world.now().since(setup.start).as_days_f64();
        let middle = setup.start + Span::round_from_secs_f64(days * 43_200.0);
        let begun = |second: bool| {
            let count = |all: &mut dyn Iterator<Item = Timestamp>| all.filter(|at| (*at >= middle) == second).count();
            let kills = count(&mut truth.startup_kills.iter().map(|(at, _)| *at));
            (count(&mut truth.starts.iter().map(|(at, _)| *at)), kills)
        };
        let growth = 1.0 + setup.nature.growth * days;
        let p99 = setup.startup.and_then(|_| setup.nature.start.quantile(0.99)).map_or(0.0, |q| q * growth);
        let longest = truth.missing.iter().max().map_or(0.0, |s| s.as_secs_f64());
        Kinds {
            last: Some(world.numbers()),
            removals: truth.removed(),
            unready: seconds(&mut truth.removals.iter().map(|r| r.lasted.unwrap_or(world.now().since(r.at)))),
            out_of_service: (truth.out_of_service.len(), seconds(&mut truth.out_of_service.iter().map(|d| d.after))),
            starts: [begun(false), begun(true)],
            missing: (truth.missing.len(), seconds(&mut truth.missing.iter().copied()), longest),
            p99,
            kept: Kept::default(),
        }
    }

    /// The startup budget at the end over what 99 of 100 starts need then.
    fn budget(&self) -> Option<f64> {
        self.last?.startup.map(|s| budget(s) / self.p99)
    }
}

/// Pod-seconds in a pod-week, and pod-weeks in a pod-year.
const WEEK: f64 = 7.0 * 86_400.0;
const WEEKS: f64 = 365.0 / 7.0;

/// For people: one block a family; empty where no family has more than a liveness probe.
pub fn table(game: &Match, rows: &[Row]) -> String {
    let mut out = String::new();
    let families: Vec<Family> = game.families.iter().copied().filter(|f| Family::KINDS.contains(f)).collect();
    if !families.is_empty() {
        // Writing to a string cannot fail.
        write_table(&families, rows, &mut out).unwrap_or_default();
    }
    out
}

fn write_table(families: &[Family], rows: &[Row], out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\nReadiness: healthy pods taken out of service a pod-week, alone and several within five minutes; share of time so;\nseconds \
         until a true fault is out of service. Startup: of the containers begun, those that it killed in health, in\neach \
         half of the days; budget K·P at the end over what 99 of 100 starts then need. Missing: seconds until a pod is\nready \
         again, mean and longest. Broken: plans of ours that left readiness not sooner than liveness, loosened \
         it though no\npod was ever removed alone, or made startup shorter than 1.2 times the longest start. Numbers: of \
         the first seed at its\nend.\n"
    )?;
    for family in families {
        let (name, of) = (family.name(), |row: &&Row| row.family == *family);
        writeln!(
            out,
            "{name:<23} {:>12} {:>8} {:>7} {:>10} {:>6} {:>13} {:>9}  numbers",
            "removed/week", "unready", "out, s", "cut off", "budget", "missing, s", "broken"
        )?;
        for row in rows.iter().filter(of) {
            writeln!(out, "{}", line(row))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn line(row: &Row) -> String {
    let all: Vec<Kinds> = row.scores.iter().map(|s| s.kinds).collect();
    let weeks = row.scores.iter().map(|s| s.pod_years).sum::<f64>() * WEEKS;
    let total = |f: &dyn Fn(&Kinds) -> f64| all.iter().map(f).fold(0.0, |sum, x| sum + x);
    let last = all.first().and_then(|k| k.last);
    let has = |kind: ProbeKind| last.is_some_and(|n| n.of(kind).is_some());
    let or_dash = |kind, text: String| if has(kind) { text } else { "-".into() };
    let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
    let (alone, together) = (total(&|k| k.removals.0 as f64) / weeks, total(&|k| k.removals.1 as f64) / weeks);
    let out = share(total(&|k| k.out_of_service.1), total(&|k| k.out_of_service.0 as f64));
    let cut = [0, 1]
        .map(|half: usize| 100.0 * share(total(&|k| k.starts[half].1 as f64), total(&|k| k.starts[half].0 as f64)));
    let budget = share(total(&|k| k.budget().unwrap_or(0.0)), all.len() as f64);
    let missing = share(total(&|k| k.missing.1), total(&|k| k.missing.0 as f64));
    let longest = all.iter().map(|k| k.missing.2).fold(0.0, f64::max);
    let kept = all.iter().map(|k| k.kept).fold((0, 0), |(plans, broken), k| (plans + k.plans, broken + k.broken()));
    let numbers =
        last.map_or(String::new(), |n| n.declared().map(|(_, s)| s.to_string()).collect::<Vec<_>>().join(" "));
    format!(
        "{:<23} {:>12} {:>8} {:>7} {:>10} {:>6} {:>13} {:>9}  {numbers}",
        row.policy,
        or_dash(ProbeKind::Readiness, format!("{alone:.2} + {together:.2}")),
        or_dash(ProbeKind::Readiness, format!("{:.3} %", 100.0 * total(&|k| k.unready) / (weeks * WEEK))),
        or_dash(ProbeKind::Readiness, format!("{out:.0}")),
        or_dash(ProbeKind::Startup, format!("{:.0} / {:.0} %", cut[0], cut[1])),
        or_dash(ProbeKind::Startup, format!("{budget:.2}")),
        format!("{missing:.0} / {longest:.0}"),
        format!("{} of {}", kept.1, kept.0),
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::run::arena::{Player, play};
    use crate::sim::Losses;

    fn game(families: &[Family], players: &[&str]) -> Match {
        Match {
            families: families.to_vec(),
            players: players.iter().map(|p| Player::parse(p).unwrap()).collect(),
            seeds: (1, 2),
            days: 3,
            losses: Losses::default(),
            threads: 2,
        }
    }

    #[test]
    fn families_with_liveness_alone_have_no_table() {
        let game = game(&[Family::Light], &["10/12/2"]);
        let rows = play(&game, &|_, _| {});
        assert_eq!((table(&game, &rows), rows[0].scores[0].kinds), (String::new(), Kinds::default()));
    }

    #[test]
    fn every_plan_keeps_what_must_always_hold_and_the_table_fits_120_columns() {
        let game = game(&Family::KINDS, &["owner", "10/12/2+5/6/2+15/1/10", "probe-tuner"]);
        let rows = play(&game, &|_, _| {});
        let text = table(&game, &rows);
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        let kept = rows.iter().flat_map(|r| &r.scores).map(|s| s.kinds.kept);
        assert!(kept.clone().map(|k| k.plans).sum::<usize>() >= 8);
        assert!(kept.into_iter().all(|k| k.broken() == 0), "{text}");
        // What nobody changes is at the end what it was.
        assert!(text.contains("10/12/2 5/6/2 15/1/10"), "{text}");
    }

    #[test]
    fn a_plan_that_leaves_readiness_as_patient_as_liveness_is_counted() {
        let world = World::new(crate::sim::Setup::new(Family::Unready, 1, 1.0));
        let mut kept = Kept::default();
        let step = |kind, to: &str| (ProbeId { container: "app".into(), kind }, to.parse().unwrap());
        kept.plan(&world, world.numbers(), [step(ProbeKind::Liveness, "10/12/2")].into_iter());
        assert_eq!((kept.plans, kept.not_sooner), (1, 1));
        let both = [step(ProbeKind::Liveness, "10/12/2"), step(ProbeKind::Readiness, "5/6/2")];
        kept.plan(&world, world.numbers(), both.into_iter());
        assert_eq!((kept.plans, kept.not_sooner, kept.loosened_for_all), (2, 1, 0));
    }
}
