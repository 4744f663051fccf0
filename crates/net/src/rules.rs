//! What Services look like to nftables: from rows to one ruleset, pure. No processes, no kernel.
//!
//! The whole table is replaced in one transaction, so a reader of the kernel never sees half of it. Pods and
//! the node's own processes reach a cluster address through destination translation; what is meant for a
//! Service address that leads nowhere is refused, so that callers hear it at once.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

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

/// One port of one Service, with the endpoints that are ready to serve it.
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
    /// The port on the node's own addresses, where the Service has one.
    pub node_port: Option<u16>,
    /// Clients keep their endpoint as long as the endpoints stay the same (`sessionAffinity: ClientIP`).
    pub sticky: bool,
    /// Address and port of each ready endpoint; any order.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
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

/// Text for `nft -f -` that makes these the network's only rules. The same rows in any order give the same text.
/// Services at the addresses of DNS and API are left out: those are bound on the node itself.
pub fn render(config: &NetworkConfig, ports: &[ServicePort]) -> String {
    let bound_here = |port: &&ServicePort| port.cluster_ip != config.dns_ip && port.cluster_ip != config.api_ip;
    // Ordered, and each address, protocol and port once: two rows of one key would fail the whole transaction.
    let by_key: BTreeMap<_, _> =
        ports.iter().filter(bound_here).map(|port| ((port.cluster_ip, port.protocol, port.port), port)).collect();
    let serving: Vec<&ServicePort> = by_key.into_values().filter(|port| !port.endpoints.is_empty()).collect();
    let mut text = render_removal(config);
    // Writing to a String cannot fail.
    write_table(&mut text, config, &serving).unwrap_or_default();
    text
}

fn write_table(text: &mut String, config: &NetworkConfig, serving: &[&ServicePort]) -> std::fmt::Result {
    writeln!(text, "table ip {} {{", table_name(config))?;
    for (index, port) in serving.iter().enumerate() {
        write_service(text, index, port)?;
    }
    write_maps(text, serving)?;
    write_hooks(text, config)?;
    writeln!(text, "}}")
}

/// One chain that chooses an endpoint, and one per endpoint.
fn write_service(text: &mut String, index: usize, port: &ServicePort) -> std::fmt::Result {
    let mut endpoints = port.endpoints.clone();
    endpoints.sort_unstable();
    endpoints.dedup();
    for (number, (ip, target)) in endpoints.iter().enumerate() {
        writeln!(
            text,
            "\tchain service-{index}-{number} {{ meta l4proto {} dnat to {ip}:{target}; }}",
            port.protocol.name()
        )?;
    }
    let choice = if port.sticky { "jhash ip saddr" } else { "numgen random" };
    let verdicts: Vec<String> =
        (0..endpoints.len()).map(|number| format!("{number} : goto service-{index}-{number}")).collect();
    let label: String = port.label.chars().filter(|c| !c.is_control()).collect();
    writeln!(text, "\t# {label}")?;
    writeln!(text, "\tchain service-{index} {{ {choice} mod {} vmap {{ {} }}; }}", endpoints.len(), verdicts.join(", "))
}

fn write_maps(text: &mut String, serving: &[&ServicePort]) -> std::fmt::Result {
    let cluster: Vec<String> = serving
        .iter()
        .enumerate()
        .map(|(index, port)| {
            format!("{} . {} . {} : goto service-{index}", port.cluster_ip, port.protocol.name(), port.port)
        })
        .collect();
    // The API hands out each node port once; should it not, the first Service keeps it.
    let mut by_node_port = BTreeMap::new();
    for (index, port) in serving.iter().enumerate() {
        if let Some(node_port) = port.node_port {
            by_node_port.entry((port.protocol, node_port)).or_insert(index);
        }
    }
    let node: Vec<String> = by_node_port
        .iter()
        .map(|((protocol, node_port), index)| format!("{} . {node_port} : goto service-{index}", protocol.name()))
        .collect();
    write_map(text, "cluster-ips", "ipv4_addr . inet_proto . inet_service", &cluster)?;
    write_map(text, "node-ports", "inet_proto . inet_service", &node)
}

fn write_map(text: &mut String, name: &str, key: &str, elements: &[String]) -> std::fmt::Result {
    writeln!(text, "\tmap {name} {{\n\t\ttype {key} : verdict;")?;
    if !elements.is_empty() {
        writeln!(text, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t"))?;
    }
    writeln!(text, "\t}}")
}

fn write_hooks(text: &mut String, config: &NetworkConfig) -> std::fmt::Result {
    let NetworkConfig { pod_cidr, service_cidr, bridge, .. } = config;
    writeln!(
        text,
        "\tchain services {{
\t\tip daddr . ip protocol . th dport vmap @cluster-ips
\t\tfib daddr type local ip daddr != 127.0.0.0/8 ip protocol . th dport vmap @node-ports
\t}}
\tchain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump services; }}
\tchain output {{ type nat hook output priority -100; policy accept; jump services; }}"
    )?;
    writeln!(text, "\tchain postrouting {{\n\t\ttype nat hook postrouting priority srcnat; policy accept;")?;
    // Between two pods of one bridge the answer would not come back this way, and not be translated back.
    writeln!(text, "\t\tct status dnat ip saddr {pod_cidr} oifname \"{bridge}\" masquerade")?;
    if config.masquerade {
        writeln!(
            text,
            "\t\tip saddr {pod_cidr} ip daddr != {{ {pod_cidr}, {service_cidr} }} oifname != \"{bridge}\" masquerade"
        )?;
    }
    writeln!(text, "\t}}")?;
    // A reset for TCP: the ICMP answer is rate-limited, and does not reach the node's own processes at all.
    for hook in ["output", "forward"] {
        writeln!(
            text,
            "\tchain refuse-{hook} {{
\t\ttype filter hook {hook} priority filter; policy accept;
\t\tip daddr {service_cidr} fib daddr type != local meta l4proto tcp reject with tcp reset
\t\tip daddr {service_cidr} fib daddr type != local reject
\t}}"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn port(label: &str, ip: [u8; 4], port: u16, endpoints: &[([u8; 4], u16)]) -> ServicePort {
        ServicePort {
            label: label.to_owned(),
            cluster_ip: ip.into(),
            protocol: Protocol::Tcp,
            port,
            node_port: None,
            sticky: false,
            endpoints: endpoints.iter().map(|(ip, port)| ((*ip).into(), *port)).collect(),
        }
    }

    fn config() -> NetworkConfig {
        NetworkConfig::for_first_node("/nowhere".as_ref())
    }

    #[test]
    fn a_ruleset() {
        let web = ServicePort {
            node_port: Some(30080),
            ..port("default/web", [10, 96, 3, 4], 80, &[([10, 244, 0, 9], 8080), ([10, 244, 0, 2], 8080)])
        };
        let sticky = ServicePort {
            protocol: Protocol::Udp,
            sticky: true,
            ..port("default/log\nflush ruleset", [10, 96, 1, 1], 514, &[([10, 244, 0, 5], 514)])
        };
        let rows = [
            web,
            sticky,
            port("default/empty", [10, 96, 9, 9], 80, &[]),
            port("default/kubernetes", [10, 96, 0, 1], 443, &[([10, 0, 0, 1], 6443)]),
        ];
        let text = render(&config(), &rows);
        expect![[r#"
            table ip stead-stead0
            delete table ip stead-stead0
            table ip stead-stead0 {
            	chain service-0-0 { meta l4proto udp dnat to 10.244.0.5:514; }
            	# default/logflush ruleset
            	chain service-0 { jhash ip saddr mod 1 vmap { 0 : goto service-0-0 }; }
            	chain service-1-0 { meta l4proto tcp dnat to 10.244.0.2:8080; }
            	chain service-1-1 { meta l4proto tcp dnat to 10.244.0.9:8080; }
            	# default/web
            	chain service-1 { numgen random mod 2 vmap { 0 : goto service-1-0, 1 : goto service-1-1 }; }
            	map cluster-ips {
            		type ipv4_addr . inet_proto . inet_service : verdict;
            		elements = { 10.96.1.1 . udp . 514 : goto service-0,
            			10.96.3.4 . tcp . 80 : goto service-1 }
            	}
            	map node-ports {
            		type inet_proto . inet_service : verdict;
            		elements = { tcp . 30080 : goto service-1 }
            	}
            	chain services {
            		ip daddr . ip protocol . th dport vmap @cluster-ips
            		fib daddr type local ip daddr != 127.0.0.0/8 ip protocol . th dport vmap @node-ports
            	}
            	chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
            	chain output { type nat hook output priority -100; policy accept; jump services; }
            	chain postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		ct status dnat ip saddr 10.244.0.0/16 oifname "stead0" masquerade
            		ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 10.96.0.0/12 } oifname != "stead0" masquerade
            	}
            	chain refuse-output {
            		type filter hook output priority filter; policy accept;
            		ip daddr 10.96.0.0/12 fib daddr type != local meta l4proto tcp reject with tcp reset
            		ip daddr 10.96.0.0/12 fib daddr type != local reject
            	}
            	chain refuse-forward {
            		type filter hook forward priority filter; policy accept;
            		ip daddr 10.96.0.0/12 fib daddr type != local meta l4proto tcp reject with tcp reset
            		ip daddr 10.96.0.0/12 fib daddr type != local reject
            	}
            }
        "#]]
        .assert_eq(&text);
        let mut turned: Vec<ServicePort> = rows.into_iter().rev().collect();
        turned[3].endpoints.reverse();
        assert_eq!(render(&config(), &turned), text);
    }
}
