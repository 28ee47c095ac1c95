//! The watches: streams of small records. An object is turned into its record as it comes and then thrown away; nothing
//! here keeps a store.
//!
//! Pages of lists are small, so that not many whole objects are in memory at once. A broken watch is told and begins
//! anew with a growing pause (kube's default backoff: 0.8 s doubling to 30 s); what a new list does not hold any more is
//! gone.

use super::index::{Declared, List, News, Node, Reason, Running, ours};
use super::quantity::quantity;
use crate::annotations::{Annotations, Defaults, Rules};
use crate::objects;
use crate::policy::Permission;
use crate::units::{Name, Timestamp, Uid};
use crate::workload::{Workload, WorkloadKind};
use futures::stream::{BoxStream, SelectAll, StreamExt};
use k8s_openapi::api::core::v1::{Event, Namespace, Node as NodeObject, Pod};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event as Seen, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::IpAddr;
use tokio::sync::mpsc;

/// Objects a page of a list: a pod's object takes some 20 KiB while it is read, so a page takes 2 MiB.
const PAGE: u32 = 100;
/// Addresses of a node that are kept: a machine has a few of each family, and its kubelet writes the list.
const ADDRESSES: usize = 64;

/// What the watches tell.
#[derive(Debug)]
pub(super) enum Update {
    Spaces(List),
    SpaceIs { name: Name, uid: Option<String>, annotations: Annotations },
    SpaceGone(Name),
    NodeIs(Name, Node),
    NodesAre(BTreeSet<Name>),
    NodeGone(Name),
    Inside { name: Name, epoch: u64, news: News },
    Broken { resource: &'static str, why: String, refused: bool },
}

/// Sends what the stream tells, as fast as it is taken, until nobody takes it any more.
pub(super) async fn pump(mut stream: BoxStream<'static, Update>, to: mpsc::Sender<Update>) {
    while let Some(update) = stream.next().await {
        if to.send(update).await.is_err() {
            return;
        }
    }
}

/// All namespaces, as far as their metadata goes.
pub(super) fn namespaces(client: &Client) -> BoxStream<'static, Update> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    stream("namespaces", api, config(), |seen| {
        Some(match seen {
            Seen::Init => Update::Spaces(List::Begin),
            Seen::InitDone => Update::Spaces(List::Done),
            Seen::Apply(object) | Seen::InitApply(object) => Update::SpaceIs {
                name: object.name_any().into(),
                uid: object.metadata.uid.clone(),
                annotations: ours(object.annotations()),
            },
            Seen::Delete(object) => Update::SpaceGone(object.name_any().into()),
        })
    })
}

/// All nodes.
pub(super) fn nodes(client: &Client) -> BoxStream<'static, Update> {
    let mut listed = BTreeSet::new();
    stream("nodes", Api::<NodeObject>::all(client.clone()), config(), move |seen| {
        Some(match seen {
            Seen::Init => {
                listed = BTreeSet::new();
                return None;
            }
            Seen::InitDone => Update::NodesAre(std::mem::take(&mut listed)),
            Seen::InitApply(object) => {
                let name = Name::from(object.name_any());
                listed.insert(name.clone());
                Update::NodeIs(name, node(&object))
            }
            Seen::Apply(object) => Update::NodeIs(object.name_any().into(), node(&object)),
            Seen::Delete(object) => Update::NodeGone(object.name_any().into()),
        })
    })
}

/// All that is watched inside a namespace: its workloads, pods, and the Events about probes.
pub(super) fn inside(client: &Client, name: &Name, epoch: u64, defaults: &Defaults) -> BoxStream<'static, Update> {
    // The index puts in its place what the owners allow.
    let nobody = Rules::read(defaults, &Annotations::new(), &Annotations::new()).at(Timestamp::EPOCH, true);
    let space = name.clone();
    let streams: [BoxStream<'static, Update>; 6] = [
        workloads(client, &space, epoch, WorkloadKind::Deployment, "deployments", &nobody, objects::deployment),
        workloads(client, &space, epoch, WorkloadKind::StatefulSet, "statefulsets", &nobody, objects::stateful_set),
        workloads(client, &space, epoch, WorkloadKind::DaemonSet, "daemonsets", &nobody, objects::daemon_set),
        pods(client, &space, epoch),
        events(client, &space, epoch, Reason::Unhealthy),
        events(client, &space, epoch, Reason::Killing),
    ];
    streams.into_iter().collect::<SelectAll<_>>().boxed()
}

fn workloads<K>(
    client: &Client,
    space: &Name,
    epoch: u64,
    kind: WorkloadKind,
    resource: &'static str,
    nobody: &Permission,
    read: fn(&K, Permission) -> Option<Workload>,
) -> BoxStream<'static, Update>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let (nobody, space) = (nobody.clone(), space.clone());
    stream(resource, Api::<K>::namespaced(client.clone(), &space), config(), move |seen| {
        let news = match seen {
            Seen::Init => News::Workload(kind, List::Begin),
            Seen::InitDone => News::Workload(kind, List::Done),
            Seen::Apply(object) | Seen::InitApply(object) => {
                let record = read(&object, nobody.clone())?;
                News::WorkloadIs(Box::new(Declared { record, notes: ours(object.annotations()) }))
            }
            Seen::Delete(object) => News::WorkloadGone(kind, object.name_any().into()),
        };
        Some(Update::Inside { name: space.clone(), epoch, news })
    })
}

fn pods(client: &Client, space: &Name, epoch: u64) -> BoxStream<'static, Update> {
    let space = space.clone();
    stream("pods", Api::<Pod>::namespaced(client.clone(), &space), config(), move |seen| {
        let news = match seen {
            Seen::Init => News::Pods(List::Begin),
            Seen::InitDone => News::Pods(List::Done),
            Seen::Apply(object) | Seen::InitApply(object) => {
                let owner = objects::owner(&object)?;
                // Whose uid that is the index knows.
                let record = objects::pod(&object, Uid::from_bits(0))?;
                let reach = objects::reach(&object);
                News::PodIs(Box::new(Running { record, owner, reach }))
            }
            Seen::Delete(object) => News::PodGone(Uid::parse(object.metadata.uid.as_deref()?)?),
        };
        Some(Update::Inside { name: space.clone(), epoch, news })
    })
}

fn events(client: &Client, space: &Name, epoch: u64, reason: Reason) -> BoxStream<'static, Update> {
    let space = space.clone();
    let config = config().fields(&format!("involvedObject.kind=Pod,reason={}", reason.word()));
    stream("events", Api::<Event>::namespaced(client.clone(), &space), config, move |seen| {
        let news = match seen {
            Seen::Init => News::Events(reason, List::Begin),
            Seen::InitDone => News::Events(reason, List::Done),
            Seen::Apply(object) | Seen::InitApply(object) => News::EventIs(reason, Box::new(object)),
            Seen::Delete(object) => News::EventGone(reason, Box::new(object)),
        };
        Some(Update::Inside { name: space.clone(), epoch, news })
    })
}

fn config() -> Config {
    Config::default().page_size(PAGE)
}

/// A watch as a stream of what `read` makes of it.
fn stream<K>(
    resource: &'static str,
    api: Api<K>,
    config: Config,
    mut read: impl FnMut(Seen<K>) -> Option<Update> + Send + 'static,
) -> BoxStream<'static, Update>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher(api, config).default_backoff();
    events
        .filter_map(move |event| {
            let update = match event {
                Ok(seen) => read(seen),
                Err(error) => {
                    let (why, refused) = broken(resource, &error);
                    Some(Update::Broken { resource, why, refused })
                }
            };
            std::future::ready(update)
        })
        .boxed()
}

/// The error of a watch in words, a missing right with its rule; and whether the API server refused it, so that asking
/// again is of no use.
fn broken(resource: &str, error: &watcher::Error) -> (String, bool) {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(s))
        | watcher::Error::WatchStartFailed(kube::Error::Api(s)) => Some(s),
        watcher::Error::WatchError(status) => Some(status),
        _ => None,
    };
    let why = status.map_or_else(|| error.to_string(), |s| format!("{} {}: {}", s.code, s.reason, s.message.trim()));
    match status.map_or(0, |s| s.code) {
        403 => {
            let group = if resource.ends_with("sets") || resource == "deployments" { ".apps" } else { "" };
            let rule = format!("list and watch on {resource}{group} (ClusterRole probe-tuner-read)");
            (format!("{why}; hint: the daemon's account needs {rule}"), true)
        }
        401 => (format!("{why}; hint: the API server does not know who asks: log in again"), true),
        _ => (why, false),
    }
}

fn node(object: &NodeObject) -> Node {
    let status = object.status.as_ref();
    let port = status
        .and_then(|s| s.daemon_endpoints.as_ref()?.kubelet_endpoint.as_ref())
        .and_then(|e| u16::try_from(e.port).ok())
        .filter(|port| *port > 0);
    let addresses = || status.into_iter().flat_map(|s| s.addresses.iter().flatten());
    // The kubelet's certificate names its InternalIP first of all; Hostname is what is left where there is none.
    let address = ["InternalIP", "Hostname"].iter().find_map(|kind| addresses().find(|a| a.type_ == *kind));
    let known: BTreeSet<IpAddr> = addresses().filter_map(|a| a.address.parse().ok()).take(ADDRESSES).collect();
    Node {
        addresses: known.into_iter().collect(),
        kubelet: address.map(|a| Name::from(&*a.address)).zip(port),
        allocatable_cores: status.and_then(|s| quantity(&s.allocatable.as_ref()?.get("cpu")?.0)),
    }
}
