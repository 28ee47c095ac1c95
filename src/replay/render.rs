//! Results as JSON, version 1, and as a table.

use super::{Change, Detection, Figures, Played};
use crate::units::Span;
use serde::Serialize;
use std::fmt::Write;

/// The document, version 1. Field names and order are a contract.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    results: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    trace: &'a str,
    policy: &'a str,
    seconds: f64,
    phases: u32,
    #[serde(flatten)]
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome<'a> {
    Skipped { skipped: &'a str },
    Figures(Numbers<'a>),
}

#[derive(Serialize)]
struct Numbers<'a> {
    settings: Vec<Numbered<'a>>,
    checks: u64,
    failed: u64,
    false_restarts: u64,
    false_unready_s: f64,
    hang_s: Times,
    crash_s: Times,
    rollouts: usize,
}

#[derive(Serialize)]
struct Numbered<'a> {
    at_s: f64,
    period: u32,
    timeout: u32,
    threshold: u32,
    why: &'a str,
}

#[derive(Serialize)]
struct Times {
    mean: f64,
    p50: f64,
    p99: f64,
    max: f64,
}

/// Seconds, rounded to the millisecond.
fn rounded(span: Span) -> f64 {
    (span.as_secs_f64() * 1e3).round() / 1e3
}

impl From<&Detection> for Times {
    fn from(d: &Detection) -> Self {
        Times { mean: rounded(d.mean), p50: rounded(d.p50), p99: rounded(d.p99), max: rounded(d.max) }
    }
}

impl<'a> From<&'a Change> for Numbered<'a> {
    fn from(c: &'a Change) -> Self {
        let s = c.settings;
        Numbered {
            at_s: rounded(Span::from_nanos(c.at)),
            period: s.period(),
            timeout: s.timeout(),
            threshold: s.threshold(),
            why: &c.why,
        }
    }
}

impl<'a> From<&'a Figures> for Numbers<'a> {
    fn from(f: &'a Figures) -> Self {
        Numbers {
            settings: f.settings.iter().map(Numbered::from).collect(),
            checks: f.checks,
            failed: f.failed,
            false_restarts: f.false_restarts,
            false_unready_s: rounded(f.false_unready),
            hang_s: (&f.hang).into(),
            crash_s: (&f.crash).into(),
            rollouts: f.rollouts(),
        }
    }
}

impl Figures {
    /// Changes of the numbers; the first numbers are none.
    pub fn rollouts(&self) -> usize {
        self.settings.len().saturating_sub(1)
    }
}

/// One JSON document, version 1: results in the order of the traces given, within a trace in that of the policies.
pub fn json(results: &[(String, Vec<Played>)]) -> String {
    let entries = results.iter().flat_map(|(trace, played)| {
        played.iter().map(move |p| Entry {
            trace,
            policy: &p.policy,
            seconds: rounded(p.length),
            phases: p.phases,
            outcome: match &p.outcome {
                Ok(figures) => Outcome::Figures(figures.into()),
                Err(reason) => Outcome::Skipped { skipped: reason },
            },
        })
    });
    let document = Document { version: 1, results: entries.collect() };
    serde_json::to_string(&document).expect("numbers and texts always serialize")
}

/// A table for people: one block a trace, one row a policy.
pub fn table(results: &[(String, Vec<Played>)]) -> String {
    let mut text = String::new();
    for (i, (trace, played)) in results.iter().enumerate() {
        let (length, phases) = played.first().map_or((Span::ZERO, 0), |p| (p.length, p.phases));
        let gap = if i > 0 { "\n" } else { "" };
        writeln!(text, "{gap}{trace}: {:.1} s, {phases} phases", length.as_secs_f64()).unwrap_or_default();
        let head = ["policy", "numbers", "checks", "failed", "false", "unready", "hang", "", "crash", "", "rollouts"];
        let unit = ["", "at the end", "", "", "restarts", "s", "mean s", "p99 s", "mean s", "p99 s", ""];
        row(&mut text, head.map(str::to_owned));
        row(&mut text, unit.map(str::to_owned));
        for p in played {
            match &p.outcome {
                Ok(f) => row(&mut text, cells(&p.policy, f)),
                Err(reason) => writeln!(text, "  {:<18}  not played: {reason}", p.policy).unwrap_or_default(),
            }
        }
    }
    text
}

fn cells(policy: &str, f: &Figures) -> [String; 11] {
    let seconds = |span: Span| format!("{:.1}", span.as_secs_f64());
    [
        policy.to_owned(),
        f.settings.last().map_or_else(String::new, |c| c.settings.to_string()),
        f.checks.to_string(),
        f.failed.to_string(),
        f.false_restarts.to_string(),
        seconds(f.false_unready),
        seconds(f.hang.mean),
        seconds(f.hang.p99),
        seconds(f.crash.mean),
        seconds(f.crash.p99),
        f.rollouts().to_string(),
    ]
}

fn row(text: &mut String, cells: [String; 11]) {
    const WIDTHS: [usize; 11] = [18, 10, 9, 8, 8, 8, 7, 6, 7, 6, 8];
    text.push_str("  ");
    for (i, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let padded = if i < 2 { format!("{cell:<width$}  ") } else { format!("{cell:>width$} ") };
        text.push_str(&padded);
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}
