//! A backtest as a table for people and as a document for programs.

use crate::cli::demo::wrap;
use crate::decide::Urgency;
use crate::prometheus::{History, Skipped};
use crate::run::backtest::{Backtest, Change, Verdict};
use crate::units::{Span, Timestamp};
use serde_json::{Value, json};
use std::fmt::Write;

/// The longest line of words.
const WIDTH: usize = 100;

/// Changes of mind that a table shows; a document has all.
const SHOWN: usize = 20;

/// For people. Always ends with a line feed.
pub(super) fn table(history: &History, done: &Backtest, declared: bool) -> String {
    let mut out = String::new();
    tell(&mut out, history, done, declared).expect("writing to a string cannot fail");
    out
}

fn tell(out: &mut String, history: &History, done: &Backtest, declared: bool) -> std::fmt::Result {
    let told = &done.told;
    let span = days(history.until.since(history.from));
    writeln!(out, "{}: {span}, {} to {}", done.address, minute(history.from), minute(history.until))?;
    let restarts = match (told.restarts, told.inferred) {
        (n, 0) => format!("{n} restarts"),
        (0, n) => format!("{n} restarts read out of failures in a row"),
        (n, m) => format!("{n} restarts and {m} read out of failures in a row"),
    };
    writeln!(
        out,
        "{}, {}; {}, {} failed; {restarts}; {}, {}",
        count(told.pods as u64, "pod"),
        count(told.versions as u64, "version"),
        count(told.checks, "check"),
        told.failures,
        count(told.resets, "reset"),
        count(told.gaps, "gap")
    )?;
    let numbers = if declared { "as the cluster declares them now" } else { "as --settings says" };
    writeln!(out, "numbers: {numbers}, taken for all of that time; how checks failed is not known to a Prometheus")?;
    for verdict in &done.verdicts {
        let Verdict { judgement: j, alternatives } = verdict;
        writeln!(out, "\n{} at {}: {}, seen for {} of pod-time", j.probe, j.current, j.reason.code(), days(j.seen))?;
        for line in wrap(&plain(&j.message), WIDTH - 2) {
            writeln!(out, "  {line}")?;
        }
        if alternatives.iter().all(|a| a.false_restarts.is_none()) {
            continue;
        }
        writeln!(
            out,
            "  {:<10} {:>12} {:>10} {:>12} {:>8} {:>7} {:>6} {:>6}",
            "NUMBERS", "FALSE A YEAR", "AT MOST", "HANG WITHIN", "WAITING", "FALSE", "UNSEEN", "LOSS"
        )?;
        for a in alternatives {
            let mark = match (&a.objection, a.settings) {
                (_, s) if s == j.wanted && j.wanted != j.current => "  <- recommended".to_owned(),
                (_, s) if s == j.current => "  <- today".to_owned(),
                (Some(objection), _) => format!("  no: {objection}"),
                (None, _) => String::new(),
            };
            let (rate, upper) = (a.false_restarts.map(figure), a.upper.map(figure));
            let unknown = || "unknown".to_owned();
            writeln!(
                out,
                "  {:<10} {:>12} {:>10} {:>12} {:>8.0} {:>7.0} {:>6.0} {:>6.0}{mark}",
                a.settings.to_string(),
                rate.unwrap_or_else(unknown),
                upper.unwrap_or_else(unknown),
                format!("{}s", a.settings.worst_hang_detection()),
                a.carrying,
                a.restarts_cost,
                a.unseen,
                a.loss
            )?;
        }
        writeln!(
            out,
            "  (the last four in pod-seconds a pod-year: waiting for a verdict, false restarts, what was not seen yet; the sum)"
        )?;
    }
    writeln!(out)?;
    if done.changes.is_empty() {
        return writeln!(out, "over that time it would have recommended no other numbers");
    }
    writeln!(out, "what it would have recommended, and when:")?;
    for change in done.changes.iter().take(SHOWN) {
        writeln!(out, "{}  {}  {}", minute(change.at), change.probe, what(change))?;
        for line in wrap(&plain(&change.message), WIDTH - 18) {
            writeln!(out, "{:18}{line}", "")?;
        }
    }
    let more = done.changes.len().saturating_sub(SHOWN) + done.more_changes;
    if more > 0 {
        writeln!(out, "and {more} more (-o json has the first {})", done.changes.len())?;
    }
    Ok(())
}

/// `1 pod`, `2 pods`.
fn count(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// `10/1/3 -> 10/12/2  LOOSEN, waits for your next rollout`.
fn what(change: &Change) -> String {
    let Change { from, to, reason, .. } = change;
    if from == to {
        return format!("stays {from}  {}", reason.code());
    }
    let when = match change.urgency {
        Urgency::Hold => "held",
        Urgency::WithNextRollout => "waits for the owner's next rollout",
        Urgency::OwnRollout => "worth a rollout of its own",
        Urgency::Storm => "at once",
    };
    format!("{from} -> {to}  {}, {when}", reason.code())
}

fn urgency(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Hold => "hold",
        Urgency::WithNextRollout => "with_next_rollout",
        Urgency::OwnRollout => "own_rollout",
        Urgency::Storm => "storm",
    }
}

/// What a person must know besides: what was cut, what was not whole.
pub(super) fn warnings(history: &History, done: &Backtest, wanted: Timestamp) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(why) = &history.cut {
        said.push(format!("history begins at {} and not at {}: {why}", minute(history.from), minute(wanted)));
    }
    said.extend(history.warnings.iter().map(|w| format!("the server says: {w}")));
    let Skipped { malformed, strangers, incomplete, without_durations, ambiguous, twice: _ } = history.skipped;
    for (n, what) in [
        (malformed, "samples are no counts"),
        (strangers, "series lack the kubelet's labels"),
        (incomplete, "scrapes are incomplete"),
        (without_durations, "scrapes have no histogram prober_probe_duration_seconds"),
        (ambiguous, "scrapes show two pods of one name"),
    ] {
        if n > 0 {
            said.push(format!("{n} {what} and were left out"));
        }
    }
    if history.restarts.is_empty() {
        said.push(
            "no kube-state-metrics in this Prometheus: what ended a container is read out of its failures only".into(),
        );
    }
    if done.told.probes.iter().any(|id| !done.verdicts.iter().any(|v| v.judgement.probe == *id)) {
        let missing: Vec<String> = done
            .told
            .probes
            .iter()
            .filter(|id| !done.verdicts.iter().any(|v| v.judgement.probe == **id))
            .map(ToString::to_string)
            .collect();
        said.push(format!("probes of the past that are not declared now, or not to be judged: {}", missing.join(", ")));
    }
    said
}

/// For programs: one document.
pub(super) fn json(history: &History, done: &Backtest, declared: bool) -> String {
    let told = &done.told;
    let s = history.skipped;
    let document = json!({
        "version": 1,
        "workload": done.address.to_string(),
        "from": instant(history.from),
        "until": instant(history.until),
        "settings_from": if declared { "cluster" } else { "argument" },
        "pods": told.pods,
        "versions": told.versions,
        "checks": told.checks,
        "failed": told.failures,
        "resets": told.resets,
        "gaps": told.gaps,
        "restarts": {
            "counted": told.restarts,
            "inferred": told.inferred,
            "last": done.restarts.iter().map(|r| json!({
                "at": instant(r.at), "pod": *r.pod_name, "container": *r.container, "cause": r.cause.word(),
                "confidence": r.confidence, "false": r.weight,
            })).collect::<Vec<_>>(),
        },
        "probes": done.verdicts.iter().map(probe).collect::<Vec<_>>(),
        "changes": done.changes.iter().map(|c| json!({
            "at": instant(c.at), "container": *c.probe.container, "probe": c.probe.kind.word(),
            "from": c.from.to_string(), "to": c.to.to_string(), "when": urgency(c.urgency),
            "reason": c.reason.code(), "message": c.message,
        })).collect::<Vec<_>>(),
        "more_changes": done.more_changes,
        "prometheus": {
            "queries": history.spent.queries,
            "repeated": history.spent.again,
            "samples": history.spent.samples,
            "bytes": history.spent.bytes,
            "cut": history.cut,
            "warnings": history.warnings,
            "skipped": {
                "malformed": s.malformed, "strangers": s.strangers, "incomplete": s.incomplete,
                "without_durations": s.without_durations, "ambiguous": s.ambiguous, "twice": s.twice,
            },
        },
    });
    serde_json::to_string_pretty(&document).expect("a document of strings and finite numbers")
}

fn probe(verdict: &Verdict) -> Value {
    let j = &verdict.judgement;
    json!({
        "container": *j.probe.container,
        "probe": j.probe.kind.word(),
        "seen_hours": round(j.seen.as_secs_f64() / 3_600.0),
        "current": j.current.to_string(),
        "recommended": j.wanted.to_string(),
        "when": urgency(j.urgency),
        "reason": j.reason.code(),
        "message": j.message,
        "confidence": round(j.confidence),
        "alternatives": verdict.alternatives.iter().map(|a| json!({
            "settings": a.settings.to_string(),
            "expected": a.false_restarts.zip(a.upper).map(|(rate, upper)| json!({
                "false_restarts": round(rate), "upper": round(upper),
                "detect_seconds": a.settings.worst_hang_detection(), "loss": round(a.loss),
                "waiting": round(a.carrying), "unseen": round(a.unseen),
            })),
            "objection": a.objection.map(|o| o.word()),
        })).collect::<Vec<_>>(),
    })
}

fn round(x: f64) -> f64 {
    (x * 1_000.0).round() / 1_000.0
}

/// A rate: two digits that mean something.
fn figure(x: f64) -> String {
    match x {
        x if x < 0.005 => "under 0.01".into(),
        x if x < 10.0 => format!("{x:.2}"),
        x if x < 100.0 => format!("{x:.1}"),
        x => format!("{x:.0}"),
    }
}

/// `14 days`, `5 h`, `12 min`.
pub(super) fn days(span: Span) -> String {
    let seconds = span.floor_seconds().max(0);
    match seconds {
        0..=7_199 => format!("{} min", (seconds + 30) / 60),
        7_200..=172_799 => format!("{:.1} h", span.as_secs_f64() / 3_600.0),
        _ => format!("{:.1} days", span.as_days_f64()),
    }
}

/// `2026-01-05 10:15Z`.
fn minute(at: Timestamp) -> String {
    let text = instant(at);
    let (date, time) = text.split_once('T').unwrap_or((&text, "00:00"));
    format!("{date} {}Z", time.get(..5).unwrap_or(time))
}

/// RFC 3339, whole seconds.
fn instant(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.floor_seconds()).map_or_else(|_| "out of range".to_owned(), |t| t.to_string())
}

/// Text that a terminal cannot take for a command.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
