//! The steps that take away what was made for a pod, each safe to repeat: a claim's lock is only given
//! back once no process of the pod can be left.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use stead_net::{Network, PodKey};
use stead_plan::pod::Volumes;
use stead_runtime::{ContainerId, Runtime, SandboxId};

use crate::agent::Inner;
use crate::volumes;
use crate::worker::step::{Outcome, StepError};
use crate::worker::{Step, TERMINATION_LOG, Worker};

/// Removes a dead incarnation that nobody needs any more, with its logs.
pub(crate) async fn forget<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    id: &ContainerId,
) -> Outcome<Step> {
    inner.runtime.remove_container(id).await?;
    let known = {
        let mut state = worker.state();
        state.messages.remove(&id.0);
        state.probes.remove(&id.0);
        state.hooks.remove(&id.0);
        state.containers.remove(&id.0)
    };
    if let Some(container) = known {
        let written = container.spec.annotations.get(TERMINATION_LOG).cloned();
        let log = container.spec.log_path;
        tokio::task::spawn_blocking(move || {
            let failed = |error: io::Error| tracing::warn!(log = %log.display(), %error, "cannot remove an old log");
            remove_logs(&log).unwrap_or_else(failed);
            written.map_or(Ok(()), |path| stead_disk::remove_tree(Path::new(&path))).unwrap_or_else(failed);
        })
        .await?;
    }
    Ok(Step::Again)
}

/// Removes a log and what was rotated away from it (`<n>.log.<time>`).
fn remove_logs(log: &Path) -> io::Result<()> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name()) else { return Ok(()) };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let rest = entry.file_name().as_encoded_bytes().strip_prefix(name.as_encoded_bytes()).map(<[u8]>::to_vec);
        if rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'.') {
            stead_disk::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes every container, the sandbox, the address and the volumes, and gives the claims back.
pub(crate) async fn tear_down<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) -> Outcome<Step> {
    let mut ids: BTreeSet<ContainerId> = {
        let mut state = worker.state();
        state.end_tasks();
        state.containers.keys().cloned().map(ContainerId).collect()
    };
    // Also what an agent asked for that was killed before it was answered.
    let listed = inner.runtime.list().await?.containers.into_iter().map(|container| container.spec);
    ids.extend(listed.filter(|spec| spec.sandbox.0 == worker.uid).map(|spec| spec.id));
    for id in &ids {
        inner.runtime.remove_container(id).await?;
    }
    inner.network.detach(&PodKey(worker.uid.clone())).await?;
    inner.runtime.remove_sandbox(&SandboxId(worker.uid.clone())).await?;
    let (dir, uid) = (inner.config.pod_dir(&worker.uid), worker.uid.clone());
    tokio::task::spawn_blocking(move || volumes::tear_down(&uid, &dir)).await??;
    worker.update(|state| {
        state.torn_down = true;
        state.volumes = Volumes::Unmounted;
        state.sandbox = None;
    });
    Ok(Step::Again)
}

/// Removes what is kept for a pod that the API server no longer has.
pub(crate) async fn finish<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let logs = inner.config.log_dir(&worker.key.namespace, &worker.key.name, &worker.uid);
    // The record goes last: without it a successor would not know of the rest.
    for dir in [logs, inner.config.pod_dir(&worker.uid)] {
        let tree = dir.clone();
        let removed = tokio::task::spawn_blocking(move || stead_disk::remove_tree(&tree)).await;
        if let Err(source) = removed.unwrap_or_else(|error| Err(io::Error::other(error))) {
            let error = StepError::Io { action: format!("remove {}", dir.display()), source };
            tracing::warn!(pod = %worker.key, %error, "something of a pod is left");
        }
    }
    worker.set_finished();
    inner.pod_finished.notify_one();
}
