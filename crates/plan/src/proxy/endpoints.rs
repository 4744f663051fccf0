//! Which endpoints serve one port of a Service (contract 4.17-4.19).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::{Backends, Protocol, text};

/// How fit an endpoint is to serve. The greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fitness {
    /// It serves still, and is about to end: for want of better ones.
    Ending,
    /// It is ready.
    Ready,
}

#[derive(Clone, Copy)]
struct Candidate {
    fitness: Fitness,
    local: bool,
}

/// The endpoints of one port that could serve.
pub(super) struct Candidates(BTreeMap<SocketAddrV4, Candidate>);

impl Candidates {
    /// Those of the port with this name and protocol. An endpoint that is in two slices, as it can be while it
    /// moves from one to the other, counts once, as fit as either says.
    pub(super) fn collect(slices: &[&EndpointSlice], port_name: &str, protocol: Protocol, node: &str) -> Self {
        let mut found: BTreeMap<SocketAddrV4, Candidate> = BTreeMap::new();
        for slice in slices {
            let ports = slice.ports.iter().flatten();
            let matching = ports.filter(|port| {
                text(&port.name) == port_name && Protocol::parse(port.protocol.as_deref()) == Some(protocol)
            });
            // A port without a number is any port; nothing says which one to use.
            for number in matching.filter_map(|port| u16::try_from(port.port?).ok()) {
                for endpoint in slice.endpoints.iter().flatten() {
                    let (Some(fitness), Some(ip)) = (fitness(endpoint), address(endpoint)) else { continue };
                    let candidate = Candidate { fitness, local: endpoint.node_name.as_deref() == Some(node) };
                    let entry = found.entry(SocketAddrV4::new(ip, number)).or_insert(candidate);
                    entry.fitness = entry.fitness.max(fitness);
                    entry.local |= candidate.local;
                }
            }
        }
        Self(found)
    }

    /// Where connections lead, with or without leaving the node.
    pub(super) fn backends(&self, local_only: bool) -> Backends {
        let allowed = || self.0.iter().filter(|(_, candidate)| candidate.local || !local_only);
        match allowed().map(|(_, candidate)| candidate.fitness).max() {
            Some(best) => {
                let chosen = allowed().filter(|(_, candidate)| candidate.fitness == best);
                Backends::Endpoints(chosen.map(|(address, _)| *address).collect())
            }
            None if self.0.is_empty() => Backends::Refused,
            None => Backends::Dropped,
        }
    }
}

/// None for an endpoint that does not serve. What a slice does not say counts as good news.
fn fitness(endpoint: &Endpoint) -> Option<Fitness> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    if ready { Some(Fitness::Ready) } else { (serving && terminating).then_some(Fitness::Ending) }
}

/// Addresses of one endpoint are interchangeable, and the first is the one to use.
fn address(endpoint: &Endpoint) -> Option<Ipv4Addr> {
    endpoint.addresses.first()?.parse().ok()
}
