//! What the manifests install: rights counted one by one, a Deployment that is admitted, our kind as people see it.

use crate::harness::*;
use crate::support::minicluster::{Minicluster, wait_for};
use hyper::StatusCode;
use probe_tuner::crd;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// All that the daemon may do in a namespace that is not its own, beyond what every account may.
const RIGHTS: &str = "
    create authentication.k8s.io/tokenreviews
    create authorization.k8s.io/subjectaccessreviews
    create events.k8s.io/events
    create probe-tuner.io/probetunings
    get apps/deployments
    get /namespaces
    list /events
    list /namespaces
    list /nodes
    list /pods
    list apps/daemonsets
    list apps/deployments
    list apps/statefulsets
    list metrics.k8s.io/nodes
    list metrics.k8s.io/pods
    list probe-tuner.io/probetunings
    patch apps/deployments
    patch events.k8s.io/events
    patch probe-tuner.io/probetunings
    watch /events
    watch /namespaces
    watch /nodes
    watch /pods
    watch apps/daemonsets
    watch apps/deployments
    watch apps/statefulsets
";

/// What it may do beyond that in its own namespace; the 64 ConfigMaps of evidence are written as one.
const OWN_RIGHTS: &str = "
    create /configmaps
    create /serviceaccounts/token probe-tuner-scrape
    get /configmaps probe-tuner-evidence-NN
    patch /configmaps probe-tuner-evidence-NN
    get coordination.k8s.io/leases probe-tuner
    list coordination.k8s.io/leases probe-tuner
    watch coordination.k8s.io/leases probe-tuner
";

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

/// What an account may do in a namespace, by the API server's own account of it.
async fn rights(client: &Client, namespace: &str) -> BTreeSet<String> {
    let review = post(
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}}),
    );
    let status = client.send(&review).await.object()["status"].clone();
    assert_eq!(status["incomplete"], false);
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let all = rule[field].as_array().into_iter().flatten();
        all.map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for rule in status["resourceRules"].as_array().unwrap() {
        let mut names = words(rule, "resourceNames");
        if names.is_empty() {
            names.push(String::new());
        }
        for verb in words(rule, "verbs") {
            for group in words(rule, "apiGroups") {
                for resource in words(rule, "resources") {
                    for name in &names {
                        let name = match name.rsplit_once('-') {
                            Some((evidence @ "probe-tuner-evidence", _)) => format!("{evidence}-NN"),
                            _ => name.clone(),
                        };
                        found.insert(format!("{verb} {group}/{resource} {name}").trim_end().to_owned());
                    }
                }
            }
        }
    }
    // What every account may: ask about itself.
    found.retain(|r| !r.contains("/selfsubject"));
    found
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn the_daemon_has_exactly_the_rights_of_its_list_of_calls() {
    let f = fenced();
    let daemon = f.client(&f.daemon);
    assert_eq!(rights(&daemon, "default").await, lines(RIGHTS));
    assert_eq!(rights(&daemon, "kube-system").await, lines(RIGHTS));
    assert_eq!(rights(&daemon, "probe-tuner").await, &lines(RIGHTS) | &lines(OWN_RIGHTS));
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn the_account_that_asks_kubelets_may_read_their_metrics_and_nothing_else() {
    let f = fenced();
    let scrape = f.client(&f.scrape);
    assert_eq!(rights(&scrape, "probe-tuner").await, lines("get /nodes/metrics"));
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn a_kubelet_answers_the_scraping_account_and_nobody_answers_for_the_writer() {
    let f = fenced();
    let node = f.cluster.kubectl_json(&["get", "nodes"])["items"][0].clone();
    let addresses = node["status"]["addresses"].as_array().unwrap();
    let address = addresses.iter().find(|a| a["type"] == "InternalIP").unwrap()["address"].as_str().unwrap();
    let port = &node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"];
    let kubelet = format!("https://{address}:{port}");
    let ask = async |token: &str, path: &str| f.client_of(&kubelet, token).send(&get(path)).await.code;
    assert_eq!(ask(&f.scrape, "/metrics/probes").await, StatusCode::OK);
    assert_eq!(ask(&f.scrape, "/pods").await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&f.daemon, "/metrics/probes").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn the_daemon_gets_a_token_for_the_scraping_account_with_its_own() {
    let f = fenced();
    let path = "/api/v1/namespaces/probe-tuner/serviceaccounts/probe-tuner-scrape/token";
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}});
    let token = f.client(&f.daemon).send(&post(path, request)).await.object();
    assert!(token["status"]["token"].as_str().is_some_and(|t| !t.is_empty()));
}

#[test]
#[ignore = "needs a control plane"]
fn applied_as_a_kustomization_the_same_files_change_nothing() {
    let f = fenced();
    let said = f.cluster.kubectl(&["apply", "-k", MANIFESTS]);
    let changed: Vec<_> = said.lines().filter(|l| !l.ends_with(" unchanged")).collect();
    assert_eq!(changed, Vec::<&str>::new());
    assert!(said.lines().count() > 15, "{said}");
}

#[test]
#[ignore = "needs a control plane"]
fn the_daemons_own_deployment_is_admitted_and_becomes_ready() {
    let f = fenced();
    f.cluster.kubectl(&["rollout", "status", "-n", "probe-tuner", "deployment/probe-tuner", "--timeout=60s"]);
}

#[test]
#[ignore = "needs a control plane"]
fn the_type_checker_has_no_warning_about_the_fence() {
    let f = fenced();
    let status = wait_for("the type checker", Duration::from_secs(60), || {
        let policy = f.cluster.kubectl_json(&["get", "validatingadmissionpolicy", FENCE]);
        let status = policy["status"].clone();
        (status["observedGeneration"] == policy["metadata"]["generation"]).then_some(status)
    });
    assert_eq!(status["typeChecking"]["expressionWarnings"], Value::Null);
}

#[test]
#[ignore = "needs a control plane"]
fn deleting_the_write_binding_stops_the_daemon_at_once_and_applying_it_lets_it_go_on() {
    let f = fenced();
    f.cluster.namespace("stop", &[]);
    let can = || {
        let mut ask = f.cluster.kubectl_command();
        ask.args(["auth", "can-i", "patch", "deployments.apps", "-n", "stop"]);
        ask.args(["--as=system:serviceaccount:probe-tuner:stopped"]).output().unwrap().status.success()
    };
    // The same binding for another account, so that tests beside this one keep the daemon's.
    let mut binding = f.cluster.kubectl_json(&["get", "clusterrolebinding", "probe-tuner-write"]);
    binding["metadata"] = json!({"name": "stopped"});
    binding["subjects"][0]["name"] = json!("stopped");
    assert!(!can());
    f.cluster.apply(&binding.to_string(), &[]);
    wait_for("the right", Duration::from_secs(10), || can().then_some(()));
    f.cluster.kubectl(&["delete", "clusterrolebinding", "stopped"]);
    wait_for("the stop", Duration::from_secs(10), || (!can()).then_some(()));
}

/// An object with each field set: what a server prunes or refuses is missed here.
fn full_status() -> Value {
    let steps = json!([{"container": "app", "kind": "Liveness", "from": "10/1/3", "to": "10/10/2"}]);
    json!({
        "workload": {"kind": "Deployment", "name": "web", "uid": "7c1e0a4f-0001-4abc-9def-0123456789ab", "generation": 12},
        "mode": "auto", "phase": "Verifying", "reason": "VERIFYING", "message": "watched until tomorrow",
        "columns": {"liveness": "10/1/3 -> 10/10/2", "readiness": "10/1/3", "expected": "41 -> 0.6", "detect": "26s -> 25s", "hours": 26},
        "probes": [{"container": "app", "kind": "Liveness", "current": "10/1/3", "recommended": "10/10/2",
            "falseRestarts": {"now": 41.0, "then": 0.6, "upper": 1.9}, "detectSeconds": {"now": 26.0, "then": 25.0}, "hours": 26}],
        "restarts": {"day": 3},
        "inFlight": {"id": "0123456789abcdef", "intent": "Tune", "steps": steps, "reason": "LOOSEN", "message": "3 a day",
            "generation": 12, "stage": "Watching", "since": "2026-01-31T10:00:00.123456789Z", "applied": "2026-01-31T09:00:00Z",
            "patchedGeneration": 13, "version": "ffffffffffffffff"},
        "changes": [{"at": "2026-01-30T10:00:00Z", "intent": "Revert", "steps": steps, "result": "Superseded"}],
        "owners": [{"container": "app", "kind": "Liveness", "numbers": "10/1/3"}],
        "contested": [{"container": "app", "kind": "Readiness", "numbers": "5/5/5"}],
        "reverts": 2,
        "restedSince": "2026-01-30T10:00:00Z",
        "conditions": [{"type": "Ready", "status": "True", "reason": "Watching", "message": "all is well", "lastTransitionTime": "2026-01-31T10:00:00Z"}],
    })
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn each_field_of_a_probe_tuning_comes_back_and_people_see_it_in_columns() {
    let f = fenced();
    f.cluster.namespace("kinds", &[]);
    let status: crd::ProbeTuningStatus = serde_json::from_value(full_status()).unwrap();
    assert_eq!(serde_json::to_value(&status).unwrap(), full_status(), "every field is known to the program");
    let metadata = kube::core::ObjectMeta {
        name: Some("deployment-web".into()),
        namespace: Some("kinds".into()),
        ..Default::default()
    };
    let object = crd::ProbeTuning::new(metadata, status);
    let path = "/apis/probe-tuner.io/v1alpha1/namespaces/kinds/probetunings/deployment-web";
    let daemon = f.client(&f.daemon);
    let query = "fieldManager=probe-tuner&fieldValidation=Strict";
    daemon.send(&apply(path, query, serde_json::to_value(&object).unwrap())).await.object();

    let back: crd::ProbeTuning = serde_json::from_str(&f.cluster.kubectl(&["get", "--raw", path])).unwrap();
    assert_eq!(back.status, object.status);
    assert_eq!(back.recall(), object.recall());
    back.recall().unwrap();

    let table = f.cluster.kubectl(&["get", "pt", "-n", "kinds"]);
    let columns: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(columns, ["NAME", "MODE", "PHASE", "LIVENESS", "READINESS", "RESTARTS/D", "REASON", "AGE"]);
    let wide = f.cluster.kubectl(&["get", "probe-tuner", "-n", "kinds", "-o", "wide"]);
    for value in
        ["10/1/3 -> 10/10/2", "VERIFYING", "41 -> 0.6", "26s -> 25s", "26 ", "watched until tomorrow", "EXPECTED"]
    {
        assert!(wide.contains(value), "{value}: {wide}");
    }
    let named = |selector: &str| {
        f.cluster.kubectl(&["get", "pt", "-A", "--no-headers", "-o=name", "--field-selector", selector])
    };
    assert!(named("status.phase=Verifying,status.reason=VERIFYING").contains("deployment-web"));
    assert!(!named("status.phase=Degraded").contains("deployment-web"));
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn the_server_refuses_a_probe_tuning_of_another_shape() {
    let f = fenced();
    f.cluster.namespace("shapes", &[]);
    let daemon = f.client(&f.daemon);
    for (pointer, value) in [
        ("/phase", json!("Celebrating")),
        ("/reverts", json!(-1)),
        ("/message", json!("x".repeat(1025))),
        ("/changes", json!(vec![full_status()["changes"][0].clone(); 6])),
        ("/inFlight/since", json!("yesterday")),
        ("/inFlight/stage", json!("Canary")),
    ] {
        let mut status = full_status();
        *status.pointer_mut(pointer).unwrap() = value;
        let object = json!({"apiVersion": "probe-tuner.io/v1alpha1", "kind": "ProbeTuning", "metadata": {"name": "deployment-web"}, "status": status});
        let path = "/apis/probe-tuner.io/v1alpha1/namespaces/shapes/probetunings/deployment-web";
        let answer = daemon.send(&apply(path, "fieldManager=probe-tuner", object)).await;
        assert_eq!(answer.code, StatusCode::UNPROCESSABLE_ENTITY, "{pointer}: {}", answer.body);
    }
}

/// In a cluster of its own, since the guide's end takes everything away again.
#[test]
#[ignore = "needs a control plane"]
fn the_guides_commands_install_it_and_leave_nothing_behind() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guides/install.md")).unwrap();
    let commands: Vec<_> = guide.lines().filter_map(|l| l.strip_prefix("    kubectl ")).collect();
    assert!(commands.len() >= 6 && commands[0] == "apply -k deploy/manifests", "{commands:?}");
    let cluster = Minicluster::start(&["--nodes=1"]);
    cluster.namespace("shop", &[]);
    for command in commands {
        let mut kubectl = cluster.kubectl_command();
        kubectl.current_dir(env!("CARGO_MANIFEST_DIR")).args(command.split_whitespace());
        let answer = kubectl.output().unwrap();
        assert!(answer.status.success(), "kubectl {command}: {}", String::from_utf8_lossy(&answer.stderr));
    }
    let kinds =
        "crd,validatingadmissionpolicy,validatingadmissionpolicybinding,clusterrole,clusterrolebinding,namespace";
    let left = cluster.kubectl(&["get", kinds, "-o", "name"]);
    assert!(!left.contains("probe-tuner"), "{left}");
}
