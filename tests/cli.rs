//! The command line from outside: exit code, standard output, standard error, as one text.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-tuner"));
    command.env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST").env("HOME", "/nonexistent");
    command
}

/// Runs a command line and shows all that is seen of it.
fn run(args: &[&str]) -> String {
    let done = program().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    format!("exit {}\n--- out\n{}--- err\n{}", done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// A kubeconfig with two contexts: `shut`, where nobody listens, and `other`.
fn kubeconfig(name: &str) -> PathBuf {
    kubeconfig_of(name, 9)
}

/// The same for a server on a port of this machine.
fn kubeconfig_of(name: &str, port: u16) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.yaml", std::process::id()));
    let text = "apiVersion: v1\nkind: Config\ncurrent-context: shut\n\
                clusters: [{name: c, cluster: {server: 'http://127.0.0.1:PORT'}}]\n\
                users: [{name: u, user: {}}]\n\
                contexts: [{name: shut, context: {cluster: c, user: u}}, {name: other, context: {cluster: c, user: u}}]\n";
    let text = text.replace("PORT", &port.to_string());
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    path
}

#[test]
fn version_is_one_line_and_one_document() {
    let release = env!("CARGO_PKG_VERSION");
    assert_eq!(run(&["version"]), format!("exit 0\n--- out\nprobe-tuner {release}\n--- err\n"));
    let json = format!("{{\"version\":1,\"program\":\"probe-tuner\",\"release\":\"{release}\"}}");
    assert_eq!(run(&["version", "-o", "json"]), format!("exit 0\n--- out\n{json}\n--- err\n"));
}

#[test]
fn crds_are_those_that_are_installed() {
    let installed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests/crds/probetunings.yaml"));
    assert_eq!(run(&["crds"]), format!("exit 0\n--- out\n{}--- err\n", installed.unwrap()));
}

#[test]
fn help_is_data_and_a_wrong_word_is_wrong_usage() {
    let help = run(&["--help"]);
    assert!(help.starts_with("exit 0\n--- out\nMeasures how Kubernetes health checks"), "{help}");
    assert!(
        help.contains("Exit codes: 0 done, 1 our own fault, 2 wrong usage") && help.ends_with("--- err\n"),
        "{help}"
    );
    let wrong = run(&["verzion"]);
    assert!(wrong.starts_with("exit 2\n--- out\n--- err\nerror: unrecognized subcommand 'verzion'"), "{wrong}");
    assert!(wrong.contains("a similar subcommand exists: 'version'"), "{wrong}");
    assert!(run(&[]).starts_with("exit 2\n--- out\n--- err\n"));
}

#[test]
fn a_reader_that_goes_away_is_not_an_error() {
    let mut child = program().arg("--help").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_brake_wants_to_be_told_where() {
    let vague = run(&["pause"]);
    assert!(vague.starts_with("exit 2\n") && vague.contains("<--namespace <NS>|--all-namespaces>"), "{vague}");
    assert!(run(&["pause", "-n", "shop", "-A"]).starts_with("exit 2\n"));
    let name = run(&["pause", "-n", "Not_A_Name"]);
    assert!(name.starts_with("exit 2\n") && name.contains("wanted a namespace's name, as shop"), "{name}");
}

#[test]
fn a_cluster_that_does_not_answer_is_exit_code_4_and_named() {
    let path = kubeconfig("shut");
    let text = run(&["pause", "-A", "--kubeconfig", path.to_str().unwrap()]);
    let begin =
        "exit 4\n--- out\n--- err\nerror: context shut: cannot pause (Lease probe-tuner/probe-tuner)\n  cause: ";
    assert!(text.starts_with(begin) && text.contains("Connection refused"), "{text}");
    assert!(
        text.ends_with("\n\nhint: is http://127.0.0.1:9/ the right address, and can it be reached from here?\n"),
        "{text}"
    );
}

#[test]
fn a_kubeconfig_that_cannot_be_read_is_exit_code_2_and_named() {
    let missing = run(&["resume", "-A", "--kubeconfig", "no/such.yaml"]);
    assert!(
        missing.starts_with("exit 2\n--- out\n--- err\nerror: no/such.yaml: cannot be read\n  cause: "),
        "{missing}"
    );
    assert!(missing.ends_with("\n\nhint: name the file with --kubeconfig or $KUBECONFIG\n"), "{missing}");
    let nowhere = run(&["resume", "-A"]);
    assert!(
        nowhere.starts_with("exit 2\n--- out\n--- err\nerror: kubeconfig ~/.kube/config: cannot be read\n"),
        "{nowhere}"
    );
}

#[test]
fn a_context_that_is_not_there_is_answered_with_those_that_are() {
    let path = kubeconfig("contexts");
    let text = run(&["pause", "-n", "shop", "--context", "shot", "--kubeconfig", path.to_str().unwrap()]);
    let expected = format!(
        "exit 2\n--- out\n--- err\nerror: {}: no context \"shot\"\n\nhint: its contexts are shut, other\n",
        path.display()
    );
    assert_eq!(text, expected);
}

#[test]
fn a_kubeconfig_with_a_mistake_is_told_without_the_credentials_beside_it() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("broken.kubeconfig");
    std::fs::write(&path, "clusters: [\nusers:\n- name: me\n  user: {token: s3cret}\n").unwrap();
    for command in [&["pause", "-A"][..], &["recommend"]] {
        let text = run(&[command, &["--kubeconfig", path.to_str().unwrap()]].concat());
        assert!(text.starts_with("exit 2\n") && text.contains("line "), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("token"), "{text}");
    }
}

#[test]
fn a_recommendation_of_a_cluster_that_is_not_there_fails_at_once_with_the_reason() {
    let path = kubeconfig("gone");
    let text = run(&["recommend", "-n", "shop", "--kubeconfig", path.to_str().unwrap()]);
    assert!(text.starts_with("exit 4\n--- out\n--- err\nerror: context shut: cannot look at it\n"), "{text}");
    assert!(text.contains("Connection refused"), "{text}");
}

#[test]
fn all_mistakes_of_broken_traces_come_at_once_and_nothing_is_lost_on_standard_output() {
    let file = |name: &str, text: &str| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.csv", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rows = file("rows", "t_s,latency_ms,ok\n0,1.0,1\n1,fast,1\n2,3,yes\n1.5,-4,1\n");
    let header = file("header", "time,latency_ms,ok\n0,1,1\n");
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/traces/redis-exec-step.csv");
    let absent = "/nonexistent/trace.csv";
    let seen = run(&["replay", &rows, good, &header, absent]);
    for path in [&rows, &header] {
        std::fs::remove_file(path).unwrap();
    }
    let hint = "hint: a trace has the columns t_s,latency_ms,ok; see docs/reference/trace.md";
    let number = "wanted milliseconds, a number from 0 to 86400000, or nothing";
    assert_eq!(
        seen,
        format!(
            "exit 2\n--- out\n--- err\n\
             error: {rows}:3: latency_ms: found \"fast\", {number}\n\n\
             error: {rows}:4: ok: found \"yes\", wanted 1 or 0\n\n\
             error: {rows}:5: t_s: found \"1.5\", wanted at least 2, the row before: t_s never falls\n\n\
             error: {rows}:5: latency_ms: found \"-4\", {number}\n\n{hint}\n\n\
             error: {header}:1: t_s: found \"time,latency_ms,ok\", wanted a column t_s\n\n{hint}\n\n\
             error: {absent}: cannot be read\n  cause: No such file or directory (os error 2)\n\n\
             hint: name files that `probe-tuner record` has written, or - for standard input\n"
        )
    );
}

/// The same with something on standard input.
fn piped(args: &[&str], input: &str) -> String {
    let mut child =
        program().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    format!("exit {}\n--- out\n{}--- err\n{}", done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

#[test]
fn a_trace_is_read_from_standard_input_and_a_short_one_is_called_too_short() {
    let rows: String = (0..=180).map(|i| format!("{},4,1\n", i * 10)).collect();
    let said = piped(&["replay", "--settings", "10/5/3", "-"], &format!("t_s,latency_ms,ok\n{rows}"));
    let (out, err) = said.split_once("--- err\n").unwrap();
    assert!(out.starts_with("exit 0\n--- out\nstandard input: 1800.0 s, 10 phases\n"), "{said}");
    assert_eq!(
        err,
        "\nnote: standard input is too short to choose numbers by: 30 min of one pod show what each policy\n\
         would have done then. Before it tightens anything, probe-tuner asks for a day of all pods and a\n\
         release (THIN_EVIDENCE).\n"
    );
    let wrong = piped(&["replay", "-"], "t_s,latency_ms\n0,4\n");
    assert!(wrong.starts_with("exit 2\n--- out\n--- err\nerror: standard input:1: ok: "), "{wrong}");
}

#[test]
fn standard_input_is_read_once_only() {
    assert_eq!(
        piped(&["replay", "--history", "-", "-"], "t_s,latency_ms,ok\n0,4,1\n"),
        "exit 2\n--- out\n--- err\nerror: -: standard input comes twice, wanted once: it can be read only once\n"
    );
}

#[test]
fn a_kubeconfig_that_is_not_there_is_named_once() {
    assert_eq!(
        run(&["recommend", "--kubeconfig", "/nonexistent/kubeconfig", "-n", "shop"]),
        "exit 2\n--- out\n--- err\nerror: /nonexistent/kubeconfig: cannot be read\n  cause: No such file or directory (os error 2)\n\n\
         hint: name the file with --kubeconfig or $KUBECONFIG\n"
    );
}

#[test]
fn who_waits_for_a_cluster_that_does_not_answer_is_told_so() {
    // Connections are taken by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = kubeconfig_of("silent", silent.local_addr().unwrap().port());
    let mut asking = program()
        .args(["explain", "shop/web", "--kubeconfig"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(asking.stderr.take().unwrap()).read_line(&mut told).unwrap();
    asking.kill().unwrap();
    asking.wait().unwrap();
    assert_eq!(told, "note: context shut has not answered within 10 s; waiting for another 60 s at most\n");
}
