//! Whether the process is alive, and whether it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long without a beat counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(60);
/// How often it beats.
const EVERY: Duration = Duration::from_secs(5);

/// A timer task that waits for nothing else: while it beats, the process schedules its tasks. A slow API server is none
/// of its business; restarting us would not make that faster.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    /// Milliseconds from `began` to the last beat.
    last: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Pulse {
    /// Starts the task; it ends with this value. Called within a runtime.
    pub fn start() -> Self {
        let began = Instant::now();
        let last = Arc::new(AtomicU64::new(0));
        let beat = last.clone();
        let task = tokio::spawn(async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                let now = ticks.tick().await;
                beat.store(millis(now.saturating_duration_since(began)), Ordering::Relaxed);
            }
        });
        Pulse { began, last, task }
    }

    /// Whether it has beaten within a minute.
    ///
    /// # Errors
    /// Says for how long it has not.
    pub fn alive(&self) -> Result<(), String> {
        self.alive_at(Instant::now())
    }

    fn alive_at(&self, now: Instant) -> Result<(), String> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let silent = now.saturating_duration_since(self.began).saturating_sub(last);
        if silent > DEAD_AFTER { Err(format!("no beat for {}s", silent.as_secs())) } else { Ok(()) }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// What must be known before the daemon can do its work. Each becomes true once.
#[derive(Debug, Default)]
pub struct Readiness {
    caches: AtomicBool,
    state: AtomicBool,
}

impl Readiness {
    /// The watch caches are full.
    pub fn caches_are_full(&self) {
        self.caches.store(true, Ordering::Release);
    }

    /// What an earlier life wrote down is known.
    pub fn state_is_known(&self) {
        self.state.store(true, Ordering::Release);
    }

    /// Whether all of it is known.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn ready(&self) -> Result<(), String> {
        let missing: Vec<&str> =
            [(&self.caches, "caches are not full yet"), (&self.state, "the state of an earlier life is not known yet")]
                .into_iter()
                .filter(|(known, _)| !known.load(Ordering::Acquire))
                .map(|(_, what)| what)
                .collect();
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_dead_only_after_a_minute_without_a_beat() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        // The task never runs: nothing drives the runtime any more.
        let pulse = runtime.block_on(async { Pulse::start() });
        let after = |seconds| pulse.alive_at(pulse.began + Duration::from_secs(seconds));
        assert_eq!(after(60), Ok(()));
        assert_eq!(after(73), Err("no beat for 73s".into()));
        pulse.last.store(20_000, Ordering::Relaxed);
        assert_eq!(after(73), Ok(()));
        assert_eq!(after(81), Err("no beat for 61s".into()));
    }

    #[test]
    fn readiness_says_what_is_missing() {
        let readiness = Readiness::default();
        let missing = "caches are not full yet\nthe state of an earlier life is not known yet";
        assert_eq!(readiness.ready(), Err(missing.into()));
        readiness.caches_are_full();
        assert_eq!(readiness.ready(), Err("the state of an earlier life is not known yet".into()));
        readiness.state_is_known();
        assert_eq!(readiness.ready(), Ok(()));
    }
}
