//! What a replay says, held to figures worked by hand and to a plain reading of the rules.
#![expect(clippy::unwrap_used, reason = "tests")]

use probe_tuner::probe::{Answer, ProbeKind, Prober, Settings, Verdict};
use probe_tuner::record::{Columns, Load, Row, Trace, read};
use probe_tuner::replay::{Change, Figures, Kind, Options, Play, Policy, Scrape, json, replay, table};
use probe_tuner::run::replay::OnTrace;
use probe_tuner::units::{NANOS, PerPodYear, Span, Timestamp};
use proptest::prelude::*;

#[path = "support/plain_replay.rs"]
mod plain;

fn settings(text: &str) -> Settings {
    text.parse().unwrap()
}

fn figures(trace: &Trace, play: Play, options: &Options) -> Figures {
    replay(trace, &[], &[play], options, None).remove(0).outcome.unwrap()
}

fn fixed(trace: &Trace, numbers: &str, options: &Options) -> Figures {
    figures(trace, Play::Fixed(settings(numbers)), options)
}

fn csv(rows: &str) -> Trace {
    read(format!("t_s,latency_ms,ok,node_cpu\n{rows}").as_bytes()).unwrap()
}

fn shared(name: &str) -> Trace {
    read(&std::fs::read(format!("{}/tests/data/traces/{name}.csv", env!("CARGO_MANIFEST_DIR"))).unwrap()).unwrap()
}

const SHARED: [&str; 7] = [
    "gunicorn-sync-diurnal",
    "java-gc-step",
    "nginx-throttle-bursts",
    "node-eventloop-bursts",
    "node-noisy-neighbour",
    "postgres-exec-diurnal",
    "redis-exec-step",
];

#[test]
fn a_small_trace_gives_the_figures_worked_by_hand() {
    // One phase of 10/1/3, healthy in 100 ms but for the rows from 20 to 45 (no answer), 50 s long, restart 5 s.
    //
    //   0 ok, 10 ok, 20 fails at 21, 30 fails at 31, 40 fails at 41: restart, up at 46, next tick 50: ok.
    //   6 checks, 3 failed, 1 restart. Unready, without a restart: from 41 to the end of the next success, 50.1; the
    //   trace ends at 50: 9 s.
    //
    // Hang at m = 0.025, 0.075, …, 49.975 (20 moments a second):
    //   up to 20: the next tick t, verdict t + 21. In (20, 41]: failures so far count, verdict at 41: first the checks at
    //   30 and 40, then 40 alone, then (from 40 on) the one in flight. Until 50 the next check is at 50: 71.
    //   Mean: (0,10]: 31−5 = 26. (10,20]: 26. (20,41]: 21/2 = 10.5. (41,50]: 71−45.5 = 25.5.
    //   (200·26 + 200·26 + 420·10.5 + 180·25.5)/1000 = 19.4. Largest 31 − 0.025 = 30.975.
    //   p99 (990th smallest, so the 11th largest of 30.975, 30.975, 30.925, 30.925, …): 30.725.
    //   p50: of each span: 31−10u and so on; by count it is 20.475.
    // Crash: up to 20 the next tick, verdict t + 20. In (20, 30]: 30 and 40 refuse, verdict 40 (failed: 20). In (30, 40]:
    //   40 refuses: 40. In (40, 41]: the one in flight: 41. Until 50: 50 + 20.
    let trace = csv("0,100,1,\n20,,0,\n45,100,1,\n50,100,1,\n");
    let options = Options { phases: 1, restart_takes: Span::from_seconds(5), ..Options::default() };
    let results = replay(&trace, &[], &[Play::Fixed(settings("10/1/3"))], &options, None);
    let hang: Vec<f64> = moments(50.0).map(|m| hand_hang(m) - m).collect();
    let crash: Vec<f64> = moments(50.0).map(|m| hand_crash(m) - m).collect();
    let (hang, crash) = (of(hang), of(crash));
    assert_eq!(
        json(&[("hand.csv".to_owned(), results)]),
        format!(
            concat!(
                r#"{{"version":1,"results":[{{"trace":"hand.csv","policy":"10/1/3","seconds":50.0,"phases":1,"#,
                r#""settings":[{{"at_s":0.0,"period":10,"timeout":1,"threshold":3,"why":"as given"}}],"#,
                r#""checks":6,"failed":3,"false_restarts":1,"false_unready_s":9.0,"#,
                r#""hang_s":{},"crash_s":{},"rollouts":0}}]}}"#
            ),
            hang, crash
        )
    );
    assert!(hang.starts_with(r#"{"mean":19.4,"#) && hang.ends_with(r#""p99":30.725,"max":30.975}"#), "{hang}");
}

fn moments(seconds: f64) -> impl Iterator<Item = f64> {
    (0..1000).map(move |j| (f64::from(j) + 0.5) * seconds / 1000.0)
}

fn hand_hang(m: f64) -> f64 {
    match m {
        m if m <= 20.0 => (m / 10.0).ceil() * 10.0 + 21.0,
        m if m <= 41.0 => 41.0,
        _ => 71.0,
    }
}

fn hand_crash(m: f64) -> f64 {
    match m {
        m if m <= 20.0 => (m / 10.0).ceil() * 10.0 + 20.0,
        m if m <= 40.0 => 40.0,
        m if m <= 41.0 => 41.0,
        _ => 70.0,
    }
}

fn of(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let ms = |x: f64| (x * 1e3).round() / 1e3;
    let mean = ms(times.iter().sum::<f64>() / times.len() as f64);
    let (p50, p99, max) = (ms(times[499]), ms(times[989]), ms(times[999]));
    format!(r#"{{"mean":{mean:?},"p50":{p50:?},"p99":{p99:?},"max":{max:?}}}"#)
}

#[test]
fn a_hang_under_a_timeout_above_the_period_is_found_as_in_the_worked_example() {
    // Policy, worked example 13: P = 5, T = 15, K = 2, checks on 0, 5, 10, …; a hang at 12 is asked at 15, fails at 30,
    // asked at once, restart at 45. The longest wait is from just after a check: 5 + 30.
    let trace = csv("0,3,1,\n1000,3,1,\n");
    let f = fixed(&trace, "5/15/2", &Options { phases: 1, ..Options::default() });
    // Moments 0.5, 1.5, …: 0.5 waits for 5 and then 30.
    assert_eq!(f.hang.max, Span::from_millis(34_500));
    assert_eq!(f.hang.mean, Span::from_millis(32_500));
    assert_eq!(f.crash.max, Span::from_millis(9_500));
    assert_eq!((f.checks, f.failed, f.false_restarts), (201, 0, 0));
}

#[test]
fn a_quiet_trace_has_the_means_of_theory() {
    // 10/1/3: hang 26, crash 25; moments and phases together cover the period evenly.
    let f = fixed(&csv("0,3,1,\n1000,3,1,\n"), "10/1/3", &Options::default());
    assert_eq!(f.hang.mean, Span::from_millis(26_000));
    assert_eq!(f.crash.mean, Span::from_millis(25_000));
    // 100 checks each, and phase 0 one more at 1000.
    assert_eq!((f.checks, f.failed, f.false_restarts, f.false_unready), (1001, 0, 0, Span::ZERO));
}

#[test]
fn a_latency_at_the_timeout_passes_and_one_beyond_fails() {
    let one = Options { phases: 1, ..Options::default() };
    assert_eq!(fixed(&csv("0,1000,1,\n50,1000,1,\n"), "10/1/9", &one).failed, 0);
    assert_eq!(fixed(&csv("0,1000.000001,1,\n50,3,1,\n"), "10/1/9", &one).failed, 5);
    assert_eq!(fixed(&csv("0,3,0,\n50,3,1,\n"), "10/1/9", &one).failed, 5);
}

#[test]
fn before_its_first_row_a_trace_shows_that_row() {
    let one = Options { phases: 1, ..Options::default() };
    assert_eq!(fixed(&csv("25,,0,\n26,3,1,\n50,3,1,\n"), "10/1/9", &one).failed, 3);
    // Of several rows of one moment the last is seen, but before it the very first.
    assert_eq!(fixed(&csv("25,,0,\n25,3,1,\n50,3,1,\n"), "5/1/9", &one).failed, 5);
}

#[test]
fn a_restart_under_way_at_a_fault_stays_under_way() {
    // 1/1/1: the check at 10 fails at once; down until 30. Hangs from then on are asked at 30, found at 31.
    let trace = csv("0,3,1,\n10,0,0,\n11,3,1,\n40,3,1,\n");
    let f = fixed(&trace, "1/1/1", &Options { phases: 1, ..Options::default() });
    assert_eq!((f.false_restarts, f.checks), (1, 11 + 11));
    // The first moment after 10, 10.02, is found at 31.
    assert_eq!(f.hang.max, Span::from_millis(20_980));
}

#[test]
fn the_recorded_traces_have_the_restarts_that_were_counted_elsewhere() {
    // Counted by another program; 10 phases, restart 20 s. It had 1 in the last place of node-eventloop-bursts; the rules
    // as read aloud (`plain`) have 2: with P = T a check that times out ends at a tick, which starts the next.
    for (name, counts) in SHARED.into_iter().zip([
        [5, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 2],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]) {
        let trace = shared(name);
        let numbers = ["10/1/3", "10/5/3", "10/10/2", "10/12/2", "10/15/2", "5/5/2"];
        let got = numbers.map(|n| fixed(&trace, n, &Options::default()).false_restarts);
        assert_eq!(got, counts, "{name}");
    }
}

#[test]
fn the_recorded_traces_have_their_golden_figures() {
    let plays: Vec<Play> = ["10/1/3", "10/10/2", "5/15/2", "1/1/2"].map(|n| Play::Fixed(settings(n))).into();
    let results = SHARED.map(|name| (name.to_owned(), replay(&shared(name), &[], &plays, &Options::default(), None)));
    let got = json(&results).replace("},{\"trace\"", "},\n{\"trace\"") + "\n";
    let path = format!("{}/tests/data/replay-settings.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &got).unwrap();
    }
    assert_eq!(got, std::fs::read_to_string(&path).unwrap(), "UPDATE_GOLDEN=1 writes {path}");
}

#[test]
fn a_policy_without_its_column_is_skipped_with_the_reason() {
    let trace = read(b"t_s,latency_ms,ok\n0,1,1\n60,1,1\n").unwrap();
    let results = replay(&trace, &[], &[Play::Policy(Policy::LoadRule)], &Options::default(), None);
    assert_eq!(
        json(&[("a.csv".to_owned(), results)]),
        r#"{"version":1,"results":[{"trace":"a.csv","policy":"load-rule","seconds":60.0,"phases":10,"skipped":"no node_cpu"}]}"#
    );
}

#[test]
fn the_load_rule_changes_at_fifteen_seconds_by_the_load_before() {
    // 0..15: 0.9; 15..30: 0.8 is not over; 30..45: unknown: no change; 45..60: 0.81.
    let trace = csv("0,3,1,0.9\n15,3,1,0.7\n16,3,1,0.9\n30,3,1,\n45,3,1,0.81\n60,3,1,0\n");
    let f = figures(&trace, Play::Policy(Policy::LoadRule), &Options::default());
    let changes: Vec<(i64, String)> = f.settings.iter().map(|c| (c.at / NANOS, c.settings.to_string())).collect();
    let wanted = [(0, "10/1/3"), (15, "10/3/2"), (30, "5/1/3"), (60, "10/3/2")];
    assert_eq!(changes, wanted.map(|(at, s)| (at, s.to_owned())));
    assert_eq!(f.rollouts(), 3);
}

#[test]
fn the_percentile_policy_takes_a_fifth_more_than_the_99th_of_all_latencies() {
    // 100 latencies of 1…100 × 100 ms and one check without: p99 9.9 s, × 1.2 = 11.88: 12 s.
    let rows: String = (1..=100).map(|i| format!("{i},{},{},\n", i * 100, i % 2)).collect();
    let f = figures(&csv(&format!("{rows}101,,0,\n")), Play::Policy(Policy::P99Margin), &Options::default());
    assert_eq!(f.settings[0].settings, settings("10/12/3"));
    // Exactly 1.2 · 2.5 = 3 is not enough: 4.
    let f = figures(&csv("0,2500,1,\n9,2500,1,\n"), Play::Policy(Policy::P99Margin), &Options::default());
    assert_eq!(f.settings[0].settings, settings("10/4/3"));
}

#[test]
fn hindsight_is_the_cheapest_of_all_numbers_without_a_restart() {
    let options = Options { phases: 3, ..Options::default() };
    for name in ["gunicorn-sync-diurnal", "node-eventloop-bursts"] {
        let trace = shared(name);
        let chosen = figures(&trace, Play::Policy(Policy::Hindsight), &options).settings[0].settings;
        assert_eq!(fixed(&trace, &chosen.to_string(), &options).false_restarts, 0);
        let cost = |s: Settings| {
            let [p, t, k, m] = [s.period(), s.timeout(), s.threshold(), s.spacing()].map(f64::from);
            0.7 * ((k - 1.0) * m + t + p / 2.0) + 0.3 * ((k - 1.0) * p + p / 2.0) + 25.0 / p
        };
        for (p, t, k) in (1..=30).flat_map(|p| (1..=30).flat_map(move |t| (2..=10).map(move |k| (p, t, k)))) {
            let other = Settings::new(p, t, k).unwrap();
            if cost(other) < cost(chosen) - 1e-9 {
                let plain = plain::Run { trace: &trace, phases: 3, takes: 20 * NANOS, kind: Kind::Liveness };
                let changes = [Change { at: 0, settings: other, why: String::new() }];
                assert!((0..3).any(|i| plain.phase(&changes, i, None).restarts > 0), "{name}: {other} is cheaper");
            }
        }
    }
}

#[test]
fn hindsight_takes_the_fewest_restarts_where_none_is_within_the_budget() {
    // Never healthy: the fewest restarts are those of the most patient.
    let trace = csv("0,,0,\n900,,0,\n");
    let f = figures(&trace, Play::Policy(Policy::Hindsight), &Options::default());
    assert!(f.settings[0].why.contains("fewest restarts"), "{}", f.settings[0].why);
    let options = Options::default();
    let most_patient = fixed(&trace, "30/30/10", &options).false_restarts;
    assert_eq!(f.false_restarts, most_patient);
    // A budget that allows every restart takes the cheapest numbers of all.
    let generous = Options { budget: PerPodYear::new(1e9).unwrap(), ..options };
    let f = figures(&trace, Play::Policy(Policy::Hindsight), &generous);
    assert_eq!(f.settings[0].settings, settings("4/1/2"));
}

#[test]
fn a_trace_is_played_end_to_end_for_as_long_as_asked() {
    let trace = csv("0,3,1,\n5,,0,\n6,3,1,\n10,3,1,\n");
    // Steps 5, 1, 4: median 4, so round m starts at 14·m; each round fails once under 1/1/9, at 5.
    let options = Options { phases: 1, lasting: Some(Span::from_seconds(140)), ..Options::default() };
    let f = fixed(&trace, "1/1/9", &options);
    assert_eq!((f.checks, f.failed), (141, 10));
}

#[test]
fn a_round_much_shorter_than_a_period_is_played_in_no_time() {
    // Rounds of two nanoseconds, a day long: the load of 0.9 and 0.7 is 0.8 at every step.
    let trace = csv("0,3,1,0.9\n0.000000001,,0,0.7\n");
    let options = Options { phases: 1, lasting: Some(Span::DAY), ..Options::default() };
    let f = figures(&trace, Play::Policy(Policy::LoadRule), &options);
    assert_eq!((f.checks, f.failed, f.settings.last().unwrap().settings), (17_280, 0, settings("5/1/3")));
}

#[test]
fn a_history_is_shown_to_policies_and_not_counted() {
    let calm = csv("0,10,1,0\n60,10,1,0\n");
    let slow = csv("0,900,1,0\n600,900,1,0\n");
    let play = [Play::Policy(Policy::PhiAccrual), Play::Fixed(settings("10/1/3"))];
    let with = replay(&calm, &[slow], &play, &Options::default(), None);
    let without = replay(&calm, &[], &play, &Options::default(), None);
    let why = |p: &probe_tuner::replay::Played| p.outcome.as_ref().unwrap().settings[1].why.clone();
    assert!(why(&with[0]).contains("last 615 successes"), "{}", why(&with[0]));
    assert!(why(&without[0]).contains("last 15 successes"), "{}", why(&without[0]));
    assert_eq!(with[1], without[1]);
}

#[test]
fn an_engine_is_shown_what_was_scraped_and_its_numbers_are_played() {
    let trace = csv("0,300,1,0.5\n20,1500,1,0.5\n60,300,1,0.5\n");
    let mut shown = Vec::new();
    let mut hook = |scrape: &probe_tuner::replay::Scrape<'_>| {
        shown.push((scrape.at, scrape.settings, scrape.replicas[0]));
        (scrape.at == Span::from_seconds(30)).then(|| (settings("10/3/2"), "slow".to_owned()))
    };
    let options = Options { phases: 1, ..Options::default() };
    let played = replay(&trace, &[], &[Play::Policy(Policy::ProbeTuner)], &options, Some(&mut hook));
    let f = played[0].outcome.as_ref().unwrap();
    assert_eq!((f.rollouts(), f.settings[1].at), (1, 30 * NANOS));
    assert_eq!(shown.iter().map(|s| s.0.floor_seconds()).collect::<Vec<_>>(), [15, 30, 45, 60]);
    // 0 and 10 by 15; 20 timed out by 30; 30 and 40 under the new numbers, 1.5 s each, by 45.
    let (first, second, third) = (shown[0].2, shown[1].2, shown[2].2);
    assert_eq!((first.counters.successful, first.counters.buckets), (2, [0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2]));
    assert_eq!((second.counters.failed, second.timed_out, second.counters.count), (1, 1, 2));
    assert_eq!((third.counters.successful, third.counters.buckets[7], third.counters.buckets[8]), (4, 2, 4));
    assert_eq!(shown[2].1, settings("10/3/2"));
}

#[test]
fn the_engine_that_is_not_there_is_skipped_and_the_others_are_played() {
    let plays = Policy::ALL.map(Play::Policy);
    let results = replay(&shared("java-gc-step"), &[], &plays, &Options::default(), None);
    let skipped: Vec<&str> = results.iter().filter(|p| p.outcome.is_err()).map(|p| p.policy.as_str()).collect();
    assert_eq!(skipped, ["probe-tuner"]);
    let text = table(&[("java-gc-step".to_owned(), results)]);
    assert!(text.contains("  kubernetes-default  10/1/3"), "{text}");
    assert!(text.contains("  probe-tuner         not played: "), "{text}");
}

/// The daemon's engine on a trace.
fn engine(trace: &Trace, history: &[Trace], options: &Options) -> Figures {
    let mut engine = OnTrace::new(options);
    let mut hook = |scrape: &Scrape<'_>| engine.scrape(scrape);
    replay(trace, history, &[Play::Policy(Policy::ProbeTuner)], options, Some(&mut hook)).remove(0).outcome.unwrap()
}

#[test]
fn the_engine_ends_the_false_restarts_of_a_recorded_server_and_says_why() {
    let trace = shared("gunicorn-sync-diurnal");
    let options = Options { lasting: Some(Span::DAY), ..Options::default() };
    let (untouched, tuned) = (fixed(&trace, "10/1/3", &options), engine(&trace, &[], &options));
    assert!(untouched.false_restarts > 500, "{}", untouched.false_restarts);
    assert!(tuned.false_restarts * 100 < untouched.false_restarts, "{}", tuned.false_restarts);
    assert_eq!(tuned.settings[0].settings, settings("10/1/3"));
    assert!(tuned.settings[1].why.contains("by timeout"), "{:?}", tuned.settings);
}

#[test]
fn the_engine_knows_after_a_history_what_it_had_to_learn_without() {
    let trace = shared("gunicorn-sync-diurnal");
    let (new, knowing) =
        (engine(&trace, &[], &Options::default()), engine(&trace, &vec![trace.clone(); 8], &Options::default()));
    assert!(
        knowing.settings.get(1).is_some_and(|c| new.settings.get(1).is_none_or(|n| c.at < n.at)),
        "{:?}",
        knowing.settings
    );
}

#[test]
fn the_same_numbers_give_what_the_model_of_the_kubelet_gives() {
    for name in SHARED {
        let trace = shared(name);
        for numbers in ["10/1/3", "1/1/2", "2/5/2", "5/1/3"].map(settings) {
            let mut restarts = 0;
            for phase in 0..10 {
                let tick = Timestamp::from_nanos(i64::from(phase) * numbers.period_span().nanos() / 10);
                let mut prober = Prober::new(ProbeKind::Liveness, numbers, tick);
                prober.container_started(tick);
                while let Some(start) = prober.next_start().filter(|t| t.since(Timestamp::EPOCH) <= trace.seconds()) {
                    let row = trace.rows().partition_point(|r| r.at <= start.since(Timestamp::EPOCH));
                    let check = prober.ask(trace.rows()[row.saturating_sub(1)].answer).unwrap();
                    if check.verdict == Some(Verdict::Kill) {
                        restarts += 1;
                        prober.container_started(check.end + Span::from_seconds(20));
                    }
                }
            }
            let played = fixed(&trace, &numbers.to_string(), &Options::default());
            assert_eq!(played.false_restarts, restarts, "{name} {numbers}");
        }
    }
}

fn any_trace() -> impl Strategy<Value = Trace> {
    let step = prop_oneof![
        Just(0),
        Just(NANOS / 10),
        Just(NANOS / 2),
        Just(NANOS),
        (0..40i64).prop_map(|n| n * NANOS / 4),
        (0..4 * NANOS),
        Just(NANOS / 3)
    ];
    let latency = prop_oneof![
        (0..90i64).prop_map(Span::from_millis),
        (0..40i64).prop_map(|n| Span::from_millis(n * 250)),
        (0..8 * NANOS).prop_map(Span::from_nanos),
    ];
    let answer = prop_oneof![
        4 => latency.clone().prop_map(Answer::Healthy),
        1 => latency.prop_map(Answer::Unhealthy),
        1 => Just(Answer::Never)
    ];
    let cpu = proptest::option::of(0.5..1.0f64);
    proptest::collection::vec((step, answer, cpu), 1..40).prop_map(|rows| {
        let mut at = Span::ZERO;
        let rows = rows.into_iter().map(|(step, answer, node_cpu)| {
            at += Span::from_nanos(step);
            Row { at, answer, load: Load { node_cpu, ..Load::default() } }
        });
        Trace::new(rows.collect(), Columns { node_cpu: true, ..Columns::default() }).unwrap()
    })
}

fn any_options() -> impl Strategy<Value = Options> {
    let kind = prop_oneof![Just(Kind::Liveness), Just(Kind::Readiness)];
    let takes = prop_oneof![Just(0), Just(1000), Just(2500), Just(7001)].prop_map(Span::from_millis);
    let start = (1..8u32, 1..8u32, 1..4u32).prop_map(|(p, t, k)| Settings::new(p, t, k).unwrap());
    let lasting = prop_oneof![2 => Just(None), 1 => (1..90i64).prop_map(|s| Some(Span::from_seconds(s)))];
    (kind, 1..5u32, takes, start, lasting).prop_map(|(kind, phases, restart_takes, start, lasting)| Options {
        kind,
        phases,
        restart_takes,
        start,
        lasting,
        ..Options::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_replay_agrees_with_a_plain_reading_of_the_rules(trace in any_trace(), options in any_options()) {
        // Unrolled, a round of nanoseconds would not end.
        prop_assume!(options.lasting.is_none() || trace.seconds() > Span::from_millis(500));
        let plays = [Play::Fixed(options.start), Play::Policy(Policy::LoadRule), Play::Policy(Policy::Lifeguard)];
        for play in plays {
            let fast = figures(&trace, play, &options);
            let long = plain::unrolled(&trace, options.lasting);
            let takes = options.restart_takes.nanos();
            let run = plain::Run { trace: &long, phases: options.phases, takes, kind: options.kind };
            let end = options.lasting.unwrap_or(trace.seconds());
            let mut plain = plain::figures(&run, &fast.settings, end);
            // Where a check in flight is carried over to a grid with another fraction, fractions of a nanosecond go.
            let close = |a: Span, b: Span| (a - b).nanos().abs() <= 1;
            let pairs = [(&mut plain.hang, fast.hang), (&mut plain.crash, fast.crash)];
            for (mine, other) in pairs {
                let [a, b] = [*mine, other].map(|d| [d.mean, d.p50, d.p99, d.max]);
                if a.into_iter().zip(b).all(|(a, b)| close(a, b)) {
                    *mine = other;
                }
            }
            if close(plain.false_unready, fast.false_unready) {
                plain.false_unready = fast.false_unready;
            }
            prop_assert_eq!(&plain, &fast, "{:?}: {:?}", options, trace);
        }
    }
}
