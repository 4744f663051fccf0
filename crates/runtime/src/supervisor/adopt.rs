//! Taking over from a supervisor that was killed, or from another run of the machine.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use jiff::Timestamp;
use rustix::process::{Pid, PidfdFlags};

use super::records::{self, ContainerRecord, Phase, SandboxRecord};
use super::table::{Entry, Process};
use super::{Supervisor, exits, pump, sandboxes};
use crate::logs::LogFile;
use crate::types::{ContainerInfo, ContainerSpec, ContainerState};

impl Supervisor {
    /// Reads every record and takes up what it tells of. What cannot be taken up is logged and left.
    pub(super) async fn adopt(self: &Rc<Self>) {
        for dir in directories(&self.layout.sandboxes()) {
            if let Err(e) = self.adopt_sandbox(&dir).await {
                tracing::error!(dir = %dir.display(), %e, "failed to adopt a sandbox");
            }
        }
        for dir in directories(&self.layout.containers()) {
            if let Err(e) = self.adopt_container(&dir).await {
                tracing::error!(dir = %dir.display(), %e, "failed to adopt a container");
            }
        }
    }

    async fn adopt_sandbox(&self, dir: &Path) -> io::Result<()> {
        let record: SandboxRecord = records::read(dir)?;
        let sandbox = record.sandbox;
        if record.boot == self.boot && sandboxes::is_pinned(dir) {
            self.table.borrow_mut().sandboxes.insert(sandbox.spec.id.clone(), sandbox);
            return Ok(());
        }
        self.discard_sandbox(dir, sandbox.spec).await.map_err(io::Error::other)
    }

    async fn adopt_container(self: &Rc<Self>, dir: &Path) -> io::Result<()> {
        let record: ContainerRecord = records::read(dir)?;
        match record.phase {
            Phase::Creating => self.clear_away(dir, &record.cgroup).await.map_err(io::Error::other),
            Phase::Exited { info, unknown: _ } => {
                self.insert(Entry::new(*info, record.cgroup, Process::Ended, Vec::new()));
                Ok(())
            }
            Phase::Started { pid, start_ticks, boot, started_at } => {
                let process = if boot == self.boot { find(pid, start_ticks)? } else { None };
                self.adopt_started(dir, record.spec, record.cgroup, pid, started_at, process).await
            }
        }
    }

    async fn adopt_started(
        self: &Rc<Self>,
        dir: &Path,
        spec: ContainerSpec,
        cgroup: PathBuf,
        pid: i32,
        started_at: Timestamp,
        process: Option<OwnedFd>,
    ) -> io::Result<()> {
        let id = spec.id.clone();
        let log_path = spec.log_path.clone();
        let info = ContainerInfo { spec, started_at, state: ContainerState::Running { pid } };
        let Some(process) = process else {
            self.insert(Entry::new(info, cgroup, Process::Ended, Vec::new()));
            let reason = "ended while no supervisor ran".to_owned();
            Rc::clone(self).conclude(id, exits::UNKNOWN_CODE, Some(reason)).await;
            return Ok(());
        };
        // A terminal's output is lost with the supervisor that held it; pipes are still there.
        let pumps = pump::start(pump::open(dir)?, None, LogFile::open(&log_path)?)?;
        let process = Rc::new(process);
        self.insert(Entry::new(info, cgroup, Process::Adopted(Rc::clone(&process)), pumps));
        tracing::info!(container = %id.0, pid, "adopted");
        self.watch_adopted(id, &process)
    }

    fn insert(&self, entry: Entry) {
        self.table.borrow_mut().containers.insert(entry.info.spec.id.clone(), entry);
    }
}

/// The process that had this number and start time, if it still runs.
fn find(pid: i32, start_ticks: u64) -> io::Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let process = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        process => process?,
    };
    // Looked at after it is held, so that it cannot become another one in between.
    Ok((records::start_ticks(pid) == Some(start_ticks)).then_some(process))
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    match std::fs::read_dir(parent) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|p| p.is_dir()).collect(),
        Err(e) => {
            tracing::error!(dir = %parent.display(), %e, "failed to list");
            Vec::new()
        }
    }
}
