//! The daemon's engine on a workload's past, as a Prometheus kept it: what it would have recommended, when, and what it
//! expects of each alternative now.
//!
//! The past is what it was: nothing that the engine would have changed is played out, since nobody knows how the pods
//! would then have lived. So it is watched as in mode `recommend`, and each change of its mind is told with its moment.
//! The numbers of the past are not in a Prometheus: those that are declared now are taken for those of all the time.

use super::clock::Clock;
use crate::annotations::{Annotations, Defaults, Rules as OwnersRules};
use crate::cluster::{Call, Failure, Patience};
use crate::decide::{Alternative, Judgement, Urgency};
use crate::engine::{Engine, Rules};
use crate::evidence::RestartRecord;
use crate::objects;
use crate::observation::{Fact, Observation};
use crate::plan::Limits;
use crate::policy::{Mode, Permission};
use crate::probe::{Handler, ProbeKind, Settings};
use crate::prometheus::{self, Budget, History, Pods, Recounted, Server, Subject};
use crate::reason::Reason;
use crate::sim::allow_all;
use crate::units::{Span, Timestamp, Uid};
use crate::workload::{Address, Probe, ProbeId, Workload, WorkloadKind};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Client;
use serde::de::DeserializeOwned;

/// How often the engine takes a turn: it judges anew each quarter of an hour, and what is urgent in the next turn.
const STEP: Span = Span::from_seconds(300);

/// Settings that are shown beside today's and the chosen one.
const ALTERNATIVES: [(u32, u32, u32); 2] = [(10, 10, 2), (10, 12, 2)];

/// Most changes of mind that are kept; an engine that has more is told off by their number.
const MOST_CHANGES: usize = 200;

/// Where the numbers of the probes come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// The workload as it is declared in the cluster now.
    Declared(Box<Workload>),
    /// Told: every probe that is found has these.
    Told(Settings),
}

/// A change of the engine's mind.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Which probe.
    pub probe: ProbeId,
    /// Its numbers.
    pub from: Settings,
    /// Those that it should have from then on; equal to `from` when a recommendation was taken back.
    pub to: Settings,
    /// What it would have taken: its own rollout, or the owner's next one.
    pub urgency: Urgency,
    /// Why, as a code.
    pub reason: Reason,
    /// Why, in words.
    pub message: String,
}

/// What is said of one probe at the end.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The engine's judgement.
    pub judgement: Judgement,
    /// Today's numbers, the usual alternatives and the chosen one, as an explanation has them; none of a startup probe.
    pub alternatives: Vec<Alternative>,
}

/// What came of a backtest.
#[derive(Clone, Debug, PartialEq)]
pub struct Backtest {
    /// Whose.
    pub address: Address,
    /// What the history was made of.
    pub told: Recounted,
    /// Each probe that may be judged.
    pub verdicts: Vec<Verdict>,
    /// Each change of mind, in order of time.
    pub changes: Vec<Change>,
    /// Those beyond the bound.
    pub more_changes: usize,
    /// The last restarts, at most 20, and the probability that each was false as the evidence alone has it.
    pub restarts: Vec<RestartRecord>,
}

/// The present moment, for who has no loop.
pub fn now() -> Timestamp {
    Clock::start().now()
}

/// The workload as the cluster declares it, with what its owners allow; the mode is raised to `recommend`, since a
/// person asks.
///
/// # Errors
/// The API server's own.
pub async fn declared(client: &Client, address: &Address, now: Timestamp) -> Result<Option<Workload>, Failure> {
    let Address { namespace, kind, name } = address;
    let plural = format!("{}s", kind.word());
    let path = format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}");
    let object = Call::get(path).send(client, Patience::default()).await?;
    // Who may not read the Namespace gets what the workload's own annotations say.
    let space = Call::get(format!("/api/v1/namespaces/{namespace}")).send(client, Patience::default()).await;
    let annotations = |o: &serde_json::Value| {
        serde_json::from_value::<Annotations>(o["metadata"]["annotations"].clone()).unwrap_or_default()
    };
    let space = space.as_ref().map(annotations).unwrap_or_default();
    let rules = OwnersRules::read(&Defaults::default(), &space, &annotations(&object));
    let permission = Permission { mode: Mode::Recommend, ..rules.at(now, false) };
    Ok(match kind {
        WorkloadKind::Deployment => read::<Deployment>(object).and_then(|d| objects::deployment(&d, permission)),
        WorkloadKind::StatefulSet => read::<StatefulSet>(object).and_then(|s| objects::stateful_set(&s, permission)),
        WorkloadKind::DaemonSet => read::<DaemonSet>(object).and_then(|d| objects::daemon_set(&d, permission)),
    })
}

fn read<T: DeserializeOwned>(object: serde_json::Value) -> Option<T> {
    serde_json::from_value(object).ok()
}

/// The history of a workload's pods over the time that ends now.
///
/// # Errors
/// The server's, when nothing at all was answered.
pub async fn history(
    server: &Server,
    address: &Address,
    since: Span,
    now: Timestamp,
    budget: &Budget,
) -> Result<History, prometheus::Error> {
    prometheus::fetch(server, &address.namespace, &pods(address), (now - since, now), budget).await
}

/// How a workload's pods are named.
pub fn pods(address: &Address) -> Pods {
    Pods { kind: address.kind, name: address.name.to_string() }
}

/// Plays a history to the engine.
pub fn play(history: &History, address: &Address, numbers: Numbers, rules: &Rules) -> Backtest {
    let workload = match numbers {
        Numbers::Declared(workload) => *workload,
        Numbers::Told(settings) => made_up(history, address, settings),
    };
    let uid = workload.uid;
    let subject = Subject { workload, pods: pods(address) };
    // The warm-up after a daemon's own start is no part of the past.
    let rules = Rules { limits: Limits { warm_up: Span::ZERO, ..rules.limits.clone() }, ..rules.clone() };
    let mut watching = Watching {
        engine: Engine::new(rules.clone(), history.from),
        uid,
        next: None,
        last: Vec::new(),
        changes: Vec::new(),
        more: 0,
    };
    watching.engine.observe(Observation { at: history.from, fact: Fact::Fence { holds: true } });
    let told = prometheus::recount(history, &subject, |o| watching.observe(o));
    watching.turn(history.until);
    let Watching { engine, changes, more, .. } = watching;
    let view = engine.view(uid);
    let verdicts = engine.explain(uid, history.until).into_iter().map(|e| {
        let shown = settings(&e.judgement);
        let place = |a: &Alternative| shown.iter().position(|s| *s == a.settings);
        let mut alternatives: Vec<Alternative> = e.alternatives.into_iter().filter(|a| place(a).is_some()).collect();
        alternatives.sort_by_key(place);
        Verdict { judgement: e.judgement, alternatives }
    });
    Backtest {
        address: address.clone(),
        told,
        verdicts: verdicts.collect(),
        changes,
        more_changes: more,
        restarts: view.as_ref().map(|v| v.restarts.clone()).unwrap_or_default(),
    }
}

/// Today's numbers, the usual alternatives and the chosen one, each once.
fn settings(j: &Judgement) -> Vec<Settings> {
    let mut all = vec![j.current];
    if j.probe.kind != ProbeKind::Startup {
        all.extend(ALTERNATIVES.iter().filter_map(|(p, t, k)| Settings::new(*p, *t, *k)));
    }
    all.push(j.wanted);
    let mut once = Vec::with_capacity(all.len());
    for s in all {
        if !once.contains(&s) {
            once.push(s);
        }
    }
    once
}

/// A workload of the probes that a history has, all with the same numbers: where nobody can be asked for the real one.
pub fn made_up(history: &History, address: &Address, settings: Settings) -> Workload {
    let ids: std::collections::BTreeSet<&ProbeId> = history.tracks.keys().map(|(_, id)| id).collect();
    let probe = |id: &ProbeId| Probe { id: id.clone(), handler: Handler::Http, settings, initial_delay: Span::ZERO };
    let pods = history.tracks.keys().map(|(uid, _)| uid).collect::<std::collections::BTreeSet<_>>().len();
    Workload {
        uid: Uid::from_bits(1),
        address: address.clone(),
        generation: 1,
        replicas: u32::try_from(pods).unwrap_or(u32::MAX),
        version: 1,
        probes: ids.into_iter().map(probe).collect(),
        permission: Permission { mode: Mode::Recommend, probes: ProbeKind::ALL.to_vec(), ..allow_all() },
        sidecars: Vec::new(),
        unpatchable: Vec::new(),
    }
}

/// The engine on its way through the past.
struct Watching {
    engine: Engine,
    uid: Uid,
    /// When the next turn is due.
    next: Option<Timestamp>,
    last: Vec<(ProbeId, Settings, Urgency)>,
    changes: Vec<Change>,
    more: usize,
}

impl Watching {
    fn observe(&mut self, o: Observation) {
        // A silence of hours brings nothing new: one turn at its end is as good as many.
        if let Some(next) = self.next.filter(|next| o.at >= *next) {
            self.turn(next);
        }
        self.next = Some(self.next.filter(|next| o.at < *next).unwrap_or(o.at + STEP));
        self.engine.observe(o);
    }

    fn turn(&mut self, now: Timestamp) {
        // In mode `recommend` no turn brings changes.
        let turn = self.engine.turn(now);
        drop(turn.changes);
        let Some(view) = self.engine.view(self.uid) else { return };
        for j in &view.judgements {
            let known = self.last.iter_mut().find(|(id, ..)| *id == j.probe);
            let before = known.as_ref().map_or((j.current, Urgency::Hold), |(_, s, u)| (*s, *u));
            let wishes = j.wanted != j.current;
            let moved = before.0 != j.wanted || (wishes && before.1 != j.urgency);
            match known {
                Some(known) => (known.1, known.2) = (j.wanted, j.urgency),
                None => self.last.push((j.probe.clone(), j.wanted, j.urgency)),
            }
            if !moved {
                continue;
            }
            if self.changes.len() >= MOST_CHANGES {
                self.more += 1;
                continue;
            }
            self.changes.push(Change {
                at: now,
                probe: j.probe.clone(),
                from: j.current,
                to: j.wanted,
                urgency: j.urgency,
                reason: j.reason,
                message: j.message.clone(),
            });
        }
    }
}
