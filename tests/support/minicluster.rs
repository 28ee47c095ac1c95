//! A real cluster for a test: started with [`Minicluster::start`], gone with the guard, whatever ends the test.
//!
//! **Takes** the flags of `minicluster up` (tests/minicluster/README.md). **Gives** a kubeconfig of the admin, kubectl,
//! the API server's audit log, and what the containers saw. **Never** leaves a process: the supervisor ends when the
//! pipe that the guard holds closes, and that happens even if this process is killed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helper fails by panic, with the reason")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The longest folder in which the kubelets' sockets still have room (a unix socket's path has 107 letters at most).
const LONGEST_DIR: usize = 60;

/// A running cluster. Dropping it stops it and removes its folder, or keeps the folder when the test panics, for its
/// logs.
pub struct Minicluster {
    dir: PathBuf,
    child: Child,
    /// Held for its end: the supervisor stops when it closes.
    stdin: Option<ChildStdin>,
    state: Value,
}

impl Minicluster {
    /// Starts a cluster of its own with the given flags of `minicluster up`, and returns when it is ready. Relative
    /// names of traces in scripts start from tests/data/traces. Panics with the supervisor's words if it does not start.
    #[track_caller]
    pub fn start(flags: &[&str]) -> Self {
        let dir = new_dir();
        let mut child = Command::new(binary())
            .args(["up", "--until-stdin-closes", "--dir"])
            .arg(&dir)
            .arg("--traces")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces"))
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let ready = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .any(|line| line.is_ok_and(|l| l.starts_with("ready in ")));
        if !ready {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            child.wait().unwrap();
            panic!("the cluster did not start: {why}");
        }
        let state = serde_json::from_slice(&fs::read(dir.join("state.json")).unwrap()).unwrap();
        Self { dir, child, stdin, state }
    }

    /// The cluster that all tests of this program share: two nodes, a CrashLoopBackOff of 3 s at most. Its tests keep
    /// apart by namespace, which [`namespace`](Self::namespace) makes.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Minicluster> = OnceLock::new();
        // A static is never dropped: the supervisor cleans up when this process ends.
        SHARED.get_or_init(|| Self::start(&["--nodes=2", "--backoff-max=3s", "--wipe"]))
    }

    /// The cluster's folder, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The kubeconfig of the admin (`system:masters`).
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// What the cluster says about itself: `state.json` (ports, nodes, pki, …).
    pub fn state(&self) -> &Value {
        &self.state
    }

    /// The API server's address, `https://127.0.0.1:PORT`.
    pub fn server(&self) -> &str {
        self.state["server"].as_str().unwrap()
    }

    /// The PEM file of the authority that signed every serving certificate, kubelets' included.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("pki/ca.crt")
    }

    /// A kubectl command as admin, to be completed and run.
    pub fn kubectl_command(&self) -> Command {
        let mut c = Command::new(binary());
        c.arg("kubectl")
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", self.dir.join("kubectl-cache"))
            .env("KUBERC", "off");
        c
    }

    /// Runs kubectl as admin and returns its stdout; panics with its stderr if it fails.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> String {
        stdout_of(args, self.kubectl_command().args(args).output().unwrap())
    }

    /// Runs kubectl as admin with `-o json` and returns what it printed.
    #[track_caller]
    pub fn kubectl_json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.kubectl(&[args, &["-o", "json"]].concat())).unwrap()
    }

    /// Applies a manifest (YAML or JSON) as admin, with further kubectl flags such as `-n`.
    #[track_caller]
    pub fn apply(&self, manifest: &str, flags: &[&str]) {
        let args = [&["apply", "-f", "-"], flags].concat();
        let mut child = self
            .kubectl_command()
            .args(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
        stdout_of(&args, child.wait_with_output().unwrap());
    }

    /// Makes a namespace with annotations and waits until pods can be made in it.
    #[track_caller]
    pub fn namespace(&self, name: &str, annotations: &[(&str, &str)]) {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).into())).collect();
        let o = serde_json::json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "annotations": annotations}});
        self.apply(&o.to_string(), &[]);
        self.kubectl(&["wait", "--for=create", "--timeout=30s", "-n", name, "serviceaccount/default"]);
    }

    /// Gives a running container a new script from now on; `target` is `NAMESPACE/POD/CONTAINER`. The first behaviour
    /// counts until the container's next start.
    #[track_caller]
    pub fn script(&self, target: &str, script: &str) {
        self.verb(&["script", "--dir", self.dir.to_str().unwrap(), target, script]);
    }

    /// Kills a component and starts it again: `kube-apiserver`, `metrics-server`, … or `node-0`, which is the kubelet of
    /// that node. Containers go on meanwhile.
    #[track_caller]
    pub fn restart(&self, component: &str) {
        self.verb(&["restart", "--dir", self.dir.to_str().unwrap(), component]);
    }

    /// Kills a component, by the names that [`restart`](Self::restart) takes, until it is started again.
    #[track_caller]
    pub fn stop_component(&self, component: &str) {
        self.verb(&["stop", "--dir", self.dir.to_str().unwrap(), component]);
    }

    /// Starts a component that was stopped, with the flags and the port that it had.
    #[track_caller]
    pub fn start_component(&self, component: &str) {
        self.verb(&["start", "--dir", self.dir.to_str().unwrap(), component]);
    }

    /// A kubeconfig for a ServiceAccount that exists, whose `tokenFile` holds a token for 24 hours; another call puts a
    /// new token there.
    #[track_caller]
    pub fn kubeconfig_of(&self, namespace: &str, account: &str) -> PathBuf {
        let account = format!("{namespace}/{account}");
        self.verb(&["kubeconfig", "--dir", self.dir.to_str().unwrap(), &account]).trim().into()
    }

    #[track_caller]
    fn verb(&self, args: &[&str]) -> String {
        stdout_of(args, Command::new(binary()).args(args).output().unwrap())
    }

    /// The process of a component, by the names that [`restart`](Self::restart) takes.
    pub fn component_pid(&self, component: &str) -> u32 {
        let log = self.dir.join(format!("logs/{component}.log"));
        processes()
            .find(|p| fs::read_link(format!("/proc/{p}/fd/1")).is_ok_and(|out| out == log))
            .unwrap_or_else(|| panic!("no process writes to {}", log.display()))
    }

    /// Every request that the API server has answered so far, one entry each. What was answered before this call is
    /// all there.
    pub fn audit(&self) -> Vec<AuditEntry> {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        // An entry is written just after its answer. A request of our own, made now, comes after all of those before.
        let mark = format!("/livez?audit-mark={}", CALLS.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["get", "--raw", &mark]);
        let entries = wait_for("the audit log", Duration::from_secs(10), || {
            let entries = read_audit(&self.dir.join("audit.log"));
            entries.iter().any(|e| e.uri == mark).then_some(entries)
        });
        entries.into_iter().filter(|e| !e.uri.starts_with("/livez?audit-mark=")).collect()
    }

    /// What the containers of all nodes saw and did, in the order of their nodes (tests/minicluster/README.md).
    pub fn record(&self) -> Vec<Value> {
        let files = self.state["nodes"].as_array().unwrap().iter().map(|n| n["record"].as_str().unwrap());
        files.flat_map(|f| lines_of(Path::new(f))).collect()
    }

    /// Waits until the supervisor ends and returns how, and what it wrote to stderr.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (status, stderr)
    }

    /// Stops the cluster as dropping it does, but keeps its folder.
    pub fn stop(&mut self) -> ExitStatus {
        self.stdin = None;
        self.child.wait().unwrap()
    }
}

impl Drop for Minicluster {
    fn drop(&mut self) {
        self.stop();
        if !thread::panicking() {
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

/// One request, as the API server's audit log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// `system:serviceaccount:NAMESPACE:NAME` for a ServiceAccount.
    pub user: String,
    /// The HTTP User-Agent.
    pub agent: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// Path and query: `dryRun=All` is only to be seen here.
    pub uri: String,
    /// API group; empty for the core group, and for what is no resource.
    pub group: String,
    /// Plural, as in URLs; empty for what is no resource.
    pub resource: String,
    /// `status`, `token`, `eviction`, …; empty for none.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty for lists.
    pub name: String,
    /// HTTP status; 0 while a watch goes on (then it is 200).
    pub code: u64,
    /// RFC 3339, to the microsecond.
    pub received: String,
}

impl AuditEntry {
    /// The request would have changed the cluster: it writes, and is no dry run, no access review, no token.
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && !self.uri.contains("dryRun=All")
            && self.group != "authorization.k8s.io"
            && self.group != "authentication.k8s.io"
            && self.subresource != "token"
    }
}

/// Reads an audit log; a watch, which has a line at its start and one at its end, is one entry.
fn read_audit(path: &Path) -> Vec<AuditEntry> {
    let mut seen = std::collections::HashMap::new();
    let mut entries: Vec<AuditEntry> = Vec::new();
    for line in lines_of(path) {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let object = &line["objectRef"];
        let entry = AuditEntry {
            user: text(&line["user"]["username"]),
            agent: text(&line["userAgent"]),
            verb: text(&line["verb"]),
            uri: text(&line["requestURI"]),
            group: text(&object["apiGroup"]),
            resource: text(&object["resource"]),
            subresource: text(&object["subresource"]),
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: line["responseStatus"]["code"].as_u64().unwrap_or_default(),
            received: text(&line["requestReceivedTimestamp"]),
        };
        match seen.get(&text(&line["auditID"])) {
            Some(&at) => entries[at] = entry,
            None => {
                seen.insert(text(&line["auditID"]), entries.len());
                entries.push(entry);
            }
        }
    }
    entries
}

/// The JSON lines of a file that may be written to meanwhile: an unfinished last line is left out.
fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// Asks every 50 ms until there is an answer; panics when there is none in time.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "processes are waited for in real time")]
pub fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < timeout, "{what}: not within {timeout:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// The processes of this machine.
pub fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
}

/// The minicluster program, built when its sources changed.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/minicluster/build.sh");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let built = Command::new(script).env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit()).output().unwrap();
        PathBuf::from(stdout_of(&[script], built).trim())
    })
}

/// A folder that does not exist yet, for one cluster.
fn new_dir() -> PathBuf {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let name = format!("mini-{}-{}", std::process::id(), CLUSTERS.fetch_add(1, Ordering::Relaxed));
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    if dir.as_os_str().len() <= LONGEST_DIR { dir } else { std::env::temp_dir().join(name) }
}

#[track_caller]
fn stdout_of(args: &[&str], out: Output) -> String {
    assert!(
        out.status.success(),
        "{}: {}\n{}{}",
        args.join(" "),
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}
