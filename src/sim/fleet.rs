//! Several workloads on shared nodes.
//!
//! Workloads touch each other only through their nodes' seeds: one more changes nothing for the others.

use super::setup::Node;
use super::world::{Pause, World};
use crate::change::{Change, Outcome};
use crate::observation::{Fact, Observation, Usage};
use crate::units::{Span, Timestamp, Uid};

/// Cores that every simulated node has.
const NODE_CORES: f64 = 16.0;

/// Workloads that live in the same time.
pub struct Fleet {
    worlds: Vec<World>,
    nodes: Vec<Node>,
    listen: bool,
}

impl Fleet {
    /// A fleet of these worlds. Nodes are those that they name.
    pub fn new(worlds: Vec<World>) -> Fleet {
        let mut nodes: Vec<Node> = worlds.iter().flat_map(|w| w.setup().nodes.clone()).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes.dedup_by(|a, b| a.name == b.name);
        let listen = worlds.iter().any(|w| w.setup().listen);
        Fleet { worlds, nodes, listen }
    }

    /// Lets all go on to `until` and appends what became known. `Some(i)`: the user of workload `i` rolls out now; say
    /// what rides and call again. On `None` all are there, and `facts` is in the order of time.
    pub fn advance(&mut self, until: Timestamp, facts: &mut Vec<Observation>) -> Option<usize> {
        for (i, world) in self.worlds.iter_mut().enumerate() {
            if world.advance(until, facts) == Pause::Rollout {
                return Some(i);
            }
        }
        if self.listen && until.since(Timestamp::EPOCH).nanos() % Span::MINUTE.nanos() == 0 {
            self.node_usage(until, facts);
        }
        facts.sort_by_key(|o| o.at);
        None
    }

    fn node_usage(&self, at: Timestamp, facts: &mut Vec<Observation>) {
        for node in &self.nodes {
            let cores = self.worlds.iter().map(|w| w.cores() * w.replicas_on(&node.name) as f64).sum();
            let usage = Usage { until: at, cores, working_set: 8 << 30 };
            let allocatable_cores = Some(NODE_CORES);
            facts.push(Observation { at, fact: Fact::NodeUsage { node: node.name.clone(), usage, allocatable_cores } });
        }
    }

    /// Obeys a change; a workload that is not here is gone.
    pub fn obey(&mut self, change: &Change) -> Outcome {
        match self.worlds.iter_mut().find(|w| w.setup().uid == change.workload) {
            Some(world) => world.obey(change),
            None => Outcome::Gone,
        }
    }

    /// The workloads.
    pub fn worlds(&self) -> &[World] {
        &self.worlds
    }

    /// One of them, to let numbers ride.
    pub fn world_mut(&mut self, i: usize) -> Option<&mut World> {
        self.worlds.get_mut(i)
    }

    /// The workload with this uid.
    pub fn find(&self, uid: Uid) -> Option<&World> {
        self.worlds.iter().find(|w| w.setup().uid == uid)
    }
}
