//! The brake on a real API server: what `pause` and `resume` write, and that no word is lost.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Child, Command, Stdio};
use support::minicluster::Minicluster;

/// A command line against the cluster, with the daemon's namespace that is this test's own.
fn program(c: &Minicluster, home: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-tuner"));
    command.args(args).arg("--daemon-namespace").arg(home).arg("--kubeconfig").arg(c.kubeconfig());
    command
}

/// Exit code, standard output, standard error.
fn run(c: &Minicluster, home: &str, args: &[&str]) -> (i32, String, String) {
    let done = program(c, home, args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

/// What stands on the Lease.
fn annotation(c: &Minicluster, home: &str) -> Option<String> {
    let lease = c.kubectl_json(&["get", "lease", "-n", home, "probe-tuner"]);
    lease["metadata"]["annotations"]["probe-tuner.io/paused"].as_str().map(str::to_owned)
}

#[track_caller]
fn says(done: (i32, String, String), ending: &str) {
    let (code, out, err) = done;
    assert!(code == 0 && out.ends_with(&format!(": {ending}\n")) && err.is_empty(), "exit {code}: {out}{err}");
}

#[test]
#[ignore = "needs a control plane"]
fn a_pause_stands_on_the_lease_and_is_made_where_there_is_none() {
    let (c, home) = (Minicluster::shared(), "brake-words");
    c.namespace(home, &[]);
    says(run(c, home, &["resume", "-A"]), "nothing is paused (as before)");
    says(run(c, home, &["pause", "-n", "shop"]), "paused: shop");
    assert_eq!(annotation(c, home).as_deref(), Some("shop"));
    says(run(c, home, &["pause", "-n", "till", "-n", "shop"]), "paused: shop, till");
    says(run(c, home, &["pause", "-n", "till"]), "paused: shop, till (as before)");
    says(run(c, home, &["resume", "-n", "shop"]), "paused: till");
    assert_eq!(annotation(c, home).as_deref(), Some("till"));
    says(run(c, home, &["pause", "-A"]), "paused: every namespace");
    assert_eq!(annotation(c, home).as_deref(), Some("*"));
    let (code, out, err) = run(c, home, &["resume", "-n", "till"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        err.contains("cannot resume: everything is paused, not single namespaces\n\nhint: resume everything"),
        "{err}"
    );
    let (code, out, _) = run(c, home, &["resume", "-A", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let state = &document["contexts"][0];
    assert_eq!((code, &document["version"], &state["everywhere"]), (0, &1.into(), &false.into()));
    assert_eq!((&state["changed"], &state["namespaces"]), (&true.into(), &serde_json::json!([])));
    assert_eq!(annotation(c, home), None);
}

#[test]
#[ignore = "needs a control plane"]
fn people_who_pause_at_the_same_time_all_keep_their_word() {
    let (c, home) = (Minicluster::shared(), "brake-crowd");
    c.namespace(home, &[]);
    let names: Vec<String> = (0..6).map(|i| format!("shop-{i}")).collect();
    let started: Vec<Child> = names
        .iter()
        .map(|name| program(c, home, &["pause", "-n", name]).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in started {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    assert_eq!(annotation(c, home), Some(names.join(",")));
}

#[test]
#[ignore = "needs a control plane"]
fn a_word_that_cannot_be_read_pauses_everything_until_a_person_says_otherwise() {
    let (c, home) = (Minicluster::shared(), "brake-garbage");
    c.namespace(home, &[]);
    says(run(c, home, &["pause", "-n", "shop"]), "paused: shop");
    c.kubectl(&["annotate", "lease", "-n", home, "probe-tuner", "--overwrite", "probe-tuner.io/paused=shop till"]);
    let (code, _, err) = run(c, home, &["resume", "-n", "shop"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("probe-tuner.io/paused is \"shop till\", which cannot be read and pauses everything"),
        "{err}"
    );
    says(run(c, home, &["pause", "-n", "shop"]), "paused: every namespace");
    says(run(c, home, &["resume", "-A"]), "nothing is paused");
}

#[test]
#[ignore = "needs a control plane"]
fn who_may_not_write_the_lease_is_told_which_right_is_missing() {
    let (c, home) = (Minicluster::shared(), "brake-rights");
    c.namespace(home, &[]);
    c.kubectl(&["create", "serviceaccount", "-n", home, "guest"]);
    let token = c.kubectl(&["create", "token", "-n", home, "guest"]);
    let mut kubeconfig: serde_json::Value =
        serde_json::from_str(&c.kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
    kubeconfig["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
    let path = c.dir().join("guest.kubeconfig");
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-tuner"));
    let done = command.args(["pause", "-A", "--daemon-namespace", home, "--kubeconfig"]).arg(&path).output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(4), "{err}");
    assert!(err.contains("cannot pause (Lease brake-rights/probe-tuner)\n  cause: 403 Forbidden: "), "{err}");
    assert!(
        err.ends_with("hint: your account needs the right to get, create and patch leases in namespace brake-rights\n"),
        "{err}"
    );
}
