//! What the fence and the daemon's patch leave to everybody else: their writes, their pipelines, their ownership.

use crate::harness::*;
use hyper::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
#[ignore = "needs a control plane"]
async fn nobody_else_is_hindered_with_or_without_an_annotation() {
    for (namespace, annotations) in [("free", &[] as &[_]), ("free-auto", AUTO)] {
        let f = shop(namespace, annotations, |_| {});
        let owner = f.client(&f.owner(namespace));
        let d = deployment(namespace, "web");
        let with = |query: &str| format!("{d}{query}");
        for (name, attempt) in [
            (
                "image",
                replace(&with("?fieldManager=ci"), "/spec/template/spec/containers/0/image", json!("example/web:2")),
            ),
            (
                "a liveness threshold of 1",
                replace(&with("?fieldManager=ci"), &format!("{LIVENESS}/failureThreshold"), json!(1)),
            ),
            (
                "a period beyond our bounds",
                replace(&with("?fieldManager=ci"), &format!("{LIVENESS}/periodSeconds"), json!(600)),
            ),
            ("a probe removed", remove(&with("?fieldManager=ci"), LIVENESS)),
            ("scale", replace(&format!("{d}/scale"), "/spec/replicas", json!(1))),
            ("annotations", merge(&with("?fieldManager=ci"), json!({"metadata": {"annotations": {"a": "b"}}}))),
            ("managedFields", replace(&with("?fieldManager=ci"), "/metadata/managedFields", json!([{}]))),
            ("deletion", delete(&d)),
        ] {
            let answer = owner.send(&attempt).await;
            assert!(answer.code.is_success(), "{namespace}: {name}: {} {}", answer.code, answer.body);
        }
    }
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn controllers_go_on_scaling_and_updating_status_under_the_fence() {
    // Only declared ports are listened on in the cluster for tests, and nothing there ever ends by itself.
    let f = shop("controllers", &[], |web| {
        web.pointer_mut("/spec/template/spec").unwrap().as_object_mut().unwrap().remove("initContainers");
    });
    f.cluster.kubectl(&["scale", "-n", "controllers", "deployment/web", "--replicas=1"]);
    f.cluster.kubectl(&["rollout", "status", "-n", "controllers", "deployment/web", "--timeout=60s"]);
}

/// What the owner's pipeline applies, with or without his liveness probe, with or without force.
fn pipeline(namespace: &str, manifest: &Value, force: bool) -> Attempt {
    apply(&deployment(namespace, "web"), &format!("fieldManager=owner&force={force}"), manifest.clone())
}

fn without_probe() -> Value {
    let mut manifest = web();
    manifest.pointer_mut("/spec/template/spec/containers/0").unwrap().as_object_mut().unwrap().remove("livenessProbe");
    manifest
}

/// The daemon's first patch: the numbers.
async fn tune(daemon: &Client, namespace: &str) {
    let numbers = patch(
        &deployment(namespace, "web"),
        [set(format!("{LIVENESS}/timeoutSeconds"), json!(10)), set(format!("{LIVENESS}/failureThreshold"), json!(2))],
    );
    daemon.send(&numbers).await.object();
}

/// The daemon's second patch: its entry dropped.
async fn let_go(daemon: &Client, namespace: &str) -> Value {
    let d = deployment(namespace, "web");
    let entries = daemon.get(&d).await["metadata"]["managedFields"].as_array().unwrap().clone();
    let at = entries.iter().position(|m| m["manager"] == "probe-tuner").unwrap();
    let drop = patch(
        &d,
        [
            check(format!("/metadata/managedFields/{at}/manager"), json!("probe-tuner")),
            take(format!("/metadata/managedFields/{at}")),
        ],
    );
    daemon.send(&drop).await.object()
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn while_our_entry_stands_the_owners_apply_conflicts_and_he_cannot_remove_his_probe() {
    let f = shop("entry-stands", AUTO, |_| {});
    let (daemon, owner) = (f.client(&f.daemon), f.client(&f.owner("entry-stands")));
    tune(&daemon, "entry-stands").await;
    let conflict = owner.send(&pipeline("entry-stands", &web(), false)).await;
    assert_eq!(conflict.code, StatusCode::CONFLICT, "{}", conflict.body);
    let broken = owner.send(&pipeline("entry-stands", &without_probe(), true)).await;
    assert_eq!(broken.code, StatusCode::UNPROCESSABLE_ENTITY, "{}", broken.body);
    assert!(broken.body.contains("must specify a handler type"), "{}", broken.body);
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn with_our_entry_dropped_the_numbers_stay_and_the_generation_too() {
    let f = shop("entry-dropped", AUTO, |_| {});
    let daemon = f.client(&f.daemon);
    tune(&daemon, "entry-dropped").await;
    let after = let_go(&daemon, "entry-dropped").await;
    assert_eq!(after["metadata"]["generation"], 2);
    let probe = after.pointer(LIVENESS).unwrap();
    assert_eq!((&probe["timeoutSeconds"], &probe["failureThreshold"]), (&json!(10), &json!(2)));
    let managers = after["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().all(|m| m["manager"] != "probe-tuner"), "{managers:?}");
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn with_our_entry_dropped_the_owners_unforced_apply_passes_and_his_numbers_are_his_again() {
    let f = shop("owner-applies", AUTO, |_| {});
    let (daemon, owner) = (f.client(&f.daemon), f.client(&f.owner("owner-applies")));
    tune(&daemon, "owner-applies").await;
    let_go(&daemon, "owner-applies").await;
    let after = owner.send(&pipeline("owner-applies", &web(), false)).await.object();
    assert_eq!(after.pointer(LIVENESS), web().pointer(LIVENESS).map(defaults_filled_in).as_ref());
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn with_our_entry_dropped_numbers_that_the_owner_does_not_name_stay_ours() {
    let unnamed = |web: &mut Value| {
        *web.pointer_mut(LIVENESS).unwrap() = json!({"httpGet": {"path": "/healthz", "port": 8080}});
    };
    let f = shop("unnamed", AUTO, unnamed);
    let (daemon, owner) = (f.client(&f.daemon), f.client(&f.owner("unnamed")));
    tune(&daemon, "unnamed").await;
    let_go(&daemon, "unnamed").await;
    let mut manifest = web();
    unnamed(&mut manifest);
    let after = owner.send(&pipeline("unnamed", &manifest, false)).await.object();
    assert_eq!(after.pointer(&format!("{LIVENESS}/timeoutSeconds")), Some(&json!(10)));
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn with_our_entry_dropped_the_owner_can_remove_his_probe() {
    let f = shop("probe-removed", AUTO, |_| {});
    let (daemon, owner) = (f.client(&f.daemon), f.client(&f.owner("probe-removed")));
    tune(&daemon, "probe-removed").await;
    let_go(&daemon, "probe-removed").await;
    let after = owner.send(&pipeline("probe-removed", &without_probe(), false)).await.object();
    assert_eq!(after.pointer(LIVENESS), None);
}

/// A manager whose entry holds nothing but numbers that we change loses the entry: the fence must bear that.
#[tokio::test]
#[ignore = "needs a control plane"]
async fn an_entry_of_numbers_alone_may_go_when_those_numbers_change() {
    let f = shop("numbers-alone", AUTO, |_| {});
    let owner = f.client(&f.owner("numbers-alone"));
    let by_hand = format!("{}?fieldManager=by-hand", deployment("numbers-alone", "web"));
    owner.send(&replace(&by_hand, &format!("{LIVENESS}/timeoutSeconds"), json!(2))).await.object();
    let daemon = f.client(&f.daemon);
    tune(&daemon, "numbers-alone").await;
    let after = let_go(&daemon, "numbers-alone").await;
    let managers = after["metadata"]["managedFields"].as_array().unwrap();
    assert!(managers.iter().any(|m| m["manager"] == "owner"), "{managers:?}");
    assert!(managers.iter().all(|m| m["manager"] != "by-hand"), "{managers:?}");
}

/// Doubling is judged step by step, since a policy has no memory: that a sum of steps stays within twice the owner's own
/// numbers is the daemon's part.
#[tokio::test]
#[ignore = "needs a control plane"]
async fn two_steps_that_double_together_pass_one_by_one() {
    let f = shop("two-steps", AUTO, |_| {});
    let daemon = f.client(&f.daemon);
    let d = deployment("two-steps", "web");
    for (pointer, n) in [("failureThreshold", 5), ("periodSeconds", 18)] {
        daemon.send(&replace(&d, &format!("{LIVENESS}/{pointer}"), json!(n))).await.object();
    }
}

/// 200 containers with three probes each, each with its entries in managedFields: within the cost that a policy may have.
#[tokio::test]
#[ignore = "needs a control plane"]
async fn a_deployment_of_two_hundred_containers_with_three_probes_each_passes() {
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3});
    let f = shop("large", AUTO, |web| {
        let containers = (0..200).map(|i| {
            json!({"name": format!("c{i}"), "image": "example/c:1", "livenessProbe": probe, "readinessProbe": probe, "startupProbe": probe})
        });
        *web.pointer_mut("/spec/template/spec/containers").unwrap() = containers.collect();
    });
    let liveness = |i: i32| format!("/spec/template/spec/containers/{i}/livenessProbe/timeoutSeconds");
    let numbers = (0..200).map(|i| set(liveness(i), json!(2)));
    let daemon = f.client(&f.daemon);
    daemon.send(&patch(&deployment("large", "web"), numbers)).await.object();
    let last = "/spec/template/spec/containers/199/image";
    let answer = daemon.send(&replace(&deployment("large", "web"), last, json!("example/c:2"))).await;
    By::Fence("in a container only probes change").judge(&answer).unwrap();
}

/// The probe as the API server returns it.
fn defaults_filled_in(probe: &Value) -> Value {
    let mut probe = probe.clone();
    probe["successThreshold"] = json!(1);
    probe["httpGet"]["scheme"] = json!("HTTP");
    probe
}
