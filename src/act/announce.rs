//! Kubernetes Events on the objects that we have something to say about: a change, a refusal, a mistake in an annotation.
//!
//! An Event is a courtesy: it is sent once and never tried again. The same words about the same object are one Event,
//! whose series counts them, written at most once in ten minutes. Everything has a bound: what waits, how fast it is
//! sent, what is remembered; what is dropped is counted.
//!
//! An Event about a Namespace lies in the namespace `default`, as those of the cluster's own controllers do.

use crate::cluster::{Call, Failure, Patience};
use crate::units::{NANOS, Name, Span, Timestamp};
use kube::Client;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// Most announcements that wait to be sent.
const WAITING: usize = 256;

/// So many may go out at once,
const BURST: u32 = 25;

/// and then one in this time: what the kubelet allows itself for one object, we allow ourselves for all.
const REFILL: Duration = Duration::from_secs(6);

/// How long the same words are the same Event, and how often its series is written.
const SAME: Span = Span::HOUR;
const SERIES: Span = Span::from_seconds(600);

/// Most Events that are remembered, to be counted on.
const REMEMBERED: usize = 1_000;

/// The longest note that the API takes, in bytes.
const LONGEST_NOTE: usize = 1_024;

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Regarding {
    /// `apps/v1`, `v1`.
    pub api_version: &'static str,
    /// `Deployment`, `Namespace`.
    pub kind: &'static str,
    /// `None` for a Namespace.
    pub namespace: Option<Name>,
    /// Its name.
    pub name: Name,
    /// Its uid.
    pub uid: Name,
}

/// Something to be said about an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announcement {
    /// About what.
    pub regarding: Regarding,
    /// Somebody should do something about it.
    pub warning: bool,
    /// A word in CamelCase: `ProbesChanged`, `AnnotationUnreadable`. At most 128 characters.
    pub reason: &'static str,
    /// In words; cut to 1,024 bytes.
    pub note: String,
}

/// Takes announcements. Cheap to clone, never waits.
#[derive(Clone, Debug)]
pub struct Announcer {
    queue: mpsc::Sender<Announcement>,
    dropped: Arc<AtomicU64>,
}

impl Announcer {
    /// Hands an announcement over; it is dropped and counted when too many wait.
    pub fn announce(&self, announcement: Announcement) {
        if self.queue.try_send(announcement).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were dropped or refused since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// An announcer and the task that sends, which ends when the last announcer is gone. `instance` is the daemon's pod.
pub fn announcer(
    client: Client,
    limits: Patience,
    instance: Name,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
) -> (Announcer, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(WAITING);
    let dropped = Arc::<AtomicU64>::default();
    let crier = Crier { client, limits, instance, clock, said: BTreeMap::new(), dropped: dropped.clone() };
    (Announcer { queue, dropped }, crier.run(waiting))
}

struct Crier {
    client: Client,
    limits: Patience,
    instance: Name,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    said: BTreeMap<Announcement, Said>,
    dropped: Arc<AtomicU64>,
}

/// An Event that was written.
struct Said {
    name: String,
    first: Timestamp,
    written: Timestamp,
    count: u32,
}

impl Crier {
    async fn run(mut self, mut waiting: mpsc::Receiver<Announcement>) {
        // A bucket of `BURST` that fills by one in `REFILL`, kept as the moment when it was, or will be, empty.
        let full = REFILL * BURST;
        let mut empty_at = Instant::now();
        while let Some(announcement) = waiting.recv().await {
            let Some(call) = self.call(announcement) else { continue };
            let now = Instant::now();
            empty_at = empty_at.max(now) + REFILL;
            if empty_at > now + full {
                sleep_until(empty_at - full).await;
            }
            if let Err(failure) = call.send(&self.client, self.limits).await {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(kind = failure.kind(), why = %failure, hint = hint(&failure), "an Event was not taken");
            }
        }
    }

    /// What is to be written for it, if anything.
    fn call(&mut self, mut announcement: Announcement) -> Option<Call> {
        let now = (self.clock)();
        let end = announcement.note.floor_char_boundary(LONGEST_NOTE);
        announcement.note.truncate(end);
        let space = announcement.regarding.namespace.clone().unwrap_or_else(|| Name::from("default"));
        let path = format!("/apis/events.k8s.io/v1/namespaces/{space}/events");
        if let Some(said) = self.said.get_mut(&announcement).filter(|said| now.since(said.first) < SAME) {
            said.count = said.count.saturating_add(1);
            if now.since(said.written) < SERIES {
                return None;
            }
            said.written = now;
            let series = json!({"series": {"count": said.count, "lastObservedTime": micro_time(now)}});
            return Some(Call::merge_patch(&format!("{path}/{}", said.name), &series));
        }
        let name = format!("{}.{:x}", announcement.regarding.name, now.nanos());
        let call = Call::create(&path, &event(&announcement, &self.instance, &space, &name, now));
        if self.said.len() >= REMEMBERED {
            let oldest = self.said.iter().min_by_key(|(_, said)| said.written).map(|(a, _)| a.clone());
            oldest.and_then(|oldest| self.said.remove(&oldest));
        }
        self.said.insert(announcement, Said { name, first: now, written: now, count: 1 });
        Some(call)
    }
}

fn event(announcement: &Announcement, instance: &str, space: &str, name: &str, now: Timestamp) -> Value {
    let Announcement { regarding, warning, reason, note } = announcement;
    let mut about = json!({"apiVersion": regarding.api_version, "kind": regarding.kind,
        "name": &*regarding.name, "uid": &*regarding.uid});
    if let Some(namespace) = &regarding.namespace {
        about["namespace"] = json!(&**namespace);
    }
    json!({
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": space},
        "eventTime": micro_time(now),
        "reportingController": "probe-tuner.io/daemon",
        "reportingInstance": instance,
        "action": "Tune",
        "reason": reason,
        "type": if *warning { "Warning" } else { "Normal" },
        "regarding": about,
        "note": note,
    })
}

/// RFC 3339 with exactly six digits, as the API's MicroTime wants it.
fn micro_time(at: Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(at.floor_seconds()).expect("64 bits of nanoseconds end in 2262");
    let micros = at.nanos().rem_euclid(NANOS) / 1_000;
    format!("{}.{micros:06}Z", whole.strftime("%Y-%m-%dT%H:%M:%S"))
}

fn hint(failure: &Failure) -> &'static str {
    match failure.code() {
        Some(403) => {
            "the daemon's account needs create and patch on events.events.k8s.io (ClusterRole probe-tuner-own)"
        }
        _ => "",
    }
}
