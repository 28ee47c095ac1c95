//! The kubelet's prober: when it asks, what it counts, and when it has had enough.
//!
//! One [`Prober`] is one worker of the kubelet: one probe of one container of one pod. It is told what happens to the
//! container, says when its next check starts, is told how the check ended, and answers with the verdict, if any.
//!
//! ```text
//!   ticks      |         |         |         |         |     every P, from when the worker started, for ever
//!   checks     ■ 0.01 s  ■■■■■■■■■■■■■■ 14 s ■ the kept one  ■ on the grid again
//! ```
//!
//! - **Ticks belong to the worker**, not to the container: a restart keeps the phase, only a manual trigger moves it.
//! - **One tick is kept** while a check runs, the others are dropped; a tick at the moment a check starts is not kept,
//!   one at the moment it ends starts the next. So a check that outlasts the period is followed at once by another.
//! - **Counts survive an app's own exit**: after two failures, an exit and a restart, a third failure kills.
//! - **After a verdict that kills, nothing is asked** until a new container runs, and the count starts at zero.
//! - **Errors are counted nowhere** (an exec that the runtime could not start, a body that broke off): they neither
//!   extend a run nor end it.
//!
//! Not here: the first sleep of a young kubelet's workers (say the first tick where you know it), back-off and grace
//! (say when the new container starts), and the prober's own overhead of about 1.3 ms a check (answer later).
//!
//! Source: `kubernetes/kubernetes:pkg/kubelet/prober/worker.go`, v1.36; held to timelines of that kubelet by
//! `tests/prober.rs`.

use super::{ProbeKind, Settings};
use crate::units::{Span, Timestamp};

/// How a check ended, as the kubelet counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A healthy answer within the timeout.
    Success,
    /// Refused, an unhealthy answer, or none within the timeout.
    Failure,
    /// The kubelet threw the result away: no counter, no metric, no change of state.
    Dropped,
}

/// What one check meets: how long until its answer, and of what kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Healthy after this long.
    Healthy(Span),
    /// Refused or unhealthy after this long.
    Unhealthy(Span),
    /// None at all.
    Never,
}

impl Answer {
    /// How long the check takes under `timeout` and how it ends: at its answer or at the timeout, whichever comes
    /// first. An answer exactly at the timeout is in time.
    pub fn within(self, timeout: Span) -> (Span, Outcome) {
        match self {
            Answer::Healthy(after) if after <= timeout => (after, Outcome::Success),
            Answer::Unhealthy(after) if after <= timeout => (after, Outcome::Failure),
            _ => (timeout, Outcome::Failure),
        }
    }
}

/// What the prober tells the rest of the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Kill the container: a liveness or startup probe failed `failureThreshold` times in a row.
    Kill,
    /// The startup probe succeeded; the other two begin.
    Started,
    /// Ready again, or for the first time.
    Ready,
    /// No longer ready. A container that has not been ready yet is unready without being told.
    Unready,
}

/// A check from its start to its end, as [`Prober::ask`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// When it started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What followed.
    pub verdict: Option<Verdict>,
}

/// One worker of the kubelet. Costs a hundred bytes, never allocates.
///
/// The caller tells it the events of the container in order of time ([`container_started`](Prober::container_started),
/// [`container_exited`](Prober::container_exited), [`startup_succeeded`](Prober::startup_succeeded),
/// [`trigger`](Prober::trigger)), starts each check at [`next_start`](Prober::next_start) and tells its end. Where
/// nothing else happens meanwhile, [`ask`](Prober::ask) does both.
///
/// ```
/// use probe_tuner::probe::{Answer, ProbeKind, Prober, Settings, Verdict};
/// use probe_tuner::units::{Span, Timestamp};
///
/// // 5/15/2, ticks at 0, 5, 10, …; the app hangs at 12: asked at 15, until 30, asked at once again, until 45.
/// let settings = Settings::new(5, 15, 2).ok_or("no such setting")?;
/// let mut prober = Prober::new(ProbeKind::Liveness, settings, Timestamp::EPOCH);
/// prober.container_started(Timestamp::EPOCH);
/// let killed = loop {
///     let start = prober.next_start().ok_or("nothing is asked")?;
///     let hung = start >= Timestamp::from_seconds(12);
///     let answer = if hung { Answer::Never } else { Answer::Healthy(Span::from_millis(3)) };
///     let check = prober.ask(answer).ok_or("nothing is asked")?;
///     if check.verdict == Some(Verdict::Kill) {
///         break check.end;
///     }
/// };
/// assert_eq!(killed, Timestamp::from_seconds(45));
/// assert_eq!(prober.next_start(), None, "on hold until a new container runs");
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Prober {
    kind: ProbeKind,
    settings: Settings,
    success_threshold: u32,
    initial_delay: Span,
    /// Whether a startup probe holds this one back.
    gated: bool,
    /// One tick of the grid; the others lie whole periods before and after.
    tick: Timestamp,
    /// Ticks up to and including this moment are consumed or dropped.
    spent: Timestamp,
    /// The worker is free from here on: a kept tick starts a check here.
    free: Timestamp,
    /// The start of the check in flight.
    asking: Option<Timestamp>,
    /// A manual trigger waits in its one slot.
    triggered: Option<Timestamp>,
    /// When the first check of this container may start; `None`: not running, or held back by its startup probe.
    open_from: Option<Timestamp>,
    running_since: Option<Timestamp>,
    on_hold: bool,
    run_failed: bool,
    run: u32,
    ready: bool,
}

impl Prober {
    /// A worker with a tick at `tick` (and whole periods before and after); no container runs yet.
    pub const fn new(kind: ProbeKind, settings: Settings, tick: Timestamp) -> Self {
        Prober {
            kind,
            settings,
            success_threshold: 1,
            initial_delay: Span::ZERO,
            gated: false,
            tick,
            spent: Timestamp::from_nanos(i64::MIN),
            free: Timestamp::from_nanos(i64::MIN),
            asking: None,
            triggered: None,
            open_from: None,
            running_since: None,
            on_hold: false,
            run_failed: false,
            run: 0,
            ready: false,
        }
    }

    /// With `initialDelaySeconds`. The kubelet counts from the container's start cut down to whole seconds of the wall
    /// clock, so the first check may come up to a second early.
    pub const fn initial_delay(mut self, seconds: u32) -> Self {
        self.initial_delay = Span::from_seconds(seconds as i64);
        self
    }

    /// With `successThreshold`, which only readiness may have above 1. Zero counts as 1.
    pub const fn success_threshold(mut self, successes: u32) -> Self {
        self.success_threshold = if successes == 0 { 1 } else { successes };
        self
    }

    /// Held back in each container until that container's startup probe has succeeded.
    pub const fn behind_startup(mut self) -> Self {
        self.gated = true;
        self
    }

    /// The numbers it plays.
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// Failures in a row so far; 0 after a success.
    pub const fn failures(&self) -> u32 {
        if self.run_failed { self.run } else { 0 }
    }

    /// Whether a readiness probe's container is ready.
    pub const fn ready(&self) -> bool {
        self.ready
    }

    /// When its next check starts unless something happens before; `None` while a check is in flight, nothing runs,
    /// the startup probe has not succeeded, or a verdict waits for its restart.
    pub fn next_start(&self) -> Option<Timestamp> {
        if self.asking.is_some() || self.on_hold {
            return None;
        }
        let open = self.open_from?;
        if let Some(at) = self.triggered {
            return Some(at);
        }
        // Ticks before the door opens were spent on looking and going back to wait.
        let kept = self.tick_after(self.spent);
        let start = kept.max(self.free);
        Some(if start >= open { start } else { self.tick_after(open - Span::from_nanos(1)) })
    }

    /// A check starts, at the moment that [`next_start`](Prober::next_start) gave.
    pub fn start(&mut self, at: Timestamp) {
        self.asking = Some(at);
        self.triggered = None;
        self.spent = at;
    }

    /// The check in flight ended: its verdict, if this was the one too many (or the one that was missing).
    pub fn answered(&mut self, at: Timestamp, outcome: Outcome) -> Option<Verdict> {
        self.asking = None;
        self.free = at;
        if self.triggered.is_some() {
            self.move_grid(at);
        }
        let failed = match outcome {
            Outcome::Success => false,
            Outcome::Failure => true,
            Outcome::Dropped => return None,
        };
        self.run = if self.run_failed == failed { self.run.saturating_add(1) } else { 1 };
        self.run_failed = failed;
        let threshold = if failed { self.settings.threshold() } else { self.success_threshold };
        if self.run < threshold {
            return None;
        }
        match (self.kind, failed) {
            (ProbeKind::Liveness, false) => None,
            (ProbeKind::Liveness | ProbeKind::Startup, true) => {
                self.hold();
                Some(Verdict::Kill)
            }
            (ProbeKind::Startup, false) => {
                self.hold();
                Some(Verdict::Started)
            }
            (ProbeKind::Readiness, _) => {
                let changed = self.ready == failed;
                self.ready = !failed;
                changed.then_some(if failed { Verdict::Unready } else { Verdict::Ready })
            }
        }
    }

    /// One whole check: starts at [`next_start`](Prober::next_start) and ends at its answer or at the timeout; `None`
    /// where nothing is asked.
    pub fn ask(&mut self, answer: Answer) -> Option<Check> {
        let start = self.next_start()?;
        self.start(start);
        let (took, outcome) = answer.within(self.settings.timeout_span());
        let end = start + took;
        let verdict = self.answered(end, outcome);
        Some(Check { start, end, outcome, verdict })
    }

    /// A new container runs. Its first check comes at the first tick not before `at` and its delay; it is not ready,
    /// and failures counted stay counted unless this very worker had the last one killed.
    pub fn container_started(&mut self, at: Timestamp) {
        self.running_since = Some(at);
        self.on_hold = false;
        self.ready = false;
        self.open_from = None;
        if !self.gated {
            self.open(at);
        }
    }

    /// The container ended by itself, or its killing began to show: nothing is asked until the next one runs. A check
    /// in flight is still answered (usually: refused).
    pub fn container_exited(&mut self, at: Timestamp) {
        self.running_since = None;
        self.open_from = None;
        self.triggered = None;
        self.ready = false;
        self.spent = self.spent.max(at);
    }

    /// The container's startup probe succeeded: one held back by it begins at the next tick.
    pub fn startup_succeeded(&mut self, at: Timestamp) {
        if self.gated {
            self.open(at);
        }
    }

    /// A manual trigger, which the kubelet gives readiness workers at each sync of a pod that is not ready: a check at
    /// once, and the grid starts anew here. While a check runs one trigger is kept (where a tick is kept too the
    /// kubelet takes either; here the trigger).
    pub fn trigger(&mut self, at: Timestamp) {
        if self.asking.is_some() {
            self.triggered = Some(at);
            return;
        }
        self.move_grid(at);
        let open = self.open_from.is_some_and(|from| from <= at) && !self.on_hold;
        self.triggered = open.then_some(at);
    }

    fn hold(&mut self) {
        self.on_hold = true;
        self.run = 0;
    }

    fn open(&mut self, at: Timestamp) {
        let Some(since) = self.running_since else { return };
        let delayed = Timestamp::from_seconds(since.floor_seconds()) + self.initial_delay;
        self.open_from = Some(at.max(delayed));
        // A tick in the very moment counts.
        self.spent = self.spent.max(at - Span::from_nanos(1));
    }

    fn move_grid(&mut self, at: Timestamp) {
        self.tick = at;
        self.spent = at;
        if self.triggered.is_some() {
            self.triggered = Some(at);
        }
    }

    /// The first tick strictly after a moment.
    fn tick_after(&self, at: Timestamp) -> Timestamp {
        let period = self.settings.period_span().nanos();
        // Before everything: the tick that was given.
        if at == Timestamp::from_nanos(i64::MIN) {
            return self.tick;
        }
        let past = at.since(self.tick).nanos().rem_euclid(period);
        at + Span::from_nanos(period - past)
    }
}
