//! The table: a row a probe, the words that explain it below its workload.

use super::{Numbers, Row};
use crate::cli::demo::wrap;
use std::fmt::Write;

const HEADS: [&str; 9] =
    ["CONTEXT", "WORKLOAD", "CONTAINER", "PROBE", "NUMBERS", "FALSE RESTARTS", "DETECTS WITHIN", "SURE", "REASON"];

/// The longest line of words below a row.
const WIDTH: usize = 96;

/// What the columns mean, for who sees them for the first time.
const LEGEND: &str = "
numbers:        period/timeout/threshold, now -> recommended
false restarts: expected a pod-year (of a readiness probe: removals), now -> then
detects within: worst time from a hang to the kubelet's verdict, now -> then
sure:           how likely the recommended numbers keep the false restarts that are accepted; - below a day of evidence
";

/// `several`: the context is shown too.
pub(super) fn render(rows: &[Row], several: bool) -> String {
    if rows.is_empty() {
        return "no workload with a probe was found\n".into();
    }
    let from = usize::from(!several);
    let cells: Vec<[String; 9]> = rows.iter().map(cells).collect();
    let mut widths = HEADS.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    line(&mut out, &HEADS.map(String::from)[from..], &widths[from..]);
    for (i, (row, cells)) in rows.iter().zip(&cells).enumerate() {
        line(&mut out, &cells[from..], &widths[from..]);
        // Words that the next row of the same workload repeats stand once, below the last of them.
        let words = |r: &Row| (r.context.clone(), r.namespace.clone(), r.kind, r.name.clone(), r.message.clone());
        if rows.get(i + 1).is_none_or(|next| words(next) != words(row)) {
            for words in wrap(&plain(&row.message), WIDTH) {
                writeln!(out, "  {words}").expect("writing to a string cannot fail");
            }
        }
        if let Some(ahead) = row.forecast.as_ref().and_then(|f| f.words(row.current.timeout)) {
            for words in wrap(&ahead, WIDTH) {
                writeln!(out, "  {words}").expect("writing to a string cannot fail");
            }
        }
    }
    out.push_str(LEGEND);
    out
}

fn line(out: &mut String, cells: &[String], widths: &[usize]) {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        write!(text, "{cell:<width$}  ").expect("writing to a string cannot fail");
    }
    out.push_str(text.trim_end());
    out.push('\n');
}

fn cells(r: &Row) -> [String; 9] {
    let arrow = |now: String, then: String| if now == then { now } else { format!("{now} -> {then}") };
    let figure = |x: f64| if x >= 100.0 { format!("{x:.0}") } else { format!("{x}") };
    [
        plain(&r.context),
        format!("{}/{}/{}", r.namespace, r.kind, r.name),
        r.container.clone(),
        r.probe.into(),
        arrow(numbers(r.current), numbers(r.recommended)),
        r.false_restarts.map_or_else(|| "unknown".into(), |f| arrow(figure(f.now), figure(f.then))),
        arrow(format!("{}s", r.detect_seconds.now), format!("{}s", r.detect_seconds.then)),
        r.confidence.map_or_else(|| "-".into(), |c| format!("{:.0}%", c * 100.0)),
        r.reason.into(),
    ]
}

fn numbers(n: Numbers) -> String {
    format!("{}/{}/{}", n.period, n.timeout, n.threshold)
}

/// Text that a terminal cannot take for a command.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
