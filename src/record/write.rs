//! Rows to bytes.

use super::{Columns, Load, Row, Trace};
use crate::probe::Answer;
use crate::units::Span;
use std::fmt::Write;

/// The trace as text, format version 1: the required columns, then those optional ones that it has. Reading it gives
/// the same trace, to the nanosecond (up to 104 days).
pub fn write(trace: &Trace) -> String {
    let columns = trace.columns();
    trace.rows().iter().fold(header(columns), |text, row| text + &line(row, columns))
}

/// The header line, with its end. Then come the [`line()`]s, in order of time.
pub fn header(columns: Columns) -> String {
    let mut text = String::from("t_s,latency_ms,ok");
    let optional = [("node_cpu", columns.node_cpu), ("pod_cores", columns.pod_cores), ("throttled", columns.throttled)];
    for (name, _) in optional.iter().filter(|(_, has)| *has) {
        text.push(',');
        text.push_str(name);
    }
    text.push('\n');
    text
}

/// A row under a [`header`] of the same columns, with its end. A value whose column is not there is left out.
pub fn line(row: &Row, columns: Columns) -> String {
    let mut text = String::new();
    push_decimal(&mut text, row.at, 1_000_000_000);
    let (latency, ok) = match row.answer {
        Answer::Healthy(latency) => (Some(latency), '1'),
        Answer::Unhealthy(latency) => (Some(latency), '0'),
        Answer::Never => (None, '0'),
    };
    text.push(',');
    if let Some(latency) = latency {
        push_decimal(&mut text, latency, 1_000_000);
    }
    text.push(',');
    text.push(ok);
    let Load { node_cpu, pod_cores, throttled } = row.load;
    let values = [(node_cpu, columns.node_cpu), (pod_cores, columns.pod_cores), (throttled, columns.throttled)];
    for (value, _) in values.into_iter().filter(|(_, has)| *has) {
        text.push(',');
        if let Some(value) = value {
            write!(text, "{value}").unwrap_or_default();
        }
    }
    text.push('\n');
    text
}

/// Nanoseconds as a decimal number of `unit` nanoseconds each, without trailing zeros.
fn push_decimal(text: &mut String, span: Span, unit: i64) {
    let (whole, rest) = (span.nanos() / unit, span.nanos() % unit);
    write!(text, "{whole}").unwrap_or_default();
    if rest > 0 {
        let digits = unit.ilog10() as usize;
        let decimals = format!("{rest:0digits$}");
        text.push('.');
        text.push_str(decimals.trim_end_matches('0'));
    }
}
