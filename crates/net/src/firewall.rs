//! Pods behind a firewall of somebody else. What pods send is forwarded by the node, and Docker and ufw have the
//! node drop what it forwards unless a rule of `iptables` accepts it: rules of our own table cannot overrule
//! that. Where such a policy is found, two rules accept what pods send and get. Elsewhere nothing is touched.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::programs::find;
use crate::{NetError, NetworkConfig};

/// What `iptables -S` shows of a chain that drops what no rule accepts.
const DROPS: &str = "-P FORWARD DROP";

/// Has the host's firewall accept what pods send and get, if it drops what nobody speaks for. Doing it again
/// changes nothing.
///
/// # Errors
/// The firewall is there and its rules cannot be changed.
pub(crate) async fn let_pods_through(config: &NetworkConfig) -> Result<(), NetError> {
    let Some(iptables) = find("iptables") else { return Ok(()) };
    let rules = forward_rules(&iptables).await?;
    if !rules.iter().any(|rule| rule == DROPS) {
        return Ok(());
    }
    for rule in ours(config) {
        if !rules.contains(&format!("-A {}", rule.join(" "))) {
            change(&iptables, "-I", &rule).await?;
        }
    }
    Ok(())
}

/// Takes the rules of [`let_pods_through`] away; none is success.
pub(crate) async fn forget_pods(config: &NetworkConfig) -> Result<(), NetError> {
    let Some(iptables) = find("iptables") else { return Ok(()) };
    let rules = forward_rules(&iptables).await?;
    for rule in ours(config) {
        if rules.contains(&format!("-A {}", rule.join(" "))) {
            change(&iptables, "-D", &rule).await?;
        }
    }
    Ok(())
}

/// The rules, word by word as `iptables -S` shows them.
fn ours(config: &NetworkConfig) -> [Vec<String>; 2] {
    let pods = config.pod_cidr.to_string();
    let mark = format!("stead-{}", config.bridge);
    ["-s", "-d"].map(|end| {
        let words = ["FORWARD", end, &pods, "-m", "comment", "--comment", &mark, "-j", "ACCEPT"];
        words.map(str::to_owned).to_vec()
    })
}

/// The rules of the forward chain. None where this kernel has no such chain.
async fn forward_rules(iptables: &Path) -> Result<Vec<String>, NetError> {
    let output = run(iptables, ["-S", "FORWARD"].iter().map(ToString::to_string)).await?;
    if !output.status.success() {
        tracing::debug!(said = %String::from_utf8_lossy(&output.stderr), "no firewall to speak of");
        return Ok(Vec::new());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

async fn change(iptables: &Path, action: &str, rule: &[String]) -> Result<(), NetError> {
    let output = run(iptables, std::iter::once(action.to_owned()).chain(rule.iter().cloned())).await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("iptables failed without a word");
    Err(NetError::Rules { reason: format!("{said} (iptables {action} {})", rule.join(" ")) })
}

async fn run(iptables: &Path, args: impl Iterator<Item = String>) -> Result<Output, NetError> {
    let output = Command::new(iptables).arg("-w").args(args).kill_on_drop(true).output().await;
    output.map_err(|error| NetError::Rules { reason: format!("run iptables: {error}") })
}
