//! One pass where the API server refuses: said at once, with the rule that is missing, and not after a minute of silence.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "support/scripted.rs"]
#[expect(dead_code, reason = "it needs no script in order")]
mod scripted;

use probe_tuner::config::{self, Sources};
use probe_tuner::run::daemon::{Error, Setup};
use probe_tuner::run::recommend::{Scope, recommend};
use scripted::{Answer, Server, ok, refuse};
use serde_json::{Value, json};
use std::time::Duration;

/// A cluster of one empty namespace, in which requests whose line has `refused` in it are answered with `code`.
fn refusing(refused: &'static str, code: u16) -> Setup {
    let server = Server::answering(move |seen| {
        let (path, query) = seen.line.split_once('?').unwrap_or((&seen.line, ""));
        let list = |items: Value| ok(json!({"metadata": {"resourceVersion": "1"}, "items": items}));
        match path {
            _ if path.contains(refused) => refuse(code, "no"),
            _ if query.contains("watch=true") => Answer::Hang,
            "GET /api/v1/namespaces" => list(json!([{"metadata": {"name": "shop", "uid": "n"}}])),
            _ => list(json!([])),
        }
    });
    Setup { config: config::parse(&Sources::default()).unwrap(), client: server.client(), roots: Vec::new() }
}

async fn look(setup: &Setup, seconds: u64) -> Result<Vec<String>, Error> {
    let pass = recommend(setup, Scope::Named(["shop".into()].into()), Duration::from_secs(seconds)).await;
    pass.map(|p| p.warnings)
}

#[tokio::test]
async fn a_list_that_is_refused_ends_the_pass_with_the_rule_that_is_missing() {
    for (refused, rule) in [
        (
            "/api/v1/namespaces/shop/pods",
            "pods cannot be read: 403 Forbidden: no; hint: your account needs list and watch on pods",
        ),
        (
            "shop/deployments",
            "deployments cannot be read: 403 Forbidden: no; hint: your account needs list and watch on deployments.apps",
        ),
    ] {
        match look(&refusing(refused, 403), 60).await {
            Err(Error::Refused(why)) => assert!(why.iter().any(|w| w.starts_with(rule)), "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_is_not_known_is_told_to_log_in() {
    match look(&refusing("shop/pods", 401), 60).await {
        Err(Error::Refused(why)) => assert!(why.iter().any(|w| w.contains("log in again")), "{why:?}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nodes_that_are_refused_leave_an_answer_without_their_kubelets() {
    match look(&refusing("GET /api/v1/nodes", 403), 60).await {
        Ok(warnings) => assert!(warnings.iter().any(|w| w.starts_with("nodes cannot be read: 403")), "{warnings:?}"),
        Err(e) => panic!("{e}"),
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_until_the_time_is_over() {
    match look(&refusing("shop/pods", 500), 3).await {
        Err(Error::NotInTime(..)) => {}
        other => panic!("{other:?}"),
    }
}
