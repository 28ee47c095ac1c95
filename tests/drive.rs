//! A stranger's own loop: binned scrapes, restart counts and the user's rollouts of one workload, and no event at all.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use probe_tuner::change::Outcome;
use probe_tuner::engine::{Engine, Rules};
use probe_tuner::observation::{Counters, EDGES, Fact, Observation, Sample};
use probe_tuner::probe::Settings;
use probe_tuner::reason::Reason;
use probe_tuner::units::{Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Pod, Workload};
use support::fixtures::{liveness, settings, workload};

const START: Timestamp = Timestamp::from_seconds(1_767_571_200);
const PODS: usize = 3;
/// Scrapes a day.
const DAY: i64 = 5760;

struct Stranger {
    engine: Engine,
    workload: Workload,
    counters: [Counters; PODS],
    in_a_row: [u32; PODS],
    restarts: [u32; PODS],
    own_rollouts: usize,
}

impl Stranger {
    /// A workload at these numbers, whose pods are on no known node.
    fn new(numbers: &str) -> Stranger {
        let mut w = workload("mine", "web");
        w.replicas = PODS as u32;
        w.probes[0].settings = settings(numbers);
        let engine = Engine::new(Rules::default(), START);
        let (counters, in_a_row, restarts) = Default::default();
        let mut stranger = Stranger { engine, workload: w, counters, in_a_row, restarts, own_rollouts: 0 };
        stranger.tell(START, Fact::Fence { holds: true });
        stranger.roll_out(START, settings(numbers), 0);
        stranger
    }

    fn tell(&mut self, at: Timestamp, fact: Fact) {
        self.engine.observe(Observation { at, fact });
    }

    fn settings(&self) -> Settings {
        self.workload.probes[0].settings
    }

    fn uid(&self, i: usize) -> Uid {
        Uid::from_bits(self.workload.generation as u128 * 10 + i as u128)
    }

    fn pod(&self, i: usize, since: Timestamp) -> Fact {
        let app = Container {
            name: "app".into(),
            running_since: Some(since),
            ready: true,
            started: true,
            restarts: self.restarts[i],
            last_end: None,
        };
        Fact::Pod(Box::new(Pod {
            uid: self.uid(i),
            name: format!("web-{i}").into(),
            workload: self.workload.uid,
            node: None,
            probes: self.workload.probes.clone(),
            containers: vec![app],
            terminating: false,
            created: since,
            ready: true,
        }))
    }

    fn roll_out(&mut self, now: Timestamp, to: Settings, versions: u64) {
        let old: Vec<Uid> = (0..PODS).map(|i| self.uid(i)).collect();
        self.workload.generation += 1;
        self.workload.version += versions;
        self.workload.probes[0].settings = to;
        let declared = self.workload.clone();
        self.tell(now, Fact::Workload(Box::new(declared)));
        (self.counters, self.in_a_row, self.restarts) = Default::default();
        for i in 0..PODS {
            let pod = self.pod(i, now);
            self.tell(now, pod);
        }
        for gone in old {
            self.tell(now, Fact::PodGone(gone));
        }
    }

    /// A check a scrape and pod that takes what `took` says (seconds), the user's rollout at the end of each week, and a
    /// turn each 15 s.
    fn live(&mut self, scrapes: std::ops::Range<i64>, took: impl Fn(i64, usize) -> f64) {
        for n in scrapes {
            let now = START + Span::SECOND * (15 * (n + 1));
            if n % (7 * DAY) == 7 * DAY - 1 {
                let rides = self.engine.riding(self.workload.uid, now);
                let to = rides.iter().find(|(id, _)| *id == liveness()).map_or(self.settings(), |(_, to)| *to);
                self.roll_out(now, to, 1);
            }
            for i in 0..PODS {
                let took = took(n, i);
                let ok = took <= f64::from(self.settings().timeout());
                let c = &mut self.counters[i];
                (c.successful, c.failed) = (c.successful + u64::from(ok), c.failed + u64::from(!ok));
                c.count = c.successful;
                for (bucket, _) in c.buckets.iter_mut().zip(EDGES).filter(|(_, edge)| ok && took <= *edge) {
                    *bucket += 1;
                }
                let counters = *c;
                let pod = self.uid(i);
                self.tell(now, Fact::Sample(Sample { pod, probe: liveness(), counters }));
                self.in_a_row[i] = if ok { 0 } else { self.in_a_row[i] + 1 };
                if self.in_a_row[i] >= self.settings().threshold() {
                    (self.in_a_row[i], self.restarts[i]) = (0, self.restarts[i] + 1);
                    let again = self.pod(i, now);
                    self.tell(now, again);
                }
            }
            for change in self.engine.turn(now).changes {
                self.own_rollouts += 1;
                self.roll_out(now, change.steps[0].to, 0);
                let outcome = Outcome::Applied { generation: self.workload.generation };
                self.tell(now, Fact::Outcome { workload: change.workload, change: change.id, outcome });
            }
        }
    }

    fn reason(&self) -> Reason {
        self.engine.view(self.workload.uid).unwrap().reason
    }
}

#[test]
fn a_blind_timeout_is_left_with_the_users_rollout_and_never_by_one_of_our_own() {
    let mut s = Stranger::new("10/1/3");
    s.live(0..DAY / 8, |_, _| 0.004);
    assert_eq!(s.settings(), settings("10/1/3"));
    s.live(DAY / 8..7 * DAY, |_, _| 0.004);
    assert!(s.settings().timeout() >= 5, "{} ({})", s.settings(), s.reason().code());
    assert_eq!((s.own_rollouts, s.engine.dropped()), (0, 0));
}

#[test]
fn quiet_weeks_tighten_only_after_a_rollout_was_lived_through() {
    let mut s = Stranger::new("10/12/2");
    s.live(0..7 * DAY, |_, _| 0.004);
    assert_eq!(s.settings(), settings("10/12/2"));
    s.live(7 * DAY..21 * DAY, |_, _| 0.004);
    assert!(s.settings().stall_tolerance() < 22, "{} ({})", s.settings(), s.reason().code());
    assert_eq!(s.own_rollouts, 0);
}

#[test]
fn restarts_that_only_a_count_tells_of_loosen_and_none_of_them_is_taken_for_what_it_is_not() {
    let mut s = Stranger::new("10/5/2");
    // Each pod stalls at another hour, twice a day, for three checks.
    s.live(0..14 * DAY, |n, i| if (n + 600 * i as i64) % (DAY / 2) < 3 { 7.0 } else { 0.004 });
    assert!(s.settings().stall_tolerance() > 15, "{} ({})", s.settings(), s.reason().code());
    let seen = s.engine.evidence(s.workload.uid).unwrap().restarts();
    assert!(seen.iter().any(|r| r.cause.by_probe()), "{seen:?}");
}
