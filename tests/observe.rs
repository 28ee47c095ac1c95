//! The whole of `observe` against an API server that answers by rule and a kubelet behind real TLS: what it tells, and
//! what it says of everything that can be wrong with them. (Real kubelets and a real metrics-server: `tests/cluster.rs`.)
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/scripted.rs"]
mod scripted;

use probe_tuner::annotations::{Defaults, Pause};
use probe_tuner::observation::{Fact, Observation, Throttling};
use probe_tuner::observe::{self, Notice, Scope, Scraping, Settings, Trust};
use probe_tuner::units::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scripted::{Answer, Seen, Server, ok, refuse};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const POD: &str = "17e2dc72-8979-44e1-8b7d-04d35ceec5a3";
const CA: &[u8] = include_bytes!("data/kubelet/ca.crt");
const OTHER_CA: &[u8] = include_bytes!("data/kubelet/other-ca.crt");

/// What the kubelet does with a connection on which a request has come.
#[derive(Clone, Copy)]
enum Kubelet {
    /// Answers this and closes.
    Says(&'static str),
    /// Answers the page of the pod, to so many bytes before its end.
    Page { cut: usize },
    /// Answers that, and how often its container was throttled.
    Both,
    /// Answers that, and has no other page.
    OnlyChecks,
    /// Promises a whole page and breaks off.
    BreaksOff,
    /// Sends lines without end.
    Endless,
    /// Says nothing.
    Hangs,
}

fn page() -> String {
    let labels = r#"container="app",namespace="shop",pod="web-abc-1""#;
    format!(
        "prober_probe_total{{{labels},pod_uid=\"{POD}\",probe_type=\"Liveness\",result=\"failed\"}} 3\n\
         prober_probe_total{{container=\"app\",namespace=\"bank\",pod=\"web-abc-1\",pod_uid=\"{POD}\",probe_type=\"Liveness\",result=\"failed\"}} 9\n"
    )
}

/// Of the pod, of a namesake in another namespace, and of a container without a limit.
fn cadvisor() -> String {
    let of = |namespace: &str, metric: &str, n: u32| {
        format!(
            "container_cpu_cfs_{metric}_total{{container=\"app\",id=\"/kubepods/burstable/pod{POD}/8f3\",image=\"example/web:1\",name=\"8f3\",namespace=\"{namespace}\",pod=\"web-abc-1\"}} {n} 1764105151123\n"
        )
    };
    let all = [("shop", "periods", 600), ("bank", "periods", 9), ("shop", "throttled_periods", 240)];
    let lines: String = all.iter().map(|(namespace, metric, n)| of(namespace, metric, *n)).collect();
    lines + "container_memory_rss{container=\"app\",namespace=\"shop\",pod=\"web-abc-1\"} 4096 1764105151123\n"
}

/// A kubelet; gives its port and the heads of the requests that come.
async fn kubelet(does: Kubelet) -> (u16, Arc<Mutex<Vec<String>>>) {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("data/kubelet/kubelet.crt")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("data/kubelet/kubelet.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(acceptor.clone(), stream, does, seen.clone()));
        }
    });
    (port, heads)
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, does: Kubelet, seen: Arc<Mutex<Vec<String>>>) {
    // A client that does not believe us ends here.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let checks = !head.starts_with("GET /metrics/cadvisor ");
    seen.lock().unwrap().push(head);
    answer(&mut stream, does, checks).await;
    // The client may be gone by now: that is what some of the tests are about.
    stream.shutdown().await.unwrap_or_default();
}

async fn answer(stream: &mut TlsStream<TcpStream>, does: Kubelet, checks: bool) {
    let page = if checks { page() } else { cadvisor() };
    let whole =
        |page: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{page}", page.len());
    let text = match does {
        Kubelet::OnlyChecks if !checks => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Kubelet::Both | Kubelet::OnlyChecks => whole(&page),
        Kubelet::Says(text) => text.to_owned(),
        Kubelet::Page { cut } => whole(&page[..page.len() - cut]),
        Kubelet::BreaksOff => format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{page}"),
        Kubelet::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await.unwrap();
            let lines = b"# HELP nothing that anybody wants to know\n".repeat(1000);
            while stream.write_all(&lines).await.is_ok() {}
            return;
        }
        Kubelet::Hangs => std::future::pending().await,
    };
    stream.write_all(text.as_bytes()).await.unwrap();
}

fn list(items: Value) -> Answer {
    ok(json!({"metadata": {"resourceVersion": "1"}, "items": items}))
}

/// A cluster of one opted-in namespace with one Deployment of one pod on one node, whose kubelet listens at `port`.
fn cluster(seen: &Seen, port: Option<u16>) -> Answer {
    let (path, query) = seen.line.split_once('?').unwrap_or((&seen.line, ""));
    if query.contains("watch=true") {
        return Answer::Hang;
    }
    match path {
        "GET /api/v1/namespaces" => list(json!([
            {"metadata": {"name": "shop", "uid": "n", "annotations": {"probe-tuner.io/mode": "recommend"}}},
            {"metadata": {"name": "bank", "uid": "m"}}
        ])),
        "GET /api/v1/nodes" => list(json!([{
            "metadata": {"name": "node-1"},
            "status": {
                "allocatable": {"cpu": "1500m"},
                "addresses": [{"type": "Hostname", "address": "node-1"}, {"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": port.map(|port| json!({"kubeletEndpoint": {"Port": port}}))
            }
        }])),
        "GET /apis/apps/v1/namespaces/shop/deployments" => list(json!([{
            "metadata": {"name": "web", "namespace": "shop", "uid": "7c1e0a4f-0001-4abc-9def-0123456789ab", "generation": 1},
            "spec": {"selector": {}, "template": {"spec": {"containers": []}}}
        }])),
        "GET /api/v1/namespaces/shop/pods" => list(json!([{
            "metadata": {
                "name": "web-abc-1", "namespace": "shop", "uid": POD, "labels": {"pod-template-hash": "abc"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-abc", "uid": "r", "controller": true}]
            },
            "spec": {"nodeName": "node-1", "containers": []}
        }])),
        "POST /api/v1/namespaces/probe-tuner/serviceaccounts/probe-tuner-scrape/token" => {
            ok(json!({"spec": {"expirationSeconds": 1800}, "status": {"token": "short-lived"}}))
        }
        "GET /apis/metrics.k8s.io/v1beta1/namespaces/shop/pods" => list(json!([
            {"metadata": {"name": "web-abc-1"}, "timestamp": "1970-01-01T00:00:30Z", "window": "15s",
             "containers": [{"name": "app", "usage": {"cpu": "250m", "memory": "1Ki"}}, {"name": "log", "usage": {"cpu": "5000000n", "memory": "24"}}]},
            {"metadata": {"name": "stranger"}, "timestamp": "1970-01-01T00:00:30Z", "window": "15s", "containers": []},
            {"metadata": {"name": "web-abc-1"}, "timestamp": "never"}
        ])),
        "GET /apis/metrics.k8s.io/v1beta1/nodes" => list(json!([
            {"metadata": {"name": "node-1"}, "timestamp": "1970-01-01T00:00:30Z", "window": "15s", "usage": {"cpu": "1", "memory": "1Mi"}}
        ])),
        _ => list(json!([])),
    }
}

fn scraping(trust: &[u8]) -> Scraping {
    Scraping { spread: false, ..Scraping::new(Trust::from_pem(trust).unwrap()) }
}

/// One first look.
async fn look(server: &Server, scraping: Option<Scraping>) -> (Vec<Fact>, Vec<Notice>) {
    let (facts, mut told) = mpsc::channel::<Observation>(1_000);
    let (notices, mut noticed) = mpsc::channel(1_000);
    let (_brake, paused) = watch::channel(Pause::NOWHERE);
    let settings = Settings {
        namespace: "probe-tuner".into(),
        scope: Scope::OptedIn,
        excluded: Default::default(),
        defaults: Defaults::default(),
        paused,
        scraping,
        usage_every: Some(Duration::from_secs(60)),
        shadowing: None,
    };
    let clock = Arc::new(|| Timestamp::from_seconds(60));
    let observer = observe::start(server.client(), settings, clock, facts, notices);
    tokio::time::timeout(Duration::from_secs(30), observer.first_look()).await.expect("the first look ends");
    observer.task.abort();
    assert!(observer.task.await.unwrap_err().is_cancelled());
    let (mut facts, mut notices) = (Vec::new(), Vec::new());
    while let Ok(observation) = told.try_recv() {
        assert_eq!(observation.at, Timestamp::from_seconds(60));
        facts.push(observation.fact);
    }
    while let Ok(notice) = noticed.try_recv() {
        notices.push(notice);
    }
    (facts, notices)
}

#[tokio::test]
async fn one_look_tells_workloads_pods_checks_and_usage_of_what_is_opted_in() {
    let (port, heads) = kubelet(Kubelet::Page { cut: 0 }).await;
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let (facts, notices) = look(&server, Some(scraping(CA))).await;
    let short: Vec<String> = facts
        .iter()
        .map(|fact| match fact {
            Fact::Workload(w) => format!("{} {}", w.address, w.permission.mode.word()),
            Fact::Pod(p) => format!("pod {} of {}", p.name, p.workload),
            Fact::Sample(s) => format!("sample {} {} failed {}", s.pod, s.probe, s.counters.failed),
            Fact::PodUsage { usage, .. } => format!("pod {} cores {} B", usage.cores, usage.working_set),
            Fact::NodeUsage { node, usage, allocatable_cores } => {
                format!("{node} {} of {allocatable_cores:?}", usage.cores)
            }
            other => format!("{other:?}"),
        })
        .collect();
    for wanted in [
        "shop/Deployment/web recommend",
        "pod web-abc-1 of 7c1e0a4f-0001-4abc-9def-0123456789ab",
        "sample 17e2dc72-8979-44e1-8b7d-04d35ceec5a3 app/liveness failed 3",
        "pod 0.255 cores 1048 B",
        "node-1 1 of Some(1.5)",
    ] {
        assert_eq!(short.iter().filter(|s| *s == wanted).count(), 1, "{wanted} in {short:#?}");
    }
    assert_eq!(facts.len(), 5, "{short:#?}");
    assert!(matches!(&notices[..], [Notice::Scraped { result: Ok((1, _)), .. }]), "{notices:?}");
    let head = heads.lock().unwrap()[0].to_lowercase();
    assert!(head.starts_with("get /metrics/probes http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer short-lived\r\n"), "{head}");
    assert!(!server.lines().iter().any(|l| l.contains("/proxy/") || l.contains("/namespaces/bank/")));
    let writes: Vec<String> = server.lines().into_iter().filter(|l| !l.starts_with("GET")).collect();
    assert_eq!(
        writes,
        ["POST /api/v1/namespaces/probe-tuner/serviceaccounts/probe-tuner-scrape/token?fieldManager=probe-tuner"]
    );
}

/// What a look says of a node that cannot be read.
async fn missed(server: Server, scraping: Scraping) -> (&'static str, String) {
    let (facts, notices) = look(&server, Some(scraping)).await;
    assert!(facts.contains(&Fact::ScrapeMissed("node-1".into())), "{facts:?}");
    assert!(!facts.iter().any(|f| matches!(f, Fact::Sample(_))));
    let found = notices.into_iter().find_map(|n| match n {
        Notice::Scraped { result: Err(error), .. } => Some(error),
        _ => None,
    });
    found.unwrap()
}

#[tokio::test]
async fn whatever_is_wrong_with_a_kubelet_is_named_and_its_checks_are_unknown() {
    for (does, kind, words) in [
        (
            Kubelet::Says("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
            "unauthorized",
            "authentication.webhook.enabled: true",
        ),
        (
            Kubelet::Says("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
            "forbidden",
            "ServiceAccount probe-tuner-scrape needs get on nodes/metrics",
        ),
        (
            Kubelet::Says("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
            "not_found",
            "404: this kubelet has no /metrics/probes to show",
        ),
        (Kubelet::Page { cut: 7 }, "page_cut", "the page is cut: it ends within a line"),
        (Kubelet::BreaksOff, "broken", "the page broke off"),
        (Kubelet::Endless, "page_too_large", "the page is longer than 33554432 bytes and was not read to its end"),
    ] {
        let (port, _) = kubelet(does).await;
        let server = Server::answering(move |seen| cluster(seen, Some(port)));
        let (found, message) = missed(server, scraping(CA)).await;
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn a_kubelet_that_says_nothing_is_given_up_in_time() {
    let (port, _) = kubelet(Kubelet::Hangs).await;
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let scraping = Scraping { timeout: Duration::from_millis(200), ..scraping(CA) };
    assert_eq!(missed(server, scraping).await, ("timeout", "no whole page within 200ms".to_owned()));
}

#[tokio::test]
async fn a_certificate_of_another_authority_gets_no_token() {
    let (port, heads) = kubelet(Kubelet::Page { cut: 0 }).await;
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let (kind, message) = missed(server, scraping(OTHER_CA)).await;
    assert_eq!(kind, "certificate", "{message}");
    assert!(message.contains("UnknownIssuer") && message.contains("observe.kubelet-ca-file"), "{message}");
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_who_says_so_in_as_many_words_reads_unverified() {
    let (port, _) = kubelet(Kubelet::Page { cut: 0 }).await;
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let (facts, _) = look(&server, Some(Scraping { trust: Trust::Anybody, ..scraping(CA) })).await;
    assert!(facts.iter().any(|f| matches!(f, Fact::Sample(_))));
}

#[tokio::test]
async fn a_node_that_cannot_be_found_or_reached_is_named() {
    let server = Server::answering(|seen| cluster(seen, None));
    let (kind, message) = missed(server, scraping(CA)).await;
    assert_eq!((kind, &*message), ("no_address", "the node's status names no InternalIP, or no port of its kubelet"));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let (kind, message) = missed(server, scraping(CA)).await;
    assert_eq!(kind, "connect");
    assert!(message.contains("refused") && message.contains("hint: pods must reach their nodes"), "{message}");
}

#[tokio::test]
async fn without_a_token_no_kubelet_is_asked() {
    for (code, hint) in [
        (403, "hint: a Role in namespace probe-tuner must allow create on serviceaccounts/token of probe-tuner-scrape"),
        (404, "hint: create ServiceAccount probe-tuner-scrape in namespace probe-tuner"),
    ] {
        let (port, heads) = kubelet(Kubelet::Page { cut: 0 }).await;
        let server = Server::answering(move |seen| match &seen.line {
            line if line.starts_with("POST") => refuse(code, "no token for you"),
            _ => cluster(seen, Some(port)),
        });
        let (kind, message) = missed(server, scraping(CA)).await;
        assert_eq!(kind, "token");
        assert!(message.contains("no token for you") && message.contains(hint), "{message}");
        assert!(heads.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_cluster_without_metrics_server_is_told_once_and_all_else_goes_on() {
    for (code, hint) in [
        (404, "this cluster has no metrics-server"),
        (503, "metrics-server is away"),
        (403, "needs get and list on pods and nodes of metrics.k8s.io"),
    ] {
        let server = Server::answering(move |seen| match &seen.line {
            line if line.contains("metrics.k8s.io") => refuse(code, "no"),
            _ => cluster(seen, None),
        });
        let (facts, notices) = look(&server, None).await;
        assert!(facts.iter().any(|f| matches!(f, Fact::Pod(_))));
        assert!(!facts.iter().any(|f| matches!(f, Fact::PodUsage { .. } | Fact::NodeUsage { .. })));
        let [Notice::UsageMissing { why, .. }] = &notices[..] else { panic!("{notices:?}") };
        assert!(why.contains(hint), "{why}");
    }
}

#[tokio::test]
async fn a_missing_right_to_watch_is_named_with_its_rule() {
    let server = Server::answering(|seen| match &seen.line {
        line if line.starts_with("GET /apis/apps/v1/namespaces/shop/statefulsets") => refuse(403, "forbidden"),
        _ => cluster(seen, None),
    });
    let (facts, mut told) = mpsc::channel::<Observation>(1_000);
    let (notices, mut noticed) = mpsc::channel(1_000);
    let (_brake, paused) = watch::channel(Pause::NOWHERE);
    let settings = Settings {
        namespace: "probe-tuner".into(),
        scope: Scope::OptedIn,
        excluded: Default::default(),
        defaults: Defaults::default(),
        paused,
        scraping: None,
        usage_every: None,
        shadowing: None,
    };
    let observer = observe::start(server.client(), settings, Arc::new(|| Timestamp::EPOCH), facts, notices);
    let Some(Notice::WatchBroken { resource, why, refused: true }) = noticed.recv().await else { panic!("no notice") };
    assert_eq!(resource, "statefulsets");
    assert!(
        why.contains(
            "hint: the daemon's account needs list and watch on statefulsets.apps (ClusterRole probe-tuner-read)"
        ),
        "{why}"
    );
    // The other watches go on.
    assert!(told.recv().await.is_some());
    drop(told);
    observer.task.abort();
}

#[tokio::test]
async fn how_often_containers_are_throttled_is_read_beside_the_checks_where_that_is_wanted() {
    let throttled = Fact::Throttling(Throttling {
        pod: probe_tuner::units::Uid::parse(POD).unwrap(),
        container: "app".into(),
        periods: 600,
        throttled: 240,
    });
    for (throttling, told) in [(None, 0), (Some(Duration::from_secs(60)), 1)] {
        let (port, heads) = kubelet(Kubelet::Both).await;
        let server = Server::answering(move |seen| cluster(seen, Some(port)));
        let (facts, notices) = look(&server, Some(Scraping { throttling, ..scraping(CA) })).await;
        assert_eq!(facts.iter().filter(|f| **f == throttled).count(), told);
        assert!(facts.iter().any(|f| matches!(f, Fact::Sample(_))));
        let read = notices.iter().filter(|n| matches!(n, Notice::Throttling { result: Ok((1, _)), .. })).count();
        let heads = heads.lock().unwrap().clone();
        assert_eq!((read, heads.len()), (told, 1 + told), "{notices:?}");
        assert!(heads.iter().all(|head| head.to_lowercase().contains("authorization: bearer short-lived\r\n")));
    }
}

#[tokio::test]
async fn a_kubelet_without_that_page_is_read_on_and_no_check_is_missed_for_it() {
    let (port, _) = kubelet(Kubelet::OnlyChecks).await;
    let server = Server::answering(move |seen| cluster(seen, Some(port)));
    let throttling = Some(Duration::from_secs(60));
    let (facts, notices) = look(&server, Some(Scraping { throttling, ..scraping(CA) })).await;
    assert!(facts.iter().any(|f| matches!(f, Fact::Sample(_))));
    assert!(!facts.iter().any(|f| matches!(f, Fact::ScrapeMissed(_) | Fact::Throttling(_))), "{facts:?}");
    let why = notices.into_iter().find_map(|n| match n {
        Notice::Throttling { result: Err(why), .. } => Some(why),
        _ => None,
    });
    assert_eq!(why, Some(("not_found", "404: this kubelet has no /metrics/cadvisor to show".to_owned())));
}
