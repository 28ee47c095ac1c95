//! Who may be asked by shadow checks, judged at the moment of asking.

use super::super::shadow::{Candidate, Rule};
use super::{Entry, Index, PodEntry, Space};
use crate::ask::Target;
use crate::objects::{Unaskable, Way};
use crate::policy::Mode;
use crate::units::Name;
use crate::workload::ProbeId;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

impl Index {
    /// The pods whose owners allow it, that have something to ask.
    pub(in crate::observe) fn candidates(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        for (namespace, space) in &self.spaces {
            for (pod, entry) in &space.pods {
                let allowed = space.entry_of(entry).is_some_and(|e| e.allows_shadow());
                if allowed && !entry.running.reach.endpoints.is_empty() {
                    let node = entry.running.record.node.clone().unwrap_or_default();
                    found.push(Candidate { pod: *pod, namespace: namespace.clone(), node });
                }
            }
        }
        found
    }

    /// What to ask of a pod as it is known at this moment, its endpoints by turns; or the rule that forbids it. `loopback`
    /// says whether a pod may have such an address.
    pub(in crate::observe) fn target(
        &self,
        of: &Candidate,
        turn: usize,
        loopback: bool,
    ) -> Result<(ProbeId, Target), Rule> {
        let (space, pod) =
            self.spaces.get(&of.namespace).and_then(|s| Some((s, s.pods.get(&of.pod)?))).ok_or(Rule::Gone)?;
        let entry = space.entry_of(pod).filter(|e| e.allows_shadow()).ok_or(Rule::Gone)?;
        let (record, reach) = (&pod.running.record, &pod.running.reach);
        if record.terminating || !reach.running {
            return Err(Rule::NotRunning);
        }
        if reach.host_network {
            return Err(Rule::HostNetwork);
        }
        let address = reach.address.ok_or(Rule::NoAddress)?;
        if address.is_loopback() && !loopback {
            return Err(Rule::Address);
        }
        self.ours_alone(pod, address)?;
        let runs = |container: &Name| {
            record.containers.iter().any(|c| c.name == *container && c.running_since.is_some() && c.started)
        };
        let permission = &entry.declared.record.permission;
        let covered = reach.endpoints.iter().filter(|e| permission.covers(&e.probe.container, e.probe.kind));
        let askable: Vec<_> = covered.filter(|e| runs(&e.probe.container)).collect();
        let endpoint = askable.get(turn % askable.len().max(1)).ok_or(Rule::NotRunning)?;
        let (way, port) = match &endpoint.way {
            Ok(way) => way,
            Err(Unaskable::Port) => return Err(Rule::Port),
            Err(Unaskable::Headers) => return Err(Rule::Headers),
        };
        let at = SocketAddr::new(address, *port);
        let target = match way {
            Way::Http { tls, path } => Target::http(at, *tls, path),
            Way::Tcp => Target::tcp(at),
            Way::Grpc { service } => Target::grpc(at, service),
        };
        Ok((endpoint.probe.clone(), target))
    }

    /// Whether a pod is still the one at this address, and may still be asked. Its container may have ended meanwhile: then
    /// that is what was met.
    pub(in crate::observe) fn holds(&self, of: &Candidate, address: IpAddr) -> bool {
        let found = self.spaces.get(&of.namespace).and_then(|s| Some((s, s.pods.get(&of.pod)?)));
        found.is_some_and(|(space, pod)| {
            space.entry_of(pod).is_some_and(|e| e.allows_shadow())
                && !pod.running.record.terminating
                && pod.running.reach.address == Some(address)
                && self.ours_alone(pod, address).is_ok()
        })
    }

    /// Whether an address is a pod's own: a kubelet may write what it likes into a pod's status, and must not be able to
    /// send us to a metadata service, to a node, or to ourselves.
    ///
    /// This is a list of what is refused, not of what is allowed: no object of the cluster says where its pods may be. A
    /// node's `spec.podCIDRs` are empty, or ignored, wherever the network plugin hands out addresses by itself (Calico's
    /// pools, Cilium's, the VPC addresses of EKS), so that to ask for them would refuse most honest pods there.
    fn ours_alone(&self, pod: &PodEntry, address: IpAddr) -> Result<(), Rule> {
        if never_a_pods(address) || self.nodes.values().any(|n| n.addresses.contains(&address)) {
            return Err(Rule::Address);
        }
        // Two that claim one address: the one is gone, and nobody knows which.
        let others = self.spaces.values().flat_map(|s| s.pods.values());
        let claims = |p: &&PodEntry| p.running.reach.running && p.running.reach.address == Some(address);
        if others.filter(claims).any(|p| p.running.record.uid != pod.running.record.uid) {
            return Err(Rule::Shared);
        }
        Ok(())
    }
}

impl Space {
    /// The workload of a pod that was told.
    fn entry_of(&self, pod: &PodEntry) -> Option<&Entry> {
        let owner = &pod.running.owner;
        self.workloads.get(&(owner.kind, owner.name.clone())).filter(|_| pod.told)
    }
}

impl Entry {
    fn allows_shadow(&self) -> bool {
        let permission = &self.declared.record.permission;
        self.rules.shadow_checks && permission.mode > Mode::Off && permission.skip.is_none()
    }
}

/// What clouds answer at to every machine, besides the link's own addresses (169.254.169.254 of nearly all of them).
const METADATA: [IpAddr; 7] = [
    // Alibaba Cloud.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200)),
    // Azure's platform, `WireServer`.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Google Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Oracle Cloud.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    // Akamai.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1)),
    // Scaleway.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// Whether no network gives such an address to a pod: of a link, of many, of a cloud's own services, or an IPv4 address in
/// the clothes of an IPv6 one.
fn never_a_pods(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(a) => a.is_link_local() || a.is_broadcast(),
        IpAddr::V6(a) => match a.segments() {
            // IPv4-compatible, mapped and translated; loopback has a rule of its own.
            [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0, 0, 0, 0, 0xffff, 0, ..] => !a.is_loopback(),
            // NAT64: what is behind it is an IPv4 address outside.
            [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => true,
            // 6to4, Teredo, and ISATAP under any prefix: a tunnel takes it to the IPv4 address inside.
            [0x2002, ..] | [0x2001, 0, ..] | [_, _, _, _, 0 | 0x200, 0x5efe, ..] => true,
            // AWS: metadata, credentials of pods, names, time.
            [0xfd00, 0xec2, ..] => true,
            _ => a.is_unicast_link_local(),
        },
    };
    special || address.is_unspecified() || address.is_multicast() || METADATA.contains(&address)
}
