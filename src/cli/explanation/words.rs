//! The words that come first: what it would do, why, what that costs, and what to type. For whoever is woken by it.

use super::{Explained, Paint, line, plain};
use crate::cli::demo::wrap;
use crate::cli::recommendation;
use crate::decide::{Explanation, Urgency, said};
use crate::policy::Mode;
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;

/// The longest line of words.
const WIDTH: usize = 96;

pub(super) fn say(out: &mut String, explained: &Explained, e: &Explanation, paint: Paint) {
    let j = &e.judgement;
    let place = explained.context.as_ref().map_or(String::new(), |c| format!("{c}: "));
    let colour = if j.wanted != j.current { "1;32" } else { "1;33" };
    let head = format!("{place}{}, container {}, {} probe", e.address, j.probe.container, j.probe.kind.word());
    line(out, &format!("{}: {}", paint.bold(&plain(&head)), paint.with(colour, code(explained, e).code())));
    out.push('\n');
    for sentence in [what(explained, e), why(explained, e), cost(e), when(explained, e)].into_iter().flatten() {
        wrap(&plain(&sentence), WIDTH).into_iter().for_each(|l| line(out, &l));
    }
    out.push('\n');
    for (what, command) in advice(explained, e) {
        line(out, &format!("  {}", paint.dim(&format!("# {what}"))));
        line(out, &format!("  {}", plain(&command)));
    }
    out.push('\n');
}

fn set_aside(explained: &Explained) -> bool {
    explained.view.reason == Reason::Skipped
}

fn code(explained: &Explained, e: &Explanation) -> Reason {
    if set_aside(explained) { Reason::Skipped } else { e.judgement.reason }
}

fn what(explained: &Explained, e: &Explanation) -> Option<String> {
    let j = &e.judgement;
    let numbers = "(period/timeout/failures in a row)";
    Some(match (set_aside(explained), j.wanted == j.current) {
        (true, _) => format!("{} {numbers} stays: {}.", j.current, explained.view.message),
        (_, true) => format!("{} {numbers} stays.", j.current),
        (_, false) => format!("It should be {} instead of {} {numbers}.", j.wanted, j.current),
    })
}

fn why(explained: &Explained, e: &Explanation) -> Option<String> {
    let message = e.judgement.message.trim_end_matches('.');
    Some(if set_aside(explained) { format!("Without that: {message}.") } else { format!("Why: {message}.") })
}

fn verdicts(kind: ProbeKind) -> &'static str {
    if kind == ProbeKind::Readiness { "taken out of its Services" } else { "restarted" }
}

fn cost(e: &Explanation) -> Option<String> {
    let j = &e.judgement;
    if j.probe.kind == ProbeKind::Startup {
        return None;
    }
    let detects = |s: Settings| (s.worst_hang_detection(), u64::from(s.threshold()) * u64::from(s.period()));
    let (now, then) = (detects(j.current), detects(j.wanted));
    let verdict = verdicts(j.probe.kind);
    let Some((a, b)) = j.now.zip(j.then) else {
        return Some(format!(
            "How often a healthy pod is {verdict} is not known yet; one that hangs is found within {} s, one that refuses within {} s.",
            now.0, now.1
        ));
    };
    let rate = |x: crate::decide::Expectation| {
        format!("{} times a year (at most {}, 95 % sure)", said(x.false_restarts), said(x.upper))
    };
    Some(if j.wanted == j.current {
        format!(
            "A healthy pod is expected to be {verdict} {}; the budget is {}. One that hangs is found within {} s, one that refuses within {} s.",
            rate(a),
            accepted(e),
            now.0,
            now.1
        )
    } else {
        let change =
            |a: u64, b: u64| if a == b { format!("{b} s as today") } else { format!("{b} s instead of {a} s") };
        format!(
            "A healthy pod is then expected to be {verdict} {}, instead of {}; the budget is {}. One that hangs is found within {}, one that refuses within {}.",
            rate(b),
            rate(a),
            accepted(e),
            change(now.0, then.0),
            change(now.1, then.1)
        )
    })
}

fn when(explained: &Explained, e: &Explanation) -> Option<String> {
    let (j, view) = (&e.judgement, &explained.view);
    if j.wanted == j.current {
        return None;
    }
    let worth = match j.urgency {
        Urgency::Hold => return None,
        Urgency::WithNextRollout => "It is not worth a rollout of its own: it waits for your next release",
        Urgency::OwnRollout => "It pays for a rollout of its own",
        Urgency::Storm => "It is urgent: every minute may restart another pod",
    };
    let mode = match view.mode {
        Mode::Auto => "in mode auto the daemon rolls it out within its budgets and windows",
        _ => "nothing is written by us: the mode is",
    };
    Some(match (j.urgency, view.mode) {
        (Urgency::WithNextRollout, _) => format!("{worth}."),
        (_, Mode::Auto) => format!("{worth}; {mode}."),
        (_, other) => format!("{worth}; {mode} {}.", other.word()),
    })
}

/// The budget as its owner thinks of it: `1`, `52`, `0.5`.
fn accepted(e: &Explanation) -> String {
    format!("{}", (e.budget * 100.0).round() / 100.0)
}

/// What a person may type, and what for.
fn advice(explained: &Explained, e: &Explanation) -> Vec<(String, String)> {
    let (j, a) = (&e.judgement, &e.address);
    let at = recommendation::context_flag(explained.context.as_deref());
    let (ns, kind, name) = (&a.namespace, a.kind.word(), &a.name);
    let kubectl = |rest: String| format!("kubectl {at}-n {ns} {rest}");
    let annotate = |what: &str| kubectl(format!("annotate {kind} {name} probe-tuner.io/{what}"));
    let one = |what: &str, command: String| vec![(what.to_owned(), command)];
    let last = |wanted: &dyn Fn(&crate::decide::Restart) -> bool| {
        e.account.iter().flat_map(|a| &a.restarts).rev().find(|r| wanted(r)).map(|r| (r.pod.clone(), r.node.clone()))
    };
    if set_aside(explained) {
        return one("let it be judged again", annotate("skip-"));
    }
    if j.wanted != j.current {
        let mut list = Vec::new();
        if let Some(patch) = recommendation::patch(&explained.view, explained.context.as_deref()) {
            let others = explained.view.judgements.iter().filter(|o| o.probe != j.probe && o.wanted != o.current);
            let others: Vec<String> =
                others.map(|o| format!("{} {} -> {}", o.probe.kind.word(), o.current, o.wanted)).collect();
            let too = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
            list.push((format!("take it now, with a rollout{too}"), patch));
        }
        list.push(("leave this workload alone".to_owned(), annotate("skip='your reason'")));
        return list;
    }
    match j.reason {
        Reason::SickReplica => {
            let Some((pod, node)) = last(&|r| r.cause.by_probe()) else {
                return one("look at the pods and their nodes", kubectl("get pods -o wide".into()));
            };
            let mut list = one("look at the pod", kubectl(format!("describe pod {pod}")));
            list.push((
                "what it said before it was killed".to_owned(),
                kubectl(format!("logs {pod} -c {} --previous", j.probe.container)),
            ));
            list.extend(node.map(|n| ("and at its node".to_owned(), format!("kubectl {at}describe node {n}"))));
            list
        }
        Reason::Oom => one("what it uses, against its memory limit", kubectl("top pods --containers".into())),
        Reason::Crash => {
            one("its last words", kubectl(format!("logs {kind}/{name} -c {} --previous", j.probe.container)))
        }
        Reason::Sustained => one("what it is busy with", kubectl("top pods --containers".into())),
        Reason::Synchronous => {
            one("what its checks were told", kubectl("get events --field-selector reason=Unhealthy".into()))
        }
        Reason::Starved => {
            let mut list = one("what it uses, against its CPU limit", kubectl("top pods --containers".into()));
            list.push(("what runs on its nodes".to_owned(), format!("kubectl {at}top nodes")));
            list
        }
        Reason::ColdStart => one(
            "what a startup probe looks like",
            format!("kubectl {at}explain deployment.spec.template.spec.containers.startupProbe"),
        ),
        Reason::BoundConflict => {
            one("say which of the two you mean, for example", annotate("detect-within=90s --overwrite"))
        }
        Reason::DataGap => {
            one("why kubelets cannot be read", format!("kubectl {at}-n probe-tuner logs deployment/probe-tuner"))
        }
        Reason::ThinEvidence => one("watch until enough was seen", kubectl("get probetunings -w".into())),
        Reason::NeedsApproval | Reason::Flapping | Reason::OverBudgetAtMax => {
            one("what was tried, and how it ended", kubectl(format!("describe probetuning {kind}-{name}")))
        }
        _ => one("see it drawn", format!("probe-tuner explain {}-o svg {ns}/{kind}/{name} > {name}.svg", at)),
    }
}
