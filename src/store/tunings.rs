//! `ProbeTuning` objects: read once at start, written when what people would read in them changes.
//!
//! They are applied by the server (server-side apply, never forced), each write the whole object: the daemon is the one
//! writer. Noise is no write: figures are rounded, and where nothing but figures and words moved, the object is written
//! once a day.

use crate::cluster::{Call, Failure, Patience};
use crate::crd::{self, Condition, ConditionStatus, ProbeTuning, ProbeTuningStatus, cut, two_digits};
use crate::decide::Judgement;
use crate::engine::{Differing, Forecast, Phase, View};
use crate::evidence::Basis;
use crate::memory::Memory;
use crate::units::{Span, Timestamp, Uid};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Objects a page of the one list at start.
const PAGE: usize = 500;

/// Pages read at start: what is beyond 50,000 objects is not ours to have.
const MOST_PAGES: usize = 100;

/// What no other reason brings is written once in this time.
const REFRESH: Span = Span::DAY;

const COLLECTION: &str = "/apis/probe-tuner.io/v1alpha1";

/// What was read of the records of an earlier life.
#[derive(Debug, Default)]
pub struct Recalled {
    /// What is remembered, by workload.
    pub memories: Vec<(Uid, Memory)>,
    /// Records that cannot be read, by workload, and why: those workloads are to be left alone.
    pub unreadable: Vec<(Uid, String)>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<ProbeTuning>,
    metadata: ListMeta,
}

#[derive(Deserialize)]
struct ListMeta {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// Reads every record, in pages.
///
/// # Errors
/// The first request that fails. A 404 means that the kind is not installed. Nothing may be written before this has
/// succeeded: a change may be under way that only these records know of.
pub async fn recall(client: &Client, patience: Patience) -> Result<Recalled, Failure> {
    let mut recalled = Recalled::default();
    let mut next = String::new();
    for _ in 0..MOST_PAGES {
        let path = format!("{COLLECTION}/probetunings?limit={PAGE}{next}");
        let answer = Call::get(path).send(client, patience).await?;
        let list: List =
            serde_json::from_value(answer).map_err(|e| Failure::Broken(format!("a list of probetunings: {e}")))?;
        for object in &list.items {
            let Some(uid) = object.workload() else { continue };
            match object.recall() {
                Ok(memory) => recalled.memories.push((uid, memory)),
                Err(e) => recalled.unreadable.push((uid, e.to_string())),
            }
        }
        match list.metadata.next.filter(|n| !n.is_empty()) {
            None => break,
            // A continue token is URL-safe base64.
            Some(token) => next = format!("&continue={token}"),
        }
    }
    Ok(recalled)
}

/// Writes the objects and knows what stands in them.
#[derive(Debug, Default)]
pub struct Tunings {
    written: BTreeMap<Uid, (ProbeTuningStatus, Timestamp)>,
}

impl Tunings {
    /// Nothing written yet: each workload's first view is written.
    pub fn new() -> Self {
        Tunings::default()
    }

    /// The request that brings this view into the cluster, or `None` where nothing that matters has changed since the
    /// last one. Tell [`Tunings::wrote`] when it was done.
    ///
    /// # Errors
    /// When the view holds more than an object takes; then nothing may be begun for this workload.
    pub fn request(&self, view: &View, now: Timestamp) -> Result<Option<(Call, ProbeTuningStatus)>, crd::Error> {
        let last = self.written.get(&view.uid);
        let status = status(view, last.map(|(s, _)| s), now)?;
        if let Some((before, at)) = last
            && matters(before) == matters(&status)
            && now.since(*at) < REFRESH
        {
            return Ok(None);
        }
        let name = format!("{}-{}", view.address.kind.word(), view.address.name);
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(view.address.namespace.to_string()),
            owner_references: Some(vec![OwnerReference {
                api_version: "apps/v1".into(),
                kind: view.address.kind.name().into(),
                name: view.address.name.to_string(),
                uid: view.uid.to_string(),
                controller: Some(false),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        };
        let object = ProbeTuning::new(metadata, status.clone());
        let path = format!("{COLLECTION}/namespaces/{}/probetunings/{name}", view.address.namespace);
        Ok(Some((Call::apply(&path, &object), status)))
    }

    /// Notes that the request was done.
    pub fn wrote(&mut self, workload: Uid, status: ProbeTuningStatus, at: Timestamp) {
        self.written.insert(workload, (status, at));
    }

    /// Forgets a workload that is gone.
    pub fn forget(&mut self, workload: Uid) {
        self.written.remove(&workload);
    }
}

/// The part of a status whose change is worth a write.
fn matters(s: &ProbeTuningStatus) -> ProbeTuningStatus {
    let mut s = s.clone();
    s.message = None;
    s.columns = None;
    if let Some(w) = &mut s.workload {
        // Every scaling moves it.
        w.generation = 0;
    }
    for p in &mut s.probes {
        p.false_restarts = None;
        p.detect_seconds = None;
        p.hours = None;
    }
    for c in &mut s.conditions {
        c.message = String::new();
    }
    s
}

fn status(view: &View, last: Option<&ProbeTuningStatus>, now: Timestamp) -> Result<ProbeTuningStatus, crd::Error> {
    let View {
        uid,
        address,
        generation,
        mode,
        phase,
        reason,
        message,
        sidecars: _,
        judgements,
        memory,
        restarts,
        forecasts,
        differing,
        unreadable,
        gone: _,
    } = view;
    let ahead = |j: &Judgement| forecasts.iter().find(|f| f.probe == j.probe).map(forecast);
    let probes: Vec<crd::ProbeState> =
        judgements.iter().map(|j| crd::ProbeState { forecast: ahead(j), ..probe(j) }).collect();
    let day = restarts.iter().filter(|r| now.since(r.at) < Span::DAY).count();
    let mut status = ProbeTuningStatus {
        workload: Some(crd::WorkloadRef {
            kind: address.kind.into(),
            name: address.name.to_string(),
            uid: uid.to_string(),
            generation: *generation,
        }),
        mode: Some(mode.word().into()),
        phase: Some(wire(*phase)),
        reason: Some(reason.code().into()),
        message: Some(cut(message, 1024)),
        columns: Some(crd::Columns::of(&probes)),
        probes,
        restarts: Some(crd::Restarts { day: i64::try_from(day).unwrap_or(i64::MAX) }),
        ..ProbeTuningStatus::default()
    };
    status.remember(memory)?;
    let said = unreadable.iter().map(|u| format!("{} is {:?}; write for example {:?}", u.key, u.value, u.wanted));
    let invalid: Vec<String> = said.collect();
    for (kind, holds, why, words) in [
        ("Invalid", !unreadable.is_empty(), "UnreadableAnnotation", invalid.join("; ")),
        (
            "Contested",
            !memory.contested.is_empty(),
            "NumbersReplaced",
            "somebody put other numbers in the place of ours".to_owned(),
        ),
        ("Degraded", *phase == Phase::Degraded, "PersonNeeded", message.clone()),
        ("ShadowChecksDiffer", !differing.is_empty(), "NotTheKubeletsWay", differ(differing)),
    ] {
        if holds {
            status.conditions.push(condition(kind, why, &words, last, now));
        }
    }
    Ok(status)
}

/// Which probes' shadow checks see something else than the kubelet, in words.
fn differ(all: &[Differing]) -> String {
    let one = |d: &Differing| {
        let (ours, theirs) = (d.shares.0 * 100.0, d.shares.1 * 100.0);
        format!("{}: {ours:.1} % of ours were slow or not healthy, {theirs:.1} % of the kubelets'", d.probe)
    };
    let all: Vec<String> = all.iter().map(one).collect();
    format!("{}; what they saw is dropped: the daemon's way to the pods is not the kubelet's", all.join(", "))
}

fn condition(kind: &str, reason: &str, message: &str, last: Option<&ProbeTuningStatus>, now: Timestamp) -> Condition {
    let before = last.and_then(|s| s.conditions.iter().find(|c| c.type_ == kind));
    Condition {
        type_: kind.into(),
        status: ConditionStatus::True,
        reason: reason.into(),
        message: cut(message, 1024),
        last_transition_time: before.map_or_else(|| crd::time(now), |c| c.last_transition_time.clone()),
    }
}

fn probe(j: &Judgement) -> crd::ProbeState {
    crd::ProbeState {
        container: j.probe.container.to_string(),
        kind: j.probe.kind.into(),
        current: j.current.to_string(),
        recommended: Some(j.wanted.to_string()),
        false_restarts: j.now.zip(j.then).map(|(now, then)| crd::FalseRestarts {
            now: two_digits(now.false_restarts),
            then: two_digits(then.false_restarts),
            upper: two_digits(then.upper),
        }),
        detect_seconds: Some(crd::DetectSeconds {
            now: two_digits(j.current.worst_hang_detection() as f64),
            then: two_digits(j.wanted.worst_hang_detection() as f64),
        }),
        hours: Some(j.seen.floor_seconds() / 3600),
        forecast: None,
    }
}

fn forecast(f: &Forecast) -> crd::Forecast {
    let foretold = f.foretold.as_ref();
    crd::Forecast {
        at: foretold.map(|f| crd::time(f.at)),
        within_hours: foretold.map(|f| f.within.floor_seconds() / 3600),
        probability: foretold.map(|f| two_digits(f64::from(f.probability))),
        basis: foretold.map(|f| if f.basis == Basis::Season { "season".into() } else { "trend".into() }),
        hits: f.record.hits.into(),
        misses: f.record.misses.into(),
        surprises: f.record.surprises.into(),
    }
}

fn wire(phase: Phase) -> crd::Phase {
    match phase {
        Phase::Observing => crd::Phase::Observing,
        Phase::Recommending => crd::Phase::Recommending,
        Phase::RollingOut => crd::Phase::RollingOut,
        Phase::Verifying => crd::Phase::Verifying,
        Phase::Held => crd::Phase::Held,
        Phase::Degraded => crd::Phase::Degraded,
        Phase::Refused => crd::Phase::Refused,
    }
}
