//! Clusters in which something is missing: the daemon says what and how to mend it, goes on, and writes nothing that it
//! could not stand for. And one pass from the command line, which writes nothing at all.

use super::harness::{DAEMON, Daemon, SOON, cluster, deployment, get, install, numbers, stalling};
use super::support::minicluster::{Minicluster, wait_for};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

#[test]
#[ignore = "needs a control plane"]
fn without_fence_kinds_or_metrics_the_daemon_says_what_is_missing_goes_on_and_writes_nothing() {
    let c = Minicluster::start(&["--nodes=1", "--backoff-max=3s"]);
    install(&c);
    c.kubectl(&["delete", "validatingadmissionpolicybinding", "probe-tuner-fence-workloads"]);
    c.kubectl(&["delete", "crd", "probetunings.probe-tuner.io"]);
    c.kubectl(&["delete", "apiservice", "v1beta1.metrics.k8s.io"]);
    c.kubectl(&["delete", "clusterrolebinding", "probe-tuner-scrape"]);
    c.namespace("shop", &[("probe-tuner.io/mode", "auto")]);
    c.apply(&deployment("web", 3, &stalling(), &json!({})).to_string(), &["-n", "shop"]);
    let daemon = Daemon::start(&c, "missing");
    for words in [
        "the fence does not hold: nothing is written",
        "`kubectl apply -k deploy/manifests` installs the kinds",
        "usage is unknown",
        "nodes/metrics",
    ] {
        wait_for(words, SOON, || (!daemon.said(words).is_empty()).then_some(()));
    }
    // Three replicas are killed falsely meanwhile, which is a storm to anyone who may look and act.
    wait_for("the kubelet's own kills", Duration::from_secs(180), || {
        let pods = c.kubectl_json(&["get", "pods", "-n", "shop"]);
        let restarts = |p: &Value| p["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
        (pods["items"].as_array()?.iter().map(restarts).sum::<u64>() >= 3).then_some(())
    });
    assert_eq!(numbers(&c, "shop", "web"), "10/1/3");
    let changed: Vec<_> = c.audit().into_iter().filter(|e| e.user == DAEMON && e.writes() && e.code < 300).collect();
    assert!(changed.iter().all(|e| e.resource == "events" || e.resource == "configmaps"), "{changed:?}");
    // What was missing comes: within a minute it is known, without a restart.
    install(&c);
    wait_for("the fence to be seen", Duration::from_secs(120), || {
        (!daemon.said("the fence holds").is_empty()).then_some(())
    });
    daemon.kill();
}

#[test]
#[ignore = "needs a control plane"]
fn recommend_makes_one_pass_shows_every_probe_and_writes_nothing() {
    let c = cluster();
    c.namespace("asked", &[]);
    // An account of its own with the daemon's rights to read, and in its namespace also those to write: what it does not
    // write it could have written.
    c.kubectl(&["create", "serviceaccount", "asker", "-n", "asked"]);
    c.kubectl(&[
        "create",
        "clusterrolebinding",
        "asker",
        "--clusterrole=probe-tuner-read",
        "--serviceaccount=asked:asker",
    ]);
    c.kubectl(&[
        "create",
        "rolebinding",
        "asker",
        "-n",
        "probe-tuner",
        "--role=probe-tuner",
        "--serviceaccount=asked:asker",
    ]);
    c.apply(&deployment("web", 2, &json!([{}]), &json!({})).to_string(), &["-n", "asked"]);
    c.kubectl(&["rollout", "status", "deployment/web", "-n", "asked", "--timeout=60s"]);
    let out = Command::new(env!("CARGO_BIN_EXE_probe-tuner"))
        .args(["recommend", "-n", "asked", "-o", "json", "--kubeconfig"])
        .arg(c.kubeconfig_of("asked", "asker"))
        .output()
        .unwrap();
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(out.status.success(), "{err}");
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let row = &document["recommendations"][0];
    assert_eq!(document["version"], 1);
    assert_eq!(
        (row["name"].as_str(), row["probe"].as_str(), row["mode"].as_str()),
        (Some("web"), Some("liveness"), Some("off"))
    );
    assert_eq!((row["reason"].as_str(), &row["recommended"]), (Some("THIN_EVIDENCE"), &row["current"]), "{row:#}");
    assert_eq!(get(c, "deployment", "asked", "web").unwrap()["metadata"]["generation"], 1);
    let asked: Vec<_> = c.audit().into_iter().filter(|e| e.user == "system:serviceaccount:asked:asker").collect();
    assert!(asked.len() > 5, "{asked:?}");
    let written: Vec<_> = asked.into_iter().filter(|e| e.writes()).collect();
    assert!(written.is_empty(), "{written:?}");
}
