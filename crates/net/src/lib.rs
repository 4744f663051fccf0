//! The pod network: bridge, veth pairs, addresses, routes and service rules on the kernel. Knows pods by UID
//! only and never talks to the API.

mod book;
mod cidr;
mod conntrack;
mod fake;
mod firewall;
mod kernel;
mod netlink;
mod programs;
mod rules;
mod services;
pub mod types;
mod udp;

use std::future::Future;
use std::path::Path;

pub use fake::FakeNetwork;
pub use kernel::{KernelNetwork, NetworkConfig};
pub use rules::{Backends, NodePort, Protocol, ServicePort};
pub use services::{Availability, Rules, ServiceRules};
pub use types::*;

/// All that the node agent asks of the network. Implemented on the kernel and by a fake.
pub trait Network: Send + Sync + 'static {
    /// Connects a pod's network namespace and gives it an address. Doing it again for the same pod
    /// gives the same address. Loopback is up afterwards.
    fn attach(&self, pod: &PodKey, netns: &Path) -> impl Future<Output = Result<PodAddress, NetError>> + Send;

    /// Takes a pod's link away and frees its address. An unknown pod is success.
    fn detach(&self, pod: &PodKey) -> impl Future<Output = Result<(), NetError>> + Send;

    /// Addresses in use, by pod.
    fn addresses(&self) -> Vec<(PodKey, PodAddress)>;
}
