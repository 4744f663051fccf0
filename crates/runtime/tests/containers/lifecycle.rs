//! From start to removal.

use std::collections::BTreeSet;
use std::fs;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use stead_runtime::*;

use crate::support::{Node, cgroup_directories, exit_of, log_of, pid_of};

pub(crate) async fn a_container_runs_writes_its_log_and_ends(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", "echo out; echo err >&2; echo -n rest; exit 7");
    let mut exits = node.runtime.exits();
    let info = node.runtime.start_container(spec.clone(), None).await?;
    ensure!(info.spec == spec && matches!(info.state, ContainerState::Running { .. }), "{info:?}");
    ensure!(exit_of(&mut exits, &spec.id).await? == (7, false));

    let mut lines: Vec<_> = fs::read_to_string(&spec.log_path)?.lines().map(str::to_owned).collect();
    lines.sort_by_key(|line| line.split_once(' ').map(|(_, rest)| rest.to_owned()));
    let shapes: Vec<_> = lines.iter().map(|line| line.split_once(' ').unwrap_or_default().1).collect();
    ensure!(shapes == ["stderr F err", "stdout F out", "stdout F rest"], "{lines:?}");
    let time = lines[0].split(' ').next().context("no time")?;
    ensure!(time.len() == "2006-01-02T15:04:05.000000000Z".len() && time.parse::<jiff::Timestamp>().is_ok(), "{time}");

    let listed = node.runtime.list().await?;
    ensure!(listed.sandboxes[0].spec == sandbox, "{listed:?}");
    ensure!(
        matches!(listed.containers[0].state, ContainerState::Exited { code: 7, oom_killed: false, .. }),
        "{listed:?}"
    );
    Ok(())
}

pub(crate) async fn long_lines_are_cut_into_partial_entries(node: Rc<Node>) -> Result<()> {
    let script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end";
    let script = script.replace("tr", "busybox tr");
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", &script);
    let mut exits = node.runtime.exits();
    node.runtime.start_container(spec.clone(), None).await?;
    exit_of(&mut exits, &spec.id).await?;
    let text = fs::read_to_string(&spec.log_path)?;
    let shapes: Vec<_> =
        text.lines().map(|l| l.splitn(4, ' ').collect::<Vec<_>>()).map(|f| (f[2].to_owned(), f[3].len())).collect();
    let expected = [("P", 16384), ("P", 16384), ("F", 40000 - 2 * 16384), ("F", 3)];
    ensure!(shapes == expected.map(|(tag, length)| (tag.to_owned(), length)), "{shapes:?}");
    Ok(())
}

pub(crate) async fn a_signal_death_is_128_and_the_signal(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, _) = node.sleeper(&sandbox, "killed").await?;
    let mut exits = node.runtime.exits();
    node.runtime.kill_container(&spec.id, 9).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (128 + 9, false));
    // Signalling what is gone, or never was, is success.
    node.runtime.kill_container(&spec.id, 15).await?;
    node.runtime.kill_container(&ContainerId("never-was".into()), 15).await?;

    let spec =
        node.container(&sandbox, "trap", "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.05; done");
    node.runtime.start_container(spec.clone(), None).await?;
    wait_for_log(&spec, "up").await?;
    node.runtime.kill_container(&spec.id, 15).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (3, false));
    ensure!(log_of(&spec)? == "up\nasked");
    Ok(())
}

pub(crate) async fn a_missing_program_fails_the_start_and_leaves_nothing(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let cases = [
        ("nothing-here", "exec: \"nothing-here\": executable file not found in $PATH"),
        ("/nothing/here", "exec: \"/nothing/here\": stat /nothing/here: no such file or directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("/etc", "exec: \"/etc\": is a directory"),
    ];
    for (program, reason) in cases {
        let mut spec = node.container(&sandbox, "main", "");
        spec.args = vec![program.into()];
        let result = node.runtime.start_container(spec, None).await;
        ensure!(result == Err(RuntimeError::Start(reason.into())), "{result:?}");
    }
    // Executable, but no program: only the kernel can tell.
    let mut spec = node.container(&sandbox, "main", "");
    spec.args = vec!["/volume".into()];
    let script = node.dir.join("no-program");
    fs::write(&script, "\x7fELF, not really")?;
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    spec.mounts = vec![volume(&script, "/volume")];
    let result = node.runtime.start_container(spec, None).await;
    ensure!(result == Err(RuntimeError::Start("exec \"/volume\": exec format error".into())), "{result:?}");

    ensure!(node.runtime.list().await?.containers.is_empty());
    let left: Vec<_> = fs::read_dir(node.dir.join("runtime/containers"))?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

pub(crate) async fn a_container_needs_its_sandbox_and_a_fresh_name(node: Rc<Node>) -> Result<()> {
    let unmade = node.sandbox("unmade");
    let result = node.runtime.start_container(node.container(&unmade, "main", ""), None).await;
    ensure!(result == Err(RuntimeError::NotFound("sandbox uid-unmade".into())), "{result:?}");

    let sandbox = node.make_sandbox("p").await?;
    let (spec, pid) = node.sleeper(&sandbox, "main").await?;
    let result = node.runtime.start_container(spec.clone(), None).await;
    ensure!(matches!(&result, Err(RuntimeError::Create(e)) if e.contains("exists already")), "{result:?}");
    // The refusal did not touch the one that runs.
    ensure!(pid_of(&node.runtime.list().await?.containers[0])? == pid);
    ensure!(node.exec(&spec.id, &["echo", "alive"]).await? == (0, "alive\n".into()));
    Ok(())
}

pub(crate) async fn containers_of_a_sandbox_share_all_but_processes(node: Rc<Node>) -> Result<()> {
    let mut spec = node.sandbox("p");
    spec.sysctls = [("net.ipv4.ip_unprivileged_port_start".into(), "80".into())].into();
    let sandbox = node.runtime.create_sandbox(spec.clone()).await?;
    let (one, one_pid) = node.sleeper(&spec, "one").await?;
    let (two, two_pid) = node.sleeper(&spec, "two").await?;
    let namespace = |pid: i32, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    for kind in ["net", "ipc", "uts"] {
        ensure!(namespace(one_pid, kind)? == namespace(two_pid, kind)?, "{kind} is not shared");
        ensure!(namespace(one_pid, kind)? != fs::read_link(format!("/proc/self/ns/{kind}"))?, "{kind} is the node's");
    }
    for kind in ["pid", "mnt"] {
        ensure!(namespace(one_pid, kind)? != namespace(two_pid, kind)?, "{kind} is shared");
    }
    ensure!(node.exec(&one.id, &["hostname"]).await?.1 == "p\n");
    let sysctl = node.exec(&one.id, &["cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start"]).await?;
    ensure!(sysctl.1 == "80\n", "{sysctl:?}");
    ensure!(node.exec(&one.id, &["sh", "-c", "echo x > /dev/shm/shared"]).await?.0 == 0);
    ensure!(node.exec(&two.id, &["cat", "/dev/shm/shared"]).await?.1 == "x\n");
    // The file the network is set up through is that namespace.
    let netns = fs::metadata(sandbox.netns.context("no network namespace")?)?;
    let inode = namespace(one_pid, "net")?.to_string_lossy().into_owned();
    ensure!(inode == format!("net:[{}]", std::os::unix::fs::MetadataExt::ino(&netns)), "{inode}");
    Ok(())
}

pub(crate) async fn a_sandbox_is_made_once(node: Rc<Node>) -> Result<()> {
    let spec = node.sandbox("p");
    let both = tokio::join!(node.runtime.create_sandbox(spec.clone()), node.runtime.create_sandbox(spec.clone()));
    let (first, second) = (both.0?, both.1?);
    ensure!(first == second, "{first:?} {second:?}");
    node.runtime.remove_sandbox(&spec.id).await?;
    node.runtime.remove_sandbox(&spec.id).await?;
    ensure!(node.runtime.list().await?.sandboxes.is_empty());

    let mut on_the_node = node.sandbox("h");
    on_the_node.host_network = true;
    let sandbox = node.runtime.create_sandbox(on_the_node.clone()).await?;
    ensure!(sandbox.netns.is_none());
    let (_, pid) = node.sleeper(&on_the_node, "main").await?;
    for (kind, shared) in [("net", true), ("uts", true), ("ipc", false)] {
        let same = fs::read_link(format!("/proc/{pid}/ns/{kind}"))? == fs::read_link(format!("/proc/self/ns/{kind}"))?;
        ensure!(same == shared, "{kind}");
    }
    Ok(())
}

pub(crate) async fn a_living_container_keeps_its_sandbox(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, _) = node.sleeper(&sandbox, "main").await?;
    let result = node.runtime.remove_sandbox(&sandbox.id).await;
    ensure!(result == Err(RuntimeError::Other(format!("container {} of the sandbox lives", spec.id.0))), "{result:?}");
    ensure!(node.exec(&spec.id, &["hostname"]).await?.1 == "p\n");
    Ok(())
}

pub(crate) async fn a_start_under_way_keeps_its_sandbox(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", "exec sleep 1000");
    // Both calls travel on one connection, so the start is the first to be taken up.
    let (started, removed) =
        tokio::join!(node.runtime.start_container(spec.clone(), None), node.runtime.remove_sandbox(&sandbox.id));
    pid_of(&started?)?;
    ensure!(
        removed == Err(RuntimeError::Other(format!("container {} of the sandbox lives", spec.id.0))),
        "{removed:?}"
    );
    ensure!(node.exec(&spec.id, &["hostname"]).await?.1 == "p\n");
    Ok(())
}

pub(crate) async fn removing_kills_and_leaves_nothing(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", "(trap '' TERM; sleep 1000)& (sleep 1000)& echo up; wait");
    let mut exits = node.runtime.exits();
    node.runtime.start_container(spec.clone(), None).await?;
    wait_for_log(&spec, "up").await?;
    let group = format!("{}/podp/{}", node.cgroup, spec.id.0);
    ensure!(!cgroup_directories(&group).is_empty());

    node.runtime.remove_container(&spec.id).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (137, false), "the end is told also of what is removed");
    ensure!(cgroup_directories(&group).is_empty(), "groups left");
    ensure!(fs::read_dir(node.dir.join("runtime/containers"))?.count() == 0, "files left");
    ensure!(log_of(&spec)? == "up", "the log stays");
    node.runtime.remove_container(&spec.id).await?;
    Ok(())
}

pub(crate) async fn a_terminal_container_writes_its_log(node: Rc<Node>) -> Result<()> {
    let (code, log) = node.run("p", "tty; echo err >&2; echo $TERM", |spec| spec.tty = true).await?;
    let log = log.replace('\r', "");
    ensure!(code == 0 && log == "/dev/pts/0\nerr\nxterm", "{code} {log:?}");
    Ok(())
}

pub(crate) async fn volumes_and_working_directory_are_there(node: Rc<Node>) -> Result<()> {
    let data = node.dir.join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("in"), "given")?;
    fs::write(node.dir.join("hosts"), "hosts file")?;
    let script =
        "pwd; cat /data/in; echo; echo back > /data/out; cat /etc/hosts; echo; echo x > /readonly/out || echo denied";
    let (code, log) = node
        .run("p", script, |spec| {
            spec.cwd = "/made/for/it".into();
            spec.mounts = vec![volume(&data, "/data"), volume(&node.dir.join("hosts"), "/etc/hosts")];
            spec.mounts.push(BindMount { readonly: true, ..volume(&data, "/readonly") });
        })
        .await?;
    ensure!(code == 0, "{code} {log}");
    let expected =
        ["/made/for/it", "given", "hosts file", "/bin/sh: can't create /readonly/out: Read-only file system", "denied"];
    let mut lines: Vec<_> = log.lines().collect();
    let mut expected = expected.to_vec();
    // Standard output and error are two streams: their order in the log is not the shell's.
    lines.sort_unstable();
    expected.sort_unstable();
    ensure!(lines == expected, "{log}");
    ensure!(fs::read_to_string(data.join("out"))? == "back\n");
    Ok(())
}

pub(crate) async fn the_working_directory_is_made_inside_a_volume(node: Rc<Node>) -> Result<()> {
    let data = node.dir.join("data");
    fs::create_dir(&data)?;
    let change = |spec: &mut ContainerSpec| {
        spec.cwd = "/data/deep/er".into();
        spec.mounts = vec![volume(&data, "/data")];
    };
    ensure!(node.run("p", "pwd", change).await? == (0, "/data/deep/er".into()));
    ensure!(data.join("deep/er").is_dir());
    Ok(())
}

pub(crate) async fn a_user_keeps_only_its_own_groups(node: Rc<Node>) -> Result<()> {
    let script = "id -u; id -g; id -G; echo $HOME; echo again > /dev/stdout";
    let home = Some("/home/svc".into());
    let change = |spec: &mut ContainerSpec| spec.user = User { uid: 1000, gid: 1000, home, ..User::default() };
    let (code, log) = node.run("p", script, change).await?;
    ensure!((code, &*log) == (0, "1000\n1000\n1000\n/home/svc\nagain"), "{code} {log}");
    let change =
        |spec: &mut ContainerSpec| spec.user = User { uid: 1000, additional_gids: vec![2000], ..User::default() };
    let (code, log) = node.run("q", "id -G", change).await?;
    ensure!((code, &*log) == (0, "0 2000"), "{code} {log}");
    Ok(())
}

pub(crate) async fn many_containers_start_at_once(node: Rc<Node>) -> Result<()> {
    const COUNT: usize = 20;
    let sandbox = node.make_sandbox("p").await?;
    let starts: Vec<_> = (0..COUNT)
        .map(|index| {
            let runtime = node.runtime.clone();
            let spec = node.container(&sandbox, &format!("c{index}"), &format!("exit {index}"));
            tokio::task::spawn_local(async move { runtime.start_container(spec, None).await })
        })
        .collect();
    let mut exits = node.runtime.exits();
    for start in starts {
        start.await??;
    }
    let mut codes = BTreeSet::new();
    for info in node.runtime.list().await?.containers {
        codes.extend(match info.state {
            ContainerState::Exited { code, .. } => Some(code),
            ContainerState::Running { .. } => None,
        });
    }
    while codes.len() < COUNT {
        if let ContainerState::Exited { code, .. } =
            tokio::time::timeout(crate::support::PATIENCE, exits.recv()).await??.state
        {
            codes.insert(code);
        }
    }
    ensure!(codes == (0..COUNT as i32).collect(), "{codes:?}");
    Ok(())
}

pub(crate) async fn what_cannot_be_created_says_why(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let mut spec = node.container(&sandbox, "main", "true");
    spec.mounts = vec![volume(std::path::Path::new("/not/there"), "/data")];
    let result = node.runtime.start_container(spec, None).await;
    let said = |result: &Result<ContainerInfo, RuntimeError>, what: &str| matches!(result, Err(RuntimeError::Create(e)) if e.contains(what));
    ensure!(said(&result, "/not/there") && said(&result, "No such file"), "{result:?}");

    let mut spec = node.container(&sandbox, "main", "true");
    spec.capabilities_add = vec!["FLY".into()];
    let result = node.runtime.start_container(spec, None).await;
    ensure!(said(&result, "unknown capability \"FLY\""), "{result:?}");

    let mut spec = node.container(&sandbox, "main", "true");
    spec.rootfs.layers = vec!["/no/layer".into()];
    let result = node.runtime.start_container(spec, None).await;
    ensure!(said(&result, "failed to mount the root file system"), "{result:?}");

    let mut foreign = node.sandbox("q");
    foreign.sysctls = [("vm.swappiness".into(), "1".into())].into();
    let result = node.runtime.create_sandbox(foreign).await;
    let expected = RuntimeError::Create("sysctl \"vm.swappiness\" is not the sandbox's own".into());
    ensure!(result == Err(expected), "{result:?}");
    ensure!(node.runtime.list().await?.sandboxes.len() == 1);
    Ok(())
}

/// A writable volume.
pub(crate) fn volume(source: &std::path::Path, destination: &str) -> BindMount {
    BindMount {
        source: source.into(),
        destination: destination.into(),
        readonly: false,
        propagation: Propagation::Private,
    }
}

/// Waits until a container has written a line.
pub(crate) async fn wait_for_log(spec: &ContainerSpec, line: &str) -> Result<()> {
    let wait = async {
        while !log_of(spec).is_ok_and(|log| log.lines().any(|l| l.trim_end() == line)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, wait).await.with_context(|| format!("{line:?} is not logged"))
}
