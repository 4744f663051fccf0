//! What to do next: bring the pod up, keep it up, or wind it down.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::containers::{Declared, Next, declared};
use super::view::{Action, Hook, ImageState, InstanceState, News, Observed, PodPlan, StopCause, Volumes};
use super::{preparing, status};

/// Shortest grace period of a pod that ends (contract 1.36).
const GRACE_MIN_S: i64 = 1;
const GRACE_DEFAULT_S: i64 = 30;
/// What a sidecar gets at least, also when the others have used everything up (contract 1.42).
const GRACE_SIDECAR_MIN_S: i64 = 2;

/// Plans the next step of `pod` from what the agent sees at `now`.
pub fn plan(pod: &Pod, seen: &Observed, now: Timestamp) -> PodPlan {
    let mut steps = Steps { pod, seen, now, actions: Vec::new(), news: Vec::new(), wake_at: None };
    let ending = ending(pod, seen, now);
    if ending == Some(Ending::Deadline) {
        steps.news.push(News::DeadlineExceeded);
    }
    match &ending {
        Some(ending) => steps.wind_down(ending),
        None => steps.bring_up(),
    }
    let mut status = (!seen.gone).then(|| status::status(pod, seen, ending.as_ref(), now));
    if let Some(status) = status.as_mut().filter(|_| ending.is_none()) {
        let next = preparing::next(pod, seen.preparing.as_ref(), preparing::is_ready(status), now);
        preparing::show(status, pod, &next, now);
        next.wake_at.into_iter().for_each(|at| steps.wake(at));
        steps.actions.extend(next.action);
    } else if seen.preparing.is_some() {
        steps.actions.push(Action::StopPreparing);
    }
    if let Some(deadline) = deadline(pod, seen).filter(|_| ending.is_none()) {
        steps.wake(deadline);
    }
    PodPlan { actions: steps.actions, status, news: steps.news, wake_at: steps.wake_at }
}

/// Why a pod ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It was deleted.
    Deleted {
        /// Seconds its containers are given.
        grace_s: i64,
    },
    /// It ran longer than `activeDeadlineSeconds`.
    Deadline,
    /// Everything it had to do is done, or it cannot go on.
    Completed,
}

fn ending(pod: &Pod, seen: &Observed, now: Timestamp) -> Option<Ending> {
    let meta = &pod.metadata;
    if seen.gone || meta.deletion_timestamp.is_some() {
        let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(GRACE_DEFAULT_S);
        let grace_s = meta.deletion_grace_period_seconds.unwrap_or(own).max(GRACE_MIN_S);
        return Some(Ending::Deleted { grace_s });
    }
    if status::is_terminal(pod) {
        return Some(Ending::Completed);
    }
    if deadline(pod, seen).is_some_and(|at| at <= now) {
        return Some(Ending::Deadline);
    }
    is_over(pod, seen, now).then_some(Ending::Completed)
}

fn deadline(pod: &Pod, seen: &Observed) -> Option<Timestamp> {
    let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
    let reported = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let start = reported.or(seen.first_seen)?;
    start.saturating_add(SignedDuration::from_secs(seconds)).ok()
}

/// Whether nothing is left to run: an init container failed for good, or every regular one ended.
fn is_over(pod: &Pod, seen: &Observed, now: Timestamp) -> bool {
    let all = declared(pod);
    let init_failed = all.iter().any(|container| container.has_failed_for_good(seen, now));
    let mut regular = all.iter().filter(|container| !container.init).peekable();
    init_failed
        || (regular.peek().is_some()
            && regular.all(|container| matches!(container.next(seen, now), Next::Ended { .. })))
}

struct Steps<'a> {
    pod: &'a Pod,
    seen: &'a Observed,
    now: Timestamp,
    actions: Vec<Action>,
    news: Vec<News>,
    wake_at: Option<Timestamp>,
}

impl Steps<'_> {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake| wake.min(at)));
    }

    fn bring_up(&mut self) {
        if !self.volumes_ready() || !self.sandbox_ready() {
            return;
        }
        self.forget_old();
        let all = declared(self.pod);
        let initialised = all.first().is_some_and(|container| container.regular_runs(self.seen));
        for container in all.iter().filter(|container| container.init) {
            if initialised && !container.is_sidecar() {
                continue;
            }
            let go_on = self.advance_init(container);
            if !go_on && !initialised {
                return;
            }
        }
        let mut held = false;
        for container in all.iter().filter(|container| !container.init) {
            // A container that is yet to start waits for the hooks of those before it.
            if !held || container.next(self.seen, self.now) == Next::Running {
                self.advance(container);
            }
            held |= self.hook_is_pending(container);
        }
    }

    /// Whether the container has a hook that is yet to come to its end, and nothing keeps it from that.
    fn hook_is_pending(&self, container: &Declared<'_>) -> bool {
        let name = &container.spec.name;
        match container.next(self.seen, self.now) {
            Next::Running => self
                .seen
                .newest(name)
                .is_some_and(|instance| matches!(container.hook(instance, self.seen), None | Some(Hook::Running))),
            Next::Start { .. } => {
                let failed = self.seen.start_failures.contains_key(name)
                    || matches!(self.seen.images.get(name), Some(ImageState::Failed(_)));
                container.has_hook() && !failed
            }
            Next::BackOff { .. } | Next::Ended { .. } => false,
        }
    }

    fn volumes_ready(&mut self) -> bool {
        match &self.seen.volumes {
            Volumes::Mounted => true,
            Volumes::Failed(failure) if failure.retry_at > self.now => {
                self.wake(failure.retry_at);
                false
            }
            Volumes::Unmounted | Volumes::Failed(_) => {
                self.actions.push(Action::MountVolumes);
                false
            }
        }
    }

    fn sandbox_ready(&mut self) -> bool {
        if self.seen.sandbox.is_some() {
            return true;
        }
        if let Some(failure) = self.seen.sandbox_failure.as_ref().filter(|failure| failure.retry_at > self.now) {
            self.wake(failure.retry_at);
            return false;
        }
        let all = declared(self.pod);
        let again = !self.seen.any_running() && all.iter().any(|container| container.shown().is_some());
        if again {
            self.forget_init(&all);
        }
        self.actions.push(Action::CreateSandbox { again });
        false
    }

    /// What init containers made for the others went with the sandbox they ran in: they run again.
    fn forget_init(&mut self, all: &[Declared<'_>]) {
        let rerun = all.iter().filter(|container| container.is_made_again() && container.shown().is_some());
        let names: Vec<&str> = rerun.map(|container| container.spec.name.as_str()).collect();
        let ended = self.seen.instances.iter().filter(|instance| names.contains(&instance.name.as_str()));
        self.actions.extend(ended.map(|instance| Action::Forget { id: instance.id.clone() }));
    }

    /// Takes an init container a step on; whether the ones after it may go on.
    fn advance_init(&mut self, container: &Declared<'_>) -> bool {
        match container.next(self.seen, self.now) {
            Next::Ended { succeeded } => succeeded,
            Next::Running => {
                self.check_running(container);
                let instance = self.seen.newest(&container.spec.name);
                container.is_sidecar() && instance.is_some_and(|instance| container.started(instance, self.seen))
            }
            Next::Start { .. } | Next::BackOff { .. } => {
                self.advance(container);
                false
            }
        }
    }

    fn advance(&mut self, container: &Declared<'_>) {
        match container.next(self.seen, self.now) {
            Next::Running => self.check_running(container),
            Next::Ended { .. } => {}
            Next::BackOff { until, .. } => {
                if let Some(ended) = self.seen.newest(&container.spec.name) {
                    self.news.push(News::BackOff { container: ended.name.clone(), id: ended.id.clone() });
                }
                self.wake(until);
            }
            Next::Start { attempt } => self.start(container, attempt),
        }
    }

    fn check_running(&mut self, container: &Declared<'_>) {
        let Some(instance) = self.seen.newest(&container.spec.name) else { return };
        let probed = self.seen.probes.get(&instance.id).copied().unwrap_or_default();
        let wanted = container.spec.image.as_deref().unwrap_or_default();
        let (cause, probe) = if probed.liveness_failed {
            (StopCause::Liveness, container.spec.liveness_probe.as_ref())
        } else if probed.startup_failed {
            (StopCause::Startup, container.spec.startup_probe.as_ref())
        } else if instance.image != wanted {
            (StopCause::Definition, None)
        } else {
            match container.hook(instance, self.seen) {
                Some(Hook::Done | Hook::Running) => return,
                Some(Hook::Failed) => (StopCause::PostStart, None),
                None => {
                    let (id, container) = (instance.id.clone(), instance.name.clone());
                    self.actions.push(Action::PostStart { id, container });
                    return;
                }
            }
        };
        let own = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace_s = probe.and_then(|probe| probe.termination_grace_period_seconds).or(own).unwrap_or(GRACE_DEFAULT_S);
        self.actions.push(Action::Stop {
            id: instance.id.clone(),
            container: instance.name.clone(),
            grace_s: grace_s.max(GRACE_MIN_S),
            cause,
        });
    }

    fn start(&mut self, container: &Declared<'_>, attempt: u32) {
        let name = &container.spec.name;
        if let Some(failure) = self.seen.start_failures.get(name).filter(|failure| failure.retry_at > self.now) {
            self.wake(failure.retry_at);
            return;
        }
        let start = Action::Start { container: name.clone(), attempt };
        let pull = Action::Pull { container: name.clone(), image: container.spec.image.clone().unwrap_or_default() };
        match (self.seen.images.get(name), container.spec.image_pull_policy.as_deref()) {
            (Some(ImageState::Pulled), _) => self.actions.push(start),
            (Some(ImageState::Pulling { .. }), _) => {}
            (Some(ImageState::Failed(failure)), _) if failure.retry_at > self.now => self.wake(failure.retry_at),
            (Some(ImageState::Present), policy) if policy != Some("Always") => self.actions.push(start),
            (Some(ImageState::Present | ImageState::Failed(_)) | None, _) => self.actions.push(pull),
        }
    }

    /// Of each container's dead incarnations only the newest two matter: its state and its last state.
    fn forget_old(&mut self) {
        for instance in self.seen.instances.iter().filter(|instance| !instance.is_running()) {
            let newest = self.seen.newest(&instance.name).map_or(0, |newest| newest.attempt);
            if instance.attempt + 1 < newest {
                self.actions.push(Action::Forget { id: instance.id.clone() });
            }
        }
    }

    fn wind_down(&mut self, ending: &Ending) {
        if self.seen.any_running() {
            self.stop_all(ending);
            return;
        }
        // Exit codes are reported before what holds them is removed.
        let reported = self.seen.gone || status::is_terminal(self.pod);
        if !reported {
            return;
        }
        if !self.seen.torn_down {
            self.actions.push(Action::TearDown);
        } else if self.seen.gone {
            self.actions.push(Action::Finish);
        } else if self.pod.metadata.deletion_timestamp.is_some() {
            self.actions.push(Action::Delete);
        }
    }

    /// What is left of the pod's time for its sidecars, which ended nothing of it themselves; never less than
    /// the floor.
    fn grace_left(&self, grace_s: i64) -> i64 {
        let Some(deadline) = &self.pod.metadata.deletion_timestamp else { return grace_s };
        // The wire cuts times to whole seconds.
        let left = deadline.0.as_second() + 1 - self.now.as_second();
        left.clamp(GRACE_SIDECAR_MIN_S.min(grace_s), grace_s)
    }

    /// Regular containers first, all at once; then sidecars, the last declared first.
    fn stop_all(&mut self, ending: &Ending) {
        let own = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let grace_s = match ending {
            Ending::Deleted { grace_s } => *grace_s,
            Ending::Deadline | Ending::Completed => own.unwrap_or(GRACE_DEFAULT_S).max(GRACE_MIN_S),
        };
        let all = declared(self.pod);
        let sidecars: Vec<&str> = all
            .iter()
            .filter(|container| container.is_sidecar())
            .map(|container| container.spec.name.as_str())
            .collect();
        let running = || self.seen.instances.iter().filter(|instance| instance.state == InstanceState::Running);
        let mut stop: Vec<_> = running().filter(|instance| !sidecars.contains(&instance.name.as_str())).collect();
        let mut grace_s = grace_s;
        if stop.is_empty() {
            grace_s = self.grace_left(grace_s);
            stop.extend(sidecars.iter().rev().find_map(|name| running().find(|instance| instance.name == **name)));
        }
        if stop.is_empty() {
            stop.extend(running());
        }
        let stops = stop.into_iter().map(|instance| Action::Stop {
            id: instance.id.clone(),
            container: instance.name.clone(),
            grace_s,
            cause: StopCause::PodEnds,
        });
        let stops: Vec<Action> = stops.collect();
        self.actions.extend(stops);
    }
}
