//! What the status of a set says of its rollout, as far as time plays a part in it.

use k8s_openapi::api::apps::v1::{StatefulSetCondition, StatefulSetStatus};

use super::{ago, annotations, now};

/// The condition Progressing of a rollout under way.
fn rolling(status: &StatefulSetStatus) -> Option<usize> {
    let rolls = |condition: &StatefulSetCondition| {
        condition.type_ == "Progressing" && condition.reason.as_deref() == Some("RollingOut")
    };
    status.conditions.iter().flatten().position(rolls)
}

/// Whether `status` says that a rollout has come to its end.
pub(crate) fn has_ended(status: &StatefulSetStatus) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.reason.as_deref() == Some("RolloutComplete"))
}

/// Whether `status` says that a rollout has begun just now.
pub(crate) fn is_young(status: &StatefulSetStatus) -> bool {
    let since = rolling(status).and_then(|at| status.conditions.as_ref()?[at].last_transition_time.as_ref());
    since.is_some_and(|since| since.0 == now())
}

/// `status` as it is when the deadline of a rollout has passed since.
pub(crate) fn aged(status: &StatefulSetStatus) -> StatefulSetStatus {
    let mut status = status.clone();
    if let (Some(at), Some(conditions)) = (rolling(&status), &mut status.conditions) {
        conditions[at].last_transition_time = Some(ago(2 * i64::from(annotations::DEADLINE_S)));
    }
    status
}
