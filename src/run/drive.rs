//! The loop in virtual time: a simulated fleet tells, the engine decides, the fleet obeys.

use crate::change::{Change, Outcome};
use crate::engine::{Engine, Rules, Turn};
use crate::observation::{Fact, Observation};
use crate::probe::Settings;
use crate::sim::Fleet;
use crate::units::{Span, Timestamp, Uid};
use crate::workload::ProbeId;

/// What a spectator of the loop is told, in this order within a step.
pub(super) enum Scene<'a> {
    /// A user rolls out; these numbers ride (or none).
    Rides(Uid, &'a [(ProbeId, Settings)]),
    /// Something became known.
    Fact(&'a Observation),
    /// The engine wants a change, and this became of it.
    Changed(&'a Change, &'a Outcome),
    /// A turn is over.
    Turn(&'a Turn),
}

/// Lets a fleet and an engine play from `start` to `end` in steps of `step`, each step one turn, before a spectator.
pub(super) fn play(
    fleet: &mut Fleet,
    rules: Rules,
    (start, end): (Timestamp, Timestamp),
    step: Span,
    mut spectator: impl FnMut(Timestamp, &Engine, &Fleet, Scene<'_>),
) -> Engine {
    let mut engine = Engine::new(rules, start);
    // In a simulated cluster the fence is a matter of course; the daemon tries the real one.
    engine.observe(Observation { at: start, fact: Fact::Fence { holds: true } });
    let (mut now, mut facts) = (start, Vec::new());
    while now < end {
        let until = (now + step).min(end);
        while let Some(i) = fleet.advance(until, &mut facts) {
            let Some(world) = fleet.worlds().get(i) else { continue };
            let (uid, at) = (world.setup().uid, world.now());
            let numbers = engine.riding(uid, at);
            spectator(at, &engine, fleet, Scene::Rides(uid, &numbers));
            if let Some(world) = fleet.world_mut(i) {
                world.ride(&numbers);
            }
        }
        now = until;
        for fact in facts.drain(..) {
            spectator(fact.at, &engine, fleet, Scene::Fact(&fact));
            engine.observe(fact);
        }
        let turn = engine.turn(now);
        for change in &turn.changes {
            let outcome = fleet.obey(change);
            spectator(now, &engine, fleet, Scene::Changed(change, &outcome));
            let fact = Fact::Outcome { workload: change.workload, change: change.id, outcome };
            engine.observe(Observation { at: now, fact });
        }
        spectator(now, &engine, fleet, Scene::Turn(&turn));
    }
    engine
}
