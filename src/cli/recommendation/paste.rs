//! What a person pastes: into a shell, a kustomization, or a chart's values. Only probes whose numbers should change.

use crate::decide::Judgement;
use crate::engine::View;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Workloads with something to change, and what.
fn wanted<'a>(views: &'a [&View]) -> impl Iterator<Item = (&'a View, BTreeMap<&'a str, Vec<&'a Judgement>>)> {
    views.iter().filter_map(|v| {
        let mut containers: BTreeMap<&str, Vec<&Judgement>> = BTreeMap::new();
        for j in v.judgements.iter().filter(|j| j.wanted != j.current) {
            containers.entry(&j.probe.container).or_default().push(j);
        }
        (!containers.is_empty()).then_some((*v, containers))
    })
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

/// One `kubectl patch` a workload. Names follow Kubernetes' rules, so nothing in them needs quoting.
pub(super) fn patches(views: &[&View]) -> String {
    let mut out = String::new();
    for (v, containers) in wanted(views) {
        let a = &v.address;
        let patch = merge_patch(v, &containers);
        writeln!(out, "kubectl patch {} {} -n {} --type=strategic -p '{patch}'", a.kind.word(), a.name, a.namespace)
            .expect("writing to a string cannot fail");
    }
    if out.is_empty() { NOTHING.into() } else { out }
}

/// A kustomization file whose patches are written inline.
pub(super) fn kustomization(views: &[&View]) -> String {
    let mut out = String::new();
    for (v, containers) in wanted(views) {
        let (kind, name, namespace) = (v.address.kind.name(), &v.address.name, &v.address.namespace);
        if out.is_empty() {
            out += "# Put it beside your manifests, and name those under `resources:`.\n";
            out += "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\npatches:\n";
        }
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
pub(super) fn helm_values(views: &[&View]) -> String {
    let mut out = String::new();
    for (v, containers) in wanted(views) {
        writeln!(out, "---\n# {}", v.address).expect("writing to a string cannot fail");
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

fn flow(j: &Judgement) -> String {
    let w = j.wanted;
    format!("{{periodSeconds: {}, timeoutSeconds: {}, failureThreshold: {}}}", w.period(), w.timeout(), w.threshold())
}
