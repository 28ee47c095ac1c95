//! Usage as `metrics.k8s.io` has it: listed each interval, for it has no watch.
//!
//! A pod that is not in the list is unknown, never zero: it may be too young, just restarted, or its node unreachable.
//! Where the API is not there at all that is told once, and everything else goes on.
//!
//! Facts: `kubernetes-sigs/metrics-server`, v0.7: `timestamp` is the end of the window over which CPU is averaged.

use super::quantity::quantity;
use super::{Closed, Notice, Shared};
use crate::annotations::moment;
use crate::cluster::{Call, Failure, Patience};
use crate::observation::{Fact, Usage};
use crate::units::{Name, Timestamp};
use k8s_metrics::v1beta1::{NodeMetrics, PodMetrics, Usage as Used};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// An aggregated API answers slowly or not at all when its server is away.
const LIMITS: Patience = Patience { answer: Duration::from_secs(10), patience: Duration::from_secs(5) };

const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";

/// Reads usage each interval, for ever.
pub(super) async fn run(client: Client, every: Duration, shared: Shared) {
    let mut progress = shared.progress.subscribe();
    // An error means that observing has ended, and this task with it.
    if progress.wait_for(|p| p.full).await.is_err() {
        return;
    }
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut missing = false;
    loop {
        tick.tick().await;
        match read(&client, &shared).await {
            Ok(()) if missing => {
                missing = false;
                shared.note(Notice::UsageBack);
            }
            Ok(()) => {}
            Err(Stopped::Closed) => return,
            Err(Stopped::Failed(failure)) => {
                if !missing {
                    missing = true;
                    shared.note(Notice::UsageMissing { kind: failure.kind(), why: why(&failure) });
                }
            }
        }
        shared.reached(|p| &mut p.used);
    }
}

enum Stopped {
    Closed,
    Failed(Failure),
}

impl From<Closed> for Stopped {
    fn from(_: Closed) -> Self {
        Stopped::Closed
    }
}

async fn read(client: &Client, shared: &Shared) -> Result<(), Stopped> {
    let spaces = shared.index().watched();
    if spaces.is_empty() {
        return Ok(());
    }
    for space in spaces {
        for pod in list::<PodMetrics>(client, &format!("{ROOT}/namespaces/{space}/pods")).await? {
            let Some(name) = &pod.metadata.name else { continue };
            let Some(uid) = shared.index().pod(&space, name) else { continue };
            let usages = pod.containers.iter().map(|c| &c.usage);
            if let Some(usage) = usage(moment(pod.timestamp.0), usages) {
                shared.tell(shared.now(), vec![Fact::PodUsage { pod: uid, usage }]).await?;
            }
        }
    }
    let ours = shared.index().targets();
    for node in list::<NodeMetrics>(client, &format!("{ROOT}/nodes")).await? {
        let Some(name) = node.metadata.name.as_ref().filter(|n| ours.contains_key(n.as_str())) else { continue };
        let Some(usage) = usage(moment(node.timestamp.0), [&node.usage]) else { continue };
        let allocatable_cores = shared.index().node(name).and_then(|n| n.allocatable_cores);
        let fact = Fact::NodeUsage { node: Name::from(&**name), usage, allocatable_cores };
        shared.tell(shared.now(), vec![fact]).await?;
    }
    Ok(())
}

/// The items of a list that can be read; one that cannot is as if it were absent.
async fn list<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Vec<T>, Stopped> {
    let mut answer = Call::get(path).send(client, LIMITS).await.map_err(Stopped::Failed)?;
    let Some(Value::Array(items)) = answer.get_mut("items").map(Value::take) else { return Ok(Vec::new()) };
    Ok(items.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect())
}

/// The sum over containers; `None` if any of them cannot be read, since a sum without it would be too small.
fn usage<'a>(until: Timestamp, usages: impl IntoIterator<Item = &'a Used>) -> Option<Usage> {
    let mut sum = Usage { until, cores: 0.0, working_set: 0 };
    let mut any = false;
    for usage in usages {
        any = true;
        sum.cores += quantity(&usage.cpu.0)?;
        // Whole bytes: below 2^53, so the conversion is exact.
        sum.working_set = sum.working_set.saturating_add(quantity(&usage.memory.0)?.round() as u64);
    }
    any.then_some(sum)
}

fn why(failure: &Failure) -> String {
    let hint = match failure.code() {
        Some(403) => {
            "hint: the daemon's account needs get and list on pods and nodes of metrics.k8s.io (ClusterRole probe-tuner-read)"
        }
        Some(404) => "hint: this cluster has no metrics-server; usage stays unknown, and so do starved pods",
        Some(503) => "hint: metrics-server is away; see `kubectl get apiservice v1beta1.metrics.k8s.io`",
        _ => return format!("metrics.k8s.io does not answer: {failure}"),
    };
    format!("metrics.k8s.io does not answer: {failure}; {hint}")
}
