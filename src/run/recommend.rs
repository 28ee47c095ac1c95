//! One pass: look at everything once, take one turn, write nothing.
//!
//! The same watches, the same scrape and the same engine as the daemon's; the plan of the one turn is dropped. What an
//! earlier daemon wrote down is read where the caller may.

use super::clock::Clock;
use super::daemon::{Error, Setup, defaults, rules, scraping};
use crate::annotations::Pause;
use crate::change::Change;
use crate::cluster::Patience;
use crate::engine::{Engine, View};
use crate::observation::{Fact, Observation};
pub use crate::observe::Scope;
use crate::observe::{self, Notice, Scraping};
use crate::policy::Mode;
use crate::store::evidence::{self, SHARDS};
use crate::store::tunings;
use crate::units::{Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

/// What one pass found.
#[derive(Debug)]
pub struct Pass {
    /// Every workload in scope that has a probe.
    pub views: Vec<View>,
    /// What could not be looked at, and what that means for the answer.
    pub warnings: Vec<String>,
    /// The engine that looked, to be asked for explanations.
    pub engine: Engine,
    /// The moment of its turn.
    pub at: Timestamp,
}

/// Without everything else there is no answer; without nodes their kubelets are not asked.
const SPARED: &str = "nodes";
/// After one refusal others are waited for until none came for so long.
const REFUSALS_MORE: Duration = Duration::from_millis(500);
/// Most different warnings that are kept.
const MOST_WARNINGS: usize = 20;

/// Looks once at `scope`, within `within`.
///
/// # Errors
/// When nothing could be looked at: the lists did not come in time, or a task has died.
pub async fn recommend(setup: &Setup, scope: Scope, within: Duration) -> Result<Pass, Error> {
    let Setup { config, client, roots } = setup;
    let deadline = Instant::now() + within;
    let clock = Clock::start();
    let patience = Patience::default();
    let (facts, mut heard) = mpsc::channel(8_192);
    let (notices, mut noticed) = mpsc::channel(1_024);
    // A recommendation is for whoever asks; the brake stops writes, and there are none here.
    let (_word, paused) = watch::channel(Pause::NOWHERE);
    let tick = clock.clone();
    let observing = observe::Settings {
        namespace: config.cluster.namespace.clone(),
        scope,
        excluded: config.cluster.excluded_namespaces.iter().cloned().collect(),
        defaults: defaults(config),
        paused,
        // One look at a counter says nothing of how often it moves.
        scraping: Some(Scraping { spread: false, throttling: None, ..scraping(config, roots.clone())? }),
        usage_every: Some(Duration::from_secs(60)),
        shadowing: None,
    };
    let mut observer = observe::start(client.clone(), observing, Arc::new(move || tick.now()), facts, notices);
    let mut pass = Looking {
        engine: Engine::new(rules(config), clock.now()),
        off: BTreeMap::new(),
        warnings: BTreeSet::new(),
        refused: false,
    };
    recall(&mut pass, setup, patience, &clock).await;
    let mut progress = observer.progress.clone();
    let looked = async {
        loop {
            tokio::select! {
                _ = progress.wait_for(|p| p.full && p.scraped && p.used) => break Ok(()),
                ended = &mut observer.task => break match ended {
                    Ok(Err(e)) => Err(Error::from(e)),
                    Ok(Ok(())) | Err(_) => Err(Error::Task("that observes")),
                },
                Some(o) = heard.recv() => pass.fact(o),
                Some(n) = noticed.recv() => pass.notice(n),
                // What else is refused is told with it.
                () = sleep(REFUSALS_MORE), if pass.refused => break Err(Error::Refused(pass.told())),
            }
        }
    };
    match timeout_at(deadline, looked).await {
        Ok(done) => done?,
        Err(_) if observer.progress.borrow().full => {
            pass.warn(format!("not every kubelet or metrics answered within {within:?}"))
        }
        Err(_) => return Err(Error::NotInTime(within, pass.warnings.into_iter().collect())),
    }
    while let Ok(o) = heard.try_recv() {
        pass.fact(o);
    }
    while let Ok(n) = noticed.try_recv() {
        pass.notice(n);
    }
    observer.task.abort();
    let at = clock.now();
    let dropped: Vec<Change> = pass.engine.turn(at).changes;
    drop(dropped);
    let mut views: Vec<View> = pass.engine.views().filter(|v| !v.judgements.is_empty()).collect();
    for v in &mut views {
        if let Some(mode) = pass.off.get(&v.uid) {
            v.mode = *mode;
        }
    }
    Ok(Pass { views, warnings: pass.warnings.into_iter().collect(), engine: pass.engine, at })
}

struct Looking {
    engine: Engine,
    /// Workloads that are not opted in: judged because a person asked, shown with their own mode.
    off: BTreeMap<Uid, Mode>,
    warnings: BTreeSet<String>,
    /// Something without which there is no answer was refused.
    refused: bool,
}

impl Looking {
    fn fact(&mut self, mut o: Observation) {
        if let Fact::Workload(w) = &mut o.fact
            && w.permission.mode == Mode::Off
        {
            self.off.insert(w.uid, Mode::Off);
            w.permission.mode = Mode::Recommend;
        }
        self.engine.observe(o);
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Annotation { subject, message } => {
                let namespace = subject.namespace.map_or(String::new(), |n| format!("{n}/"));
                self.warn(format!("{namespace}{}/{}: {message}", subject.kind, subject.name));
            }
            Notice::Scraped { node, result: Err((_, why)), .. } => {
                self.warn(format!("node {node}: {why}; its pods' checks are unknown (DATA_GAP)"));
            }
            Notice::WatchBroken { resource, why, refused } => {
                // Here a person asks, and not the daemon.
                let why = why.replace("the daemon's account needs", "your account needs");
                self.refused |= refused && resource != SPARED;
                self.warn(format!("{resource} cannot be read: {why}"));
            }
            Notice::UsageMissing { why, .. } => self.warn(format!("usage is unknown: {why}")),
            // One pass asks no endpoint.
            Notice::Scraped { .. }
            | Notice::Throttling { .. }
            | Notice::UsageBack
            | Notice::Shadowed(_)
            | Notice::PodsUnreached { .. }
            | Notice::PodsReached => {}
        }
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings).into_iter().collect()
    }

    fn warn(&mut self, warning: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.insert(warning);
        }
    }
}

/// What a daemon wrote down, where the caller may read it.
async fn recall(pass: &mut Looking, setup: &Setup, patience: Patience, clock: &Clock) {
    let at = clock.now();
    match tunings::recall(&setup.client, patience).await {
        Ok(recalled) => {
            for (workload, memory) in recalled.memories {
                pass.engine.observe(Observation { at, fact: Fact::Remembered { workload, memory: Box::new(memory) } });
            }
        }
        Err(failure) => pass.warn(format!(
            "what the daemon decided so far cannot be read ({failure}): this is one look without history"
        )),
    }
    for i in 0..SHARDS {
        match evidence::recall(&setup.client, &setup.config.cluster.namespace, i, patience).await {
            Ok(entries) => {
                for (workload, bytes) in entries {
                    pass.engine.observe(Observation { at, fact: Fact::RememberedEvidence { workload, bytes } });
                }
            }
            Err(failure) => {
                pass.warn(format!(
                    "the daemon's evidence cannot be read ({failure}): this is one look without history"
                ));
                break;
            }
        }
    }
}
