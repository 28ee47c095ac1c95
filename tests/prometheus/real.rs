//! A real Prometheus that scrapes the real kubelets of a real control plane.

use super::server::{Prometheus, SOON, run, runtime};
use super::support::minicluster::{Minicluster, wait_for};
use probe_tuner::evidence::Evidence;
use probe_tuner::observation::{Counters, Fact};
use probe_tuner::observe::page::{PAGE_LIMIT, Parser};
use probe_tuner::probe::{ProbeKind, Settings};
use probe_tuner::prometheus::{Access, Budget, History, Server, Subject, Trust, recount};
use probe_tuner::run::backtest::{self, Numbers};
use probe_tuner::units::{Span, Uid};
use probe_tuner::workload::{Address, ProbeId, WorkloadKind};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A daemon that knows kubelets through the Prometheus only. Dropping it kills it.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(name: &str, config: &str) -> Daemon {
        let cluster = &stage().cluster;
        let file = cluster.dir().join(format!("{name}.toml"));
        std::fs::write(&file, config).unwrap();
        let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-daemon-{name}.log"));
        let child = Command::new(env!("CARGO_BIN_EXE_probe-tuner"))
            .args(["run", "--listen", "127.0.0.1:0", "--kubeconfig"])
            .arg(cluster.kubeconfig())
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Daemon { child, log }
    }

    /// The first line of its log, as JSON, that `fits`.
    fn said(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, SOON, || {
            let text = std::fs::read_to_string(&self.log).unwrap();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).find(&fits)
        })
    }

    /// The value of a series of its metrics page; 0 while it is not there.
    fn metric(&self, series: &str) -> f64 {
        let begins = self.said("where it listens", |line| !line["listening"].is_null());
        let mut stream = TcpStream::connect(begins["listening"].as_str().unwrap()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The cluster and the Prometheus that all tests here share.
struct Stage {
    cluster: Minicluster,
    prometheus: Prometheus,
}

fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        let cluster = Minicluster::start(&["--nodes=3", "--backoff-max=3s", "--wipe"]);
        cluster.namespace("shop", &[]);
        // Each on a node of its own, since one of the tests restarts a kubelet. Steady ones are checked each 5 s; the tight
        // one is restarted by stalls, one check after the other in windows of their own.
        let steady = json!([{"steps": [{"at": 0, "ms": 5}]}]);
        cluster.apply(&deployment("web", "node-0", 2, 5, &steady), &["-n", "shop"]);
        cluster.apply(&deployment("moved", "node-2", 2, 5, &steady), &["-n", "shop"]);
        let stalls = json!([{"steps": [{"at": 0, "ms": 5}, {"at": 15, "ms": 1500}, {"at": 30, "ms": 5}]}]);
        cluster.apply(&deployment("tight", "node-1", 1, 2, &stalls), &["-n", "shop"]);
        // A daemon says nothing of a workload before it has read what an earlier life wrote down.
        let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
        wait_for("the manifests", SOON, || {
            let applied = cluster.kubectl_command().args(["apply", "-k", manifests]).output().unwrap();
            applied.status.success().then_some(())
        });
        cluster.namespace("monitoring", &[]);
        cluster.apply(ACCOUNT, &[]);
        let token = cluster.dir().join("prometheus.token");
        let told = cluster.kubectl(&["create", "token", "prometheus", "-n", "monitoring", "--duration=2h"]);
        std::fs::write(&token, told.trim()).unwrap();
        let targets: Vec<String> = kubelets(&cluster).into_iter().map(|(_, address)| address).collect();
        let config = json!({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [{
            "job_name": "kubelet", "scheme": "https", "metrics_path": "/metrics/probes", "honor_labels": true,
            "authorization": {"credentials_file": token}, "tls_config": {"ca_file": cluster.ca()},
            "static_configs": [{"targets": targets}]}]});
        let prometheus = Prometheus::start("kubelets", &config.to_string());
        Stage { cluster, prometheus }
    })
}

const ACCOUNT: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: {name: prometheus, namespace: monitoring}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: prometheus-kubelets}
rules: [{apiGroups: [""], resources: [nodes/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: prometheus-kubelets}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: prometheus-kubelets}
subjects: [{kind: ServiceAccount, name: prometheus, namespace: monitoring}]
"#;

fn deployment(name: &str, node: &str, replicas: u32, period: u32, script: &Value) -> String {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}, "annotations": {"minicluster.probe-tuner.io/app": script.to_string()}},
            "spec": {"terminationGracePeriodSeconds": 1, "nodeSelector": {"kubernetes.io/hostname": node}, "containers": [{"name": "app", "image": "example/app:1",
                "ports": [{"containerPort": 8080}],
                "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": period,
                    "timeoutSeconds": 1, "failureThreshold": 2}}]}}}})
    .to_string()
}

/// Each node and the address of its kubelet.
fn kubelets(cluster: &Minicluster) -> Vec<(String, String)> {
    let nodes = cluster.kubectl_json(&["get", "nodes"]);
    let address = |n: &Value| {
        let of =
            |kind: &str| n["status"]["addresses"].as_array()?.iter().find(|a| a["type"] == kind)?["address"].as_str();
        Some((
            n["metadata"]["name"].as_str()?.to_owned(),
            format!("{}:{}", of("InternalIP")?, n["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]),
        ))
    };
    nodes["items"].as_array().unwrap().iter().map(|n| address(n).unwrap()).collect()
}

fn address(name: &str) -> Address {
    Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: name.into() }
}

/// The history of the last minutes.
fn history(name: &str, budget: &Budget) -> History {
    let access = Access { url: stage().prometheus.url.clone(), token_file: None, trust: Trust::System };
    let server = Server::new(&access).unwrap();
    let runtime = runtime();
    let since = Span::MINUTE * 30;
    runtime.block_on(backtest::history(&server, &address(name), since, backtest::now(), budget)).unwrap()
}

/// What the daemon's own reader makes of the page of the kubelet that runs a Deployment.
fn scraped(name: &str, node: &str) -> BTreeMap<(Uid, ProbeId), Counters> {
    let c = &stage().cluster;
    let pods = c.kubectl_json(&["get", "pods", "-n", "shop", "-l", &format!("app={name}")]);
    let uids: BTreeMap<String, Uid> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| {
            let text = |v: &Value| v.as_str().unwrap().to_owned();
            (text(&p["metadata"]["name"]), Uid::parse(&text(&p["metadata"]["uid"])).unwrap())
        })
        .collect();
    let text = c.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics/probes")]);
    let lookup = |namespace: &str, pod: &str| uids.get(pod).copied().filter(|_| namespace == "shop");
    let mut page = Parser::new(lookup, PAGE_LIMIT);
    page.feed(text.as_bytes()).unwrap();
    page.finish().unwrap().samples.into_iter().map(|s| ((s.pod, s.probe), s.counters)).collect()
}

fn checks(counters: &Counters) -> u64 {
    counters.successful + counters.failed
}

#[test]
#[ignore = "needs a control plane"]
fn history_is_what_the_daemons_own_scrape_of_the_same_kubelets_saw() {
    let mut seen: BTreeSet<(Uid, ProbeId, Vec<u64>)> = BTreeSet::new();
    let flat = |c: &Counters| [&[c.successful, c.failed, c.count][..], &c.buckets].concat();
    // A Prometheus begins to scrape some seconds after its start.
    wait_for("a first scrape", SOON, || (history("web", &Budget::generous()).tracks.len() == 2).then_some(()));
    let mut before = BTreeMap::new();
    wait_for("twelve pages that stood for two looks", SOON * 2, || {
        let now = scraped("web", "node-0");
        for ((pod, probe), counters) in &now {
            // A page is not written at one stroke: what stood for two looks was no half of a check.
            if before.get(&(*pod, probe.clone())) == Some(counters) && checks(counters) > 0 {
                seen.insert((*pod, probe.clone(), flat(counters)));
            }
        }
        before = now;
        (seen.len() >= 12).then_some(())
    });
    let kept = |h: &History| -> BTreeSet<(Uid, ProbeId, Vec<u64>)> {
        let all =
            h.tracks.iter().flat_map(|((uid, id), t)| t.moments.iter().map(|m| (*uid, id.clone(), flat(&m.counters))));
        all.collect()
    };
    let history = wait_for("the last of them", SOON, || {
        let history = history("web", &Budget::generous());
        seen.is_subset(&kept(&history)).then_some(history)
    });
    let pods: BTreeSet<Uid> = seen.iter().map(|(pod, ..)| *pod).collect();
    assert_eq!(pods.len(), 2);
    assert_eq!(history.tracks.keys().map(|(pod, _)| *pod).collect::<BTreeSet<_>>(), pods, "and of no other pods");
    assert_eq!(history.skipped.strangers + history.skipped.malformed, 0, "{:?}", history.skipped);
}

#[test]
#[ignore = "needs a control plane"]
fn a_kubelet_that_was_restarted_is_neither_failures_nor_exposure() {
    let c = &stage().cluster;
    wait_for("some checks", SOON, || {
        let now = scraped("moved", "node-2");
        (now.len() >= 2 && now.values().all(|counters| checks(counters) >= 4)).then_some(())
    });
    c.restart("node-2");
    let numbers = Settings::new(5, 1, 2).unwrap();
    let (history, told) = wait_for("counters that went back and on", SOON * 2, || {
        let history = history("moved", &Budget::generous());
        let told = backtest::play(&history, &address("moved"), Numbers::Told(numbers), &Default::default()).told;
        let again = history.tracks.values().all(|t| t.moments.last().is_some_and(|m| checks(&m.counters) >= 2));
        (told.resets >= 2 && again).then_some((history, told))
    });
    assert_eq!((told.failures, told.restarts, told.inferred), (0, 0, 0), "{told:?}");
    // Exposure is at most the time in which two samples of one life of the counters stand beside each other.
    let mut evidence = Evidence::new();
    let subject = subject(&history, numbers);
    recount(&history, &subject, |o| match &o.fact {
        Fact::Workload(w) => evidence.workload(o.at, w),
        Fact::Pod(p) => evidence.pod(o.at, p),
        Fact::PodGone(uid) => evidence.pod_gone(o.at, *uid),
        Fact::Sample(s) => {
            evidence.sample(o.at, s);
        }
        other => panic!("{other:?}"),
    });
    let id = ProbeId { container: "app".into(), kind: ProbeKind::Liveness };
    let exposure = evidence.seen(&id).unwrap().pod_time().as_secs_f64();
    let (mut known, mut lost) = (0.0, 0.0);
    for track in history.tracks.values() {
        for pair in track.moments.windows(2) {
            let passed = pair[1].at.since(pair[0].at).as_secs_f64();
            let back = checks(&pair[1].counters) < checks(&pair[0].counters);
            *(if back { &mut lost } else { &mut known }) += passed;
        }
    }
    assert!(lost > 1.0 && exposure > known / 2.0 && exposure <= known, "{exposure} of {known}, {lost} lost");
}

fn subject(history: &History, numbers: Settings) -> Subject {
    let workload = backtest::made_up(history, &address("moved"), numbers);
    Subject { workload, pods: backtest::pods(&address("moved")) }
}

#[test]
#[ignore = "needs a control plane"]
fn kills_are_read_out_of_the_counters_where_nothing_else_tells_of_them() {
    let c = &stage().cluster;
    let restarts = || {
        let pods = c.kubectl_json(&["get", "pods", "-n", "shop", "-l", "app=tight"]);
        pods["items"][0]["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0)
    };
    wait_for("two kills by the kubelet", SOON * 2, || (restarts() >= 2).then_some(()));
    let before = restarts();
    let numbers = Settings::new(2, 1, 2).unwrap();
    let done = wait_for("all of them", SOON, || {
        let history = history("tight", &Budget::generous());
        let done = backtest::play(&history, &address("tight"), Numbers::Told(numbers), &Default::default());
        (done.told.inferred >= before).then_some(done)
    });
    assert!(done.told.inferred <= restarts() + 1, "{:?} and {} by the kubelet", done.told, restarts());
    assert!(done.told.failures >= 2 * before);
    assert!(done.restarts.iter().all(|r| r.cause.word() == "LivenessKill"), "{:?}", done.restarts);
}

#[test]
#[ignore = "needs a control plane"]
fn a_budget_is_kept_with_a_real_server_too() {
    wait_for("some history", SOON, || (!history("web", &Budget::generous()).tracks.is_empty()).then_some(()));
    let one = history("web", &Budget { queries: 1, ..Budget::generous() });
    assert_eq!((one.spent.queries, one.cut.as_deref()), (1, Some("the budget of 1 queries is used up")));
    assert_eq!(one.until.since(one.from), Span::MINUTE * 5);
    assert!(!one.tracks.is_empty());
}

#[test]
#[ignore = "needs a control plane"]
fn the_command_line_tells_a_workloads_past_from_end_to_end() {
    let Stage { cluster, prometheus } = stage();
    let kubeconfig = cluster.kubeconfig();
    let base =
        ["replay", "--prometheus", &prometheus.url, "--since", "10m", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let ask = |more: &[&str]| run(&[&base, more].concat());
    let document = wait_for("a past of twenty checks", SOON, || {
        let (exit, out, _) = ask(&["--workload", "shop/web", "-o", "json"]);
        let document: Value = (exit == 0).then(|| serde_json::from_str(&out).unwrap())?;
        (document["checks"].as_u64()? >= 20).then_some(document)
    });
    let probe = &document["probes"][0];
    assert_eq!(
        (&document["version"], &document["settings_from"], &document["pods"]),
        (&1.into(), &"cluster".into(), &2.into())
    );
    assert_eq!((&probe["current"], &probe["reason"]), (&"5/1/2".into(), &"THIN_EVIDENCE".into()), "{document:#}");
    let settings: Vec<&str> =
        probe["alternatives"].as_array().unwrap().iter().map(|a| a["settings"].as_str().unwrap()).collect();
    assert_eq!(settings, ["5/1/2", "10/10/2", "10/12/2"]);
    assert!(probe["alternatives"][0]["expected"]["false_restarts"].is_number(), "{probe:#}");
    assert_eq!(document["prometheus"]["cut"], Value::Null);

    let (exit, out, err) = ask(&["--workload", "shop/web"]);
    assert_eq!(exit, 0, "{err}");
    assert!(out.starts_with("shop/Deployment/web: ") && out.contains("app/liveness at 5/1/2: THIN_EVIDENCE"), "{out}");
    assert!(err.contains("no kube-state-metrics in this Prometheus"), "{err}");

    let (exit, _, err) = ask(&["--workload", "shop/wbe", "-s", "10/1/3"]);
    assert_eq!(exit, 2, "{err}");
    assert!(err.contains("pods of shop that have probe series: ") && err.contains("web-"), "{err}");
    let (exit, _, err) = ask(&["--workload", "nowhere/web", "-s", "10/1/3"]);
    assert_eq!(exit, 2, "{err}");
    assert!(err.contains("namespaces that have probe series: ") && err.contains("shop"), "{err}");
    let (exit, _, err) = ask(&["--workload", "shop/wbe"]);
    assert_eq!(exit, 4, "{err}");
    assert!(err.contains("shop/Deployment/wbe cannot be read") && err.contains("--settings 10/1/3"), "{err}");
}

#[test]
#[ignore = "needs a control plane"]
fn a_prometheus_that_scrapes_no_kubelet_is_told_how_to() {
    let empty = Prometheus::start("empty", "{}");
    let (exit, _, err) = run(&["replay", "--prometheus", &empty.url, "--workload", "shop/web", "-s", "10/1/3"]);
    assert_eq!(exit, 2, "{err}");
    assert!(err.contains("no series prober_probe_total at all") && err.contains("docs/guides/prometheus.md"), "{err}");
}

#[test]
#[ignore = "needs a control plane"]
fn the_daemon_knows_a_workloads_past_at_its_start_and_its_present_without_asking_a_kubelet() {
    let Stage { cluster, prometheus } = stage();
    wait_for("a past of some checks", SOON, || {
        let history = history("web", &Budget::generous());
        (history.tracks.len() == 2 && history.tracks.values().all(|t| t.moments.len() > 20)).then_some(())
    });
    cluster.kubectl(&["annotate", "namespace", "shop", "probe-tuner.io/mode=recommend"]);
    let config = format!(
        "[observe]\nscrape-interval = \"5s\"\nscrape-timeout = \"4s\"\n[log]\nlevel = \"debug\"\nformat = \"json\"\n\
         [prometheus]\nurl = \"{}\"\nhistory = \"1h\"\ninstead-of-kubelets = true\n",
        prometheus.url
    );
    let daemon = Daemon::start("past", &config);
    let read = daemon.said("the past of web", |line| {
        line["message"] == "its past was read" && line["workload"] == "shop/Deployment/web"
    });
    assert_eq!(read["pods"], 2, "{read}");
    // What it decides of web knows of more than it can have seen itself by then.
    let decided = daemon
        .said("a word on web", |line| line["workload"] == "shop/Deployment/web" && line["reason"] == "THIN_EVIDENCE");
    assert!(decided["message"].as_str().unwrap().contains("of 24 h seen"), "{decided}");
    wait_for("samples", SOON, || {
        (daemon.metric("probe_tuner_observations_total{kind=\"sample\"}") >= 10.0).then_some(())
    });
    assert!(daemon.metric("probe_tuner_scrapes_total{result=\"ok\"}") >= 1.0);
    assert!(daemon.metric("probe_tuner_histories_total{result=\"ok\"}") >= 1.0);
    let asked =
        cluster.audit().into_iter().filter(|e| e.subresource == "token" && e.name == "probe-tuner-scrape").count();
    assert_eq!(asked, 0, "no token for kubelets is asked for");
}

#[test]
#[ignore = "needs a control plane"]
fn a_server_that_does_not_answer_costs_the_daemon_the_past_and_nothing_else() {
    let cluster = &stage().cluster;
    cluster.namespace("bank", &[("probe-tuner.io/mode", "recommend")]);
    let steady = json!([{"steps": [{"at": 0, "ms": 5}]}]);
    cluster.apply(&deployment("vault", "node-0", 1, 5, &steady), &["-n", "bank"]);
    let daemon = Daemon::start(
        "without",
        "[log]\nlevel = \"debug\"\nformat = \"json\"\n[prometheus]\nurl = \"http://127.0.0.1:9\"\n",
    );
    let told = daemon.said("that it cannot be read", |line| {
        line["message"].as_str().is_some_and(|m| m.starts_with("its past cannot be read"))
    });
    assert_eq!(told["kind"], "connect", "{told}");
    daemon.said("a word on vault all the same", |line| {
        line["workload"] == "bank/Deployment/vault" && line["phase"].is_string()
    });
    assert!(daemon.metric("probe_tuner_histories_total{result=\"connect\"}") >= 1.0);
}
