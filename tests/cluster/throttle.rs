//! Throttling as real kubelets tell it: from the counters of a container's cgroup to the word for whoever is on call.

use super::harness::{SOON, cluster, deployment};
use kube::config::{KubeConfigOptions, Kubeconfig};
use probe_tuner::annotations::{Defaults, Pause};
use probe_tuner::engine::{Engine, Phase, Rules, View};
use probe_tuner::observation::Observation;
use probe_tuner::observe::{self, Notice, Scope, Scraping, Trust};
use probe_tuner::reason::Reason;
use probe_tuner::run::clock::Clock;
use probe_tuner::units::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Seconds of the observer's clock in one of the kubelets': a day is over in a minute and a half. Shares of periods are
/// the same by any clock.
const FASTER: i64 = 1_000;

/// A Deployment whose container has a CPU limit and stands still in such a share of its CPU periods.
fn limited(name: &str, throttled: f64) -> Value {
    let mut d = deployment(name, 2, &json!([{"usage": [{"at": 0, "cpu_m": 100, "throttled": throttled}]}]), &json!({}));
    let container = &mut d["spec"]["template"]["spec"]["containers"][0];
    container["resources"] = json!({"limits": {"cpu": "200m"}, "requests": {"cpu": "10m"}});
    container["livenessProbe"]["timeoutSeconds"] = json!(12);
    container["livenessProbe"]["failureThreshold"] = json!(2);
    d
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn a_container_that_is_throttled_for_hours_is_told_to_be_starved_and_one_that_is_not_is_not() {
    let c = cluster();
    c.namespace("starved", &[("probe-tuner.io/mode", "recommend")]);
    for d in [limited("slow", 0.6), limited("quick", 0.1)] {
        c.apply(&d.to_string(), &["-n", "starved"]);
    }
    for name in ["slow", "quick"] {
        c.kubectl(&["rollout", "status", "--timeout=90s", "-n", "starved", &format!("deployment/{name}")]);
    }

    let kubeconfig = Kubeconfig::read_from(c.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let trust = Trust::from_pem(&std::fs::read(c.ca()).unwrap()).unwrap();
    let (_word, paused) = watch::channel(Pause::NOWHERE);
    let often = Duration::from_millis(250);
    let settings = observe::Settings {
        namespace: "probe-tuner".into(),
        scope: Scope::Named(["starved".into()].into()),
        excluded: BTreeSet::new(),
        defaults: Defaults::default(),
        paused,
        scraping: Some(Scraping { interval: often, throttling: Some(often), ..Scraping::new(trust) }),
        usage_every: None,
        shadowing: None,
    };
    let clock = Clock::start();
    let begin = clock.now();
    let fast = move || -> Timestamp { begin + clock.now().since(begin) * FASTER };
    let (facts, mut heard) = mpsc::channel(1024);
    let (notices, mut noticed) = mpsc::channel(64);
    let client = kube::Client::try_from(config).unwrap();
    let observer = observe::start(client, settings, Arc::new(fast.clone()), facts, notices);

    let mut engine = Engine::new(Rules::default(), begin);
    let of = |engine: &Engine, name: &str| engine.views().find(|v| v.address.name.as_ref() == name);
    let starved = |v: &View| v.reason == Reason::Starved;
    let told = async {
        loop {
            let o: Observation = heard.recv().await.unwrap();
            engine.observe(o);
            drop(engine.turn(fast()));
            if of(&engine, "slow").is_some_and(|v| starved(&v)) {
                return;
            }
        }
    };
    if timeout(SOON * 3, told).await.is_err() {
        panic!("never starved; last: {:#?}", engine.views().collect::<Vec<_>>());
    }
    observer.task.abort();
    let slow = of(&engine, "slow").unwrap();
    assert_eq!(slow.phase, Phase::Refused);
    assert!(
        slow.message.contains("container app has been throttled in more than 30 % of its CPU periods on most pods for"),
        "{}",
        slow.message
    );
    let throttled = engine.explain(slow.uid, fast()).remove(0).load.throttled.unwrap();
    assert!((0.55..0.65).contains(&throttled.share), "{throttled:?}");
    let quick = of(&engine, "quick").unwrap();
    assert!(!starved(&quick) && !quick.message.contains("throttled"), "{}", quick.message);
    let throttled = engine.explain(quick.uid, fast()).remove(0).load.throttled.unwrap();
    assert!((0.05..0.15).contains(&throttled.share) && throttled.lasts.is_none(), "{throttled:?}");
    let mut read = 0;
    while let Ok(notice) = noticed.try_recv() {
        if let Notice::Throttling { result, .. } = notice {
            read += usize::from(result.is_ok_and(|(containers, skipped)| containers > 0 && skipped.malformed == 0));
        }
    }
    assert!(read > 0);
}
