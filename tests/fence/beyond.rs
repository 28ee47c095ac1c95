//! Writes of another kind than the one that the daemon may do: refused for want of rights, and where somebody has given
//! it too many rights, of workloads by the fence alone.

use crate::attacks::{Case, all_refused, on_an_open_deployment};
use crate::harness::*;
use serde_json::{Value, json};

/// Writes beside the one that it may do. In the shipped installation the rights answer; of workloads the fence would.
fn beside(namespace: &str, by: fn(&'static str) -> By) -> Vec<Case> {
    let only = "the daemon only updates Deployments themselves";
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let d = deployment(namespace, "web");
    let named = |name: &str, kind: &str| {
        let mut w = web();
        w["metadata"]["name"] = json!(name);
        w["kind"] = json!(kind);
        w
    };
    let timeout = format!("{LIVENESS}/timeoutSeconds");
    vec![
        ("a Deployment created", post(&format!("{apps}/deployments"), named("new", "Deployment")), by(only)),
        (
            "a Deployment applied into being",
            apply(&deployment(namespace, "new"), "fieldManager=probe-tuner", named("new", "Deployment")),
            by(only),
        ),
        ("a Deployment deleted", delete(&d), by(only)),
        ("all Deployments deleted", delete(&format!("{apps}/deployments")), by(only)),
        ("a scale", replace(&format!("{d}/scale"), "/spec/replicas", json!(1)), by(only)),
        ("a status", add(&format!("{d}/status"), "/status/observedGeneration", json!(9)), by(only)),
        ("a StatefulSet's number", replace(&format!("{apps}/statefulsets/db"), &timeout, json!(2)), by(only)),
        (
            "a StatefulSet's scale",
            replace(&format!("{apps}/statefulsets/db/scale"), "/spec/replicas", json!(1)),
            by(only),
        ),
        ("a StatefulSet deleted", delete(&format!("{apps}/statefulsets/db")), by(only)),
        ("a DaemonSet's number", replace(&format!("{apps}/daemonsets/agent"), &timeout, json!(2)), by(only)),
        ("a DaemonSet deleted", delete(&format!("{apps}/daemonsets/agent")), by(only)),
        ("a ReplicaSet's number", replace(&format!("{apps}/replicasets/old"), &timeout, json!(2)), by(only)),
        (
            "a ReplicaSet's scale",
            replace(&format!("{apps}/replicasets/old/scale"), "/spec/replicas", json!(1)),
            by(only),
        ),
    ]
}

/// A namespace with one of each kind.
fn with_all_kinds(namespace: &str) -> &'static Fenced {
    let f = shop(namespace, AUTO, |_| {});
    for (name, kind) in [("db", "StatefulSet"), ("agent", "DaemonSet"), ("old", "ReplicaSet")] {
        let mut w = web();
        w["metadata"]["name"] = json!(name);
        w["kind"] = json!(kind);
        w["spec"]["selector"]["matchLabels"]["app"] = json!(name);
        w["spec"]["template"]["metadata"]["labels"]["app"] = json!(name);
        if kind == "DaemonSet" {
            w["spec"].as_object_mut().unwrap().remove("replicas");
            w["spec"]["template"]["spec"]["nodeSelector"] = json!({"no": "node"});
        }
        f.cluster.apply(&w.to_string(), &["-n", namespace]);
    }
    f
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn beside_a_patch_of_a_deployment_the_daemon_has_no_right_to_any_workload() {
    let f = with_all_kinds("beside");
    all_refused(&f.client(&f.daemon), beside("beside", |_| By::Rights)).await;
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn with_every_right_in_the_namespace_the_fence_alone_refuses_the_same() {
    let f = with_all_kinds("rights");
    f.cluster.kubectl(&[
        "create",
        "rolebinding",
        "-n",
        "rights",
        "too-much",
        "--clusterrole=cluster-admin",
        "--serviceaccount=probe-tuner:probe-tuner",
    ]);
    let daemon = f.client(&f.daemon);
    let before = essence(daemon.get(&deployment("rights", "web")).await);
    all_refused(&daemon, beside("rights", By::Fence)).await;
    all_refused(&daemon, on_an_open_deployment("rights")).await;
    let whole = put(&format!("{}?fieldManager=probe-tuner", deployment("rights", "web")), {
        let mut w: Value = daemon.get(&deployment("rights", "web")).await;
        w["spec"]["replicas"] = json!(3);
        w
    });
    all_refused(&daemon, vec![("a whole object put", whole, By::Fence("outside spec.template nothing changes"))]).await;
    assert_eq!(essence(daemon.get(&deployment("rights", "web")).await), before, "nothing was written");
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn whatever_is_no_workload_is_refused_for_want_of_rights() {
    let f = shop("elsewhere", AUTO, |_| {});
    let core = "/api/v1/namespaces/elsewhere";
    let own = "/api/v1/namespaces/probe-tuner";
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let admission = "/apis/admissionregistration.k8s.io/v1";
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "example/c:1"}]}});
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": "elsewhere"}});
    let configmap = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let mut binding = f.cluster.kubectl_json(&["get", "clusterrolebinding", "probe-tuner-write"]);
    binding["metadata"] = json!({"name": "more"});
    binding["roleRef"]["name"] = json!("cluster-admin");
    let auto = json!({"metadata": {"annotations": {"probe-tuner.io/mode": "auto"}}});
    let cases: Vec<(&'static str, Attempt)> = vec![
        ("a pod created", post(&format!("{core}/pods"), pod)),
        ("a pod deleted", delete(&format!("{core}/pods/p"))),
        ("a pod patched", merge(&format!("{core}/pods/p"), auto.clone())),
        ("a pod evicted", post(&format!("{core}/pods/p/eviction"), eviction)),
        ("a pod resized", merge(&format!("{core}/pods/p/resize"), json!({"spec": {}}))),
        ("a command in a pod", get(&format!("{core}/pods/p/exec?command=id&stdout=true"))),
        ("a command in a pod, posted", post(&format!("{core}/pods/p/exec?command=id&stdout=true"), Value::Null)),
        ("a pod attached to", get(&format!("{core}/pods/p/attach"))),
        ("a pod's port forwarded", get(&format!("{core}/pods/p/portforward"))),
        ("a pod's logs", get(&format!("{core}/pods/p/log"))),
        ("a debug container", merge(&format!("{core}/pods/p/ephemeralcontainers"), json!({"spec": {}}))),
        ("secrets listed", get("/api/v1/secrets")),
        ("a secret read", get(&format!("{own}/secrets/x"))),
        (
            "a secret created",
            post(&format!("{core}/secrets"), json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})),
        ),
        ("configmaps listed elsewhere", get("/api/v1/configmaps")),
        ("a configmap created elsewhere", post(&format!("{core}/configmaps"), configmap("probe-tuner-evidence-00"))),
        ("its own configuration changed", merge(&format!("{own}/configmaps/probe-tuner"), json!({"data": {}}))),
        ("its own configuration deleted", delete(&format!("{own}/configmaps/probe-tuner"))),
        ("the node's proxy", get("/api/v1/nodes/node-0/proxy/metrics/probes")),
        ("a node patched", merge("/api/v1/nodes/node-0", json!({"spec": {"unschedulable": true}}))),
        ("a namespace opted in by itself", merge("/api/v1/namespaces/elsewhere", auto)),
        (
            "a namespace created",
            post("/api/v1/namespaces", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})),
        ),
        ("a namespace deleted", delete("/api/v1/namespaces/elsewhere")),
        (
            "a service",
            post(
                &format!("{core}/services"),
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}),
            ),
        ),
        (
            "a job",
            post(
                "/apis/batch/v1/namespaces/elsewhere/jobs",
                json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}}),
            ),
        ),
        ("an autoscaler", delete("/apis/autoscaling/v2/namespaces/elsewhere/horizontalpodautoscalers/web")),
        ("a disruption budget", delete("/apis/policy/v1/namespaces/elsewhere/poddisruptionbudgets/web")),
        ("a token of its own account", post(&format!("{own}/serviceaccounts/probe-tuner/token"), token.clone())),
        (
            "a token of another account",
            post("/api/v1/namespaces/kube-system/serviceaccounts/default/token", token.clone()),
        ),
        ("a token of an account of its namespace", post(&format!("{own}/serviceaccounts/default/token"), token)),
        (
            "an account created",
            post(
                &format!("{own}/serviceaccounts"),
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s"}}),
            ),
        ),
        ("its own role", merge(&format!("{rbac}/clusterroles/probe-tuner-write"), json!({"rules": []}))),
        ("more rights for itself", post(&format!("{rbac}/clusterrolebindings"), binding)),
        (
            "the emergency stop undone",
            merge(&format!("{rbac}/clusterrolebindings/probe-tuner-write"), json!({"subjects": []})),
        ),
        (
            "a role in its own namespace",
            merge(&format!("{rbac}/namespaces/probe-tuner/roles/probe-tuner"), json!({"rules": []})),
        ),
        (
            "the fence changed",
            merge(
                &format!("{admission}/validatingadmissionpolicies/{FENCE}"),
                json!({"spec": {"failurePolicy": "Ignore"}}),
            ),
        ),
        ("the fence deleted", delete(&format!("{admission}/validatingadmissionpolicies/{FENCE}"))),
        (
            "the fence's binding changed",
            merge(
                &format!("{admission}/validatingadmissionpolicybindings/{FENCE}"),
                json!({"spec": {"validationActions": ["Audit"]}}),
            ),
        ),
        ("the fence's binding deleted", delete(&format!("{admission}/validatingadmissionpolicybindings/{FENCE}"))),
        (
            "a webhook",
            post(
                &format!("{admission}/mutatingwebhookconfigurations"),
                json!({"apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration", "metadata": {"name": "w"}}),
            ),
        ),
        (
            "a definition changed",
            merge(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/probetunings.probe-tuner.io",
                json!({"spec": {"scope": "Cluster"}}),
            ),
        ),
        (
            "a definition deleted",
            delete("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/probetunings.probe-tuner.io"),
        ),
        (
            "a pause lifted",
            merge(
                "/apis/coordination.k8s.io/v1/namespaces/probe-tuner/leases/probe-tuner",
                json!({"metadata": {"annotations": {"probe-tuner.io/paused": null}}}),
            ),
        ),
        ("the brake taken out", delete("/apis/coordination.k8s.io/v1/namespaces/probe-tuner/leases/probe-tuner")),
        ("another Lease", get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler")),
        ("an event deleted", delete("/apis/events.k8s.io/v1/namespaces/elsewhere/events/e")),
        (
            "a signing request",
            post(
                "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                json!({"apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest", "metadata": {"name": "c"}, "spec": {"request": "", "signerName": "kubernetes.io/kube-apiserver-client"}}),
            ),
        ),
    ];
    let daemon = f.client(&f.daemon);
    let mut wrong = Vec::new();
    for (name, attempt) in cases {
        if let Err(e) = By::Rights.judge(&daemon.send(&attempt).await) {
            wrong.push(format!("{name}: {e}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
