//! What a person pastes: into a shell, a kustomization, or a chart's values. Only probes whose numbers should change.

use super::Shown;
use crate::decide::Judgement;
use crate::engine::View;
use crate::reason::Reason;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Workloads with something to change, and what.
fn wanted<'a>(views: &'a [Shown<'a>]) -> impl Iterator<Item = (&'a Shown<'a>, Containers<'a>)> {
    views.iter().filter_map(|v| Some((v, containers(v.view)?)))
}

type Containers<'a> = BTreeMap<&'a str, Vec<&'a Judgement>>;

/// The probes whose numbers should change, by container; `None` where there are none, or where its owner has set the
/// workload aside.
fn containers(view: &View) -> Option<Containers<'_>> {
    let mut containers: Containers<'_> = BTreeMap::new();
    for j in view.judgements.iter().filter(|j| j.wanted != j.current && view.reason != Reason::Skipped) {
        containers.entry(&j.probe.container).or_default().push(j);
    }
    (!containers.is_empty()).then_some(containers)
}

const NOTHING: &str = "# nothing to change\n";

/// A strategic merge patch: containers are merged by name, probes keep their handlers.
fn merge_patch(view: &View, containers: &BTreeMap<&str, Vec<&Judgement>>) -> serde_json::Value {
    let mut lists: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
    for (name, judgements) in containers {
        let mut container = serde_json::Map::new();
        container.insert("name".into(), (*name).into());
        for j in judgements {
            container.insert(j.probe.kind.field().into(), numbers(j));
        }
        lists.entry(list_of(view, name)).or_default().push(container.into());
    }
    serde_json::json!({"spec": {"template": {"spec": lists}}})
}

/// In which list of the template a container stands.
fn list_of(view: &View, container: &str) -> &'static str {
    if view.sidecars.iter().any(|s| **s == *container) { "initContainers" } else { "containers" }
}

fn numbers(j: &Judgement) -> serde_json::Value {
    let (period, timeout, threshold) = (j.wanted.period(), j.wanted.timeout(), j.wanted.threshold());
    serde_json::json!({"periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": threshold})
}

/// One `kubectl patch` a workload.
pub(super) fn patches(views: &[Shown<'_>]) -> String {
    let lines: Vec<String> = views.iter().filter_map(patch).collect();
    if lines.is_empty() { NOTHING.into() } else { lines.join("\n") + "\n" }
}

/// The `kubectl patch` of one workload. Names in a cluster follow Kubernetes' rules, so nothing in them needs quoting;
/// the name of a context may be anything.
pub(super) fn patch(v: &Shown<'_>) -> Option<String> {
    let containers = containers(v.view)?;
    let a = &v.view.address;
    let patch = merge_patch(v.view, &containers);
    let context = flag(v.context);
    let (kind, name, namespace) = (a.kind.word(), &a.name, &a.namespace);
    Some(format!("kubectl {context}patch {kind} {name} -n {namespace} --type=strategic -p '{patch}'"))
}

/// `--context 'name' ` for a shell, where there are several.
pub(super) fn flag(context: Option<&str>) -> String {
    context.map_or(String::new(), |c| format!("--context '{}' ", c.replace('\'', "'\\''")))
}

/// A kustomization file whose patches are written inline.
pub(super) fn kustomization(views: &[Shown<'_>]) -> String {
    let mut out = String::new();
    for (Shown { context, view: v }, containers) in wanted(views) {
        let (kind, name, namespace) = (v.address.kind.name(), &v.address.name, &v.address.namespace);
        if out.is_empty() {
            out += "# Put it beside your manifests, and name those under `resources:`.\n";
            out += "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches:\n";
        }
        out += &context.map_or(String::new(), |c| format!("# in {}\n", one_line(c)));
        out += &format!("- target: {{group: apps, version: v1, kind: {kind}, name: {name}, namespace: {namespace}}}\n");
        out += &format!("  patch: |\n    apiVersion: apps/v1\n    kind: {kind}\n");
        out += &format!("    metadata: {{name: {name}, namespace: {namespace}}}\n");
        out += "    spec:\n      template:\n        spec:\n";
        for list in ["containers", "initContainers"] {
            let mut inside = containers.iter().filter(|(name, _)| list_of(v, name) == list).peekable();
            if inside.peek().is_some() {
                out += &format!("          {list}:\n");
            }
            for (container, judgements) in inside {
                out += &format!("          - name: {container}\n");
                for j in judgements {
                    out += &format!("            {}: {}\n", j.probe.kind.field(), flow(j));
                }
            }
        }
    }
    if out.is_empty() { NOTHING.into() } else { out }
}

/// Values in the shape that most charts pass through: `livenessProbe:` at the top, or under the container's name where
/// there are several.
pub(super) fn helm_values(views: &[Shown<'_>]) -> String {
    let mut out = String::new();
    for (Shown { context, view: v }, containers) in wanted(views) {
        let place = context.map_or(String::new(), |c| format!(" in {}", one_line(c)));
        writeln!(out, "---\n# {}{place}", v.address).expect("writing to a string cannot fail");
        let several = containers.len() > 1;
        for (name, judgements) in &containers {
            let indent = if several { "  " } else { "" };
            if several {
                writeln!(out, "{name}:").expect("writing to a string cannot fail");
            }
            for j in judgements {
                writeln!(out, "{indent}{}: {}", j.probe.kind.field(), flow(j))
                    .expect("writing to a string cannot fail");
            }
        }
    }
    if out.is_empty() { NOTHING.into() } else { out }
}

/// A name as a comment can hold it.
fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn flow(j: &Judgement) -> String {
    let w = j.wanted;
    format!("{{periodSeconds: {}, timeoutSeconds: {}, failureThreshold: {}}}", w.period(), w.timeout(), w.threshold())
}
