//! The exact patches that are sent, made from the fresh object: pure, so that each line of them can be tested.

use crate::change::{Change, Outcome, Step};
use crate::cluster::FIELD_MANAGER;
use crate::probe::Settings;
use crate::units::Name;
use serde::Serialize;
use serde_json::{Value, json};

/// One operation of a JSON patch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Op {
    /// Fails the whole patch unless this stands there.
    Test {
        /// Where, as a JSON pointer.
        path: String,
        /// What.
        value: Value,
    },
    /// Puts a value in the place of the one that is there.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Puts a value where none is.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes out what is there.
    Remove {
        /// Where.
        path: String,
    },
}

fn test(path: impl Into<String>, value: impl Into<Value>) -> Op {
    Op::Test { path: path.into(), value: value.into() }
}

/// The patch that brings the numbers of `change` into `fresh`, the workload as it was just read.
///
/// Tests uid, generation, each container's name at its place and each old number; replaces those integers that differ. A
/// number that is absent in the object stands for its default: it is added, and the generation guards it.
///
/// # Errors
/// [`Outcome::Contested`] when the object is another, or any of its numbers is not as the change presumes.
pub fn numbers(fresh: &Value, change: &Change) -> Result<Vec<Op>, Outcome> {
    let uid = fresh.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or("");
    if uid != change.workload.to_string() {
        return Err(contested(format!("another object of this name (uid {uid})")));
    }
    let generation = fresh.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
    if generation != change.generation {
        return Err(contested(format!("generation {generation}, not {}", change.generation)));
    }
    let mut ops = vec![test("/metadata/uid", uid), test("/metadata/generation", generation)];
    let mut named: Vec<String> = Vec::new();
    for step in &change.steps {
        let place = place(fresh, &step.probe.container)
            .ok_or_else(|| contested(format!("no container {}", step.probe.container)))?;
        if !named.contains(&place) {
            ops.push(test(format!("{place}/name"), &*step.probe.container));
            named.push(place.clone());
        }
        step_ops(fresh, step, &place, &mut ops)?;
    }
    if ops.iter().all(|op| matches!(op, Op::Test { .. })) {
        return Err(contested("the numbers already stand as wanted".to_owned()));
    }
    Ok(ops)
}

/// Where the container of this name stands: among `containers`, or among the init containers that restart.
fn place(fresh: &Value, container: &str) -> Option<String> {
    let at = |list: &str, fits: fn(&Value) -> bool| {
        let path = format!("/spec/template/spec/{list}");
        let found = fresh.pointer(&path)?.as_array()?.iter().position(|c| c["name"] == container && fits(c))?;
        Some(format!("{path}/{found}"))
    };
    at("containers", |_| true).or_else(|| at("initContainers", |c| c["restartPolicy"] == "Always"))
}

fn step_ops(fresh: &Value, step: &Step, place: &str, ops: &mut Vec<Op>) -> Result<(), Outcome> {
    let base = format!("{place}/{}", step.probe.kind.field());
    let probe = fresh.pointer(&base).ok_or_else(|| contested(format!("{} is no longer there", step.probe)))?;
    let number = |name: &str| probe.get(name).and_then(Value::as_i64).and_then(|n| i32::try_from(n).ok());
    let now = Settings::from_spec(number("periodSeconds"), number("timeoutSeconds"), number("failureThreshold"));
    if now != Some(step.from) {
        let now = now.map_or("unreadable".to_owned(), |now| now.to_string());
        return Err(contested(format!("{} is {now}, not {}", step.probe, step.from)));
    }
    for (name, from, to) in [
        ("periodSeconds", step.from.period(), step.to.period()),
        ("timeoutSeconds", step.from.timeout(), step.to.timeout()),
        ("failureThreshold", step.from.threshold(), step.to.threshold()),
    ] {
        let path = format!("{base}/{name}");
        let stands = probe.get(name).filter(|n| **n != json!(0)).is_some();
        if stands {
            ops.push(test(&path, from));
        }
        if from != to {
            let value = json!(to);
            // "add" puts a member there whether one was or not; "replace" wants one.
            ops.push(if stands { Op::Replace { path, value } } else { Op::Add { path, value } });
        }
    }
    Ok(())
}

/// A patch that the fence must refuse, whoever's the workload is: one replica more. Only ever sent as a dry run.
pub fn forbidden(fresh: &Value) -> Vec<Op> {
    let replicas = fresh.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    vec![Op::Add { path: "/spec/replicas".to_owned(), value: json!(replicas.saturating_add(1)) }]
}

/// The patch that takes our entries out of `metadata.managedFields`; `None` when there is none.
///
/// Each removal is tested for the manager's name, from the last to the first: the places shift when others write.
pub fn let_go(object: &Value) -> Option<Vec<Op>> {
    let entries = object.pointer("/metadata/managedFields").and_then(Value::as_array)?;
    let ours: Vec<usize> = (0..entries.len()).rev().filter(|&i| entries[i]["manager"] == FIELD_MANAGER).collect();
    if ours.is_empty() {
        return None;
    }
    let mut ops: Vec<Op> = object
        .pointer("/metadata/uid")
        .and_then(Value::as_str)
        .map(|uid| test("/metadata/uid", uid))
        .into_iter()
        .collect();
    for i in ours {
        let path = format!("/metadata/managedFields/{i}");
        ops.push(test(format!("{path}/manager"), FIELD_MANAGER));
        ops.push(Op::Remove { path });
    }
    Some(ops)
}

/// The outcome "not as presumed", with what was found.
pub(super) fn contested(found: String) -> Outcome {
    Outcome::Contested { found: Name::from(found) }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::change::Intent;
    use crate::probe::ProbeKind;
    use crate::reason::Reason;
    use crate::units::Uid;
    use crate::workload::{Address, ProbeId, WorkloadKind};

    const UID: &str = "7c1e0a4f-0001-4abc-9def-0123456789ab";

    fn fresh() -> Value {
        json!({
            "metadata": {"uid": UID, "generation": 4},
            "spec": {"replicas": 6, "template": {"spec": {
                "initContainers": [{"name": "once"}, {"name": "proxy", "restartPolicy": "Always",
                    "startupProbe": {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 30}}],
                "containers": [{"name": "log"}, {"name": "app",
                    "livenessProbe": {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3},
                    "readinessProbe": {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3}}]
            }}}
        })
    }

    fn step(container: &str, kind: ProbeKind, from: &str, to: &str) -> Step {
        let probe = ProbeId { container: container.into(), kind };
        Step { probe, from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn change(steps: Vec<Step>) -> Change {
        Change {
            id: 1,
            workload: Uid::parse(UID).unwrap(),
            address: Address { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "web".into() },
            generation: 4,
            intent: Intent::Tune,
            steps,
            reason: Reason::Loosen,
            message: String::new(),
        }
    }

    #[test]
    fn the_patch_tests_all_that_it_presumes_and_replaces_only_what_differs() {
        let change = change(vec![
            step("app", ProbeKind::Liveness, "10/1/3", "10/10/2"),
            step("app", ProbeKind::Readiness, "10/1/3", "5/1/3"),
            step("proxy", ProbeKind::Startup, "1/1/30", "1/2/30"),
        ]);
        let app = "/spec/template/spec/containers/1";
        let proxy = "/spec/template/spec/initContainers/1";
        let wanted = json!([
            {"op": "test", "path": "/metadata/uid", "value": UID},
            {"op": "test", "path": "/metadata/generation", "value": 4},
            {"op": "test", "path": format!("{app}/name"), "value": "app"},
            {"op": "test", "path": format!("{app}/livenessProbe/periodSeconds"), "value": 10},
            {"op": "test", "path": format!("{app}/livenessProbe/timeoutSeconds"), "value": 1},
            {"op": "replace", "path": format!("{app}/livenessProbe/timeoutSeconds"), "value": 10},
            {"op": "test", "path": format!("{app}/livenessProbe/failureThreshold"), "value": 3},
            {"op": "replace", "path": format!("{app}/livenessProbe/failureThreshold"), "value": 2},
            {"op": "test", "path": format!("{app}/readinessProbe/periodSeconds"), "value": 10},
            {"op": "replace", "path": format!("{app}/readinessProbe/periodSeconds"), "value": 5},
            {"op": "test", "path": format!("{app}/readinessProbe/timeoutSeconds"), "value": 1},
            {"op": "test", "path": format!("{app}/readinessProbe/failureThreshold"), "value": 3},
            {"op": "test", "path": format!("{proxy}/name"), "value": "proxy"},
            {"op": "test", "path": format!("{proxy}/startupProbe/periodSeconds"), "value": 1},
            {"op": "test", "path": format!("{proxy}/startupProbe/timeoutSeconds"), "value": 1},
            {"op": "replace", "path": format!("{proxy}/startupProbe/timeoutSeconds"), "value": 2},
            {"op": "test", "path": format!("{proxy}/startupProbe/failureThreshold"), "value": 30},
        ]);
        assert_eq!(serde_json::to_value(numbers(&fresh(), &change).unwrap()).unwrap(), wanted);
    }

    #[test]
    fn whatever_is_not_as_presumed_is_contested_and_named() {
        let loosen = || vec![step("app", ProbeKind::Liveness, "10/1/3", "10/10/2")];
        let cases: [(fn(&mut Value), Vec<Step>, &str); 8] = [
            (|f| f["metadata"]["uid"] = json!("x"), loosen(), "another object of this name (uid x)"),
            (|f| f["metadata"]["generation"] = json!(5), loosen(), "generation 5, not 4"),
            (
                |f| f["spec"]["template"]["spec"]["containers"][1]["livenessProbe"]["timeoutSeconds"] = json!(5),
                loosen(),
                "app/liveness is 10/5/3, not 10/1/3",
            ),
            (
                |f| f["spec"]["template"]["spec"]["containers"][1]["livenessProbe"]["timeoutSeconds"] = json!(-5),
                loosen(),
                "app/liveness is unreadable, not 10/1/3",
            ),
            (
                |f| {
                    f["spec"]["template"]["spec"]["containers"][1].as_object_mut().unwrap().remove("livenessProbe");
                },
                loosen(),
                "app/liveness is no longer there",
            ),
            (|f| f["spec"]["template"]["spec"]["containers"][1]["name"] = json!("web"), loosen(), "no container app"),
            (|_| (), vec![step("once", ProbeKind::Startup, "1/1/30", "1/2/30")], "no container once"),
            (|_| (), vec![step("app", ProbeKind::Liveness, "10/1/3", "10/1/3")], "the numbers already stand as wanted"),
        ];
        for (alter, steps, found) in cases {
            let mut fresh = fresh();
            alter(&mut fresh);
            assert_eq!(numbers(&fresh, &change(steps)), Err(contested(found.to_owned())));
        }
    }

    #[test]
    fn a_number_that_is_absent_stands_for_its_default() {
        let mut fresh = fresh();
        fresh["spec"]["template"]["spec"]["containers"][1]["livenessProbe"] = json!({"periodSeconds": 10});
        let ops = numbers(&fresh, &change(vec![step("app", ProbeKind::Liveness, "10/1/3", "10/10/3")])).unwrap();
        let base = "/spec/template/spec/containers/1/livenessProbe";
        assert_eq!(
            ops[3..],
            [
                test(format!("{base}/periodSeconds"), 10),
                Op::Add { path: format!("{base}/timeoutSeconds"), value: json!(10) }
            ]
        );
    }

    #[test]
    fn our_entries_are_let_go_from_the_last_to_the_first_and_nobody_elses() {
        let mut object = fresh();
        assert_eq!(let_go(&object), None);
        object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}, {"manager": "probe-tuner"}, {"manager": "helm"}, {"manager": "probe-tuner"}]);
        let wanted = json!([
            {"op": "test", "path": "/metadata/uid", "value": UID},
            {"op": "test", "path": "/metadata/managedFields/3/manager", "value": "probe-tuner"},
            {"op": "remove", "path": "/metadata/managedFields/3"},
            {"op": "test", "path": "/metadata/managedFields/1/manager", "value": "probe-tuner"},
            {"op": "remove", "path": "/metadata/managedFields/1"},
        ]);
        assert_eq!(serde_json::to_value(let_go(&object).unwrap()).unwrap(), wanted);
    }
}
