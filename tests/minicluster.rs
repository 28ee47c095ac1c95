//! The cluster for tests is real: what it promises to the other tests, each a sentence.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, process::Command, time::Duration};

use support::minicluster::{Minicluster, processes, wait_for};

/// A pod of one container `app` with a script and, unless it is empty, a liveness probe.
fn pod(name: &str, script: &str, liveness: &str) -> String {
    let probe = if liveness.is_empty() { String::new() } else { format!(r#", "livenessProbe": {liveness}"#) };
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod",
            "metadata": {{"name": "{name}", "annotations": {{"minicluster.probe-tuner.io/app": {}}}}},
            "spec": {{"terminationGracePeriodSeconds": 1, "containers": [{{"name": "app", "image": "example/{name}:1",
                "ports": [{{"containerPort": 8080}}]{probe}}}]}}}}"#,
        serde_json::Value::from(script)
    )
}

const LIVENESS: &str = r#"{"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}"#;

#[test]
#[ignore = "needs a control plane"]
fn metrics_of_pods_and_nodes_come_from_metrics_server_over_the_kubelets() {
    let c = Minicluster::shared();
    c.namespace("metrics", &[]);
    c.apply(&pod("busy", r#"[{"usage": [{"at": 0, "cpu_m": 300, "mem_mi": 200}]}]"#, ""), &["-n", "metrics"]);
    let top = wait_for("kubectl top pods", Duration::from_secs(60), || {
        let out = c.kubectl_command().args(["top", "pods", "-n", "metrics", "--no-headers"]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.contains("busy").then_some(text)
    });
    let cells: Vec<&str> = top.split_whitespace().collect();
    assert!(["299m", "300m", "301m", "302m"].contains(&cells[1]), "{top}");
    assert_eq!(cells[2], "200Mi");
    let nodes: serde_json::Value =
        serde_json::from_str(&c.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"])).unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
}

#[test]
#[ignore = "needs a control plane"]
fn a_container_that_hangs_is_killed_by_the_kubelet_and_its_event_says_so() {
    let c = Minicluster::shared();
    c.namespace("hang", &[]);
    c.apply(&pod("hang", r#"[{"steps": [{"at": 0, "ms": -1}]}, {}]"#, LIVENESS), &["-n", "hang"]);
    let message = wait_for("the event", Duration::from_secs(30), || {
        let events = c.kubectl_json(&["get", "events", "-n", "hang", "--field-selector=reason=Killing"]);
        Some(events["items"].get(0)?["message"].as_str()?.to_owned())
    });
    assert_eq!(message, "Container app failed liveness probe, will be restarted");
    wait_for("the restart", Duration::from_secs(30), || {
        let pod = c.kubectl_json(&["get", "pod", "-n", "hang", "hang"]);
        (pod["status"]["containerStatuses"][0]["restartCount"] == 1).then_some(())
    });
}

#[test]
#[ignore = "needs a control plane"]
fn a_dead_component_ends_the_cluster_loudly_with_the_end_of_its_log() {
    let c = Minicluster::start(&["--nodes=0", "--metrics-server=false"]);
    let scheduler = c.component_pid("kube-scheduler");
    assert!(Command::new("kill").args(["-9", &scheduler.to_string()]).status().unwrap().success());
    let (status, stderr) = c.wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("error: kube-scheduler ended by itself (signal: killed)"), "{stderr}");
    assert!(stderr.lines().count() > 5, "{stderr}");
}

#[test]
#[ignore = "needs a control plane"]
fn the_end_of_a_cluster_leaves_no_process() {
    let mut c = Minicluster::start(&["--nodes=1", "--metrics-server=false"]);
    let of_this = |p: &u32| {
        let dir = c.dir().to_str().unwrap();
        fs::read(format!("/proc/{p}/cmdline")).is_ok_and(|l| String::from_utf8_lossy(&l).contains(dir))
    };
    assert_eq!(processes().filter(of_this).count(), 6, "supervisor, four components, one kubelet");
    let dir = c.dir().to_owned();
    assert!(c.stop().success());
    let left = processes()
        .filter(|p| {
            fs::read(format!("/proc/{p}/cmdline"))
                .is_ok_and(|l| String::from_utf8_lossy(&l).contains(dir.to_str().unwrap()))
        })
        .count();
    assert_eq!(left, 0);
}
