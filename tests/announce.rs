//! The Events that we write: how they look, how the same words become one, and that nothing waits for them.
#![expect(clippy::unwrap_used, reason = "tests")]

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "support/scripted.rs"]
mod scripted;

use probe_tuner::act::{Announcement, Regarding, announcer};
use probe_tuner::cluster::Patience;
use probe_tuner::units::Timestamp;
use scripted::{Server, ok, refuse};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn deployment(note: &str) -> Announcement {
    Announcement {
        regarding: Regarding {
            api_version: "apps/v1",
            kind: "Deployment",
            namespace: Some("shop".into()),
            name: "web".into(),
            uid: "u".into(),
        },
        warning: false,
        reason: "ProbesChanged",
        note: note.into(),
    }
}

/// Sends each at its second and gives what the server saw.
async fn say(server: &Server, said: Vec<(i64, Announcement)>) -> u64 {
    let now = Arc::new(AtomicI64::new(0));
    let clock = now.clone();
    let clock = Arc::new(move || Timestamp::from_nanos(clock.load(Ordering::Relaxed)));
    let (announcer, task) = announcer(server.client(), Patience::default(), "pod-1".into(), clock);
    let task = tokio::spawn(task);
    for (second, announcement) in said {
        now.store(second * 1_000_000_000 + 5_000, Ordering::Relaxed);
        announcer.announce(announcement);
        // One thread: the task runs until it has nothing more to do.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }
    let watcher = announcer.clone();
    drop(announcer);
    let dropped = watcher.dropped();
    drop(watcher);
    task.await.unwrap();
    dropped
}

#[tokio::test]
async fn an_event_says_who_what_and_when() {
    let server = Server::new([ok(json!({}))]);
    say(&server, vec![(1, deployment("liveness 10/1/3 -> 10/10/2"))]).await;
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /apis/events.k8s.io/v1/namespaces/shop/events?fieldManager=probe-tuner");
    assert_eq!(
        seen[0].body,
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": "web.3b9add88", "namespace": "shop"},
            "eventTime": "1970-01-01T00:00:01.000005Z",
            "reportingController": "probe-tuner.io/daemon", "reportingInstance": "pod-1",
            "action": "Tune", "reason": "ProbesChanged", "type": "Normal",
            "regarding": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "u"},
            "note": "liveness 10/1/3 -> 10/10/2",
        })
    );
}

#[tokio::test]
async fn an_event_about_a_namespace_lies_in_default() {
    let server = Server::new([ok(json!({}))]);
    let mut about = deployment("x");
    about.regarding =
        Regarding { api_version: "v1", kind: "Namespace", namespace: None, name: "shop".into(), uid: "u".into() };
    about.warning = true;
    say(&server, vec![(1, about)]).await;
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /apis/events.k8s.io/v1/namespaces/default/events?fieldManager=probe-tuner");
    assert_eq!((&seen[0].body["type"], &seen[0].body["regarding"]["namespace"]), (&json!("Warning"), &json!(null)));
}

#[tokio::test]
async fn the_same_words_are_counted_and_other_words_are_another_event() {
    let server = Server::new((0..9).map(|_| ok(json!({}))));
    let again = || deployment("a");
    let said = vec![(0, again()), (10, again()), (20, deployment("b")), (30, again()), (700, again()), (4000, again())];
    assert_eq!(say(&server, said).await, 0);
    let seen = server.seen();
    let create = "POST /apis/events.k8s.io/v1/namespaces/shop/events?fieldManager=probe-tuner";
    let patch = "PATCH /apis/events.k8s.io/v1/namespaces/shop/events/web.1388?fieldManager=probe-tuner";
    assert_eq!(server.lines(), [create, create, patch, create]);
    assert_eq!(seen[2].body, json!({"series": {"count": 4, "lastObservedTime": "1970-01-01T00:11:40.000005Z"}}));
}

#[tokio::test]
async fn a_refused_event_is_counted_and_not_tried_again() {
    let server = Server::new([refuse(403, "no right"), ok(json!({}))]);
    assert_eq!(say(&server, vec![(0, deployment("a")), (1, deployment("b"))]).await, 1);
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn a_flood_is_bounded_and_what_is_dropped_is_counted() {
    let server = Server::new([]);
    let clock = Arc::new(|| Timestamp::EPOCH);
    let (announcer, _task) = announcer(server.client(), Patience::default(), "pod-1".into(), clock);
    for i in 0..1_000 {
        announcer.announce(deployment(&i.to_string()));
    }
    assert_eq!(announcer.dropped(), 1_000 - 256);
}
