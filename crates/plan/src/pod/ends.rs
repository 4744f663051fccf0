//! How ended containers are shown, also those whose end nobody saw (contract `pods.md` 2.5, 2.6, 2.23, 2.24).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};

use super::containers::{Declared, UNKNOWN_EXIT};
use super::status::{container_id, seconds};
use super::view::{Instance, InstanceState};

/// The end of an incarnation, if it has ended.
pub(super) fn terminated(instance: &Instance) -> Option<ContainerStateTerminated> {
    let InstanceState::Exited { code, oom_killed, finished_at, message } = &instance.state else { return None };
    let reason = if *oom_killed {
        "OOMKilled"
    } else if *code == 0 {
        "Completed"
    } else {
        "Error"
    };
    Some(ContainerStateTerminated {
        container_id: Some(container_id(&instance.id)),
        exit_code: *code,
        reason: Some(reason.to_owned()),
        message: Some(message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(seconds(instance.started_at)),
        finished_at: Some(seconds(*finished_at)),
        signal: None,
    })
}

/// The end of a container that has run and that the runtime no longer knows (rule 6).
pub(super) fn lost_state(container: &Declared<'_>, now: Timestamp) -> Option<ContainerStateTerminated> {
    let reported = container.reported?;
    let state = reported.state.as_ref()?;
    if state.terminated.is_some() {
        return state.terminated.clone();
    }
    if let Some(running) = &state.running {
        return Some(ContainerStateTerminated {
            container_id: reported.container_id.clone(),
            exit_code: UNKNOWN_EXIT,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(
                "The container could not be located when the pod was deleted.  The container used to be Running"
                    .to_owned(),
            ),
            started_at: running.started_at.clone(),
            finished_at: Some(seconds(now)),
            signal: None,
        });
    }
    reported.last_state.as_ref().and_then(|state| state.terminated.clone())
}

/// The end of an init container that nobody knows of in a pod that is past it.
pub(super) fn taken_for_done(now: Timestamp) -> ContainerStateTerminated {
    ContainerStateTerminated {
        reason: Some("Completed".to_owned()),
        message: Some(
            "Unable to get init container status from container runtime and pod has been initialized, treat it as \
             exited normally"
                .to_owned(),
        ),
        finished_at: Some(seconds(now)),
        ..ContainerStateTerminated::default()
    }
}

/// The last state that only the API server still knows: what it showed beside this incarnation, or the end
/// of the one it shows instead.
pub(super) fn reported_last_state(
    container: &Declared<'_>,
    newest: &Instance,
    now: Timestamp,
) -> Option<ContainerStateTerminated> {
    let reported = container.reported?;
    if reported.container_id.as_deref() == Some(&container_id(&newest.id)) {
        return reported.last_state.as_ref().and_then(|state| state.terminated.clone());
    }
    lost_state(container, now)
}

/// Cuts what ended containers had to say, at a character's boundary.
pub(super) fn cut_messages(status: &mut ContainerStatus, bytes_max: usize) {
    let states = [&mut status.state, &mut status.last_state];
    for ended in states.into_iter().flatten().filter_map(|state| state.terminated.as_mut()) {
        if let Some(message) = &mut ended.message {
            let end = (0..=bytes_max.min(message.len())).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
            message.truncate(end);
        }
    }
}

/// Once everything has stopped, a container without an end gets one (rule 5).
pub(super) fn end_unknown(status: &mut ContainerStatus, now: Timestamp) {
    status.ready = false;
    status.started = Some(false);
    let state = status.state.get_or_insert_default();
    if state.terminated.is_some() {
        return;
    }
    *state = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: UNKNOWN_EXIT,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".to_owned()),
            finished_at: Some(seconds(now)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
}
