//! Cluster addresses, node ports and outbound masquerade on the kernel, through the `nft` program. Where it is
//! missing this one feature says so; the rest of the pod network does without.

use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::conntrack::Flows;
use crate::netlink::Netlink;
use crate::programs::find;
use crate::rules::{Ruleset, ServicePort, render_removal};
use crate::udp::UdpTargets;
use crate::{NetError, NetworkConfig};

/// Whether the kernel has the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It has.
    Applied,
    /// It cannot have them; cluster addresses and masquerade do not work on this node.
    Unavailable {
        /// What a person can do about it.
        reason: String,
    },
}

/// Where Service rules are put. Implemented on the kernel, and by a fake where that is not wanted.
pub trait Rules: Send + Sync + 'static {
    /// Makes these the node's only Service rules, in one transaction; nothing is done where they already are. Call
    /// it once without ports to have outbound masquerade alone.
    ///
    /// # Errors
    /// The rules could not be made; they are as they were.
    fn apply(&self, ports: &[ServicePort]) -> impl Future<Output = Result<Availability, NetError>> + Send;
}

/// The Service rules of one network on the kernel.
pub struct ServiceRules {
    config: NetworkConfig,
    /// What the kernel has; held while it is being changed.
    applied: Mutex<Option<Applied>>,
}

struct Applied {
    ruleset: Ruleset,
    udp: UdpTargets,
}

impl ServiceRules {
    /// The rules of this network. Changes nothing yet.
    pub fn open(config: NetworkConfig) -> Self {
        Self { config, applied: Mutex::new(None) }
    }

    /// Takes the rules of a network away. Success where there are none, or no `nft` that could have made any.
    pub(crate) async fn remove(config: &NetworkConfig) -> Result<(), NetError> {
        match find("nft") {
            Some(nft) => run(&nft, &render_removal(config)).await,
            None => Ok(()),
        }
    }
}

impl Rules for ServiceRules {
    async fn apply(&self, ports: &[ServicePort]) -> Result<Availability, NetError> {
        // Looked for every time: it may be installed, or taken away, while we run.
        let Some(nft) = find("nft") else {
            return Ok(Availability::Unavailable { reason: unavailable_reason() });
        };
        let ruleset = Ruleset::new(&self.config, ports);
        let mut applied = self.applied.lock().await;
        if applied.as_ref().is_some_and(|applied| applied.ruleset == ruleset) {
            return Ok(Availability::Applied);
        }
        let netlink = Netlink::open()?;
        if netlink.index_of(&self.config.bridge).await?.is_none() {
            return Err(NetError::Rules { reason: format!("bridge {} is gone", self.config.bridge) });
        }
        let previous = applied.take();
        put(&nft, &ruleset, previous.as_ref().map(|applied| &applied.ruleset)).await?;
        // The node's own processes ask the routing table before the rules see their packets.
        netlink.ensure_route_for_rules(self.config.service_cidr, self.config.gateway()).await?;
        let udp = UdpTargets::new(&self.config, ports);
        if previous.as_ref().is_none_or(|applied| applied.udp != udp) {
            forget_flows(&udp, previous.map(|applied| applied.udp)).await;
        }
        *applied = Some(Applied { ruleset, udp });
        Ok(Availability::Applied)
    }
}

/// Puts rules in force, if possible without forgetting which clients stay with which endpoints.
async fn put(nft: &Path, ruleset: &Ruleset, previous: Option<&Ruleset>) -> Result<(), NetError> {
    if let Some(text) = previous.and_then(|previous| ruleset.renewing(previous)) {
        match run(nft, &text).await {
            Ok(()) => return Ok(()),
            // Somebody took the table away, or the kernel is too old to let chains and what refers to them go at once.
            Err(error) => tracing::warn!(%error, "Service rules are made anew, sessions may move"),
        }
    }
    run(nft, &ruleset.replacing_all()).await
}

/// Has the kernel forget UDP flows that lead to where Services no longer do. The rules hold without it.
async fn forget_flows(udp: &UdpTargets, previous: Option<UdpTargets>) {
    let wanted = match previous {
        Some(previous) => udp.clone().after(&previous),
        None => udp.clone(),
    };
    // Opened here: this thread's network namespace counts, not that of whichever does the waiting.
    let forgotten = match Flows::open() {
        Ok(flows) => tokio::task::spawn_blocking(move || flows.forget(|flow| wanted.is_stale(flow))).await,
        Err(error) => Ok(Err(error)),
    };
    match forgotten.unwrap_or_else(|error| Err(error.into())) {
        Ok(count) => tracing::debug!(count, "forgot UDP flows"),
        Err(error) => tracing::warn!(%error, "UDP flows go on to endpoints that are gone until they pause"),
    }
}

fn unavailable_reason() -> String {
    "nft is not installed: cluster IPs, node ports and outbound traffic of pods do not work on this node; \
     install the nftables package"
        .to_owned()
}

async fn run(nft: &Path, ruleset: &str) -> Result<(), NetError> {
    let failed = |action: &str, error: std::io::Error| NetError::Rules { reason: format!("{action} nft: {error}") };
    let mut child = Command::new(nft)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed("start", error))?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(ruleset.as_bytes()).await
    {
        // It gave up reading; why shows below.
        tracing::debug!(%error, "nft did not read the whole ruleset");
    }
    let output = child.wait_with_output().await.map_err(|error| failed("wait for", error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NetError::Rules { reason: said.lines().next().unwrap_or("nft failed without a word").to_owned() })
}
