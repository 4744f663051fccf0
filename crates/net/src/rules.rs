//! What Services look like to nftables: from rows to one table, pure. No processes, no kernel.
//!
//! The table is renewed in one transaction, so a packet never meets half of it. Pods and the node's own
//! processes reach a Service through destination translation; what is meant for a Service address that
//! leads nowhere is refused, so that callers hear it at once.

mod body;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::NetworkConfig;

/// A transport protocol of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backends {
    /// To one of these; any order. None of them is the same as [`Refused`](Self::Refused).
    Endpoints(Vec<SocketAddrV4>),
    /// Nowhere, and the caller is told.
    Refused,
    /// Nowhere, in silence.
    Dropped,
}

impl Backends {
    fn endpoints(&self) -> &[SocketAddrV4] {
        match self {
            Self::Endpoints(endpoints) => endpoints,
            Self::Refused | Self::Dropped => &[],
        }
    }
}

/// A port on the node's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePort {
    /// Its number.
    pub port: u16,
    /// For callers on the node and in its pods.
    pub from_here: Backends,
    /// For everybody else.
    pub from_outside: Backends,
}

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// For readers of the ruleset, e.g. `default/web:http`.
    pub label: String,
    /// The Service's cluster address.
    pub cluster_ip: Ipv4Addr,
    /// Protocol of the port.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// A client stays with its endpoint for so long after its last connection began, in seconds.
    pub affinity_s: Option<u32>,
    /// Where connections to the cluster address lead.
    pub backends: Backends,
    /// The port on the node's own addresses, where the Service has one.
    pub node_port: Option<NodePort>,
}

impl ServicePort {
    /// Every endpoint that any caller can be led to; ascending, each once.
    pub(crate) fn endpoints(&self) -> BTreeSet<SocketAddrV4> {
        let node_port = self.node_port.iter().flat_map(|node| [&node.from_here, &node.from_outside]);
        node_port.chain([&self.backends]).flat_map(Backends::endpoints).copied().collect()
    }
}

/// The name of the table that belongs to a network.
pub(crate) fn table_name(config: &NetworkConfig) -> String {
    format!("stead-{}", config.bridge)
}

/// Text for `nft -f -` that removes the network's table, whether it is there or not.
pub(crate) fn render_removal(config: &NetworkConfig) -> String {
    let table = table_name(config);
    format!("table ip {table}\ndelete table ip {table}\n")
}

/// The rows that rules are made for, in one order whatever order they came in: each address, protocol and port
/// once, because two rows of one key would fail the whole transaction, and without the addresses of DNS and
/// API, which are bound on the node itself.
pub(crate) fn effective<'a>(config: &NetworkConfig, ports: &'a [ServicePort]) -> Vec<&'a ServicePort> {
    let bound_here = |port: &&ServicePort| [config.dns_ip, config.api_ip].contains(&port.cluster_ip);
    let ports = ports.iter().filter(|port| !bound_here(port));
    let by_key: BTreeMap<_, _> = ports.map(|port| ((port.cluster_ip, port.protocol, port.port), port)).collect();
    by_key.into_values().collect()
}

/// The network's table, as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ruleset {
    table: String,
    /// Everything but the memories.
    body: String,
    /// The chains in the body that belong to Services.
    chains: BTreeSet<String>,
    /// The sets of clients that stay with an endpoint, and for how many seconds. What they hold is learned from
    /// packets and outlives a renewal.
    memories: BTreeMap<String, u32>,
}

/// The sets and maps in every body.
const COLLECTIONS: [(&str, &str); 4] =
    [("map", "cluster-ips"), ("map", "node-ports"), ("set", "hairpins"), ("set", "elsewhere")];

impl Ruleset {
    /// The rules of these rows. The same rows in any order give the same rules.
    pub(crate) fn new(config: &NetworkConfig, ports: &[ServicePort]) -> Self {
        body::render(config, &effective(config, ports))
    }

    /// Text for `nft -f -` that makes these the network's only rules, whatever there was.
    pub(crate) fn replacing_all(&self) -> String {
        let Self { table, .. } = self;
        let mut text = format!("table ip {table}\ndelete table ip {table}\n");
        self.write_table(&mut text, &BTreeMap::new());
        text
    }

    /// Text for `nft -f -` that makes these the network's only rules where `previous` are in force, and lets
    /// clients stay with their endpoints. None where there is no such client to lose.
    pub(crate) fn renewing(&self, previous: &Self) -> Option<String> {
        let kept = |(name, timeout_s): &(&String, &u32)| self.memories.get(*name) == Some(timeout_s);
        let kept: BTreeMap<String, u32> =
            previous.memories.iter().filter(kept).map(|(name, timeout_s)| (name.clone(), *timeout_s)).collect();
        if kept.is_empty() || previous.table != self.table {
            return None;
        }
        let table = &self.table;
        let mut text = format!("flush table ip {table}\n");
        let gone = COLLECTIONS.iter().map(|(kind, name)| format!("{kind} ip {table} {name}"));
        let gone = gone.chain(previous.chains.iter().map(|chain| format!("chain ip {table} {chain}")));
        let forgotten = previous.memories.keys().filter(|name| !kept.contains_key(*name));
        for what in gone.chain(forgotten.map(|name| format!("set ip {table} {name}"))) {
            text.push_str("delete ");
            text.push_str(&what);
            text.push('\n');
        }
        self.write_table(&mut text, &kept);
        Some(text)
    }

    fn write_table(&self, text: &mut String, present: &BTreeMap<String, u32>) {
        let mut memories = String::new();
        for (name, timeout_s) in self.memories.iter().filter(|(name, _)| !present.contains_key(*name)) {
            // Writing to a String cannot fail.
            writeln!(memories, "\tset {name} {{ type ipv4_addr; flags dynamic,timeout; timeout {timeout_s}s; }}")
                .unwrap_or_default();
        }
        for part in [&format!("table ip {} {{\n", self.table), &memories, &self.body, "}\n"] {
            text.push_str(part);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
