//! The words that come first: what it would do, why, what that costs, and what to type. For whoever is woken by it.

use super::{Explained, Paint, line, plain};
use crate::cli::demo::wrap;
use crate::cli::recommendation;
use crate::decide::{Explanation, Urgency, said};
use crate::policy::Mode;
use crate::probe::{ProbeKind, Settings};
use crate::reason::Reason;
use crate::workload::Address;

/// The longest line of words.
const WIDTH: usize = 96;

pub(super) fn say(out: &mut String, explained: &Explained, e: &Explanation, paint: Paint) {
    let j = &e.judgement;
    let place = explained.context.as_ref().map_or(String::new(), |c| format!("{c}: "));
    let colour = if j.wanted != j.current { "1;32" } else { "1;33" };
    let head = format!("{place}{}, container {}, {} probe", e.address, j.probe.container, j.probe.kind.word());
    line(out, &format!("{}: {}", paint.bold(&plain(&head)), paint.with(colour, code(explained, e).code())));
    out.push('\n');
    let sentences = [what(explained, e), why(explained, e), cost(e), when(explained, e), together(explained, e)];
    for sentence in sentences.into_iter().flatten() {
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

/// Why the command changes other probes too: one rollout carries the numbers of all.
fn together(explained: &Explained, e: &Explanation) -> Option<String> {
    let probe = &e.judgement.probe;
    if set_aside(explained) || e.judgement.wanted == e.judgement.current {
        return None;
    }
    let others = explained.view.judgements.iter().filter(|o| o.probe != *probe && o.wanted != o.current);
    let others: Vec<String> = others
        .map(|o| {
            let of = if o.probe.container == probe.container {
                String::new()
            } else {
                format!(" of container {}", o.probe.container)
            };
            format!("{} probe{of} from {} to {} ({})", o.probe.kind.word(), o.current, o.wanted, o.reason.code())
        })
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "The command below also changes the {}: each change of a workload's template replaces all of its pods, so its probes are changed together.",
            others.join(" and the ")
        )
    })
}

/// Commands about one workload.
struct Shell<'a> {
    /// The flag that names the context, where several were asked.
    at: String,
    address: &'a Address,
}

impl Shell<'_> {
    fn kubectl(&self, rest: &str) -> String {
        format!("kubectl {}-n {} {rest}", self.at, self.address.namespace)
    }

    fn annotate(&self, what: &str) -> String {
        let Address { kind, name, .. } = self.address;
        self.kubectl(&format!("annotate {} {name} probe-tuner.io/{what}", kind.word()))
    }

    /// What the kubelets told of checks that failed.
    fn failures(&self) -> String {
        self.kubectl("get events --field-selector reason=Unhealthy")
    }
}

/// What a person may type, and what for.
fn advice(explained: &Explained, e: &Explanation) -> Vec<(String, String)> {
    let shell = Shell { at: recommendation::context_flag(explained.context.as_deref()), address: &e.address };
    if set_aside(explained) {
        return vec![("let it be judged again".to_owned(), shell.annotate("skip-"))];
    }
    let changes = e.judgement.wanted != e.judgement.current;
    let mut list = Vec::new();
    if changes {
        let patch = recommendation::patch(&explained.view, explained.context.as_deref());
        list.extend(patch.map(|patch| ("take it now, with a rollout".to_owned(), patch)));
    } else {
        list = staying(e, &shell);
    }
    let late = e.ahead.is_some_and(|a| a.reaching.is_some() || (a.trusted && a.foretold.is_some()));
    if late && list.iter().all(|(_, command)| *command != shell.failures()) {
        list.push(("which pods do not answer in time".to_owned(), shell.failures()));
    }
    if changes {
        list.push(("leave this workload alone".to_owned(), shell.annotate("skip='your reason'")));
    }
    list
}

/// What helps where the numbers stay.
fn staying(e: &Explanation, shell: &Shell<'_>) -> Vec<(String, String)> {
    let (j, at) = (&e.judgement, &shell.at);
    let (ns, kind, name) = (&e.address.namespace, e.address.kind.word(), &e.address.name);
    let kubectl = |rest: String| shell.kubectl(&rest);
    let one = |what: &str, command: String| vec![(what.to_owned(), command)];
    match j.reason {
        Reason::SickReplica => {
            let mut restarts = e.account.iter().flat_map(|a| &a.restarts).rev();
            let Some((pod, node)) = restarts.find(|r| r.cause.by_probe()).map(|r| (&r.pod, &r.node)) else {
                return one("look at the pods and their nodes", kubectl("get pods -o wide".into()));
            };
            let mut list = one("look at the pod", kubectl(format!("describe pod {pod}")));
            list.push((
                "what it said before it was killed".to_owned(),
                kubectl(format!("logs {pod} -c {} --previous", j.probe.container)),
            ));
            list.extend(
                node.as_ref().map(|n| ("and at its node".to_owned(), format!("kubectl {at}describe node {n}"))),
            );
            list
        }
        Reason::Oom => one("what it uses, against its memory limit", kubectl("top pods --containers".into())),
        Reason::Crash => {
            one("its last words", kubectl(format!("logs {kind}/{name} -c {} --previous", j.probe.container)))
        }
        Reason::Sustained => one("what it is busy with", kubectl("top pods --containers".into())),
        Reason::Synchronous => one("what its checks were told", shell.failures()),
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
            one("say which of the two you mean, for example", shell.annotate("detect-within=90s --overwrite"))
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
