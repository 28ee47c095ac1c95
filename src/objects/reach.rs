//! Where a pod's probes can be asked from outside of its node, and what forbids it.
//!
//! Only what the pod's own spec declares: its port, its path, its service. `host` is passed over, so that nobody can
//! point us elsewhere; a probe that sends headers of its own cannot be asked without them, and is not.

use crate::probe::ProbeKind;
use crate::units::Name;
use crate::workload::ProbeId;
use k8s_openapi::api::core::v1::{Container, Pod as Object, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::net::IpAddr;
use std::sync::Arc;

/// How an endpoint is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A GET.
    Http {
        /// `scheme: HTTPS`.
        tls: bool,
        /// As declared.
        path: Name,
    },
    /// A connection.
    Tcp,
    /// The health service.
    Grpc {
        /// Its name; may be empty.
        service: Name,
    },
}

/// Why an endpoint cannot be asked at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaskable {
    /// Its port has no number in its container.
    Port,
    /// It sends headers of its own.
    Headers,
}

/// The endpoint of one liveness or readiness probe. A startup probe is asked for too short a time, a command never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The probe.
    pub probe: ProbeId,
    /// How it is asked, and at which port.
    pub way: Result<(Way, u16), Unaskable>,
}

/// Where a pod is found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reach {
    /// `status.podIP`.
    pub address: Option<IpAddr>,
    /// It shares its node's network: its address is the node's.
    pub host_network: bool,
    /// `status.phase` is Running.
    pub running: bool,
    /// Its endpoints, ordered by probe; replicas share them.
    pub endpoints: Arc<[Endpoint]>,
}

/// Where this pod is found.
pub fn reach(object: &Object) -> Reach {
    let (spec, status) = (object.spec.as_ref(), object.status.as_ref());
    let containers = spec.into_iter().flat_map(|s| s.containers.iter().chain(super::template::restarting(s)));
    let mut endpoints: Vec<Endpoint> = containers.flat_map(of_container).collect();
    endpoints.sort_by(|a, b| a.probe.cmp(&b.probe));
    Reach {
        address: status.and_then(|s| s.pod_ip.as_deref()?.parse().ok()),
        host_network: spec.is_some_and(|s| s.host_network == Some(true)),
        running: status.is_some_and(|s| s.phase.as_deref() == Some("Running")),
        endpoints: endpoints.into(),
    }
}

fn of_container(container: &Container) -> impl Iterator<Item = Endpoint> {
    let probes = [(ProbeKind::Liveness, &container.liveness_probe), (ProbeKind::Readiness, &container.readiness_probe)];
    probes.into_iter().filter_map(move |(kind, probe)| {
        let way = way(container, probe.as_ref()?)?;
        Some(Endpoint { probe: ProbeId { container: Name::from(&*container.name), kind }, way })
    })
}

/// `None`: a command, or nothing.
fn way(container: &Container, probe: &Probe) -> Option<Result<(Way, u16), Unaskable>> {
    let (way, port) = if let Some(http) = &probe.http_get {
        if http.http_headers.as_ref().is_some_and(|h| !h.is_empty()) {
            return Some(Err(Unaskable::Headers));
        }
        let tls = http.scheme.as_deref() == Some("HTTPS");
        let path = http.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
        (Way::Http { tls, path: path.into() }, number(container, &http.port))
    } else if let Some(tcp) = &probe.tcp_socket {
        (Way::Tcp, number(container, &tcp.port))
    } else {
        let grpc = probe.grpc.as_ref()?;
        let service = grpc.service.as_deref().unwrap_or("").into();
        (Way::Grpc { service }, u16::try_from(grpc.port).ok())
    };
    Some(port.filter(|p| *p > 0).map(|port| (way, port)).ok_or(Unaskable::Port))
}

/// A port's number; a name is one of the container's own ports, as the kubelet looks it up.
fn number(container: &Container, port: &IntOrString) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            match ports.into_iter().find(|p| p.name.as_deref() == Some(name)) {
                Some(port) => port.container_port,
                // The kubelet reads a name that is a number as one.
                None => name.parse().ok()?,
            }
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::{Value, json};

    fn pod(liveness: &Value) -> Reach {
        let object = json!({
            "spec": {
                "initContainers": [
                    {"name": "proxy", "restartPolicy": "Always", "readinessProbe": {"grpc": {"port": 9000, "service": "shop"}}},
                    {"name": "once", "livenessProbe": {"tcpSocket": {"port": 1}}}],
                "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}],
                    "livenessProbe": liveness, "startupProbe": {"tcpSocket": {"port": 1}}}]
            },
            "status": {"phase": "Running", "podIP": "10.0.0.7"}
        });
        reach(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn only_the_pods_own_address_port_and_path_are_taken() {
        let reach =
            pod(&json!({"httpGet": {"host": "169.254.169.254", "path": "/live", "port": "http", "scheme": "HTTPS"}}));
        assert_eq!(
            (reach.address, reach.host_network, reach.running),
            (Some("10.0.0.7".parse().unwrap()), false, true)
        );
        let found: Vec<_> = reach.endpoints.iter().map(|e| (e.probe.to_string(), e.way.clone())).collect();
        assert_eq!(
            found,
            [
                ("proxy/readiness".to_owned(), Ok((Way::Grpc { service: "shop".into() }, 9000))),
                ("web/liveness".to_owned(), Ok((Way::Http { tls: true, path: "/live".into() }, 8080))),
            ]
        );
    }

    #[test]
    fn what_cannot_be_asked_says_why_and_a_command_is_no_endpoint() {
        let web =
            |probe: Value| pod(&probe).endpoints.iter().find(|e| &*e.probe.container == "web").map(|e| e.way.clone());
        assert_eq!(web(json!({"httpGet": {"port": "https"}})), Some(Err(Unaskable::Port)));
        assert_eq!(web(json!({"tcpSocket": {"port": 0}})), Some(Err(Unaskable::Port)));
        assert_eq!(web(json!({"tcpSocket": {"port": 70_000}})), Some(Err(Unaskable::Port)));
        let headers = json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "Authorization", "value": "x"}]}});
        assert_eq!(web(headers), Some(Err(Unaskable::Headers)));
        assert_eq!(web(json!({"httpGet": {"port": 1}})), Some(Ok((Way::Http { tls: false, path: "/".into() }, 1))));
        assert_eq!(web(json!({"exec": {"command": ["true"]}})), None);
        assert_eq!(web(json!({})), None);
    }
}
