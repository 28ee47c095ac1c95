//! What the writer asks and sends around a change, and in which order. The API server is a script.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[expect(dead_code, reason = "it needs no script in order")]
#[path = "../../../tests/support/scripted.rs"]
mod scripted;

use super::*;
use crate::act;
use crate::annotations::Defaults;
use crate::change::{Intent, Step};
use crate::engine::Phase;
use crate::memory::Memory;
use crate::policy::Mode;
use crate::probe::ProbeKind;
use crate::workload::{ProbeId, WorkloadKind};
use scripted::{Answer, Seen, Server, ok, refuse, refuse_because};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const UID: &str = "7c1e0a4f-0001-4abc-9def-0123456789ab";
const LEASE: &str = "GET /apis/coordination.k8s.io/v1/namespaces/probe-tuner/leases/probe-tuner";
const OBJECT: &str = "PATCH /apis/probe-tuner.io/v1alpha1/namespaces/shop/probetunings/deployment-web";
const PATCH: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web?fieldManager=probe-tuner";

fn address() -> Address {
    Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() }
}

fn probe() -> ProbeId {
    ProbeId { container: "app".into(), kind: ProbeKind::Liveness }
}

fn change() -> Change {
    Change {
        id: 7,
        workload: Uid::parse(UID).unwrap(),
        address: address(),
        generation: 4,
        intent: Intent::Tune,
        steps: vec![Step { probe: probe(), from: "10/1/3".parse().unwrap(), to: "10/10/2".parse().unwrap() }],
        reason: Reason::Loosen,
        message: "looser".into(),
    }
}

/// A workload whose numbers we have changed before, or never.
fn view(changed: bool) -> View {
    let owners = changed.then(|| (probe(), "10/1/3".parse().unwrap())).into_iter().collect();
    View {
        uid: Uid::parse(UID).unwrap(),
        address: address(),
        generation: 4,
        mode: Mode::Auto,
        phase: Phase::Observing,
        reason: Reason::Loosen,
        message: String::new(),
        sidecars: Vec::new(),
        judgements: Vec::new(),
        memory: Memory { owners, ..Memory::default() },
        restarts: Vec::new(),
        forecasts: Vec::new(),
        differing: Vec::new(),
        unreadable: Vec::new(),
        gone: false,
    }
}

/// The Deployment, with our entry in its `managedFields`.
fn deployment() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": UID, "generation": 4,
            "managedFields": [{"manager": "kubectl"}, {"manager": "probe-tuner"}]},
        "spec": {"replicas": 6, "selector": {}, "template": {"spec": {"containers": [{"name": "app", "livenessProbe":
            {"httpGet": {"port": 80}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}}]}}},
        "status": {"observedGeneration": 4, "replicas": 6, "updatedReplicas": 6, "availableReplicas": 6}
    })
}

fn lease(paused: &str) -> Answer {
    ok(json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "probe-tuner", "annotations": {"probe-tuner.io/paused": paused}}}))
}

fn nobody_has_paused() -> Answer {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound",
        "message": "leases.coordination.k8s.io \"probe-tuner\" not found"});
    Answer::Say(404, vec![], status.to_string())
}

/// A cluster in which all goes well but what `first` answers.
fn cluster(first: impl Fn(&Seen) -> Option<Answer> + Send + Sync + 'static) -> Server {
    Server::answering(move |seen| {
        let fence = "ValidatingAdmissionPolicy 'probe-tuner-fence-workloads' with binding 'x' denied request: no";
        match &*seen.line {
            _ if let Some(answer) = first(seen) => answer,
            LEASE => nobody_has_paused(),
            "GET /api/v1/namespaces/shop" => {
                ok(json!({"metadata": {"name": "shop", "annotations": {"probe-tuner.io/mode": "auto"}}}))
            }
            line if line.contains("dryRun") && seen.body[0]["path"] == "/spec/replicas" => {
                refuse_because(403, "forbidden", &[fence])
            }
            _ => ok(deployment()),
        }
    })
}

fn writer(server: &Server) -> (Writer, mpsc::Receiver<Observation>) {
    let patience = Patience { answer: Duration::from_millis(100), patience: Duration::from_millis(100) };
    let (own, client, clock) = (("probe-tuner".into(), "probe-tuner".into()), server.client(), Clock::start());
    let (announcer, _) = act::announcer(client.clone(), patience, "pod".into(), Arc::new(|| Timestamp::EPOCH));
    let (facts, told) = mpsc::channel(8);
    let settings = act::Settings { own, defaults: Defaults::default(), limits: patience };
    let writer = Writer {
        actor: Actor::new(client.clone(), settings),
        shards: Shards::new("probe-tuner", Span::HOUR, clock.now()),
        namespace: "probe-tuner".into(),
        metrics: Arc::new(Metrics::new()),
        client,
        patience,
        clock,
        announcer,
        facts,
    };
    (writer, told)
}

/// What becomes of a change that was planned so long ago.
async fn turn(server: &Server, views: Vec<View>, ago: Span) -> Outcome {
    let (writer, mut told) = writer(server);
    let planned = writer.clock.now() - ago;
    let (work, jobs) = mpsc::channel(2);
    let turn = Work::Turn { views, changes: vec![change()], gone: Vec::new(), planned };
    assert!(work.send(turn).await.is_ok() && work.send(Work::Finish).await.is_ok());
    writer.run(jobs).await;
    match told.recv().await.unwrap().fact {
        Fact::Outcome { outcome, .. } => outcome,
        other => panic!("{other:?}"),
    }
}

fn patches(server: &Server) -> usize {
    server.lines().iter().filter(|line| *line == PATCH).count()
}

#[tokio::test]
async fn a_brake_that_was_pulled_since_the_turn_stops_the_change() {
    for (brake, taken) in [
        (lease("*"), false),
        (lease("till,shop"), false),
        (lease("shop till"), false),
        (refuse(403, "no right"), false),
        (Answer::Hang, false),
        (lease("till"), true),
        (nobody_has_paused(), true),
    ] {
        let answer = brake.clone();
        let server = cluster(move |seen| (seen.line == LEASE).then(|| answer.clone()));
        let outcome = turn(&server, Vec::new(), Span::ZERO).await;
        assert_eq!(matches!(outcome, Outcome::Applied { .. }), taken, "{brake:?}: {outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Withheld { reason: Reason::Paused, .. }), !taken, "{brake:?}");
        // The numbers, and the entry in managedFields.
        assert_eq!(patches(&server), if taken { 2 } else { 0 }, "{brake:?}");
    }
}

#[tokio::test]
async fn a_change_that_comes_later_than_a_minute_after_it_was_planned_is_not_even_looked_at() {
    let server = cluster(|_| None);
    let outcome = turn(&server, Vec::new(), Span::from_seconds(61)).await;
    assert!(matches!(&outcome, Outcome::Withheld { why, .. } if why.contains("later than 1m")), "{outcome:?}");
    assert_eq!(server.lines(), [""; 0]);
    let outcome = turn(&server, Vec::new(), Span::from_seconds(50)).await;
    assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_change_is_written_down_before_it_is_made_and_not_made_where_it_cannot_be() {
    let server = cluster(|_| None);
    assert!(matches!(turn(&server, vec![view(false)], Span::ZERO).await, Outcome::Applied { .. }));
    let place = |line: &str| server.lines().iter().position(|l| l.starts_with(line)).unwrap();
    assert!(place(OBJECT) < place(PATCH), "{:?}", server.lines());
    let server = cluster(|seen| seen.line.starts_with(OBJECT).then(|| refuse(500, "internal")));
    let outcome = turn(&server, vec![view(false)], Span::ZERO).await;
    assert!(matches!(&outcome, Outcome::Withheld { why, .. } if why.contains("written down first")), "{outcome:?}");
    assert_eq!(patches(&server), 0);
}

#[tokio::test]
async fn what_an_earlier_life_left_in_managed_fields_is_let_go_at_first_sight_but_not_while_paused() {
    let looks = AtomicUsize::new(0);
    // Paused at the first look.
    let server = cluster(move |seen| {
        let first = seen.line == LEASE && looks.fetch_add(1, Ordering::Relaxed) == 0;
        first.then(|| lease("*"))
    });
    let (mut writer, _told) = writer(&server);
    let mut state = State::default();
    state.greet(&view(false));
    assert!(state.clinging.is_empty(), "who was never changed has nothing of ours");
    let mut state = State::default();
    state.greet(&view(true));
    writer.release(&mut state).await;
    assert_eq!((server.lines(), state.clinging.len()), (vec![LEASE.to_owned()], 1));
    writer.release(&mut state).await;
    assert_eq!((patches(&server), state.clinging.len()), (1, 0));
    assert_eq!(server.seen().last().unwrap().body[2]["path"], "/metadata/managedFields/1");
    // Once a life.
    state.greet(&view(true));
    assert!(state.clinging.is_empty());
}
