//! Pods as records, and to which workload they belong.
//!
//! A Deployment's pods name a ReplicaSet as their controller. Its name is the Deployment's, a hyphen and the pod's label
//! `pod-template-hash`, so the Deployment is found without a watch on ReplicaSets; the caller makes sure that a
//! Deployment of that name exists.

use super::template::probes;
use super::time;
use crate::units::{Name, Uid};
use crate::workload::{Container, Ended, Pod, WorkloadKind};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod as Object};

/// Whose a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The workload's kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: Name,
}

/// The workload at the end of a pod's owner references; `None` for a pod of another kind (a Job's, a bare one, a
/// ReplicaSet's that belongs to no Deployment).
pub fn owner(object: &Object) -> Option<Owner> {
    let owner = object.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    if !owner.api_version.starts_with("apps/") {
        return None;
    }
    let (kind, name) = match &*owner.kind {
        "ReplicaSet" => {
            let hash = object.metadata.labels.as_ref()?.get("pod-template-hash")?;
            (WorkloadKind::Deployment, owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')?)
        }
        "StatefulSet" => (WorkloadKind::StatefulSet, &*owner.name),
        "DaemonSet" => (WorkloadKind::DaemonSet, &*owner.name),
        _ => return None,
    };
    Some(Owner { kind, name: Name::from(name) })
}

/// A pod of `workload` as it is now; `None` if the server left out what every stored pod has.
pub fn pod(object: &Object, workload: Uid) -> Option<Pod> {
    let spec = object.spec.as_ref()?;
    let status = object.status.as_ref();
    let probes = probes(spec);
    // Of the init containers only those that restart are probed and counted in readiness.
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let sidecars: Vec<&str> = sidecars.map(|c| &*c.name).collect();
    let statuses = status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    let beside = status.iter().flat_map(|s| s.init_container_statuses.iter().flatten());
    let beside = beside.filter(|c| sidecars.contains(&&*c.name));
    let mut containers: Vec<Container> = statuses.chain(beside).map(container).collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let conditions = status.iter().flat_map(|s| s.conditions.iter().flatten());
    Some(Pod {
        uid: Uid::parse(object.metadata.uid.as_deref()?)?,
        name: Name::from(object.metadata.name.as_deref()?),
        workload,
        node: spec.node_name.as_deref().filter(|n| !n.is_empty()).map(Name::from),
        probes,
        containers,
        terminating: object.metadata.deletion_timestamp.is_some(),
        created: object.metadata.creation_timestamp.as_ref().map(time).unwrap_or_default(),
        ready: conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True"),
    })
}

fn container(status: &ContainerStatus) -> Container {
    let running = status.state.as_ref().and_then(|s| s.running.as_ref());
    let ended = status.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    Container {
        name: Name::from(&*status.name),
        running_since: running.and_then(|r| r.started_at.as_ref()).map(time),
        ready: status.ready,
        started: status.started == Some(true),
        restarts: u32::try_from(status.restart_count).unwrap_or(0),
        last_end: ended.map(|t| Ended {
            code: t.exit_code,
            reason: Name::from(t.reason.as_deref().unwrap_or("")),
            started: t.started_at.as_ref().map(time),
            finished: t.finished_at.as_ref().map(time),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::units::Timestamp;
    use serde_json::{Value, json};

    fn object(change: impl FnOnce(&mut Value)) -> Object {
        let mut object = json!({
            "metadata": {
                "name": "web-fd9b8467d-hdpmr", "namespace": "shop", "uid": "17e2dc72-8979-44e1-8b7d-04d35ceec5a3",
                "creationTimestamp": "1970-01-01T00:01:00Z", "labels": {"pod-template-hash": "fd9b8467d"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-fd9b8467d", "uid": "x", "controller": true}]
            },
            "spec": {
                "nodeName": "node-1",
                "initContainers": [{"name": "once"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "web", "livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 5}}]
            },
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "initContainerStatuses": [
                    {"name": "once", "image": "", "imageID": "", "ready": true, "restartCount": 0},
                    {"name": "proxy", "image": "", "imageID": "", "ready": true, "started": true, "restartCount": 0,
                     "state": {"running": {"startedAt": "1970-01-01T00:01:01Z"}}}
                ],
                "containerStatuses": [
                    {"name": "web", "image": "", "imageID": "", "ready": false, "started": true, "restartCount": 2,
                     "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                     "lastState": {"terminated": {"exitCode": 137, "reason": "Error",
                        "startedAt": "1970-01-01T00:01:02Z", "finishedAt": "1970-01-01T00:01:40Z"}}}
                ]
            }
        });
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_pod_is_kept_as_a_small_record() {
        let pod = pod(&object(|_| ()), Uid::from_bits(1)).unwrap();
        assert_eq!(
            (&*pod.name, pod.node.as_deref(), pod.ready, pod.terminating),
            ("web-fd9b8467d-hdpmr", Some("node-1"), true, false)
        );
        assert_eq!(pod.created, Timestamp::from_seconds(60));
        assert_eq!(pod.probes[0].settings.to_string(), "5/1/3");
        let names: Vec<&str> = pod.containers.iter().map(|c| &*c.name).collect();
        assert_eq!(names, ["proxy", "web"]);
        assert_eq!(pod.containers[0].running_since, Some(Timestamp::from_seconds(61)));
        let web = &pod.containers[1];
        assert_eq!((web.restarts, web.ready, web.running_since), (2, false, None));
        let end = web.last_end.as_ref().unwrap();
        assert_eq!((end.code, &*end.reason, end.finished), (137, "Error", Some(Timestamp::from_seconds(100))));
    }

    #[test]
    fn a_deployments_name_is_its_replica_sets_without_the_hash() {
        let owner_of = |change: fn(&mut Value)| owner(&object(change));
        assert_eq!(owner_of(|_| ()), Some(Owner { kind: WorkloadKind::Deployment, name: "web".into() }));
        let dotted = owner_of(|p| p["metadata"]["ownerReferences"][0]["name"] = json!("web.v2-a-fd9b8467d"));
        assert_eq!(dotted, Some(Owner { kind: WorkloadKind::Deployment, name: "web.v2-a".into() }));
        let daemon = owner_of(|p| p["metadata"]["ownerReferences"][0]["kind"] = json!("DaemonSet"));
        assert_eq!(daemon, Some(Owner { kind: WorkloadKind::DaemonSet, name: "web-fd9b8467d".into() }));
    }

    #[test]
    fn a_pod_whose_workload_cannot_be_told_is_nobodys() {
        let strange: [fn(&mut Value); 6] = [
            |p| p["metadata"]["ownerReferences"][0]["kind"] = json!("Job"),
            |p| p["metadata"]["ownerReferences"][0]["controller"] = json!(false),
            |p| p["metadata"]["ownerReferences"][0]["apiVersion"] = json!("argoproj.io/v1alpha1"),
            |p| p["metadata"]["ownerReferences"] = json!(null),
            |p| p["metadata"]["labels"] = json!({}),
            |p| p["metadata"]["labels"]["pod-template-hash"] = json!("other"),
        ];
        for (i, change) in strange.into_iter().enumerate() {
            assert_eq!(owner(&object(change)), None, "case {i}");
        }
    }

    #[test]
    fn a_terminating_pod_is_marked() {
        let pod =
            pod(&object(|p| p["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:02:00Z")), Uid::from_bits(1));
        assert!(pod.unwrap().terminating);
    }
}
