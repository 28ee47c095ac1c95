//! What is recommended, in each form in which people can use it: a table to read, JSON and YAML for programs, and a
//! patch, a kustomization or Helm values to paste.
//!
//! Names in a cluster are checked by Kubernetes, messages are not: they come out of annotations and events, so control
//! characters are shown as spaces wherever a terminal reads them.

mod paste;
mod table;

use crate::decide::Judgement;
use crate::engine::{Forecast, View};
use crate::evidence::Basis;
use crate::probe::Settings;
use crate::reason::Reason;
use crate::units::Span;
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
    /// The cluster's context.
    context: String,
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
    /// Absent while less than a day was seen.
    confidence: Option<f64>,
    seen_hours: f64,
    phase: &'static str,
    reason: &'static str,
    message: String,
    /// Absent where nothing was ever foretold.
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<Ahead>,
}

/// What a forecast follows from, in words.
pub(super) fn basis(basis: Basis) -> String {
    match basis {
        Basis::Season => "as at this hour before".to_owned(),
        Basis::Trend(growth) => format!("it grows by {:.0} % a day", growth * 100.0),
    }
}

/// What is foretold: when one check in a hundred will run into the timeout.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Ahead {
    /// The beginning of that hour; absent while nothing is foretold.
    reaches_timeout_at: Option<String>,
    /// It is right if it comes true within so many hours.
    within_hours: Option<i64>,
    probability: Option<f64>,
    /// `season`, or `trend` with its growth a day.
    basis: Option<&'static str>,
    growth_per_day: Option<f64>,
    hits: u32,
    misses: u32,
    surprises: u32,
}

impl Ahead {
    fn of(f: &Forecast) -> Ahead {
        let at = f.foretold.and_then(|f| jiff::Timestamp::from_second(f.at.floor_seconds()).ok());
        let growth = f.foretold.and_then(|f| if let Basis::Trend(growth) = f.basis { Some(growth) } else { None });
        Ahead {
            reaches_timeout_at: at.map(|t| t.to_string()),
            within_hours: f.foretold.map(|f| f.within.floor_seconds() / 3_600),
            probability: f.foretold.map(|f| two_digits(f64::from(f.probability))),
            basis: f.foretold.map(|_| if growth.is_some() { "trend" } else { "season" }),
            growth_per_day: growth.map(|g| two_digits(f64::from(g))),
            hits: f.record.hits,
            misses: f.record.misses,
            surprises: f.record.surprises,
        }
    }

    /// For a person; `None` while nothing is foretold.
    fn words(&self, timeout: u32) -> Option<String> {
        let (at, within) = self.reaches_timeout_at.as_ref().zip(self.within_hours)?;
        let why = basis(self.growth_per_day.map_or(Basis::Season, |g| Basis::Trend(g as f32)));
        let judged = self.hits + self.misses;
        let record = if judged == 0 {
            "the first forecast of this probe".to_owned()
        } else {
            format!("{} of {judged} forecasts came true", self.hits)
        };
        let sure = self.probability.unwrap_or_default() * 100.0;
        Some(format!(
            "forecast: from {at} on (give or take {within} h), one check in a hundred is expected to run into the timeout of {timeout} s: {why}, {sure:.0} % likely; {record}"
        ))
    }
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

/// A cluster by its context's name, and what was found in it.
pub type Found = (String, Vec<View>);

/// Renders what was found, cluster by cluster, in each ordered by address; always ends with a line feed. Contexts are
/// named where there are several.
pub fn render(found: &[Found], form: Form) -> String {
    let mut views: Vec<Shown<'_>> = Vec::new();
    for (context, inside) in found {
        let mut inside: Vec<Shown<'_>> =
            inside.iter().map(|view| Shown { context: (found.len() > 1).then_some(context), view }).collect();
        inside.sort_by(|a, b| a.view.address.cmp(&b.view.address));
        views.append(&mut inside);
    }
    let rows = || found.iter().flat_map(|(context, views)| rows(context, views)).collect::<Vec<_>>();
    let document = || Document { version: 1, recommendations: rows() };
    match form {
        Form::Table => table::render(&rows(), found.len() > 1),
        Form::Json => {
            let text = serde_json::to_string_pretty(&document()).expect("rows hold strings and finite numbers only");
            text + "\n"
        }
        Form::Yaml => serde_saphyr::to_string(&document()).expect("rows hold strings and finite numbers only"),
        Form::Patch => paste::patches(&views),
        Form::Kustomize => paste::kustomization(&views),
        Form::HelmValues => paste::helm_values(&views),
    }
}

/// The command that gives a workload the numbers that it should have; `None` where it has them.
pub fn patch(view: &View, context: Option<&str>) -> Option<String> {
    paste::patch(&Shown { context, view })
}

/// What a command needs to reach a cluster, for a shell: `--context 'name' `, or nothing where there is but one.
pub fn context_flag(context: Option<&str>) -> String {
    paste::flag(context)
}

/// A workload, and its cluster where there are several.
#[derive(Clone, Copy)]
struct Shown<'a> {
    context: Option<&'a str>,
    view: &'a View,
}

fn rows(context: &str, views: &[View]) -> Vec<Row> {
    let mut views: Vec<&View> = views.iter().collect();
    views.sort_by(|a, b| a.address.cmp(&b.address));
    views.into_iter().flat_map(|v| v.judgements.iter().map(|j| row(context, v, j))).collect()
}

/// Less was watched than any number may follow from.
const THIN: Span = Span::DAY;

fn row(context: &str, v: &View, j: &Judgement) -> Row {
    // What its owner has set aside has no number to be: neither a wish nor a belief is shown for it.
    let skipped = v.reason == Reason::Skipped;
    // A gate on the workload outranks what is believed of one probe, but only where that probe wishes for something.
    let wishes = j.wanted != j.current || skipped;
    let (reason, message) = if wishes { (v.reason, v.message.clone()) } else { (j.reason, j.message.clone()) };
    let wanted = if skipped { j.current } else { j.wanted };
    let known = j.now.zip(j.then).filter(|_| !skipped);
    let sure = j.watched >= THIN && !skipped && j.then.is_some();
    Row {
        context: context.to_owned(),
        namespace: v.address.namespace.to_string(),
        kind: v.address.kind.name(),
        name: v.address.name.to_string(),
        container: j.probe.container.to_string(),
        probe: j.probe.kind.word(),
        mode: v.mode.word(),
        current: j.current.into(),
        recommended: wanted.into(),
        false_restarts: known.map(|(now, then)| FalseRestarts {
            now: two_digits(now.false_restarts),
            then: two_digits(then.false_restarts),
            upper: two_digits(then.upper),
        }),
        detect_seconds: Detect { now: j.current.worst_hang_detection(), then: wanted.worst_hang_detection() },
        confidence: sure.then(|| two_digits(j.confidence)),
        seen_hours: two_digits(j.seen.as_secs_f64() / 3600.0),
        phase: v.phase.name(),
        reason: reason.code(),
        message,
        forecast: v.forecasts.iter().find(|f| f.probe == j.probe).map(Ahead::of),
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
