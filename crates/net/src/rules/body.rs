//! The body of the table: chains that choose an endpoint, the maps that lead to them, and the hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Result, Write};
use std::net::SocketAddrV4;

use super::{Backends, Ruleset, ServicePort, table_name};
use crate::NetworkConfig;

/// Makes a client's first endpoint depend on its address alone. Without it the kernel draws a new one for every
/// renewal, and with it all clients would move.
const HASH_SEED: &str = "0x57ead";

/// Renders rows whose keys are distinct.
pub(super) fn render(config: &NetworkConfig, ports: &[&ServicePort]) -> Ruleset {
    let mut body = Body::default();
    // Writing to a String cannot fail.
    body.write(config, ports).unwrap_or_default();
    Ruleset { table: table_name(config), body: body.text, chains: body.chains, memories: body.memories }
}

#[derive(Default)]
struct Body {
    text: String,
    chains: BTreeSet<String>,
    memories: BTreeMap<String, u32>,
    cluster_ips: Vec<String>,
    node_ports: BTreeMap<String, String>,
}

/// The ways to choose among the endpoints of one Service port.
struct Choices<'a> {
    service: &'a str,
    port: &'a ServicePort,
    endpoints: Vec<SocketAddrV4>,
    /// Numbers of the endpoints to choose from, and the chain that does it.
    chains: BTreeMap<Vec<usize>, String>,
}

impl Choices<'_> {
    fn numbers(&self, wanted: &[SocketAddrV4]) -> Vec<usize> {
        let wanted: BTreeSet<&SocketAddrV4> = wanted.iter().collect();
        (0..self.endpoints.len()).filter(|number| wanted.contains(&self.endpoints[*number])).collect()
    }
}

impl Body {
    fn write(&mut self, config: &NetworkConfig, ports: &[&ServicePort]) -> Result {
        for (index, port) in ports.iter().enumerate() {
            self.write_service(&format!("service-{index}"), config, port)?;
        }
        self.write_collections(config, ports)?;
        self.write_hooks(config)
    }

    /// One chain per endpoint, one for each way to choose among them, and how to get there.
    fn write_service(&mut self, name: &str, config: &NetworkConfig, port: &ServicePort) -> Result {
        let endpoints: Vec<SocketAddrV4> = port.endpoints().into_iter().collect();
        let label: String = port.label.chars().filter(|c| !c.is_control()).collect();
        writeln!(self.text, "\t# {label}")?;
        let protocol = port.protocol.name();
        for (number, endpoint) in endpoints.iter().enumerate() {
            let translate = format!("meta l4proto {protocol} dnat to {endpoint}");
            let rules = match self.memory(port, *endpoint) {
                // In a rule of its own: a full set must not keep the client from its endpoint.
                Some(memory) => vec![format!("update @{memory} {{ ip saddr }}"), translate],
                None => vec![translate],
            };
            self.write_chain(format!("{name}-{number}"), &rules)?;
        }
        let mut choices = Choices { service: name, port, endpoints, chains: BTreeMap::new() };
        if let Some(verdict) = self.verdict(&mut choices, "", &port.backends)? {
            self.cluster_ips.push(format!("{} . {protocol} . {} : {verdict}", port.cluster_ip, port.port));
        }
        self.write_node_port(&mut choices, config)
    }

    fn write_node_port(&mut self, choices: &mut Choices<'_>, config: &NetworkConfig) -> Result {
        let Some(node_port) = &choices.port.node_port else { return Ok(()) };
        let here = self.verdict(choices, "-here", &node_port.from_here)?;
        let outside = self.verdict(choices, "-outside", &node_port.from_outside)?;
        let verdict = if here == outside {
            here
        } else {
            let [here, outside] = [here, outside].map(|verdict| verdict.unwrap_or_else(|| "accept".to_owned()));
            let sources = [format!("ip saddr {}", config.pod_cidr), "fib saddr type local".to_owned()];
            let rules = sources.map(|source| format!("{source} {here}")).into_iter().chain([outside]);
            let chain = format!("{}-node", choices.service);
            self.write_chain(chain.clone(), &rules.collect::<Vec<_>>())?;
            Some(format!("goto {chain}"))
        };
        if let Some(verdict) = verdict {
            // The API hands out each node port once; should it not, the first Service keeps it.
            let key = format!("{} . {}", choices.port.protocol.name(), node_port.port);
            self.node_ports.entry(key).or_insert(verdict);
        }
        Ok(())
    }

    /// What to do with a new connection; none is left to be refused. Equal choices of a Service share a chain.
    fn verdict(
        &mut self,
        choices: &mut Choices<'_>,
        suffix: &str,
        backends: &Backends,
    ) -> std::result::Result<Option<String>, std::fmt::Error> {
        match backends {
            Backends::Dropped => Ok(Some("drop".to_owned())),
            Backends::Endpoints(wanted) if !wanted.is_empty() => {
                let numbers = choices.numbers(wanted);
                if let Some(chain) = choices.chains.get(&numbers) {
                    return Ok(Some(format!("goto {chain}")));
                }
                let chain = format!("{}{suffix}", choices.service);
                let rules = self.choice(choices, &numbers);
                self.write_chain(chain.clone(), &rules)?;
                choices.chains.insert(numbers, chain.clone());
                Ok(Some(format!("goto {chain}")))
            }
            Backends::Endpoints(_) | Backends::Refused => Ok(None),
        }
    }

    /// The rules that choose among the endpoints with these numbers.
    fn choice(&mut self, choices: &Choices<'_>, numbers: &[usize]) -> Vec<String> {
        let Choices { service, port, endpoints, .. } = choices;
        let stays = numbers.iter().filter_map(|number| {
            let memory = self.memory(port, endpoints[*number])?;
            Some(format!("ip saddr @{memory} goto {service}-{number}"))
        });
        let mut rules: Vec<String> = stays.collect();
        if let [only] = numbers {
            return vec![format!("goto {service}-{only}")];
        }
        let count = numbers.len();
        let pick = match port.affinity_s {
            Some(_) => format!("jhash ip saddr mod {count} seed {HASH_SEED}"),
            None => format!("numgen random mod {count}"),
        };
        let verdicts = numbers.iter().enumerate().map(|(at, number)| format!("{at} : goto {service}-{number}"));
        rules.push(format!("{pick} vmap {{ {} }}", verdicts.collect::<Vec<_>>().join(", ")));
        rules
    }

    /// The set of the clients that stay with this endpoint of the port, if clients do.
    fn memory(&mut self, port: &ServicePort, endpoint: SocketAddrV4) -> Option<String> {
        let timeout_s = port.affinity_s?;
        let (ip, protocol) = (port.cluster_ip, port.protocol.name());
        let name = format!("clients-{ip}-{protocol}-{}-{}-{}", port.port, endpoint.ip(), endpoint.port());
        self.memories.insert(name.clone(), timeout_s);
        Some(name)
    }

    fn write_chain(&mut self, name: String, rules: &[String]) -> Result {
        writeln!(self.text, "\tchain {name} {{ {}; }}", rules.join("; "))?;
        self.chains.insert(name);
        Ok(())
    }

    fn write_collections(&mut self, config: &NetworkConfig, ports: &[&ServicePort]) -> Result {
        let node_ports = self.node_ports.iter().map(|(key, verdict)| format!("{key} : {verdict}"));
        let node_ports: Vec<String> = node_ports.collect();
        let endpoints: BTreeSet<_> = ports.iter().flat_map(|port| port.endpoints()).map(|e| *e.ip()).collect();
        let (pods, others): (Vec<_>, Vec<_>) = endpoints.into_iter().partition(|ip| config.pod_cidr.contains(*ip));
        let hairpins: Vec<String> = pods.iter().map(|ip| format!("{ip} . {ip}")).collect();
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        let cluster_key = "ipv4_addr . inet_proto . inet_service : verdict";
        self.write_collection("map cluster-ips", cluster_key, &self.cluster_ips.clone())?;
        self.write_collection("map node-ports", "inet_proto . inet_service : verdict", &node_ports)?;
        self.write_collection("set hairpins", "ipv4_addr . ipv4_addr", &hairpins)?;
        self.write_collection("set elsewhere", "ipv4_addr", &others)
    }

    fn write_collection(&mut self, name: &str, key: &str, elements: &[String]) -> Result {
        writeln!(self.text, "\t{name} {{\n\t\ttype {key};")?;
        if !elements.is_empty() {
            writeln!(self.text, "\t\telements = {{ {} }}", elements.join(",\n\t\t\t"))?;
        }
        writeln!(self.text, "\t}}")
    }

    fn write_hooks(&mut self, config: &NetworkConfig) -> Result {
        let NetworkConfig { pod_cidr, service_cidr, bridge, .. } = config;
        let text = &mut self.text;
        // Not on the addresses bound here for DNS and API, nor on loopback, which is never routed to a pod.
        writeln!(
            text,
            "\tchain services {{
\t\tip daddr . ip protocol . th dport vmap @cluster-ips
\t\tfib daddr type local ip daddr != {{ 127.0.0.0/8, {service_cidr} }} ip protocol . th dport vmap @node-ports
\t}}
\tchain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump services; }}
\tchain output {{ type nat hook output priority -100; policy accept; jump services; }}"
        )?;
        writeln!(text, "\tchain postrouting {{\n\t\ttype nat hook postrouting priority srcnat; policy accept;")?;
        // A pod drops what seems to come from itself.
        writeln!(text, "\t\tct status dnat ip saddr . ip daddr @hairpins masquerade")?;
        // From there the answer would not come back this way, and not be translated back.
        writeln!(text, "\t\tct status dnat ip daddr @elsewhere fib daddr type != local masquerade")?;
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
}
