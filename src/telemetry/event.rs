//! What can happen that is worth a line or a count.

use super::metrics::Metrics;
use crate::change::{Change, Outcome, Verdict};
use crate::engine::View;
use crate::observation::Fact;
use crate::policy::Unreadable;
use crate::workload::Address;
use std::fmt::Display;
use std::time::Duration;
use tracing::{debug, error, info, trace, warn};

/// What was dropped because a bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// Facts that the engine had no room for.
    Fact,
    /// Series of a kubelet's page that could not be read or belong to nobody.
    Series,
    /// Changes that did not fit into the queue to `act`.
    Change,
    /// Connections to our own HTTP server beyond its bound.
    Connection,
    /// Kubernetes Events of ours that were not sent.
    Event,
    /// Workloads whose past was not asked for, since too many waited.
    History,
}

impl Lost {
    /// All kinds.
    pub const ALL: [Lost; 6] = [Lost::Fact, Lost::Series, Lost::Change, Lost::Connection, Lost::Event, Lost::History];

    /// The value of the label.
    pub const fn word(self) -> &'static str {
        match self {
            Lost::Fact => "fact",
            Lost::Series => "series",
            Lost::Change => "change",
            Lost::Connection => "connection",
            Lost::Event => "event",
            Lost::History => "history",
        }
    }
}

/// Something that happened. [`Metrics::emit`] writes its line and counts it.
pub enum Event<'a> {
    /// A fact went into the engine.
    Observed(&'a Fact),
    /// Something was dropped because a bound was reached.
    Dropped {
        /// What.
        what: Lost,
        /// How many.
        count: u64,
    },
    /// A kubelet was read, or was not.
    Scraped {
        /// The node.
        node: &'a str,
        /// How long it took.
        took: Duration,
        /// Bytes of its page that arrived.
        bytes: u64,
        /// It failed in the same way the last time: counted, and told at level `debug` only.
        again: bool,
        /// Samples of opted-in pods; or the `kind()` of the error, which comes from a closed list, and its words.
        result: Result<usize, (&'static str, &'a dyn Display)>,
    },
    /// A kubelet's cAdvisor page was read, or was not.
    Throttling {
        /// The node.
        node: &'a str,
        /// How long it took.
        took: Duration,
        /// Bytes of the page that arrived.
        bytes: u64,
        /// It failed in the same way the last time: counted, and told at level `debug` only.
        again: bool,
        /// Containers of opted-in pods that have a CPU limit; or the `kind()` of the error and its words.
        result: Result<usize, (&'static str, &'a dyn Display)>,
    },
    /// An endpoint was asked by a shadow check.
    Shadowed {
        /// What came of it, from a closed list: `healthy`, `unhealthy`, `silent`, `unreached`, `stale`.
        result: &'static str,
    },
    /// A pod was not asked when it was its turn.
    ShadowRefused {
        /// The rule, from a closed list.
        rule: &'static str,
    },
    /// A workload's past was asked of a Prometheus.
    Recalled {
        /// Whose.
        address: &'a Address,
        /// Samples that came.
        samples: u64,
        /// Why it does not reach as far back as was asked, if so.
        cut: Option<&'a str>,
        /// Pods that it tells of; or the `kind()` of the error, which comes from a closed list, and its words.
        result: Result<usize, (&'static str, &'a dyn Display)>,
    },
    /// The engine took a turn.
    Turned {
        /// How long it took.
        took: Duration,
        /// Changes planned.
        changes: usize,
        /// Workloads with news.
        news: usize,
    },
    /// Forecasts of timeouts turned out.
    Foretold {
        /// How: a closed list, `hit`, `miss`, `surprise`.
        outcome: &'static str,
        /// How many.
        count: u32,
    },
    /// A workload stands elsewhere than before.
    Decided(&'a View),
    /// What became of a change that was tried.
    Acted {
        /// The change.
        change: &'a Change,
        /// What became of it.
        outcome: &'a Outcome,
    },
    /// A change has ended.
    Ended {
        /// Whose.
        address: &'a Address,
        /// `Change::id`.
        change: u64,
        /// How.
        verdict: Verdict,
    },
    /// The API server was asked.
    Requested {
        /// The verb, as RBAC has it: `get`, `list`, `watch`, `create`, `patch`, `delete`.
        verb: &'static str,
        /// The status of the answer; `None` when there was none.
        code: Option<u16>,
    },
    /// A watch broke and begins anew.
    WatchBroken {
        /// The resource, from our own list: `deployments`.
        resource: &'static str,
        /// Why.
        why: &'a dyn Display,
    },
    /// The fence was tried.
    Fence {
        /// Whether it refuses what it must.
        holds: bool,
        /// What it answered.
        why: &'a str,
    },
    /// The brake was read.
    Paused {
        /// Everything is stopped.
        everywhere: bool,
        /// Namespaces that are stopped by name.
        namespaces: usize,
    },
    /// An annotation cannot be read.
    Unreadable {
        /// On which workload, or one in the namespace that carries it.
        address: &'a Address,
        /// What.
        what: &'a Unreadable,
    },
    /// Evidence was written to the cluster.
    Stored {
        /// Objects written.
        objects: usize,
        /// All evidence that is kept, in bytes.
        bytes: u64,
    },
}

impl Metrics {
    /// Writes the event's log line and counts it.
    pub fn emit(&self, event: &Event<'_>) {
        match event {
            Event::Observed(fact) => {
                trace!(kind = fact_kind(fact), "observed");
                self.observations(fact_kind(fact)).inc();
            }
            Event::Dropped { what, count } => {
                warn!(what = what.word(), count, "dropped: a bound was reached");
                self.dropped(*what).inc_by(*count);
            }
            Event::Scraped { node, took, bytes, again, result } => {
                let took = took.as_secs_f64();
                let kind = match result {
                    Ok(samples) => {
                        debug!(node, took, bytes, samples, "kubelet read");
                        "ok"
                    }
                    Err((kind, why)) => {
                        match again {
                            true => debug!(node, took, bytes, kind, "kubelet still not read"),
                            false => {
                                warn!(node, took, bytes, kind, why = %why, "kubelet not read; its checks are unknown until it is");
                            }
                        }
                        kind
                    }
                };
                self.scraped(kind, took, *bytes);
            }
            Event::Throttling { node, took, bytes, again, result } => {
                let took = took.as_secs_f64();
                let kind = match result {
                    Ok(containers) => {
                        debug!(node, took, bytes, containers, "kubelet's cAdvisor page read");
                        "ok"
                    }
                    Err((kind, why)) => {
                        match again {
                            true => debug!(node, took, bytes, kind, "kubelet's cAdvisor page still not read"),
                            false => {
                                warn!(node, took, bytes, kind, why = %why, "kubelet's cAdvisor page not read; how often its containers are throttled is unknown");
                            }
                        }
                        kind
                    }
                };
                self.throttling(kind, *bytes);
            }
            Event::Shadowed { result } => {
                trace!(result, "shadow check");
                self.shadow_checks(result).inc();
            }
            Event::ShadowRefused { rule } => {
                trace!(rule, "no shadow check");
                self.shadow_refusals(rule).inc();
            }
            Event::Recalled { address, samples, cut, result } => {
                let result = match (result, cut) {
                    (Ok(0), _) => {
                        info!(workload = %address, "the Prometheus knows no past of it: it is watched from now on");
                        "empty"
                    }
                    (Ok(pods), None) => {
                        info!(workload = %address, pods, samples, "its past was read");
                        "ok"
                    }
                    (Ok(pods), Some(why)) => {
                        warn!(workload = %address, pods, samples, why, "part of its past was read");
                        "cut"
                    }
                    (Err((kind, why)), _) => {
                        warn!(workload = %address, kind, why = %why, "its past cannot be read: it is watched from now on");
                        kind
                    }
                };
                self.recalled(result, *samples);
            }
            Event::Turned { took, changes, news } => {
                debug!(took = took.as_secs_f64(), changes, news, "turn");
                self.turned(took.as_secs_f64());
            }
            Event::Foretold { outcome, count } => {
                debug!(outcome, count, "forecasts judged");
                self.forecasts(outcome).inc_by(u64::from(*count));
            }
            Event::Decided(view) => info!(
                workload = %view.address,
                mode = view.mode.word(),
                phase = view.phase.name(),
                reason = view.reason.code(),
                "{}",
                view.message
            ),
            Event::Acted { change, outcome } => self.acted(change, outcome),
            Event::Ended { address, change, verdict } => {
                let change = format!("{change:016x}");
                match verdict {
                    Verdict::Verified => info!(workload = %address, change, "change verified"),
                    other => warn!(workload = %address, change, verdict = other.word(), "change ended"),
                }
                self.verifications(*verdict).inc();
            }
            Event::Requested { verb, code } => {
                trace!(verb, code, "request");
                self.requests(verb, *code).inc();
            }
            Event::WatchBroken { resource, why } => {
                warn!(resource, why = %why, "watch broken; it begins anew");
                self.watch_failures(resource).inc();
            }
            Event::Fence { holds, why } => {
                match holds {
                    true => info!(why, "the fence holds: the API server refuses what it must"),
                    false => error!(why, "the fence does not hold: nothing is written"),
                }
                self.fence(*holds);
            }
            Event::Paused { everywhere, namespaces } => {
                info!(everywhere, namespaces, "brake read");
                self.paused(*everywhere, *namespaces);
            }
            Event::Unreadable { address, what } => {
                let (key, value, wanted) = (&what.key, &what.value, &what.wanted);
                warn!(workload = %address, %key, %value, %wanted, on_namespace = what.on_namespace, "annotation cannot be read: it permits nothing");
                self.unreadable();
            }
            Event::Stored { objects, bytes } => {
                debug!(objects, bytes, "evidence written");
                self.stored(*bytes);
            }
        }
    }

    fn acted(&self, change: &Change, outcome: &Outcome) {
        let Change { id, address, intent, steps, reason, message, .. } = change;
        let what = steps.iter().map(|s| format!("{} {} -> {}", s.probe, s.from, s.to)).collect::<Vec<_>>().join(", ");
        let (id, reason, intent) = (format!("{id:016x}"), reason.code(), super::metrics::intent(*intent));
        let tried = super::metrics::outcome(outcome);
        match outcome {
            Outcome::Applied { generation } => {
                info!(workload = %address, change = id, intent, reason, generation, "applied: {what}; {message}");
            }
            Outcome::Gone => info!(workload = %address, change = id, intent, reason, "gone before it was changed"),
            Outcome::Contested { found: why }
            | Outcome::Refused { why }
            | Outcome::Unknown { why }
            | Outcome::Withheld { why, .. } => {
                warn!(workload = %address, change = id, intent, reason, %why, "{tried}: {what}");
            }
        }
        self.changes(intent, tried).inc();
    }
}

/// The kind of a fact, for its label.
pub(super) const fn fact_kind(fact: &Fact) -> &'static str {
    match fact {
        Fact::Workload(_) => "workload",
        Fact::WorkloadGone(_) => "workload_gone",
        Fact::Pod(_) => "pod",
        Fact::PodGone(_) => "pod_gone",
        Fact::Sample(_) => "sample",
        Fact::ScrapeMissed(_) => "scrape_missed",
        Fact::ShadowCheck { .. } => "shadow_check",
        Fact::Unhealthy { .. } => "unhealthy",
        Fact::Killing { .. } => "killing",
        Fact::PodUsage { .. } => "pod_usage",
        Fact::NodeUsage { .. } => "node_usage",
        Fact::Throttling(_) => "throttling",
        Fact::Outcome { .. } => "outcome",
        Fact::Fence { .. } => "fence",
        Fact::Records { .. } => "records",
        Fact::Illegible { .. } => "illegible",
        Fact::Remembered { .. } => "remembered",
        Fact::RememberedEvidence { .. } => "remembered_evidence",
    }
}
