//! Killing what watches over containers.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::FlockOperation::{self, NonBlockingLockExclusive};
use rustix::process::Signal;
use stead_runtime::*;

use crate::lifecycle::{volume, wait_for_log};
use crate::support::{Node, PATIENCE, cgroup_directories, exit_of, kill, log_of, pid_of, signal, wait_for_end};

/// A client of its own process: starts a container, says its process and waits to be killed.
pub(crate) fn start_and_wait(dir: &Path, spec: &str) -> ExitCode {
    let run = async {
        let runtime = SupervisorRuntime::connect_or_start(dir).await?;
        let spec: ContainerSpec = serde_json::from_str(spec)?;
        println!("{}", pid_of(&runtime.start_container(spec, None).await?)?);
        std::future::pending::<Result<()>>().await
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let Err(e) = runtime.block_on(run) else { return ExitCode::SUCCESS };
    println!("{e}");
    ExitCode::FAILURE
}

/// Starts a container through a client that is then killed; the container's process.
async fn start_through_killed_client(node: &Node, spec: &ContainerSpec) -> Result<i32> {
    let mut client = Command::new("/proc/self/exe")
        .arg("start-and-wait")
        .arg(node.dir.join("runtime"))
        .arg(serde_json::to_string(spec)?)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    BufReader::new(client.stdout.take().context("no output")?).read_line(&mut said)?;
    client.kill()?;
    client.wait()?;
    said.trim().parse().with_context(|| said)
}

pub(crate) async fn a_killed_client_leaves_containers_running(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec =
        node.container(&sandbox, "main", "while [ ! -e /go ]; do sleep 0.01; done; echo went on; exec sleep 1000");
    let pid = start_through_killed_client(&node, &spec).await?;

    let again = SupervisorRuntime::connect_or_start(&node.dir.join("runtime")).await?;
    let listed = again.list().await?;
    ensure!(listed.containers.len() == 1 && listed.containers[0].spec == spec, "{listed:?}");
    ensure!(pid_of(&listed.containers[0])? == pid, "another process");
    ensure!(node.exec(&spec.id, &["touch", "/go"]).await?.0 == 0);
    wait_for_log(&spec, "went on").await
}

pub(crate) async fn a_start_holds_what_it_was_given_though_its_client_is_gone(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", "exec sleep 1000");
    let path = node.dir.join("lock");
    let lock = File::create(&path)?;
    rustix::fs::flock(&lock, FlockOperation::LockShared)?;
    let is_free = || File::open(&path).map(|file| rustix::fs::flock(&file, NonBlockingLockExclusive).is_ok());

    // Its request is on the way, and not read yet.
    let supervisor = node.runtime.supervisor_pid().await?;
    let client = SupervisorRuntime::connect_or_start(&node.dir.join("runtime")).await?;
    signal(supervisor, Signal::STOP)?;
    let start = tokio::task::spawn_local({
        let (client, spec) = (client.clone(), spec.clone());
        async move { client.start_container(spec, Some(lock.into())).await }
    });
    let sent = until(async || Ok(!is_open_here(&path)?)).await;
    start.abort();
    drop((start.await, client));
    let free_meanwhile = is_free();
    signal(supervisor, Signal::CONT)?;
    sent?;
    ensure!(!free_meanwhile?, "what it is to be started from may be taken away");

    until(async || Ok(!node.runtime.list().await?.containers.is_empty())).await?;
    ensure!(is_free()?, "the list tells what it uses");
    Ok(())
}

/// Whether this process has the file open.
fn is_open_here(path: &Path) -> Result<bool> {
    let open = std::fs::read_dir("/proc/self/fd")?.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok(open.into_iter().any(|file| file == path))
}

/// Waits until something holds that nobody tells.
async fn until(holds: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let wait = async {
        while !holds().await? {
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, wait).await.context("it never holds")?
}

pub(crate) async fn an_exit_while_nobody_is_connected_is_known(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec = node.container(&sandbox, "main", "while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 42");
    let data = node.dir.join("data");
    std::fs::create_dir(&data)?;
    let spec = ContainerSpec { mounts: vec![volume(&data, "/tmp")], ..spec };
    // A supervisor of its own, so that no client at all is connected.
    let dir = node.dir.join("second");
    let pid = {
        let lonely = SupervisorRuntime::connect_or_start(&dir).await?;
        lonely.create_sandbox(SandboxSpec { cgroup: format!("{}/second", node.cgroup), ..sandbox }).await?;
        pid_of(&lonely.start_container(spec.clone(), None).await?)?
    };
    std::fs::write(data.join("go"), "")?;
    wait_for_end(pid).await?;

    let again = SupervisorRuntime::connect_or_start(&dir).await?;
    let mut exits = again.exits();
    let listed = again.list().await?.containers.remove(0);
    let code = match listed.state {
        ContainerState::Exited { code, .. } => code,
        // Reaped, not concluded yet.
        ContainerState::Running { .. } => exit_of(&mut exits, &spec.id).await?.0,
    };
    ensure!(code == 42, "{code}");
    again.remove_container(&spec.id).await?;
    again.remove_sandbox(&spec.sandbox).await?;
    again.shutdown_supervisor().await?;
    Ok(())
}

pub(crate) async fn a_killed_supervisors_containers_are_adopted(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, pid) = node.sleeper(&sandbox, "main").await?;
    let ended = node.container(&sandbox, "ended", "exit 9");
    let mut exits = node.runtime.exits();
    node.runtime.start_container(ended.clone(), None).await?;
    ensure!(exit_of(&mut exits, &ended.id).await? == (9, false));
    let before = node.runtime.list().await?;
    kill_supervisor(&node).await?;

    let after = node.runtime.list().await?;
    ensure!(after == before, "{before:?}\n{after:?}");
    ensure!(node.exec(&spec.id, &["hostname"]).await?.1 == "p\n", "exec works in an adopted container");
    // It is nobody's child now: its end is seen, its code cannot be.
    let mut exits = node.runtime.exits();
    node.runtime.kill_container(&spec.id, 9).await?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (137, false));
    wait_for_end(pid).await?;
    // And the sandbox still takes containers.
    let late = node.container(&sandbox, "late", "exit 4");
    node.runtime.start_container(late.clone(), None).await?;
    ensure!(exit_of(&mut exits, &late.id).await? == (4, false));
    Ok(())
}

pub(crate) async fn the_log_goes_on_after_adoption(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    // More than a pipe holds, so that it must wait for the new supervisor.
    let script = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); echo line $n; \
        if [ $n = 500 ]; then while [ ! -e /tmp/go ]; do sleep 0.01; done; fi; done; echo done; exec sleep 1000";
    let data = node.dir.join("data");
    std::fs::create_dir(&data)?;
    let mut spec = node.container(&sandbox, "main", script);
    spec.mounts.push(volume(&data, "/tmp"));
    let info = node.runtime.start_container(spec.clone(), None).await?;
    wait_for_log(&spec, "line 500").await?;
    kill_supervisor(&node).await?;
    std::fs::write(data.join("go"), "")?;
    wait_for_log(&spec, "done").await?;
    ensure!(node.runtime.list().await?.containers[0].state == info.state);
    let expected: Vec<_> = (1..=20_000).map(|n| format!("line {n}")).chain(["done".to_owned()]).collect();
    ensure!(log_of(&spec)? == expected.join("\n"), "lines lost, doubled or mixed");
    Ok(())
}

/// A container whose supervisor was killed, with nobody left to start another one.
struct Abandoned {
    dir: PathBuf,
    sandbox: SandboxSpec,
    spec: ContainerSpec,
    pid: i32,
}

impl Abandoned {
    async fn new(node: &Node) -> Result<Self> {
        let dir = node.dir.join("second");
        let sandbox = SandboxSpec { cgroup: format!("{}/second", node.cgroup), ..node.sandbox("p") };
        let spec = node.container(&sandbox, "main", "exec sleep 1000");
        let lonely = SupervisorRuntime::connect_or_start(&dir).await?;
        lonely.create_sandbox(sandbox.clone()).await?;
        let pid = pid_of(&lonely.start_container(spec.clone(), None).await?)?;
        let supervisor = lonely.supervisor_pid().await?;
        drop(lonely);
        kill(supervisor)?;
        wait_for_end(supervisor).await?;
        Ok(Self { dir, sandbox, spec, pid })
    }

    fn container_dir(&self) -> PathBuf {
        self.dir.join("containers").join(&self.spec.id.0)
    }

    /// The end of a container nobody saw end is listed and written down with its reason.
    async fn is_listed_as_ended(&self, runtime: &SupervisorRuntime, reason: &str) -> Result<()> {
        let listed = runtime.list().await?;
        let state = listed.containers.first().map(|c| &c.state);
        ensure!(matches!(state, Some(ContainerState::Exited { code: 137, oom_killed: false, .. })), "{listed:?}");
        let record = std::fs::read_to_string(self.container_dir().join("record.json"))?;
        ensure!(record.contains(reason), "{record}");
        Ok(())
    }

    async fn clean_up(&self, runtime: SupervisorRuntime) -> Result<()> {
        for container in runtime.list().await?.containers {
            runtime.remove_container(&container.spec.id).await?;
        }
        runtime.remove_sandbox(&self.sandbox.id).await?;
        runtime.shutdown_supervisor().await?;
        Ok(())
    }
}

pub(crate) async fn an_end_without_any_supervisor_is_reported_as_unknown(node: Rc<Node>) -> Result<()> {
    let abandoned = Abandoned::new(&node).await?;
    kill(abandoned.pid)?;
    wait_for_end(abandoned.pid).await?;
    let again = SupervisorRuntime::connect_or_start(&abandoned.dir).await?;
    abandoned.is_listed_as_ended(&again, "ended while no supervisor ran").await?;
    abandoned.clean_up(again).await
}

pub(crate) async fn what_cannot_be_adopted_is_ended(node: Rc<Node>) -> Result<()> {
    let abandoned = Abandoned::new(&node).await?;
    std::fs::remove_file(abandoned.container_dir().join("stdout"))?;
    let again = SupervisorRuntime::connect_or_start(&abandoned.dir).await?;
    wait_for_end(abandoned.pid).await?;
    abandoned.is_listed_as_ended(&again, "No such file").await?;
    abandoned.clean_up(again).await
}

pub(crate) async fn what_has_no_record_is_cleared_away(node: Rc<Node>) -> Result<()> {
    let abandoned = Abandoned::new(&node).await?;
    std::fs::write(abandoned.container_dir().join("record.json"), "{")?;
    // What a supervisor leaves that is killed while it writes a container's first record.
    let half_made = node.container(&abandoned.sandbox, "half-made", "exec sleep 1000");
    let dir = abandoned.dir.join("containers").join(&half_made.id.0);
    std::fs::create_dir(&dir)?;
    std::fs::write(dir.join(".record.next"), "{")?;

    let again = SupervisorRuntime::connect_or_start(&abandoned.dir).await?;
    wait_for_end(abandoned.pid).await.context("the one whose record cannot be read")?;
    ensure!(again.list().await?.containers.is_empty());
    ensure!(!dir.exists(), "the directory of a container that never was");
    for spec in [&abandoned.spec, &half_made] {
        again.start_container(spec.clone(), None).await.context("again under its name")?;
    }
    abandoned.clean_up(again).await
}

pub(crate) async fn a_lost_supervisor_comes_back_by_itself(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let data = node.dir.join("data");
    std::fs::create_dir(&data)?;
    let (spec, pid) = node.sleeper(&sandbox, "main").await?;
    let mut exits = node.runtime.exits();
    // Nobody calls: the client's own watch brings the supervisor back, and the exit is told.
    kill_supervisor(&node).await?;
    kill(pid)?;
    ensure!(exit_of(&mut exits, &spec.id).await? == (137, false));
    Ok(())
}

pub(crate) async fn a_supervisor_killed_during_a_start_leaves_all_or_nothing(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let mut outcomes = [0, 0];
    // The delay is where in the start the blow falls, from its first step to after its end.
    for delay_ms in (0..40).step_by(4) {
        let spec = node.container(&sandbox, &format!("c{delay_ms}"), "exec sleep 1000");
        let supervisor = node.runtime.supervisor_pid().await?;
        let (runtime, starting) = (node.runtime.clone(), spec.clone());
        let start = tokio::task::spawn_local(async move { runtime.start_container(starting, None).await });
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        kill(supervisor)?;
        wait_for_end(supervisor).await?;
        let answer = start.await?;
        let listed = node.runtime.list().await?.containers;
        let known = listed.iter().find(|c| c.spec.id == spec.id);
        if answer.is_ok() {
            ensure!(known.is_some(), "answered, then forgotten");
        }
        match known {
            Some(info) => {
                pid_of(info)?;
                ensure!(node.exec(&spec.id, &["true"]).await? == (0, String::new()));
            }
            None => {
                let dir = node.dir.join("runtime/containers").join(&spec.id.0);
                ensure!(!dir.exists(), "left: {}", dir.display());
                let left = cgroup_directories(&format!("{}/podp/{}", node.cgroup, spec.id.0));
                ensure!(left.is_empty(), "groups left: {left:?}");
                node.runtime.start_container(spec, None).await.context("again under its name")?;
            }
        }
        outcomes[usize::from(known.is_some())] += 1;
    }
    ensure!(outcomes[0] > 0, "every start won the race: {outcomes:?}");
    Ok(())
}

pub(crate) async fn two_clients_share_one_supervisor(node: Rc<Node>) -> Result<()> {
    let dir = node.dir.join("second");
    let both = tokio::join!(SupervisorRuntime::connect_or_start(&dir), SupervisorRuntime::connect_or_start(&dir));
    let (one, two) = (both.0?, both.1?);
    ensure!(one.supervisor_pid().await? == two.supervisor_pid().await?);
    let argument = std::fs::read(format!("/proc/{}/cmdline", one.supervisor_pid().await?))?;
    ensure!(argument.starts_with(b"stead-supervisor\0"), "{argument:?}");
    let program = std::fs::read_link(format!("/proc/{}/exe", one.supervisor_pid().await?))?;
    ensure!(program.to_string_lossy().starts_with("/memfd:"), "{program:?}");
    let threads = std::fs::read_dir(format!("/proc/{}/task", one.supervisor_pid().await?))?.count();
    ensure!(threads == 1, "{threads} threads");
    // One that does not know that it was shut down would bring it back.
    drop(two);
    one.shutdown_supervisor().await?;
    let result = one.list().await;
    ensure!(result == Err(RuntimeError::Unreachable("it was shut down".into())), "{result:?}");
    Ok(())
}

pub(crate) async fn a_supervisor_with_containers_does_not_shut_down(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    node.sleeper(&sandbox, "main").await?;
    let result = node.runtime.shutdown_supervisor().await;
    ensure!(result == Err(RuntimeError::Other("1 containers and 1 sandboxes are left".into())), "{result:?}");
    ensure!(node.runtime.list().await?.containers.len() == 1);
    Ok(())
}

async fn kill_supervisor(node: &Node) -> Result<()> {
    let supervisor = node.runtime.supervisor_pid().await?;
    kill(supervisor)?;
    wait_for_end(supervisor).await
}
