//! What is known of the watched namespaces, and which facts an update of it makes: plain memory, filled by hand in tests.
//!
//! Only what is opted in is kept. A fact is told when a record differs from the one told before, so a relist or a
//! heartbeat tells nothing; an object that a list does not hold any more is gone, whether or not a deletion was seen.

use super::event::Counts;
use super::{Notice, Subject};
use crate::annotations::{Annotations, Defaults, PREFIX, Pause, Rules, message};
use crate::objects::{Endpoint, Owner, Reach};
use crate::observation::Fact;
use crate::policy::Mode;
use crate::units::{Name, Timestamp, Uid};
use crate::workload::{Address, Pod, Workload, WorkloadKind};
use k8s_openapi::api::core::v1::Event;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

mod reach;

/// Which namespaces are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those whose annotation opts them in: the daemon.
    OptedIn,
    /// These, whatever they say: a person asks for a recommendation.
    Named(BTreeSet<Name>),
    /// All but the excluded.
    All,
}

/// A node, as far as it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where its kubelet listens: an address of its status, and the port that it names there.
    pub kubelet: Option<(Name, u16)>,
    /// All addresses of its status, of every type, each once: none of them is a pod's own. At most 64.
    pub addresses: Vec<IpAddr>,
    /// `status.allocatable.cpu`, in cores.
    pub allocatable_cores: Option<f64>,
}

/// A list of a watch: what it holds is seen, what it does not hold is gone at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Begin,
    Done,
}

/// A workload as it came, without anybody's permission yet.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    pub(super) record: Workload,
    pub(super) notes: Annotations,
}

/// A pod as it came, with whose it says it is.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) record: Pod,
    pub(super) owner: Owner,
    pub(super) reach: Reach,
}

/// One piece of news out of a watched namespace.
#[derive(Debug)]
pub(super) enum News {
    Workload(WorkloadKind, List),
    WorkloadIs(Box<Declared>),
    WorkloadGone(WorkloadKind, Name),
    Pods(List),
    PodIs(Box<Running>),
    PodGone(Uid),
    Events(Reason, List),
    EventIs(Reason, Box<Event>),
    EventGone(Reason, Box<Event>),
}

/// The two reasons of Events that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Unhealthy,
    Killing,
}

impl Reason {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Reason::Unhealthy => "Unhealthy",
            Reason::Killing => "Killing",
        }
    }
}

/// What an update makes.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Made {
    pub(super) facts: Vec<Fact>,
    pub(super) notices: Vec<Notice>,
}

/// The whole memory.
#[derive(Debug)]
pub(super) struct Index {
    defaults: Defaults,
    scope: Scope,
    excluded: BTreeSet<Name>,
    paused: Pause,
    spaces: BTreeMap<Name, Space>,
    nodes: BTreeMap<Name, Node>,
}

/// A namespace that is looked at or could be.
#[derive(Debug, Default)]
struct Space {
    notes: Annotations,
    told: Vec<String>,
    seen: bool,
    watched: bool,
    workloads: BTreeMap<(WorkloadKind, Name), Entry>,
    pods: HashMap<Uid, PodEntry>,
    names: HashMap<Name, Uid>,
    events: [Counts; 2],
    lists: Lists,
}

/// Which first lists are complete.
#[derive(Debug, Default)]
struct Lists {
    workloads: BTreeSet<WorkloadKind>,
    pods: bool,
}

#[derive(Debug)]
struct Entry {
    declared: Declared,
    rules: Rules,
    told: Vec<String>,
    seen: bool,
    /// Of its last pod: replicas share them.
    endpoints: Arc<[Endpoint]>,
}

#[derive(Debug)]
struct PodEntry {
    running: Running,
    told: bool,
    seen: bool,
}

/// The workload watches of a namespace.
const KINDS: [WorkloadKind; 3] = [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet];

impl Index {
    pub(super) fn new(defaults: Defaults, scope: Scope, excluded: BTreeSet<Name>) -> Self {
        // Until the Lease has been read nobody knows that nothing is paused.
        let (spaces, nodes) = (BTreeMap::new(), BTreeMap::new());
        Index { defaults, scope, excluded, paused: Pause::Everywhere, spaces, nodes }
    }

    /// A list of namespaces begins.
    pub(super) fn spaces_begin(&mut self) {
        self.spaces.values_mut().for_each(|s| s.seen = false);
    }

    /// It is over: what it did not hold is gone.
    pub(super) fn spaces_done(&mut self) -> Made {
        let gone: Vec<Name> = self.spaces.iter().filter(|(_, s)| !s.seen).map(|(n, _)| n.clone()).collect();
        let mut made = Made::default();
        for name in gone {
            made.facts.extend(self.space_gone(&name).facts);
        }
        made
    }

    /// A namespace as it is now. Its watches are to be started or stopped as [`Index::watched`] then says.
    pub(super) fn space_is(
        &mut self,
        name: &Name,
        uid: Option<&str>,
        annotations: &Annotations,
        now: Timestamp,
    ) -> Made {
        let notes = ours(annotations);
        let rules = Rules::read(&self.defaults, &notes, &Annotations::new());
        let excluded = self.excluded.contains(name);
        let watched = !excluded
            && match &self.scope {
                Scope::OptedIn => rules.mode() > Mode::Off,
                Scope::Named(names) => names.contains(name),
                Scope::All => true,
            };
        let space = self.spaces.entry(name.clone()).or_default();
        space.seen = true;
        let changed = space.notes != notes;
        space.notes = notes;
        let mut made = Made::default();
        let messages: Vec<String> = complaints(&rules, true);
        if messages != space.told && !excluded {
            let subject =
                Subject { kind: "Namespace", namespace: None, name: name.clone(), uid: uid.unwrap_or("").into() };
            made.notices
                .extend(messages.iter().map(|m| Notice::Annotation { subject: subject.clone(), message: m.clone() }));
            space.told = messages;
        }
        if space.watched && !watched {
            made.facts.extend(space.switch_off());
            made.facts.extend(space.forget());
        } else if watched && changed {
            let (defaults, paused) = (&self.defaults, self.paused.covers(name));
            for entry in space.workloads.values_mut() {
                entry.rules = Rules::read(defaults, &space.notes, &entry.declared.notes);
                made.facts.extend(entry.allow(now, paused));
            }
        }
        space.watched = watched;
        made
    }

    /// A namespace is gone, and all that was in it.
    pub(super) fn space_gone(&mut self, name: &Name) -> Made {
        let facts = self.spaces.remove(name).map(|mut space| space.forget()).unwrap_or_default();
        Made { facts, notices: Vec::new() }
    }

    /// The namespaces whose insides are watched.
    pub(super) fn watched(&self) -> BTreeSet<Name> {
        self.spaces.iter().filter(|(_, s)| s.watched).map(|(n, _)| n.clone()).collect()
    }

    /// Whether the first lists of all watched namespaces are complete.
    pub(super) fn full(&self) -> bool {
        self.spaces.values().all(|s| !s.watched || s.lists.pods && s.lists.workloads.len() == KINDS.len())
    }

    /// The word of the Lease has changed.
    pub(super) fn pause(&mut self, paused: Pause, now: Timestamp) -> Vec<Fact> {
        self.paused = paused;
        self.allow_all(now, |_| true)
    }

    /// Time has passed: windows may have opened or closed.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Fact> {
        self.allow_all(now, |entry| entry.changes_at().is_some_and(|at| at <= now))
    }

    fn allow_all(&mut self, now: Timestamp, which: impl Fn(&Entry) -> bool) -> Vec<Fact> {
        let mut facts = Vec::new();
        for (name, space) in &mut self.spaces {
            let paused = self.paused.covers(name);
            for entry in space.workloads.values_mut().filter(|e| which(e)) {
                facts.extend(entry.allow(now, paused));
            }
        }
        facts
    }

    /// News out of a namespace; none of one that is not watched (any more).
    pub(super) fn news(&mut self, name: &Name, news: News, now: Timestamp) -> Made {
        let Some(space) = self.spaces.get_mut(name).filter(|s| s.watched) else { return Made::default() };
        let facts = match news {
            News::WorkloadIs(declared) => {
                return space.workload_is(*declared, &self.defaults, now, self.paused.covers(name));
            }
            News::Workload(kind, List::Begin) => {
                space.workloads.iter_mut().filter(|((k, _), _)| *k == kind).for_each(|(_, e)| e.seen = false);
                Vec::new()
            }
            News::Workload(kind, List::Done) => {
                space.lists.workloads.insert(kind);
                let gone = space.workloads.iter().filter(|((k, _), e)| *k == kind && !e.seen);
                let gone: Vec<Name> = gone.map(|((_, n), _)| n.clone()).collect();
                gone.into_iter().flat_map(|n| space.workload_gone(kind, n)).collect()
            }
            News::WorkloadGone(kind, workload) => space.workload_gone(kind, workload),
            News::Pods(List::Begin) => {
                space.pods.values_mut().for_each(|p| p.seen = false);
                Vec::new()
            }
            News::Pods(List::Done) => {
                space.lists.pods = true;
                let mut gone: Vec<Uid> = space.pods.iter().filter(|(_, p)| !p.seen).map(|(u, _)| *u).collect();
                gone.sort_unstable();
                gone.into_iter().flat_map(|uid| space.pod_gone(uid)).collect()
            }
            News::PodIs(running) => space.pod_is(*running),
            News::PodGone(uid) => space.pod_gone(uid),
            News::Events(reason, List::Begin) => {
                space.events[reason as usize].begin();
                Vec::new()
            }
            News::Events(reason, List::Done) => {
                space.events[reason as usize].done();
                Vec::new()
            }
            News::EventIs(reason, event) => space.events[reason as usize].apply(&event),
            News::EventGone(reason, event) => {
                space.events[reason as usize].gone(&event);
                Vec::new()
            }
        };
        Made { facts, notices: Vec::new() }
    }

    /// A node as it is now.
    pub(super) fn node_is(&mut self, name: Name, node: Node) {
        self.nodes.insert(name, node);
    }

    /// Only these nodes are left.
    pub(super) fn nodes_are(&mut self, names: &BTreeSet<Name>) {
        self.nodes.retain(|name, _| names.contains(name));
    }

    /// A node is gone.
    pub(super) fn node_gone(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// The node of this name.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The nodes that hold pods of ours, with where their kubelets listen.
    pub(super) fn targets(&self) -> BTreeMap<Name, Option<(Name, u16)>> {
        let pods = self.spaces.values().flat_map(|s| s.pods.values()).filter(|p| p.told);
        let names: BTreeSet<&Name> = pods.filter_map(|p| p.running.record.node.as_ref()).collect();
        names.into_iter().map(|n| (n.clone(), self.nodes.get(n).and_then(|node| node.kubelet.clone()))).collect()
    }

    /// The pod of this name, if it is ours and runs on this node.
    pub(super) fn pod_on(&self, node: &str, namespace: &str, name: &str) -> Option<Uid> {
        let space = self.spaces.get(namespace)?;
        let uid = *space.names.get(name)?;
        let entry = space.pods.get(&uid).filter(|p| p.told)?;
        (entry.running.record.node.as_deref() == Some(node)).then_some(uid)
    }

    /// The pod of this name, if it is ours.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Uid> {
        let space = self.spaces.get(namespace)?;
        let uid = *space.names.get(name)?;
        space.pods.get(&uid).filter(|p| p.told).map(|_| uid)
    }

    /// Deployments that are known, to try the fence on: at most `most`.
    pub(super) fn deployments(&self, most: usize) -> Vec<Address> {
        let entries = self.spaces.values().flat_map(|s| s.workloads.values());
        let of = entries.map(|e| &e.declared.record.address).filter(|a| a.kind == WorkloadKind::Deployment);
        of.take(most).cloned().collect()
    }

    /// Events that were not followed because a namespace has too many.
    pub(super) fn events_dropped(&self) -> u64 {
        self.spaces.values().flat_map(|s| &s.events).map(|c| c.dropped).sum()
    }
}

impl Space {
    fn workload_is(&mut self, declared: Declared, defaults: &Defaults, now: Timestamp, paused: bool) -> Made {
        let rules = Rules::read(defaults, &self.notes, &declared.notes);
        let Address { namespace, kind, name } = declared.record.address.clone();
        let uid = declared.record.uid;
        let mut made = Made::default();
        // The same name and another uid: another workload, whose pods are not those of the one before.
        if self.workloads.get(&(kind, name.clone())).is_some_and(|e| e.declared.record.uid != uid) {
            made.facts.extend(self.workload_gone(kind, name.clone()));
        }
        let messages = complaints(&rules, false);
        let fresh = Entry { declared, rules, told: Vec::new(), seen: true, endpoints: Arc::default() };
        let entry = match self.workloads.entry((kind, name.clone())) {
            std::collections::btree_map::Entry::Vacant(place) => {
                let entry = place.insert(fresh);
                entry.declared.record.permission = entry.rules.at(now, paused);
                made.facts.push(Fact::Workload(Box::new(entry.declared.record.clone())));
                entry
            }
            std::collections::btree_map::Entry::Occupied(place) => {
                let entry = place.into_mut();
                let messages_told = std::mem::take(&mut entry.told);
                let told = std::mem::replace(entry, Entry { told: messages_told, ..fresh });
                entry.declared.record.permission = entry.rules.at(now, paused);
                if entry.declared.record != told.declared.record {
                    made.facts.push(Fact::Workload(Box::new(entry.declared.record.clone())));
                }
                entry
            }
        };
        if messages != entry.told {
            let subject = Subject {
                kind: kind.name(),
                namespace: Some(namespace),
                name: name.clone(),
                uid: uid.to_string().into(),
            };
            made.notices
                .extend(messages.iter().map(|m| Notice::Annotation { subject: subject.clone(), message: m.clone() }));
            entry.told = messages;
        }
        // Pods that came before their workload.
        let mut waiting: Vec<&mut PodEntry> =
            self.pods.values_mut().filter(|p| !p.told && p.belongs(kind, &name)).collect();
        waiting.sort_by_key(|p| p.running.record.uid);
        for pod in waiting {
            made.facts.push(pod.tell(uid));
        }
        made
    }

    fn workload_gone(&mut self, kind: WorkloadKind, name: Name) -> Vec<Fact> {
        let Some(entry) = self.workloads.remove(&(kind, name.clone())) else { return Vec::new() };
        // Its pods stay in memory: they may be another's soon.
        self.pods.values_mut().filter(|p| p.belongs(kind, &name)).for_each(|p| p.told = false);
        vec![Fact::WorkloadGone(entry.declared.record.uid)]
    }

    fn pod_is(&mut self, mut running: Running) -> Vec<Fact> {
        let uid = running.record.uid;
        // Of two pods of one name the one without a deletion is the present one; else the later.
        let before = self.names.get(&running.record.name).and_then(|u| self.pods.get(u));
        let stays = before.is_some_and(|p| {
            p.running.record.uid != uid && !p.running.record.terminating && running.record.terminating
        });
        if !stays {
            self.names.insert(running.record.name.clone(), uid);
        }
        let workload = self.workloads.get_mut(&(running.owner.kind, running.owner.name.clone()));
        let workload = workload.map(|e| {
            if e.endpoints == running.reach.endpoints {
                running.reach.endpoints = e.endpoints.clone();
            } else {
                e.endpoints = running.reach.endpoints.clone();
            }
            e.declared.record.uid
        });
        let told = self.pods.insert(uid, PodEntry { running, told: false, seen: true });
        let (Some(entry), Some(workload)) = (self.pods.get_mut(&uid), workload) else { return Vec::new() };
        let fact = entry.tell(workload);
        let same = told.is_some_and(|before| before.told && before.running.record == entry.running.record);
        if same { Vec::new() } else { vec![fact] }
    }

    fn pod_gone(&mut self, uid: Uid) -> Vec<Fact> {
        let Some(entry) = self.pods.remove(&uid) else { return Vec::new() };
        if self.names.get(&entry.running.record.name) == Some(&uid) {
            self.names.remove(&entry.running.record.name);
        }
        entry.told.then_some(Fact::PodGone(uid)).into_iter().collect()
    }

    /// Every workload as its owners now want it, that is off: a change under way must be closed, not just lost from
    /// sight.
    fn switch_off(&mut self) -> Vec<Fact> {
        let off = |e: &Entry| {
            let mut record = e.declared.record.clone();
            record.permission.mode = Mode::Off;
            record.permission.unreadable.clear();
            Fact::Workload(Box::new(record))
        };
        self.workloads.values().map(off).collect()
    }

    /// Nothing in here is watched any more.
    fn forget(&mut self) -> Vec<Fact> {
        let gone = self.workloads.values().map(|e| Fact::WorkloadGone(e.declared.record.uid)).collect();
        self.workloads.clear();
        self.pods.clear();
        self.names.clear();
        self.events = Default::default();
        self.lists = Lists::default();
        gone
    }
}

impl Entry {
    /// What is allowed now; a fact if that has changed.
    fn allow(&mut self, now: Timestamp, paused: bool) -> Option<Fact> {
        let permission = self.rules.at(now, paused);
        if permission == self.declared.record.permission {
            return None;
        }
        self.declared.record.permission = permission;
        Some(Fact::Workload(Box::new(self.declared.record.clone())))
    }

    fn changes_at(&self) -> Option<Timestamp> {
        self.declared.record.permission.window.and_then(|w| w.changes_at)
    }
}

impl PodEntry {
    fn belongs(&self, kind: WorkloadKind, name: &str) -> bool {
        self.running.owner.kind == kind && *self.running.owner.name == *name
    }

    fn tell(&mut self, workload: Uid) -> Fact {
        self.told = true;
        self.running.record.workload = workload;
        Fact::Pod(Box::new(self.running.record.clone()))
    }
}

/// Our own annotations among all.
pub(super) fn ours(annotations: &Annotations) -> Annotations {
    annotations.iter().filter(|(k, _)| k.starts_with(PREFIX)).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// What the owner of the Namespace, or of the workload, should be told.
fn complaints(rules: &Rules, on_namespace: bool) -> Vec<String> {
    let unreadable = rules.unreadable().iter().filter(|u| u.on_namespace == on_namespace).map(message);
    let remarks = rules.remarks.iter().filter(|r| r.on_namespace == on_namespace).map(|r| r.message.clone());
    unreadable.chain(remarks).collect()
}

#[cfg(test)]
mod tests;
