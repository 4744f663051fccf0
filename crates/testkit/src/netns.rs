//! What is in a cluster's network namespace, also after the cluster has let it go.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use crate::{Cluster, run};

/// What shows a network namespace to be as new: links, addresses, routes, policy rules, packet rules.
/// Loopback is up in both: a namespace without it is of no use to whoever holds it.
const LOOK: &str =
    "ip link set lo up; ip -brief link; ip -brief address; ip route show table all; ip rule; nft list ruleset";

/// A cluster's network namespace. Held open, it can be looked at after it has lost its name.
pub struct Netns(File);

impl Netns {
    /// The namespace of a cluster that is up.
    pub fn of(cluster: &Cluster) -> Self {
        Self(File::open(cluster.netns()).expect("the cluster has a network namespace"))
    }

    /// Everything in it.
    pub fn content(&self) -> String {
        let path = format!("--net=/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd());
        run(Command::new("nsenter").args([&path, "sh", "-c", LOOK]))
    }

    /// Panics when anything is in it that is not in a new one.
    pub fn assert_as_new(&self) {
        assert_eq!(self.content(), run(Command::new("unshare").args(["--net", "sh", "-c", LOOK])), "as new");
    }
}
