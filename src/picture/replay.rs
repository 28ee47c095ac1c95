//! Replays as a picture: per trace its latency, a lane a policy with its numbers and restarts, and what came of it.

use super::axis::{Scale, number, time};
use super::canvas::{Canvas, Hang, MARGIN, WIDTH, at, clean};
use crate::probe::{Answer, Settings};
use crate::record::Trace;
use crate::replay::{Figures, Kind, Played};
use crate::units::Span;

/// One trace and what each policy did on it.
#[derive(Clone, Debug)]
pub struct OnTrace<'a> {
    /// The trace's name.
    pub name: &'a str,
    /// The trace.
    pub trace: &'a Trace,
    /// What numbers serve.
    pub kind: Kind,
    /// The results, in the order in which they are shown.
    pub played: &'a [Played],
    /// When each one's verdicts fell ([`crate::replay::verdicts`]), parallel to `played`.
    pub verdicts: &'a [Vec<Span>],
}

/// Where the lanes and the latency above them lie.
const LANES: (f64, f64) = (MARGIN + 128.0, 640.0);
/// The bars of false verdicts and of detection.
const BARS: [(f64, f64); 2] = [(664.0, 780.0), (812.0, WIDTH - MARGIN)];
/// Height of the latency panel, and of a lane.
const PANEL: f64 = 130.0;
const LANE: f64 = 26.0;
/// Columns of latency: one a pixel.
const COLUMNS: usize = (LANES.1 - LANES.0) as usize;
/// From so many rounds of a trace played end to end on, its latency is shown once: more would be a band.
const ROUNDS: f64 = 3.0;
/// Latencies are shown between these, in seconds.
const LATENCIES: (f64, f64) = (0.001, 30.0);

/// Draws traces below each other.
pub fn replay(traces: &[OnTrace<'_>]) -> String {
    let heights: Vec<f64> = traces.iter().map(|t| lanes_from(t) + LANE * t.played.len() as f64 + 56.0).collect();
    let mut c = Canvas::new(heights.iter().sum::<f64>().max(60.0));
    let mut top = 0.0;
    for (t, height) in traces.iter().zip(&heights) {
        one(t, &mut c, top);
        top += height;
    }
    let names: Vec<String> = traces.iter().map(|t| clean(t.name)).collect();
    c.finish(&format!("Replay of {}", names.join(", ")), &traces.iter().map(says).collect::<Vec<_>>().join("\n"))
}

fn says(t: &OnTrace<'_>) -> String {
    let one = |p: &Played| match &p.outcome {
        Ok(f) => format!(
            "{} on {}: {} false restarts, unready {} s, a hang found after {:.1} s (mean)",
            p.policy,
            clean(t.name),
            f.false_restarts,
            f.false_unready.as_secs_f64().round(),
            f.hang.mean.as_secs_f64()
        ),
        Err(why) => format!("{} on {}: not played, {why}", p.policy, clean(t.name)),
    };
    t.played.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(t: &OnTrace<'_>, c: &mut Canvas, top: f64) {
    let (length, phases) = t.played.first().map_or((t.trace.seconds(), 0), |p| (p.length, p.phases));
    c.text((MARGIN, top + 34.0), Hang::Start, "title", t.name);
    let heading =
        format!("{} long, played to {phases} probers; every restart here is false", time(length.as_secs_f64().round()));
    c.text((MARGIN, top + 56.0), Hang::Start, "soft", &heading);
    let x = Scale::linear((0.0, length.as_secs_f64().max(1.0)), LANES);
    let panel = top + 78.0;
    latency(t, c, panel, if once(t) { t.trace.seconds() } else { length });
    if once(t) {
        time_axis(c, t.trace.seconds().as_secs_f64(), panel + PANEL + 4.0);
        let rounds = (length.as_secs_f64() / t.trace.seconds().as_secs_f64()).round();
        let said = format!("played {} times, end to end", number(rounds));
        c.text((BARS[0].0, panel + PANEL + 23.0), Hang::Start, "small soft", &said);
    }
    let lanes = top + lanes_from(t);
    lanes_of(t, c, &x, lanes);
    time_axis(c, x.most, lanes + LANE * t.played.len() as f64 + 6.0);
}

/// Whether the latency is shown for one round only.
fn once(t: &OnTrace<'_>) -> bool {
    let length = t.played.first().map_or(0.0, |p| p.length.as_secs_f64());
    let round = t.trace.seconds().as_secs_f64();
    round > 0.0 && length / round > ROUNDS
}

/// Where the lanes of a trace begin, below its own top.
fn lanes_from(t: &OnTrace<'_>) -> f64 {
    78.0 + PANEL + if once(t) { 72.0 } else { 46.0 }
}

/// An axis in the unit that suits its length: minutes or hours have round numbers of their own.
fn time_axis(c: &mut Canvas, seconds: f64, y: f64) {
    let (unit, name) = match seconds {
        s if s < 300.0 => (1.0, "s"),
        s if s < 10_800.0 => (60.0, "min"),
        s if s < 259_200.0 => (3_600.0, "h"),
        _ => (86_400.0, "d"),
    };
    let axis = Scale::linear((0.0, (seconds / unit).max(1e-9)), LANES);
    axis.marks(c, y, 6, |v| format!("{} {name}", number(v)));
}

/// Least and most latency of a column, in seconds; what failed; whether anything got no answer.
#[derive(Clone, Copy, Debug, Default)]
struct Column {
    range: Option<(f64, f64)>,
    unhealthy: Option<f64>,
    silent: bool,
}

impl Column {
    fn add(&mut self, answer: Answer) {
        let wider = |range: Option<(f64, f64)>, s: f64| range.map_or((s, s), |(a, b)| (a.min(s), b.max(s)));
        match answer {
            Answer::Healthy(after) => self.range = Some(wider(self.range, after.as_secs_f64())),
            Answer::Unhealthy(after) => self.unhealthy = Some(after.as_secs_f64().max(self.unhealthy.unwrap_or(0.0))),
            Answer::Never => self.silent = true,
        }
    }
}

fn columns(trace: &Trace, length: Span) -> Vec<Column> {
    let mut columns = vec![Column::default(); COLUMNS];
    let round = (trace.seconds() + trace.median_step()).nanos().max(1);
    let width = (length.nanos() / COLUMNS as i64).max(1);
    // A trace without a length of its own is played once, for however long.
    let rounds = if trace.seconds() > Span::ZERO { length.nanos() / round + 1 } else { 1 };
    for r in 0..rounds {
        for row in trace.rows() {
            let place = usize::try_from((r * round + row.at.nanos()) / width).unwrap_or(COLUMNS);
            // The last row lies on the right edge.
            if let Some(column) = columns.get_mut(place.min(if rounds == 1 { COLUMNS - 1 } else { COLUMNS })) {
                column.add(row.answer);
            }
        }
    }
    columns
}

fn latency(t: &OnTrace<'_>, c: &mut Canvas, top: f64, length: Span) {
    let silent = top + 8.0;
    let y = Scale::log(LATENCIES, (top + PANEL, top + 18.0));
    for (value, said) in [(0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s"), (10.0, "10 s")] {
        c.line("thin rule", (LANES.0, y.place(value)), (LANES.1, y.place(value)));
        c.text((LANES.0 - 8.0, y.place(value) + 4.0), Hang::End, "small soft", said);
    }
    c.text((LANES.0 - 8.0, silent + 4.0), Hang::End, "small soft", "no answer");
    let (mut band, mut failed, mut none) = (String::new(), String::new(), String::new());
    for (i, column) in columns(t.trace, length).iter().enumerate() {
        let x = at(LANES.0 + i as f64 + 0.5);
        if let Some((least, most)) = column.range {
            let (a, b) = (y.place(least), y.place(most));
            band += &format!("M{x} {}V{}", at(a.max(b + 1.0)), at(b));
        }
        if let Some(s) = column.unhealthy {
            let place = y.place(s);
            failed += &format!("M{x} {}V{}", at(place + 2.5), at(place - 2.5));
        }
        if column.silent {
            none += &format!("M{x} {}V{}", at(silent - 4.0), at(silent + 4.0));
        }
    }
    c.path("thin plain-line", band);
    for marks in [failed, none].into_iter().filter(|m| !m.is_empty()) {
        c.path("line bad-line", marks);
    }
    timeouts(t, c, &y);
    let legend = BARS[0].0;
    for (row, (class, words)) in [
        ("plain-line", "latency, least to most"),
        ("bad-line", "unhealthy, or no answer"),
        ("now-line dash", "timeout at the start"),
        ("then-line dash", "probe-tuner's last timeout"),
    ]
    .into_iter()
    .enumerate()
    {
        let y = top + 24.0 + 20.0 * row as f64;
        c.line(&format!("line {class}"), (legend, y - 4.0), (legend + 22.0, y - 4.0));
        c.text((legend + 30.0, y), Hang::Start, "small", words);
    }
}

fn figures(p: &Played) -> Option<&Figures> {
    p.outcome.as_ref().ok()
}

/// The timeout at the start, and the last one of the engine.
fn timeouts(t: &OnTrace<'_>, c: &mut Canvas, y: &Scale) {
    let engine = t.played.iter().find(|p| p.policy == "probe-tuner").and_then(figures);
    let first = engine.or_else(|| t.played.first().and_then(figures)).and_then(|f| f.settings.first());
    let last = engine.and_then(|f| f.settings.last());
    let same = first.map(|c| c.settings.timeout()) == last.map(|c| c.settings.timeout());
    for (change, class) in [(first.filter(|_| !same), "now"), (last.or(first), "then")] {
        let Some(s) = change.map(|change| change.settings) else { continue };
        let place = y.place(f64::from(s.timeout()));
        c.line(&format!("line dash {class}-line"), (LANES.0, place), (LANES.1, place));
        let said = format!("{} s, of {s}", s.timeout());
        c.text((LANES.0 + 5.0, place - 5.0), Hang::Start, &format!("small halo {class}"), &said);
    }
}

fn lanes_of(t: &OnTrace<'_>, c: &mut Canvas, x: &Scale, top: f64) {
    let readiness = t.kind == Kind::Readiness;
    let count = |f: &Figures| if readiness { f.false_unready.as_secs_f64() } else { f.false_restarts as f64 };
    let most = |of: &dyn Fn(&Figures) -> f64| t.played.iter().filter_map(figures).map(of).fold(0.0, f64::max).max(1e-9);
    let hang = |f: &Figures| f.hang.mean.as_secs_f64();
    let (most_count, most_hang) = (most(&count), most(&hang));
    let heads = if readiness { "seconds unready" } else { "false restarts" };
    c.text(
        (LANES.0, top - 8.0),
        Hang::Start,
        "small soft",
        if readiness { "numbers over time; red: unready" } else { "numbers over time; red: a false restart" },
    );
    c.text((BARS[0].0, top - 8.0), Hang::Start, "small soft", heads);
    c.text((BARS[1].0, top - 8.0), Hang::Start, "small soft", "a hang is found after");
    let none = Vec::new();
    for (i, p) in t.played.iter().enumerate() {
        let y = top + LANE * i as f64;
        let own = p.policy == "probe-tuner";
        c.text((LANES.0 - 8.0, y + 17.0), Hang::End, if own { "strong then" } else { "" }, &p.policy);
        let f = match &p.outcome {
            Ok(f) => f,
            Err(why) => {
                c.text((LANES.0 + 6.0, y + 17.0), Hang::Start, "small soft", &format!("not played: {why}"));
                continue;
            }
        };
        lane(f, t.verdicts.get(i).unwrap_or(&none), own, c, x, y);
        let bars =
            [(count(f), most_count, number(count(f).round())), (hang(f), most_hang, format!("{:.1} s", hang(f)))];
        for ((value, most, said), (from, to)) in bars.into_iter().zip(BARS) {
            let length = (to - from - 52.0) * value / most;
            c.rect(if own { "then" } else { "plain" }, (from, y + 6.0), (length, 14.0));
            c.text((from + length + 6.0, y + 17.0), Hang::Start, "small", &said);
        }
    }
}

/// One lane: its numbers as stretches, named where there is room, and a mark a pixel with a verdict.
fn lane(f: &Figures, verdicts: &[Span], own: bool, c: &mut Canvas, x: &Scale, y: f64) {
    c.rect("lane", (LANES.0, y + 3.0), (LANES.1 - LANES.0, LANE - 6.0));
    let mut stretches: Vec<(f64, Settings)> = Vec::new();
    for change in &f.settings {
        let from = x.place(Span::from_nanos(change.at).as_secs_f64());
        match stretches.last_mut() {
            // Changes within a pixel are one.
            Some(last) if from - last.0 < 1.0 => last.1 = change.settings,
            _ => stretches.push((from, change.settings)),
        }
    }
    let mut bounds = String::new();
    let mut named_to = f64::MIN;
    // So many changes are no picture of numbers any more: how many there were says it.
    let crowded = stretches.len() > 60;
    for (i, (from, settings)) in stretches.iter().enumerate() {
        let to = stretches.get(i + 1).map_or(LANES.1, |next| next.0);
        if i > 0 {
            bounds += &format!("M{} {}V{}", at(*from), at(y + 3.0), at(y + LANE - 3.0));
        }
        let name = settings.to_string();
        let room = 7.0 * name.len() as f64 + 8.0;
        if to - from >= room && *from >= named_to && !crowded {
            let class = if own { "small then" } else { "small soft" };
            c.text((from + 5.0, y + 17.0), Hang::Start, class, &name);
            named_to = from + room;
        }
    }
    if crowded {
        let last = f.settings.last().map_or(String::new(), |change| format!(", the last to {}", change.settings));
        let said = format!("{} changes{last}", number(f.rollouts() as f64));
        c.text((LANES.0 + 5.0, y + 17.0), Hang::Start, "small soft", &said);
    } else if !bounds.is_empty() {
        c.path(if own { "thin then-line" } else { "thin frame" }, bounds);
    }
    let mut marks = String::new();
    let mut drawn = f64::MIN;
    for at_ in verdicts {
        let place = x.place(at_.as_secs_f64()).round() + 0.5;
        if place > drawn {
            marks += &format!("M{} {}v{}", at(place), at(y + 3.0), at(LANE - 6.0));
            drawn = place;
        }
    }
    if !marks.is_empty() {
        c.path("line bad-line", marks);
    }
}
