//! The policy table: the engine and fixed numbers, family by family, on the same seeds.
//!
//! The engine plays through its public face only: facts in, plan out. Every player meets the same stalls; what they
//! cost is summed up by the simulator's own truth.

use super::drive::{self, Scene};
use super::kinds::{Kept, Kinds};
use super::rival::{self, Rival};
use crate::change::{Intent, Outcome};
use crate::engine::Rules;
use crate::probe::Settings;
use crate::sim::{Family, Fleet, Losses, MONDAY, Numbers, Pause, Setup, World, carrying_cost};
use crate::units::{Span, Timestamp};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Who plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Player {
    /// These liveness numbers from the beginning to the end; other probes keep their owner's.
    Fixed(Settings),
    /// These numbers for all kinds of probes that there are, from the beginning to the end.
    All(Numbers),
    /// The owner's numbers, from the beginning to the end.
    Owner,
    /// The engine, beginning with these numbers, or with the workload's own.
    Engine(Option<Settings>),
    /// Somebody else's rule, beginning with the workload's own numbers.
    Rival(Rival),
    /// The cheapest fixed numbers of each family, chosen when all is over.
    Hindsight,
}

impl Player {
    /// Its name in tables and flags.
    pub fn name(&self) -> String {
        match self {
            Player::Fixed(s) if *s == Settings::KUBERNETES_DEFAULT => "kubernetes-default".into(),
            Player::Fixed(s) => s.to_string(),
            Player::All(n) => n.declared().map(|(_, s)| s.to_string()).collect::<Vec<_>>().join("+"),
            Player::Owner => "owner".into(),
            Player::Engine(None) => "probe-tuner".into(),
            Player::Engine(Some(s)) => format!("probe-tuner@{s}"),
            Player::Rival(rival) => rival.name().into(),
            Player::Hindsight => "hindsight".into(),
        }
    }

    /// The player of this name.
    ///
    /// # Errors
    /// Says what was found and which names there are.
    pub fn parse(name: &str) -> Result<Player, String> {
        match name {
            "probe-tuner" => Ok(Player::Engine(None)),
            "kubernetes-default" => Ok(Player::Fixed(Settings::KUBERNETES_DEFAULT)),
            "hindsight" => Ok(Player::Hindsight),
            "owner" => Ok(Player::Owner),
            "advised" => "10/5/3".parse().map(Player::Fixed),
            "even" => "10/10/2".parse().map(Player::Fixed),
            _ => match (Rival::parse(name), name.strip_prefix("probe-tuner@")) {
                (Some(rival), _) => Ok(Player::Rival(rival)),
                (_, Some(start)) => start.parse().map(|s| Player::Engine(Some(s))),
                _ if name.contains('+') => of_all_kinds(name).map(Player::All),
                _ => name.parse().map(Player::Fixed),
            }
            .map_err(|_| {
                format!(
                    "{name:?} is no policy; write kubernetes-default, advised, even, load-rule, p99-margin, jacobson, \
                     phi-accrual, lifeguard, hindsight, owner, probe-tuner, probe-tuner@P/T/K or P/T/K, whole numbers from 1 on, as \
                     \"10/12/2\"; or P/T/K of liveness, readiness and startup, as \"10/12/2+5/6/2+5/1/40\""
                )
            }),
        }
    }
}

/// Numbers of liveness, readiness and startup, with a plus between.
fn of_all_kinds(text: &str) -> Result<Numbers, String> {
    let each = text.split('+').map(str::parse).collect::<Result<Vec<Settings>, _>>()?;
    match each[..] {
        [liveness, readiness, startup] => Ok(Numbers { liveness, readiness: Some(readiness), startup: Some(startup) }),
        _ => Err(format!("{text:?} is not of three kinds")),
    }
}

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Match {
    /// The families.
    pub families: Vec<Family>,
    /// The players.
    pub players: Vec<Player>,
    /// The seeds: first and last.
    pub seeds: (u64, u64),
    /// How many days.
    pub days: u32,
    /// What is lost between the clusters and who listens to them.
    pub losses: Losses,
    /// How many threads; the table does not depend on it.
    pub threads: usize,
}

/// How one run ended. Losses in pod-seconds a pod-year.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Expected loss L.
    pub loss: f64,
    /// L of the second half of the days alone.
    pub second_half: f64,
    /// The part of L that is neither false restarts nor rollouts.
    pub carrying: f64,
    /// False restarts.
    pub false_restarts: usize,
    /// Pod-years lived.
    pub pod_years: f64,
    /// Own rollouts.
    pub own_rollouts: usize,
    /// What readiness and startup did; nothing where there is neither.
    pub kinds: Kinds,
}

impl Score {
    /// Whether a budget of one false restart a pod-year was kept.
    pub fn in_budget(&self) -> bool {
        self.false_restarts <= allowed(self.pod_years)
    }
}

/// The scores of one player in one family, one per seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The player's name.
    pub policy: String,
    /// The family.
    pub family: Family,
    /// In the order of seeds.
    pub scores: Vec<Score>,
    /// What hindsight chose.
    pub chosen: Option<Settings>,
}

/// Pods of each run.
const REPLICAS: u32 = 5;

/// The fixed settings among which hindsight chooses: the estimator's own grid and the shortest that are sensible.
fn hindsight_grid() -> Vec<Settings> {
    let mut grid = Vec::new();
    for period in [5, 7, 10] {
        for timeout in [3, 5, 7, 10, 12, 15, 20, 30] {
            grid.extend([2, 3].into_iter().filter_map(|k| Settings::new(period, timeout, k)));
        }
    }
    grid
}

/// Plays the match. Rows come by player, then by family, as asked; `played` is called after each run with how many are
/// done and how many there are, the search in hindsight of a family being one.
pub fn play(game: &Match, played: &(dyn Fn(usize, usize) + Sync)) -> Vec<Row> {
    let seeds: Vec<u64> = (game.seeds.0..=game.seeds.1).collect();
    let (mut table, mut jobs) = (Vec::new(), Vec::new());
    for player in &game.players {
        for &family in &game.families {
            let each = if *player == Player::Hindsight { seeds.len() } else { 1 };
            jobs.extend(seeds.chunks(each).map(|seeds| (table.len(), player, family, seeds)));
            table.push(Row { policy: player.name(), family, scores: Vec::new(), chosen: None });
        }
    }
    let outcomes = in_parallel(&jobs, game.threads, played, |(_, player, family, seeds)| match player {
        Player::Hindsight => hindsight(*family, seeds, game),
        _ => (None, seeds.iter().map(|seed| run(player, *family, *seed, game)).collect()),
    });
    for ((row, ..), (chosen, scores)) in jobs.iter().zip(outcomes) {
        table[*row].chosen = chosen;
        table[*row].scores.extend(scores);
    }
    table
}

/// The fixed numbers of least mean loss over these seeds. The carrying cost of numbers bounds their loss from below, so
/// that most need not be played to the end.
fn hindsight(family: Family, seeds: &[u64], game: &Match) -> (Option<Settings>, Vec<Score>) {
    let carrying = |s| seeds.iter().map(|seed| carrying_cost(s, family.nature(*seed).handler)).sum::<f64>();
    let mut grid: Vec<(f64, Settings)> = hindsight_grid().into_iter().map(|s| (carrying(s), s)).collect();
    grid.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut least, mut best) = (f64::INFINITY, (None, Vec::new()));
    for (carrying, settings) in grid {
        // The least that the mean can still become.
        let (mut sum, mut scores) = (carrying, Vec::new());
        for seed in seeds {
            if sum >= least {
                break;
            }
            let score = run(&Player::Fixed(settings), family, *seed, game);
            sum += score.loss - carrying_cost(settings, family.nature(*seed).handler);
            scores.push(score);
        }
        if sum < least {
            (least, best) = (sum, (Some(settings), scores));
        }
    }
    best
}

/// The mean of something over scores; 0 of none.
pub fn mean(scores: &[Score], of: impl Fn(&Score) -> f64) -> f64 {
    if scores.is_empty() { 0.0 } else { scores.iter().map(of).sum::<f64>() / scores.len() as f64 }
}

/// Does jobs on several threads; the answers stand in the order of the jobs, whoever did them.
fn in_parallel<J: Sync, R: Send + Clone + Default>(
    jobs: &[J],
    threads: usize,
    done: &(dyn Fn(usize, usize) + Sync),
    work: impl Fn(&J) -> R + Sync,
) -> Vec<R> {
    let answers = Mutex::new(vec![R::default(); jobs.len()]);
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some((i, job)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, jobs.get(i)?)))
                {
                    let answer = work(job);
                    answers.lock().unwrap_or_else(PoisonError::into_inner)[i] = answer;
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
                }
            });
        }
    });
    answers.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One run of one player.
fn run(player: &Player, family: Family, seed: u64, game: &Match) -> Score {
    let days = game.days;
    let mut setup = Setup::new(family, seed, f64::from(days));
    setup.losses = game.losses;
    let end = MONDAY + Span::DAY * i64::from(days);
    match player {
        Player::Fixed(settings) => {
            setup.settings = *settings;
            fixed(setup, end, days)
        }
        Player::All(numbers) => {
            setup.settings = numbers.liveness;
            setup.readiness = setup.readiness.and(numbers.readiness);
            setup.startup = setup.startup.and(numbers.startup);
            fixed(setup, end, days)
        }
        Player::Owner => fixed(setup, end, days),
        Player::Engine(start) => {
            setup.settings = start.unwrap_or(setup.settings);
            setup.listen = true;
            let mut fleet = Fleet::new(vec![World::new(setup)]);
            // As often as the daemon reads its kubelets: what rides is asked of an engine that knows the last scrape.
            let step = Span::SECOND * 15;
            let mut kept = Kept::default();
            drive::play(&mut fleet, Rules::default(), (MONDAY, end), step, |_, _, fleet, scene| {
                let Some(world) = fleet.worlds().first() else { return };
                match scene {
                    Scene::Rides(_, numbers) => kept.plan(world, world.numbers(), numbers.iter().cloned()),
                    // A way back restores what its owner wrote, whatever that was.
                    Scene::Changed(change, Outcome::Applied { .. }) if change.intent == Intent::Tune => {
                        let from = change.steps.iter().fold(world.numbers(), |n, s| n.with(s.probe.kind, s.from));
                        kept.plan(world, from, change.steps.iter().map(|s| (s.probe.clone(), s.to)));
                    }
                    _ => {}
                }
            });
            let played = fleet.worlds().first().map_or_else(Score::default, |world| score(world, days));
            Score { kinds: Kinds { kept, ..played.kinds }, ..played }
        }
        Player::Rival(rival) => {
            setup.listen = rival.listens();
            let mut world = World::new(setup);
            rival::play(*rival, &mut world, end);
            score(&world, days)
        }
        // Searched over all seeds at once.
        Player::Hindsight => Score::default(),
    }
}

fn fixed(setup: Setup, end: Timestamp, days: u32) -> Score {
    let mut world = World::new(setup);
    while world.advance(end, &mut Vec::new()) == Pause::Rollout {}
    score(&world, days)
}

fn score(world: &World, days: u32) -> Score {
    let (truth, days) = (world.truth(), days as usize);
    Score {
        kinds: Kinds::of(world),
        loss: truth.loss(0, days, REPLICAS),
        second_half: truth.loss(days / 2, days, REPLICAS),
        carrying: truth.carrying(0, days),
        false_restarts: truth.false_restarts.len(),
        pod_years: truth.pod_years(0, days),
        own_rollouts: truth.own_rollouts.len(),
    }
}

/// The most false restarts that a budget of one a pod-year allows in so many pod-years: the 95 % quantile of Poisson.
pub fn allowed(pod_years: f64) -> usize {
    let (mut k, mut term) = (0, (-pod_years).exp());
    let mut sum = term;
    while sum < 0.95 {
        k += 1;
        term *= pod_years / k as f64;
        sum += term;
    }
    k
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_table_does_not_depend_on_the_number_of_threads() {
        let game = |threads| Match {
            families: vec![Family::Light, Family::Noisy],
            players: vec![Player::Fixed("10/10/2".parse().unwrap()), Player::Engine(None)],
            seeds: (1, 2),
            days: 2,
            losses: Losses::USUAL,
            threads,
        };
        assert_eq!(play(&game(1), &|_, _| {}), play(&game(3), &|_, _| {}));
    }

    #[test]
    fn hindsight_finds_what_playing_everything_to_the_end_finds() {
        let game = Match {
            families: vec![Family::Noisy],
            players: vec![Player::Hindsight],
            seeds: (1, 2),
            days: 7,
            losses: Losses::default(),
            threads: 1,
        };
        let everything = Match { players: hindsight_grid().into_iter().map(Player::Fixed).collect(), ..game.clone() };
        let rows = play(&everything, &|_, _| {});
        let least = rows.iter().map(|r| mean(&r.scores, |s| s.loss)).fold(f64::INFINITY, f64::min);
        let found = play(&game, &|_, _| {});
        assert!((mean(&found[0].scores, |s| s.loss) - least).abs() < 1e-6 * least);
        let chosen = rows.iter().find(|r| Some(&r.policy) == found[0].chosen.map(|s| s.to_string()).as_ref()).unwrap();
        assert_eq!(chosen.scores, found[0].scores);
    }

    #[test]
    fn two_false_restarts_are_within_budget_in_28_days_of_five_pods_and_five_in_182() {
        assert_eq!(allowed(5.0 * 28.0 / 365.0), 2);
        assert_eq!(allowed(5.0 * 182.0 / 365.0), 5);
    }

    #[test]
    fn every_player_is_found_by_its_name() {
        for name in [
            "kubernetes-default",
            "10/12/2",
            "load-rule",
            "p99-margin",
            "jacobson",
            "phi-accrual",
            "lifeguard",
            "hindsight",
            "probe-tuner",
            "probe-tuner@10/12/2",
            "owner",
            "10/12/2+5/6/2+5/1/40",
        ] {
            assert_eq!(Player::parse(name).unwrap().name(), name);
        }
        assert!(Player::parse("best").unwrap_err().contains("\"10/12/2\""));
    }
}
