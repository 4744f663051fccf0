//! Processes run in a container that is already there.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use stead_runtime::*;

use crate::lifecycle::wait_for_log;
use crate::support::{Node, PATIENCE, wait_for_end};

pub(crate) async fn output_code_and_environment_come_back(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let mut spec = node.container(&sandbox, "main", "exec sleep 1000");
    spec.env.push(("GREETING".into(), "hello".into()));
    spec.cwd = "/tmp".into();
    node.runtime.start_container(spec.clone(), None).await?;
    let (code, output) = node.exec(&spec.id, &["sh", "-c", "echo $GREETING; pwd; echo err >&2; exit 5"]).await?;
    ensure!((code, &*output) == (5, "hello\n/tmp\nerr\n"), "{code} {output}");
    ensure!(node.exec(&spec.id, &["sh", "-c", "kill -9 $$"]).await? == (137, String::new()));
    // The same processes as the container's: its first one is the sleeper.
    let (_, output) = node.exec(&spec.id, &["cat", "/proc/1/cmdline"]).await?;
    ensure!(output == "sleep\x001000\x00", "{output:?}");
    Ok(())
}

pub(crate) async fn a_missing_program_is_said_like_everywhere(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, _) = node.sleeper(&sandbox, "main").await?;
    let missing = ExecSpec { args: vec!["nothing".into()], tty: false };
    let result = node.runtime.exec(&spec.id, missing.clone(), ExecStdio::default()).await.map(drop);
    ensure!(
        result == Err(RuntimeError::Start("exec: \"nothing\": executable file not found in $PATH".into())),
        "{result:?}"
    );
    let result = node.runtime.exec(&ContainerId("none".into()), missing, ExecStdio::default()).await.map(drop);
    ensure!(result == Err(RuntimeError::NotFound("running container none".into())), "{result:?}");
    ensure!(node.exec(&spec.id, &["true"]).await? == (0, String::new()), "the container goes on");
    Ok(())
}

pub(crate) async fn an_exec_is_confined_like_its_container(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, pid) = node.sleeper(&sandbox, "main").await?;
    let script = "while read name value; do case $name in CapBnd:|CapEff:|Seccomp:) echo $value;; esac; done < /proc/self/status";
    let (_, output) = node.exec(&spec.id, &["sh", "-c", script]).await?;
    ensure!(output == "00000000a80425fb\n00000000a80425fb\n2\n", "{output}");
    let (_, groups) = node.exec(&spec.id, &["cat", "/proc/self/cgroup"]).await?;
    let expected = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    ensure!(groups == expected, "{groups}");
    Ok(())
}

pub(crate) async fn a_terminal_controls_the_process(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, _) = node.sleeper(&sandbox, "main").await?;
    let terminal = nix::pty::openpty(None, None)?;
    let inner = |fd: &OwnedFd| fd.try_clone().map(Some);
    let stdio =
        ExecStdio { stdin: inner(&terminal.slave)?, stdout: inner(&terminal.slave)?, stderr: inner(&terminal.slave)? };
    drop(terminal.slave);
    let script = "test -t 0 && echo terminal; echo > /dev/tty && echo controlling; echo $TERM";
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let handle = node.runtime.exec(&spec.id, ExecSpec { args, tty: true }, stdio).await?;
    ensure!(tokio::time::timeout(PATIENCE, handle.exit).await?? == 0);
    let mut output = Vec::new();
    // The end of a terminal is an error once its last inner end is closed.
    std::fs::File::from(terminal.master).read_to_end(&mut output).ok();
    let output = String::from_utf8(output)?.replace('\r', "");
    ensure!(output == "terminal\n\ncontrolling\nxterm\n", "{output:?}");
    Ok(())
}

pub(crate) async fn standard_input_is_the_callers(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, _) = node.sleeper(&sandbox, "main").await?;
    let (stdin, mut to_it) = std::io::pipe()?;
    let (mut from_it, stdout) = std::io::pipe()?;
    let stdio = ExecStdio { stdin: Some(stdin.into()), stdout: Some(stdout.into()), stderr: None };
    let exec = ExecSpec { args: vec!["cat".into()], tty: false };
    let handle = node.runtime.exec(&spec.id, exec, stdio).await?;
    to_it.write_all(b"through the cat")?;
    drop(to_it);
    ensure!(tokio::time::timeout(PATIENCE, handle.exit).await?? == 0);
    let mut output = String::new();
    from_it.read_to_string(&mut output)?;
    ensure!(output == "through the cat");
    Ok(())
}

pub(crate) async fn dropping_the_handle_kills_the_process(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let spec =
        node.container(&sandbox, "main", "while [ ! -e /started ]; do sleep 0.01; done; echo up; exec sleep 1000");
    let info = node.runtime.start_container(spec.clone(), None).await?;
    let args = ["sh", "-c", "touch /started; exec sleep 1000"].map(str::to_owned).to_vec();
    let handle = node.runtime.exec(&spec.id, ExecSpec { args, tty: false }, ExecStdio::default()).await?;
    wait_for_log(&spec, "up").await?;
    let group = format!("{}/podp/{}", node.cgroup, spec.id.0);
    let first = crate::support::pid_of(&info)?;
    let dir = crate::support::cgroup_directories(&group).into_iter().next().context("no group")?;
    let pids: Vec<i32> =
        std::fs::read_to_string(dir.join("cgroup.procs"))?.lines().map(str::parse).collect::<Result<_, _>>()?;
    let other = *pids.iter().find(|pid| **pid != first).context("no exec")?;
    drop(handle);
    wait_for_end(other).await?;
    ensure!(node.exec(&spec.id, &["true"]).await?.0 == 0, "the container goes on");
    Ok(())
}

pub(crate) async fn giving_up_on_an_exec_that_is_starting_leaves_no_process(node: Rc<Node>) -> Result<()> {
    let sandbox = node.make_sandbox("p").await?;
    let (spec, first) = node.sleeper(&sandbox, "main").await?;
    let (reader, writer) = std::io::pipe()?;
    let stdio = ExecStdio { stdin: None, stdout: Some(writer.into()), stderr: None };
    let args = ["sleep", "1000"].map(str::to_owned).to_vec();
    {
        let mut exec = pin!(node.runtime.exec(&spec.id, ExecSpec { args, tty: false }, stdio));
        // Asked for, not answered: what a probe gives up that is out of time already.
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        ensure!(exec.as_mut().poll(&mut context).is_pending());
    }
    // Its output ends when the process does.
    let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
    let mut read = Vec::new();
    tokio::time::timeout(PATIENCE, tokio::io::AsyncReadExt::read_to_end(&mut output, &mut read))
        .await
        .context("the process lives on")??;
    let group = format!("{}/podp/{}", node.cgroup, spec.id.0);
    let dir = crate::support::cgroup_directories(&group).into_iter().next().context("no group")?;
    // A process leaves its group a moment after it has closed what it had open.
    for pid in std::fs::read_to_string(dir.join("cgroup.procs"))?.lines().map(str::parse) {
        let pid: i32 = pid?;
        if pid != first {
            wait_for_end(pid).await?;
        }
    }
    ensure!(node.exec(&spec.id, &["true"]).await?.0 == 0, "the container goes on");
    Ok(())
}
