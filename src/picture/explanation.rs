//! A decision as a picture: how often a silence would restart a healthy container, by how long a silence is tolerated.
//!
//! Above, the belief: a curve and its bound for today's numbers and for the wanted ones, both as points, the owner's
//! budget and bound. Below, on the same axis, what it was fitted to: every extent as the interval in which it lies.

use super::axis::{Scale, number, rate};
use super::canvas::{Canvas, Hang, MARGIN, WIDTH, d};
use super::{starts, strip};
use crate::decide::{Curve, Explanation, Interval, Point};
use crate::evidence::Edge;
use crate::probe::{ProbeKind, Settings};

/// Most rows of extents; what is rarest is left out, and said.
const ROWS: usize = 14;
/// Least rate that is shown, a pod-year: below one in ten thousand years nobody asks.
const LEAST: f64 = 1e-4;

/// Draws the explanations of a workload's probes below each other: of a startup probe its start times.
pub fn explanation(all: &[Explanation]) -> String {
    let draw = |e: &Explanation| match e.judgement.probe.kind {
        ProbeKind::Startup => starts::starts(e),
        _ => tolerance(e),
    };
    let titles: Vec<String> = all.iter().map(title).collect();
    let says: Vec<String> = all.iter().map(says).collect();
    Canvas::stacked(all.iter().map(draw).collect()).finish(&titles.join("; "), &says.join("\n"))
}

fn tolerance(e: &Explanation) -> Canvas {
    let intervals = shown(&e.intervals);
    let rows = intervals.len().max(1) as f64;
    const PLOT: (f64, f64) = (108.0, 400.0);
    let panel = PLOT.1 + 44.0;
    let strip = panel + rows * 17.0 + 66.0;
    let height = strip + if e.curves.is_empty() { 0.0 } else { strip::height(&e.load) };
    let mut c = Canvas::new(height);
    let title = title(e);
    c.text((MARGIN, 34.0), Hang::Start, "title", &title);
    let verdict = verdict(e.judgement.probe.kind);
    let grey = if e.intervals.iter().any(|i| !i.restart) { "; grey: counted" } else { "" };
    let heading = format!(
        "{verdict} by timeouts a pod-year, by how long a silence is tolerated. Line: expected; shade: up to the 95 % bound{grey}"
    );
    c.text((MARGIN, 58.0), Hang::Start, "soft", &heading);
    let (left, right) = (MARGIN + 52.0, WIDTH - MARGIN);
    let Some(first) = e.curves.first() else {
        c.text((WIDTH / 2.0, 240.0), Hang::Middle, "soft", "nothing is known yet: no curve to draw");
        return c;
    };
    let end = first.points.last().map_or(60.0, |p| p.tolerance);
    let x = Scale::linear((0.0, end), (left, right));
    let y = Scale::log(range(e), (PLOT.1, PLOT.0));
    y.rules(&mut c, (left, right), 7, number);
    counted(e, &mut c, &x, &y);
    budget(e, &mut c, (left, right), &y);
    detection(e, &mut c, &x, PLOT);
    for (i, curve) in e.curves.iter().enumerate().rev() {
        // Numbers of the same period, judged by the same edge, stand on the same curve.
        if i > 0 && curve.points == first.points {
            continue;
        }
        draw(curve, colour(i), &mut c, &x, &y);
    }
    for value in x.ticks(12) {
        c.line("thin frame", (x.place(value), PLOT.1), (x.place(value), PLOT.1 + 5.0));
    }
    c.line("thin frame", (left, PLOT.1), (right, PLOT.1));
    points(e, &mut c, &x, &y);
    let heading = match e.intervals.is_empty() {
        true => format!("No run of checks {} that counts was seen{}", above(first.edge), seen_for(e)),
        false => format!(
            "What was seen{}: runs of checks {}, each as the interval in which its length lies",
            seen_for(e),
            above(first.edge)
        ),
    };
    c.text((MARGIN, panel), Hang::Start, "soft", &heading);
    let bottom = extents(&intervals, &e.intervals, &mut c, &x, panel + 18.0);
    x.marks(&mut c, bottom, 12, number);
    c.text((right, bottom + 36.0), Hang::End, "small soft", "seconds of silence");
    strip::load(&e.load, &mut c, (left, right), strip + 10.0);
    c
}

/// `shop/Deployment/web, app liveness: TIGHTEN 10/12/2 → 7/7/2`.
pub(super) fn title(e: &Explanation) -> String {
    let j = &e.judgement;
    let numbers =
        if j.wanted == j.current { format!("{} stays", j.current) } else { format!("{} → {}", j.current, j.wanted) };
    format!("{}, {} {}: {} {numbers}", e.address, j.probe.container, j.probe.kind.word(), j.reason.code())
}

fn verdict(kind: ProbeKind) -> &'static str {
    if kind == ProbeKind::Readiness { "False removals" } else { "False restarts" }
}

fn above(edge: Edge) -> String {
    format!("above {} s", edge.seconds())
}

fn seen_for(e: &Explanation) -> String {
    let Some(a) = &e.account else { return String::new() };
    format!(" in {} pod-days", number((a.pod_time.as_days_f64() * 10.0).round() / 10.0))
}

/// The class of the curve at a place: today's, or the wanted numbers'.
fn colour(i: usize) -> &'static str {
    if i == 0 { "now" } else { "then" }
}

/// Whole powers of ten around everything that matters.
fn range(e: &Explanation) -> (f64, f64) {
    let points = || e.curves.iter().flat_map(|c| &c.points);
    let most = points().map(|p| p.upper).fold(e.budget, f64::max);
    let own = e.curves.iter().map(|c| c.own.mean).chain([e.budget]).fold(f64::MAX, f64::min);
    let least = (own / 10.0).clamp(LEAST, 1.0).log10().floor();
    let most = most.max(1.0).log10().ceil().max(least + 2.0);
    (10f64.powf(least), 10f64.powf(most))
}

fn draw(curve: &Curve, class: &str, c: &mut Canvas, x: &Scale, y: &Scale) {
    let place = |p: &Point, often: f64| (x.place(p.tolerance), y.place(often));
    // What lies below the least rate is on the axis already: a curve ends where it reaches it.
    let visible = || curve.points.iter().take_while(|p| p.upper > y.least);
    let mut outline: Vec<_> = visible().map(|p| place(p, p.upper)).collect();
    let means: Vec<_> = visible().take_while(|p| p.mean > y.least).map(|p| place(p, p.mean)).collect();
    outline.extend(visible().map(|p| place(p, p.mean)).collect::<Vec<_>>().into_iter().rev());
    c.path(&format!("band {class}"), d(&outline) + "Z");
    c.through(&format!("line {class}-line"), &means);
}

/// What was counted, without any model: between the number of extents that surely reach a tolerance and the number of
/// those that may, over the exposure.
fn counted(e: &Explanation, c: &mut Canvas, x: &Scale, y: &Scale) {
    let Some(curve) = e.curves.first() else { return };
    let Some(exposure) = e.tails.iter().find(|t| t.edge == curve.edge).map(|t| t.exposure).filter(|x| *x > 0.0) else {
        return;
    };
    let seen = || e.intervals.iter().filter(|i| !i.restart);
    let mut ends: Vec<f64> = seen().flat_map(|i| [Some(i.lo), i.hi]).flatten().filter(|s| *s < x.most).collect();
    if ends.is_empty() {
        return;
    }
    ends.sort_by(f64::total_cmp);
    ends.dedup();
    let often = |keep: &dyn Fn(&Interval) -> bool| seen().filter(|i| keep(i)).map(|i| i.count).sum::<f64>() / exposure;
    let (mut surely, mut maybe) = (Vec::new(), Vec::new());
    let mut from = curve.edge.seconds();
    for end in ends.into_iter().chain([x.most]) {
        // Between two ends both counts stand still.
        let middle = f64::midpoint(from, end);
        for (list, value) in
            [(&mut surely, often(&|i| i.lo >= middle)), (&mut maybe, often(&|i| i.hi.is_none_or(|hi| hi > middle)))]
        {
            list.extend([(x.place(from), y.place(value)), (x.place(end), y.place(value))]);
        }
        from = end;
    }
    maybe.extend(surely.into_iter().rev());
    c.path("band plain", d(&maybe) + "Z");
    c.tip("counted, without a model: between what surely lasted so long and what may have");
}

fn budget(e: &Explanation, c: &mut Canvas, (left, right): (f64, f64), y: &Scale) {
    let place = y.place(e.budget);
    c.line("line dash limit-line", (left, place), (right, place));
    let said = format!("budget: {} a pod-year", number(e.budget));
    c.text((right - 4.0, place - 7.0), Hang::End, "small limit halo", &said);
}

/// How much may be tolerated so that a hang is still found within the owner's bound.
fn detection(e: &Explanation, c: &mut Canvas, x: &Scale, (top, bottom): (f64, f64)) {
    let Some(bound) = e.detect_within else { return };
    let most = bound.as_secs_f64() - f64::from(e.judgement.wanted.period());
    if most <= x.least || most >= x.most {
        return;
    }
    let place = x.place(most);
    c.line("line dash limit-line", (place, top), (place, bottom));
    c.text((place - 5.0, top + 10.0), Hang::End, "small limit halo", &format!("detect within {bound}"));
}

fn points(e: &Explanation, c: &mut Canvas, x: &Scale, y: &Scale) {
    let same = e.curves.len() < 2;
    let labels = e.curves.iter().enumerate().map(|(i, curve)| {
        let s = curve.settings;
        let place = (x.place(curve.own.tolerance), y.place(curve.own.mean));
        let name = match (i, same) {
            (0, true) => format!("{s}, today's, stays"),
            (0, false) => format!("{s}, today's"),
            _ => format!("{s}, wanted"),
        };
        (place, colour(i), name, figures(s, curve.own))
    });
    let mut labels: Vec<_> = labels.collect();
    // Two labels beside each other would cover one another: the upper one moves up, the lower one down.
    let mut shifts = vec![-12.0; labels.len()];
    if let [a, b] = labels.as_slice() {
        let near = (a.0.0 - b.0.0).abs() < 230.0 && (a.0.1 - b.0.1).abs() < 40.0;
        if near {
            let first_up = a.0.1 <= b.0.1;
            shifts = if first_up { vec![-44.0, 6.0] } else { vec![6.0, -44.0] };
        }
    }
    for (((px, py), class, name, figures), shift) in labels.drain(..).zip(shifts) {
        c.circle(&format!("dot {class}"), (px, py), 6.5);
        let (tx, hang) = if px > WIDTH - 300.0 { (px - 12.0, Hang::End) } else { (px + 12.0, Hang::Start) };
        c.text((tx, py + shift), hang, &format!("strong halo {class}"), &name);
        c.text((tx, py + shift + 16.0), hang, "small halo", &figures);
    }
}

fn figures(s: Settings, own: Point) -> String {
    format!(
        "tolerates {} s: {} by timeouts a pod-year, at most {}",
        s.stall_tolerance(),
        rate(own.mean),
        rate(own.upper)
    )
}

/// The intervals that are shown: all, or the most frequent.
fn shown(all: &[Interval]) -> Vec<Interval> {
    let mut kept = all.to_vec();
    kept.sort_by(|a, b| b.count.total_cmp(&a.count));
    kept.truncate(ROWS);
    kept.sort_by(|a, b| a.lo.total_cmp(&b.lo).then(a.hi.unwrap_or(f64::MAX).total_cmp(&b.hi.unwrap_or(f64::MAX))));
    kept
}

/// One row an interval; gives where the rows end.
fn extents(shown: &[Interval], all: &[Interval], c: &mut Canvas, x: &Scale, top: f64) -> f64 {
    let mut y = top;
    for i in shown {
        let (from, to) = (x.place(i.lo), x.place(i.hi.unwrap_or(x.most)));
        let class = if i.restart { "bad" } else { "plain" };
        let beyond = i.hi.is_none_or(|hi| hi > x.most);
        let end = if beyond { to - 8.0 } else { to.max(from + 2.0) };
        c.line(&format!("thick {class}-line"), (from, y), (end, y));
        if beyond {
            c.path(class, format!("M{} {}l10 5.5l-10 5.5Z", super::canvas::at(to - 9.0), super::canvas::at(y - 5.5)));
        }
        let said = match (i.restart, i.hi) {
            (true, _) => format!("{} false restarts, cut off at {} s", number(round2(i.count)), number(i.lo)),
            (false, Some(hi)) => format!("{} runs of {} to {} s", number(round2(i.count)), number(i.lo), number(hi)),
            (false, None) => format!("{} runs of more than {} s", number(round2(i.count)), number(i.lo)),
        };
        let (place, hang) = if to > WIDTH - 330.0 { (from - 8.0, Hang::End) } else { (to + 10.0, Hang::Start) };
        let (place, hang) = if hang == Hang::End && from < 260.0 { (from + 6.0, Hang::Start) } else { (place, hang) };
        let raised = if hang == Hang::Start && place < to { -6.0 } else { 4.0 };
        c.text((place, y + raised), hang, "small halo", &said);
        y += 17.0;
    }
    if all.len() > shown.len() {
        let said = format!("and {} rarer ones", all.len() - shown.len());
        c.text((x.to, y + 2.0), Hang::End, "small soft", &said);
    }
    y + if shown.is_empty() { 0.0 } else { -4.0 }
}

fn round2(x: f64) -> f64 {
    if x >= 10.0 { x.round() } else { (x * 100.0).round() / 100.0 }
}

fn says(e: &Explanation) -> String {
    let mut says = e.judgement.message.clone();
    for (curve, name) in e.curves.iter().zip(["today's numbers", "the wanted numbers"]) {
        says += &format!("\n{name} {}: {}", curve.settings, figures(curve.settings, curve.own));
    }
    if !e.curves.is_empty() {
        says += &format!("\naccepted: {} a pod-year", number(e.budget));
    }
    if let Some(nodes) = &e.load.nodes {
        says += &format!("\nload of its nodes: up to {:.0} % of their cores", nodes.highest * 100.0);
    }
    says
}
