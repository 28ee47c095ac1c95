//! The one task that writes to the cluster: views, changes, evidence, in this order of haste.
//!
//! The engine never waits for the API server; it hands its work over here and learns what became of it as facts. What a
//! change is about to do is written down before it is done: where the view that says so cannot be written, the change is
//! withheld. One task and one queue, so nothing of ours ever races with itself.

use super::clock::Clock;
use super::tell;
use crate::act::{Actor, Announcer};
use crate::change::{Change, Outcome};
use crate::cluster::{Call, Failure, Patience};
use crate::engine::View;
use crate::observation::{Fact, Observation};
use crate::reason::Reason;
use crate::store::evidence::Shards;
use crate::store::pause;
use crate::store::tunings::Tunings;
use crate::telemetry::{Event, Metrics};
use crate::units::{Span, Timestamp, Uid};
use crate::workload::Address;
use kube::Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

/// Pause between two views that nothing hastens: five writes a second at most. The first fill of 10,000 workloads takes
/// 33 minutes.
const BETWEEN_VIEWS: Duration = Duration::from_millis(200);

/// Pause between two tries to let go of `managedFields` that cling.
const BETWEEN_RELEASES: Duration = Duration::from_secs(30);

/// A change that waited longer than this since it was planned is not made: much may have changed since.
const LATE: Span = Span::from_seconds(60);

/// How often, and with which pause, it is asked what became of a patch whose answer was lost.
const ASK_AGAIN: u32 = 10;
const BETWEEN_ASKING: Duration = Duration::from_secs(10);

/// Most workloads that wait for us to let go; beyond it the oldest waits for the daemon's next start.
const MOST_CLINGING: usize = 1_000;

/// What the loop hands over.
pub(super) enum Work {
    /// A turn's news and changes.
    Turn {
        /// Views to be written down.
        views: Vec<View>,
        /// Changes to be made, in order; each has its view among those above.
        changes: Vec<Change>,
        /// Workloads that are gone: nothing of them needs to be known any more.
        gone: Vec<Uid>,
        /// When they were planned: a change that comes late has been judged anew by then.
        planned: Timestamp,
    },
    /// The evidence of one shard.
    Evidence {
        /// Which.
        shard: usize,
        /// Of each workload, encoded.
        entries: Vec<(Uid, Vec<u8>)>,
    },
    /// Write all views that wait, then stop.
    Finish,
}

/// What the writer works with.
pub(super) struct Writer {
    pub client: Client,
    pub patience: Patience,
    pub actor: Actor,
    pub shards: Shards,
    pub namespace: String,
    pub clock: Clock,
    pub metrics: Arc<Metrics>,
    pub announcer: Announcer,
    pub facts: mpsc::Sender<Observation>,
}

impl Writer {
    /// Works until told to finish, or until the loop is gone.
    pub(super) async fn run(mut self, mut work: mpsc::Receiver<Work>) {
        let mut state = State::default();
        let mut views = ticks(BETWEEN_VIEWS);
        let mut releases = ticks(BETWEEN_RELEASES);
        loop {
            tokio::select! {
                biased;
                job = work.recv() => match job {
                    Some(Work::Turn { views, changes, gone, planned }) => {
                        self.turn(&mut state, views, changes, planned).await;
                        state.forget(&gone);
                    }
                    Some(Work::Evidence { shard, entries }) => self.evidence(shard, entries).await,
                    Some(Work::Finish) | None => break,
                },
                _ = views.tick(), if !state.waiting.is_empty() => {
                    if let Some((_, view)) = state.waiting.pop_first() {
                        // A failure has been told; the next view of this workload tries again.
                        self.view(&mut state, &view).await.unwrap_or_default();
                    }
                },
                _ = releases.tick(), if !state.clinging.is_empty() => self.release(&mut state).await,
            }
        }
        for view in std::mem::take(&mut state.waiting).values() {
            if self.view(&mut state, view).await.is_err() {
                break;
            }
        }
    }

    async fn turn(&mut self, state: &mut State, views: Vec<View>, changes: Vec<Change>, planned: Timestamp) {
        for view in views {
            state.greet(&view);
            // Another workload of this name is void: its object would be written over its successor's.
            state.waiting.retain(|uid, waiting| *uid == view.uid || waiting.address != view.address);
            state.waiting.insert(view.uid, view);
        }
        for change in changes {
            let outcome = match state.waiting.remove(&change.workload) {
                Some(view) => match self.view(state, &view).await {
                    Ok(()) => self.change(state, &change, planned).await,
                    Err(why) => withheld(format!("it could not be written down first: {why}")),
                },
                None => self.change(state, &change, planned).await,
            };
            tell::tried(&self.metrics, &self.announcer, &change, &outcome);
            self.tell(Fact::Outcome { workload: change.workload, change: change.id, outcome }).await;
        }
    }

    async fn change(&mut self, state: &mut State, change: &Change, planned: Timestamp) -> Outcome {
        if self.clock.now().since(planned) > LATE {
            return withheld(format!("it came later than {LATE} after it was planned"));
        }
        let done = self.actor.apply(change, self.clock.now(), self.paused(&change.address).await).await;
        if done.clinging {
            state.cling(change.workload, change.address.clone());
        }
        if !matches!(done.outcome, Outcome::Unknown { .. }) {
            return done.outcome;
        }
        // Nobody else knows whether it was done, and the watch may be as blind as we are: ask until somebody answers.
        for _ in 0..ASK_AGAIN {
            sleep(BETWEEN_ASKING).await;
            if let Some(outcome) = self.actor.find_out(change).await {
                return outcome;
            }
        }
        done.outcome
    }

    /// Read afresh: a person may have pulled the brake since the turn. What cannot be read counts as pulled.
    async fn paused(&self, address: &Address) -> bool {
        let brake = timeout(self.patience.answer, pause::read(&self.client, &self.namespace)).await;
        brake.ok().and_then(Result::ok).is_none_or(|pause| pause.covers(&address.namespace))
    }

    /// Writes a view down, if it says anything new.
    async fn view(&mut self, state: &mut State, view: &View) -> Result<(), String> {
        let now = self.clock.now();
        let request = state.tunings.request(view, now);
        if view.gone {
            state.tunings.forget(view.uid);
        }
        let (call, status) = match request {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(e) => return Err(e.to_string()),
        };
        match self.send(&call).await {
            Ok(()) => {
                if !view.gone {
                    state.tunings.wrote(view.uid, status, now);
                }
                Ok(())
            }
            // Its namespace or workload may be on the way out.
            Err(failure) if failure.code() == Some(404) && view.gone => Ok(()),
            Err(failure) => {
                tracing::warn!(workload = %view.address, kind = failure.kind(), why = %failure, "its ProbeTuning could not be written");
                Err(failure.to_string())
            }
        }
    }

    async fn evidence(&mut self, shard: usize, entries: Vec<(Uid, Vec<u8>)>) {
        let Some(write) = self.shards.request(shard, entries) else { return };
        if write.left_out > 0 {
            tracing::warn!(
                shard,
                workloads = write.left_out,
                "evidence beyond 512 KiB in one ConfigMap is not kept over a restart"
            );
        }
        match self.send(&write.call).await {
            Ok(()) => {
                self.shards.wrote(&write);
                self.metrics.emit(&Event::Stored { objects: 1, bytes: u64::try_from(write.bytes).unwrap_or(u64::MAX) });
            }
            Err(failure) => {
                tracing::warn!(shard, kind = failure.kind(), why = %failure, "evidence could not be written; its next turn tries again")
            }
        }
    }

    async fn release(&mut self, state: &mut State) {
        for (uid, address) in std::mem::take(&mut state.clinging) {
            // Letting go is a write too.
            if self.paused(&address).await {
                state.cling(uid, address);
                continue;
            }
            match self.actor.let_go(&address).await {
                Ok(()) => {}
                Err(failure) => {
                    tracing::warn!(workload = %address, kind = failure.kind(), why = %failure, "our entry in managedFields is still there; its owner's apply would conflict");
                    // Who is forbidden to (opted out meanwhile) need not ask again.
                    if failure.code() != Some(403) {
                        state.cling(uid, address);
                    }
                }
            }
        }
    }

    async fn send(&self, call: &Call) -> Result<(), Failure> {
        let answer = call.send(&self.client, self.patience).await;
        let code = match &answer {
            Ok(_) => Some(200),
            Err(failure) => failure.code(),
        };
        self.metrics.emit(&Event::Requested { verb: "patch", code });
        answer.map(|_| ())
    }

    async fn tell(&self, fact: Fact) {
        let at: Timestamp = self.clock.now();
        // The loop is gone only when the process is about to be.
        self.facts.send(Observation { at, fact }).await.unwrap_or_default();
    }
}

#[derive(Default)]
struct State {
    tunings: Tunings,
    /// The newest view of each workload that waits to be written.
    waiting: BTreeMap<Uid, View>,
    clinging: BTreeMap<Uid, Address>,
    /// Workloads whose `managedFields` were asked for in this life.
    greeted: BTreeSet<Uid>,
}

impl State {
    /// At the first sight of a workload that we have ever changed: a life that was killed between its two patches may
    /// have left its entry behind.
    fn greet(&mut self, view: &View) {
        let ours = view.memory.in_flight.is_some() || !view.memory.owners.is_empty();
        if self.greeted.insert(view.uid) && ours {
            self.cling(view.uid, view.address.clone());
        }
    }

    fn forget(&mut self, gone: &[Uid]) {
        for uid in gone {
            self.greeted.remove(uid);
            self.clinging.remove(uid);
            if !self.waiting.contains_key(uid) {
                self.tunings.forget(*uid);
            }
        }
    }

    fn cling(&mut self, uid: Uid, address: Address) {
        if self.clinging.len() >= MOST_CLINGING {
            self.clinging.pop_first();
        }
        self.clinging.insert(uid, address);
    }
}

fn withheld(why: String) -> Outcome {
    Outcome::Withheld { reason: Reason::Refused, why: why.into() }
}

fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests;
