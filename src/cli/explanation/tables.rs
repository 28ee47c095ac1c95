//! The tables below the words: what was seen, what is believed, what each alternative would cost, and the gates.

use super::{Paint, aside, line, plain};
use crate::cli::demo::wrap;
use crate::decide::{Account, Alternative, Explanation, Mark, StartAccount, about, ago, said};
use crate::evidence::{Cause, Company, Edge, Failing};
use crate::probe::{ProbeKind, Settings};

/// Alternatives that are shown for their loss.
const BEST: usize = 10;
/// The widest a figure of a gate becomes before it is broken.
const FIGURE: usize = 72;

pub(super) fn draw(out: &mut String, e: &Explanation, paint: Paint) {
    seen(out, e, paint);
    beside(out, e, paint);
    match &e.starts {
        Some(starts) => starts_of(out, e, starts, paint),
        None => {
            belief(out, e, paint);
            alternatives(out, e, paint);
        }
    }
    gates(out, e, paint);
}

fn heading(out: &mut String, paint: Paint, text: &str) {
    line(out, &paint.bold(text));
}

/// Rows under heads, the columns as wide as their widest; those whose head begins with `>` are to the right.
fn table(out: &mut String, heads: &[&str], rows: &[Vec<String>], paint: Paint) {
    let plain_heads: Vec<&str> = heads.iter().map(|h| h.trim_start_matches('>')).collect();
    let width = |i: usize| {
        let cells = rows.iter().filter_map(|r| r.get(i)).map(|c| c.chars().count());
        cells.chain([plain_heads[i].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let row = |cells: &[String]| {
        let cells = cells.iter().zip(heads).zip(&widths);
        let padded =
            cells.map(
                |((cell, head), width)| {
                    if head.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            );
        format!("  {}", padded.collect::<Vec<_>>().join("  "))
    };
    let heads: Vec<String> = plain_heads.iter().map(|h| (*h).to_owned()).collect();
    line(out, &paint.dim(row(&heads).trim_end()));
    rows.iter().for_each(|cells| line(out, &row(cells)));
}

fn seen(out: &mut String, e: &Explanation, paint: Paint) {
    heading(out, paint, "What was seen");
    let Some(a) = &e.account else {
        line(out, "  nothing yet: no kubelet has told of this probe\n");
        return;
    };
    account(a, e).iter().for_each(|text| indented(out, text));
    if !a.restarts.is_empty() {
        out.push('\n');
        let rows: Vec<Vec<String>> =
            a.restarts.iter().rev().take(8).map(|r| restart(r, e.judgement.probe.kind)).collect();
        table(out, &["RESTART", "POD", "BY", "CHECKS FAILED", "OTHER REPLICAS", ">FALSE"], &rows, paint);
        let rest = a.restarts.len().saturating_sub(8);
        if rest > 0 {
            line(out, &paint.dim(&format!("  and {rest} earlier ones")));
        }
    }
    out.push('\n');
}

/// A text that goes on below itself, a little further in.
fn indented(out: &mut String, text: &str) {
    for (i, l) in wrap(&plain(text), 92).into_iter().enumerate() {
        line(out, &format!("  {}{l}", if i > 0 { "  " } else { "" }));
    }
}

/// What is foretold, at what load it was seen, what shadow checks saw.
fn beside(out: &mut String, e: &Explanation, paint: Paint) {
    heading(out, paint, "Forecast, load, shadow checks");
    aside::paragraphs(e).iter().for_each(|text| indented(out, text));
    out.push('\n');
}

fn account(a: &Account, e: &Explanation) -> Vec<String> {
    let c = a.coverage;
    let startup = e.judgement.probe.kind == ProbeKind::Startup;
    let mut lines = Vec::new();
    if !startup {
        lines.push(format!(
            "{} watched, {} of pod-time, about {} checks; {} of {} pods read now",
            about(a.watched),
            about(a.pod_time),
            many(a.checks),
            c.fresh,
            c.pods
        ));
    }
    let last = a.last_rollout.map_or(String::new(), |s| format!(", the last {}", ago(s)));
    let calm = format!("{} in a row made nothing worse", a.calm);
    lines.push(format!("{} changes of version seen{last}; {calm}", a.rollouts));
    if a.differs {
        lines.push("this version stalls more often than the past allows: the past is left out".into());
    }
    if !startup {
        let days: Vec<String> = Edge::LATENCY
            .iter()
            .zip(a.slow_days)
            .filter(|(_, days)| *days >= 0.5)
            .map(|(edge, days)| format!("{days:.0} above {} s", edge.seconds()))
            .collect();
        let together = if days.is_empty() { "on no day".into() } else { format!("on days: {}", days.join(", ")) };
        lines.push(format!(
            "several replicas were slow together {together}; refusals were told in {:.0} half-hours",
            a.refusals
        ));
        let (slow, fast) = a.false_restarts;
        lines.push(format!("false restarts in 30 days, by weight: {slow:.2} by timeouts, {fast:.2} by refusals"));
    }
    lines.extend(a.starved.clone());
    lines
}

/// `8640`, `120 thousand`, `2.4 million`.
fn many(x: f64) -> String {
    match x {
        x if x < 10_000.0 => format!("{x:.0}"),
        x if x < 1e6 => format!("{:.0} thousand", x / 1e3),
        x => format!("{:.1} million", x / 1e6),
    }
}

fn restart(r: &crate::decide::Restart, kind: ProbeKind) -> Vec<String> {
    let failing = match (r.cause.by_probe(), r.failing) {
        (false, _) => "",
        (_, Failing::Slow) => "timeouts",
        (_, Failing::Fast) => "refusals",
        (_, Failing::Untold) => "untold",
    };
    let company = match (r.company, r.neighbours) {
        (Company::Alone, Some(true)) => "well; its node slow",
        (Company::Alone, _) => "well",
        (Company::Beside, _) => "one slow too",
        (Company::Shared, _) => "failing too",
    };
    let by = match (r.cause, r.settings) {
        (Cause::LivenessKill, Some(s)) => format!("liveness {s}"),
        (Cause::StartupKill, Some(s)) => format!("startup {s}"),
        (Cause::StartupKill, None) => "startup".into(),
        (Cause::Unknown, _) => "not known".into(),
        (cause, _) => cause.word().to_owned(),
    };
    let weighed = r.cause == Cause::LivenessKill && kind == ProbeKind::Liveness;
    let weight = if weighed { format!("{:.0} %", r.weight * 100.0) } else { "-".into() };
    vec![ago(r.ago), plain(&r.pod), by, failing.into(), company.into(), weight]
}

fn belief(out: &mut String, e: &Explanation, paint: Paint) {
    if e.tails.is_empty() {
        return;
    }
    heading(out, paint, "What is believed: how often anything lasts, a pod-year");
    let edges: Vec<Edge> = e.curves.iter().map(|c| c.edge).collect();
    let rows: Vec<Vec<String>> = e
        .tails
        .iter()
        .map(|t| {
            let name = if t.edge == Edge::Fast { "refusals".into() } else { format!("above {} s", t.edge.seconds()) };
            let mark = match (edges.contains(&t.edge), t.used) {
                (true, _) => "judges by it",
                (false, false) => "hardly visible",
                (false, true) => "",
            };
            let round = |x: f64| if x >= 10.0 { format!("{x:.0}") } else { format!("{x:.1}") };
            vec![
                name,
                round(t.count),
                round(t.clusters),
                format!("{:.2}", t.exposure),
                format!("{}", t.start),
                said(t.rate),
                format!("{:.1}", t.alpha),
                mark.into(),
            ]
        })
        .collect();
    table(
        out,
        &["TAIL", ">EVENTS", ">HALF-HOURS", ">POD-YEARS", ">FROM S", ">A POD-YEAR", ">EXPONENT", ""],
        &rows,
        paint,
    );
    if let Some(curve) = e.curves.first() {
        let steps = [10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0];
        let near =
            |w: f64| curve.points.iter().min_by(|a, b| (a.tolerance - w).abs().total_cmp(&(b.tolerance - w).abs()));
        let points: Vec<_> = steps.iter().filter_map(|w| Some((*w, near(*w)?))).collect();
        let row = |name: &str, of: &dyn Fn(&crate::decide::Point) -> f64| {
            let cells = points.iter().map(|(_, p)| said(of(p)).replace("under ", "<"));
            std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
        };
        let heads: Vec<String> =
            std::iter::once("a silence of".to_owned()).chain(points.iter().map(|(w, _)| format!(">{w} s"))).collect();
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        out.push('\n');
        table(out, &heads, &[row("comes so often", &|p| p.mean), row("at most (95 %)", &|p| p.upper)], paint);
    }
    out.push('\n');
}

/// The best, and those that people ask about.
fn shown(e: &Explanation) -> Vec<&Alternative> {
    let mut by_loss: Vec<&Alternative> = e.alternatives.iter().collect();
    by_loss.sort_by(|a, b| a.objection.is_some().cmp(&b.objection.is_some()).then(a.loss.total_cmp(&b.loss)));
    let allowed = by_loss.iter().filter(|a| a.objection.is_none()).count();
    // What would be better and may not be is of interest too; where little is allowed, more of it.
    let closed = BEST.saturating_sub(allowed).clamp(3, 6);
    let kept = |i: usize, a: &Alternative| {
        let best = if a.objection.is_none() { i < BEST } else { i - allowed < closed };
        best || !names(e, a.settings).is_empty()
    };
    let mut kept: Vec<&Alternative> =
        by_loss.iter().enumerate().filter(|(i, a)| kept(*i, a)).map(|(_, a)| *a).collect();
    kept.sort_by(|a, b| a.loss.total_cmp(&b.loss));
    kept
}

fn names(e: &Explanation, s: Settings) -> String {
    let j = &e.judgement;
    let known = [("10/1/3", "Kubernetes' default"), ("10/10/2", "even"), ("10/12/2", "for the unknown")];
    let all = [
        (s == j.wanted && s != j.current).then_some("wanted"),
        (s == j.current).then_some("today's"),
        (s == e.owners && s != j.current).then_some("the owner's"),
        known.iter().find(|(n, _)| *n == s.to_string()).map(|(_, name)| *name),
    ];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn alternatives(out: &mut String, e: &Explanation, paint: Paint) {
    if e.alternatives.is_empty() {
        return;
    }
    heading(out, paint, "What each would cost, in pod-seconds a pod-year; times in seconds");
    let rows: Vec<Vec<String>> = shown(e)
        .into_iter()
        .map(|a| {
            let s = a.settings;
            let rates = a.false_restarts.zip(a.upper);
            let crash = (u64::from(s.threshold()) * u64::from(s.period()), s.mean_crash_detection());
            vec![
                s.to_string(),
                s.stall_tolerance().to_string(),
                format!("{} ({:.0})", s.worst_hang_detection(), s.mean_hang_detection()),
                format!("{} ({:.0})", crash.0, crash.1),
                rates.map_or("unknown".into(), |(mean, upper)| {
                    format!("{} ({})", said(mean).replace("under ", "<"), said(upper).replace("under ", "<"))
                }),
                format!("{:.0}", a.carrying),
                format!("{:.0}", a.restarts_cost),
                format!("{:.0}", a.unseen),
                format!("{:.0}", a.loss),
                match (names(e, s).as_str(), a.objection) {
                    (name, None) => name.to_owned(),
                    ("", Some(o)) => format!("no: {o}"),
                    (name, Some(o)) => format!("{name}; no: {o}"),
                },
            ]
        })
        .collect();
    let heads = [
        "P/T/K",
        ">TOLERATES",
        ">HANG (MEAN)",
        ">CRASH (MEAN)",
        if e.judgement.probe.kind == ProbeKind::Readiness { ">REMOVALS (MOST)" } else { ">RESTARTS (MOST)" },
        ">WAITING",
        ">FALSE",
        ">UNSEEN",
        ">LOSS",
        "",
    ];
    table(out, &heads, &rows, paint);
    let rest = e.alternatives.len() - rows.len();
    if rest > 0 {
        line(out, &paint.dim(&format!("  and {rest} more, in `-o json`")));
    }
    out.push('\n');
}

fn starts_of(out: &mut String, e: &Explanation, s: &StartAccount, paint: Paint) {
    heading(out, paint, "Starts, in seconds until ready");
    let mut sorted: Vec<f64> = s.seconds.iter().map(|(t, _)| *t).collect();
    sorted.sort_by(f64::total_cmp);
    let cut = s.seconds.iter().filter(|(_, cut)| *cut).count();
    if let (Some(least), Some(middle)) = (sorted.first(), sorted.get(sorted.len() / 2)) {
        line(
            out,
            &format!(
                "  {} seen: the shortest {least:.0}, the middle one {middle:.0}, the longest {:.0}; {cut} cut off by a kill",
                s.total, s.longest
            ),
        );
    }
    if let Some(bound) = s.bound {
        line(out, &format!("  99 of 100 take at most {bound:.0} (95 % sure)"));
    }
    line(out, &format!("  {} allows {:.0}", e.judgement.current, s.now));
    if e.judgement.wanted != e.judgement.current {
        line(out, &format!("  {} allows {:.0}", e.judgement.wanted, s.then));
    }
    out.push('\n');
}

fn gates(out: &mut String, e: &Explanation, paint: Paint) {
    heading(out, paint, "Gates, in the order in which they are asked");
    let decisive = e.gates.iter().position(|g| matches!(g.mark, Mark::Stops | Mark::Acts));
    for (i, g) in e.gates.iter().enumerate() {
        let (word, colour) = match g.mark {
            Mark::Passed => ("ok", "32"),
            Mark::Limits => ("limit", "36"),
            Mark::Stops => ("stop", "31"),
            Mark::Acts => ("acts", "1;32"),
            Mark::NotAsked => ("-", "2"),
        };
        let here = if decisive == Some(i) { ">" } else { " " };
        let mut lines = wrap(&plain(&g.figure), FIGURE).into_iter();
        let first = lines.next().unwrap_or_default();
        line(out, &format!("{here} {} {:<16} {first}", paint.with(colour, &format!("{word:<5}")), g.name));
        lines.for_each(|l| line(out, &format!("{:25}{l}", "")));
    }
}
