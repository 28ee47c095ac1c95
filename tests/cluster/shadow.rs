//! Shadow checks against real pods: what their servers see of us, and what we see of them.

use super::harness::{SOON, cluster, deployment, watched};
use super::support::minicluster::{Minicluster, wait_for};
use kube::config::{KubeConfigOptions, Kubeconfig};
use probe_tuner::annotations::{Defaults, Pause};
use probe_tuner::observation::{Fact, Observation};
use probe_tuner::observe::{self, Notice, Rule, Scope, Shadowed, Shadowing};
use probe_tuner::run::clock::Clock;
use probe_tuner::units::Span;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

const AGENT: &str = concat!("probe-tuner/", env!("CARGO_PKG_VERSION"));

/// A Deployment whose liveness probe is this, at ports named as what speaks on them.
fn probing(name: &str, probe: &Value, script: &Value, annotations: &Value) -> Value {
    let mut d = deployment(name, 1, script, annotations);
    let container = &mut d["spec"]["template"]["spec"]["containers"][0];
    container["ports"] = json!([{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000},
        {"name": "tcp", "containerPort": 6379}]);
    container["livenessProbe"] = json!({"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 9});
    for (key, value) in probe.as_object().unwrap() {
        container["livenessProbe"][key] = value.clone();
    }
    d
}

/// What the servers of a workload's pods saw of us: path and names of headers.
fn asked(c: &Minicluster, pods: &str) -> Vec<(String, Vec<Value>)> {
    let ours = |e: &Value| e["ev"] == "request" && e["agent"] == AGENT && e["pod"].as_str().unwrap().starts_with(pods);
    let short = |e: Value| (e["path"].as_str().unwrap().to_owned(), e["headers"].as_array().unwrap().clone());
    c.record().into_iter().filter(ours).map(short).collect()
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn pods_are_asked_where_their_owners_say_on_at_their_own_address_and_nowhere_else() {
    let c = cluster();
    let mode = ("probe-tuner.io/mode", "recommend");
    for (namespace, word) in [("on", Some("on")), ("off", Some("off")), ("unset", None), ("illegible", Some("yes"))] {
        let shadow = word.map(|word| ("probe-tuner.io/shadow-checks", word));
        c.namespace(&format!("shadow-{namespace}"), &[&[mode][..], shadow.as_slice()].concat());
    }
    // Slower than the kubelet waits, and never answered within a test's time.
    let (slow, hung) = (json!([{"steps": [{"at": 0, "ms": 1500}]}]), json!([{"steps": [{"at": 0, "ms": -1}]}]));
    let http = json!({"httpGet": {"path": "/live", "port": "http", "host": "192.0.2.1"}});
    for namespace in ["on", "off", "unset", "illegible"] {
        let d = probing("web", &http, &slow, &json!({}));
        c.apply(&d.to_string(), &["-n", &format!("shadow-{namespace}")]);
    }
    let mut of_node = probing("of-node", &json!({"httpGet": {"port": 18_080}}), &json!([{}]), &json!({}));
    of_node["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
    of_node["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{"containerPort": 18_080}]);
    for d in [
        probing("health", &json!({"grpc": {"port": 9000, "service": "cart"}}), &json!([{}]), &json!({})),
        probing("cache", &json!({"tcpSocket": {"port": "tcp"}}), &json!([{}]), &json!({})),
        probing("stuck", &http, &hung, &json!({})),
        probing("lowered", &http, &json!([{}]), &json!({"probe-tuner.io/shadow-checks": "off"})),
        of_node,
    ] {
        c.apply(&d.to_string(), &["-n", "shadow-on"]);
    }

    let kubeconfig = Kubeconfig::read_from(c.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let (_word, paused) = watch::channel(Pause::NOWHERE);
    let settings = observe::Settings {
        namespace: "probe-tuner".into(),
        scope: Scope::OptedIn,
        // The other test here is about a daemon that must not ask in there.
        excluded: BTreeSet::from(["loopback".into()]),
        defaults: Defaults::default(),
        paused,
        scraping: None,
        usage_every: None,
        shadowing: Some(Shadowing { rate: 20.0, loopback: true }),
    };
    let (clock, (facts, mut heard), (notices, mut noticed)) =
        (Clock::start(), mpsc::channel(1024), mpsc::channel(1024));
    let client = kube::Client::try_from(config).unwrap();
    let observer = observe::start(client, settings, Arc::new(move || clock.now()), facts, notices);
    let (mut names, mut answers) = (BTreeMap::new(), BTreeMap::<String, (Option<Span>, bool)>::new());
    let all = async {
        while answers.len() < 4 {
            let Observation { fact, .. } = heard.recv().await.unwrap();
            match fact {
                Fact::Pod(pod) => {
                    let app = pod.name.split('-').next().unwrap().to_owned();
                    names.insert(pod.uid, app);
                }
                Fact::ShadowCheck { pod, latency, healthy, .. } => {
                    answers.insert(names[&pod].clone(), (latency, healthy));
                }
                _ => {}
            }
        }
    };
    timeout(SOON, all).await.expect("answers of four workloads");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["cache", "health", "stuck", "web"]);
    assert_eq!(answers["stuck"], (None, false));
    let (latency, healthy) = answers["web"];
    assert!(healthy && latency.is_some_and(|l| l >= Span::from_millis(1_500) && l < Span::SECOND * 10), "{latency:?}");
    assert!(answers["health"].1 && answers["cache"].1);
    let mut refused = false;
    while let Ok(notice) = noticed.try_recv() {
        refused |= notice == Notice::Shadowed(Shadowed::Refused(Rule::HostNetwork));
    }
    assert!(refused, "the pod on its node's network had its turn");
    observer.task.abort();
    // A request is written down at its end.
    sleep(Duration::from_secs(2)).await;

    let seen = asked(c, "shadow-on/web-");
    assert!(!seen.is_empty() && seen.iter().all(|r| *r == ("/live".to_owned(), vec![json!("User-Agent")])), "{seen:?}");
    for never in ["shadow-on/of-node-", "shadow-on/lowered-", "shadow-off/", "shadow-unset/", "shadow-illegible/"] {
        assert_eq!(asked(c, never), [], "{never}");
    }
}

#[test]
#[ignore = "needs a control plane"]
fn the_daemon_takes_no_loopback_address_for_a_pods_unless_it_is_told_to() {
    let c = watched();
    c.namespace("loopback", &[("probe-tuner.io/mode", "recommend"), ("probe-tuner.io/shadow-checks", "on")]);
    let http = json!({"httpGet": {"path": "/live", "port": "http"}});
    c.apply(&probing("web", &http, &json!([{}]), &json!({})).to_string(), &["-n", "loopback"]);
    wait_for("a turn to be refused", SOON, || {
        page().lines().any(|l| l.starts_with("probe_tuner_shadow_refusals_total{rule=\"address\"}")).then_some(())
    });
    assert_eq!(asked(c, "loopback/"), []);
}

/// The shared daemon's metrics.
fn page() -> String {
    let log = std::fs::read_to_string(concat!(env!("CARGO_TARGET_TMPDIR"), "/daemon.log")).unwrap();
    let line: Value = serde_json::from_str(log.lines().find(|l| l.contains("\"listening\"")).unwrap()).unwrap();
    let address = line.pointer("/fields/listening").or_else(|| line.get("listening")).unwrap();
    let mut stream = TcpStream::connect(address.as_str().unwrap()).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", address.as_str().unwrap())
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
