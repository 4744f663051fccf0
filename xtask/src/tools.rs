//! The programs that tests and measurements run: found on the path, installed where they can be, and
//! named clearly where they cannot.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::steps::{run, step};

/// A program and the Debian or Ubuntu package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// What it is for.
    purpose: &'static str,
}

const TOOLS: [Tool; 6] = [
    Tool { program: "busybox", package: "busybox-static", purpose: "the content of test images" },
    Tool { program: "docker-registry", package: "docker-registry", purpose: "a registry to pull from" },
    Tool { program: "ip", package: "iproute2", purpose: "looking at links and routes" },
    Tool { program: "nft", package: "nftables", purpose: "Service addresses and outbound traffic" },
    Tool { program: "nsenter", package: "util-linux", purpose: "looking into network namespaces" },
    Tool { program: "unshare", package: "util-linux", purpose: "network namespaces without a way out" },
];

/// Oldest kubectl that speaks WebSocket to `exec`, which most tests use.
const KUBECTL_MINOR_MIN: u32 = 30;

/// Directories that programs are in, besides those of `$PATH`: root's own may be missing there.
const SYSTEM_DIRS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where a program is.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(SYSTEM_DIRS.map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Makes sure that everything end-to-end tests need is there: root, kubectl, and the programs above,
/// which are installed with apt-get where that is possible.
pub(crate) fn ensure() -> anyhow::Result<()> {
    if !is_root()? {
        bail!(
            "end-to-end tests run containers, which needs root: run it again with sudo, or name crates to test: `cargo xtask test plan`"
        );
    }
    check_kubectl()?;
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| on_path(tool.program).is_none()).collect();
    let has_apt = on_path("apt-get").is_some();
    if !missing.is_empty() && !has_apt {
        let wanted: Vec<String> = missing.iter().map(|tool| format!("{} ({})", tool.program, tool.purpose)).collect();
        bail!("these programs are missing, and there is no apt-get to install them with: {}", wanted.join(", "));
    }
    // A test builds an image from Debian packages, so the lists must be there even when all else is.
    if has_apt && (!missing.is_empty() || !has_package_lists()) {
        step("package lists", || run(apt_get().args(["update", "-q"])))?;
    }
    if !missing.is_empty() {
        let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
        packages.dedup();
        let name = format!("installing {}", packages.join(", "));
        step(&name, || run(apt_get().args(["install", "-q", "-y", "--no-install-recommends"]).args(&packages)))?;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn has_package_lists() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().filter_map(Result::ok);
    lists.into_iter().any(|list| list.file_name().to_string_lossy().contains("_Packages"))
}

fn is_root() -> anyhow::Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).context("the kernel names no user")?;
    Ok(uids.split_whitespace().nth(1) == Some("0"))
}

/// Refuses unless kubectl is there and new enough.
fn check_kubectl() -> anyhow::Result<()> {
    let advice =
        "put kubectl 1.30 or newer on the path, or name it in $KUBECTL (https://kubernetes.io/docs/tasks/tools/)";
    let kubectl = std::env::var_os("KUBECTL").map(PathBuf::from).or_else(|| on_path("kubectl"));
    let kubectl = kubectl.with_context(|| format!("kubectl is missing: {advice}"))?;
    let output = Command::new(&kubectl).args(["version", "--client", "-o", "json"]).output();
    let output = output.with_context(|| format!("cannot run {}: {advice}", kubectl.display()))?;
    let (major, minor) = kubectl_version(&output.stdout)
        .with_context(|| format!("{} does not say its version: {advice}", kubectl.display()))?;
    if (major, minor) < (1, KUBECTL_MINOR_MIN) {
        bail!("{} is version {major}.{minor}: {advice}", kubectl.display());
    }
    println!("xtask: kubectl {major}.{minor} at {}", kubectl.display());
    Ok(())
}

/// The major and minor version in the answer of `kubectl version --client -o json`; vendors add a `+`.
fn kubectl_version(answer: &[u8]) -> Option<(u32, u32)> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    let part = |name: &str| answer["clientVersion"][name].as_str()?.trim_end_matches('+').parse().ok();
    Some((part("major")?, part("minor")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_versions_are_read_with_and_without_a_vendors_plus() {
        let version = |text: &str| kubectl_version(text.as_bytes());
        assert_eq!(version(r#"{"clientVersion": {"major": "1", "minor": "32"}}"#), Some((1, 32)));
        assert_eq!(version(r#"{"clientVersion": {"major": "1", "minor": "27+"}}"#), Some((1, 27)));
        assert_eq!(version("error: unknown flag"), None);
    }
}
