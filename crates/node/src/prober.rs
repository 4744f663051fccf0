//! Probes of running containers: one task per probe, which makes the check, lets `plan::probes` judge
//! it and tells the worker what changed.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Probe};
use stead_client::EventType;
use stead_net::Network;
use stead_plan::pod::{Hook, Probed, declared};
use stead_plan::probes::{Outcome, ProbeKind, ProbeState};
use stead_runtime::{ContainerId, ContainerInfo, ContainerState, Runtime};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::about::container_reference;
use crate::agent::Inner;
use crate::checks::{self, CheckError, HttpAnswer};
use crate::panics::caught;
use crate::worker::Worker;

const USER_AGENT: &str = "kube-probe/1.36";

/// Wait before a probe that panicked goes on: first, and longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Makes sure that every running container is probed as declared.
pub(crate) fn match_containers<R: Runtime, N: Network>(inner: &Arc<Inner<R, N>>, worker: &Arc<Worker>) {
    let mut state = worker.state();
    let pod = Arc::clone(&state.pod);
    if state.is_ending() {
        // Whether it serves is still of interest; whether it should be restarted is not.
        for probes in state.probers.values_mut() {
            probes.retain(|(kind, _)| *kind == ProbeKind::Readiness);
        }
        return;
    }
    let running: Vec<ContainerInfo> = state
        .containers
        .values()
        .filter(|container| matches!(container.state, ContainerState::Running { .. }))
        .filter(|container| !state.probers.contains_key(&container.spec.id.0))
        .cloned()
        .collect();
    for info in running {
        let Some(declared) = declared(&pod).into_iter().find(|declared| declared.spec.name == info.spec.name) else {
            continue;
        };
        let id = info.spec.id.0.clone();
        if declared.has_hook() && state.hooks.get(&id).is_none_or(|run| run.hook != Hook::Done) {
            continue;
        }
        let resumed = info.started_at < state.agent_started;
        let reported = declared.reported.filter(|_| resumed);
        let initial = Probed {
            started: declared.spec.startup_probe.is_none()
                || reported.is_some_and(|status| status.started == Some(true)),
            ready: declared.spec.readiness_probe.is_none() || reported.is_some_and(|status| status.ready),
            ..Probed::default()
        };
        state.probes.insert(id.clone(), initial);
        let tasks = start(inner, worker, declared.spec, &info, initial, reported.is_some());
        state.probers.insert(id, tasks);
    }
}

fn start<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    container: &Container,
    info: &ContainerInfo,
    initial: Probed,
    resumed: bool,
) -> Vec<(ProbeKind, AbortOnDropHandle<()>)> {
    let started = watch::Sender::new(initial.started);
    let probes = [
        (ProbeKind::Startup, container.startup_probe.as_ref().filter(|_| !initial.started)),
        (ProbeKind::Liveness, container.liveness_probe.as_ref()),
        (ProbeKind::Readiness, container.readiness_probe.as_ref()),
    ];
    let declared = probes.into_iter().filter_map(|(kind, probe)| Some((kind, probe?)));
    declared
        .map(|(kind, probe)| {
            let task = ProbeTask {
                inner: Arc::clone(inner),
                worker: Arc::clone(worker),
                container: container.clone(),
                id: info.spec.id.clone(),
                started_at: info.started_at,
                kind,
                probe: probe.clone(),
                resumed: (resumed && kind == ProbeKind::Readiness).then_some(initial.ready),
                started: started.clone(),
            };
            (kind, AbortOnDropHandle::new(tokio::spawn(task.run())))
        })
        .collect()
}

struct ProbeTask<R, N> {
    inner: Arc<Inner<R, N>>,
    worker: Arc<Worker>,
    container: Container,
    id: ContainerId,
    started_at: Timestamp,
    kind: ProbeKind,
    probe: Probe,
    resumed: Option<bool>,
    started: watch::Sender<bool>,
}

impl<R: Runtime, N: Network> ProbeTask<R, N> {
    /// Probes until nothing is left to find out. A round that panics is told as a probe that could not be made, and
    /// the next comes later each time: a container nobody looks at is never restarted and never Ready.
    async fn run(self) {
        if self.kind != ProbeKind::Startup {
            // The sender lives in `self`, so waiting cannot fail.
            let _open = self.started.subscribe().wait_for(|started| *started).await.is_ok();
        }
        let mut state = ProbeState::new(self.kind, &self.probe, self.started_at);
        if let Some(result) = self.resumed {
            state = state.resumed(result, Timestamp::now());
        }
        let clock = Clock::start();
        let what = format!("the {} probe of {}", self.kind.as_str(), self.id.0);
        let mut retry = RETRY_FIRST;
        while let Err(panicked) = caught(&what, self.rounds(&mut state, &clock)).await {
            self.tell(Outcome::Error, &panicked.to_string(), true);
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    async fn rounds(&self, state: &mut ProbeState, clock: &Clock) {
        while !state.is_settled() {
            clock.sleep_until(state.next_try()).await;
            let (outcome, output) = self.check().await;
            let judgement = state.record(outcome, clock.now());
            self.tell(outcome, &output, judgement.counted);
            if let Some(result) = judgement.became {
                self.publish(result);
            }
        }
    }

    fn publish(&self, result: bool) {
        let (kind, id) = (self.kind, &self.id.0);
        self.worker.update(|state| {
            let probed = state.probes.entry(id.clone()).or_default();
            match kind {
                ProbeKind::Startup => {
                    probed.started = result;
                    probed.startup_failed = !result;
                }
                ProbeKind::Readiness => probed.ready = result,
                ProbeKind::Liveness => probed.liveness_failed = !result,
            }
        });
        if kind == ProbeKind::Startup && result {
            self.started.send_replace(true);
        }
    }

    fn tell(&self, outcome: Outcome, output: &str, counted: bool) {
        let kind = self.kind.as_str();
        let (reason, text) = match outcome {
            Outcome::Success => return,
            Outcome::Warning => ("ProbeWarning", format!("{kind} probe warning: {output}")),
            Outcome::Error => ("Unhealthy", format!("{kind} probe errored and resulted in unknown state: {output}")),
            Outcome::Failure => ("Unhealthy", format!("{kind} probe failed: {output}")),
        };
        if counted {
            let about = container_reference(&self.worker.pod(), &self.container.name);
            self.inner.recorder.event(&about, EventType::Warning, reason, text);
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.probe.timeout_seconds.unwrap_or(1).max(1)).unwrap_or(1))
    }

    async fn check(&self) -> (Outcome, String) {
        let timeout = self.timeout();
        // What keeps the time itself says better what was late.
        let most = if self.probe.grpc.is_some() { timeout * 2 } else { timeout };
        match tokio::time::timeout(most, self.check_untimed()).await {
            Ok(found) => found,
            Err(_) => match &self.probe.exec {
                Some(exec) => {
                    let command = exec.command.clone().unwrap_or_default().join(" ");
                    (Outcome::Failure, format!("command timed out: {command:?} timed out after {}s", timeout.as_secs()))
                }
                None => (Outcome::Failure, "context deadline exceeded".to_owned()),
            },
        }
    }

    async fn check_untimed(&self) -> (Outcome, String) {
        let ip = self.worker.state().sandbox.as_ref().map(|sandbox| sandbox.ip);
        if let Some(exec) = &self.probe.exec {
            return match checks::exec_output(self.inner.as_ref(), &self.id, exec).await {
                Ok((0, output)) => (Outcome::Success, output),
                Ok((_, output)) => (Outcome::Failure, output),
                Err(error) => (Outcome::Error, error.to_string()),
            };
        }
        if let Some(get) = &self.probe.http_get {
            return match checks::http_get(&self.container, get, ip, USER_AGENT).await {
                Ok(answer) => judge(answer),
                Err(error @ CheckError::Port(_)) => (Outcome::Error, error.to_string()),
                Err(error) => (Outcome::Failure, error.to_string()),
            };
        }
        if let Some(tcp) = &self.probe.tcp_socket {
            let host = tcp.host.clone().filter(|host| !host.is_empty()).or_else(|| ip.map(|ip| ip.to_string()));
            let port = match checks::port_number(&self.container, &tcp.port) {
                Ok(port) => port,
                Err(error) => return (Outcome::Error, error.to_string()),
            };
            return match checks::tcp_connect(&host.unwrap_or_default(), port).await {
                Ok(()) => (Outcome::Success, String::new()),
                Err(CheckError::Http { reason, .. }) => (Outcome::Failure, reason),
                Err(error) => (Outcome::Failure, error.to_string()),
            };
        }
        if let Some(grpc) = &self.probe.grpc {
            let Ok(port) = u16::try_from(grpc.port) else { return (Outcome::Error, "port not found".to_owned()) };
            let host = ip.map(|ip| ip.to_string()).unwrap_or_default();
            let service = grpc.service.as_deref().unwrap_or_default();
            return match checks::grpc_check(&host, port, service, USER_AGENT, self.timeout()).await {
                Ok(()) => (Outcome::Success, String::new()),
                Err(said) => (Outcome::Failure, said),
            };
        }
        (Outcome::Error, "probe has no handler this version knows".to_owned())
    }
}

/// What an answer over HTTP means (contract `pods.md` 3.7, 3.9).
fn judge(answer: HttpAnswer) -> (Outcome, String) {
    match answer.status {
        200..=299 => (Outcome::Success, answer.body),
        300..=399 => (Outcome::Warning, format!("Probe terminated redirects, Response body: {}", answer.body)),
        code => (Outcome::Failure, format!("HTTP probe failed with statuscode: {code}")),
    }
}

/// The time of day at the start, and from then on the time that has passed: a clock that is set meanwhile
/// neither holds probes up nor hurries them.
struct Clock {
    started: Timestamp,
    since: tokio::time::Instant,
}

impl Clock {
    fn start() -> Self {
        Self { started: Timestamp::now(), since: tokio::time::Instant::now() }
    }

    fn now(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.since.elapsed()).unwrap_or(SignedDuration::MAX);
        self.started.saturating_add(passed).unwrap_or(Timestamp::MAX)
    }

    async fn sleep_until(&self, at: Timestamp) {
        let wait = Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO);
        tokio::time::sleep(wait).await;
    }
}
