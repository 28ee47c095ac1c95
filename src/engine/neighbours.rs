//! What the workloads on one node saw of each other: what slows several of them at once is the node's, and none of theirs.
//!
//! A workload with few replicas hardly ever has two of them on one node, so its own replicas tell nothing about the node.
//! The others there do. Each node keeps who was slow there, when last and how often, and whose container was just killed.

use crate::evidence::{COMPANY, NeighboursThen};
use crate::units::{Name, Span, Timestamp, Uid};
use std::collections::BTreeMap;

/// Most nodes of which anything is kept; what one more would have said is not heard.
const MOST_NODES: usize = 20_000;
/// Most workloads of a node that were slow; the one that was so longest ago makes room.
const MOST_SLOW: usize = 64;
/// Kills on a node that are remembered until the five minutes after them are over.
const KILLS: usize = 16;
/// Slow moments are counted in bins of twice the time in which company is looked for.
const BIN: Span = Span::from_nanos(2 * COMPANY.nanos());
/// Half of what was counted is forgotten in this many bins: two weeks.
const HALF_LIFE: f64 = 14.0 * 86_400.0 / BIN.as_secs_f64();

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    nodes: BTreeMap<Name, Node>,
    /// What was not heard, or had to make room.
    dropped: u64,
}

#[derive(Debug)]
struct Node {
    /// Since when pods on it are watched.
    first: Timestamp,
    slow: Vec<Slow>,
    /// Workloads a container of which was killed here, and when.
    kills: Vec<(Uid, Timestamp)>,
}

/// A workload that was slow on a node.
#[derive(Debug)]
struct Slow {
    who: Uid,
    at: Timestamp,
    /// Bins in which it was, decayed to that of `at`.
    bins: f64,
}

fn bin(at: Timestamp) -> i64 {
    at.nanos().div_euclid(BIN.nanos())
}

impl Slow {
    fn bins(&self, at: Timestamp) -> f64 {
        self.bins * (-((bin(at) - bin(self.at)).max(0) as f64) / HALF_LIFE).exp2()
    }
}

impl Node {
    /// The chance that anyone but `who` is slow here within five minutes of any moment. What was seen within five minutes
    /// before now is no accident of itself, and left out.
    fn chance(&self, who: Uid, at: Timestamp) -> f32 {
        // The bins that there were, decayed alike.
        let lasted = (at.since(self.first).as_secs_f64() / BIN.as_secs_f64()).max(0.0);
        let all = HALF_LIFE / std::f64::consts::LN_2 * (1.0 - (-lasted / HALF_LIFE).exp2()) + 1.0;
        let others = self.slow.iter().filter(|s| s.who != who);
        let before = |s: &Slow| s.bins(at) - f64::from(u8::from(at.since(s.at) <= COMPANY));
        let none = others.fold(1.0 - 0.5 / all, |none, s| none * (1.0 - before(s).max(0.0) / all).max(0.0));
        (1.0 - none).clamp(0.0, 1.0) as f32
    }

    /// Whether another workload had to make room.
    fn count(&mut self, who: Uid, at: Timestamp) -> bool {
        if let Some(s) = self.slow.iter_mut().find(|s| s.who == who) {
            let another = bin(at) > bin(s.at);
            (s.bins, s.at) = (s.bins(at) + f64::from(u8::from(another)), at.max(s.at));
            return false;
        }
        let oldest = (0..self.slow.len()).min_by_key(|i| self.slow[*i].at).filter(|_| self.slow.len() >= MOST_SLOW);
        if let Some(oldest) = oldest {
            self.slow.swap_remove(oldest);
        }
        self.slow.push(Slow { who, at, bins: 1.0 });
        oldest.is_some()
    }
}

impl Neighbours {
    fn node(&mut self, name: &Name, at: Timestamp) -> Option<&mut Node> {
        if self.nodes.len() >= MOST_NODES && !self.nodes.contains_key(name) {
            self.dropped += 1;
            return None;
        }
        let new = || Node { first: at, slow: Vec::new(), kills: Vec::new() };
        Some(self.nodes.entry(name.clone()).or_insert_with(new))
    }

    /// What was not heard, or had to make room, since the beginning.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A pod that is watched is on a node.
    pub(super) fn watch(&mut self, name: &Name, at: Timestamp) {
        let _ = self.node(name, at);
    }

    /// A workload has no pod on a node any more: it can be slow there no more.
    pub(super) fn left(&mut self, name: &Name, who: Uid) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.slow.retain(|s| s.who != who);
        }
    }

    /// Lets go of a node that nobody is on.
    pub(super) fn forget(&mut self, name: &Name) {
        self.nodes.remove(name);
    }

    /// A workload was slow on a node: which others had a container killed there in the five minutes before, when, and what
    /// that says.
    pub(super) fn slow(&mut self, name: &Name, who: Uid, at: Timestamp) -> Vec<(Uid, Timestamp, NeighboursThen)> {
        let Some(node) = self.node(name, at) else { return Vec::new() };
        node.kills.retain(|(_, then)| at.since(*then) <= COMPANY);
        let others = node.kills.iter().filter(|(uid, _)| *uid != who);
        // The chance is that of before: what is told now is no accident of itself.
        let told = others
            .map(|(uid, then)| (*uid, *then, NeighboursThen { slow: true, chance: node.chance(*uid, at) }))
            .collect();
        let made_room = node.count(who, at);
        self.dropped += u64::from(made_room);
        told
    }

    /// A container of a workload was killed on a node: whether another workload was slow there in the five minutes before.
    /// `None` where nothing can be said.
    pub(super) fn killed(&mut self, name: &Name, who: Uid, at: Timestamp) -> Option<NeighboursThen> {
        let node = self.node(name, at)?;
        node.kills.retain(|(_, then)| at.since(*then) <= COMPANY);
        let new = !node.kills.contains(&(who, at));
        let room = node.kills.len() < KILLS;
        if new && room {
            node.kills.push((who, at));
        }
        let slow = node.slow.iter().any(|s| s.who != who && at.since(s.at) <= COMPANY);
        let said = NeighboursThen { slow, chance: node.chance(who, at) };
        self.dropped += u64::from(new && !room);
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::EPOCH + Span::MINUTE * minutes
    }

    fn uid(n: u128) -> Uid {
        Uid::from_bits(n)
    }

    #[test]
    fn a_kill_hears_of_others_that_were_slow_there_just_before_and_just_after() {
        let (mut n, node) = (Neighbours::default(), Name::from("node-1"));
        n.slow(&node, uid(1), at(0));
        let before = n.killed(&node, uid(2), at(1_000)).expect("room for a node");
        assert!(!before.slow, "a quarter of a day ago is not now");
        let told = n.slow(&node, uid(1), at(1_004));
        assert_eq!(
            told.iter().map(|(who, then, n)| (*who, *then, n.slow)).collect::<Vec<_>>(),
            [(uid(2), at(1_000), true)]
        );
        assert!(n.killed(&node, uid(2), at(1_006)).is_some_and(|n| n.slow));
        // Its own slowness is none of the others', and another node's neither.
        assert!(n.slow(&node, uid(2), at(1_007)).is_empty());
        assert!(n.killed(&Name::from("node-2"), uid(2), at(1_006)).is_some_and(|n| !n.slow));
    }

    #[test]
    fn the_chance_of_an_accident_is_the_share_of_ten_minutes_in_which_others_were_slow() {
        let (mut n, node) = (Neighbours::default(), Name::from("node-1"));
        // For a day one is slow in every tenth bin, and who asks in all of them.
        for bin in 0..144 {
            n.slow(&node, uid(2), at(10 * bin));
            if bin % 10 == 0 {
                n.slow(&node, uid(1), at(10 * bin + 3));
            }
        }
        let chance = n.killed(&node, uid(2), at(1_440)).map_or(0.0, |n| n.chance);
        assert!((0.09..0.12).contains(&chance), "{chance}");
        let chance = n.killed(&node, uid(1), at(1_440)).map_or(0.0, |n| n.chance);
        assert!(chance > 0.9, "{chance}");
    }

    #[test]
    fn what_never_happened_in_a_month_and_happens_beside_a_kill_is_no_accident() {
        let (mut n, node) = (Neighbours::default(), Name::from("node-1"));
        n.watch(&node, at(0));
        let month = 30 * 1_440;
        // Slow and then the kill, or the kill and then slow: the chance is that of before.
        n.slow(&node, uid(1), at(month));
        let after = n.killed(&node, uid(2), at(month + 1)).map(|n| (n.slow, n.chance < 0.001));
        assert_eq!(after, Some((true, true)));
        let told = n.slow(&node, uid(3), at(month + 2));
        assert!(told.iter().all(|(_, _, n)| n.slow && n.chance < 0.001), "{told:?}");
    }

    #[test]
    fn who_has_left_a_node_is_slow_there_no_more() {
        let (mut n, node) = (Neighbours::default(), Name::from("node-1"));
        for bin in 0..100 {
            n.slow(&node, uid(1), at(10 * bin));
        }
        n.left(&node, uid(1));
        assert!(n.killed(&node, uid(2), at(1_000)).is_some_and(|n| !n.slow && n.chance < 0.01));
        n.forget(&node);
        assert!(n.nodes.is_empty());
    }

    #[test]
    fn the_workloads_and_the_kills_that_are_kept_of_a_node_are_bounded_and_the_others_counted() {
        let (mut n, node) = (Neighbours::default(), Name::from("node-1"));
        for i in 0..1_000 {
            n.slow(&node, uid(i), at(1));
            n.killed(&node, uid(i), at(1));
        }
        let kept = n.nodes.get(&node).map(|n| (n.slow.len(), n.kills.len()));
        assert_eq!(kept, Some((MOST_SLOW, KILLS)));
        assert_eq!(n.dropped(), 2_000 - (MOST_SLOW + KILLS) as u64);
    }

    #[test]
    fn the_nodes_that_are_kept_are_bounded_and_what_is_not_heard_of_others_counted() {
        let mut n = Neighbours::default();
        for i in 0..MOST_NODES + 2 {
            n.watch(&Name::from(format!("node-{i}")), at(1));
        }
        assert!(n.killed(&Name::from("one-more"), uid(1), at(1)).is_none());
        assert_eq!((n.nodes.len(), n.dropped()), (MOST_NODES, 3));
    }
}
