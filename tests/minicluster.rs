//! The cluster for tests is real: what it promises to the other tests, each a sentence.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use support::minicluster::{Minicluster, binary, processes, wait_for};

/// How long the kubelets and controllers may take for anything, on a machine that has more to do.
const SOON: Duration = Duration::from_secs(120);

/// A pod of one container `app`, with a script and perhaps a liveness probe on its port 8080.
fn pod(name: &str, script: Value, liveness: Option<Value>) -> String {
    let mut container =
        json!({"name": "app", "image": format!("example/{name}:1"), "ports": [{"containerPort": 8080}]});
    if let Some(probe) = liveness {
        container["livenessProbe"] = probe;
    }
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {"minicluster.probe-tuner.io/app": script.to_string()}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}})
    .to_string()
}

/// A check each second that two failures in a row make a verdict.
fn liveness() -> Value {
    json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2})
}

/// A check each second for pods that are well and must not be killed on a machine that has more to do.
fn patient_liveness() -> Value {
    json!({"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10, "failureThreshold": 9})
}

/// The status of the container `app`, once it fits.
fn container_status(c: &Minicluster, namespace: &str, pod: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("the status of {namespace}/{pod}"), SOON, || {
        let pod = c.kubectl_json(&["get", "pod", "-n", namespace, pod]);
        let status = pod.pointer("/status/containerStatuses/0")?;
        fits(status).then(|| status.clone())
    })
}

/// The message of the first event with a reason, once there is one that contains the words.
fn event(c: &Minicluster, namespace: &str, reason: &str, words: &str) -> String {
    wait_for(&format!("an event {reason} with {words:?} in {namespace}"), SOON, || {
        let selector = format!("--field-selector=reason={reason}");
        let events = c.kubectl_json(&["get", "events", "-n", namespace, &selector])["items"].take();
        let messages = events.as_array()?.iter().filter_map(|e| e["message"].as_str());
        messages.map(str::to_owned).find(|m| m.contains(words))
    })
}

/// The processes with a folder on their command line.
fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().unwrap();
    let names =
        |p: &u32| fs::read(format!("/proc/{p}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(dir));
    processes().filter(names).collect()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
#[ignore = "needs a control plane"]
fn metrics_of_pods_and_nodes_come_from_metrics_server_over_the_kubelets() {
    let c = Minicluster::shared();
    c.namespace("metrics", &[]);
    c.apply(&pod("busy", json!([{"usage": [{"at": 0, "cpu_m": 300, "mem_mi": 200}]}]), None), &["-n", "metrics"]);
    let top = wait_for("kubectl top pods", SOON, || {
        let out = c.kubectl_command().args(["top", "pods", "-n", "metrics", "--no-headers"]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        text.contains("busy").then_some(text)
    });
    let cells: Vec<&str> = top.split_whitespace().collect();
    let cores: u32 = cells[1].strip_suffix('m').unwrap().parse().unwrap();
    assert!((297..=305).contains(&cores), "{top}");
    assert_eq!(cells[2], "200Mi");
    let nodes: Value =
        serde_json::from_str(&c.kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"])).unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), 2);
}

#[test]
#[ignore = "needs a control plane"]
fn a_container_that_hangs_is_killed_by_the_kubelet_and_its_event_says_so() {
    let c = Minicluster::shared();
    c.namespace("hang", &[]);
    c.apply(&pod("hang", json!([{"steps": [{"at": 0, "ms": -1}]}, {}]), Some(liveness())), &["-n", "hang"]);
    assert_eq!(event(c, "hang", "Killing", ""), "Container app failed liveness probe, will be restarted");
    event(c, "hang", "Unhealthy", "Client.Timeout exceeded while awaiting headers");
    container_status(c, "hang", "hang", |s| s["restartCount"] == 1 && s["ready"] == true);
}

#[test]
#[ignore = "needs a control plane"]
fn a_container_that_is_killed_for_its_memory_shows_as_oomkilled() {
    let c = Minicluster::shared();
    c.namespace("oom", &[]);
    let script = json!([{"exit": {"at": 0.5, "code": 137, "reason": "OOMKilled"}}, {}]);
    c.apply(&pod("oom", script, None), &["-n", "oom"]);
    let status = container_status(c, "oom", "oom", |s| s["restartCount"] == 1);
    assert_eq!(status["lastState"]["terminated"]["reason"], "OOMKilled");
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 137);
}

#[test]
#[ignore = "needs a control plane"]
fn an_image_that_cannot_be_pulled_shows_as_errimagepull() {
    let c = Minicluster::shared();
    c.namespace("pull", &[]);
    c.apply(&pod("away", json!([{"pull": {"fails": -1, "error": "no such manifest"}}]), None), &["-n", "pull"]);
    event(c, "pull", "Failed", "Error: ErrImagePull");
    event(c, "pull", "Failed", "no such manifest");
    container_status(c, "pull", "away", |s| {
        ["ErrImagePull", "ImagePullBackOff"].map(Value::from).contains(&s["state"]["waiting"]["reason"])
    });
}

#[test]
#[ignore = "needs a control plane"]
fn a_check_sees_what_the_trace_recorded() {
    let c = Minicluster::shared();
    c.namespace("trace", &[]);
    let trace = c.dir().join("refused-or-slow.csv");
    fs::write(&trace, "# two hours of one server\nok,latency_ms,t_s\n0,2,0\n1,35,3600\n1,35,7200\n").unwrap();
    for (name, offset, probe) in [("refuses", 0, liveness()), ("slow", 3600, patient_liveness())] {
        let script = json!([{"trace": trace, "offset": offset}]);
        c.apply(&pod(name, script, Some(probe)), &["-n", "trace"]);
    }
    event(c, "trace", "Unhealthy", "connection reset by peer");
    let seen = wait_for("three checks of trace/slow", SOON, || {
        let all = c.record();
        let of_pod = all.into_iter().filter(|e| e["pod"] == "trace/slow" && e["ev"] == "request");
        let seen: Vec<Value> = of_pod.collect();
        (seen.len() >= 3).then_some(seen)
    });
    for check in seen {
        assert_eq!(
            (&check["script_ms"], &check["status"], &check["end"]),
            (&json!(35), &json!(200), &json!("answered"))
        );
    }
}

#[test]
#[ignore = "needs a control plane"]
fn a_restarted_kubelet_finds_its_containers_running() {
    let c = Minicluster::start(&["--nodes=1", "--metrics-server=false"]);
    c.apply(&pod("stays", json!([{}]), Some(patient_liveness())), &[]);
    let before = container_status(&c, "default", "stays", |s| s["ready"] == true);
    let kubelet = c.component_pid("node-0");
    c.restart("node-0");
    assert_ne!(c.component_pid("node-0"), kubelet);
    // The new kubelet checks it, and has not restarted it.
    let checked = c.record().len();
    wait_for("a check by the new kubelet", SOON, || (c.record().len() > checked).then_some(()));
    let after = container_status(&c, "default", "stays", |s| s["ready"] == true);
    assert_eq!(before["containerID"], after["containerID"]);
    assert_eq!(after["restartCount"], 0);
}

#[test]
#[ignore = "needs a control plane"]
fn a_component_that_is_stopped_is_away_until_it_is_started() {
    let c = Minicluster::start(&["--nodes=0", "--metrics-server=false"]);
    let answers = || c.kubectl_command().args(["get", "--raw", "/livez"]).output().unwrap().status.success();
    assert!(answers());
    c.stop_component("kube-apiserver");
    assert!(!answers());
    c.start_component("kube-apiserver");
    wait_for("the API server", SOON, || answers().then_some(()));
}

#[test]
#[ignore = "needs a control plane"]
fn a_service_account_gets_a_kubeconfig_of_its_own() {
    let c = Minicluster::shared();
    let kubeconfig = c.kubeconfig_of("default", "default");
    let out =
        c.kubectl_command().args(["auth", "whoami", "-o", "json"]).env("KUBECONFIG", kubeconfig).output().unwrap();
    let who: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:default");
}

#[test]
#[ignore = "needs a control plane"]
fn a_script_that_is_given_by_hand_counts_from_now_on() {
    let c = Minicluster::shared();
    c.namespace("by-hand", &[]);
    c.apply(&pod("web", json!([{}]), Some(liveness())), &["-n", "by-hand"]);
    container_status(c, "by-hand", "web", |s| s["ready"] == true);
    c.script("by-hand/web/app", r#"[{"steps": [{"at": 0, "ms": -1}]}, {}]"#);
    container_status(c, "by-hand", "web", |s| s["restartCount"] == 1 && s["ready"] == true);
}

#[test]
#[ignore = "needs a control plane"]
fn two_clusters_run_at_once_and_share_no_address() {
    let clusters = [Minicluster::shared(), &Minicluster::start(&["--nodes=1"])];
    let mut taken: Vec<String> = Vec::new();
    for c in clusters {
        c.namespace("both", &[]);
        c.apply(&pod("web", json!([{}]), Some(patient_liveness())), &["-n", "both"]);
    }
    for c in clusters {
        container_status(c, "both", "web", |s| s["ready"] == true);
        taken.push(c.kubectl_json(&["get", "pod", "-n", "both", "web"])["status"]["podIP"].to_string());
        taken.extend(c.state()["ports"].as_object().unwrap().values().map(Value::to_string));
    }
    let all = taken.len();
    taken.sort();
    taken.dedup();
    assert_eq!(taken.len(), all, "{taken:?}");
}

#[test]
#[ignore = "needs a control plane"]
fn admission_policies_of_both_kinds_are_served_and_rbac_refuses_a_stranger() {
    let c = Minicluster::shared();
    let served = c.kubectl(&["api-resources", "--api-group=admissionregistration.k8s.io", "-o", "name"]);
    for kind in ["mutatingadmissionpolicies", "validatingadmissionpolicies"] {
        assert!(served.contains(&format!("{kind}.admissionregistration.k8s.io")), "{served}");
    }
    let out = c.kubectl_command().args(["auth", "can-i", "list", "pods", "--as=a-stranger"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), "no");
}

#[test]
#[ignore = "needs a control plane"]
fn the_audit_log_tells_who_did_what_and_with_which_outcome() {
    let c = Minicluster::shared();
    c.namespace("audit", &[]);
    c.kubectl(&["create", "configmap", "-n", "audit", "kept", "--from-literal=a=b"]);
    c.kubectl(&["create", "configmap", "-n", "audit", "tried", "--from-literal=a=b", "--dry-run=server"]);
    let refused = c.kubectl_command().args(["delete", "configmap", "-n", "audit", "kept", "--as=a-stranger"]).output();
    assert!(!refused.unwrap().status.success());
    let seen: Vec<_> = c.audit().into_iter().filter(|e| e.namespace == "audit" && e.resource == "configmaps").collect();
    let of = |verb: &str, name: &str| {
        seen.iter().find(|e| e.verb == verb && e.name == name).unwrap_or_else(|| panic!("{verb} {name}: {seen:?}"))
    };
    assert_eq!((of("create", "kept").code, of("create", "kept").user.as_str()), (201, "admin"));
    assert!(of("create", "kept").writes());
    assert!(!of("create", "tried").writes());
    assert_eq!(of("delete", "kept").code, 403);
}

#[test]
#[ignore = "needs a control plane"]
fn a_dead_component_ends_the_cluster_loudly_with_the_end_of_its_log() {
    let c = Minicluster::start(&["--nodes=0", "--metrics-server=false"]);
    let (log, pid) = (c.dir().join("logs/kube-scheduler.log"), c.component_pid("kube-scheduler"));
    kill(pid);
    wait_for("its end", SOON, || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    let log = fs::read_to_string(log).unwrap();
    let (status, stderr) = c.wait();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.starts_with("error: kube-scheduler ended by itself (signal: killed)"), "{stderr}");
    assert_eq!(stderr.lines().last().unwrap().trim_start(), log.lines().last().unwrap().trim_start());
}

#[test]
#[ignore = "needs a control plane"]
fn the_end_of_a_cluster_leaves_no_process() {
    let mut c = Minicluster::start(&["--nodes=1", "--metrics-server=false"]);
    assert_eq!(processes_of(c.dir()).len(), 6, "supervisor, four components, one kubelet");
    assert!(c.stop().success());
    assert_eq!(processes_of(c.dir()), [0; 0]);
}

#[test]
#[ignore = "needs a control plane"]
fn a_killed_supervisor_takes_its_components_along() {
    let c = Minicluster::start(&["--nodes=0", "--metrics-server=false"]);
    kill(c.state()["pid"].as_u64().unwrap().try_into().unwrap());
    wait_for("the end of all components", Duration::from_secs(10), || processes_of(c.dir()).is_empty().then_some(()));
}

#[test]
#[ignore = "needs a control plane"]
fn down_leaves_no_file_outside_the_folder_and_with_wipe_no_folder() {
    let room = std::env::temp_dir().join(format!("mini-room-{}", std::process::id()));
    let (dir, elsewhere) = (room.join("d"), room.join("elsewhere"));
    fs::create_dir_all(&elsewhere).unwrap();
    let mut up = Command::new(binary())
        .args(["up", "--until-stdin-closes", "--nodes=1", "--dir", dir.to_str().unwrap()])
        .env("HOME", &elsewhere)
        .env("TMPDIR", &elsewhere)
        .current_dir(&elsewhere)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("state.json", SOON, || dir.join("state.json").exists().then_some(()));
    let down = Command::new(binary()).args(["down", "--wipe", "--dir", dir.to_str().unwrap()]).status().unwrap();
    assert!(down.success());
    assert!(up.wait().unwrap().success());
    assert_eq!(processes_of(&dir), [0; 0]);
    assert!(!dir.exists());
    fs::remove_dir(&elsewhere).expect("nothing was written to HOME, TMPDIR or the current folder");
    fs::remove_dir(&room).unwrap();
}

#[test]
#[ignore = "needs a control plane"]
fn links_give_other_tools_the_binaries_under_their_own_names() {
    let assets = std::env::temp_dir().join(format!("mini-assets-{}", std::process::id()));
    for _again in 0..2 {
        assert!(Command::new(binary()).arg("links").arg(&assets).status().unwrap().success());
    }
    for (program, arg) in [("kubectl", "version"), ("kube-apiserver", "--version"), ("etcd", "--version")] {
        let mut c = Command::new(assets.join(program));
        c.arg(arg);
        if program == "kubectl" {
            c.arg("--client");
        }
        let out = c.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && text.contains(if program == "etcd" { "3.6" } else { "v1.36" }), "{text}");
    }
    fs::remove_dir_all(assets).unwrap();
}
