//! The exact requests of `act`, and what it makes of each answer. The server is a script; what a real one refuses is
//! tried in `tests/cluster.rs` and in the tests of the fence.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/scripted.rs"]
mod scripted;

use probe_tuner::act::{Actor, Fence, Settings};
use probe_tuner::annotations::Defaults;
use probe_tuner::change::{Change, Intent, Outcome, Step};
use probe_tuner::cluster::Patience;
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::units::{Timestamp, Uid};
use probe_tuner::workload::{Address, ProbeId, WorkloadKind};
use scripted::{Answer, Server, ok, refuse, refuse_because};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const UID: &str = "7c1e0a4f-0001-4abc-9def-0123456789ab";
const NAMESPACE: &str = "GET /api/v1/namespaces/shop";
const READ: &str = "GET /apis/apps/v1/namespaces/shop/deployments/web";
const DRY: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web?fieldManager=probe-tuner&dryRun=All";
const PATCH: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web?fieldManager=probe-tuner";

fn address() -> Address {
    Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() }
}

fn change() -> Change {
    let probe = ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    Change {
        id: 7,
        workload: Uid::parse(UID).unwrap(),
        address: address(),
        generation: 4,
        intent: Intent::Tune,
        steps: vec![Step { probe, from: "10/1/3".parse().unwrap(), to: "10/10/2".parse().unwrap() }],
        reason: Reason::Loosen,
        message: "looser".into(),
    }
}

fn namespace(mode: &str) -> Value {
    json!({"metadata": {"name": "shop", "annotations": {"probe-tuner.io/mode": mode}}})
}

fn deployment() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": UID, "generation": 4},
        "spec": {"replicas": 6, "selector": {}, "template": {"spec": {"containers": [{"name": "app", "livenessProbe":
            {"httpGet": {"port": 80}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}}]}}},
        "status": {"observedGeneration": 4, "replicas": 6, "updatedReplicas": 6, "availableReplicas": 6}
    })
}

fn patched() -> Value {
    let mut object = deployment();
    object["metadata"]["generation"] = json!(5);
    object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}, {"manager": "probe-tuner"}]);
    object
}

fn fence() -> Answer {
    let cause = "ValidatingAdmissionPolicy 'probe-tuner-fence-workloads' with binding 'x' denied request: no";
    refuse_because(403, "deployments.apps \"web\" is forbidden", &[cause])
}

/// All that the server says when nothing goes wrong.
fn good() -> Vec<Answer> {
    vec![ok(namespace("auto")), ok(deployment()), ok(patched()), fence(), ok(patched()), ok(deployment())]
}

fn actor(server: &Server) -> Actor {
    let limits = Patience { answer: Duration::from_millis(50), patience: Duration::from_millis(1500) };
    let settings =
        Settings { own: ("probe-tuner".into(), "probe-tuner".into()), defaults: Defaults::default(), limits };
    Actor::new(server.client(), settings)
}

async fn apply(server: &Server, change: &Change) -> (Outcome, bool) {
    let done = actor(server).apply(change, Timestamp::EPOCH, false).await;
    (done.outcome, done.clinging)
}

#[tokio::test]
async fn a_change_is_six_requests_and_no_others() {
    let server = Server::new(good());
    assert_eq!(apply(&server, &change()).await, (Outcome::Applied { generation: 5 }, false));
    let seen = server.seen();
    assert_eq!(server.lines(), [NAMESPACE, READ, DRY, DRY, PATCH, PATCH]);
    let probe = "/spec/template/spec/containers/0/livenessProbe";
    let numbers = json!([
        {"op": "test", "path": "/metadata/uid", "value": UID},
        {"op": "test", "path": "/metadata/generation", "value": 4},
        {"op": "test", "path": "/spec/template/spec/containers/0/name", "value": "app"},
        {"op": "test", "path": format!("{probe}/periodSeconds"), "value": 10},
        {"op": "test", "path": format!("{probe}/timeoutSeconds"), "value": 1},
        {"op": "replace", "path": format!("{probe}/timeoutSeconds"), "value": 10},
        {"op": "test", "path": format!("{probe}/failureThreshold"), "value": 3},
        {"op": "replace", "path": format!("{probe}/failureThreshold"), "value": 2},
    ]);
    assert_eq!(seen[2].body, numbers);
    assert_eq!(seen[3].body, json!([{"op": "add", "path": "/spec/replicas", "value": 7}]));
    assert_eq!(seen[4].body, numbers);
    let let_go = json!([
        {"op": "test", "path": "/metadata/uid", "value": UID},
        {"op": "test", "path": "/metadata/managedFields/1/manager", "value": "probe-tuner"},
        {"op": "remove", "path": "/metadata/managedFields/1"},
    ]);
    assert_eq!(seen[5].body, let_go);
    assert!(seen[2..].iter().all(|s| s.content.as_deref() == Some("application/json-patch+json")));
}

/// What a fault at request `step` (0 the Namespace, 1 the workload, 2 the dry run, 4 the patch) makes of the change.
async fn fault(step: usize, answer: Answer) -> (Outcome, usize) {
    let mut answers = good();
    answers[step] = answer;
    let server = Server::new(answers);
    let outcome = apply(&server, &change()).await.0;
    (outcome, server.lines().len())
}

#[tokio::test]
async fn a_fault_before_the_patch_ends_it_there_and_nothing_is_written() {
    for step in [0, 1, 2] {
        for (answer, wanted) in [
            (refuse(404, "not found"), "Gone"),
            (refuse(409, "conflict"), "Contested"),
            (refuse(422, "the server rejected our request"), "Contested"),
            (refuse_because(422, "invalid", &["must be greater than 0"]), "Refused"),
            (refuse(403, "no right"), "Refused"),
            (refuse_because(403, "denied", &["policy x denied request: y"]), "Refused"),
            // Nobody has said no to the change: it may come again, and a way back is not given up for it.
            (refuse(401, "who"), "Withheld"),
            (refuse(500, "internal"), "Withheld"),
            (Answer::Say(503, vec![], "upstream".into()), "Withheld"),
            (Answer::Say(200, vec![], "<html>".into()), "Withheld"),
            (Answer::Hang, "Withheld"),
        ] {
            let (outcome, requests) = fault(step, answer.clone()).await;
            let text = format!("{outcome:?}");
            assert!(text.starts_with(wanted), "step {step}: {answer:?} gave {text}");
            assert_eq!(requests, step + 1, "step {step}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_patch_of_which_nobody_knows_whether_it_was_done_is_unknown_and_never_repeated() {
    for answer in
        [refuse(500, "internal"), refuse(504, "late"), Answer::Hang, Answer::Say(200, vec![], "<html>".into())]
    {
        let mut answers = good();
        answers[4] = answer.clone();
        let server = Server::new(answers);
        let (outcome, clinging) = apply(&server, &change()).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{answer:?} gave {outcome:?}");
        assert!(clinging);
        assert_eq!(server.lines().len(), 5);
    }
}

#[tokio::test]
async fn a_patch_that_is_answered_with_no_is_an_outcome() {
    let contested = |found: &str| Outcome::Contested { found: found.into() };
    for (answer, wanted) in [
        (refuse(404, "gone"), Outcome::Gone),
        (refuse(409, "the object has been modified"), contested("the object has been modified")),
        (refuse(422, "the server rejected our request"), contested("the server rejected our request")),
        (
            refuse_because(403, "denied", &["policy x: the namespace's mode is not auto"]),
            Outcome::Refused {
                why: "the patch was refused: denied; policy x: the namespace's mode is not auto".into(),
            },
        ),
    ] {
        assert_eq!(fault(4, answer).await, (wanted, 5));
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_role() {
    let message = "deployments.apps \"web\" is forbidden: User cannot patch";
    let (outcome, _) = fault(2, refuse(403, message)).await;
    let Outcome::Refused { why } = outcome else { panic!("{outcome:?}") };
    assert_eq!(
        &*why,
        "the dry run was forbidden: deployments.apps \"web\" is forbidden: User cannot patch; hint: the daemon's account lacks a right; bind ClusterRoles probe-tuner-read and probe-tuner-write"
    );
}

#[tokio::test]
async fn too_many_requests_is_waited_for_as_long_as_the_server_says() {
    let busy = Answer::Say(429, vec![("retry-after", "1".into())], "Too many requests, please try again later.".into());
    let mut answers = good();
    answers.insert(4, busy);
    let server = Server::new(answers);
    let begun = Instant::now();
    assert_eq!(apply(&server, &change()).await.0, Outcome::Applied { generation: 5 });
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.lines(), [NAMESPACE, READ, DRY, DRY, PATCH, PATCH, PATCH]);
}

#[tokio::test]
async fn a_server_that_asks_for_more_patience_than_there_is_gets_no_second_request() {
    let busy = Answer::Say(429, vec![("retry-after", "3600".into())], "Too many requests".into());
    let (outcome, requests) = fault(4, busy).await;
    let why = "the patch was put off, nothing was written: 429: Too many requests".into();
    assert_eq!((outcome, requests), (Outcome::Withheld { reason: Reason::Refused, why }, 5));
}

#[tokio::test]
async fn the_fence_must_refuse_on_that_very_workload() {
    for (answer, hint) in [
        (ok(patched()), "was not refused; hint: install the policies"),
        (refuse(403, "no right"), "bind ClusterRole probe-tuner-write"),
        (
            refuse_because(403, "denied", &["ValidatingAdmissionPolicy 'other' denied"]),
            "another policy than probe-tuner-fence answered",
        ),
        (refuse(500, "internal"), "could not be tried: 500: internal"),
        (Answer::Hang, "could not be tried: no answer within 50ms"),
    ] {
        let (outcome, requests) = fault(3, answer).await;
        let Outcome::Withheld { reason: Reason::NoFence, why } = outcome else { panic!("{outcome:?}") };
        assert!(why.contains(hint), "{why}");
        assert_eq!(requests, 4);
    }
}

#[tokio::test]
async fn what_the_owners_say_at_that_moment_counts() {
    let annotated = |key: &str, value: &str| {
        let mut object = deployment();
        object["metadata"]["annotations"] = json!({ format!("probe-tuner.io/{key}"): value });
        object
    };
    let altered = |alter: fn(&mut Value)| {
        let mut object = deployment();
        alter(&mut object);
        object
    };
    for (space, object, reason, words) in [
        (json!({"metadata": {"name": "shop"}}), deployment(), Reason::RecommendOnly, "probe-tuner.io/mode is off here"),
        (namespace("canary"), deployment(), Reason::RecommendOnly, "probe-tuner.io/mode is canary here"),
        (
            namespace("auto"),
            annotated("mode", "recommend"),
            Reason::RecommendOnly,
            "probe-tuner.io/mode is recommend here",
        ),
        (
            namespace("auto"),
            annotated("mode", "Auto"),
            Reason::Unreadable,
            "annotation probe-tuner.io/mode of the workload: \"Auto\" cannot be read and counts as off; wanted: off, recommend, piggyback, canary or auto",
        ),
        (namespace("auto"), annotated("skip", "mine"), Reason::Skipped, "probe-tuner.io/skip: \"mine\""),
        (
            namespace("auto"),
            annotated("freeze-until", "1970-01-01T00:00:01Z"),
            Reason::Frozen,
            "probe-tuner.io/freeze-until lies ahead",
        ),
        (
            namespace("auto"),
            annotated("window", "Fri 09:00-10:00 UTC"),
            Reason::OutsideWindow,
            "probe-tuner.io/window is closed",
        ),
        (
            namespace("auto"),
            annotated("containers", "web"),
            Reason::RecommendOnly,
            "app/liveness is not among the chosen containers and probes",
        ),
        (namespace("auto"), altered(|d| d["spec"]["paused"] = json!(true)), Reason::Unpatchable, "spec.paused is set"),
        (
            namespace("auto"),
            altered(|d| d["status"]["updatedReplicas"] = json!(1)),
            Reason::Unpatchable,
            "a rollout is under way",
        ),
        (
            namespace("auto"),
            altered(|d| d["metadata"]["labels"] = json!({"argocd.argoproj.io/instance": "x"})),
            Reason::Unpatchable,
            "argocd manages it and would put its own numbers back",
        ),
    ] {
        let server = Server::new([ok(space), ok(object)]);
        let outcome = apply(&server, &change()).await.0;
        assert_eq!(outcome, Outcome::Withheld { reason, why: words.into() });
        assert_eq!(server.lines(), [NAMESPACE, READ]);
    }
}

#[tokio::test]
async fn nothing_is_written_while_paused() {
    let server = Server::new(good());
    let done = actor(&server).apply(&change(), Timestamp::EPOCH, true).await;
    assert!(matches!(done.outcome, Outcome::Withheld { reason: Reason::Paused, .. }));
    assert_eq!(server.lines(), [NAMESPACE, READ]);
}

#[tokio::test]
async fn a_workload_that_somebody_changed_meanwhile_is_left_as_it_is() {
    let mut object = deployment();
    object["metadata"]["generation"] = json!(5);
    object["status"]["observedGeneration"] = json!(5);
    let server = Server::new([ok(namespace("auto")), ok(object)]);
    assert_eq!(apply(&server, &change()).await.0, Outcome::Contested { found: "generation 5, not 4".into() });
    assert_eq!(server.lines(), [NAMESPACE, READ]);
}

#[tokio::test]
async fn the_way_back_waits_neither_for_a_window_nor_for_the_rollout_that_it_undoes() {
    let mut object = deployment();
    object["metadata"]["annotations"] = json!({"probe-tuner.io/window": "Fri 09:00-10:00 UTC"});
    object["status"]["availableReplicas"] = json!(4);
    let mut answers = good();
    answers[1] = ok(object);
    let server = Server::new(answers);
    let back = Change { intent: Intent::Revert, ..change() };
    assert_eq!(apply(&server, &back).await.0, Outcome::Applied { generation: 5 });
}

#[tokio::test]
async fn when_the_entries_shift_the_second_patch_is_made_anew() {
    let mut shifted = patched();
    shifted["metadata"]["managedFields"] = json!([{"manager": "probe-tuner"}]);
    let mut answers = good();
    answers[5] = refuse(422, "the server rejected our request");
    answers.extend([ok(shifted), ok(deployment())]);
    let server = Server::new(answers);
    assert_eq!(apply(&server, &change()).await, (Outcome::Applied { generation: 5 }, false));
    assert_eq!(server.lines()[5..], [PATCH, READ, PATCH]);
    assert_eq!(server.seen()[7].body[2]["path"], "/metadata/managedFields/0");
}

#[tokio::test]
async fn an_entry_that_cannot_be_dropped_is_told_and_dropped_later() {
    let shift = || refuse(422, "the server rejected our request");
    let mut answers = good();
    answers[5] = shift();
    answers.extend([ok(patched()), shift(), ok(patched()), shift(), ok(patched()), ok(deployment()), ok(deployment())]);
    let server = Server::new(answers);
    assert_eq!(apply(&server, &change()).await, (Outcome::Applied { generation: 5 }, true));
    assert_eq!(server.lines().len(), 10, "{:?}", server.lines());
    let actor = actor(&server);
    assert_eq!(actor.let_go(&address()).await, Ok(()));
    assert_eq!(server.lines()[10..], [READ, PATCH]);
    // Once more does no harm.
    assert_eq!(actor.let_go(&address()).await, Ok(()));
    assert_eq!(server.lines()[12..], [READ]);
}

#[tokio::test]
async fn the_fence_is_tried_on_our_own_deployment_and_where_there_is_none_on_another() {
    let own = "PATCH /apis/apps/v1/namespaces/probe-tuner/deployments/probe-tuner?fieldManager=probe-tuner&dryRun=All";
    let server = Server::new([fence()]);
    assert_eq!(actor(&server).try_fence(&[address()]).await, Fence::Holds);
    assert_eq!(server.lines(), [own]);
    let server = Server::new([refuse(404, "not found"), fence()]);
    assert_eq!(actor(&server).try_fence(&[address()]).await, Fence::Holds);
    assert_eq!(server.lines(), [own, DRY]);
    let server = Server::new([refuse(404, "not found")]);
    assert_eq!(actor(&server).try_fence(&[]).await, Fence::Absent);
    let server = Server::new([ok(patched())]);
    assert!(matches!(actor(&server).try_fence(&[]).await, Fence::Open(_)));
}

#[tokio::test]
async fn what_became_of_a_patch_whose_answer_was_lost_is_told_by_the_numbers_that_stand() {
    let taken = || {
        let mut object = patched();
        let probe = "/spec/template/spec/containers/0/livenessProbe";
        let probe = object.pointer_mut(probe).unwrap().as_object_mut().unwrap();
        probe.extend([("timeoutSeconds".to_owned(), json!(10)), ("failureThreshold".to_owned(), json!(2))]);
        object
    };
    let successor = || {
        let mut object = taken();
        object["metadata"]["uid"] = json!("7c1e0a4f-0002-4abc-9def-0123456789ab");
        object
    };
    let lost = Outcome::Contested { found: "its answer was lost, and the patch was not taken".into() };
    for (answer, wanted) in [
        (ok(taken()), Some(Outcome::Applied { generation: 5 })),
        (ok(deployment()), Some(lost)),
        (ok(successor()), Some(Outcome::Gone)),
        (refuse(404, "not found"), Some(Outcome::Gone)),
        // Nobody knows yet: to be asked again.
        (refuse(500, "internal"), None),
        (Answer::Hang, None),
    ] {
        // The patch was sent, and then nothing came back.
        let mut answers = good();
        answers.truncate(4);
        answers.extend([Answer::Hang, answer.clone()]);
        let server = Server::new(answers);
        let actor = actor(&server);
        let done = actor.apply(&change(), Timestamp::EPOCH, false).await;
        assert!(matches!(done.outcome, Outcome::Unknown { .. }), "{done:?}");
        assert_eq!(actor.find_out(&change()).await, wanted, "{answer:?}");
        assert_eq!(server.lines()[4..], [PATCH, READ]);
    }
}
