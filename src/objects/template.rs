//! Pod specs: the probes in them, and the hash that tells one version of a program from another.

use crate::probe::{Handler, ProbeKind, Settings};
use crate::units::{Name, Span};
use crate::workload::{Probe, ProbeId};
use k8s_openapi::api::core::v1::{Container, PodSpec, PodTemplateSpec, Probe as Declared};
use serde_json::Value;

/// The probes of all containers that the kubelet probes, that is `containers` and the init containers that restart
/// (sidecars), ordered by container and kind. A probe without a handler or with numbers that Kubernetes refuses is none.
pub(super) fn probes(spec: &PodSpec) -> Vec<Probe> {
    let mut probes: Vec<Probe> = spec.containers.iter().chain(restarting(spec)).flat_map(of_container).collect();
    probes.sort_by(|a, b| a.id.cmp(&b.id));
    probes
}

/// The names of the sidecars.
pub(super) fn sidecars(spec: &PodSpec) -> Vec<Name> {
    restarting(spec).map(|c| Name::from(&*c.name)).collect()
}

pub(super) fn restarting(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"))
}

fn of_container(container: &Container) -> impl Iterator<Item = Probe> {
    let name = Name::from(&*container.name);
    ProbeKind::ALL.into_iter().filter_map(move |kind| {
        let declared = match kind {
            ProbeKind::Liveness => container.liveness_probe.as_ref(),
            ProbeKind::Readiness => container.readiness_probe.as_ref(),
            ProbeKind::Startup => container.startup_probe.as_ref(),
        }?;
        Some(Probe {
            id: ProbeId { container: name.clone(), kind },
            handler: handler(declared)?,
            settings: Settings::from_spec(
                declared.period_seconds,
                declared.timeout_seconds,
                declared.failure_threshold,
            )?,
            initial_delay: Span::from_seconds(declared.initial_delay_seconds.unwrap_or(0).into()),
        })
    })
}

fn handler(probe: &Declared) -> Option<Handler> {
    if probe.http_get.is_some() {
        Some(Handler::Http)
    } else if probe.tcp_socket.is_some() {
        Some(Handler::Tcp)
    } else if probe.grpc.is_some() {
        Some(Handler::Grpc)
    } else {
        probe.exec.as_ref().map(|_| Handler::Exec)
    }
}

/// Hash of a pod template without the three numbers of its probes: the same value with other numbers is the same
/// program. The annotation of `kubectl rollout restart` is left out too, since it changes no program.
///
/// FNV-1a, 64 bits, over the template's JSON in one form: members in the order of their names, each value with a byte
/// before it that tells its type and with its length where it has one. Stable over restarts, machines and versions of
/// this program; fields newer than the API version that it was built for are not in it.
pub fn version(template: &PodTemplateSpec) -> u64 {
    let mut template = serde_json::to_value(template).expect("a typed object is JSON");
    if let Some(annotations) = template.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove("kubectl.kubernetes.io/restartedAt");
        if annotations.is_empty() {
            remove(&mut template, "/metadata", "annotations");
        }
    }
    for list in ["/spec/containers", "/spec/initContainers"] {
        for container in template.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            for kind in ProbeKind::ALL {
                for number in ["periodSeconds", "timeoutSeconds", "failureThreshold"] {
                    remove(container, &format!("/{}", kind.field()), number);
                }
            }
        }
    }
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    hash.value(&template);
    hash.0
}

fn remove(value: &mut Value, at: &str, member: &str) {
    if let Some(object) = value.pointer_mut(at).and_then(Value::as_object_mut) {
        object.remove(member);
    }
}

struct Fnv(u64);

impl Fnv {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.len().to_string().as_bytes());
        self.bytes(b":");
        self.bytes(text.as_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.bytes(b"0"),
            Value::Bool(true) => self.bytes(b"t"),
            Value::Bool(false) => self.bytes(b"f"),
            Value::Number(number) => {
                self.bytes(b"n");
                self.text(&number.to_string());
            }
            Value::String(text) => {
                self.bytes(b"s");
                self.text(text);
            }
            Value::Array(items) => {
                self.bytes(b"[");
                items.iter().for_each(|item| self.value(item));
                self.bytes(b"]");
            }
            Value::Object(members) => {
                self.bytes(b"{");
                let mut names: Vec<&String> = members.keys().collect();
                names.sort_unstable();
                for name in names {
                    self.text(name);
                    self.value(&members[name]);
                }
                self.bytes(b"}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn template(change: impl FnOnce(&mut Value)) -> PodTemplateSpec {
        let mut template = json!({
            "metadata": {"labels": {"app": "web", "tier": "front"}},
            "spec": {
                "initContainers": [
                    {"name": "proxy", "restartPolicy": "Always", "image": "proxy:1",
                     "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30}},
                    {"name": "once", "image": "once:1"}
                ],
                "containers": [
                    {"name": "web", "image": "web:1",
                     "livenessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "initialDelaySeconds": 5},
                     "readinessProbe": {"grpc": {"port": 9090}, "periodSeconds": 0}},
                    {"name": "app", "image": "app:1", "livenessProbe": {"tcpSocket": {"port": 1}, "timeoutSeconds": -1}}
                ]
            }
        });
        change(&mut template);
        serde_json::from_value(template).unwrap()
    }

    #[test]
    fn probes_of_containers_and_sidecars_are_found_with_defaults_filled_in() {
        let template = template(|_| ());
        let found: Vec<String> = probes(template.spec.as_ref().unwrap())
            .iter()
            .map(|p| format!("{} {:?} {} +{}", p.id, p.handler, p.settings, p.initial_delay))
            .collect();
        assert_eq!(
            found,
            ["proxy/startup Exec 10/1/30 +0s", "web/liveness Http 10/1/3 +5s", "web/readiness Grpc 10/1/3 +0s"]
        );
    }

    #[test]
    fn other_numbers_are_the_same_version_and_anything_else_is_another() {
        let original = version(&template(|_| ()));
        let probe = "/spec/containers/0/livenessProbe";
        let same: [fn(&mut Value); 4] = [
            |t| t["spec"]["containers"][0]["livenessProbe"]["timeoutSeconds"] = json!(10),
            |t| t["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] = json!(30),
            |t| t["spec"]["initContainers"][0]["startupProbe"]["failureThreshold"] = json!(3),
            |t| t["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "2026-11-25T10:00:00Z"}),
        ];
        for change in same {
            assert_eq!(version(&template(change)), original);
        }
        let other: [fn(&mut Value); 5] = [
            |t| t["spec"]["containers"][0]["image"] = json!("web:2"),
            |t| t["spec"]["containers"][0]["livenessProbe"]["initialDelaySeconds"] = json!(6),
            |t| t["spec"]["containers"][0]["livenessProbe"]["httpGet"]["path"] = json!("/live"),
            |t| t["metadata"]["labels"]["tier"] = json!("back"),
            |t| t["metadata"]["annotations"] = json!({"a": "b"}),
        ];
        for change in other {
            assert_ne!(version(&template(change)), original, "{probe}");
        }
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        // Stored with evidence: another value here would throw away what was learnt.
        let template = serde_json::from_value(json!({"spec": {"containers": [{"name": "a"}]}})).unwrap();
        assert_eq!(version(&template), GOLDEN);
    }

    // FNV-1a of `{4:spec{10:containers[{4:names1:a}]}}`, computed elsewhere.
    const GOLDEN: u64 = 0x86bf_e2f4_7ac5_043f;
}
