//! Ends: reaping children, writing down how a container ended, then telling.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Supervisor;
use super::records::{self, ContainerRecord, Durability, Phase};
use super::table::{Owner, Process};
use super::{readiness, signals};
use crate::protocol::Message;
use crate::types::{ContainerId, ContainerState};

/// How long the end of a container waits for its output to end. The kernel has killed whatever else ran
/// in it, so there is something to wait for only where it shared the node's processes.
const DRAIN: Duration = Duration::from_secs(1);

/// The exit code of a container nobody saw end (contract `pods.md` 2.5).
pub(super) const UNKNOWN_CODE: i32 = 137;

/// Reaps children.
pub(super) struct Reaper(Signal);

impl Reaper {
    /// From now on no child's end is missed.
    pub(super) fn new() -> io::Result<Self> {
        signal(SignalKind::child()).map(Self)
    }

    pub(super) async fn run(mut self, supervisor: Rc<Supervisor>) {
        while self.0.recv().await.is_some() {
            // One signal may stand for many ends.
            loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Ok(Some((pid, status))) => supervisor.reaped(pid.as_raw_nonzero().get(), status),
                    Ok(None) | Err(rustix::io::Errno::CHILD) => break,
                    Err(e) => {
                        tracing::error!(%e, "failed to reap");
                        break;
                    }
                }
            }
        }
    }
}

impl Supervisor {
    fn reaped(self: &Rc<Self>, pid: i32, status: WaitStatus) {
        let Some(code) = exit_code(status) else { return };
        if self.workers.reaped(pid) {
            return;
        }
        let mut table = self.table.borrow_mut();
        if table.owners.contains_key(&pid) {
            drop(table);
            self.ended(pid, code);
        } else if table.starting > 0 {
            table.unclaimed.insert(pid, code);
        }
    }

    /// Makes `owner` the owner of a process that a job has just started, which may have ended already.
    pub(super) fn claim(self: &Rc<Self>, pid: i32, owner: Owner) {
        let mut table = self.table.borrow_mut();
        table.owners.insert(pid, owner);
        let ended = table.unclaimed.remove(&pid);
        drop(table);
        // An end noted for a number that still has a process was that of an earlier process.
        if let Some(code) = ended.filter(|_| !signals::exists(pid)) {
            self.ended(pid, code);
        }
    }

    /// Begins a job whose process is to be claimed.
    pub(super) fn expect_child(&self) {
        self.table.borrow_mut().starting += 1;
    }

    /// Ends it, claimed or failed.
    pub(super) fn child_settled(&self) {
        let mut table = self.table.borrow_mut();
        table.starting -= 1;
        if table.starting == 0 {
            table.unclaimed.clear();
        }
    }

    /// An owned process has been reaped.
    fn ended(self: &Rc<Self>, pid: i32, code: i32) {
        let owner = self.table.borrow_mut().owners.remove(&pid);
        match owner {
            Some(Owner::Container(id)) => self.container_ended(id, code, None),
            Some(Owner::Exec { number, client }) => client.send(&Message::ExecExited { exec: number, code }),
            None => {}
        }
    }

    /// Watches a container that is not our child.
    pub(super) fn watch_adopted(self: &Rc<Self>, id: ContainerId, process: &OwnedFd) -> io::Result<()> {
        let watched = readiness::watch(process.try_clone()?)?;
        let supervisor = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if let Err(e) = watched.readable().await {
                tracing::error!(%e, container = %id.0, "failed to watch");
            }
            let reason = "ended while it was nobody's child: its supervisor had been killed";
            supervisor.container_ended(id, UNKNOWN_CODE, Some(reason.into()));
        });
        Ok(())
    }

    /// Notes at once that the process number means nothing any more; the rest takes its time.
    fn container_ended(self: &Rc<Self>, id: ContainerId, code: i32, unknown: Option<String>) {
        if let Some(entry) = self.table.borrow_mut().containers.get_mut(&id) {
            entry.process = Process::Ended;
        }
        tokio::task::spawn_local(Rc::clone(self).conclude(id, code, unknown));
    }

    /// Writes a container's end down, then tells it.
    pub(super) async fn conclude(self: Rc<Self>, id: ContainerId, code: i32, unknown: Option<String>) {
        let (pumps, mut info, cgroup) = {
            let mut table = self.table.borrow_mut();
            let Some(entry) = table.containers.get_mut(&id) else { return };
            (std::mem::take(&mut entry.pumps), entry.info.clone(), entry.cgroup.clone())
        };
        let drained = async {
            for pump in pumps {
                if let Err(e) = pump.await {
                    tracing::error!(%e, container = %id.0, "log pump failed");
                }
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!(container = %id.0, "output goes on after the end");
        }
        info.state = ContainerState::Exited {
            code,
            oom_killed: code != 0 && self.cgroups.oom_kills(&cgroup) > 0,
            // The wall clock may have stepped back since the start.
            finished_at: Timestamp::now().max(info.started_at),
        };
        let record = ContainerRecord {
            spec: info.spec.clone(),
            cgroup,
            phase: Phase::Exited { info: Box::new(info.clone()), unknown },
        };
        let written = self
            .layout
            .container(&id)
            .map_err(io::Error::other)
            .and_then(|dir| records::write(&dir, &record, Durability::Machine));
        if let Err(e) = written {
            // Still told: a full disk must not hide an end. A successor would report it as unknown.
            tracing::error!(%e, container = %id.0, "failed to record an end");
        }
        tracing::debug!(container = %id.0, code, "ended");
        if let Some(entry) = self.table.borrow_mut().containers.get_mut(&id) {
            entry.info = info.clone();
            entry.gone.send_replace(true);
        }
        self.clients.broadcast(&Message::Exited(Box::new(info)));
    }
}

/// The code the API shows: 128 + signal for a signal death; none for a process that only stopped.
fn exit_code(status: WaitStatus) -> Option<i32> {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
}
