//! What clients ask of containers.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags};

use super::Supervisor;
use super::connections::Outbox;
use super::records::{self, ContainerRecord, Durability, Phase};
use super::table::{Entry, Owner, Process};
use super::{pump, readiness, signals};
use crate::layout::container_cgroup;
use crate::logs::LogFile;
use crate::protocol::{Answer, Job, Message, Outcome, StdioSlots};
use crate::types::{ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExecSpec, RuntimeError, Sandbox};

/// How long killed processes may take to be gone; one that waits on a dead disk may take for ever.
const DEATH_LIMIT: Duration = Duration::from_secs(10);
/// Rounds of killing what is in a cgroup; a new round catches what was forked during the last.
const KILL_ROUNDS_MAX: usize = 10;

impl Supervisor {
    /// Creates and starts a container.
    pub(super) async fn start_container(self: &Rc<Self>, spec: ContainerSpec) -> Result<ContainerInfo, RuntimeError> {
        let dir = self.layout.container(&spec.id)?;
        if spec.args.is_empty() {
            return Err(RuntimeError::Create("no command specified".into()));
        }
        let lock = self.lock_of(format!("container {}", spec.id.0));
        let _guard = lock.write().await;
        // The sandbox stays while anything is being started in it.
        let sandbox_lock = self.lock_of(format!("sandbox {}", spec.sandbox.0));
        let _sandbox_guard = sandbox_lock.read().await;
        let sandbox = {
            let table = self.table.borrow();
            if table.containers.contains_key(&spec.id) {
                return Err(RuntimeError::Create(format!("container {} exists already", spec.id.0)));
            }
            let sandbox = table.sandboxes.get(&spec.sandbox).cloned();
            sandbox.ok_or_else(|| RuntimeError::NotFound(format!("sandbox {}", spec.sandbox.0)))?
        };
        let cgroup = container_cgroup(&sandbox.spec.cgroup, &spec.id);
        // What is there but not known was left by a start whose clearing away failed.
        if dir.exists() {
            self.clear_away(&dir, vec![cgroup.clone()]).await?;
        }
        self.expect_child();
        let started = self.start_in(&dir, spec, sandbox, &cgroup).await;
        self.child_settled();
        if started.is_err()
            && let Err(e) = self.clear_away(&dir, vec![cgroup]).await
        {
            tracing::error!(%e, dir = %dir.display(), "failed to clear away a container that did not start");
        }
        started
    }

    async fn start_in(
        self: &Rc<Self>,
        dir: &Path,
        spec: ContainerSpec,
        sandbox: Sandbox,
        cgroup: &Path,
    ) -> Result<ContainerInfo, RuntimeError> {
        let failed = |e: io::Error| RuntimeError::Create(e.to_string());
        let (record, outputs, log) = make_directory(dir, &spec, cgroup).map_err(failed)?;
        let job = Job::Start {
            dir: dir.to_path_buf(),
            spec: Box::new(spec),
            sandbox_dir: self.layout.sandbox(&sandbox.spec.id)?,
            sandbox: sandbox.spec,
        };
        let (outcome, mut fds) = self.workers.run(&job, Vec::new()).await?;
        let Outcome::Started { pid } = outcome else {
            return Err(RuntimeError::Other("worker gave another job's outcome".into()));
        };
        let started_at = Timestamp::now();
        let record = ContainerRecord {
            phase: Phase::Started {
                pid,
                // A process that is gone already is no other's: nothing will match.
                start_ticks: records::start_ticks(pid).unwrap_or(0),
                boot: self.boot.clone(),
                started_at,
            },
            ..record
        };
        records::write(dir, &record, Durability::Process).map_err(failed)?;
        let pumps = pump::start(outputs, fds.pop(), log).map_err(failed)?;
        let info = ContainerInfo { spec: record.spec, started_at, state: ContainerState::Running { pid } };
        let id = info.spec.id.clone();
        let entry = Entry::new(info.clone(), cgroup.to_path_buf(), Process::Child(pid), pumps);
        self.table.borrow_mut().containers.insert(id.clone(), entry);
        self.claim(pid, Owner::Container(id));
        Ok(info)
    }

    /// Signals a container's first process.
    pub(super) fn kill_container(&self, id: &ContainerId, signal: i32) -> Result<(), RuntimeError> {
        let process = self.table.borrow().containers.get(id).map(|entry| entry.process.clone());
        let sent = match process {
            None | Some(Process::Ended) => Ok(()),
            Some(Process::Child(pid)) => signals::send(pid, signal),
            Some(Process::Adopted(process)) => signals::send_by_descriptor(&process, signal),
        };
        sent.map_err(|e| RuntimeError::Other(format!("failed to signal container {}: {e}", id.0)))
    }

    /// Kills what is left of a container, undoes its mounts and cgroup, forgets it.
    pub(super) async fn remove_container(self: &Rc<Self>, id: &ContainerId) -> Result<(), RuntimeError> {
        let dir = self.layout.container(id)?;
        let lock = self.lock_of(format!("container {}", id.0));
        let _guard = lock.write().await;
        let known = {
            let table = self.table.borrow();
            table.containers.get(id).map(|entry| (entry.cgroup.clone(), entry.gone.subscribe()))
        };
        let Some((cgroup, mut gone)) = known else { return Ok(()) };
        self.kill_container(id, libc::SIGKILL)?;
        self.kill_cgroup(&cgroup).await?;
        // The end is written down and told before the container is forgotten.
        let concluded = tokio::time::timeout(DEATH_LIMIT, gone.wait_for(|gone| *gone)).await;
        if !matches!(concluded, Ok(Ok(_))) {
            return Err(RuntimeError::Other(format!("container {} does not die", id.0)));
        }
        drop(concluded);
        self.workers.run(&Job::Remove { dir, cgroups: vec![cgroup] }, Vec::new()).await?;
        self.table.borrow_mut().containers.remove(id);
        Ok(())
    }

    /// Undoes a start that failed, however far it came.
    pub(super) async fn clear_away(&self, dir: &Path, cgroups: Vec<PathBuf>) -> Result<(), RuntimeError> {
        for cgroup in &cgroups {
            self.kill_cgroup(cgroup).await?;
        }
        self.workers.run(&Job::Remove { dir: dir.to_path_buf(), cgroups }, Vec::new()).await.map(drop)
    }

    /// Kills every process of a cgroup and waits until they are gone.
    pub(super) async fn kill_cgroup(&self, cgroup: &Path) -> Result<(), RuntimeError> {
        let failed = |e: &dyn std::fmt::Display| RuntimeError::Other(format!("failed to kill processes: {e}"));
        for _ in 0..KILL_ROUNDS_MAX {
            let pids = self.cgroups.pids(cgroup).map_err(|e| failed(&e))?;
            if pids.is_empty() {
                return Ok(());
            }
            tokio::time::timeout(DEATH_LIMIT, kill_all(pids)).await.map_err(|e| failed(&e))?.map_err(|e| failed(&e))?;
        }
        Err(failed(&"they keep coming"))
    }

    /// Runs a process in a container. Answers the call itself, so that the answer comes before the end.
    pub(super) async fn exec(
        self: &Rc<Self>,
        id: &ContainerId,
        spec: ExecSpec,
        stdio: StdioSlots,
        fds: Vec<OwnedFd>,
        number: u64,
        client: &Outbox,
    ) -> Result<(), RuntimeError> {
        let container = {
            let table = self.table.borrow();
            let entry = table.containers.get(id).filter(|entry| !matches!(entry.process, Process::Ended));
            let entry = entry.ok_or_else(|| RuntimeError::NotFound(format!("running container {}", id.0)))?;
            Box::new(entry.info.spec.clone())
        };
        let job = Job::Exec { dir: self.layout.container(id)?, container, spec, stdio };
        self.expect_child();
        let result = self.workers.run(&job, fds).await;
        if let Ok((Outcome::Started { pid }, _)) = &result {
            client.send(&Message::Answer { number, answer: Answer::Done });
            self.claim(*pid, Owner::Exec { number, client: client.clone() });
        }
        self.child_settled();
        result.map(drop)
    }

    /// Kills the process an exec of this client started; one that has ended is success.
    pub(super) fn kill_exec(&self, exec: u64, client: &Outbox) -> Result<(), RuntimeError> {
        let table = self.table.borrow();
        let pid = table.owners.iter().find_map(|(pid, owner)| match owner {
            Owner::Exec { number, client: by } if *number == exec && by == client => Some(*pid),
            Owner::Exec { .. } | Owner::Container(_) => None,
        });
        let sent = pid.map_or(Ok(()), |pid| signals::send(pid, libc::SIGKILL));
        sent.map_err(|e| RuntimeError::Other(format!("failed to kill an exec: {e}")))
    }
}

/// Makes a container's directory with its first record, pipes and log, before anything is started.
fn make_directory(
    dir: &Path,
    spec: &ContainerSpec,
    cgroup: &Path,
) -> io::Result<(ContainerRecord, pump::Outputs, LogFile)> {
    fs::create_dir(dir)?;
    let record = ContainerRecord { spec: spec.clone(), cgroup: PathBuf::from(cgroup), phase: Phase::Creating };
    records::write(dir, &record, Durability::Process)?;
    pump::make_pipes(dir, spec)?;
    Ok((record, pump::open(dir)?, LogFile::open(&spec.log_path)?))
}

/// Kills processes and waits for each to be gone. Descriptors keep a number from being reused meanwhile.
async fn kill_all(pids: BTreeSet<i32>) -> io::Result<()> {
    let mut dying = Vec::new();
    for pid in pids.into_iter().filter_map(Pid::from_raw) {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => {
                signals::send_by_descriptor(&process, libc::SIGKILL)?;
                dying.push(readiness::watch(process)?);
            }
            Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(e.into()),
        }
    }
    for process in dying {
        process.readable().await?.retain_ready();
    }
    Ok(())
}
