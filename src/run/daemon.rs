//! The daemon: watches and scrapes feed the engine, its plans go to the writer, and what became of them comes back.
//!
//! One task owns the engine and never waits for the API server. It takes a turn only while the writer has room for what
//! the turn may bring; otherwise facts wait in their bounded channel and the watches are read slower.

use super::clock::Clock;
use super::writer::{Work, Writer};
use super::{brake, past, tell};
use crate::act::{self, Actor, Announcer, Fence};
use crate::annotations::{Defaults, Pause};
use crate::api::{self, Door, Pages, Pulse, Readiness};
use crate::cluster::Patience;
use crate::config::Config;
use crate::decide::Prices;
use crate::engine::{Engine, Phase, Rules};
use crate::observation::{Fact, Observation};
use crate::observe::{self, Scope, Scraping, Shadowing, Trust};
use crate::plan::Limits;
use crate::reason::Reason;
use crate::store::evidence::{self, SHARDS, Shards, shard};
use crate::store::tunings;
use crate::telemetry::{Event, Lost, Metrics};
use crate::units::{Name, Span, Uid};
use crate::verify::Terms;
use crate::workload::Address;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

/// Facts that wait for the engine.
const FACTS_WAITING: usize = 8_192;

/// Turns and shards that wait for the writer.
const WORK_WAITING: usize = 64;

/// Facts that are taken at once between two looks at the clock.
const FACTS_AT_ONCE: usize = 1_024;

/// How often the engine takes a turn: the shortest interval in which anything in it is measured.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// How often the fence is tried while it holds, and while it does not.
const FENCE_EVERY: Duration = Duration::from_secs(600);
const FENCE_AGAIN: Duration = Duration::from_secs(20);

/// How often what cannot be read at start is tried again.
const RECALL_AGAIN: Duration = Duration::from_secs(20);

/// Most Deployments on which the fence is tried where our own does not exist.
const FENCE_ON: usize = 3;

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own page cannot be served.
    #[error(transparent)]
    Http(#[from] api::ApiError),
    /// The authority of the kubelets' certificates cannot be read.
    #[error("kubelet-ca-file {path}: {why}")]
    Authority {
        /// As configured.
        path: String,
        /// Why.
        why: String,
    },
    /// The Prometheus cannot be asked as configured.
    #[error("prometheus: {0}")]
    Prometheus(#[from] crate::prometheus::Error),
    /// Observing has ended.
    #[error(transparent)]
    Observe(#[from] observe::Error),
    /// The first lists did not come in time; what was heard meanwhile.
    #[error("the cluster's namespaces, workloads and pods could not be listed within {0:?}")]
    NotInTime(Duration, Vec<String>),
    /// The API server refused what there is no answer without; all that was heard.
    #[error("the API server refuses to tell of the cluster's namespaces, workloads or pods")]
    Refused(Vec<String>),
    /// A task of the daemon is dead: it goes on being useless, so it ends.
    #[error("the task {0} ended\nhint: this is a bug of probe-tuner; the process ends so that it is started anew")]
    Task(&'static str),
}

/// What the daemon is told once.
#[derive(Clone)]
pub struct Setup {
    /// The configuration.
    pub config: Config,
    /// A client that does not repeat requests by itself.
    pub client: Client,
    /// The authorities that the client believes, in DER: kubelets are believed likewise unless configured.
    pub roots: Vec<Vec<u8>>,
}

/// The engine's rules as configured.
pub fn rules(config: &Config) -> Rules {
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    Rules {
        prices: prices(config),
        limits: Limits {
            warm_up: config.plan.warm_up,
            in_flight: count(config.plan.rollouts_in_flight),
            per_hour: count(config.plan.rollouts_per_hour),
            per_day: count(config.plan.rollouts_per_day),
            per_week: count(config.plan.rollouts_per_workload_week),
            cooldown: config.plan.cooldown,
            storm_cooldown: config.plan.storm_cooldown,
        },
        terms: Terms {
            watch_for: config.verify.watch,
            rollout_within: config.verify.rollout_timeout,
            ..Terms::default()
        },
        ..Rules::default()
    }
}

fn prices(config: &Config) -> Prices {
    let d = &config.decide;
    Prices {
        faults: d.faults_per_pod_year,
        false_restart: d.false_restart_price,
        check: d.check_price,
        exec_check: d.exec_check_price,
        ..Prices::default()
    }
}

/// What holds where owners say nothing, as configured.
pub fn defaults(config: &Config) -> Defaults {
    Defaults {
        mode: config.cluster.mode,
        false_restart_budget: config.defaults.false_restart_budget,
        detect_within: config.defaults.detect_within,
        bounds: config.decide.bounds,
        rollout_price: config.defaults.rollout_price,
    }
}

/// How kubelets are read, as configured.
///
/// # Errors
/// When the configured authority cannot be read.
pub fn scraping(config: &Config, roots: Vec<Vec<u8>>) -> Result<Scraping, Error> {
    let trust = match &config.observe.kubelet_ca_file {
        _ if config.observe.kubelet_insecure => Trust::Anybody,
        None => Trust::Roots(roots),
        Some(path) => {
            let failed = |why: String| Error::Authority { path: path.display().to_string(), why };
            let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
            Trust::from_pem(&pem).map_err(|e| failed(e.to_string()))?
        }
    };
    Ok(Scraping {
        interval: std_duration(config.observe.scrape_interval),
        timeout: std_duration(config.observe.scrape_timeout),
        concurrency: config.observe.scrape_concurrency,
        page_limit: usize::try_from(config.observe.page_limit).unwrap_or(usize::MAX),
        throttling: config.observe.throttling_interval.map(std_duration),
        ..Scraping::new(trust)
    })
}

/// A span of the configuration as the runtime wants it; those are never negative.
pub fn std_duration(span: Span) -> Duration {
    Duration::from_nanos(u64::try_from(span.nanos()).unwrap_or(0))
}

/// Runs until `stop` is done, then writes down what is known and ends.
///
/// # Errors
/// What it cannot live without is missing from the start, or has died. A cluster that does not answer is no such thing.
pub async fn run(
    setup: Setup,
    address: oneshot::Sender<SocketAddr>,
    stop: impl Future<Output = ()>,
) -> Result<(), Error> {
    let Setup { config, client, roots } = setup;
    let clock = Clock::start();
    let metrics = Arc::new(Metrics::new());
    let patience = Patience::default();
    let mut tasks = JoinSet::new();

    let readiness = Arc::new(Readiness::default());
    let listener = api::listen(config.http.listen).await?;
    let listening = listener.local_addr().unwrap_or(config.http.listen);
    tracing::info!(%listening, "probe-tuner {} begins to watch", env!("CARGO_PKG_VERSION"));
    // Who started us may not care where we listen.
    address.send(listening).unwrap_or_default();
    let door = Door::of(config.http.listen, client.clone(), metrics.clone());
    let pages = Pages { metrics: metrics.clone(), pulse: Pulse::start(), readiness: readiness.clone() };
    tasks.spawn(async move {
        api::serve(listener, door, pages, std::future::pending()).await;
        "http"
    });

    let (word, pause) = watch::channel(Pause::Everywhere);
    let follow = brake::follow(client.clone(), config.cluster.namespace.to_string(), word);
    tasks.spawn(async move {
        follow.await;
        "brake"
    });

    tokio::pin!(stop);
    let mut engine = Engine::new(rules(&config), clock.now());
    engine.observe(Observation { at: clock.now(), fact: Fact::Records { read: false } });
    let remembered = tokio::select! {
        () = &mut stop => return Ok(()),
        remembered = recall_evidence(&client, &config.cluster.namespace, patience) => remembered,
    };
    let keeps_evidence = remembered.is_some();
    let known: BTreeSet<Uid> = remembered.iter().flatten().map(|(workload, _)| *workload).collect();
    for (workload, bytes) in remembered.into_iter().flatten() {
        engine.observe(Observation { at: clock.now(), fact: Fact::RememberedEvidence { workload, bytes } });
    }

    let (facts, mut heard) = mpsc::channel(FACTS_WAITING);
    let (notices, noticed) = mpsc::channel(FACTS_WAITING);
    let tick = clock.clone();
    let observing = observe::Settings {
        namespace: config.cluster.namespace.clone(),
        scope: Scope::OptedIn,
        excluded: config.cluster.excluded_namespaces.iter().cloned().collect(),
        defaults: defaults(&config),
        paused: pause.clone(),
        scraping: if config.prometheus.instead_of_kubelets { None } else { Some(scraping(&config, roots)?) },
        usage_every: Some(std_duration(config.observe.usage_interval)),
        shadowing: Some(config.observe.shadow_check_rate)
            .filter(|rate| *rate > 0.0)
            .map(|rate| Shadowing { rate, loopback: config.observe.shadow_loopback }),
    };
    let mut observer = observe::start(client.clone(), observing, Arc::new(move || tick.now()), facts.clone(), notices);
    let tick = clock.clone();
    let (announcer, crier) = act::announcer(client.clone(), patience, instance(), Arc::new(move || tick.now()));
    tasks.spawn(async move {
        crier.await;
        "announcements"
    });
    tasks.spawn(tell::hear(noticed, metrics.clone(), announcer.clone()));

    let own = (config.cluster.namespace.clone(), "probe-tuner".into());
    let actor = Actor::new(client.clone(), act::Settings { own, defaults: defaults(&config), limits: patience });
    let (work, jobs) = mpsc::channel(WORK_WAITING);
    let mut shards = Shards::new(&config.cluster.namespace, config.store.evidence_interval, clock.now());
    let writer = Writer {
        client: client.clone(),
        patience,
        actor: actor.clone(),
        shards: shards.clone(),
        namespace: config.cluster.namespace.to_string(),
        clock: clock.clone(),
        metrics: metrics.clone(),
        announcer: announcer.clone(),
        facts: facts.clone(),
    };
    let writing = tokio::spawn(writer.run(jobs));

    let mut past = past::start(&config, known, &clock, &metrics, &facts, &mut tasks)?;

    tasks.spawn(recall(client.clone(), patience, clock.clone(), facts.clone(), readiness.clone()));

    let mut turns = interval(TURN_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tried: Option<Instant> = None;
    let mut stood = Stood::new();
    let last_word = LastWord::default();
    let mut batch = Vec::with_capacity(FACTS_AT_ONCE);
    let mut dropped = 0;
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut stop => break Ok(()),
            Some(dead) = tasks.join_next() => match dead {
                // These end when they have done what they are for.
                Ok("recall" | "fence") => {}
                Ok(name) => break Err(Error::Task(name)),
                Err(_) => break Err(Error::Task("of a helper")),
            },
            ended = &mut observer.task => break match ended {
                Ok(Ok(())) | Err(_) => Err(Error::Task("that observes")),
                Ok(Err(e)) => Err(e.into()),
            },
            _ = turns.tick() => {
                let again = if engine.fence() { FENCE_EVERY } else { FENCE_AGAIN };
                if tried.is_none_or(|t| t.elapsed() >= again) {
                    tried = Some(Instant::now());
                    let on = observer.deployments(FENCE_ON);
                    tasks.spawn(try_fence(actor.clone(), on, last_word.clone(), metrics.clone(), clock.clone(), facts.clone()));
                }
                if observer.progress.borrow().full {
                    readiness.caches_are_full();
                }
                turn(&mut engine, &work, &metrics, &announcer, &clock, &mut stood);
                if keeps_evidence {
                    put_by(&engine, &mut shards, &work, &clock, false);
                }
                let lost = engine.dropped();
                if lost > dropped {
                    metrics.emit(&Event::Dropped { what: Lost::Fact, count: lost - dropped });
                    dropped = lost;
                }
            }
            Some(recalled) = past.recalled() => {
                // Who is under a change of ours is judged by what was watched since: its past came too late.
                let at_rest = |v: crate::engine::View| v.memory.in_flight.is_none() && !v.gone;
                if engine.view(recalled.0).is_some_and(at_rest) {
                    let (workload, bytes) = recalled;
                    engine.observe(Observation { at: clock.now(), fact: Fact::RememberedEvidence { workload, bytes } });
                }
            }
            n = heard.recv_many(&mut batch, FACTS_AT_ONCE) => {
                if n == 0 {
                    break Err(Error::Task("that observes"));
                }
                for o in batch.drain(..) {
                    metrics.emit(&Event::Observed(&o.fact));
                    past.heard(&o.fact);
                    engine.observe(o);
                }
            }
        }
    };
    observer.task.abort();
    if keeps_evidence {
        put_by(&engine, &mut shards, &work, &clock, true);
    }
    finish(work, writing).await;
    ended
}

/// Where each workload stood when it was last told.
type Stood = BTreeMap<Uid, (Phase, Reason)>;

/// Who says it, in Events: the pod's name, which Kubernetes makes the host's.
fn instance() -> Name {
    std::env::var("HOSTNAME").ok().filter(|n| !n.is_empty()).unwrap_or_else(|| "probe-tuner".into()).into()
}

/// Takes a turn, if the writer has room for what it may bring.
fn turn(
    engine: &mut Engine,
    work: &mpsc::Sender<Work>,
    metrics: &Metrics,
    announcer: &Announcer,
    clock: &Clock,
    stood: &mut Stood,
) {
    let Ok(place) = work.try_reserve() else { return };
    let begin = Instant::now();
    let now = clock.now();
    let turn = engine.turn(now);
    let views: Vec<_> = turn.news.iter().filter_map(|uid| engine.view(*uid)).collect();
    for view in &views {
        // Figures move with every scrape; a line is written when it stands elsewhere than before.
        if stood.insert(view.uid, (view.phase, view.reason)) != Some((view.phase, view.reason)) {
            metrics.emit(&Event::Decided(view));
        }
        if view.gone {
            stood.remove(&view.uid);
        }
    }
    for foreseen in &turn.foretold {
        tell::foretold(announcer, foreseen);
    }
    tell::judged(metrics, turn.judged);
    for ended in &turn.ended {
        tell::ended(metrics, announcer, ended);
    }
    metrics.stand(engine.stands());
    metrics.expected(engine.prior());
    metrics.emit(&Event::Turned { took: begin.elapsed(), changes: turn.changes.len(), news: views.len() });
    let gone = engine.forget_gone();
    if !views.is_empty() || !turn.changes.is_empty() || !gone.is_empty() {
        place.send(Work::Turn { views, changes: turn.changes, gone, planned: now });
    }
}

/// Hands the evidence that is due to the writer.
fn put_by(engine: &Engine, shards: &mut Shards, work: &mpsc::Sender<Work>, clock: &Clock, all: bool) {
    if work.capacity() < SHARDS / 2 && !all {
        return;
    }
    let due = shards.due(clock.now(), all);
    if due.is_empty() {
        return;
    }
    let mut entries: Vec<Vec<_>> = vec![Vec::new(); SHARDS];
    for w in engine.workloads() {
        let i = shard(w.uid);
        if let (true, Some(e)) = (due.contains(&i), engine.evidence(w.uid)) {
            entries[i].push((w.uid, e.encode()));
        }
    }
    for shard in due {
        let entries = std::mem::take(&mut entries[shard]);
        // No room: the next interval has it.
        work.try_send(Work::Evidence { shard, entries }).unwrap_or_default();
    }
}

/// Writes down all that is known and waits for it, as long as the kubelet's grace allows.
async fn finish(work: mpsc::Sender<Work>, writing: tokio::task::JoinHandle<()>) {
    const GRACE: Duration = Duration::from_secs(20);
    let done = async {
        if work.send(Work::Finish).await.is_ok() {
            writing.await.unwrap_or_default();
        }
    };
    if tokio::time::timeout(GRACE, done).await.is_err() {
        tracing::warn!("not all evidence could be written down within {GRACE:?}; the last interval of it is lost");
    }
}

/// What the trials of the fence said the last time, so that the same is not told at each of them.
type LastWord = Arc<Mutex<String>>;

/// Tries the fence and tells the engine.
async fn try_fence(
    actor: Actor,
    on: Vec<Address>,
    last: LastWord,
    metrics: Arc<Metrics>,
    clock: Clock,
    facts: mpsc::Sender<Observation>,
) -> &'static str {
    let (holds, why) = match actor.try_fence(&on).await {
        Fence::Holds => (true, "a forbidden dry run was refused".to_owned()),
        Fence::Open(why) => (false, why.to_string()),
        Fence::Absent => (false, "there is no Deployment to try it on yet".to_owned()),
    };
    let news = {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, why.clone()) != why
    };
    if news {
        metrics.emit(&Event::Fence { holds, why: &why });
    }
    facts.send(Observation { at: clock.now(), fact: Fact::Fence { holds } }).await.unwrap_or_default();
    "fence"
}

/// Reads the evidence of an earlier life, before anything is observed: what comes later would take the place of what was
/// seen meanwhile. `None` where it may not be read: then it is gathered anew, and none is written over it.
async fn recall_evidence(client: &Client, namespace: &str, patience: Patience) -> Option<Vec<(Uid, Vec<u8>)>> {
    let mut all = Vec::new();
    for i in 0..SHARDS {
        loop {
            match evidence::recall(client, namespace, i, patience).await {
                Ok(mut entries) => {
                    all.append(&mut entries);
                    break;
                }
                Err(failure) if failure.code() == Some(403) => {
                    tracing::error!(why = %failure, "evidence may not be read, so none is kept over a restart; hint: bind Role probe-tuner");
                    return None;
                }
                Err(failure) => {
                    tracing::warn!(kind = failure.kind(), why = %failure, "evidence of an earlier life cannot be read yet");
                    sleep(RECALL_AGAIN).await;
                }
            }
        }
    }
    Some(all)
}

/// Reads what an earlier life wrote down, again and again until it has all of it.
async fn recall(
    client: Client,
    patience: Patience,
    clock: Clock,
    facts: mpsc::Sender<Observation>,
    readiness: Arc<Readiness>,
) -> &'static str {
    let tell = async |fact| facts.send(Observation { at: clock.now(), fact }).await.unwrap_or_default();
    let mut told = None;
    loop {
        match tunings::recall(&client, patience).await {
            Ok(recalled) => {
                for (workload, memory) in recalled.memories {
                    tell(Fact::Remembered { workload, memory: Box::new(memory) }).await;
                }
                for (workload, why) in recalled.unreadable {
                    tracing::warn!(%workload, %why, "its ProbeTuning cannot be read: the workload is left alone until a person deletes that object");
                    tell(Fact::Illegible { workload }).await;
                }
                tell(Fact::Records { read: true }).await;
                readiness.state_is_known();
                return "recall";
            }
            Err(failure) => {
                let hint = match failure.code() {
                    Some(404) => "; hint: `kubectl apply -k deploy/manifests` installs the kinds",
                    Some(403) => "; hint: bind ClusterRole probe-tuner-read (list probetunings)",
                    _ => "",
                };
                // Once, not at each try: whoever reads the log must find it, not drown in it.
                if told.replace(failure.to_string()) != Some(failure.to_string()) {
                    tracing::error!(kind = failure.kind(), why = %failure, "the ProbeTunings cannot be read: nothing is written before they are{hint}");
                }
                sleep(RECALL_AGAIN).await;
            }
        }
    }
}
