//! The tool's handshake with a stranger: real servers and commands are recorded, and the files are replayed.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use probe_tuner::ask::{self, Reply, Target, ask};
use probe_tuner::load::Meter;
use probe_tuner::probe::Answer;
use probe_tuner::record::{Trace, read};
use probe_tuner::run::record::{Recording, Tally, record};
use probe_tuner::units::Span;
use rustls::pki_types::pem::PemObject;
use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Serves each connection with `serve`, which is told the connection's number, counted from 0.
async fn server<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for n in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(n, stream));
        }
    });
    address
}

/// Reads a request's head and gives it as text.
async fn head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// A server that answers so each time, after its head has come.
async fn answering(answer: &'static str) -> SocketAddr {
    server(move |_, mut stream| async move {
        head(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await
}

async fn http(address: SocketAddr) -> Reply {
    ask(&Target::http(address, false, "/healthz?full"), SECOND).await.reply
}

/// Records for so long with this patience, and reads what was written.
async fn recorded(target: Target, rate: f64, lasting: Duration, patience: Duration) -> (Trace, Tally) {
    let recording = Recording { target, rate, lasting: Some(lasting), patience, meter: Meter::machine() };
    let mut text = Vec::new();
    let tally = record(recording, &mut text, pending(), |_| ()).await.unwrap();
    (read(&text).unwrap(), tally)
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_probe-tuner"))
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.csv", std::process::id()))
}

#[tokio::test]
async fn a_check_is_a_get_with_two_headers_on_a_connection_of_its_own() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = heads.clone();
    let address = server(move |n, mut stream| {
        let log = log.clone();
        async move {
            let text = head(&mut stream).await;
            log.lock().unwrap().push((n, text));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            // Open until the other side is done with it.
            stream.read(&mut [0]).await.unwrap_or_default();
        }
    })
    .await;
    for _ in 0..2 {
        assert_eq!(http(address).await, Reply::Healthy);
    }
    let expected = format!(
        "GET /healthz?full HTTP/1.1\r\nhost: {address}\r\nuser-agent: probe-tuner/{}\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(*heads.lock().unwrap(), [(0, expected.clone()), (1, expected)]);
}

#[tokio::test]
async fn a_status_from_200_to_399_is_healthy_and_nothing_else() {
    for (line, expected) in [
        ("HTTP/1.1 204 No Content\r\n\r\n", Reply::Healthy),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n", Reply::Healthy),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Reply::Status(404)),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Reply::Status(503)),
    ] {
        assert_eq!(http(answering(line).await).await, expected, "{line}");
    }
    let strange = http(answering("SSH-2.0-OpenSSH_9.6\r\n").await).await;
    assert!(matches!(strange, Reply::Broken(_)), "{strange:?}");
    let cut = http(answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await).await;
    assert!(matches!(cut, Reply::Broken(_)), "{cut:?}");
}

#[tokio::test]
async fn a_redirect_to_the_same_host_is_followed_by_a_recording_and_by_nothing_else() {
    let address = server(|_, mut stream| async move {
        let head = head(&mut stream).await;
        let (status, to) = match head.split(' ').nth(1).unwrap() {
            "/old" => ("302 Found", "/new"),
            "/new" => ("503 Service Unavailable", ""),
            "/login" => ("302 Found", "http://192.0.2.1/"),
            _ => ("307 Temporary Redirect", "/again"),
        };
        let answer = format!("HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    for (path, followed) in [
        ("/old", "status 503"),
        ("/login", "healthy"),
        ("/again", "no whole answer: 10 redirects, one after the other"),
    ] {
        let target = Target::resolve(&format!("http://{address}{path}")).await.unwrap();
        assert_eq!(ask(&target, SECOND * 9).await.reply.to_string(), followed, "{path}");
        assert_eq!(ask(&Target::http(address, false, path), SECOND).await.reply, Reply::Healthy, "{path}");
    }
}

#[tokio::test]
async fn a_body_is_awaited_within_the_patience_and_read_no_further_than_the_kubelet_reads() {
    let stalls = server(|_, mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok").await.unwrap();
        pending().await
    })
    .await;
    let asked = ask(&Target::http(stalls, false, "/"), Duration::from_millis(200)).await;
    assert_eq!((asked.reply, asked.took), (Reply::Silent, Span::from_millis(200)));
    let endless = server(|_, mut stream| async move {
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    assert_eq!(http(endless).await, Reply::Healthy);
}

#[tokio::test]
async fn tls_is_spoken_and_nobody_verifies_the_certificate() {
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(include_bytes!("data/kubelet/kubelet.key")).unwrap();
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(include_bytes!("data/kubelet/kubelet.crt"));
    let chain = chain.map(Result::unwrap).collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let acceptor =
        tokio_rustls::TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()));
    let address = server(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            stream.shutdown().await.unwrap_or_default();
        }
    })
    .await;
    assert_eq!(ask(&Target::http(address, true, "/"), SECOND).await.reply, Reply::Healthy);
    let url = format!("https://localhost:{}/", address.port());
    assert_eq!(ask(&Target::resolve(&url).await.unwrap(), SECOND).await.reply, Reply::Healthy);
    let plain = server(|_, mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap_or_default();
    })
    .await;
    let met = ask(&Target::http(plain, true, "/"), SECOND).await.reply;
    assert!(matches!(met, Reply::Broken(_)), "{met:?}");
}

/// A real server of `grpc.health.v1` on hyper's HTTP/2: the service's name says what it answers.
async fn health(_: usize, stream: TcpStream) {
    let service = hyper::service::service_fn(async |request: Request<Incoming>| {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let asked = request.into_body().collect().await.unwrap().to_bytes();
        let (status, code): (&[u8], _) = match asked {
            ref b if b[..] == ask::grpc_request("") => (&[0, 0, 0, 0, 2, 8, 1], "0"),
            ref b if b[..] == ask::grpc_request("ill") => (&[0, 0, 0, 0, 2, 8, 2], "0"),
            ref b if b[..] == ask::grpc_request("slow") => {
                sleep(Duration::from_millis(300)).await;
                (&[0, 0, 0, 0, 2, 8, 1], "0")
            }
            ref b if b[..] == ask::grpc_request("hung") => pending().await,
            _ => (&[], "5"),
        };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        let frames = [Frame::data(Bytes::copy_from_slice(status)), Frame::trailers(trailers)];
        let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, Infallible>)));
        Ok::<_, Infallible>(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.serve_connection(TokioIo::new(stream), service).await.unwrap_or_default();
}

#[tokio::test]
async fn a_grpc_health_service_is_asked_by_its_protocol() {
    let address = server(health).await;
    for (service, expected) in [
        ("", Reply::Healthy),
        ("slow", Reply::Healthy),
        ("ill", Reply::NotServing(Some(2))),
        ("unknown", Reply::NotServing(None)),
        ("hung", Reply::Silent),
    ] {
        let asked = ask(&Target::grpc(address, service), SECOND).await;
        assert_eq!(asked.reply, expected, "{service}");
        assert!(service != "slow" || asked.took >= Span::from_millis(300), "{asked:?}");
    }
    // A server that speaks HTTP/1 only.
    let other = answering("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let met = ask(&Target::grpc(other, ""), SECOND).await.reply;
    assert!(matches!(met, Reply::Broken(_)), "{met:?}");
}

#[tokio::test]
async fn a_command_is_judged_by_its_code_and_ends_at_its_limit_with_all_that_it_started() {
    let run = async |command: &str, patience| ask(&Target::Exec { command: command.to_owned() }, patience).await;
    assert_eq!(run("exit 0", SECOND * 9).await.reply, Reply::Healthy);
    assert_eq!(run("exit 3", SECOND * 9).await.reply, Reply::Exit(Some(3)));
    assert_eq!(run("kill -9 $$", SECOND * 9).await.reply, Reply::Exit(None));
    let (mark, late) = (file("mark"), file("late"));
    let command = format!("(echo $$ > {0}; sleep 60; touch {1}) & sleep 60; touch {1}", mark.display(), late.display());
    let asked = run(&command, Duration::from_millis(700)).await;
    assert_eq!((asked.reply, asked.took), (Reply::Silent, Span::from_millis(700)));
    nothing_is_left(&mark).await;
    // What it leaves behind when it ends by itself is ended with it.
    let asked = run(&format!("echo $$ > {}; sleep 60 & exit 4", mark.display()), SECOND * 9).await;
    assert_eq!(asked.reply, Reply::Exit(Some(4)));
    nothing_is_left(&mark).await;
    fs::remove_file(&mark).unwrap();
}

/// That none of the process groups whose numbers stand in the file has anybody in it.
async fn nothing_is_left(mark: &Path) {
    let begun = Instant::now();
    for group in fs::read_to_string(mark).unwrap().lines() {
        let group = rustix::process::Pid::from_raw(group.parse().unwrap()).unwrap();
        while rustix::process::test_kill_process_group(group).is_ok() {
            assert!(begun.elapsed() < SECOND * 5, "{group:?} is there still");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_answers_by_script_is_recorded_as_it_answered() {
    let address = server(|n, mut stream| async move {
        head(&mut stream).await;
        sleep(Duration::from_millis(if n % 5 == 4 { 400 } else { 0 })).await;
        let status = if n == 2 { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap_or_default();
    })
    .await;
    let (trace, tally) = recorded(Target::http(address, false, "/"), 20.0, SECOND, SECOND * 5).await;
    // On a machine that stalls, checks that are due in its stall are skipped, and counted.
    assert_eq!((trace.rows().len(), tally.rows as u64 + tally.skipped), (tally.rows, 20));
    assert!(trace.columns().node_cpu && !trace.columns().pod_cores);
    for (n, row) in trace.rows().iter().enumerate() {
        match row.answer {
            Answer::Healthy(after) => assert_eq!(after >= Span::from_millis(400), n % 5 == 4, "{n}: {after:?}"),
            Answer::Unhealthy(_) => assert_eq!(n, 2),
            Answer::Never => panic!("{n}: no answer"),
        }
    }
    assert_eq!((tally.healthy + 1, tally.unhealthy, tally.last), (tally.rows, 1, Some(Reply::Status(503))));
}

#[tokio::test]
async fn the_rate_is_held_while_the_server_hangs_and_a_hung_check_has_no_latency() {
    let address = server(|n, mut stream| async move {
        head(&mut stream).await;
        if (5..25).contains(&n) {
            pending::<()>().await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap_or_default();
    })
    .await;
    let (trace, tally) = recorded(Target::http(address, false, "/"), 25.0, SECOND * 2, SECOND).await;
    assert_eq!((trace.rows().len() as u64 + tally.skipped, tally.silent), (50, 20));
    for (n, row) in trace.rows().iter().enumerate() {
        let (due, at) = (n as f64 / 25.0, row.at.as_secs_f64());
        assert!(at >= due, "{n} started at {at}, was due at {due}");
        assert_eq!(row.answer == Answer::Never, (5..25).contains(&n), "{n}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_not_healthy_and_answers_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (trace, _) = recorded(Target::tcp(address), 20.0, SECOND / 2, SECOND).await;
    assert!(trace.rows().iter().all(|r| matches!(r.answer, Answer::Healthy(_))));
    drop(listener);
    let (trace, tally) = recorded(Target::tcp(address), 20.0, SECOND / 2, SECOND).await;
    assert!(
        trace.rows().iter().all(|r| matches!(r.answer, Answer::Unhealthy(after) if after < Span::from_millis(500)))
    );
    assert!(matches!(tally.last, Some(Reply::Refused(_))), "{:?}", tally.last);
}

#[tokio::test]
async fn a_recording_that_is_stopped_leaves_out_what_has_not_ended_and_keeps_what_has() {
    let address = server(|n, mut stream| async move {
        head(&mut stream).await;
        if n == 1 {
            pending::<()>().await;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap_or_default();
    })
    .await;
    let target = Target::http(address, false, "/");
    let recording = Recording { target, rate: 20.0, lasting: None, patience: SECOND * 60, meter: Meter::machine() };
    let mut text = Vec::new();
    let tally = record(recording, &mut text, sleep(SECOND), |_| ()).await.unwrap();
    assert_eq!((tally.left_out, tally.rows), (1, tally.started - 1));
    let trace = read(&text).unwrap();
    // The row that hung is missing: it has no answer, and nobody knows whether it would have had none in 30 s.
    assert!(trace.rows().iter().all(|r| matches!(r.answer, Answer::Healthy(_))));
    assert_eq!(trace.rows().len(), tally.rows);
}

#[tokio::test]
async fn what_the_program_records_it_replays() {
    let address = server(|n, mut stream| async move {
        head(&mut stream).await;
        sleep(Duration::from_millis(if n >= 5 { 1_300 } else { 1 })).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap_or_default();
    })
    .await;
    let path = file("handshake");
    let me = std::process::id().to_string();
    let url = format!("http://{address}/healthz");
    let mut command = program();
    command.args(["record", &url, "--for", "3s", "--pid", &me, "-f"]).arg(&path);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert_eq!((done.status.code(), out.as_str()), (Some(0), ""), "{err}");
    assert!(err.starts_with("30 checks: 30 healthy, 0 not, 0 without an answer; p50 1."), "{err}");
    assert!(err.ends_with(&format!("\nnext: probe-tuner replay {}\n", path.display())), "{err}");
    let text = fs::read_to_string(&path).unwrap();
    let first = text.lines().next().unwrap();
    assert_eq!(first, format!("# probe-tuner {}: {url}", env!("CARGO_PKG_VERSION")));
    assert!(text.contains(", 10 checks a second, each on a new connection, each watched for up to 30 s\n"), "{text}");
    assert!(text.contains("\nt_s,latency_ms,ok,node_cpu,pod_cores"), "{text}");
    // Slow from half a second on: a prober of 1/1/2 restarts, one of 1/2/2 does not.
    let replay = |settings: &str| {
        let mut command = program();
        let done = command.args(["replay", "--settings", settings, "--phases", "1", "-o", "json"]).arg(&path).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let document: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        document["results"][0]["false_restarts"].as_u64().unwrap()
    };
    assert_eq!((replay("1/1/2"), replay("1/2/2")), (1, 0));
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_command_is_recorded_to_standard_output_until_it_is_interrupted() {
    let child = program()
        .args(["record", "--exec", "exit 7", "--rate", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    std::thread::spawn(move || {
        // Any moment will do; a second makes it one with rows.
        std::thread::park_timeout(SECOND);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    });
    let done = child.wait_with_output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(0), "{err}");
    let trace = read(&done.stdout).unwrap();
    assert!(trace.rows().iter().all(|r| matches!(r.answer, Answer::Unhealthy(_))));
    assert!(err.contains("\nthe last that was not healthy: exit code 7\n"), "{err}");
    assert!(err.ends_with("next: probe-tuner replay FILE\n"), "{err}");
}

#[tokio::test]
async fn a_recording_that_is_stopped_leaves_nothing_running_by_whichever_signal() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mark = file("groups");
        let command = format!("echo $$ >> {}; sleep 60 & sleep 60", mark.display());
        // Whoever runs the tests by `nohup` has them ignore SIGHUP.
        let recording = Command::new("env")
            .args(["--default-signal", env!("CARGO_BIN_EXE_probe-tuner"), "record", "--exec", &command, "--rate", "20"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while fs::read_to_string(&mark).unwrap_or_default().lines().count() < 3 {
            sleep(Duration::from_millis(10)).await;
        }
        kill_process(Pid::from_child(&recording), signal).unwrap();
        let done = tokio::task::spawn_blocking(|| recording.wait_with_output()).await.unwrap().unwrap();
        let err = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{signal:?}: {err}");
        nothing_is_left(&mark).await;
        fs::remove_file(&mark).unwrap();
    }
}

#[tokio::test]
async fn a_recording_that_was_to_outlive_its_terminal_does() {
    use rustix::process::{Pid, Signal, kill_process};
    let mark = file("nohup");
    let line = "trap '' HUP; exec \"$0\" record --exec \"echo x >> $1\" --rate 10 --for 1s";
    let recording = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_probe-tuner")])
        .arg(&mark)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !mark.exists() {
        sleep(Duration::from_millis(10)).await;
    }
    kill_process(Pid::from_child(&recording), Signal::HUP).unwrap();
    let done = tokio::task::spawn_blocking(|| recording.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && err.contains("; in 1s\n"), "{err}");
    fs::remove_file(&mark).unwrap();
}

#[test]
fn a_recording_that_is_there_is_not_overwritten_unless_told() {
    let path = file("kept");
    fs::write(&path, "t_s,latency_ms,ok\n0,1,1\n").unwrap();
    let run = |more: &[&str]| {
        let mut command = program();
        command.args(["record", "--exec", "exit 7", "--rate", "10", "--for", "500ms", "-f"]).arg(&path).args(more);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, err) = run(&[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("is there already\n") && err.contains("--force"), "{err}");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    let (code, err) = run(&["--force"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.contains("no check was healthy"), "{err}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("# probe-tuner"));
    fs::remove_file(&path).unwrap();
}

#[test]
fn what_cannot_be_recorded_is_said_at_once() {
    let run = |args: &[&str]| {
        let done = program().arg("record").args(args).output().unwrap();
        (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, text) = run(&["ftp://web/"]);
    assert_eq!(code, 2);
    assert!(text.starts_with("error: \"ftp://web/\": wanted the scheme http, https, tcp or grpc\n\nhint: "), "{text}");
    let (code, text) = run(&["http://127.0.0.1:1/", "-f", "/nonexistent/x.csv"]);
    assert_eq!((code, text.lines().next()), (2, Some("error: /nonexistent/x.csv: cannot be written")));
    let (code, text) = run(&["http://127.0.0.1:1/", "--cgroup", "/proc"]);
    assert!(code == 2 && text.starts_with("error: /proc: has neither usage_usec"), "{text}");
    for args in
        [&[][..], &["http://a/", "--exec", "true"], &["http://a/", "--rate", "0"], &["http://a/", "--for", "0s"]]
    {
        assert_eq!(run(args).0, 2, "{args:?}");
    }
}
