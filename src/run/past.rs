//! A Prometheus beside the daemon: the past of workloads that were just opted in, and, where no kubelet is to be asked,
//! their present.
//!
//! The past is asked for one workload after the other, once, and only where no evidence was kept: seen twice it would
//! count twice. What comes takes the place of the minutes that were watched meanwhile, which it holds too. A server that
//! does not answer costs the past and nothing else.

use super::backtest;
use super::clock::Clock;
use super::daemon::{Error, std_duration};
use crate::config::Config;
use crate::evidence::Evidence;
use crate::observation::{Fact, Observation, Sample, Throttling};
use crate::policy::Mode;
use crate::prometheus::{self, Access, Budget, History, Server, Subject, Trust, recount};
use crate::telemetry::{Event, Lost, Metrics};
use crate::units::{Name, Span, Timestamp, Uid};
use crate::workload::{ProbeId, Workload};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Workloads that wait for their past; beyond it they go without, counted.
const WAITING: usize = 4_096;

/// Tries that a workload's past is worth while the server does not answer, and the pause between them.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(60);

/// For one workload: a sixth of what a person may ask for at once, some 20 MB of memory while it is read.
const FOR_ONE: Budget =
    Budget { queries: 100, samples: 3_000_000, answer_bytes: 32 << 20, timeout: Duration::from_secs(30) };

/// Most pods whose last sample is remembered: as many as an engine holds.
const MOST_PODS: usize = crate::engine::MOST_PODS;

/// The longest stretch that is asked for at once as the present: a longer silence is a gap anyway.
const PRESENT: Span = Span::from_seconds(300);

/// What the daemon's loop holds of it.
pub(super) struct Past {
    /// Workloads that were asked for, or need not be; `None`: there is no server.
    asked: Option<(BTreeSet<Uid>, mpsc::Sender<Workload>)>,
    recalled: mpsc::Receiver<(Uid, Vec<u8>)>,
    watched: Watched,
    metrics: Arc<Metrics>,
}

/// The pods of watched workloads, and the namespaces that they live in.
#[derive(Clone, Default)]
struct Watched(Arc<Mutex<Pods>>);

#[derive(Default)]
struct Pods {
    namespaces: BTreeMap<Uid, Name>,
    pods: BTreeMap<Uid, Uid>,
}

/// Starts what is configured. `known` are the workloads whose evidence was kept.
///
/// # Errors
/// An address or an authority that cannot be used.
pub(super) fn start(
    config: &Config,
    known: BTreeSet<Uid>,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    facts: &mpsc::Sender<Observation>,
    tasks: &mut JoinSet<&'static str>,
) -> Result<Past, Error> {
    let (told, recalled) = mpsc::channel(16);
    let mut past = Past { asked: None, recalled, watched: Watched::default(), metrics: metrics.clone() };
    let c = &config.prometheus;
    let Some(url) = &c.url else { return Ok(past) };
    let trust = c.ca_file.clone().map_or(Trust::System, Trust::File);
    let access = Access { url: url.clone(), token_file: c.token_file.clone(), trust };
    let server = Arc::new(Server::new(&access)?);
    let (wanted, asked) = mpsc::channel(WAITING);
    past.asked = Some((known, wanted));
    let recall = Recall { server: server.clone(), since: c.history, clock: clock.clone(), metrics: metrics.clone() };
    tasks.spawn(recall.run(asked, told));
    if c.instead_of_kubelets {
        let present = Present {
            server,
            every: config.observe.scrape_interval,
            clock: clock.clone(),
            metrics: metrics.clone(),
            watched: past.watched.clone(),
            last: BTreeMap::new(),
            throttled: BTreeMap::new(),
        };
        tasks.spawn(present.run(facts.clone()));
    }
    Ok(past)
}

impl Past {
    /// The evidence of a workload's past, encoded; waits for ever where none is asked for.
    pub(super) async fn recalled(&mut self) -> Option<(Uid, Vec<u8>)> {
        match self.recalled.recv().await {
            Some(recalled) => Some(recalled),
            None => std::future::pending().await,
        }
    }

    /// Takes note of who is watched, and asks for the past of who was not known.
    pub(super) fn heard(&mut self, fact: &Fact) {
        let Some((asked, wanted)) = &mut self.asked else { return };
        self.watched.heard(fact);
        match fact {
            Fact::Workload(w) if w.permission.mode == Mode::Off => {
                asked.remove(&w.uid);
            }
            Fact::WorkloadGone(uid) => {
                asked.remove(uid);
            }
            Fact::Workload(w) if asked.insert(w.uid) && wanted.try_send((**w).clone()).is_err() => {
                self.metrics.emit(&Event::Dropped { what: Lost::History, count: 1 });
            }
            _ => {}
        }
    }
}

impl Watched {
    fn lock(&self) -> MutexGuard<'_, Pods> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self, fact: &Fact) {
        let mut known = self.lock();
        match fact {
            Fact::Workload(w) if w.permission.mode == Mode::Off => known.forget(w.uid),
            Fact::Workload(w) => {
                known.namespaces.insert(w.uid, w.address.namespace.clone());
            }
            Fact::WorkloadGone(uid) => known.forget(*uid),
            Fact::Pod(pod) if known.pods.len() < MOST_PODS => {
                known.pods.insert(pod.uid, pod.workload);
            }
            Fact::PodGone(uid) => {
                known.pods.remove(uid);
            }
            _ => {}
        }
    }
}

impl Pods {
    fn forget(&mut self, workload: Uid) {
        self.namespaces.remove(&workload);
        self.pods.retain(|_, w| *w != workload);
    }
}

/// Asks for the past.
struct Recall {
    server: Arc<Server>,
    since: Span,
    clock: Clock,
    metrics: Arc<Metrics>,
}

impl Recall {
    async fn run(self, mut asked: mpsc::Receiver<Workload>, told: mpsc::Sender<(Uid, Vec<u8>)>) -> &'static str {
        while let Some(workload) = asked.recv().await {
            let uid = workload.uid;
            if let Some(evidence) = self.one(workload).await
                && told.send((uid, evidence.encode())).await.is_err()
            {
                break;
            }
        }
        "past"
    }

    async fn one(&self, workload: Workload) -> Option<Evidence> {
        let mut tries = 1;
        let history = loop {
            let now = self.clock.now();
            match backtest::history(&self.server, &workload.address, self.since, now, &FOR_ONE).await {
                Ok(history) => break history,
                Err(error) => {
                    let (address, words) = (&workload.address, error.to_string());
                    let result = Err((error.kind(), &words as &dyn std::fmt::Display));
                    self.metrics.emit(&Event::Recalled { address, samples: 0, cut: None, result });
                    if tries >= TRIES {
                        return None;
                    }
                    tries += 1;
                    sleep(PAUSE).await;
                }
            }
        };
        let (samples, cut) = (history.spent.samples, history.cut.clone());
        let address = workload.address.clone();
        let (evidence, pods) = evidence_of(&history, workload);
        self.metrics.emit(&Event::Recalled { address: &address, samples, cut: cut.as_deref(), result: Ok(pods) });
        (pods > 0).then_some(evidence)
    }
}

/// What a history says of a workload that is declared so now, and of how many pods it tells.
pub(super) fn evidence_of(history: &History, workload: Workload) -> (Evidence, usize) {
    let pods = backtest::pods(&workload.address);
    let mut evidence = Evidence::new();
    let told = recount(history, &Subject { workload, pods }, |o| match &o.fact {
        Fact::Workload(w) => evidence.workload(o.at, w),
        Fact::Pod(p) => evidence.pod(o.at, p),
        Fact::PodGone(uid) => evidence.pod_gone(o.at, *uid),
        Fact::Sample(s) => {
            evidence.sample(o.at, s);
        }
        Fact::Throttling(t) => evidence.throttling(o.at, t),
        // A history tells of nothing else.
        _ => {}
    });
    // Restarts that nobody counted are guessed from the numbers of today, which those of the past need not have been: good
    // enough to be shown, and not to act upon.
    if told.inferred > 0 {
        evidence.forget_restarts();
    }
    (evidence, told.pods)
}

/// Asks for the present, in place of the kubelets.
struct Present {
    server: Arc<Server>,
    every: Span,
    clock: Clock,
    metrics: Arc<Metrics>,
    watched: Watched,
    /// The last moment that was told, of each probe of each pod.
    last: BTreeMap<(Uid, ProbeId), Timestamp>,
    /// The same, of how often each container was throttled.
    throttled: BTreeMap<(Uid, Name), Timestamp>,
}

impl Present {
    async fn run(mut self, facts: mpsc::Sender<Observation>) -> &'static str {
        let mut turns = interval(std_duration(self.every));
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Of each namespace: until when it was answered, and how it failed the last time.
        let mut answered: BTreeMap<Name, (Timestamp, Option<&'static str>)> = BTreeMap::new();
        loop {
            turns.tick().await;
            let namespaces: BTreeSet<Name> = self.watched.lock().namespaces.values().cloned().collect();
            answered.retain(|name, _| namespaces.contains(name));
            for namespace in namespaces {
                let now = self.clock.now();
                let (until, failed) = answered.get(&namespace).copied().unwrap_or((now - self.every * 4, None));
                // A scrape may come to be stored a little later than its moment.
                let window = (now.since(until) + self.every * 2).min(PRESENT);
                let begin = Instant::now();
                let budget = Budget { timeout: std_duration(self.every).max(Duration::from_secs(5)), ..FOR_ONE };
                let asked = prometheus::latest(&self.server, &namespace, window, now, &budget).await;
                let took = begin.elapsed();
                let known = match asked {
                    Ok(history) => {
                        let bytes = history.spent.bytes;
                        let news = self.news(history);
                        let result = Ok(news.len());
                        self.metrics.emit(&Event::Scraped { node: "prometheus", took, bytes, again: false, result });
                        for o in news {
                            if facts.send(o).await.is_err() {
                                return "present";
                            }
                        }
                        (now, None)
                    }
                    Err(error) => {
                        let (kind, words) = (error.kind(), error.to_string());
                        let (again, result) = (failed == Some(kind), Err((kind, &words as &dyn std::fmt::Display)));
                        self.metrics.emit(&Event::Scraped { node: "prometheus", took, bytes: 0, again, result });
                        (until, Some(kind))
                    }
                };
                answered.insert(namespace, known);
            }
            let watched = self.watched.clone();
            let pods = watched.lock();
            self.last.retain(|(pod, _), _| pods.pods.contains_key(pod));
            self.throttled.retain(|(pod, _), _| pods.pods.contains_key(pod));
        }
    }

    /// The samples of watched pods that were not told yet, in order of time.
    fn news(&mut self, history: History) -> Vec<Observation> {
        let mut news = Vec::new();
        let watched = self.watched.clone();
        let known = watched.lock();
        let mut names: BTreeMap<Name, Uid> = BTreeMap::new();
        for ((pod, probe), mut track) in history.tracks {
            if !known.pods.contains_key(&pod) {
                continue;
            }
            names.insert(track.pod.clone(), pod);
            track.moments.sort_by_key(|m| m.at);
            let last = self.last.entry((pod, probe.clone())).or_insert(Timestamp::from_nanos(i64::MIN));
            let told = *last;
            for moment in track.moments.into_iter().filter(|m| m.at > told) {
                *last = moment.at;
                let sample = Sample { pod, probe: probe.clone(), counters: moment.counters };
                news.push(Observation { at: moment.at, fact: Fact::Sample(sample) });
            }
        }
        for ((name, container), told) in history.throttling {
            let Some(pod) = names.get(&name).copied() else { continue };
            let last = self.throttled.entry((pod, container.clone())).or_insert(Timestamp::from_nanos(i64::MIN));
            for (at, (periods, throttled)) in told {
                if at > *last {
                    *last = at;
                    let told = Throttling { pod, container: container.clone(), periods, throttled };
                    news.push(Observation { at, fact: Fact::Throttling(told) });
                }
            }
        }
        news.sort_by_key(|o| o.at);
        news
    }
}
