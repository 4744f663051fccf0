//! Clear refusals before anything is touched: each says in one line what to do.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, bail};

/// Namespaces that a pod is made of.
const NAMESPACES: [&str; 5] = ["net", "ipc", "uts", "pid", "mnt"];

/// What is asked about a machine before a cluster is started on it.
struct Machine {
    root: bool,
    /// `/proc/filesystems`
    file_systems: String,
    /// Entries of `/proc/self/ns`.
    namespaces: Vec<String>,
    /// `/proc/self/mountinfo`
    mounts: String,
}

impl Machine {
    fn look() -> anyhow::Result<Self> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}: mount /proc"));
        let namespaces = fs::read_dir("/proc/self/ns").context("cannot read /proc/self/ns: mount /proc")?;
        let namespaces = namespaces.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        Ok(Self {
            root: rustix::process::geteuid().is_root(),
            file_systems: read("/proc/filesystems")?,
            namespaces: namespaces.collect(),
            mounts: read("/proc/self/mountinfo")?,
        })
    }

    fn judge(&self) -> anyhow::Result<()> {
        if !self.root {
            bail!("containers need root: run it again with sudo");
        }
        if !self.file_systems.lines().any(|line| line.split_whitespace().last() == Some("overlay")) {
            bail!("this kernel has no overlayfs: load the module (modprobe overlay) or use a kernel that has it");
        }
        if let Some(missing) = NAMESPACES.iter().find(|wanted| !self.namespaces.iter().any(|there| there == *wanted)) {
            bail!("this kernel has no {missing} namespaces: use a kernel built with them");
        }
        if !self.mounts.lines().any(|line| line.contains(" - cgroup")) {
            bail!("no cgroup file system is mounted: mount -t cgroup2 none /sys/fs/cgroup");
        }
        Ok(())
    }
}

/// Refuses unless this machine can run containers.
pub(crate) fn check() -> anyhow::Result<()> {
    Machine::look()?.judge()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Machine {
        Machine {
            root: true,
            file_systems: "nodev\tproc\n\text4\nnodev\toverlay\n".to_owned(),
            namespaces: NAMESPACES.map(str::to_owned).to_vec(),
            mounts: "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n".to_owned(),
        }
    }

    #[test]
    fn what_a_machine_lacks_is_named_with_what_to_do() {
        assert!(good().judge().is_ok());
        let refused = |machine: Machine| machine.judge().expect_err("refused").to_string();
        assert!(refused(Machine { root: false, ..good() }).contains("sudo"));
        assert!(refused(Machine { file_systems: "\text4\n".to_owned(), ..good() }).contains("modprobe overlay"));
        assert!(refused(Machine { namespaces: vec!["net".to_owned()], ..good() }).contains("no ipc namespaces"));
        assert!(refused(Machine { mounts: String::new(), ..good() }).contains("mount -t cgroup2"));
    }
}
