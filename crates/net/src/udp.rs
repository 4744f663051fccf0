//! Which remembered UDP flows still lead where their Service no longer does (contract 4.22). Pure. A TCP
//! connection ends when its endpoint does; a UDP client that keeps its port would go on for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::conntrack::Flow;
use crate::rules::{Protocol, ServicePort, effective};
use crate::{Cidr, NetworkConfig};

/// Where UDP is led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UdpTargets {
    service_cidr: Cidr,
    /// Service addresses that are bound on the node and led nowhere.
    bound: [Ipv4Addr; 2],
    cluster: BTreeMap<SocketAddrV4, BTreeSet<SocketAddrV4>>,
    node_ports: BTreeMap<u16, BTreeSet<SocketAddrV4>>,
}

impl UdpTargets {
    /// The targets of these rows.
    pub(crate) fn new(config: &NetworkConfig, ports: &[ServicePort]) -> Self {
        let mut targets = Self {
            service_cidr: config.service_cidr,
            bound: [config.dns_ip, config.api_ip],
            cluster: BTreeMap::new(),
            node_ports: BTreeMap::new(),
        };
        for port in effective(config, ports).into_iter().filter(|port| port.protocol == Protocol::Udp) {
            targets.cluster.insert(SocketAddrV4::new(port.cluster_ip, port.port), port.endpoints());
            if let Some(node_port) = &port.node_port {
                targets.node_ports.entry(node_port.port).or_insert_with(|| port.endpoints());
            }
        }
        targets
    }

    /// The same, and that the node ports of `previous` which are not among them lead nowhere now.
    pub(crate) fn after(mut self, previous: &Self) -> Self {
        for port in previous.node_ports.keys() {
            self.node_ports.entry(*port).or_default();
        }
        self
    }

    /// Whether the kernel has to forget the flow, so that its next packet is led anew.
    pub(crate) fn is_stale(&self, flow: &Flow) -> bool {
        let ip = flow.destination.ip();
        let leads_there = |targets: Option<&BTreeSet<SocketAddrV4>>| {
            targets.is_some_and(|targets| targets.contains(&flow.answered_by))
        };
        if self.service_cidr.contains(*ip) {
            return !self.bound.contains(ip) && !leads_there(self.cluster.get(&flow.destination));
        }
        let Some(targets) = self.node_ports.get(&flow.destination.port()) else { return false };
        if flow.destination_translated {
            return !leads_there(Some(targets));
        }
        // Begun before there was an endpoint. Where it was not ours to translate, nothing is lost with it either,
        // unless it leaves under another address.
        !flow.source_translated && !targets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{config, port};
    use crate::{NodePort, ServicePort};

    fn address(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    fn targets(node_port: u16, endpoints: &[&str]) -> UdpTargets {
        let row = port("default/log", "10.96.1.1:514", endpoints);
        let node_port =
            NodePort { port: node_port, from_here: row.backends.clone(), from_outside: row.backends.clone() };
        UdpTargets::new(&config(), &[ServicePort { protocol: Protocol::Udp, node_port: Some(node_port), ..row }])
    }

    #[test]
    fn flows_to_endpoints_that_are_gone_are_stale_and_others_are_not() {
        let now = targets(30514, &["10.244.0.2:514"]).after(&targets(30999, &["10.244.0.2:514"]));
        let cases = [
            ("to an endpoint", "10.96.1.1:514", "10.244.0.2:514", false),
            ("to an endpoint that is gone", "10.96.1.1:514", "10.244.0.9:514", true),
            ("to a Service that is gone", "10.96.2.2:514", "10.244.0.2:514", true),
            ("to DNS", "10.96.0.10:53", "10.96.0.10:53", false),
            ("to a node port", "192.0.2.1:30514", "10.244.0.2:514", false),
            ("to a node port, led to an endpoint that is gone", "192.0.2.1:30514", "10.244.0.9:514", true),
            ("to a node port, from before there was an endpoint", "192.0.2.1:30514", "192.0.2.1:30514", true),
            ("to a node port that is gone", "192.0.2.1:30999", "10.244.0.2:514", true),
            ("to whatever listens there now", "192.0.2.1:30999", "192.0.2.1:30999", false),
            ("to somebody else", "192.0.2.1:53", "192.0.2.1:53", false),
        ];
        for (what, destination, answered_by, stale) in cases {
            let flow = Flow::for_test(address(destination), address(answered_by), false);
            assert_eq!(now.is_stale(&flow), stale, "{what}");
        }
        let leaving = Flow::for_test(address("198.51.100.1:30514"), address("198.51.100.1:30514"), true);
        assert!(!now.is_stale(&leaving), "a masqueraded flow to the same port elsewhere");
    }
}
