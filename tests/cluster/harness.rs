//! A cluster with everything installed as users install it, and the daemon beside it with its own account's token.

use super::support::minicluster::{Minicluster, wait_for};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// How long anything in a cluster may take on a machine that has more to do.
pub const SOON: Duration = Duration::from_secs(90);

/// From a first stall to a change that was made, watched and found good.
pub const STORY: Duration = Duration::from_secs(300);

/// The daemon's name in the audit log.
pub const DAEMON: &str = "system:serviceaccount:probe-tuner:probe-tuner";

/// Every duration is ordinary configuration, so a test sets seconds where people set hours.
const CONFIG: &str = r#"
[observe]
scrape-interval = "5s"
scrape-timeout = "4s"
usage-interval = "10s"

[plan]
warm-up = "0s"
rollouts-per-hour = 100
rollouts-per-day = 100
cooldown = "5s"
storm-cooldown = "1s"

[verify]
watch = "45s"
rollout-timeout = "2m"

[log]
level = "debug"
format = "json"
"#;

/// The cluster that all tests here share, with the manifests applied and the fence awake.
pub fn cluster() -> &'static Minicluster {
    static CLUSTER: OnceLock<Minicluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let c = Minicluster::start(&["--nodes=3", "--backoff-max=3s", "--wipe"]);
        install(&c);
        c
    })
}

/// Applies deploy/manifests as they are, and waits until the fence refuses.
pub fn install(c: &Minicluster) {
    let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
    // The kind must be known before the rest of the file list can be applied by one command.
    wait_for("the manifests", SOON, || {
        c.kubectl_command().args(["apply", "-k", manifests]).output().unwrap().status.success().then_some(())
    });
    c.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/probetunings.probe-tuner.io"]);
}

/// A running daemon. Dropping it kills it, as a crash would.
pub struct Daemon {
    child: Child,
    /// Its log, one JSON object a line.
    pub log: PathBuf,
}

impl Daemon {
    /// Starts a daemon beside `c`, with a token of its own ServiceAccount and nothing else.
    pub fn start(c: &Minicluster, name: &str) -> Self {
        let dir = c.dir();
        let kubeconfig = dir.join("daemon.kubeconfig");
        let token = dir.join("daemon.token");
        fs::write(&token, c.kubectl(&["create", "token", "probe-tuner", "-n", "probe-tuner", "--duration=2h"]).trim())
            .unwrap();
        let account = json!({"apiVersion": "v1", "kind": "Config", "current-context": "daemon",
            "clusters": [{"name": "mini", "cluster": {"server": c.server(), "certificate-authority": c.ca()}}],
            "users": [{"name": "daemon", "user": {"tokenFile": token}}],
            "contexts": [{"name": "daemon", "context": {"cluster": "mini", "user": "daemon"}}]});
        fs::write(&kubeconfig, account.to_string()).unwrap();
        let config = dir.join("daemon.toml");
        fs::write(&config, CONFIG).unwrap();
        // Outside the cluster's folder, which goes when the tests end.
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_probe-tuner"))
            .arg("run")
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .arg("--config")
            .arg(&config)
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// Kills it at this moment, without a word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The lines of its log that contain these words.
    pub fn said(&self, words: &str) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines().filter(|l| l.contains(words)).map(str::to_owned).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// The cluster with one daemon that lives as long as the tests.
pub fn watched() -> &'static Minicluster {
    static DAEMON_OF_ALL: OnceLock<Daemon> = OnceLock::new();
    let c = cluster();
    DAEMON_OF_ALL.get_or_init(|| Daemon::start(c, "daemon"));
    c
}

/// Answers in 1.5 s for 45 s of each 100: at 10/1/3 each such stall is a false restart, at a timeout of 2 s none is.
pub fn stalling() -> Value {
    let steps: Vec<Value> =
        (0..30).flat_map(|i| [json!({"at": 15 + 100 * i, "ms": 1500}), json!({"at": 60 + 100 * i, "ms": 5})]).collect();
    json!([{ "steps": steps }])
}

/// A Deployment of the container `app` at 10/1/3, with a script for each start of its containers.
pub fn deployment(name: &str, replicas: u32, script: &Value, annotations: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}, "annotations": {"minicluster.probe-tuner.io/app": script.to_string()}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": format!("example/{name}:1"),
                    "ports": [{"containerPort": 8080}],
                    "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}}]}}}})
}

/// The object, or nothing.
pub fn get(c: &Minicluster, kind: &str, namespace: &str, name: &str) -> Option<Value> {
    let out = c.kubectl_command().args(["get", kind, name, "-n", namespace, "-o", "json"]).output().unwrap();
    out.status.success().then(|| serde_json::from_slice(&out.stdout).unwrap())
}

/// The ProbeTuning of a Deployment once `fits` likes its status.
#[track_caller]
pub fn tuning(c: &Minicluster, namespace: &str, name: &str, within: Duration, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("a ProbeTuning", within, || {
            last = get(c, "probetuning", namespace, &format!("deployment-{name}"))
                .map_or(Value::Null, |mut o| o["status"].take());
            fits(&last).then(|| last.clone())
        })
    }));
    found.unwrap_or_else(|_| panic!("{namespace}/{name} never stood as wanted; last: {last:#}"))
}

/// The numbers of the container `app` as `P/T/K`.
pub fn numbers(c: &Minicluster, namespace: &str, name: &str) -> String {
    let d = get(c, "deployment", namespace, name).unwrap();
    let p = &d["spec"]["template"]["spec"]["containers"][0]["livenessProbe"];
    format!("{}/{}/{}", p["periodSeconds"], p["timeoutSeconds"], p["failureThreshold"])
}

/// Restarts of all the Deployment's containers that run now.
pub fn restarts(c: &Minicluster, namespace: &str, name: &str) -> u64 {
    let pods = c.kubectl_json(&["get", "pods", "-n", namespace, "-l", &format!("app={name}")]);
    pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0))
        .sum()
}
