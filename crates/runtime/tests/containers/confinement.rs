//! What a container may not do.

use std::os::unix::fs::symlink;
use std::rc::Rc;

use anyhow::{Result, ensure};
use stead_runtime::*;

use crate::support::{Node, exit_of};

pub(crate) async fn too_much_memory_is_killed_and_said(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    // tail keeps everything when it looks for one line in what has none.
    let mut spec = node.container(&sandbox, "main", "exec tail -n 1 /dev/zero");
    spec.resources.memory_limit_bytes = Some(16 << 20);
    let mut exits = node.runtime.exits();
    node.runtime.start_container(spec.clone(), None).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (137, true));

    let mut spec = node.container(&sandbox, "fits", "echo fits");
    spec.resources.memory_limit_bytes = Some(16 << 20);
    node.runtime.start_container(spec.clone(), None).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (0, false));
    Ok(())
}

pub(crate) async fn capabilities_are_the_default_set(node: Rc<Node>) -> Result<()> {
    let script = "while read name value; do case $name in Cap*) echo $name $value;; esac; done < /proc/self/status";
    let zero = "0000000000000000";
    let lines = |set: &str, held: &str| {
        format!("CapInh: {zero}\nCapPrm: {held}\nCapEff: {held}\nCapBnd: {set}\nCapAmb: {zero}")
    };
    // The bits of contract pods.md 6.6.
    let default = "00000000a80425fb";
    let (_, log) = node.run("p", script, |_| {}).await?;
    ensure!(log == lines(default, default), "{log}");
    let as_user = |spec: &mut ContainerSpec| spec.user = User { uid: 1000, gid: 1000, ..User::default() };
    let (_, log) = node.run("q", script, as_user).await?;
    ensure!(log == lines(default, zero), "{log}");
    let only_chown = |spec: &mut ContainerSpec| {
        spec.capabilities_drop = vec!["ALL".into()];
        spec.capabilities_add = vec!["CHOWN".into()];
    };
    let (_, log) = node.run("r", script, only_chown).await?;
    ensure!(log == lines("0000000000000001", "0000000000000001"), "{log}");
    Ok(())
}

pub(crate) async fn no_new_privileges_is_set_only_on_demand(node: Rc<Node>) -> Result<()> {
    let script =
        "while read name value; do case $name in NoNewPrivs:|Seccomp:) echo $value;; esac; done < /proc/self/status";
    ensure!(node.run("p", script, |_| {}).await? == (0, "0\n2".into()));
    ensure!(node.run("q", script, |spec| spec.no_new_privileges = true).await? == (0, "1\n2".into()));
    ensure!(node.run("r", script, |spec| spec.seccomp = Seccomp::Unconfined).await? == (0, "0\n0".into()));
    Ok(())
}

pub(crate) async fn seccomp_denies_mounts_and_namespaces(node: Rc<Node>) -> Result<()> {
    // A user namespace needs no capability: only the filter stands before it.
    let script = "unshare -U true || echo no user namespace; mount -t tmpfs x /tmp || echo no mount";
    let (_, log) = node.run("p", script, |_| {}).await?;
    let said = |line: &str| log.lines().any(|l| l == line);
    ensure!(said("no user namespace") && said("no mount"), "{log}");
    ensure!(log.contains("Operation not permitted"), "{log}");
    let (_, log) = node.run("q", "unshare -U true && echo fine", |spec| spec.seccomp = Seccomp::Unconfined).await?;
    ensure!(log == "fine", "the test can fail: {log}");
    Ok(())
}

pub(crate) async fn a_read_only_root_is_read_only(node: Rc<Node>) -> Result<()> {
    let script = "touch /new || echo denied; touch /dev/shm/new && echo shared";
    let (_, log) = node.run("p", script, |spec| spec.rootfs.readonly = true).await?;
    ensure!(log.lines().any(|l| l == "denied") && log.contains("Read-only file system"), "{log}");
    ensure!(log.lines().any(|l| l == "shared"), "{log}");
    // The image itself never changes.
    let (code, _) = node.run("q", "touch /new", |_| {}).await?;
    ensure!(code == 0 && !node.dir.join("layer/new").exists());
    Ok(())
}

pub(crate) async fn kernel_files_are_masked_and_devices_denied(node: Rc<Node>) -> Result<()> {
    let script = "head -c 1 /proc/kcore | busybox wc -c; ls /sys/firmware | busybox wc -l; \
        echo x > /proc/sys/kernel/domainname || echo sys; touch /sys/x || echo ro; \
        mknod /dev/disk b 254 0 && head -c 1 /dev/disk || echo disk";
    let (_, log) = node.run("p", script, |_| {}).await?;
    let said: Vec<_> = log.lines().filter(|l| ["0", "sys", "ro", "disk"].contains(l)).collect();
    ensure!(said == ["0", "0", "sys", "ro", "disk"], "{log}");
    let (code, log) =
        node.run("q", "echo x > /dev/null && head -c 1 /dev/urandom > /dev/null && echo x > /dev/full", |_| {}).await?;
    ensure!(code != 0 && log.contains("No space left on device"), "{log}");
    Ok(())
}

pub(crate) async fn the_cgroup_is_seen_but_not_writable(node: Rc<Node>) -> Result<()> {
    let files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max";
    let script =
        format!("for f in {files}; do if [ -e $f ]; then cat $f; echo 1000000000 > $f || echo denied; fi; done");
    let (_, log) = node.run("p", &script, |spec| spec.resources.memory_limit_bytes = Some(64 << 20)).await?;
    let lines: Vec<_> = log.lines().filter(|l| !l.contains("can't create")).collect();
    ensure!(lines == ["67108864", "denied"], "{log}");
    Ok(())
}

pub(crate) async fn an_image_with_a_link_for_proc_is_refused(node: Rc<Node>) -> Result<()> {
    let layer = node.dir.join("evil");
    std::fs::create_dir(&layer)?;
    symlink("/etc", layer.join("proc"))?;
    let sandbox = node.make_sandbox("p").await?;
    let mut spec = node.container(&sandbox, "main", "true");
    // An upper layer may replace what a lower one had.
    spec.rootfs.layers.push(layer);
    let result = node.runtime.start_container(spec, None).await;
    ensure!(result == Err(RuntimeError::Create("image refused: /proc is not a directory".into())), "{result:?}");
    Ok(())
}

pub(crate) async fn a_privileged_container_may_mount(node: Rc<Node>) -> Result<()> {
    let (code, log) = node
        .run("p", "mount -t tmpfs x /tmp && echo mounted; test -w /proc/sys/kernel/domainname && echo rw", |spec| {
            spec.privileged = true
        })
        .await?;
    ensure!((code, &*log) == (0, "mounted\nrw"), "{code} {log}");
    Ok(())
}
