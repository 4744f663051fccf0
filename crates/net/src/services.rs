//! Cluster addresses, node ports and outbound masquerade on the kernel, through the `nft` program. Where it is
//! missing this one feature says so; the rest of the pod network does without.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Mutex;

use crate::netlink::Netlink;
use crate::rules::{ServicePort, render, render_removal};
use crate::{NetError, NetworkConfig};

/// Where `nft` may be besides `PATH`, which often leaves out the directories of administrators' programs.
const EXTRA_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

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

/// The Service rules of one network.
pub struct ServiceRules {
    config: NetworkConfig,
    nft: Option<PathBuf>,
    /// The ruleset the kernel has; held while it is being changed.
    applied: Mutex<Option<String>>,
}

impl ServiceRules {
    /// Looks for `nft`; says so, once, where there is none. Changes nothing yet.
    pub fn open(config: NetworkConfig) -> Self {
        let nft = find_nft();
        if nft.is_none() {
            tracing::warn!("{}", unavailable_reason());
        }
        Self { config, nft, applied: Mutex::new(None) }
    }

    /// Makes these the node's only Service rules, in one transaction; nothing is done where they already are. Call
    /// it once without ports to have outbound masquerade alone.
    ///
    /// # Errors
    /// The kernel or `nft` refuses; the rules are as they were.
    pub async fn apply(&self, ports: &[ServicePort]) -> Result<Availability, NetError> {
        let Some(nft) = &self.nft else {
            return Ok(Availability::Unavailable { reason: unavailable_reason() });
        };
        let wanted = render(&self.config, ports);
        let mut applied = self.applied.lock().await;
        if applied.as_ref() == Some(&wanted) {
            return Ok(Availability::Applied);
        }
        let netlink = Netlink::open()?;
        if netlink.index_of(&self.config.bridge).await?.is_none() {
            return Err(NetError::Rules { reason: format!("bridge {} is gone", self.config.bridge) });
        }
        *applied = None;
        run(nft, &wanted).await?;
        // The node's own processes ask the routing table before the rules see their packets.
        netlink.ensure_route_for_rules(self.config.service_cidr, self.config.gateway()).await?;
        *applied = Some(wanted);
        Ok(Availability::Applied)
    }

    /// Takes the rules of a network away. Success where there are none, or no `nft` that could have made any.
    pub(crate) async fn remove(config: &NetworkConfig) -> Result<(), NetError> {
        match find_nft() {
            Some(nft) => run(&nft, &render_removal(config)).await,
            None => Ok(()),
        }
    }
}

fn unavailable_reason() -> String {
    "nft is not installed: cluster IPs, node ports and outbound traffic of pods do not work on this node; \
     install the nftables package"
        .to_owned()
}

fn find_nft() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(EXTRA_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join("nft")).find(|program| program.is_file())
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
