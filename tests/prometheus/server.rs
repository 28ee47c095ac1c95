//! A real Prometheus, and a scripted one.

use super::support::minicluster::wait_for;
use probe_tuner::cli::{self, Console};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// How long anything may take on a machine that has more to do.
pub const SOON: Duration = Duration::from_secs(90);

/// The program, fetched when it is not there yet.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prometheus/install.sh");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let done = Command::new(script).env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit()).output().unwrap();
        assert!(done.status.success(), "{script} failed");
        PathBuf::from(String::from_utf8(done.stdout).unwrap().trim())
    })
}

/// The tool that comes with it.
pub fn promtool() -> PathBuf {
    binary().with_file_name("promtool")
}

/// A running Prometheus. It ends with this guard or with this process, whatever ends that: the shell around the server
/// stops it and removes its data when the pipe closes that is held here.
pub struct Prometheus {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Its address.
    pub url: String,
}

impl Prometheus {
    /// Starts one with this configuration; returns when it answers.
    pub fn start(name: &str, config: &str) -> Prometheus {
        Prometheus::with(name, config, |_| ())
    }

    /// Likewise, with what `fill` put into the folder of its data.
    pub fn with(name: &str, config: &str, fill: impl FnOnce(&Path)) -> Prometheus {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("prometheus-{name}"));
        fs::create_dir_all(&dir).unwrap();
        let data = dir.join("data");
        fs::remove_dir_all(&data).unwrap_or_default();
        fs::create_dir_all(&data).unwrap();
        fill(&data);
        let file = dir.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let log = dir.join("log");
        let mut child = Command::new("sh")
            .args(["-c", "\"$@\" & cat >/dev/null; kill $!; wait $!; rm -rf \"$0\""])
            .arg(&data)
            .arg(binary())
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .args(["--web.listen-address=127.0.0.1:0", "--storage.tsdb.retention.time=1y"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let address = wait_for("a Prometheus", SOON, || {
            let text = fs::read_to_string(&log).unwrap();
            assert!(!text.contains("level=error"), "{text}");
            let line = text.lines().find(|l| l.contains("msg=\"Listening on\""))?;
            Some(line.split("address=").nth(1)?.split_whitespace().next()?.to_owned())
        });
        // It listens before it has read its data.
        let ready = || {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.write_all(b"GET /-/ready HTTP/1.0\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.split(' ').nth(1).filter(|status| *status == "200").map(|_| ())
        };
        wait_for("its data", SOON, ready);
        Prometheus { child, stdin, url: format!("http://{address}") }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.stdin = None;
        self.child.wait().unwrap();
    }
}

/// Runs a command line as the program does: exit code, standard output, standard error.
pub fn run(args: &[&str]) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("probe-tuner").chain(args.iter().copied()).map(Into::into);
    let exit = cli::run(args, &mut Console { out: &mut out, err: &mut err, colour: false });
    (exit.code(), String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// A runtime for one question.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A request as it came: method and path, headers in lower case, and the form (of the query or the body), decoded.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST /api/v1/query`.
    pub line: String,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    /// The form's fields.
    pub form: BTreeMap<String, String>,
}

/// A status, headers, a body.
pub type Answer = (u16, Vec<(&'static str, String)>, String);

/// A server that answers by rule and notes what it was asked.
pub struct Scripted {
    /// Its address.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    /// Answers each request as `rule` says, until the process ends.
    pub fn start(rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Scripted {
        Scripted::with(None, rule)
    }

    /// Likewise, behind TLS with the certificate of tests/data/kubelet.
    pub fn start_tls(rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Scripted {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("../data/kubelet/kubelet.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../data/kubelet/kubelet.key")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        Scripted::with(Some(Arc::new(config)), rule)
    }

    fn with(tls: Option<Arc<ServerConfig>>, rule: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let rule = Arc::new(rule);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (rule, seen, tls, stream) = (rule.clone(), seen.clone(), tls.clone(), stream.unwrap());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &*rule, &seen),
                    Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &*rule, &seen),
                });
            }
        });
        Scripted { url, asked }
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(stream: impl Read + Write, rule: &dyn Fn(&Asked) -> Answer, seen: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
        reader.read_exact(&mut body).unwrap();
        let target = line.split(' ').nth(1).unwrap().to_owned();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let form = format!("{query}{}", String::from_utf8(body).unwrap());
        let asked = Asked {
            line: format!("{} {path}", line.split(' ').next().unwrap()),
            headers,
            form: form_urlencoded::parse(form.as_bytes()).into_owned().collect(),
        };
        seen.lock().unwrap().push(asked.clone());
        let (code, headers, body) = rule(&asked);
        let headers: String = headers.iter().map(|(k, v)| format!("{k}: {v}\r\n")).collect();
        let head = format!("HTTP/1.1 {code} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
        // The client may have had enough by now: that is what some of the tests are about.
        let writer = reader.get_mut();
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(body.as_bytes())).is_err() {
            return;
        }
    }
}
