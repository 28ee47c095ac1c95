//! Changes that come between: by another hand between our read and our patch, and by our own death.

use super::harness::{Daemon, STORY, cluster, deployment, get, install, numbers, stalling, tuning};
use super::support::minicluster::Minicluster;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use probe_tuner::act::{Actor, Settings};
use probe_tuner::annotations::Defaults;
use probe_tuner::change::{Change, Intent, Outcome, Step};
use probe_tuner::cluster::Patience;
use probe_tuner::probe::ProbeKind;
use probe_tuner::reason::Reason;
use probe_tuner::run::clock::Clock;
use probe_tuner::units::Uid;
use probe_tuner::workload::{Address, ProbeId, WorkloadKind};
use serde_json::json;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tower::ServiceExt;

/// The change that the daemon would make of a Deployment as it stands.
fn change(c: &Minicluster, namespace: &str, name: &str, to: &str) -> Change {
    let d = get(c, "deployment", namespace, name).unwrap();
    let uid = Uid::parse(d["metadata"]["uid"].as_str().unwrap()).unwrap();
    Change {
        id: 1,
        workload: uid,
        address: Address { namespace: namespace.into(), kind: WorkloadKind::Deployment, name: name.into() },
        generation: d["metadata"]["generation"].as_i64().unwrap(),
        intent: Intent::Tune,
        steps: vec![Step {
            probe: ProbeId { container: "app".into(), kind: ProbeKind::Liveness },
            from: "10/1/3".parse().unwrap(),
            to: to.parse().unwrap(),
        }],
        reason: Reason::Storm,
        message: String::new(),
    }
}

/// What becomes of a request on its way.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It arrives and is answered.
    Answered,
    /// It arrives, and its answer does not.
    AnswerLost,
    /// It does not arrive.
    Lost,
}

/// An actor with the daemon's own rights through whose client something else happens just before each real patch, which
/// also says what becomes of the patch.
async fn interrupted(c: &'static Minicluster, before_patch: impl Fn() -> Fate + Clone + Send + 'static) -> Actor {
    let kubeconfig = Kubeconfig::read_from(c.dir().join("daemon.kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let namespace = config.default_namespace.clone();
    let real = ClientBuilder::try_from(config).unwrap().build();
    let service = tower::service_fn(move |request: hyper::Request<Body>| {
        let (real, before_patch) = (real.clone(), before_patch.clone());
        async move {
            let query = request.uri().query().unwrap_or_default();
            let real_patch = request.method() == hyper::Method::PATCH && !query.contains("dryRun");
            match if real_patch { before_patch() } else { Fate::Answered } {
                Fate::Answered => real.send(request).await,
                Fate::AnswerLost => {
                    real.send(request).await?;
                    pending().await
                }
                Fate::Lost => pending().await,
            }
        }
    });
    let client = kube::Client::new(service.map_err(|e: kube::Error| Box::new(e)), namespace);
    Actor::new(
        client,
        Settings {
            own: ("probe-tuner".into(), "probe-tuner".into()),
            defaults: Defaults::default(),
            limits: Patience::default(),
        },
    )
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn a_deployment_that_somebody_changes_between_our_read_and_our_patch_is_not_overwritten() {
    let c = cluster();
    drop(Daemon::start(c, "briefly"));
    c.namespace("raced", &[("probe-tuner.io/mode", "auto")]);
    c.apply(&deployment("web", 1, &json!([{}]), &json!({})).to_string(), &["-n", "raced"]);
    c.kubectl(&["rollout", "status", "deployment/web", "-n", "raced", "--timeout=60s"]);
    let theirs =
        r#"[{"op":"replace","path":"/spec/template/spec/containers/0/livenessProbe/periodSeconds","value":7}]"#;
    let actor = interrupted(c, move || {
        c.kubectl(&["patch", "deployment", "web", "-n", "raced", "--type=json", "-p", theirs]);
        Fate::Answered
    })
    .await;
    let now = Clock::start().now();
    let done = actor.apply(&change(c, "raced", "web", "10/12/2"), now, false).await;
    assert!(matches!(done.outcome, Outcome::Contested { .. }), "{done:?}");
    assert_eq!(numbers(c, "raced", "web"), "7/1/3");
}

#[tokio::test]
#[ignore = "needs a control plane"]
async fn what_became_of_a_patch_whose_answer_was_lost_is_read_from_the_server() {
    let c = cluster();
    drop(Daemon::start(c, "unheard"));
    c.namespace("unheard", &[("probe-tuner.io/mode", "auto")]);
    for (name, fate, stands) in [("heard", Fate::AnswerLost, "10/12/2"), ("lost", Fate::Lost, "10/1/3")] {
        c.apply(&deployment(name, 1, &json!([{}]), &json!({})).to_string(), &["-n", "unheard"]);
        c.kubectl(&["rollout", "status", &format!("deployment/{name}"), "-n", "unheard", "--timeout=60s"]);
        let first = Arc::new(AtomicBool::new(true));
        let actor =
            interrupted(c, move || if first.swap(false, Ordering::Relaxed) { fate } else { Fate::Answered }).await;
        let change = change(c, "unheard", name, "10/12/2");
        let done = actor.apply(&change, Clock::start().now(), false).await;
        assert!(matches!(done.outcome, Outcome::Unknown { .. }) && done.clinging, "{done:?}");
        let told = actor.find_out(&change).await.unwrap();
        let taken = matches!(told, Outcome::Applied { generation } if generation == change.generation + 1);
        assert_eq!(taken, stands == "10/12/2", "{told:?}");
        assert_eq!(matches!(told, Outcome::Contested { .. }), !taken, "{told:?}");
        assert_eq!(numbers(c, "unheard", name), stands);
        actor.let_go(&change.address).await.unwrap();
        let object = c.kubectl(&["get", "deployment", name, "-n", "unheard", "-o", "json", "--show-managed-fields"]);
        assert!(!object.contains(r#""manager": "probe-tuner""#), "{object}");
    }
}

#[test]
#[ignore = "needs a control plane"]
fn a_daemon_that_is_killed_between_patch_and_verdict_finishes_the_job_and_patches_no_second_time() {
    let c = Minicluster::start(&["--nodes=1", "--backoff-max=3s"]);
    install(&c);
    let first = Daemon::start(&c, "first");
    c.namespace("shop", &[("probe-tuner.io/mode", "auto")]);
    c.apply(&deployment("web", 3, &stalling(), &json!({})).to_string(), &["-n", "shop"]);
    tuning(&c, "shop", "web", STORY, |s| s["inFlight"].is_object());
    // Whichever moment this is: written down, patched, or rolling out.
    first.kill();
    let second = Daemon::start(&c, "second");
    let done = tuning(&c, "shop", "web", STORY, |s| s["changes"].as_array().is_some_and(|c| !c.is_empty()));
    assert_eq!(done["changes"][0]["result"], "Verified", "{done:#}");
    assert_eq!(done["changes"].as_array().unwrap().len(), 1, "{done:#}");
    let generation = get(&c, "deployment", "shop", "web").unwrap()["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation, 2, "patched exactly once");
    second.kill();
}
