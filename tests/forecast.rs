//! When a timeout will be reached: foretold from the season of the week and from growth, and held to what came.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use probe_tuner::decide::{Prices, judge};
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::evidence::{Basis, Evidence, Foretold, JUDGED, Record, Season};
use probe_tuner::forecast;
use probe_tuner::memory::Memory;
use probe_tuner::observation::{Counters, EDGES, Fact, FailureClass, Observation, Sample};
use probe_tuner::probe::ProbeKind;
use probe_tuner::sim::{Family, Fleet, MONDAY as BEGIN, Setup, World};
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Pod, Workload};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::fixtures::{liveness, renumbered, workload};

/// Monday, 5 January 2026, 00:00 UTC, in hours.
const MONDAY: i64 = 1_767_571_200 / 3_600;
/// Checks of an hour, as of five replicas; twelve scrapes.
const CHECKS: i64 = 1_800;

/// A service, told as one pod, whose latency in each hour is what a test says.
struct Service {
    evidence: Evidence,
    workload: Workload,
    counters: Counters,
    hour: i64,
    foretold: Vec<Foretold>,
    /// Whether it looks ahead.
    ahead: bool,
}

impl Service {
    fn new(numbers: &str) -> Service {
        let workload = renumbered(workload("shop", "web"), numbers);
        let mut evidence = Evidence::new();
        let now = at(MONDAY);
        evidence.workload(now, &workload);
        let app = Container {
            name: "app".into(),
            running_since: Some(now),
            ready: true,
            started: true,
            restarts: 0,
            last_end: None,
        };
        evidence.pod(
            now,
            &Pod {
                uid: Uid::from_bits(1),
                name: "web-1".into(),
                workload: workload.uid,
                node: None,
                probes: workload.probes.clone(),
                containers: vec![app],
                terminating: false,
                created: now,
                ready: true,
            },
        );
        Service { evidence, workload, counters: Counters::default(), hour: MONDAY, foretold: Vec::new(), ahead: true }
    }

    /// Lives through so many hours; `median(hour)` is the median latency in seconds, a hundredth is ten times as slow.
    /// Looks ahead after each.
    fn live(&mut self, hours: i64, median: impl Fn(i64) -> f64) {
        let timeout = self.timeout();
        for _ in 0..hours {
            let median = median(self.hour - MONDAY);
            for scrape in 0..12 {
                let now = at(self.hour) + Span::MINUTE * (5 * scrape + 4);
                // Checks until then in this hour up to a latency: logistic in its logarithm.
                let until = |n: i64, latency: f64| {
                    let odds = (latency / median).powf(99f64.ln() / 10f64.ln());
                    ((CHECKS * n / 12) as f64 * odds / (1.0 + odds)).round() as u64
                };
                let now_more = |latency: f64| until(scrape + 1, latency) - until(scrape, latency);
                let most = f64::from(timeout);
                let successful = now_more(most);
                let slow = (CHECKS / 12) as u64 - successful;
                self.counters.successful += successful;
                self.counters.count += successful;
                self.counters.failed += slow;
                for (n, edge) in self.counters.buckets.iter_mut().zip(EDGES) {
                    *n += now_more(edge.min(most));
                }
                let pod = Uid::from_bits(1);
                if slow > 0 {
                    let (app, class) = ("app".into(), FailureClass::Slow);
                    self.evidence.unhealthy(now, pod, &app, ProbeKind::Liveness, class, slow as u32);
                }
                let sample = Sample { pod, probe: liveness(), counters: self.counters };
                self.evidence.sample(now, &sample);
                if scrape == 0 && self.ahead {
                    self.foretold.extend(forecast::look(&mut self.evidence, &liveness(), timeout, now));
                }
            }
            self.hour += 1;
        }
    }

    fn timeout(&self) -> u32 {
        self.workload.probe(&liveness()).unwrap().settings.timeout()
    }

    fn season(&self) -> &Season {
        self.evidence.seen(&liveness()).unwrap().season()
    }
}

fn at(hour: i64) -> Timestamp {
    Timestamp::EPOCH + Span::HOUR * hour
}

/// Hours from the first Monday to a moment.
fn hours(t: Timestamp) -> i64 {
    t.floor_seconds() / 3_600 - MONDAY
}

/// A batch at 02:00 on Tuesdays reaches 1 s.
fn tuesdays(hour: i64) -> f64 {
    if hour % 168 == 26 { 0.9 } else { 0.004 }
}

#[test]
fn a_batch_on_tuesdays_is_foretold_on_monday_after_two_weeks() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 1, tuesdays);
    let f = *s.season().pending().unwrap();
    assert_eq!((hours(f.at), f.timeout, f.basis, f.within), (2 * 168 + 26, 1, Basis::Season, Span::HOUR));
    assert!(f.probability >= 0.8, "{f:?}");
    // And it comes: a hit; both before were surprises, of which the first was too early to count.
    s.live(30, tuesdays);
    let record = s.season().record();
    assert_eq!((record.hits, record.misses, record.surprises), (1, 0, 1));
    assert_eq!(s.season().judged()[0].reached, Some(f.at));
}

#[test]
fn a_batch_each_night_is_foretold_after_eight_days() {
    let mut s = Service::new("10/1/3");
    s.live(8 * 24 + 10, |hour| if hour % 24 == 2 { 0.5 } else { 0.004 });
    let first = s.foretold[0];
    assert_eq!((hours(first.at) % 24, first.basis), (2, Basis::Season));
    assert!(hours(first.made) >= 8 * 24 && first.at.since(first.made) >= forecast::AHEAD);
}

#[test]
fn a_batch_that_does_not_come_is_a_miss() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 1, tuesdays);
    s.live(30, |_| 0.004);
    let record = s.season().record();
    assert_eq!((record.hits, record.misses, record.surprises), (0, 1, 1));
    assert_eq!(s.season().judged()[0].reached, None);
}

#[test]
fn growth_of_five_percent_a_day_is_foretold_with_the_right_day() {
    for seed in 0..20 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let noise: Vec<f64> = (0..20 * 24).map(|_| 1.0 + 0.1 * (chance.random::<f64>() - 0.5)).collect();
        // A hundredth takes ten times the median: 1 s is reached where the median is 0.1 s, on day 12.
        let level = |hour: i64| 0.1 * 1.05f64.powf(hour as f64 / 24.0 - 12.0);
        let mut s = Service::new("10/1/3");
        s.live(16 * 24, |hour| level(hour) * noise[hour as usize]);
        let first = s.foretold.first().unwrap();
        let Basis::Trend(growth) = first.basis else { panic!("{first:?}") };
        assert!((0.03..0.07).contains(&growth), "seed {seed}: {first:?}");
        let truth = (MONDAY..).find(|hour| s.season().reached(*hour, 1) == Some(true)).unwrap() - MONDAY;
        assert!((hours(first.at) - truth).abs() <= 24, "seed {seed}: hour {truth}, {first:?}");
        assert_eq!(s.season().judged()[0].foretold, *first);
        assert!(s.season().judged()[0].reached.is_some(), "seed {seed}: {:?}", s.season().judged());
    }
}

#[test]
fn noise_is_never_foretold() {
    for seed in 0..30 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let (level, width): (f64, f64) = (chance.random_range(0.002..0.08), chance.random_range(0.0..2.5));
        let noise: Vec<f64> = (0..28 * 24).map(|_| level * (width * (chance.random::<f64>() - 0.5)).exp()).collect();
        let mut s = Service::new("10/1/3");
        s.live(28 * 24, |hour| noise[hour as usize]);
        assert_eq!(s.foretold, [], "seed {seed}: level {level}, width {width}");
    }
}

#[test]
fn rare_hours_at_random_are_foretold_less_than_once_in_forty_weeks() {
    let mut foretold = 0;
    for seed in 0..20 {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let often = chance.random_range(0.001..0.1);
        let loud: Vec<bool> = (0..28 * 24).map(|_| chance.random_bool(often)).collect();
        let mut s = Service::new("10/1/3");
        s.live(28 * 24, |hour| if loud[hour as usize] { 0.6 } else { 0.004 });
        foretold += s.foretold.len();
        assert!(s.season().record().surprises > 0 || often < 0.01);
    }
    assert!(foretold <= 2, "{foretold} in 80 weeks");
}

#[test]
fn a_single_step_is_no_trend() {
    let mut s = Service::new("10/1/3");
    s.live(21 * 24, |hour| if hour < 9 * 24 { 0.01 } else { 0.06 });
    assert_eq!(s.foretold, []);
}

#[test]
fn nothing_is_foretold_before_three_days_nor_of_a_probe_that_is_not_read() {
    let mut s = Service::new("10/1/3");
    s.live(3 * 24 - 1, |hour| 0.05 * 1.2f64.powf(hour as f64 / 24.0));
    assert_eq!(s.foretold, []);
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 - 1, tuesdays);
    let season = s.season();
    assert_eq!(forecast::foresee(season, 1, at(s.hour + 6)), None);
}

#[test]
fn a_forecast_whose_record_is_worse_than_one_in_two_is_no_longer_told() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 1, tuesdays);
    // From then on it comes now and then.
    for week in 0..40 {
        s.live(168, |hour| if week % 3 == 0 { 0.004 } else { tuesdays(hour) });
        let judged = s.season().judged();
        let hits = judged.iter().filter(|j| j.reached.is_some()).count();
        assert_eq!(s.season().trusted(), judged.len() < JUDGED || 2 * hits >= JUDGED);
        assert!(judged.len() <= JUDGED);
    }
}

#[test]
fn other_numbers_make_a_forecast_void() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 1, tuesdays);
    assert!(s.season().pending().is_some());
    s.workload = renumbered(s.workload.clone(), "10/12/2");
    s.workload.generation += 1;
    let pod = Pod {
        uid: Uid::from_bits(1),
        name: "web-1".into(),
        workload: s.workload.uid,
        node: None,
        probes: s.workload.probes.clone(),
        containers: Vec::new(),
        terminating: false,
        created: at(MONDAY),
        ready: true,
    };
    s.evidence.workload(at(s.hour), &s.workload);
    s.evidence.pod(at(s.hour), &pod);
    s.live(60, tuesdays);
    let record = s.season().record();
    assert_eq!((s.season().pending(), record.hits, record.misses), (None, 0, 0));
}

#[test]
fn a_forecast_moves_no_number() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 2, tuesdays);
    assert!(s.season().pending().is_some());
    // The same facts, and nobody who looks ahead.
    let mut without = Service::new("10/1/3");
    without.ahead = false;
    without.live(2 * 168 + 2, tuesdays);
    assert_eq!(without.season().pending(), None);
    let now = at(s.hour);
    let judged = |e: &Evidence| judge(e, &s.workload, &Memory::default(), &Prices::default(), now);
    assert_eq!(judged(&s.evidence), judged(&without.evidence));
}

#[test]
fn what_was_foretold_survives_the_daemon() {
    let mut s = Service::new("10/1/3");
    s.live(2 * 168 + 60, tuesdays);
    assert_eq!(s.season().record().hits, 1);
    let bytes = s.evidence.encode();
    let back = Evidence::decode(&bytes).unwrap();
    assert_eq!(back.seen(&liveness()).unwrap().season(), s.season());
    assert_eq!(back.encode(), bytes);
}

#[test]
fn what_is_kept_does_not_grow_with_the_years() {
    let mut s = Service::new("10/1/3");
    s.live(5 * 168, tuesdays);
    let size = s.evidence.size();
    s.live(20 * 168, tuesdays);
    assert!(s.evidence.size() <= size + JUDGED * 80, "{} after {size}", s.evidence.size());
    assert!(s.season().record().hits > 15);
}

/// Days of a nightly batch before an engine that already remembers `past`; what it told of forecasts, and its evidence.
fn nights(days: f64, past: Option<Vec<u8>>) -> (Record, Evidence) {
    let setup = Setup { listen: true, ..Setup::new(Family::NightlyBatch, 3, days) };
    let end = BEGIN + Span::round_from_secs_f64(days * 86_400.0);
    let mut fleet = Fleet::new(vec![World::new(setup)]);
    let uid = fleet.worlds()[0].setup().uid;
    let mut engine = Engine::new(Rules::default(), BEGIN);
    if let Some(bytes) = past {
        engine.observe(Observation { at: BEGIN, fact: Fact::RememberedEvidence { workload: uid, bytes } });
    }
    let (mut now, mut facts, mut told) = (BEGIN, Vec::new(), Record::default());
    while now < end {
        now = now + Span::MINUTE;
        while fleet.advance(now, &mut facts).is_some() {}
        facts.drain(..).for_each(|o| engine.observe(o));
        let judged = engine.turn(now).judged;
        told.hits += judged.hits;
        told.misses += judged.misses;
        told.surprises += judged.surprises;
    }
    (told, engine.evidence(uid).unwrap().clone())
}

#[test]
fn each_forecast_that_is_judged_is_told_once_and_those_of_an_earlier_life_are_not() {
    let sum = |e: &Evidence| {
        e.probes()
            .iter()
            .map(|s| s.season().record())
            .fold((0, 0, 0), |(h, m, s), r| (h + r.hits, m + r.misses, s + r.surprises))
    };
    let (told, evidence) = nights(14.0, None);
    assert!(told.hits > 0 && told.surprises > 0, "{told:?}");
    assert_eq!((told.hits, told.misses, told.surprises), sum(&evidence));
    assert_eq!(nights(0.2, Some(evidence.encode())).0, Record::default());
}

#[test]
fn a_timeout_that_is_reached_hour_after_hour_is_being_reached_since_the_first_of_them() {
    let mut s = Service::new("10/1/3");
    s.live(24, |_| 0.004);
    let now = |s: &Service| at(s.hour) - Span::MINUTE;
    assert_eq!(s.season().reaching(1, now(&s)), None);
    // From 24:00 to 29:00 with an hour of rest; the hour that is running counts.
    s.live(5, |hour| if hour == 26 { 0.004 } else { 0.9 });
    assert_eq!(s.season().reaching(1, now(&s)), Some((at(MONDAY + 24), at(MONDAY + 28))));
    // It is over when it was not reached for six hours.
    s.live(8, |_| 0.004);
    assert_eq!(s.season().reaching(1, now(&s)), None);
}
