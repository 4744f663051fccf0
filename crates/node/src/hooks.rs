//! Lifecycle hooks of containers (contract `pods.md` 1.40, 1.41). A preStop hook is run by the stop it
//! belongs to; a postStart hook runs beside the worker, at least once per incarnation, and holds up the
//! containers that come after.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use stead_client::EventType;
use stead_net::Network;
use stead_plan::pod::Hook;
use stead_runtime::{ContainerId, Runtime};
use tokio_util::task::AbortOnDropHandle;

use crate::about::{container_reference, declaration};
use crate::agent::Inner;
use crate::checks::{self, CheckError};
use crate::panics::caught;
use crate::worker::{HookRun, Step, Worker};

const USER_AGENT: &str = "kube-lifecycle/1.36";

/// Begins the postStart hook of an incarnation.
pub(crate) fn post_start<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    id: &ContainerId,
    container: &str,
) -> Step {
    let mut state = worker.state();
    let pod = Arc::clone(&state.pod);
    let (inner, runner) = (Arc::clone(inner), Arc::clone(worker));
    let (own_id, container) = (id.clone(), container.to_owned());
    let task = tokio::spawn(async move {
        let Some(declared) = declaration(&pod, &container) else { return };
        let Some(hook) = declared.lifecycle.as_ref().and_then(|life| life.post_start.as_ref()) else { return };
        let ran = caught("a postStart hook", run(&inner, &runner, declared, &own_id, hook)).await;
        let ran = ran.map_err(|panicked| panicked.to_string()).and_then(|ran| ran.map_err(|error| error.to_string()));
        let outcome = match ran {
            Ok(()) => Hook::Done,
            Err(error) => {
                tracing::info!(container = own_id.0, %error, "postStart hook failed");
                let about = container_reference(&pod, &container);
                inner.recorder.event(&about, EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
                Hook::Failed
            }
        };
        runner.update(|state| {
            // A container that has ended meanwhile needs no outcome.
            if let Some(run) = state.hooks.get_mut(&own_id.0) {
                run.hook = outcome;
            }
        });
    });
    state.hooks.insert(id.0.clone(), HookRun { hook: Hook::Running, _task: Some(AbortOnDropHandle::new(task)) });
    // The hook may be through already, but says so only once the state is free.
    Step::Wait
}

/// Runs a lifecycle hook to its end.
pub(crate) async fn run<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &Container,
    id: &ContainerId,
    hook: &LifecycleHandler,
) -> Result<(), CheckError> {
    if let Some(exec) = &hook.exec {
        match checks::exec_output(inner.as_ref(), id, exec).await? {
            (0, _) => Ok(()),
            (code, output) => Err(CheckError::Exit { code, output }),
        }
    } else if let Some(get) = &hook.http_get {
        let ip = worker.state().sandbox.as_ref().map(|sandbox| sandbox.ip);
        // Any answer is success.
        checks::http_get(container, get, ip, USER_AGENT).await.map(drop)
    } else if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).unsigned_abs())).await;
        Ok(())
    } else {
        Err(CheckError::Handler)
    }
}
