//! Whose turn it is: pure, time as argument.
//!
//! All pods come round in one order, each once a round; a round begins when the last is over, and not before its time.
//! So where the rate is too low for all, all are asked less often, none is left out.

use crate::units::{Name, Span, Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A pod is asked at most this often, whichever of its probes. No part of a minute: who asks every 15 s meets what happens
/// at each full minute always or never.
pub(super) const POD_EVERY: Span = Span::from_nanos(17 * 1_000_000_000);
/// The pods of a node are asked at most this often.
pub(super) const NODE_EVERY: Span = Span::SECOND;
/// Most checks under way at the pods of a node: one that hangs must not become a crowd.
pub(super) const NODE_AT_ONCE: u32 = 4;
/// Most checks under way.
pub(super) const AT_ONCE: usize = 256;

/// A pod that may be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// The pod.
    pub(crate) pod: Uid,
    /// Its namespace.
    pub(crate) namespace: Name,
    /// Its node.
    pub(crate) node: Name,
}

/// A node's last turn, and how many of its pods are being asked.
#[derive(Clone, Copy, Debug)]
struct Node {
    last: Timestamp,
    at_once: u32,
}

/// Who waits, who was asked, and when the next may be.
#[derive(Debug)]
pub(super) struct Turns {
    every: Span,
    last: Option<Timestamp>,
    began: Option<Timestamp>,
    round: usize,
    waiting: VecDeque<Candidate>,
    asked: BTreeMap<Uid, Timestamp>,
    under_way: BTreeSet<Uid>,
    nodes: BTreeMap<Name, Node>,
}

impl Turns {
    /// Turns at most this far apart.
    pub(super) fn new(every: Span) -> Self {
        Turns {
            every,
            last: None,
            began: None,
            round: 0,
            waiting: VecDeque::new(),
            asked: BTreeMap::new(),
            under_way: BTreeSet::new(),
            nodes: BTreeMap::new(),
        }
    }

    /// Whether it is time for another round.
    pub(super) fn over(&self, now: Timestamp) -> bool {
        self.waiting.is_empty() && self.began.is_none_or(|began| now.since(began) >= POD_EVERY)
    }

    /// Another round, of these.
    pub(super) fn begin(&mut self, now: Timestamp, mut candidates: Vec<Candidate>) {
        candidates.sort_unstable();
        self.waiting = candidates.into();
        self.began = Some(now);
        self.round += 1;
        self.asked.retain(|_, at| now.since(*at) < POD_EVERY);
        self.nodes.retain(|_, node| node.at_once > 0 || now.since(node.last) < NODE_EVERY);
    }

    /// Whose turn it is, and which round: at most one for each call. It counts as asked from now on, until
    /// [`Turns::ended`].
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(Candidate, usize)> {
        if self.last.is_some_and(|last| now.since(last) < self.every) || self.under_way.len() >= AT_ONCE {
            return None;
        }
        for _ in 0..self.waiting.len() {
            let candidate = self.waiting.pop_front()?;
            // Still being asked: it has had its turn.
            if self.under_way.contains(&candidate.pod) {
                continue;
            }
            let early = self.asked.get(&candidate.pod).is_some_and(|at| now.since(*at) < POD_EVERY);
            let node = self.nodes.get(&candidate.node);
            let crowded = node.is_some_and(|n| n.at_once >= NODE_AT_ONCE || now.since(n.last) < NODE_EVERY);
            if early || crowded {
                self.waiting.push_back(candidate);
                continue;
            }
            self.last = Some(now);
            self.asked.insert(candidate.pod, now);
            self.under_way.insert(candidate.pod);
            let node = self.nodes.entry(candidate.node.clone()).or_insert(Node { last: now, at_once: 0 });
            *node = Node { last: now, at_once: node.at_once + 1 };
            return Some((candidate, self.round));
        }
        None
    }

    /// It has answered, or was not asked after all.
    pub(super) fn ended(&mut self, candidate: &Candidate) {
        self.under_way.remove(&candidate.pod);
        if let Some(node) = self.nodes.get_mut(&candidate.node) {
            node.at_once = node.at_once.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(pod: u128, node: u32) -> Candidate {
        Candidate { pod: Uid::from_bits(pod), namespace: "shop".into(), node: format!("n{node}").into() }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::EPOCH + Span::from_millis(ms)
    }

    #[test]
    fn each_pod_has_its_turn_once_a_round_and_a_round_takes_its_seventeen_seconds_at_least() {
        let mut turns = Turns::new(Span::from_millis(200));
        assert!(turns.over(at(0)));
        turns.begin(at(0), (0..20).map(|i| candidate(i, i as u32)).collect());
        let mut order = Vec::new();
        for ms in (0..17_000).step_by(100) {
            if let Some((c, round)) = turns.next(at(ms)) {
                assert_eq!(round, 1);
                order.push((ms, c.pod.bits()));
                turns.ended(&c);
            }
            assert!(!turns.over(at(ms)));
        }
        assert_eq!(order, (0..20).map(|i| (200 * i as i64, i)).collect::<Vec<_>>());
        assert!(turns.over(at(17_000)));
    }

    #[test]
    fn a_pod_that_does_not_answer_is_not_asked_twice_at_once_and_holds_up_nobody() {
        let mut turns = Turns::new(Span::from_millis(1));
        for round in 0..3 {
            let now = at(round * 17_000);
            assert!(turns.over(now));
            turns.begin(now, vec![candidate(1, 1), candidate(2, 2)]);
            let mut asked = Vec::new();
            for ms in 0..10 {
                asked.extend(turns.next(now + Span::from_millis(ms)).map(|(c, _)| c));
            }
            let expected = if round == 0 { vec![1, 2] } else { vec![2] };
            assert_eq!(asked.iter().map(|c| c.pod.bits()).collect::<Vec<_>>(), expected);
            turns.ended(&candidate(2, 2));
        }
    }

    proptest! {
        /// Whatever comes, none of the bounds is passed.
        #[test]
        fn no_bound_is_ever_passed(
            pods in 1u128..40, nodes in 1u32..6, every in 1i64..400,
            steps in prop::collection::vec((1i64..900, prop::bool::ANY, 0usize..40), 1..400),
        ) {
            let mut turns = Turns::new(Span::from_millis(every));
            let (mut now, mut under_way) = (0, Vec::<Candidate>::new());
            let (mut last, mut by_pod, mut by_node) = (None::<i64>, BTreeMap::new(), BTreeMap::new());
            for (passed, ends, which) in steps {
                now += passed;
                if ends && !under_way.is_empty() {
                    let ended = under_way.remove(which % under_way.len());
                    turns.ended(&ended);
                }
                if turns.over(at(now)) {
                    turns.begin(at(now), (0..pods).map(|i| candidate(i, i as u32 % nodes)).collect());
                }
                if let Some((c, _)) = turns.next(at(now)) {
                    prop_assert!(last.replace(now).is_none_or(|last| now - last >= every));
                    prop_assert!(by_pod.insert(c.pod, now).is_none_or(|last| now - last >= 17_000));
                    prop_assert!(by_node.insert(c.node.clone(), now).is_none_or(|last| now - last >= 1_000));
                    prop_assert!(!under_way.contains(&c));
                    under_way.push(c);
                    for node in 0..nodes {
                        let name: Name = format!("n{node}").into();
                        prop_assert!(under_way.iter().filter(|c| c.node == name).count() <= 4);
                    }
                }
            }
        }
    }
}
