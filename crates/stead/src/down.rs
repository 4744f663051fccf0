//! `stead down`: nothing of the cluster is left on the machine but its data, and with `--purge` not
//! even that.

mod stop;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use stead_disk::mounts;
use stead_net::KernelNetwork;
use stead_runtime::{Runtime, SupervisorRuntime};

use crate::cluster::network_config;
use crate::data_dir::{ClusterRecord, DataDir};
use crate::preflight;
use crate::up::runtime;
use stop::stop_containers;

/// Takes the cluster of a data directory away. Containers get the time that their pods ask for between
/// being asked to end and being killed, but no more than `grace_max`.
pub(crate) fn run(data_dir: &Path, purge: bool, grace_max: Option<Duration>) -> anyhow::Result<()> {
    preflight::check()?;
    let data = DataDir::take_over(data_dir)?;
    take_away(&data, grace_max)?;
    if purge {
        delete(&data.path).with_context(|| format!("cannot delete {}", data.path.display()))?;
    }
    Ok(())
}

/// Stops every pod and removes every link, mount, rule and cgroup. The calling thread must be the only
/// one.
pub(crate) fn take_away(data: &DataDir, grace_max: Option<Duration>) -> anyhow::Result<()> {
    if let Some(record) = data.record()? {
        if record.isolated {
            data.enter_netns()?;
        }
        runtime()?.block_on(async {
            stop_pods(data, grace_max).await?;
            KernelNetwork::down(&network_config(data, &record)?).await.context("cannot take the pod network away")
        })?;
        remove_cgroups(&record.cgroup_root)?;
    }
    unmount_own(&data.path)?;
    data.release_netns()?;
    match data.record()?.filter(|record| record.standing) {
        Some(record) => data.write_record(&ClusterRecord { standing: false, ..record }),
        None => Ok(()),
    }
}

async fn stop_pods(data: &DataDir, grace_max: Option<Duration>) -> anyhow::Result<()> {
    let dir = data.join("runtime");
    if !dir.exists() {
        return Ok(());
    }
    let runtime = SupervisorRuntime::connect_or_start(&dir).await?;
    let exits = runtime.exits();
    let inventory = runtime.list().await?;
    stop_containers(&runtime, exits, &inventory, grace_max).await?;
    for container in &inventory.containers {
        runtime.remove_container(&container.spec.id).await?;
    }
    for sandbox in &inventory.sandboxes {
        runtime.remove_sandbox(&sandbox.spec.id).await?;
    }
    runtime.shutdown_supervisor().await.context("cannot stop the supervisor")
}

/// Removes the cluster's cgroups in every hierarchy, innermost first.
fn remove_cgroups(root: &str) -> anyhow::Result<()> {
    let hierarchies = mounts::table()?.into_iter().filter(|mount| mount.kind.starts_with("cgroup"));
    for point in hierarchies.map(|mount| mount.point) {
        let mut dir = point.join(root);
        remove_groups(&dir)?;
        // The cluster's own cgroup may share its parent with other clusters.
        while dir.pop() && dir != point {
            if fs::remove_dir(&dir).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn remove_groups(dir: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_groups(&entry.path())?;
        }
    }
    fs::remove_dir(dir).with_context(|| format!("cannot remove cgroup {}", dir.display()))
}

/// Parts of the data directory in which the agent and the runtime mount things.
const MOUNTED_IN: [&str; 2] = ["pods", "runtime"];

/// Unmounts what the cluster has mounted. The data directory, or a part of it, may be a disk that an
/// administrator mounted there: that stays.
fn unmount_own(data: &Path) -> io::Result<()> {
    MOUNTED_IN.iter().map(|part| data.join(part)).try_for_each(|dir| mounts::unmount_below(&dir, |point| point == dir))
}

/// Deletes the data directory; of one that a disk is mounted at, the content. Never goes into what else is still
/// mounted: it may be a directory of the machine that a pod was shown.
pub(crate) fn delete(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        stead_disk::remove_tree(&entry?.path())?;
    }
    match fs::remove_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy && mounts::is_mounted(data)? => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

    use super::*;

    #[test]
    fn a_disk_that_an_administrator_mounted_stays_where_it_is() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        let [volumes, own] = ["volumes", "pods/uid/volumes/secret"].map(|part| data.join(part));
        let mount = |at: &Path| {
            fs::create_dir_all(at).expect("made");
            mount("none", at, "tmpfs", MountFlags::empty(), c"size=64k").expect("mounted");
        };
        for at in [&data, &volumes, &own] {
            mount(at);
        }
        fs::write(volumes.join("precious"), "p").expect("written");
        unmount_own(&data).expect("unmounted");
        let mounted = [&data, &volumes, &own].map(|at| mounts::is_mounted(at).expect("read"));
        let refused = delete(&data).map_err(|error| error.to_string());
        let kept = volumes.join("precious").exists();
        unmount(&volumes, UnmountFlags::DETACH).expect("unmounted");
        let deleted = delete(&data);
        let left = fs::read_dir(&data).expect("still mounted").count();
        unmount(&data, UnmountFlags::DETACH).expect("unmounted");
        assert_eq!((mounted, kept), ([true, true, false], true));
        assert!(refused.expect_err("a disk is mounted in it").starts_with("something is still mounted in "));
        deleted.expect("nothing else is mounted in it");
        assert_eq!(left, 0);
    }
}
