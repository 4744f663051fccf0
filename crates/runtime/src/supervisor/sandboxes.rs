//! What clients ask of sandboxes.

use std::fs;
use std::io;
use std::path::Path;
use std::rc::Rc;

use jiff::Timestamp;

use super::Supervisor;
use super::records::{self, Durability, SandboxRecord};
use crate::protocol::Job;
use crate::types::{ContainerState, RuntimeError, Sandbox, SandboxId, SandboxSpec};

/// File system type of a file that holds a namespace (`NSFS_MAGIC`).
const NAMESPACE_FILE_SYSTEM: rustix::fs::FsWord = 0x6e73_6673;

impl Supervisor {
    /// Makes a sandbox, or gives the one there is.
    pub(super) async fn create_sandbox(self: &Rc<Self>, spec: SandboxSpec) -> Result<Sandbox, RuntimeError> {
        let dir = self.layout.sandbox(&spec.id)?;
        let lock = self.lock_of(format!("sandbox {}", spec.id.0));
        let _guard = lock.write().await;
        let known = self.table.borrow().sandboxes.get(&spec.id).cloned();
        if let Some(sandbox) = known {
            if is_pinned(&dir) {
                return Ok(sandbox);
            }
            self.discard_sandbox(&dir, sandbox.spec).await?;
        } else if dir.exists() {
            // Left where the record could not be written or read.
            self.discard_sandbox(&dir, spec.clone()).await?;
        }
        let sandbox =
            Sandbox { netns: (!spec.host_network).then(|| dir.join("net")), created_at: Timestamp::now(), spec };
        let made = self.make_sandbox(&dir, &sandbox).await;
        if let Err(e) = made {
            if let Err(e) = self.discard_sandbox(&dir, sandbox.spec).await {
                tracing::error!(%e, dir = %dir.display(), "failed to clear away a sandbox");
            }
            return Err(e);
        }
        self.table.borrow_mut().sandboxes.insert(sandbox.spec.id.clone(), sandbox.clone());
        Ok(sandbox)
    }

    async fn make_sandbox(&self, dir: &Path, sandbox: &Sandbox) -> Result<(), RuntimeError> {
        let record = SandboxRecord { sandbox: sandbox.clone(), boot: self.boot.clone() };
        let written = fs::create_dir(dir).and_then(|()| records::write(dir, &record, Durability::Process));
        written.map_err(|e: io::Error| RuntimeError::Create(format!("failed to record the sandbox: {e}")))?;
        let job = Job::CreateSandbox { dir: dir.to_path_buf(), spec: sandbox.spec.clone() };
        self.workers.run(&job, Vec::new()).await.map(drop)
    }

    /// Releases a sandbox. Fails while a container of it lives; an unknown one is success.
    pub(super) async fn remove_sandbox(self: &Rc<Self>, id: &SandboxId) -> Result<(), RuntimeError> {
        let dir = self.layout.sandbox(id)?;
        let lock = self.lock_of(format!("sandbox {}", id.0));
        let _guard = lock.write().await;
        let spec = {
            let table = self.table.borrow();
            let Some(sandbox) = table.sandboxes.get(id) else { return Ok(()) };
            let lives = |state: &ContainerState| matches!(state, ContainerState::Running { .. });
            if let Some(entry) = table.containers.values().find(|e| e.info.spec.sandbox == *id && lives(&e.info.state))
            {
                return Err(RuntimeError::Other(format!("container {} of the sandbox lives", entry.info.spec.id.0)));
            }
            sandbox.spec.clone()
        };
        self.discard_sandbox(&dir, spec).await?;
        self.table.borrow_mut().sandboxes.remove(id);
        Ok(())
    }

    /// Undoes a sandbox on the node.
    pub(super) async fn discard_sandbox(&self, dir: &Path, spec: SandboxSpec) -> Result<(), RuntimeError> {
        self.workers.run(&Job::RemoveSandbox { dir: dir.to_path_buf(), spec }, Vec::new()).await.map(drop)
    }
}

/// Whether the sandbox's namespaces are still held. The file of its IPC namespace tells: every sandbox has
/// one, it is the last to be made and the first to go.
pub(super) fn is_pinned(dir: &Path) -> bool {
    rustix::fs::statfs(dir.join("ipc")).is_ok_and(|stat| stat.f_type == NAMESPACE_FILE_SYSTEM)
}
