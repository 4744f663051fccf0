//! The containers a pod declares, in the order they matter, and what each may do next.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use super::view::{Hook, Instance, InstanceState, Observed};
use crate::restarts::RestartPolicy;

/// Exit code of a container whose end nobody saw.
pub(super) const UNKNOWN_EXIT: i32 = 137;

/// One declared container.
#[derive(Clone, Copy, Debug)]
pub struct Declared<'a> {
    /// Its declaration.
    pub spec: &'a Container,
    /// Whether it stands among the init containers.
    pub init: bool,
    /// When it starts again.
    pub policy: RestartPolicy,
    /// What the API server last showed of it.
    pub reported: Option<&'a ContainerStatus>,
    /// The pod's regular containers.
    pub(super) regular: &'a [Container],
}

/// Whether an init container is a sidecar: one that keeps running.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Every init container, then every regular one, in the order declared.
pub fn declared(pod: &Pod) -> Vec<Declared<'_>> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let pod_policy = RestartPolicy::parse(spec.restart_policy.as_deref());
    let status = pod.status.as_ref();
    let init_reported = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
    let reported = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
    let init = spec.init_containers.iter().flatten().map(|container| Declared {
        spec: container,
        init: true,
        policy: match container.restart_policy.as_deref() {
            Some(own) => RestartPolicy::parse(Some(own)),
            // A finished init container is never run again; a failed one is, unless the pod gives up.
            None if pod_policy == RestartPolicy::Never => RestartPolicy::Never,
            None => RestartPolicy::OnFailure,
        },
        reported: init_reported.iter().find(|status| status.name == container.name),
        regular: &spec.containers,
    });
    let regular = spec.containers.iter().map(|container| Declared {
        spec: container,
        init: false,
        policy: container.restart_policy.as_deref().map_or(pod_policy, |own| RestartPolicy::parse(Some(own))),
        reported: reported.iter().find(|status| status.name == container.name),
        regular: &spec.containers,
    });
    init.chain(regular).collect()
}

impl Declared<'_> {
    /// Whether it is a sidecar.
    pub fn is_sidecar(&self) -> bool {
        self.init && is_sidecar(self.spec)
    }

    /// Whether it is an init container that comes to an end before the regular ones start.
    pub(super) fn runs_once(&self) -> bool {
        self.init && !is_sidecar(self.spec)
    }

    /// Whether the pod cannot come up for its sake: it was to come to an end, and has failed at that.
    pub(super) fn has_failed_for_good(&self, seen: &Observed, now: Timestamp) -> bool {
        self.runs_once() && self.next(seen, now) == Next::Ended { succeeded: false }
    }

    /// What may happen to it next, the rest of the pod left aside.
    pub(super) fn next(&self, seen: &Observed, now: Timestamp) -> Next {
        let Some(instance) = seen.newest(&self.spec.name) else { return self.next_without_instance(seen) };
        match &instance.state {
            InstanceState::Running => Next::Running,
            InstanceState::Exited { code, oom_killed, finished_at, .. } => {
                // What an init container was to do is not done when it was short of memory.
                let code = if self.init && *oom_killed && *code == 0 { UNKNOWN_EXIT } else { *code };
                if !self.policy.restarts(code) {
                    return Next::Ended { succeeded: code == 0 };
                }
                let backoff = seen.backoffs.get(&self.spec.name).copied().unwrap_or_default();
                let due = backoff.due(instance.started_at, *finished_at, now);
                if due > now {
                    let delay_s = backoff.after_run(instance.started_at, *finished_at).delay_s();
                    Next::BackOff { until: due, delay_s }
                } else {
                    Next::Start { attempt: instance.attempt + 1 }
                }
            }
        }
    }

    /// The runtime knows no incarnation: none was started yet, or the node lost them (a reboot).
    fn next_without_instance(&self, seen: &Observed) -> Next {
        let over = self.runs_once() && self.regular_runs(seen);
        if over {
            return Next::Ended { succeeded: true };
        }
        let count = self.reported.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or(0));
        let Some(shown) = self.shown() else { return Next::Start { attempt: count } };
        let ended = shown.state.as_ref().and_then(|state| state.terminated.as_ref());
        let code = ended.map_or(UNKNOWN_EXIT, |ended| ended.exit_code);
        if self.is_made_again() || self.policy.restarts(code) {
            Next::Start { attempt: count + 1 }
        } else {
            Next::Ended { succeeded: code == 0 }
        }
    }

    /// Whether a regular container runs: then no init container is run again.
    pub(super) fn regular_runs(&self, seen: &Observed) -> bool {
        let runs = |name: &str| seen.newest(name).is_some_and(Instance::is_running);
        self.regular.iter().any(|container| runs(&container.name))
    }

    /// The incarnation that the API server shows. What is shown of a container that is yet to start names no
    /// incarnation, and its restart count is that of the next.
    pub(super) fn shown(&self) -> Option<&ContainerStatus> {
        self.reported.filter(|status| status.container_id.is_some())
    }

    /// Whether it runs again although it has succeeded, when what it made for the others may be lost.
    pub(super) fn is_made_again(&self) -> bool {
        self.runs_once() && self.policy != RestartPolicy::Never
    }

    /// How far the postStart hook has come; done where there is none, none where it has not begun.
    pub(super) fn hook(&self, instance: &Instance, seen: &Observed) -> Option<Hook> {
        if self.has_hook() { seen.hooks.get(&instance.id).copied() } else { Some(Hook::Done) }
    }

    /// Whether a postStart hook is declared.
    pub fn has_hook(&self) -> bool {
        self.spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some())
    }

    /// Whether the running incarnation counts as started.
    pub(super) fn started(&self, instance: &Instance, seen: &Observed) -> bool {
        let probed = seen.probes.get(&instance.id).copied().unwrap_or_default();
        instance.is_running()
            && self.hook(instance, seen) == Some(Hook::Done)
            && (self.spec.startup_probe.is_none() || probed.started)
    }

    /// Whether the running incarnation counts as ready.
    pub(super) fn ready(&self, instance: &Instance, seen: &Observed) -> bool {
        let probed = seen.probes.get(&instance.id).copied().unwrap_or_default();
        self.started(instance, seen) && (self.spec.readiness_probe.is_none() || probed.ready)
    }
}

/// What may happen to a container next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It runs.
    Running,
    /// It should start.
    Start {
        /// Its restart count then.
        attempt: u32,
    },
    /// It should start, but not yet.
    BackOff {
        /// Not before.
        until: Timestamp,
        /// The whole delay, for the message.
        delay_s: i64,
    },
    /// It has ended for good.
    Ended {
        /// With exit code 0.
        succeeded: bool,
    },
}
