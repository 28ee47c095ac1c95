//! Writes that must be refused, with the daemon's own token, and the few that must pass.

use crate::harness::*;
use serde_json::{Value, json};

/// A name for it, what is tried, and who refuses.
pub type Case = (&'static str, Attempt, By);

/// Sends each as a dry run and for real; all that were not refused as they should be are told at once.
pub async fn all_refused(client: &Client, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    let count = cases.len();
    for (name, attempt, by) in cases {
        for (how, attempt) in [("dry run of ", attempt.clone().dry()), ("", attempt)] {
            if let Err(e) = by.judge(&client.send(&attempt).await) {
                wrong.push(format!("{how}{name}: {e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What can be done wrong to a Deployment that the daemon may tune, beginning with the numbers themselves.
pub fn on_an_open_deployment(namespace: &str) -> Vec<Case> {
    use By::{Fence, Validation};
    let d = deployment(namespace, "web");
    let at = |pointer: &str| format!("/spec/template/spec{pointer}");
    let live = |field: &str| format!("{LIVENESS}/{field}");
    let ready = |field: &str| format!("/spec/template/spec/containers/0/readinessProbe/{field}");
    let number = |field: &str, n: i64| replace(&d, &live(field), json!(n));
    // A change that would pass by itself, to hide another behind.
    let two = || set(live("timeoutSeconds"), json!(2));

    let bounds = Fence("out of bounds: period 1 to 60, timeout 1 to 30, threshold 1 to 10");
    let risky = Fence("risky, so not without approvals");
    let probe = Fence("in a probe that exists only periodSeconds, timeoutSeconds and failureThreshold change");
    let container = Fence("in a container only probes change");
    let pod = Fence("in the pod only probes change");
    let template = Fence("in spec.template only spec changes");
    let outside = Fence("outside spec.template nothing changes");
    let metadata = Fence("labels, annotations, finalizers and ownerReferences stay");
    let manager = Fence("the daemon patches as field manager probe-tuner, and never applies");
    let others = Fence("the managedFields of others stay");

    vec![
        ("a period above bounds", number("periodSeconds", 61), bounds),
        ("a timeout above bounds", number("timeoutSeconds", 31), bounds),
        ("a threshold above bounds", number("failureThreshold", 11), bounds),
        ("a period that is no int32", number("periodSeconds", 3_000_000_000), By::Validation),
        ("a period below zero", number("periodSeconds", -1), Validation),
        ("a timeout below zero", number("timeoutSeconds", -1), Validation),
        ("a threshold below zero", number("failureThreshold", -1), Validation),
        (
            "a sidecar's period above bounds",
            replace(&d, &at("/initContainers/0/startupProbe/periodSeconds"), json!(61)),
            bounds,
        ),
        ("a liveness threshold of 1", number("failureThreshold", 1), Fence("a liveness threshold is never set to 1")),
        ("tolerance more than doubled by the period", number("periodSeconds", 22), risky),
        ("tolerance more than doubled by the timeout", number("timeoutSeconds", 30), risky),
        ("tolerance more than doubled by the threshold", number("failureThreshold", 6), risky),
        ("tolerance more than halved", number("periodSeconds", 4), risky),
        ("a readiness tolerance more than halved", replace(&d, &ready("periodSeconds"), json!(4)), risky),
        (
            "a sidecar's startup tolerance more than halved",
            replace(&d, &at("/initContainers/0/startupProbe/failureThreshold"), json!(4)),
            risky,
        ),
        ("initialDelaySeconds", add(&d, &live("initialDelaySeconds"), json!(5)), probe),
        ("successThreshold", replace(&d, &ready("successThreshold"), json!(2)), probe),
        (
            "the probe's terminationGracePeriodSeconds",
            add(&d, &live("terminationGracePeriodSeconds"), json!(60)),
            probe,
        ),
        ("a handler's path", replace(&d, &live("httpGet/path"), json!("/")), probe),
        ("a handler's port", replace(&d, &live("httpGet/port"), json!(9090)), probe),
        ("a handler's scheme", replace(&d, &live("httpGet/scheme"), json!("HTTPS")), probe),
        ("a handler's host", add(&d, &live("httpGet/host"), json!("192.0.2.1")), probe),
        ("a handler's headers", add(&d, &live("httpGet/httpHeaders"), json!([{"name": "A", "value": "1"}])), probe),
        (
            "another handler",
            patch(&d, [take(live("httpGet")), put_at(live("tcpSocket"), json!({"port": 8080}))]),
            probe,
        ),
        (
            "a command run as a probe",
            patch(&d, [take(live("httpGet")), put_at(live("exec"), json!({"command": ["true"]}))]),
            probe,
        ),
        ("a probe added", add(&d, &at("/containers/1/livenessProbe"), json!({"tcpSocket": {"port": 1}})), probe),
        ("a startup probe added", add(&d, &at("/containers/0/startupProbe"), json!({"tcpSocket": {"port": 1}})), probe),
        ("a probe removed", remove(&d, LIVENESS), probe),
        ("a sidecar's probe removed", remove(&d, &at("/initContainers/0/startupProbe")), probe),
        (
            "liveness and readiness exchanged",
            patch(
                &d,
                [
                    shift(LIVENESS, at("/containers/0/x")),
                    shift(at("/containers/0/readinessProbe"), LIVENESS),
                    shift(at("/containers/0/x"), at("/containers/0/readinessProbe")),
                ],
            ),
            probe,
        ),
        ("a probe moved to another container", patch(&d, [shift(LIVENESS, at("/containers/1/livenessProbe"))]), probe),
        ("image", replace(&d, &at("/containers/0/image"), json!("example/web:2")), container),
        (
            "image beside a number",
            patch(&d, [two(), set(at("/containers/0/image"), json!("example/web:2"))]),
            container,
        ),
        ("a sidecar's image", replace(&d, &at("/initContainers/0/image"), json!("example/mesh:2")), container),
        ("env", add(&d, &at("/containers/0/env/-"), json!({"name": "B", "value": "2"})), container),
        ("command", add(&d, &at("/containers/0/command"), json!(["sh"])), container),
        ("args", add(&d, &at("/containers/0/args"), json!(["-x"])), container),
        ("resources", add(&d, &at("/containers/0/resources/limits"), json!({"memory": "1Gi"})), container),
        ("ports", replace(&d, &at("/containers/0/ports/0/containerPort"), json!(8081)), container),
        ("volumeMounts", replace(&d, &at("/containers/0/volumeMounts/0/mountPath"), json!("/var/tmp")), container),
        (
            "a container's securityContext",
            add(&d, &at("/containers/0/securityContext"), json!({"privileged": true})),
            container,
        ),
        (
            "lifecycle",
            add(&d, &at("/containers/0/lifecycle"), json!({"preStop": {"sleep": {"seconds": 1}}})),
            container,
        ),
        ("imagePullPolicy", replace(&d, &at("/containers/0/imagePullPolicy"), json!("Always")), container),
        (
            "a container added",
            add(&d, &at("/containers/-"), json!({"name": "more", "image": "example/more:1"})),
            container,
        ),
        ("a container removed", remove(&d, &at("/containers/1")), container),
        ("a container renamed", replace(&d, &at("/containers/0/name"), json!("other")), container),
        ("containers in another order", patch(&d, [shift(at("/containers/1"), at("/containers/0"))]), container),
        (
            "an init container added",
            add(&d, &at("/initContainers/-"), json!({"name": "i", "image": "example/i:1"})),
            container,
        ),
        ("an init container removed", remove(&d, &at("/initContainers/1")), container),
        (
            "a sidecar made an ordinary init container",
            patch(&d, [take(at("/initContainers/0/restartPolicy")), take(at("/initContainers/0/startupProbe"))]),
            container,
        ),
        (
            "an init container made a container",
            patch(&d, [shift(at("/initContainers/1"), at("/containers/0"))]),
            container,
        ),
        (
            "an ephemeral container",
            add(&d, &at("/ephemeralContainers"), json!([{"name": "e", "image": "example/e:1"}])),
            Validation,
        ),
        ("the pod's terminationGracePeriodSeconds", replace(&d, &at("/terminationGracePeriodSeconds"), json!(31)), pod),
        ("the pod's account", add(&d, &at("/serviceAccountName"), json!("default")), pod),
        ("hostNetwork", add(&d, &at("/hostNetwork"), json!(true)), pod),
        ("hostPID", add(&d, &at("/hostPID"), json!(true)), pod),
        ("volumes", add(&d, &at("/volumes/-"), json!({"name": "root", "hostPath": {"path": "/"}})), pod),
        ("nodeSelector", add(&d, &at("/nodeSelector"), json!({"a": "b"})), pod),
        ("tolerations", add(&d, &at("/tolerations"), json!([{"operator": "Exists"}])), pod),
        ("the pod's securityContext", replace(&d, &at("/securityContext"), json!({"runAsUser": 0})), pod),
        (
            "a template annotation added",
            add(&d, "/spec/template/metadata/annotations/restarted", json!("now")),
            template,
        ),
        ("a template annotation removed", remove(&d, "/spec/template/metadata/annotations"), template),
        ("a template label", add(&d, "/spec/template/metadata/labels/tier", json!("web")), template),
        ("replicas", replace(&d, "/spec/replicas", json!(1)), outside),
        ("replicas by merge patch", merge(&d, json!({"spec": {"replicas": 1}})), outside),
        ("paused", add(&d, "/spec/paused", json!(true)), outside),
        ("strategy", replace(&d, "/spec/strategy", json!({"type": "Recreate"})), outside),
        ("maxUnavailable", replace(&d, "/spec/strategy/rollingUpdate/maxUnavailable", json!("100%")), outside),
        ("minReadySeconds", add(&d, "/spec/minReadySeconds", json!(1)), outside),
        ("revisionHistoryLimit", replace(&d, "/spec/revisionHistoryLimit", json!(1)), outside),
        ("progressDeadlineSeconds", replace(&d, "/spec/progressDeadlineSeconds", json!(1)), outside),
        (
            "selector",
            patch(
                &d,
                [
                    put_at("/spec/selector/matchLabels/tier", json!("web")),
                    put_at("/spec/template/metadata/labels/tier", json!("web")),
                ],
            ),
            Validation,
        ),
        ("a label", add(&d, "/metadata/labels/tier", json!("web")), metadata),
        ("the labels removed", remove(&d, "/metadata/labels"), metadata),
        ("an annotation changed", replace(&d, "/metadata/annotations/owner", json!("bob")), metadata),
        ("an annotation added", add(&d, "/metadata/annotations/kubernetes.io~1change-cause", json!("us")), metadata),
        (
            "an annotation beside a number",
            patch(&d, [two(), put_at("/metadata/annotations/tuned", json!("yes"))]),
            metadata,
        ),
        ("finalizers", add(&d, "/metadata/finalizers", json!(["probe-tuner.io/hold"])), metadata),
        (
            "ownerReferences",
            add(
                &d,
                "/metadata/ownerReferences",
                json!([
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "7c1e0a4f-0001-4abc-9def-0123456789ab"}]),
            ),
            metadata,
        ),
        (
            "numbers under another manager's name",
            replace(&format!("{d}?fieldManager=helm"), &live("timeoutSeconds"), json!(2)),
            manager,
        ),
        (
            "numbers under the owner's name",
            replace(&format!("{d}?fieldManager=owner"), &live("timeoutSeconds"), json!(2)),
            manager,
        ),
        ("numbers under no name", replace(&format!("{d}?pretty=false"), &live("timeoutSeconds"), json!(2)), manager),
        (
            "numbers applied by force",
            apply(
                &d,
                "fieldManager=probe-tuner&force=true",
                json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "app", "livenessProbe": {"timeoutSeconds": 2}}]}}}}),
            ),
            manager,
        ),
        ("an image by merge patch", merge(&d, json!({"spec": {"template": {"spec": {"nodeName": "node-0"}}}})), pod),
        ("all managedFields wiped", replace(&d, "/metadata/managedFields", json!([{}])), others),
        (
            "the owner's entry taken out",
            patch(&d, [check("/metadata/managedFields/0/manager", json!("owner")), take("/metadata/managedFields/0")]),
            others,
        ),
        ("the owner's entry taken out beside a number", patch(&d, [two(), take("/metadata/managedFields/0")]), others),
        ("the owner's entry given to another", replace(&d, "/metadata/managedFields/0/manager", json!("helm")), others),
        (
            "the owner's entry made ours",
            patch(
                &d,
                [
                    set("/metadata/managedFields/0/manager", json!("probe-tuner")),
                    set("/metadata/managedFields/0/operation", json!("Update")),
                ],
            ),
            others,
        ),
        (
            "the owner's entry made an Update",
            replace(&d, "/metadata/managedFields/0/operation", json!("Update")),
            others,
        ),
        (
            "the owner's entry emptied",
            replace(&d, "/metadata/managedFields/0/fieldsV1", json!({"f:spec": {"f:replicas": {}}})),
            others,
        ),
        (
            "the owner's image forgotten beside a number",
            patch(
                &d,
                [
                    two(),
                    take(
                        "/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"app\"}/f:image",
                    ),
                ],
            ),
            others,
        ),
        (
            "the owner's handler forgotten beside a number",
            patch(
                &d,
                [
                    two(),
                    take(
                        "/metadata/managedFields/0/fieldsV1/f:spec/f:template/f:spec/f:containers/k:{\"name\":\"app\"}/f:livenessProbe/f:httpGet",
                    ),
                ],
            ),
            others,
        ),
        (
            "the owner's replicas forgotten beside a number",
            patch(&d, [two(), take("/metadata/managedFields/0/fieldsV1/f:spec/f:replicas")]),
            others,
        ),
        (
            "an entry invented for another",
            add(
                &d,
                "/metadata/managedFields/-",
                json!({"manager": "helm", "operation": "Apply",
            "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:replicas": {}}}}),
            ),
            others,
        ),
    ]
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn of_a_deployment_that_may_be_tuned_everything_but_its_numbers_is_refused() {
    let f = shop("open", AUTO, |_| {});
    let daemon = f.client(&f.daemon);
    let before = essence(daemon.get(&deployment("open", "web")).await);
    all_refused(&daemon, on_an_open_deployment("open")).await;
    assert_eq!(essence(daemon.get(&deployment("open", "web")).await), before, "nothing was written");
}

/// Steps too small to be risky, so that nothing but the bound itself stands in their way.
#[tokio::test]
#[ignore = "needs a control plane"]
async fn one_step_beyond_a_bound_is_refused_for_the_bound_alone() {
    let f = shop("edge", AUTO, |web| {
        web.pointer_mut(LIVENESS).unwrap().as_object_mut().unwrap().extend([
            ("periodSeconds".to_owned(), json!(60)),
            ("timeoutSeconds".to_owned(), json!(30)),
            ("failureThreshold".to_owned(), json!(10)),
        ]);
        web["spec"]["template"]["spec"]["initContainers"][0]["livenessProbe"] =
            json!({"tcpSocket": {"port": 1}, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 2});
    });
    let d = deployment("edge", "web");
    let bounds = By::Fence("out of bounds: period 1 to 60, timeout 1 to 30, threshold 1 to 10");
    let number = |field: &str, n: i64| replace(&d, &format!("{LIVENESS}/{field}"), json!(n));
    let to_one = replace(&d, "/spec/template/spec/initContainers/0/livenessProbe/failureThreshold", json!(1));
    let cases = vec![
        ("a period of 61", number("periodSeconds", 61), bounds),
        ("a timeout of 31", number("timeoutSeconds", 31), bounds),
        ("a threshold of 11", number("failureThreshold", 11), bounds),
        ("a liveness threshold from 2 to 1", to_one, By::Fence("a liveness threshold is never set to 1")),
    ];
    all_refused(&f.client(&f.daemon), cases).await;
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn a_number_that_was_out_of_bounds_before_may_stay_and_come_within() {
    let f = shop("far-out", AUTO, |web| {
        web.pointer_mut(LIVENESS).unwrap()["periodSeconds"] = json!(90);
        web.pointer_mut(LIVENESS).unwrap()["failureThreshold"] = json!(1);
        web.pointer_mut(LIVENESS).unwrap()["timeoutSeconds"] = json!(20);
    });
    let daemon = f.client(&f.daemon);
    for (field, n) in [("timeoutSeconds", 25), ("periodSeconds", 60)] {
        let number = replace(&deployment("far-out", "web"), &format!("{LIVENESS}/{field}"), json!(n));
        daemon.send(&number).await.object();
    }
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn the_integers_of_probes_that_are_there_pass() {
    let f = shop("numbers", AUTO, |_| {});
    let daemon = f.client(&f.daemon);
    let d = deployment("numbers", "web");
    let spec = "/spec/template/spec";
    let patched = daemon
        .send(&patch(
            &d,
            [
                check("/metadata/generation", json!(1)),
                check(format!("{LIVENESS}/timeoutSeconds"), json!(1)),
                set(format!("{LIVENESS}/timeoutSeconds"), json!(10)),
                set(format!("{LIVENESS}/failureThreshold"), json!(2)),
                set(format!("{spec}/containers/0/readinessProbe/periodSeconds"), json!(5)),
                set(format!("{spec}/initContainers/0/startupProbe/periodSeconds"), json!(4)),
            ],
        ))
        .await
        .object();
    let mut wanted = daemon.get(&d).await["spec"].clone();
    assert_eq!(patched["spec"], wanted);
    assert_eq!(patched["metadata"]["generation"], 2);
    for (pointer, before) in [
        ("/template/spec/containers/0/livenessProbe/timeoutSeconds", 1),
        ("/template/spec/containers/0/livenessProbe/failureThreshold", 3),
        ("/template/spec/containers/0/readinessProbe/periodSeconds", 10),
        ("/template/spec/initContainers/0/startupProbe/periodSeconds", 2),
    ] {
        *wanted.pointer_mut(pointer).unwrap() = json!(before);
    }
    let back = replace(&d, "/spec", wanted);
    daemon.send(&back).await.object();
}

/// A change that would pass in an open namespace.
fn harmless(namespace: &str) -> Attempt {
    replace(&deployment(namespace, "web"), &format!("{LIVENESS}/timeoutSeconds"), json!(2))
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn where_the_owner_has_not_said_auto_not_even_a_number_is_changed() {
    // What the namespace says, what the workload says, and which rule answers.
    type Annotations = &'static [(&'static str, &'static str)];
    let left_out = "probe-tuner.io/containers or probe-tuner.io/probes leaves this probe out";
    let namespaces: [(&str, Annotations, Annotations, &str); 18] = [
        ("silent", &[], &[], "mode is off, not auto"),
        ("silent-web-auto", &[], &[("probe-tuner.io/mode", "auto")], "mode is off, not auto"),
        ("off", &[("probe-tuner.io/mode", "off")], &[], "mode is off, not auto"),
        ("recommend", &[("probe-tuner.io/mode", "recommend")], &[], "mode is recommend, not auto"),
        ("piggyback", &[("probe-tuner.io/mode", "piggyback")], &[], "mode is piggyback, not auto"),
        (
            "canary",
            &[("probe-tuner.io/mode", "canary")],
            &[("probe-tuner.io/mode", "auto")],
            "mode is canary, not auto",
        ),
        ("misspelt", &[("probe-tuner.io/mode", "Auto")], &[], "mode is Auto, not auto"),
        ("spaced", &[("probe-tuner.io/mode", " auto")], &[], "mode is  auto, not auto"),
        ("skipped", AUTO, &[("probe-tuner.io/skip", "")], "probe-tuner.io/skip or with a lower"),
        ("lowered", AUTO, &[("probe-tuner.io/mode", "recommend")], "probe-tuner.io/skip or with a lower"),
        ("lowered-misspelt", AUTO, &[("probe-tuner.io/mode", "autp")], "probe-tuner.io/skip or with a lower"),
        ("other-container", AUTO, &[("probe-tuner.io/containers", "helper,mesh")], left_out),
        (
            "other-container-namespace",
            &[("probe-tuner.io/mode", "auto"), ("probe-tuner.io/containers", "helper")],
            &[],
            left_out,
        ),
        ("no-container", AUTO, &[("probe-tuner.io/containers", "")], left_out),
        ("other-probe", AUTO, &[("probe-tuner.io/probes", "readiness, startup")], left_out),
        (
            "other-probe-namespace",
            &[("probe-tuner.io/mode", "auto"), ("probe-tuner.io/probes", "readiness")],
            &[("probe-tuner.io/probes", "liveness")],
            left_out,
        ),
        (
            "protected",
            &[("probe-tuner.io/mode", "auto"), ("probe-tuner.io/protected", "")],
            &[],
            "risky, so not without approvals",
        ),
        (
            "ledger",
            &[
                ("probe-tuner.io/mode", "auto"),
                ("probe-tuner.io/protected", ""),
                ("probe-tuner.io/approvals", "ledger"),
            ],
            &[],
            "risky, so not without approvals",
        ),
    ];
    let mut cases = Vec::new();
    for (namespace, annotations, on_web, rule) in namespaces {
        shop(namespace, annotations, |web| {
            for (key, value) in on_web {
                web["metadata"]["annotations"][key] = json!(value);
            }
        });
        cases.push((namespace, harmless(namespace), By::Fence(rule)));
    }
    let lift = |namespace: &str, annotation: Value| {
        let number = set(format!("{LIVENESS}/timeoutSeconds"), json!(2));
        patch(&deployment(namespace, "web"), [annotation, number])
    };
    let skip = take("/metadata/annotations/probe-tuner.io~1skip");
    let mode = set("/metadata/annotations/probe-tuner.io~1mode", json!("auto"));
    let lower = By::Fence("probe-tuner.io/skip or with a lower");
    cases.push(("a skip lifted in the same breath", lift("skipped", skip), lower));
    cases.push(("a mode raised in the same breath", lift("lowered", mode), lower));
    let f = fenced();
    let daemon = f.client(&f.daemon);
    all_refused(&daemon, cases).await;
    for (namespace, ..) in namespaces {
        assert_eq!(daemon.get(&deployment(namespace, "web")).await["metadata"]["generation"], 1, "{namespace}");
    }
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn kube_system_and_the_daemons_own_namespace_are_out_of_bounds_whatever_they_say() {
    let f = fenced();
    f.cluster.kubectl(&["annotate", "namespace", "kube-system", "probe-tuner", "probe-tuner.io/mode=auto"]);
    f.cluster.apply(&web().to_string(), &["-n", "kube-system"]);
    let own = deployment("probe-tuner", "probe-tuner");
    let out = By::Fence("this namespace is out of bounds");
    let cases = vec![
        ("kube-system", harmless("kube-system"), out),
        ("its own numbers", replace(&own, &format!("{LIVENESS}/timeoutSeconds"), json!(9)), out),
        // The trial that the daemon makes at its start.
        ("its own replicas", replace(&own, "/spec/replicas", json!(2)), out),
    ];
    all_refused(&f.client(&f.daemon), cases).await;
    f.cluster.kubectl(&["annotate", "namespace", "kube-system", "probe-tuner", "probe-tuner.io/mode-"]);
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn probes_that_the_owner_has_chosen_pass() {
    let f = shop("chosen", &[("probe-tuner.io/mode", "auto"), ("probe-tuner.io/containers", "web, app")], |web| {
        web["metadata"]["annotations"]["probe-tuner.io/probes"] = json!("readiness, liveness");
        web["metadata"]["annotations"]["probe-tuner.io/containers"] = json!("app");
    });
    f.client(&f.daemon).send(&harmless("chosen")).await.object();
}
