//! Deployments, StatefulSets and DaemonSets as [`Workload`]s, and what forbids a patch of them.
//!
//! Facts: `kubernetes/kubectl:pkg/polymorphichelpers/rollout_status.go` for when a rollout is over,
//! `kubernetes/kubernetes:pkg/controller/deployment/progress.go` for the condition, and the documents of Argo CD and Flux
//! for their marks.

use super::template::{probes, sidecars, version};
use crate::policy::Permission;
use crate::units::{Name, Uid};
use crate::workload::{Address, Unpatchable, Workload, WorkloadKind};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// A Deployment as it is declared; `None` if the server left out what every stored object has (uid, name, spec).
pub fn deployment(object: &Deployment, permission: Permission) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    let replicas = u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0);
    let mut unpatchable = Vec::new();
    if spec.paused == Some(true) {
        unpatchable.push(Unpatchable::Paused);
    }
    if !at_rest(object, replicas) {
        unpatchable.push(Unpatchable::Progressing);
    }
    if spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) == Some("Recreate") {
        unpatchable.push(Unpatchable::Recreate);
    }
    record(WorkloadKind::Deployment, &object.metadata, &spec.template, replicas, permission, unpatchable)
}

/// A StatefulSet as it is declared: recommended for, never patched.
pub fn stateful_set(object: &StatefulSet, permission: Permission) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    let replicas = spec.replicas.unwrap_or(1);
    let mut unpatchable = vec![Unpatchable::Kind(WorkloadKind::StatefulSet)];
    let status = object.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= object.metadata.generation;
    let updated = status.current_revision == status.update_revision && status.ready_replicas.unwrap_or(0) == replicas;
    if !(seen && updated) {
        unpatchable.push(Unpatchable::Progressing);
    }
    let replicas = u32::try_from(replicas).unwrap_or(0);
    record(WorkloadKind::StatefulSet, &object.metadata, &spec.template, replicas, permission, unpatchable)
}

/// A DaemonSet as it is declared: recommended for, never patched. Its replicas are the nodes that should run it.
pub fn daemon_set(object: &DaemonSet, permission: Permission) -> Option<Workload> {
    let spec = object.spec.as_ref()?;
    let status = object.status.clone().unwrap_or_default();
    let mut unpatchable = vec![Unpatchable::Kind(WorkloadKind::DaemonSet)];
    let seen = status.observed_generation >= object.metadata.generation;
    if !(seen && status.updated_number_scheduled.unwrap_or(0) >= status.desired_number_scheduled) {
        unpatchable.push(Unpatchable::Progressing);
    }
    let replicas = u32::try_from(status.desired_number_scheduled).unwrap_or(0);
    record(WorkloadKind::DaemonSet, &object.metadata, &spec.template, replicas, permission, unpatchable)
}

fn record(
    kind: WorkloadKind,
    metadata: &ObjectMeta,
    template: &PodTemplateSpec,
    replicas: u32,
    permission: Permission,
    mut unpatchable: Vec<Unpatchable>,
) -> Option<Workload> {
    if replicas == 0 {
        unpatchable.push(Unpatchable::ScaledToZero);
    }
    unpatchable.extend(controller(metadata).map(Unpatchable::OwnedBy));
    unpatchable.extend(pipeline(metadata).map(|name| Unpatchable::Pipeline(name.into())));
    unpatchable.sort();
    Some(Workload {
        uid: Uid::parse(metadata.uid.as_deref()?)?,
        address: Address {
            namespace: Name::from(metadata.namespace.as_deref()?),
            kind,
            name: Name::from(metadata.name.as_deref()?),
        },
        generation: metadata.generation.unwrap_or(0),
        replicas,
        version: version(template),
        probes: template.spec.as_ref().map(probes).unwrap_or_default(),
        sidecars: template.spec.as_ref().map(sidecars).unwrap_or_default(),
        permission,
        unpatchable,
    })
}

/// Whether its last rollout is over. The generation is looked at first: without it one reads the status of the rollout
/// before.
///
/// As `kubectl rollout status`, but for one case: once the controller has noted `NewReplicaSetAvailable` a rollout is
/// over until the template changes again, and a replica that is unavailable afterwards is just a sick replica. (kubectl
/// waits for it. A workload whose probes kill it falsely would then hardly ever be at rest, and could not be helped.)
fn at_rest(object: &Deployment, replicas: u32) -> bool {
    let Some(status) = &object.status else { return false };
    if status.observed_generation < object.metadata.generation {
        return false;
    }
    let count = |n: Option<i32>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let updated = count(status.updated_replicas);
    let finished = status
        .conditions
        .iter()
        .flatten()
        .any(|c| c.type_ == "Progressing" && c.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let available = count(status.available_replicas) == updated;
    updated == replicas && count(status.replicas) == updated && (available || finished)
}

/// The controller that owns it, as `Kind/name`.
fn controller(metadata: &ObjectMeta) -> Option<Name> {
    let owner = metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    Some(format!("{}/{}", owner.kind, owner.name).into())
}

/// The pipeline that would put back whatever we write: by the marks that it leaves on objects, or by its entry among the
/// managers of their fields.
fn pipeline(metadata: &ObjectMeta) -> Option<&'static str> {
    let marked = |key: &str| {
        [&metadata.labels, &metadata.annotations].into_iter().flatten().any(|notes| notes.contains_key(key))
    };
    let managed = |names: &[&str]| {
        metadata
            .managed_fields
            .iter()
            .flatten()
            .filter(|entry| entry.subresource.as_deref().unwrap_or("").is_empty())
            .any(|entry| entry.manager.as_deref().is_some_and(|m| names.contains(&m)))
    };
    if marked("argocd.argoproj.io/tracking-id")
        || marked("argocd.argoproj.io/instance")
        || managed(&["argocd-controller", "argocd-application-controller"])
    {
        return Some("argocd");
    }
    let flux = ["kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name"];
    (flux.into_iter().any(marked) || managed(&["kustomize-controller", "helm-controller"])).then_some("flux")
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::annotations::{Annotations, Defaults, Rules};
    use crate::units::Timestamp;
    use serde_json::{Value, json};

    fn permission() -> Permission {
        let none = Annotations::new();
        Rules::read(&Defaults::default(), &none, &none).at(Timestamp::EPOCH, false)
    }

    fn read(change: impl FnOnce(&mut Value)) -> Workload {
        let mut object = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "7c1e0a4f-0001-4abc-9def-0123456789ab", "generation": 4},
            "spec": {
                "replicas": 6, "selector": {},
                "template": {"spec": {"containers": [{"name": "app", "livenessProbe": {"exec": {}}}]}}
            },
            "status": {"observedGeneration": 4, "replicas": 6, "updatedReplicas": 6, "availableReplicas": 6}
        });
        change(&mut object);
        deployment(&serde_json::from_value(object).unwrap(), permission()).unwrap()
    }

    #[test]
    fn a_deployment_at_rest_may_be_patched() {
        let workload = read(|_| ());
        assert_eq!(workload.address.to_string(), "shop/Deployment/web");
        assert_eq!((workload.replicas, workload.generation, workload.probes.len()), (6, 4, 1));
        assert_eq!(workload.unpatchable, []);
    }

    #[test]
    fn whatever_forbids_a_patch_is_named() {
        let cases: [(fn(&mut Value), Vec<Unpatchable>); 15] = [
            (|d| d["spec"]["paused"] = json!(true), vec![Unpatchable::Paused]),
            (|d| d["spec"]["strategy"] = json!({"type": "Recreate"}), vec![Unpatchable::Recreate]),
            (|d| d["status"]["observedGeneration"] = json!(3), vec![Unpatchable::Progressing]),
            (|d| d["status"]["updatedReplicas"] = json!(5), vec![Unpatchable::Progressing]),
            (|d| d["status"]["replicas"] = json!(8), vec![Unpatchable::Progressing]),
            (|d| d["status"]["availableReplicas"] = json!(5), vec![Unpatchable::Progressing]),
            (|d| d["status"] = json!(null), vec![Unpatchable::Progressing]),
            (
                |d| {
                    d["spec"]["replicas"] = json!(0);
                    d["status"] = json!({"observedGeneration": 4});
                },
                vec![Unpatchable::ScaledToZero],
            ),
            (
                |d| {
                    d["metadata"]["ownerReferences"] =
                        json!([{"apiVersion": "v1", "kind": "App", "name": "shop", "uid": "", "controller": true}]);
                },
                vec![Unpatchable::OwnedBy("App/shop".into())],
            ),
            (
                |d| {
                    d["metadata"]["ownerReferences"] =
                        json!([{"apiVersion": "v1", "kind": "App", "name": "shop", "uid": ""}])
                },
                vec![],
            ),
            (
                |d| d["metadata"]["annotations"] = json!({"argocd.argoproj.io/tracking-id": "x"}),
                vec![Unpatchable::Pipeline("argocd".into())],
            ),
            (
                |d| d["metadata"]["labels"] = json!({"kustomize.toolkit.fluxcd.io/name": "x"}),
                vec![Unpatchable::Pipeline("flux".into())],
            ),
            (
                |d| d["metadata"]["managedFields"] = json!([{"manager": "argocd-controller", "operation": "Update"}]),
                vec![Unpatchable::Pipeline("argocd".into())],
            ),
            (
                |d| {
                    d["metadata"]["managedFields"] =
                        json!([{"manager": "helm-controller", "operation": "Update", "subresource": "status"}])
                },
                vec![],
            ),
            (|d| d["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "Helm"}), vec![]),
        ];
        for (i, (change, wanted)) in cases.into_iter().enumerate() {
            assert_eq!(read(change).unpatchable, wanted, "case {i}");
        }
    }

    #[test]
    fn after_a_finished_rollout_a_sick_replica_is_no_rollout() {
        let sick = |d: &mut Value| {
            d["status"]["availableReplicas"] = json!(4);
            d["status"]["conditions"] =
                json!([{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]);
        };
        assert!(read(sick).at_rest());
        assert!(
            !read(|d| {
                sick(d);
                d["metadata"]["generation"] = json!(5);
            })
            .at_rest()
        );
        assert!(
            !read(|d| {
                sick(d);
                d["status"]["conditions"][0]["reason"] = json!("ReplicaSetUpdated");
            })
            .at_rest()
        );
    }

    #[test]
    fn other_kinds_are_read_and_never_patched() {
        let template = json!({"spec": {"containers": [{"name": "app", "readinessProbe": {"tcpSocket": {"port": 1}}}]}});
        let metadata =
            json!({"name": "db", "namespace": "shop", "uid": "7c1e0a4f-0001-4abc-9def-0123456789ab", "generation": 2});
        let set = json!({"metadata": metadata, "spec": {"replicas": 3, "selector": {}, "serviceName": "db", "template": template},
            "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "a"}});
        let set = stateful_set(&serde_json::from_value(set).unwrap(), permission()).unwrap();
        assert_eq!((set.replicas, set.unpatchable), (3, vec![Unpatchable::Kind(WorkloadKind::StatefulSet)]));
        let daemon = json!({"metadata": metadata, "spec": {"selector": {}, "template": template},
            "status": {"observedGeneration": 2, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "currentNumberScheduled": 5, "numberMisscheduled": 0, "numberReady": 5}});
        let daemon = daemon_set(&serde_json::from_value(daemon).unwrap(), permission()).unwrap();
        assert_eq!((daemon.replicas, daemon.unpatchable), (5, vec![Unpatchable::Kind(WorkloadKind::DaemonSet)]));
    }
}
