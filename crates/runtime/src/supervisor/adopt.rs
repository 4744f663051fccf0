//! Taking over from a supervisor that was killed, or from another run of the machine.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::records::{self, ContainerRecord, Phase, SandboxRecord};
use super::table::{Entry, Process};
use super::{Supervisor, exits, pump, sandboxes};
use crate::layout::container_cgroup;
use crate::logs::LogFile;
use crate::types::{ContainerId, ContainerInfo, ContainerState};

impl Supervisor {
    /// Reads every record and takes up what it tells of. What cannot be taken up is ended and cleared away:
    /// nobody may run beside a successor of its own name.
    pub(super) async fn adopt(self: &Rc<Self>) {
        for dir in directories(&self.layout.sandboxes()) {
            if let Err(e) = self.adopt_sandbox(&dir).await {
                tracing::error!(dir = %dir.display(), %e, "failed to adopt a sandbox");
            }
        }
        for dir in directories(&self.layout.containers()) {
            let adopted = match records::read(&dir) {
                Ok(record) => self.adopt_container(&dir, record).await,
                Err(e) => self.clear_away_unknown(&dir, &e).await,
            };
            if let Err(e) = adopted {
                tracing::error!(dir = %dir.display(), %e, "failed to adopt a container");
            }
        }
    }

    async fn adopt_sandbox(&self, dir: &Path) -> io::Result<()> {
        let record: SandboxRecord = match records::read(dir) {
            // The first thing written into a directory is its record: there is nothing else to undo.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return stead_disk::remove_tree(dir),
            record => record?,
        };
        let sandbox = record.sandbox;
        if record.boot == self.boot && sandboxes::is_pinned(dir) {
            self.table.borrow_mut().sandboxes.insert(sandbox.spec.id.clone(), sandbox);
            return Ok(());
        }
        self.discard_sandbox(dir, sandbox.spec).await.map_err(io::Error::other)
    }

    /// Ends whatever runs under the name of a container whose record is not there or cannot be read. A
    /// supervisor killed before it had written the record leaves only the directory.
    async fn clear_away_unknown(&self, dir: &Path, unread: &io::Error) -> io::Result<()> {
        tracing::warn!(dir = %dir.display(), %unread, "cleared away: a container without a record");
        let id = ContainerId(dir.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let cgroups: Vec<PathBuf> =
            self.table.borrow().sandboxes.values().map(|s| container_cgroup(&s.spec.cgroup, &id)).collect();
        self.clear_away(dir, cgroups).await.map_err(io::Error::other)
    }

    async fn adopt_container(self: &Rc<Self>, dir: &Path, record: ContainerRecord) -> io::Result<()> {
        match record.phase {
            Phase::Creating => self.clear_away(dir, vec![record.cgroup]).await.map_err(io::Error::other),
            Phase::Exited { info, unknown: _ } => {
                self.insert(Entry::new(*info, record.cgroup, Process::Ended, Vec::new()));
                Ok(())
            }
            Phase::Started { pid, start_ticks, boot, started_at } => {
                let info = ContainerInfo { spec: record.spec, started_at, state: ContainerState::Running { pid } };
                let found = if boot == self.boot { records::find(pid, start_ticks) } else { Ok(None) };
                let taken_up = match found {
                    Ok(Some(process)) => self.adopt_running(dir, &info, &record.cgroup, process),
                    Ok(None) => Err(io::Error::other("ended while no supervisor ran")),
                    Err(e) => Err(e),
                };
                match taken_up {
                    Ok(()) => Ok(()),
                    Err(reason) => self.give_up(info, record.cgroup, reason.to_string()).await,
                }
            }
        }
    }

    /// Takes up a container that runs: its output and its end are seen from now on.
    fn adopt_running(
        self: &Rc<Self>,
        dir: &Path,
        info: &ContainerInfo,
        cgroup: &Path,
        process: OwnedFd,
    ) -> io::Result<()> {
        let id = info.spec.id.clone();
        // A terminal's output is lost with the supervisor that held it; pipes are still there.
        let pumps = pump::start(pump::open(dir)?, None, LogFile::open(&info.spec.log_path)?)?;
        let process = Rc::new(process);
        self.insert(Entry::new(info.clone(), cgroup.to_path_buf(), Process::Adopted(Rc::clone(&process)), pumps));
        self.watch_adopted(id.clone(), &process)?;
        tracing::info!(container = %id.0, "adopted");
        Ok(())
    }

    /// Ends what is left of a container that cannot be taken up, and tells its end as one nobody saw.
    async fn give_up(self: &Rc<Self>, info: ContainerInfo, cgroup: PathBuf, reason: String) -> io::Result<()> {
        let id = info.spec.id.clone();
        tracing::warn!(container = %id.0, reason, "given up");
        self.insert(Entry::new(info, cgroup.clone(), Process::Ended, Vec::new()));
        self.kill_cgroup(&cgroup).await.map_err(io::Error::other)?;
        Rc::clone(self).conclude(id, exits::UNKNOWN_CODE, Some(reason)).await;
        Ok(())
    }

    fn insert(&self, entry: Entry) {
        self.table.borrow_mut().containers.insert(entry.info.spec.id.clone(), entry);
    }
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
