//! The cluster with everything installed, requests in the name of an account, and how an answer is judged.

use crate::support::minicluster::{Minicluster, wait_for};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{fs, path::Path, sync::OnceLock, time::Duration};

/// The policy, as refusals name it.
pub const FENCE: &str = "probe-tuner-fence-workloads";

/// The manifests as shipped.
pub const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");

/// A cluster with the shipped manifests.
pub struct Fenced {
    pub cluster: Minicluster,
    /// A token of the daemon's account.
    pub daemon: String,
    /// A token of the account that asks kubelets.
    pub scrape: String,
}

/// The files of the kustomization in its order.
pub fn manifests() -> Vec<String> {
    let text = fs::read_to_string(Path::new(MANIFESTS).join("kustomization.yaml")).unwrap();
    let listed = text.lines().skip_while(|l| *l != "resources:").skip(1);
    listed.map(|l| l.strip_prefix("- ").unwrap().to_owned()).collect()
}

/// The one cluster of this program: each file applied by itself in order, then the fence waited for.
pub fn fenced() -> &'static Fenced {
    static FENCED: OnceLock<Fenced> = OnceLock::new();
    FENCED.get_or_init(|| {
        let cluster = Minicluster::start(&["--nodes=1", "--wipe"]);
        for file in manifests() {
            cluster.kubectl(&["apply", "-f", &format!("{MANIFESTS}/{file}")]);
        }
        let token =
            |account: &str| cluster.kubectl(&["create", "token", "-n", "probe-tuner", account]).trim().to_owned();
        let (daemon, scrape) = (token("probe-tuner"), token("probe-tuner-scrape"));
        // A policy acts some moments after it is made. The daemon waits for it in the same way.
        wait_for("the fence", Duration::from_secs(60), || {
            let mut trial = cluster.kubectl_command();
            trial.args([
                "patch",
                "-n",
                "probe-tuner",
                "deployment/probe-tuner",
                "--dry-run=server",
                "--token",
                &daemon,
            ]);
            trial.args(["--field-manager=probe-tuner", "--type=merge", "-p", r#"{"spec":{"replicas":2}}"#]);
            trial.args(["--kubeconfig=/dev/null", "--server", cluster.server(), "--certificate-authority"]);
            let answer = trial.arg(cluster.ca()).output().unwrap();
            String::from_utf8(answer.stderr).unwrap().contains(FENCE).then_some(())
        });
        Fenced { cluster, daemon, scrape }
    })
}

impl Fenced {
    /// A client with this token and no other credential.
    pub fn client(&self, token: &str) -> Client {
        self.client_of(self.cluster.server(), token)
    }

    /// The same for a kubelet.
    pub fn client_of(&self, server: &str, token: &str) -> Client {
        let pem = fs::read(self.cluster.ca()).unwrap();
        let mut config = kube::Config::new(server.parse().unwrap());
        config.root_cert = Some(vec![pem_to_der(&pem)]);
        config.auth_info.token = Some(token.to_owned().into());
        Client(config.try_into().unwrap())
    }

    /// A token of the admin's, for what owners do.
    pub fn owner(&self, namespace: &str) -> String {
        self.cluster.kubectl(&["create", "serviceaccount", "-n", namespace, "owner"]);
        self.cluster.kubectl(&[
            "create",
            "rolebinding",
            "-n",
            namespace,
            "owner",
            "--clusterrole=admin",
            &format!("--serviceaccount={namespace}:owner"),
        ]);
        self.cluster.kubectl(&["create", "token", "-n", namespace, "owner"]).trim().to_owned()
    }
}

fn pem_to_der(pem: &[u8]) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem).unwrap().to_vec()
}

/// Sends requests as one account.
pub struct Client(kube::Client);

/// A request that may be refused.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub method: Method,
    pub path: String,
    pub content_type: &'static str,
    pub body: Value,
}

/// What the API server said.
#[derive(Debug)]
pub struct Answer {
    pub code: StatusCode,
    pub body: String,
}

impl Answer {
    /// The answer as JSON; `null` if it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The object, of a request that must succeed.
    #[track_caller]
    pub fn object(self) -> Value {
        assert!(self.code.is_success(), "{} {}", self.code, self.body);
        self.json()
    }
}

/// Who refuses, and how one knows.
#[derive(Clone, Copy, Debug)]
pub enum By {
    /// The fence: 403, and `details.causes[0].message` names the policy and holds this text.
    Fence(&'static str),
    /// RBAC: 403 without causes.
    Rights,
    /// The API server's own validation, which comes before the fence: 422.
    Validation,
}

impl By {
    /// What is wrong with the answer, if anything.
    pub fn judge(self, answer: &Answer) -> Result<(), String> {
        let status = answer.json();
        let cause = status["details"]["causes"][0]["message"].as_str();
        let right = match self {
            By::Fence(rule) => {
                answer.code == StatusCode::FORBIDDEN
                    && status["reason"] == "Forbidden"
                    && cause.is_some_and(|c| c.contains(FENCE) && c.contains(rule))
            }
            By::Rights => answer.code == StatusCode::FORBIDDEN && cause.is_none(),
            By::Validation => answer.code == StatusCode::UNPROCESSABLE_ENTITY,
        };
        if right { Ok(()) } else { Err(format!("wanted {self:?}, got {} {}", answer.code, answer.body)) }
    }
}

impl Client {
    /// Sends it as it is.
    pub async fn send(&self, attempt: &Attempt) -> Answer {
        let body = if attempt.body.is_null() { Vec::new() } else { serde_json::to_vec(&attempt.body).unwrap() };
        let request = Request::builder()
            .method(attempt.method.clone())
            .uri(&attempt.path)
            .header("content-type", attempt.content_type)
            .body(kube::client::Body::from(body))
            .unwrap();
        let answer = self.0.send(request).await.unwrap();
        let code = answer.status();
        let bytes = answer.into_body().collect_bytes().await.unwrap();
        Answer { code, body: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// Reads an object that must be there.
    pub async fn get(&self, path: &str) -> Value {
        self.send(&get(path)).await.object()
    }
}

fn attempt(method: Method, path: &str, content_type: &'static str, body: Value) -> Attempt {
    Attempt { method, path: path.to_owned(), content_type, body }
}

/// The path with the daemon's field manager, unless it has a query of its own.
fn ours(path: &str) -> String {
    if path.contains('?') { path.to_owned() } else { format!("{path}?fieldManager=probe-tuner") }
}

/// GET.
pub fn get(path: &str) -> Attempt {
    attempt(Method::GET, path, "application/json", Value::Null)
}

/// POST.
pub fn post(path: &str, body: Value) -> Attempt {
    attempt(Method::POST, path, "application/json", body)
}

/// PUT.
pub fn put(path: &str, body: Value) -> Attempt {
    attempt(Method::PUT, path, "application/json", body)
}

/// DELETE.
pub fn delete(path: &str) -> Attempt {
    attempt(Method::DELETE, path, "application/json", Value::Null)
}

/// A JSON patch.
pub fn patch(path: &str, operations: impl IntoIterator<Item = Value>) -> Attempt {
    attempt(Method::PATCH, &ours(path), "application/json-patch+json", operations.into_iter().collect())
}

/// A JSON patch of one operation `replace`.
pub fn replace(path: &str, pointer: &str, value: Value) -> Attempt {
    patch(path, [set(pointer, value)])
}

/// A JSON patch of one operation `add`.
pub fn add(path: &str, pointer: &str, value: Value) -> Attempt {
    patch(path, [put_at(pointer, value)])
}

/// A JSON patch of one operation `remove`.
pub fn remove(path: &str, pointer: &str) -> Attempt {
    patch(path, [take(pointer)])
}

/// Operation `replace`.
pub fn set(pointer: impl Into<String>, value: Value) -> Value {
    json!({"op": "replace", "path": pointer.into(), "value": value})
}

/// Operation `add`.
pub fn put_at(pointer: impl Into<String>, value: Value) -> Value {
    json!({"op": "add", "path": pointer.into(), "value": value})
}

/// Operation `remove`.
pub fn take(pointer: impl Into<String>) -> Value {
    json!({"op": "remove", "path": pointer.into()})
}

/// Operation `move`.
pub fn shift(from: impl Into<String>, to: impl Into<String>) -> Value {
    json!({"op": "move", "from": from.into(), "path": to.into()})
}

/// Operation `test`.
pub fn check(pointer: impl Into<String>, value: Value) -> Value {
    json!({"op": "test", "path": pointer.into(), "value": value})
}

/// A merge patch.
pub fn merge(path: &str, body: Value) -> Attempt {
    attempt(Method::PATCH, &ours(path), "application/merge-patch+json", body)
}

/// A server-side apply; the query names manager and force.
pub fn apply(path: &str, query: &str, body: Value) -> Attempt {
    attempt(Method::PATCH, &format!("{path}?{query}"), "application/apply-patch+yaml", body)
}

impl Attempt {
    /// The same as a dry run.
    pub fn dry(mut self) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str("dryRun=All");
        self
    }
}

/// The path of a Deployment.
pub fn deployment(namespace: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
}

/// Where the liveness probe of the first container is.
pub const LIVENESS: &str = "/spec/template/spec/containers/0/livenessProbe";

/// A Deployment `web` as its owner applies it: a sidecar, an ordinary init container, and a container with all it takes
/// to be attacked. No replicas, so nothing is rolled out.
pub fn web() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {"owner": "ana"}},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"version": "1"}},
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                    "initContainers": [
                        {"name": "mesh", "image": "example/mesh:1", "restartPolicy": "Always",
                         "startupProbe": {"tcpSocket": {"port": 15021}, "periodSeconds": 2, "failureThreshold": 10}},
                        {"name": "migrate", "image": "example/migrate:1"},
                    ],
                    "containers": [
                        {"name": "app", "image": "example/web:1", "env": [{"name": "A", "value": "1"}],
                         "ports": [{"containerPort": 8080}],
                         "resources": {"requests": {"cpu": "100m"}},
                         "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                         "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080},
                                           "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3},
                         "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080},
                                            "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}},
                        {"name": "helper", "image": "example/helper:1"},
                    ],
                },
            },
        },
    })
}

/// Makes a namespace with these annotations and `web` in it, applied by its owner, and waits until its controller has
/// seen it, so that nothing but the test changes it.
pub fn shop(namespace: &str, annotations: &[(&str, &str)], edit: impl FnOnce(&mut Value)) -> &'static Fenced {
    let f = fenced();
    f.cluster.namespace(namespace, annotations);
    let mut web = web();
    edit(&mut web);
    f.cluster.apply(&web.to_string(), &["-n", namespace, "--server-side", "--field-manager=owner"]);
    f.cluster.kubectl(&[
        "wait",
        "-n",
        namespace,
        "deployment/web",
        "--for=jsonpath={.status.observedGeneration}=1",
        "--timeout=60s",
    ]);
    f
}

/// What must not have changed: everything but the status and what its updates move.
pub fn essence(mut object: Value) -> Value {
    let o = object.as_object_mut().unwrap();
    o.remove("status");
    let metadata = o["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    if let Some(entries) = metadata.get_mut("managedFields").and_then(Value::as_array_mut) {
        entries.retain(|m| m["subresource"] != "status");
    }
    object
}

/// `auto`, as a namespace says it.
pub const AUTO: &[(&str, &str)] = &[("probe-tuner.io/mode", "auto")];
