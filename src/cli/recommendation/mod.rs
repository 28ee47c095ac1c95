//! What is recommended, in each form in which people can use it: a table to read, JSON and YAML for programs, and a
//! patch, a kustomization or Helm values to paste.
//!
//! Names in a cluster are checked by Kubernetes, messages are not: they come out of annotations and events, so control
//! characters are shown as spaces wherever a terminal reads them.

mod paste;
mod table;

use crate::decide::Judgement;
use crate::engine::View;
use crate::probe::Settings;
use clap::ValueEnum;
use serde::Serialize;

/// A form of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A row a probe
    Table,
    /// One document, with its version
    Json,
    /// The same as YAML
    Yaml,
    /// `kubectl patch` commands, one a workload
    Patch,
    /// A kustomization with one patch a workload
    Kustomize,
    /// Values for charts that pass probes through, one document a workload
    HelmValues,
}

/// One probe of one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    namespace: String,
    kind: &'static str,
    name: String,
    container: String,
    probe: &'static str,
    mode: &'static str,
    current: Numbers,
    recommended: Numbers,
    /// Events a pod-year; absent while nothing is known.
    false_restarts: Option<FalseRestarts>,
    detect_seconds: Detect,
    confidence: f64,
    seen_hours: f64,
    phase: &'static str,
    reason: &'static str,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Numbers {
    period: u32,
    timeout: u32,
    threshold: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct FalseRestarts {
    now: f64,
    then: f64,
    upper: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Detect {
    now: u64,
    then: u64,
}

#[derive(Debug, Serialize)]
struct Document {
    version: u32,
    recommendations: Vec<Row>,
}

impl From<Settings> for Numbers {
    fn from(s: Settings) -> Self {
        Numbers { period: s.period(), timeout: s.timeout(), threshold: s.threshold() }
    }
}

/// Renders the views, ordered by address; always ends with a line feed.
pub fn render(views: &[View], form: Form) -> String {
    let mut views: Vec<&View> = views.iter().collect();
    views.sort_by(|a, b| a.address.cmp(&b.address));
    match form {
        Form::Table => table::render(&rows(&views)),
        Form::Json => {
            let text =
                serde_json::to_string_pretty(&document(&views)).expect("rows hold strings and finite numbers only");
            text + "\n"
        }
        Form::Yaml => serde_saphyr::to_string(&document(&views)).expect("rows hold strings and finite numbers only"),
        Form::Patch => paste::patches(&views),
        Form::Kustomize => paste::kustomization(&views),
        Form::HelmValues => paste::helm_values(&views),
    }
}

fn document(views: &[&View]) -> Document {
    Document { version: 1, recommendations: rows(views) }
}

fn rows(views: &[&View]) -> Vec<Row> {
    views.iter().flat_map(|v| v.judgements.iter().map(|j| row(v, j))).collect()
}

fn row(v: &View, j: &Judgement) -> Row {
    // A gate on the workload outranks what is believed of one probe, but only where that probe wishes for something.
    let wishes = j.wanted != j.current;
    let (reason, message) = if wishes { (v.reason, v.message.clone()) } else { (j.reason, j.message.clone()) };
    Row {
        namespace: v.address.namespace.to_string(),
        kind: v.address.kind.name(),
        name: v.address.name.to_string(),
        container: j.probe.container.to_string(),
        probe: j.probe.kind.word(),
        mode: v.mode.word(),
        current: j.current.into(),
        recommended: j.wanted.into(),
        false_restarts: j.now.zip(j.then).map(|(now, then)| FalseRestarts {
            now: two_digits(now.false_restarts),
            then: two_digits(then.false_restarts),
            upper: two_digits(then.upper),
        }),
        detect_seconds: Detect { now: j.current.worst_hang_detection(), then: j.wanted.worst_hang_detection() },
        confidence: two_digits(j.confidence),
        seen_hours: two_digits(j.seen.as_secs_f64() / 3600.0),
        phase: v.phase.name(),
        reason: reason.code(),
        message,
    }
}

/// Rounded to two significant digits: more would be noise.
fn two_digits(x: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powi(1 - x.abs().log10().floor() as i32);
    (x * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_rounded_to_two_digits_that_mean_something() {
        for (x, rounded) in
            [(0.0, 0.0), (41.37, 41.0), (0.6234, 0.62), (1.95, 2.0), (12_338.0, 12_000.0), (0.000_357, 0.000_36)]
        {
            assert!((two_digits(x) - rounded).abs() < 1e-9 * rounded.max(1.0), "{x}: {}", two_digits(x));
        }
    }
}
