//! The daemon's HTTP over real sockets; the API server behind it is a small real server that answers reviews.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use probe_tuner::api::{Door, Pages, Pulse, Readiness, listen, serve};
use probe_tuner::telemetry::Metrics;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// An API server that knows the token `good` (user prometheus, may get /metrics) and the token `poor` (user guest, may
/// get nothing), and writes down what it was asked.
struct Reviews {
    client: kube::Client,
    asked: Arc<Mutex<Vec<Value>>>,
}

async fn reviews() -> Reviews {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = asked.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let log = log.clone();
            tokio::spawn(async move {
                let service = hyper::service::service_fn(|request| review(request, log.clone()));
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
                    .unwrap_or_default();
            });
        }
    });
    let config = kube::Config::new(format!("http://{address}").parse().unwrap());
    Reviews { client: kube::Client::try_from(config).unwrap(), asked }
}

async fn review(request: Request<Incoming>, log: Arc<Mutex<Vec<Value>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    log.lock().unwrap().push(asked.clone());
    let status = if path.ends_with("/tokenreviews") {
        match asked["spec"]["token"].as_str().unwrap() {
            "good" => json!({"authenticated": true, "user": {"username": "prometheus", "groups": ["scrapers"]}}),
            "poor" => json!({"authenticated": true, "user": {"username": "guest"}}),
            "broken" => {
                let mut answer = Response::new(Full::new(Bytes::from("{\"kind\":\"Status\",\"code\":500}")));
                *answer.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(answer);
            }
            _ => json!({"authenticated": false}),
        }
    } else {
        let spec = &asked["spec"];
        let allowed = spec["user"] == "prometheus"
            && spec["groups"] == json!(["scrapers"])
            && spec["nonResourceAttributes"] == json!({"path": "/metrics", "verb": "get"});
        json!({"allowed": allowed})
    };
    asked["status"] = status;
    Ok(Response::builder().status(201).body(Full::new(Bytes::from(asked.to_string()))).unwrap())
}

struct Daemon {
    address: SocketAddr,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    reviews: Reviews,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

impl Daemon {
    /// A daemon that listens on a free port of this address.
    async fn on(address: &str) -> Daemon {
        let reviews = reviews().await;
        let listener = listen(format!("{address}:0").parse().unwrap()).await.unwrap();
        let bound = listener.local_addr().unwrap();
        let (metrics, readiness) = (Arc::new(Metrics::new()), Arc::new(Readiness::default()));
        let door = Door::of(bound, reviews.client.clone(), metrics.clone());
        let pages = Pages { metrics: metrics.clone(), pulse: Pulse::start(), readiness: readiness.clone() };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listener, door, pages, async { stopped.await.unwrap_or_default() }));
        let address = SocketAddr::new("127.0.0.1".parse().unwrap(), bound.port());
        Daemon { address, metrics, readiness, reviews, stop: Some(stop), served }
    }

    /// Sends these bytes and reads until the server closes.
    async fn send(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    async fn get(&self, path: &str, fields: &str) -> String {
        let host = self.address;
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await
    }

    async fn with_token(&self, path: &str, token: &str) -> String {
        self.get(path, &format!("Authorization: Bearer {token}\r\n")).await
    }

    fn asked(&self) -> usize {
        self.reviews.asked.lock().unwrap().len()
    }
}

#[track_caller]
fn check(answer: &str, status: &str, body: &str) {
    let (head, found) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    assert!(found.contains(body), "{answer}");
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn loopback_shows_metrics_health_and_readiness_to_this_machine() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        check(&daemon.get("/metrics", "").await, "200", "probe_tuner_build_info");
        check(&daemon.get("/healthz", "").await, "200", "ok\n");
        check(&daemon.get("/readyz", "").await, "503", "caches are not full yet\n");
        daemon.readiness.caches_are_full();
        check(&daemon.get("/readyz", "").await, "503", "the state of an earlier life is not known yet\n");
        daemon.readiness.state_is_known();
        check(&daemon.get("/readyz", "").await, "200", "ok\n");
        assert_eq!(daemon.asked(), 0, "loopback asks the API server nothing");
    });
}

#[test]
fn metrics_come_in_the_format_that_is_accepted() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        let open =
            daemon.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n").await;
        check(&open, "200", "# EOF\n");
        assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
        let plain = daemon.get("/metrics", "Accept: */*\r\n").await;
        assert!(plain.contains("content-type: text/plain; version=0.0.4") && !plain.contains("# EOF"), "{plain}");
    });
}

#[test]
fn a_host_that_is_not_loopback_is_refused_on_loopback() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        for head in [
            "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
            "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n\r\n",
        ] {
            check(&daemon.send(head).await, "421", "this address answers to localhost");
        }
        check(&daemon.send("GET /healthz HTTP/1.1\r\nHost: localhost:9753\r\n\r\n").await, "200", "ok");
    });
}

#[test]
fn another_page_is_not_found_and_another_method_not_allowed() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        check(&daemon.get("/secrets", "").await, "404", "there are /metrics, /healthz and /readyz");
        let answer = daemon.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
        check(&answer, "405", "only GET and HEAD");
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
        let head = daemon.send("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    });
}

#[test]
fn off_loopback_health_is_open_and_everything_else_wants_a_token() {
    run(async {
        let daemon = Daemon::on("0.0.0.0").await;
        check(&daemon.get("/healthz", "").await, "200", "ok");
        check(&daemon.get("/readyz", "").await, "503", "caches are not full yet");
        for path in ["/metrics", "/", "/secrets"] {
            let answer = daemon.get(path, "").await;
            check(&answer, "401", "a bearer token is wanted");
            assert!(answer.contains("www-authenticate: Bearer"), "{answer}");
        }
        check(&daemon.get("/metrics", "Authorization: Basic Z29vZA==\r\n").await, "401", "a bearer token is wanted");
        assert_eq!(daemon.asked(), 0);
    });
}

#[test]
fn a_token_is_reviewed_and_its_holder_must_be_allowed_that_path() {
    run(async {
        let daemon = Daemon::on("0.0.0.0").await;
        check(&daemon.with_token("/metrics", "good").await, "200", "probe_tuner_build_info");
        check(&daemon.with_token("/secrets", "good").await, "403", "prometheus may not get /secrets");
        check(&daemon.with_token("/metrics", "poor").await, "403", "guest may not get /metrics; a ClusterRole with");
        check(&daemon.with_token("/metrics", "made-up").await, "401", "the API server does not know this token");
    });
}

#[test]
fn answers_about_a_token_are_remembered() {
    run(async {
        let daemon = Daemon::on("0.0.0.0").await;
        for _ in 0..5 {
            check(&daemon.with_token("/metrics", "good").await, "200", "probe_tuner_build_info");
            check(&daemon.with_token("/metrics", "made-up").await, "401", "does not know");
        }
        assert_eq!(daemon.asked(), 3, "TokenReview and SubjectAccessReview of one, TokenReview of the other");
    });
}

#[test]
fn made_up_tokens_do_not_become_a_burden_to_the_api_server() {
    run(async {
        let daemon = Daemon::on("0.0.0.0").await;
        let mut busy = 0;
        for i in 0..40 {
            let answer = daemon.with_token("/metrics", &format!("guess-{i}")).await;
            busy += usize::from(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: 1"));
        }
        assert_eq!(busy + daemon.asked(), 40);
        assert!(busy > 0, "none of 40 was held back");
    });
}

#[test]
fn an_api_server_that_cannot_review_lets_nobody_in_and_is_asked_again() {
    run(async {
        let daemon = Daemon::on("0.0.0.0").await;
        for _ in 0..2 {
            check(&daemon.with_token("/metrics", "broken").await, "503", "the API server cannot be asked");
        }
        assert_eq!(daemon.asked(), 2);
        check(&daemon.get("/healthz", "").await, "200", "ok");
    });
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        // Exactly what is read before giving up: with more, the close would tell of unread bytes and swallow the answer.
        let begin = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: ";
        check(&daemon.send(&format!("{begin}{}", "x".repeat((16 << 10) - begin.len()))).await, "431", "");
        let many = "X-Many: 1\r\n".repeat(100);
        check(&daemon.get("/metrics", &many).await, "431", "");
    });
}

#[test]
fn a_connection_beyond_the_bound_is_closed_and_counted() {
    run(async {
        let daemon = Daemon::on("127.0.0.1").await;
        let mut silent = Vec::new();
        for _ in 0..probe_tuner::api::MOST_CONNECTIONS {
            silent.push(TcpStream::connect(daemon.address).await.unwrap());
        }
        let mut one_more = TcpStream::connect(daemon.address).await.unwrap();
        let mut nothing = Vec::new();
        assert_eq!(one_more.read_to_end(&mut nothing).await.unwrap(), 0, "closed without an answer");
        assert!(daemon.metrics.page(true).0.contains("probe_tuner_dropped_total{what=\"connection\"} 1\n"));
        drop(silent);
        // Room again, as soon as the server has seen them go.
        let again = async {
            loop {
                let mut stream = TcpStream::connect(daemon.address).await.unwrap();
                let mut answer = Vec::new();
                let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
                let sent = stream.write_all(request).await.is_ok() && stream.read_to_end(&mut answer).await.is_ok();
                if sent && answer.starts_with(b"HTTP/1.1 200") {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
    });
}

#[test]
fn a_stopped_server_takes_no_more_connections_and_finishes() {
    run(async {
        let mut daemon = Daemon::on("127.0.0.1").await;
        check(&daemon.get("/healthz", "").await, "200", "ok");
        daemon.stop.take().unwrap().send(()).unwrap();
        daemon.served.await.unwrap();
        assert!(TcpStream::connect(daemon.address).await.is_err());
    });
}

#[test]
fn an_address_that_is_taken_is_named() {
    run(async {
        let taken = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen(address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address} (http.listen)"));
    });
}
