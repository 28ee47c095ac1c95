//! A handful of pods and a scrape every 15 s, played straight into evidence: what a test says of each check is what the
//! counters, events and statuses then tell.
#![allow(dead_code, reason = "each test binary uses some of them")]
#![allow(clippy::unwrap_used, reason = "tests")]

use super::fixtures::{liveness, renumbered, workload};
use probe_tuner::decide::{Judgement, Prices, judge};
use probe_tuner::evidence::Evidence;
use probe_tuner::memory::Memory;
use probe_tuner::model::believe;
use probe_tuner::observation::{Counters, EDGES, FailureClass, Sample};
use probe_tuner::probe::ProbeKind;
use probe_tuner::units::{Name, Span, Timestamp, Uid};
use probe_tuner::workload::{Container, Ended, Pod, Workload};

/// What a check got.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// Healthy, after so many seconds; beyond the timeout it is a timeout.
    After(f64),
    /// Refused at once.
    Refused,
}

pub struct Replica {
    pub uid: Uid,
    pub counters: Counters,
    failed: u32,
    restarts: u32,
    since: Timestamp,
    /// Seconds from `since` in which it is not asked; 0 once it serves.
    starting: i64,
    last_end: Option<Ended>,
}

/// See the module.
pub struct Stage {
    pub evidence: Evidence,
    pub workload: Workload,
    pub memory: Memory,
    pub now: Timestamp,
    pub replicas: Vec<Replica>,
    /// Whether events come.
    pub events: bool,
    /// Whether the kubelet's limit of events swallows those of the kills.
    pub unsaid: bool,
    /// How long a container that was killed starts again, in seconds.
    pub starts: i64,
    /// In which order replicas are named and heard; empty: as they are numbered.
    pub order: Vec<usize>,
    /// Whether each page is read again a second later, before another check has ended.
    pub again: bool,
    next: u128,
}

/// The node of a replica.
pub fn node(i: usize) -> Name {
    Name::from(format!("node-{}", i % 3))
}

impl Stage {
    /// The pods of a workload, all started and ready, on a Monday at midnight.
    pub fn of(workload: Workload) -> Self {
        Stage::new(workload, 1, Vec::new())
    }

    /// The same, its pods numbered from `next` on.
    pub fn numbered(workload: Workload, next: u128) -> Self {
        Stage::new(workload, next, Vec::new())
    }

    /// The same, its replicas named and heard in another order.
    pub fn ordered(workload: Workload, order: Vec<usize>) -> Self {
        Stage::new(workload, 1, order)
    }

    /// Five pods at 10/12/2 that have lived through a release in which nothing was ever slow, and take 20 s to start.
    pub fn settled() -> Self {
        let mut s = Stage::of(renumbered(workload("shop", "web"), "10/12/2"));
        s.starts = 20;
        s.play(Span::HOUR * 26, well);
        s.rollout();
        s.play(Span::HOUR * 26, well);
        s
    }

    /// The probability that the last restart was false.
    pub fn last_weight(&self) -> f64 {
        let seen = self.evidence.seen(&liveness()).unwrap();
        believe(&self.evidence, seen, self.now).weights()[self.evidence.restarts().len() - 1]
    }

    fn new(workload: Workload, next: u128, order: Vec<usize>) -> Self {
        let now = Timestamp::from_seconds(4 * 86_400);
        let mut stage = Stage {
            evidence: Evidence::new(),
            memory: Memory::default(),
            now,
            replicas: Vec::new(),
            events: true,
            unsaid: false,
            starts: 0,
            order,
            again: false,
            next,
            workload,
        };
        stage.evidence.workload(now, &stage.workload);
        stage.renew();
        stage
    }

    fn renew(&mut self) {
        let first = self.next;
        for i in 0..self.workload.replicas as usize {
            let place = self.order.get(i).copied().unwrap_or(i);
            let uid = Uid::from_bits((first + place as u128) << 64);
            self.next += 1;
            let since = self.now;
            let counters = Counters::default();
            self.replicas.push(Replica { uid, counters, failed: 0, restarts: 0, since, starting: 0, last_end: None });
        }
        self.heard().into_iter().for_each(|i| self.tell(i));
    }

    /// The replicas in the order of their names.
    fn heard(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.replicas.len()).collect();
        all.sort_by_key(|i| self.replicas[*i].uid);
        all
    }

    /// Tells of a replica as it is.
    pub fn tell(&mut self, i: usize) {
        let pod = pod_of(self, i);
        self.evidence.pod(self.now, &pod);
    }

    /// The container of a replica ends by itself: with code and reason as its status has them.
    pub fn exit(&mut self, i: usize, code: i32, reason: &str) {
        let r = &mut self.replicas[i];
        r.restarts += 1;
        r.failed = 0;
        r.last_end = Some(Ended { code, reason: reason.into(), started: Some(r.since), finished: Some(self.now) });
        r.since = self.now;
        self.tell(i);
    }

    /// The owner rolls out a new version: new pods, at whatever numbers the workload now has.
    pub fn rollout(&mut self) {
        self.workload.version += 1;
        self.workload.generation += 1;
        self.evidence.workload(self.now, &self.workload);
        let old: Vec<Uid> = self.replicas.drain(..).map(|r| r.uid).collect();
        self.now = self.now + Span::SECOND;
        old.into_iter().for_each(|uid| self.evidence.pod_gone(self.now, uid));
        self.renew();
    }

    /// Plays on; `answer(replica, seconds since the call)` says what each check gets.
    pub fn play(&mut self, span: Span, answer: impl Fn(usize, i64) -> Answer) {
        let settings = self.workload.probe(&liveness()).unwrap().settings;
        let (begin, heard) = (self.now, self.heard());
        for second in 1..=span.floor_seconds() {
            self.now = begin + Span::from_seconds(second);
            for &i in &heard {
                let up = self.replicas[i].since + Span::from_seconds(self.replicas[i].starting);
                if self.replicas[i].starting > 0 && self.now >= up {
                    self.replicas[i].starting = 0;
                    self.tell(i);
                }
                let asked = (second + 2 * i as i64) % i64::from(settings.period()) == 0;
                if self.replicas[i].starting == 0 && asked {
                    self.check(i, answer(i, second));
                }
                if second % 15 == 0 || self.again && second > 15 && second % 15 == 1 && !asked {
                    let r = &self.replicas[i];
                    let sample = Sample { pod: r.uid, probe: liveness(), counters: r.counters };
                    self.evidence.sample(self.now, &sample);
                }
            }
        }
    }

    fn check(&mut self, i: usize, answer: Answer) {
        let settings = self.workload.probe(&liveness()).unwrap().settings;
        let (now, events) = (self.now, self.events);
        let r = &mut self.replicas[i];
        let class = match answer {
            Answer::After(s) if s <= f64::from(settings.timeout()) => {
                r.failed = 0;
                r.counters.successful += 1;
                r.counters.count += 1;
                for (n, edge) in r.counters.buckets.iter_mut().zip(EDGES) {
                    *n += u64::from(s <= edge);
                }
                return;
            }
            Answer::After(_) => FailureClass::Slow,
            Answer::Refused => FailureClass::Fast,
        };
        r.counters.failed += 1;
        r.failed += 1;
        let (uid, kill) = (r.uid, r.failed >= settings.threshold());
        if events {
            self.evidence.unhealthy(now, uid, &"app".into(), ProbeKind::Liveness, class, 1);
        }
        if kill {
            if events && !self.unsaid {
                self.evidence.killing(now, uid, &"app".into(), ProbeKind::Liveness);
            }
            self.replicas[i].starting = self.starts;
            self.exit(i, 137, "Error");
        }
    }

    /// The judgement of the liveness probe now.
    pub fn judge(&self) -> Judgement {
        self.judge_at(self.now)
    }

    /// The same at another moment.
    pub fn judge_at(&self, now: Timestamp) -> Judgement {
        let all = judge(&self.evidence, &self.workload, &self.memory, &Prices::default(), now);
        all.into_iter().find(|j| j.probe == liveness()).unwrap()
    }
}

/// A replica as its status has it.
pub fn pod_of(s: &Stage, i: usize) -> Pod {
    let r = &s.replicas[i];
    Pod {
        uid: r.uid,
        name: Name::from(format!("web-{}", r.uid.bits() >> 64)),
        workload: s.workload.uid,
        node: Some(node(i)),
        probes: s.workload.probes.clone(),
        containers: vec![Container {
            name: "app".into(),
            running_since: Some(r.since),
            ready: r.starting == 0,
            started: r.starting == 0,
            restarts: r.restarts,
            last_end: r.last_end.clone(),
        }],
        terminating: false,
        created: r.since,
        ready: r.starting == 0,
    }
}

/// Everything is answered in 5 ms.
pub fn well(_: usize, _: i64) -> Answer {
    Answer::After(0.004)
}
