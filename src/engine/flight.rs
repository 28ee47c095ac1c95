//! The life of one change: intended, patched, watched, ended. Each step is derived from what the workload declares and
//! what was answered, so that a daemon that was killed between any two of them goes on where it was.

use super::{Ended, Entry, Rules};
use crate::change::{Intent, Outcome, Past, Stage, Step, Verdict};
use crate::memory::{InFlight, PAST_KEPT};
use crate::plan::{BACK, DEGRADED_AFTER};
use crate::units::{Span, Timestamp};
use crate::verify;

/// The rest between two attempts at a way back: each costs the API server some reads and a write.
const BACK_AGAIN: Span = Span::from_seconds(120);

impl Entry {
    /// Moves the change under way along.
    pub(super) fn progress(&mut self, rules: &Rules, now: Timestamp) {
        let Some(flight) = &self.memory.in_flight else {
            (self.revert, self.back_at) = (None, None);
            return;
        };
        let revert = flight.change.intent == Intent::Revert;
        match verify::next(flight, &self.workload, &self.evidence, &rules.terms, now) {
            verify::Step::Wait => {}
            verify::Step::WasApplied => self.applied(self.workload.generation, now),
            // A way back is still owed; anything else is made up anew if it is still wished.
            verify::Step::WasNotApplied if revert => self.ask_back_again(now),
            verify::Step::WasNotApplied => self.drop_intent(now),
            verify::Step::RolledOut if revert => self.end(Verdict::Verified, now),
            verify::Step::RolledOut => {
                if let Some(f) = &mut self.memory.in_flight {
                    f.stage = Stage::Watching;
                    f.since = now;
                    self.news = true;
                }
            }
            verify::Step::Good(_) => {
                self.memory.reverts = 0;
                self.end(Verdict::Verified, now);
            }
            verify::Step::Worse(why) => self.ask_back(why.words(), now),
            verify::Step::Contested => {
                let intended = flight.stage == Stage::Intended;
                if intended && !revert {
                    self.drop_intent(now);
                } else {
                    self.contested(now);
                }
            }
            verify::Step::Superseded => {
                if let Some(why) = self.revert.take() {
                    // Known to be worse, and its owner was faster than the way back.
                    self.memory.reverts += 1;
                    self.note = Some(format!("its numbers were worse ({why}), and stay with the new version"));
                }
                self.end(Verdict::Superseded, now);
            }
            verify::Step::Stopped => {
                self.note = Some(how_to_undo(flight, &self.workload.address));
                self.end(Verdict::Abandoned, now);
            }
        }
    }

    /// Learns what became of a change that was sent.
    pub(super) fn outcome(&mut self, at: Timestamp, change: u64, outcome: &Outcome) {
        let Some(flight) = self.memory.in_flight.as_ref().filter(|f| f.change.id == change) else { return };
        self.urgent = true;
        let revert = flight.change.intent == Intent::Revert;
        match outcome {
            Outcome::Applied { generation } if flight.stage == Stage::Intended => self.applied(*generation, at),
            Outcome::Applied { .. } | Outcome::Unknown { .. } => {}
            _ if flight.stage != Stage::Intended => {}
            Outcome::Gone => self.end(Verdict::Abandoned, at),
            Outcome::Contested { found } => {
                self.note = Some(format!("not written: {found}"));
                // Of a way back only the declared numbers tell whether somebody else's stand; a scaling or a
                // conflict on the way does not.
                if revert { self.ask_back_again(at) } else { self.drop_intent(at) }
            }
            Outcome::Refused { why } => {
                self.note = Some(format!("refused by the API server: {why}"));
                if revert {
                    // Worse, and we may not take it back: nothing here goes on without a person.
                    self.memory.reverts = self.memory.reverts.max(DEGRADED_AFTER);
                }
                self.end(Verdict::Refused, at);
            }
            Outcome::Withheld { why, .. } => {
                self.note = Some(format!("withheld: {why}"));
                if revert { self.ask_back_again(at) } else { self.drop_intent(at) }
            }
        }
    }

    /// The patch was taken.
    fn applied(&mut self, generation: i64, now: Timestamp) {
        let Some(flight) = &mut self.memory.in_flight else { return };
        let before = flight.applied;
        flight.stage = Stage::Patched;
        flight.since = now;
        flight.applied = Some(now);
        flight.generation = Some(generation);
        (self.revert, self.back_at) = (None, None);
        let steps = flight.change.steps.clone();
        if flight.change.intent == Intent::Revert {
            let taken_back = steps.into_iter().map(|s| Step { probe: s.probe, from: s.to, to: s.from }).collect();
            self.memory.reverts += 1;
            let (id, why) = (flight.change.id, flight.change.message.clone());
            self.remember(
                id,
                Past { at: before.unwrap_or(now), steps: taken_back, intent: Intent::Tune, verdict: Verdict::Reverted },
                Some(why),
            );
        } else {
            for s in steps {
                if !self.memory.owners.iter().any(|(id, _)| *id == s.probe) {
                    self.memory.owners.push((s.probe, s.from));
                }
            }
        }
        self.evidence.changed_by_us(now);
        self.news = true;
        self.urgent = true;
    }

    /// Asks the plan for the way back, now or as soon as it may be. The first reason stands.
    fn ask_back(&mut self, why: String, now: Timestamp) {
        if self.revert.is_none() {
            self.revert = Some(why);
            self.back_at = Some(now);
            self.news = true;
        }
    }

    /// Asks for it again, after an attempt that came to nothing.
    fn ask_back_again(&mut self, now: Timestamp) {
        let said = self.memory.in_flight.as_ref().map(|f| f.change.message.trim_start_matches(BACK).to_owned());
        self.revert = self.revert.take().or(said);
        if self.back_at.is_none() {
            self.back_at = Some(now + BACK_AGAIN);
            self.news = true;
        }
    }

    /// A change that was never made is no change: nothing is remembered of it but the rest that follows.
    fn drop_intent(&mut self, now: Timestamp) {
        self.memory.in_flight = None;
        self.memory.rested_since = Some(now);
        self.news = true;
        self.urgent = true;
    }

    /// Theirs stand, for as long as they do.
    fn contested(&mut self, now: Timestamp) {
        let theirs = self.memory.in_flight.iter().flat_map(|f| &f.change.steps);
        self.memory.contested =
            theirs.filter_map(|s| Some((s.probe.clone(), self.workload.probe(&s.probe)?.settings))).collect();
        self.end(Verdict::Contested, now);
    }

    fn end(&mut self, verdict: Verdict, now: Timestamp) {
        let Some(InFlight { change, applied, .. }) = self.memory.in_flight.take() else { return };
        let note = self.note.clone();
        self.remember(
            change.id,
            Past { at: applied.unwrap_or(now), steps: change.steps, intent: change.intent, verdict },
            note,
        );
        self.memory.rested_since = Some(now);
        (self.revert, self.back_at) = (None, None);
        self.news = true;
        self.urgent = true;
    }

    fn remember(&mut self, change: u64, past: Past, note: Option<String>) {
        let (workload, address) = (self.workload.uid, self.workload.address.clone());
        self.ended.push(Ended { workload, address, change, past: past.clone(), note });
        self.memory.past.push(past);
        if self.memory.past.len() > PAST_KEPT {
            // What was refused was no rollout: budgets count the others.
            let refused = self.memory.past.iter().position(|p| p.verdict == Verdict::Refused);
            self.memory.past.remove(refused.unwrap_or(0));
        }
    }
}

/// What a person types to take back a change that he stopped us from watching: one patch, by names.
fn how_to_undo(flight: &InFlight, address: &crate::workload::Address) -> String {
    if flight.stage == Stage::Intended {
        return "stopped before anything was written".into();
    }
    let mut containers: Vec<String> = Vec::new();
    for s in &flight.change.steps {
        containers.push(format!(
            r#"{{"name":"{}","{}":{{"periodSeconds":{},"timeoutSeconds":{},"failureThreshold":{}}}}}"#,
            s.probe.container,
            s.probe.kind.field(),
            s.from.period(),
            s.from.timeout(),
            s.from.threshold()
        ));
    }
    format!(
        "stopped while being watched; to undo: kubectl patch {} {} -n {} -p '{{\"spec\":{{\"template\":{{\"spec\":{{\"containers\":[{}]}}}}}}}}'",
        address.kind.word(),
        address.name,
        address.namespace,
        containers.join(",")
    )
}
