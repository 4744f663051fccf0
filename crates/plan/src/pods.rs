//! What can be read off a pod object: phase, readiness, availability, ownership. Every controller
//! asks these questions the same way; nothing here decides what follows from the answers.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::ids::Uid;

/// A pod that was Ready for no longer than this after its start never stood: wire times have whole
/// seconds, so this much also separates "not yet" from "no longer".
const SETTLING_S: i64 = 1;

/// A container that dies again sooner than this after its start is in a crash loop. It is the first
/// step of the restart back-off.
const CRASH_RUN_S: i64 = 10;

/// `status.phase`, with everything unexpected as [`Phase::Unknown`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Accepted, not all containers started.
    #[default]
    Pending,
    /// At least one container runs or restarts.
    Running,
    /// All containers ended well, for good.
    Succeeded,
    /// All containers ended, at least one badly, for good.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl Phase {
    /// Whether the pod will never run again.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed => true,
            Self::Pending | Self::Running | Self::Unknown => false,
        }
    }
}

/// The pod's phase. A pod without one was just created and counts as Pending (J7).
pub fn phase(pod: &Pod) -> Phase {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running") => Phase::Running,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some(_) => Phase::Unknown,
    }
}

/// Whether deletion was asked for.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as a running replica: neither ended nor asked to end.
pub fn is_active(pod: &Pod) -> bool {
    !phase(pod).is_terminal() && !is_terminating(pod)
}

/// Whether the condition Ready is True.
pub fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Since when the pod is Ready, if it is. A condition without a time counts as Ready since ever.
pub fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = ready_condition(pod).filter(|condition| condition.status == "True")?;
    Some(condition.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0))
}

/// When the condition Ready last changed, if a node has reported it.
pub fn readiness_changed(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|time| time.0)
}

/// When the pod is or becomes available, if it is Ready: after `min_ready_s` seconds of readiness
/// (contract N1).
pub fn available_at(pod: &Pod, min_ready_s: i32) -> Option<Timestamp> {
    ready_since(pod).map(|since| later(since, min_ready_s))
}

/// Whether the pod has been Ready for `min_ready_s` seconds.
pub fn is_available(pod: &Pod, min_ready_s: i32, now: Timestamp) -> bool {
    available_at(pod, min_ready_s).is_some_and(|at| at <= now)
}

/// `at` plus whole seconds, held at the end of time.
pub fn later(at: Timestamp, seconds: i32) -> Timestamp {
    if seconds <= 0 {
        return at;
    }
    at.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
}

/// Whether this incarnation of the pod ever stood, that is, was Ready for more than the instant in
/// which a crashing container looks alive.
///
/// It is read off the object alone, so that nobody has to remember or write anything: with its first
/// report a node sets the Ready condition to False together with the other conditions, so a False
/// that is no younger than all of those never changed; a younger one was True in between. A container in a crash
/// loop without a readiness probe makes Ready flicker; such a pod never stood either, however often
/// it flickered (the known flaw J9 of the contract).
pub fn ever_stood(pod: &Pod) -> bool {
    if is_crash_looping(pod) {
        return false;
    }
    let Some(condition) = ready_condition(pod) else { return false };
    if condition.status == "True" {
        return true;
    }
    match (&condition.last_transition_time, first_report(pod)) {
        (Some(changed), Some(first)) => changed.0.duration_since(first) > SignedDuration::from_secs(SETTLING_S),
        // Without both times nothing shows that it was ever Ready.
        (None, _) | (_, None) => false,
    }
}

/// When a node first reported on the pod: at the oldest of the conditions it reports beside Ready, but
/// not before it took the pod on.
fn first_report(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let reported = status.conditions.iter().flatten().filter(|condition| {
        matches!(condition.type_.as_str(), "Initialized" | "ContainersReady" | "PodReadyToStartContainers")
    });
    let oldest = reported.filter_map(|condition| condition.last_transition_time.as_ref()).map(|time| time.0).min();
    let started = status.start_time.as_ref().map(|time| time.0);
    oldest.max(started)
}

/// Whether a container of the pod is down after a run too short to be of use.
pub fn is_crash_looping(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.into_iter().any(died_young)
}

fn died_young(status: &ContainerStatus) -> bool {
    let Some(state) = &status.state else { return false };
    if state.running.is_some() {
        return false;
    }
    let last = match &state.terminated {
        Some(_) => Some(state),
        None => status.last_state.as_ref(),
    };
    last.and_then(run_length).is_some_and(|run| run < SignedDuration::from_secs(CRASH_RUN_S))
}

/// Whether a container's readiness is probed. Without a probe a container is ready as soon as it runs.
pub fn has_readiness_probe(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.into_iter().any(|container| container.readiness_probe.is_some())
}

/// From when on a pod that is back after a short run counts as steady, if it came back from one: a
/// restarted crash loop looks alive for a moment, which must not let a rollout pass it.
pub fn steady_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let returned = statuses.filter_map(|status| {
        let running = status.state.as_ref()?.running.as_ref()?;
        let short = status.last_state.as_ref().and_then(run_length)? < SignedDuration::from_secs(CRASH_RUN_S);
        let since = running.started_at.as_ref()?.0;
        short.then(|| since.checked_add(SignedDuration::from_secs(CRASH_RUN_S)).unwrap_or(Timestamp::MAX))
    });
    returned.max()
}

/// How long an ended run lasted.
fn run_length(state: &ContainerState) -> Option<SignedDuration> {
    let ended = state.terminated.as_ref()?;
    Some(ended.finished_at.as_ref()?.0.duration_since(ended.started_at.as_ref()?.0))
}

/// The one owner that manages the object (contract 0.1).
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// Whether the object with `uid` manages this one.
pub fn is_controlled_by(meta: &ObjectMeta, uid: &Uid) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid.0)
}

/// The reference a controller puts on what it makes.
pub fn controller_reference(api_version: &str, kind: &str, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// `meta` with `owner` among its owners.
pub fn adopted(meta: &ObjectMeta, owner: OwnerReference) -> ObjectMeta {
    let mut meta = meta.clone();
    meta.owner_references.get_or_insert_default().push(owner);
    meta
}

/// `meta` without the object with `uid` among its owners.
pub fn released(meta: &ObjectMeta, uid: &Uid) -> ObjectMeta {
    let mut meta = meta.clone();
    let mut owners = meta.owner_references.take().unwrap_or_default();
    owners.retain(|owner| owner.uid != uid.0);
    meta.owner_references = Some(owners).filter(|owners| !owners.is_empty());
    meta
}

/// The container restarts the pod has seen, at most one container's.
pub fn restarts_max(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or(0)
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{
        ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, PodStatus,
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a small number of seconds"))
    }

    fn pod(ready: &str, changed: i64) -> Pod {
        Pod {
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                start_time: Some(at(100)),
                conditions: Some(vec![PodCondition {
                    type_: "Ready".to_owned(),
                    status: ready.to_owned(),
                    last_transition_time: Some(at(changed)),
                    ..PodCondition::default()
                }]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        }
    }

    fn crashed_after(mut pod: Pod, run_s: i64) -> Pod {
        let ended = ContainerState {
            terminated: Some(ContainerStateTerminated {
                started_at: Some(at(150)),
                finished_at: Some(at(150 + run_s)),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        };
        let waiting = ContainerState {
            waiting: Some(ContainerStateWaiting { reason: Some("CrashLoopBackOff".to_owned()), ..Default::default() }),
            ..ContainerState::default()
        };
        pod.status.get_or_insert_default().container_statuses =
            Some(vec![ContainerStatus { state: Some(waiting), last_state: Some(ended), ..ContainerStatus::default() }]);
        pod
    }

    #[test]
    fn a_pod_stood_if_its_readiness_changed_after_its_start() {
        assert!(!ever_stood(&Pod::default()), "nothing is known of it");
        assert!(!ever_stood(&pod("False", 100)), "unready since its start");
        assert!(!ever_stood(&pod("False", 101)), "the first status may fall into the next second");
        assert!(ever_stood(&pod("False", 160)), "it was Ready in between");
        assert!(ever_stood(&pod("True", 100)));
    }

    #[test]
    fn a_late_first_report_is_not_taken_for_a_change() {
        let condition = |type_: &str, changed| PodCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(at(changed)),
            ..PodCondition::default()
        };
        let reported_late = |initialized| {
            let mut pod = pod("False", 130);
            let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
            conditions.extend([condition("Initialized", initialized), condition("PodScheduled", 90)]);
            pod
        };
        assert!(!ever_stood(&reported_late(130)), "the node was busy for half a minute");
        assert!(ever_stood(&reported_late(100)), "it was Ready in between");
    }

    #[test]
    fn a_crash_loop_never_stood_however_often_it_flickered() {
        assert!(!ever_stood(&crashed_after(pod("False", 152), 2)));
        assert!(ever_stood(&crashed_after(pod("False", 450), 300)), "it served for minutes before it died");
    }

    #[test]
    fn a_run_is_short_below_ten_seconds() {
        assert!(is_crash_looping(&crashed_after(pod("False", 152), 9)));
        assert!(!is_crash_looping(&crashed_after(pod("False", 152), 10)));
        let back_at = |run_s| {
            let mut pod = crashed_after(pod("True", 200), run_s);
            for container in pod.status.get_or_insert_default().container_statuses.iter_mut().flatten() {
                let running = Some(ContainerStateRunning { started_at: Some(at(200)) });
                container.state = Some(ContainerState { running, ..ContainerState::default() });
            }
            steady_at(&pod)
        };
        assert_eq!(back_at(9), Some(at(210).0));
        assert_eq!(back_at(10), None);
    }

    #[test]
    fn the_controller_is_one_owner_among_others_and_can_be_let_go() {
        let owner = |uid: &str, controller| OwnerReference {
            uid: uid.to_owned(),
            controller: Some(controller),
            ..OwnerReference::default()
        };
        let (theirs, ours) = (owner("x", false), owner("set", true));
        let meta = ObjectMeta { owner_references: Some(vec![theirs.clone(), ours]), ..ObjectMeta::default() };
        assert!(is_controlled_by(&meta, &Uid("set".to_owned())));
        assert!(!is_controlled_by(&meta, &Uid("x".to_owned())), "an owner, but not the controller");
        let left = released(&meta, &Uid("set".to_owned()));
        assert_eq!(left.owner_references, Some(vec![theirs]));
        assert_eq!(released(&left, &Uid("x".to_owned())).owner_references, None, "no empty list");
    }

    #[test]
    fn the_restarts_of_a_pod_are_those_of_the_container_with_the_most() {
        let mut pod = pod("True", 100);
        assert_eq!(restarts_max(&pod), 0);
        let restarted = |restart_count| ContainerStatus { restart_count, ..ContainerStatus::default() };
        pod.status.get_or_insert_default().container_statuses = Some([2, 7, 3].map(restarted).into());
        assert_eq!(restarts_max(&pod), 7);
    }

    #[test]
    fn availability_counts_from_the_last_change() {
        let ready = pod("True", 100);
        assert!(!is_available(&ready, 30, at(129).0));
        assert!(is_available(&ready, 30, at(130).0));
        assert_eq!(available_at(&ready, 30), Some(at(130).0));
        assert_eq!(available_at(&pod("False", 100), 0), None);
        assert_eq!(readiness_changed(&pod("False", 100)), Some(at(100).0));
    }
}
