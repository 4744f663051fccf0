//! The words of the pod network.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A pod, for the network: its UID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PodKey(pub String);

/// An address given to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAddress {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The bridge's address, through which the pod reaches everything, its neighbours too.
    pub gateway: Ipv4Addr,
}

/// An IPv4 network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    /// Network address, host bits zero.
    pub base: Ipv4Addr,
    /// Prefix length, 0–32.
    pub prefix_len: u8,
}

/// Why the network could not do it; variants name the phase.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A netlink request failed.
    #[error("cannot {action}: {reason}")]
    Netlink {
        /// What was being done.
        action: String,
        /// The kernel's answer.
        reason: String,
    },
    /// Every address of the pod network is in use.
    #[error("no free address in {cidr}")]
    Exhausted {
        /// The pod network of this node.
        cidr: String,
    },
    /// The books of addresses could not be read or written.
    #[error("cannot keep the address book {path}")]
    Book {
        /// File.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another cluster has its pod network here.
    #[error("bridge {bridge} belongs to the cluster at {owner}: take that one down first")]
    Taken {
        /// The bridge.
        bridge: String,
        /// Where the address book of the other cluster is.
        owner: String,
    },
    /// A pod's network namespace cannot be entered.
    #[error("cannot enter network namespace {path}")]
    Namespace {
        /// The namespace.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A kernel setting cannot be read or changed.
    #[error("cannot set {path}")]
    Sysctl {
        /// The setting's file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel's packet rules could not be changed.
    #[error("cannot change packet rules: {reason}")]
    Rules {
        /// What was answered.
        reason: String,
    },
    /// The parts of the configuration do not fit together.
    #[error("{0}")]
    BadConfig(String),
    /// The text is not a network in CIDR notation.
    #[error("{0:?} is not an IPv4 network in CIDR notation")]
    BadCidr(String),
}
