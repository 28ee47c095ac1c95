//! The demo's cluster: who lives in it, on which nodes, under which numbers, and what their owners wrote.

use crate::policy::{Mode, Unreadable};
use crate::probe::{Answer, Handler};
use crate::record;
use crate::sim::{Family, Losses, Nature, Node, Recording, Row, Setup, Twist, World};
use crate::units::{Span, Timestamp};
use crate::workload::{Unpatchable, WorkloadKind};

/// How many nodes.
pub(super) const NODES: u32 = 24;

/// Recordings of real servers, shipped with the program.
#[derive(Clone, Copy, PartialEq)]
enum Tape {
    Gunicorn,
    Java,
    Nginx,
    NodeBursts,
    NodeNeighbour,
    Redis,
    Postgres,
}

impl Tape {
    fn bytes(self) -> &'static [u8] {
        match self {
            Tape::Gunicorn => include_bytes!("../../../tests/data/traces/gunicorn-sync-diurnal.csv"),
            Tape::Java => include_bytes!("../../../tests/data/traces/java-gc-step.csv"),
            Tape::Nginx => include_bytes!("../../../tests/data/traces/nginx-throttle-bursts.csv"),
            Tape::NodeBursts => include_bytes!("../../../tests/data/traces/node-eventloop-bursts.csv"),
            Tape::NodeNeighbour => include_bytes!("../../../tests/data/traces/node-noisy-neighbour.csv"),
            Tape::Redis => include_bytes!("../../../tests/data/traces/redis-exec-step.csv"),
            Tape::Postgres => include_bytes!("../../../tests/data/traces/postgres-exec-diurnal.csv"),
        }
    }

    fn is_exec(self) -> bool {
        matches!(self, Tape::Redis | Tape::Postgres)
    }

    fn recording(self) -> Option<Recording> {
        let trace = record::read(self.bytes()).ok()?;
        let row = |r: &record::Row| {
            let (latency, ok) = match r.answer {
                Answer::Healthy(after) => (Some(after.nanos()), true),
                Answer::Unhealthy(after) => (Some(after.nanos()), false),
                Answer::Never => (None, false),
            };
            Row { at: r.at.nanos(), latency, ok, cores: r.load.pod_cores.map(|c| c as f32) }
        };
        Recording::new(trace.rows().iter().map(row).collect())
    }
}

/// Where a workload's latency comes from.
#[derive(Clone, Copy)]
enum Source {
    Tape(Tape),
    Family(Family),
    Nature(fn() -> Nature),
}

/// What its owner wrote besides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// May be changed.
    Free,
    Skip,
    Misspelt,
    Recommend,
    Frozen,
    Recreate,
    Paused,
    Owned,
    Pipeline,
    StatefulSet,
}

/// One part: namespace and name, replicas, source, the hour of its owner's rollout (or none), and the owner's word.
struct Part(&'static str, u32, Source, Option<f64>, Word);

fn sick() -> Nature {
    Nature { twist: Twist::SickReplica, ..Nature::quiet() }
}

fn out_of_memory() -> Nature {
    Nature { twist: Twist::Exits(6.0, 137), ..Nature::quiet() }
}

fn crashing() -> Nature {
    Nature { twist: Twist::Exits(10.0, 1), ..Nature::quiet() }
}

/// A database that all replicas ask and that refuses often enough for a day's demo.
fn dependent() -> Nature {
    Nature {
        refusals: Some(crate::sim::Refusals {
            per_day: 4.0,
            length: crate::sim::Length::Uniform { from: 25.0, to: 70.0 },
        }),
        twist: Twist::SharedRefusals,
        ..Nature::quiet()
    }
}

/// The whole cast, in the order in which it is told.
fn parts() -> Vec<Part> {
    use Family as F;
    use Source::{Family as Fam, Nature as Nat, Tape as Rec};
    let mut parts = vec![
        // Recordings of real servers under the numbers that Kubernetes fills in.
        Part("shop/checkout", 6, Rec(Tape::Gunicorn), None, Word::Free),
        Part("shop/cart", 4, Rec(Tape::Gunicorn), Some(9.5), Word::Free),
        Part("shop/catalogue", 5, Rec(Tape::Java), None, Word::Free),
        Part("shop/frontend", 6, Rec(Tape::Nginx), Some(14.2), Word::Free),
        Part("search/query", 5, Rec(Tape::Java), None, Word::Free),
        Part("search/facets", 3, Rec(Tape::Java), Some(11.0), Word::Free),
        Part("media/assets", 4, Rec(Tape::Nginx), None, Word::Free),
        Part("chat/gateway", 5, Rec(Tape::NodeBursts), Some(10.4), Word::Free),
        Part("chat/presence", 4, Rec(Tape::NodeBursts), None, Word::Free),
        Part("chat/history", 3, Rec(Tape::NodeNeighbour), None, Word::Free),
        Part("accounts/login", 5, Rec(Tape::NodeNeighbour), Some(13.1), Word::Free),
        Part("data/sessions", 3, Rec(Tape::Redis), None, Word::Free),
        Part("data/limits", 3, Rec(Tape::Redis), None, Word::Free),
        Part("data/ledger", 3, Rec(Tape::Postgres), None, Word::Free),
        Part("data/reports", 3, Rec(Tape::Postgres), Some(15.3), Word::Free),
        // Drawn from families, in trouble at 10/1/3.
        Part("payments/authorize", 6, Fam(F::Cfs), None, Word::Free),
        Part("payments/settle", 4, Fam(F::Cfs), Some(16.5), Word::Free),
        Part("media/thumbnails", 5, Fam(F::ExecSlow), None, Word::Free),
        Part("accounts/profile", 4, Fam(F::ColdStart), Some(8.6), Word::Free),
        Part("jobs/exports", 3, Fam(F::ExecSlow), Some(12.8), Word::Free),
        Part("search/suggest", 5, Fam(F::NightlyBatch), None, Word::Free),
        // Not a matter of numbers.
        Part("jobs/dispatcher", 5, Nat(sick), None, Word::Free),
        Part("jobs/importer", 4, Nat(out_of_memory), None, Word::Free),
        Part("mail/sender", 4, Nat(crashing), None, Word::Free),
        Part("shop/inventory", 6, Nat(dependent), None, Word::Free),
        // In trouble, and their owners said no, or nobody could be sure that they said yes.
        Part("payments/fraud", 4, Fam(F::Cfs), None, Word::Skip),
        Part("payments/invoices", 4, Fam(F::Cfs), None, Word::Misspelt),
        Part("search/ranking", 4, Fam(F::ExecSlow), None, Word::Recommend),
        Part("accounts/partners", 4, Fam(F::Cfs), None, Word::Frozen),
        Part("legacy/monolith", 2, Fam(F::ExecSlow), None, Word::Recreate),
        Part("media/player", 4, Fam(F::Cfs), None, Word::Paused),
        Part("data/events", 3, Fam(F::ExecSlow), None, Word::Owned),
        Part("mail/webmail", 4, Fam(F::Cfs), None, Word::Pipeline),
        Part("data/archive", 3, Fam(F::ExecSlow), None, Word::StatefulSet),
    ];
    // The quiet majority.
    let quiet = [
        ("shop/prices", F::Light),
        ("shop/reviews", F::EventLoop),
        ("shop/wishlist", F::Light),
        ("shop/coupons", F::Flat),
        ("search/crawler", F::Light),
        ("search/spelling", F::Flat),
        ("media/images", F::Gc),
        ("media/metadata", F::Light),
        ("media/subtitles", F::Flat),
        ("chat/bots", F::EventLoop),
        ("chat/emoji", F::Flat),
        ("chat/search", F::Gc),
        ("accounts/avatars", F::Light),
        ("accounts/consent", F::Flat),
        ("accounts/audit", F::Gc),
        ("payments/rates", F::Light),
        ("payments/refunds", F::Diurnal),
        ("mail/templates", F::Light),
        ("mail/bounces", F::Blips),
        ("jobs/cleanup", F::Flat),
        ("jobs/reports", F::Light),
        ("data/schema", F::Flat),
        ("data/metrics", F::EventLoop),
        ("data/flags", F::Light),
        ("web/status", F::Flat),
        ("web/docs", F::Light),
    ];
    for (i, (name, family)) in (0u32..).zip(quiet) {
        let hour = (i % 3 == 0).then(|| 8.0 + f64::from(i) * 0.37);
        parts.push(Part(name, 3 + i % 4, Fam(family), hour, Word::Free));
    }
    parts
}

/// True faults a pod-year in the demo: ten times the usual, so that a day has enough of them to time.
const FAULTS: f64 = 120.0;

/// The worlds of the cast, and which of them may be changed.
pub(super) fn worlds(seed: u64, start: Timestamp, listen: bool) -> Vec<(World, bool)> {
    let nodes = Node::several(seed, NODES);
    let mut at = 0usize;
    parts()
        .into_iter()
        .map(|part| {
            let free = part.4 == Word::Free;
            let setup = setup(&part, seed, start, listen, &nodes, &mut at);
            (World::new(setup), free)
        })
        .collect()
}

fn setup(part: &Part, seed: u64, start: Timestamp, listen: bool, nodes: &[Node], at: &mut usize) -> Setup {
    let Part(name, replicas, from, hour, word) = *part;
    let (mut nature, recording) = match from {
        Source::Family(family) => (family.nature(seed), None),
        Source::Nature(nature) => (nature(), None),
        Source::Tape(tape) => {
            let handler = if tape.is_exec() { Handler::Exec } else { Handler::Http };
            (Nature { handler, ..Nature::quiet() }, tape.recording())
        }
    };
    nature.rollouts = hour.map(|h| h / 24.0).into_iter().collect();
    nature.faults = FAULTS;
    let mut setup = Setup::of(name, nature, seed, 1.0);
    let (namespace, short) = name.split_once('/').unwrap_or(("default", name));
    setup.address.namespace = namespace.into();
    setup.address.name = short.into();
    setup.recording = recording;
    setup.replicas = replicas;
    setup.start = start;
    setup.listen = listen;
    setup.loud_a_day = 0.3;
    setup.losses = Losses { scrapes: 0.002, events: 0.01, kubelet_restarts: 1.0 / 14.0 };
    setup.nodes = (0..replicas as usize).map(|i| nodes[(*at + i * 5) % nodes.len()].clone()).collect();
    *at += 7;
    let permission = &mut setup.permission;
    match word {
        Word::Free => {}
        Word::Skip => permission.skip = Some("model under certification until March".into()),
        Word::Misspelt => permission.unreadable.push(Unreadable {
            key: "probe-tuner.io/mode".into(),
            value: "atuo".into(),
            wanted: "auto".into(),
            on_namespace: false,
        }),
        Word::Recommend => permission.mode = Mode::Recommend,
        Word::Frozen => permission.freeze_until = Some(start + Span::DAY * 4),
        Word::Recreate => setup.unpatchable.push(Unpatchable::Recreate),
        Word::Paused => setup.unpatchable.push(Unpatchable::Paused),
        Word::Owned => setup.unpatchable.push(Unpatchable::OwnedBy("Cluster/events".into())),
        Word::Pipeline => setup.unpatchable.push(Unpatchable::Pipeline("argocd".into())),
        Word::StatefulSet => {
            setup.address.kind = WorkloadKind::StatefulSet;
            setup.unpatchable.push(Unpatchable::Kind(WorkloadKind::StatefulSet));
        }
    }
    setup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recording_that_is_shipped_can_be_played() {
        for tape in [
            Tape::Gunicorn,
            Tape::Java,
            Tape::Nginx,
            Tape::NodeBursts,
            Tape::NodeNeighbour,
            Tape::Redis,
            Tape::Postgres,
        ] {
            assert!(tape.recording().is_some_and(|r| r.seconds() > 600.0));
        }
    }

    #[test]
    fn the_cast_is_a_small_fleet_and_no_name_is_taken_twice() {
        let mut names: Vec<&str> = parts().iter().map(|p| p.0).collect();
        assert!(names.len() >= 50);
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), parts().len());
    }
}
