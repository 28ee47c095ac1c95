//! Says what happened where people look: the log, the metrics page, and Events on the objects concerned.

use crate::act::{Announcement, Announcer, Regarding};
use crate::change::{Change, Intent, Outcome, Step, Verdict};
use crate::decide::about;
use crate::engine::{Ended, Foreseen};
use crate::evidence::{Basis, Record};
use crate::observe::{Notice, Shadowed};
use crate::telemetry::{Event, Lost, Metrics};
use crate::units::{Name, Uid};
use crate::workload::Address;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most nodes whose trouble is remembered; beyond it each scrape that fails is told.
const MOST_TROUBLED: usize = 5_000;

/// Nodes that could not be read the last time, and why.
type Troubled = BTreeMap<Name, &'static str>;

/// Remembers how a node could be read, and says whether it fails as it did the last time.
fn remember(troubled: &mut Troubled, node: &Name, trouble: Option<&'static str>) -> bool {
    let Some(kind) = trouble else {
        troubled.remove(node);
        return false;
    };
    let again = troubled.get(node) == Some(&kind);
    if troubled.len() < MOST_TROUBLED || again {
        troubled.insert(node.clone(), kind);
    }
    again
}

/// Tells what the observing tasks notice, for as long as they do.
pub(super) async fn hear(
    mut noticed: mpsc::Receiver<Notice>,
    metrics: Arc<Metrics>,
    announcer: Announcer,
) -> &'static str {
    // One line for each new trouble, not one for each scrape.
    let mut troubled: Troubled = BTreeMap::new();
    let mut unthrottled: Troubled = BTreeMap::new();
    while let Some(notice) = noticed.recv().await {
        match notice {
            Notice::Annotation { subject, message } => {
                let namespace = subject.namespace.as_deref().unwrap_or_default();
                tracing::warn!(kind = subject.kind, namespace, name = &*subject.name, "{message}");
                let api_version = if subject.kind == "Namespace" { "v1" } else { "apps/v1" };
                let regarding = Regarding {
                    api_version,
                    kind: subject.kind,
                    namespace: subject.namespace,
                    name: subject.name,
                    uid: subject.uid,
                };
                announcer.announce(Announcement {
                    regarding,
                    warning: true,
                    reason: "AnnotationUnreadable",
                    note: message,
                });
            }
            Notice::Scraped { node, took, bytes, result } => {
                let again = remember(&mut troubled, &node, result.as_ref().err().map(|(kind, _)| *kind));
                let lost = result.as_ref().map_or(0, |(_, skipped)| skipped.malformed + skipped.incomplete);
                let result =
                    result.as_ref().map(|(samples, _)| *samples).map_err(|(kind, why)| (*kind, why as &dyn Display));
                metrics.emit(&Event::Scraped { node: &node, took, bytes, again, result });
                if lost > 0 {
                    metrics.emit(&Event::Dropped { what: Lost::Series, count: lost });
                }
            }
            Notice::Throttling { node, took, bytes, result } => {
                let again = remember(&mut unthrottled, &node, result.as_ref().err().map(|(kind, _)| *kind));
                let lost = result.as_ref().map_or(0, |(_, skipped)| skipped.malformed + skipped.incomplete);
                let result = result.as_ref().map(|(n, _)| *n).map_err(|(kind, why)| (*kind, why as &dyn Display));
                metrics.emit(&Event::Throttling { node: &node, took, bytes, again, result });
                if lost > 0 {
                    metrics.emit(&Event::Dropped { what: Lost::Series, count: lost });
                }
            }
            Notice::WatchBroken { resource, why, .. } => metrics.emit(&Event::WatchBroken { resource, why: &why }),
            Notice::UsageMissing { kind, why } => tracing::warn!(kind, %why, "usage is unknown"),
            Notice::UsageBack => tracing::info!("usage is known again"),
            Notice::Shadowed(Shadowed::Refused(rule)) => metrics.emit(&Event::ShadowRefused { rule: rule.word() }),
            Notice::Shadowed(result) => metrics.emit(&Event::Shadowed { result: result.word() }),
            Notice::PodsUnreached { example } => tracing::warn!(
                %example,
                "shadow checks reach no pod, so nothing is seen by them; hint: pods must be reachable from here; see network policies"
            ),
            Notice::PodsReached => tracing::info!("shadow checks reach pods again"),
        }
    }
    "notices"
}

/// Tells what became of a change that was tried.
pub(super) fn tried(metrics: &Metrics, announcer: &Announcer, change: &Change, outcome: &Outcome) {
    metrics.emit(&Event::Acted { change, outcome });
    let (warning, reason, words) = match outcome {
        Outcome::Applied { .. } if change.intent == Intent::Revert => (true, "ProbesRestored", change.message.clone()),
        Outcome::Applied { .. } => (false, "ProbesChanged", change.message.clone()),
        Outcome::Refused { why } => (true, "ChangeRefused", why.to_string()),
        // A stale plan is made anew; what was withheld is in the report.
        Outcome::Contested { .. } | Outcome::Gone | Outcome::Unknown { .. } | Outcome::Withheld { .. } => return,
    };
    let note = format!("{}: {words}", steps(&change.steps));
    announcer.announce(Announcement { regarding: regarding(&change.address, change.workload), warning, reason, note });
}

/// Tells how a change ended.
pub(super) fn ended(metrics: &Metrics, announcer: &Announcer, ended: &Ended) {
    let Ended { workload, address, change, past, note } = ended;
    metrics.emit(&Event::Ended { address, change: *change, verdict: past.verdict });
    let (warning, reason, words) = match past.verdict {
        Verdict::Verified if past.intent == Intent::Tune => {
            (false, "ChangeVerified", "watched to the end, and not worse")
        }
        Verdict::Contested => {
            (true, "ChangeContested", "somebody put other numbers in the place of ours: theirs stand")
        }
        Verdict::Abandoned => (true, "ChangeAbandoned", "stopped by a person"),
        Verdict::Superseded => {
            (false, "ChangeSuperseded", "another version was rolled out on top: the numbers stay, unjudged")
        }
        // Told when the patch that took it back was applied, or when it was refused.
        Verdict::Verified | Verdict::Reverted | Verdict::Refused => return,
    };
    let note = note.as_ref().map_or(String::new(), |n| format!("; {n}"));
    let note = format!("{}: {words}{note}", steps(&past.steps));
    announcer.announce(Announcement { regarding: regarding(address, *workload), warning, reason, note });
}

/// Tells that a timeout will be reached: once a forecast.
pub(super) fn foretold(announcer: &Announcer, foreseen: &Foreseen) {
    let Foreseen { workload, address, .. } = foreseen;
    let note = ahead(foreseen);
    tracing::info!(namespace = &*address.namespace, name = &*address.name, "{note}");
    let regarding = regarding(address, *workload);
    announcer.announce(Announcement { regarding, warning: false, reason: "TimeoutForetold", note });
}

/// What is foretold, when, how sure that is, and what to type.
fn ahead(Foreseen { address, probe, foretold, .. }: &Foreseen) -> String {
    let why = match foretold.basis {
        Basis::Season => "as at this hour before".to_owned(),
        Basis::Trend(growth) => format!("it grows by {:.0} % a day", growth * 100.0),
    };
    format!(
        "{probe}: in about {} (give or take {} h), one check in a hundred is expected to run into the timeout of {} s: {why}, {:.0} % likely; to see more: probe-tuner explain {}/{}/{}",
        about(foretold.at.since(foretold.made)),
        foretold.within.floor_seconds() / 3_600,
        foretold.timeout,
        foretold.probability * 100.0,
        address.namespace,
        address.kind.word(),
        address.name,
    )
}

/// Counts how forecasts turned out.
pub(super) fn judged(metrics: &Metrics, record: Record) {
    let Record { hits, misses, surprises } = record;
    for (outcome, count) in [("hit", hits), ("miss", misses), ("surprise", surprises)] {
        if count > 0 {
            metrics.emit(&Event::Foretold { outcome, count });
        }
    }
}

fn regarding(address: &Address, uid: Uid) -> Regarding {
    Regarding {
        api_version: "apps/v1",
        kind: address.kind.name(),
        namespace: Some(address.namespace.clone()),
        name: address.name.clone(),
        uid: uid.to_string().into(),
    }
}

fn steps(steps: &[Step]) -> String {
    steps.iter().map(|s| format!("{} {} -> {}", s.probe, s.from, s.to)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Foretold;
    use crate::probe::ProbeKind;
    use crate::units::{Span, Timestamp};
    use crate::workload::{ProbeId, WorkloadKind};

    #[test]
    fn a_forecast_of_less_than_an_hour_says_minutes_and_what_to_type() {
        let foretold = Foretold {
            made: Timestamp::EPOCH,
            at: Timestamp::EPOCH + Span::MINUTE * 45,
            within: Span::HOUR,
            timeout: 5,
            probability: 0.92,
            basis: Basis::Season,
        };
        let foreseen = Foreseen {
            workload: Uid::from_bits(1),
            address: Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() },
            probe: ProbeId { container: "app".into(), kind: ProbeKind::Liveness },
            foretold,
        };
        assert_eq!(
            ahead(&foreseen),
            "app/liveness: in about 45 min (give or take 1 h), one check in a hundred is expected to run into the timeout of 5 s: as at this hour before, 92 % likely; to see more: probe-tuner explain shop/deployment/web"
        );
    }
}
