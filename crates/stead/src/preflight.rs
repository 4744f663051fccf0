//! Clear refusals before anything is touched: each says in one line what to do.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};

/// Refuses unless this machine can run containers.
pub(crate) fn check() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("containers need root: run it again with sudo");
    }
    let known = fs::read_to_string("/proc/filesystems").context("cannot read /proc/filesystems: mount /proc")?;
    if !known.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
        bail!("this kernel has no overlayfs: load the module (modprobe overlay) or use a kernel that has it");
    }
    for namespace in ["net", "ipc", "uts", "pid", "mnt"] {
        if fs::metadata(format!("/proc/self/ns/{namespace}")).is_err() {
            bail!("this kernel has no {namespace} namespaces: use a kernel built with them");
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    if !mounts.lines().any(|line| line.contains(" - cgroup")) {
        bail!("no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup");
    }
    Ok(())
}

/// Takes the listening socket, or says who to blame.
pub(crate) fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = match TcpListener::bind(address) {
        Ok(listener) => listener,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("{address} is already in use: stop what listens there or choose another with --listen ADDR:PORT")
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            bail!("{} is not an address of this machine: choose another with --listen ADDR:PORT", address.ip())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
    };
    listener.set_nonblocking(true)?;
    Ok(listener)
}
