//! The life of a pod on its node, decided from what the agent sees: what is done, what is shown, what is
//! told, and until when it waits.

mod ends;
mod prepares;
mod shown;
mod steps;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use serde_json::{Value, json};
use stead_plan::pod::{
    Action, Failure, Hook, ImageState, Instance, InstanceState, News, Observed, PodPlan, Sandbox, Volumes, plan,
};
use stead_plan::restarts::Backoff;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// A pod that runs containers `a` and `b` of one image, with more in its spec and the status it is shown with.
fn pod(spec: Value, status: Value) -> Pod {
    let container = |name: &str| json!({"name": name, "image": "i"});
    let mut manifest = json!({
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u"},
        "spec": {"containers": [container("a"), container("b")]}, "status": status,
    });
    for (field, value) in spec.as_object().expect("fields") {
        manifest["spec"][field] = value.clone();
    }
    serde_json::from_value(manifest).expect("a pod")
}

/// What the agent sees of a pod that is set up, with these incarnations.
fn set_up(instances: Vec<Instance>) -> Observed {
    let present = ["init", "a", "b"].map(|name| (name.to_owned(), ImageState::Present));
    Observed {
        volumes: Volumes::Mounted,
        sandbox: Some(Sandbox { ip: [10, 244, 0, 2].into() }),
        images: present.into(),
        instances,
        first_seen: Some(at(0)),
        ..Observed::default()
    }
}

fn running(name: &str, attempt: u32) -> Instance {
    Instance {
        id: format!("u-{name}-{attempt}"),
        name: name.to_owned(),
        attempt,
        image: "i".to_owned(),
        image_id: "sha256:1".to_owned(),
        started_at: at(100),
        state: InstanceState::Running,
    }
}

fn exited(name: &str, attempt: u32, code: i32) -> Instance {
    let state = InstanceState::Exited { code, oom_killed: false, finished_at: at(101), message: String::new() };
    Instance { state, ..running(name, attempt) }
}

fn start(name: &str, attempt: u32) -> Action {
    Action::Start { container: name.to_owned(), attempt }
}

fn shown<'a>(plan: &'a PodPlan, name: &str) -> &'a ContainerStatus {
    let status = plan.status.as_ref().expect("a status");
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.into_iter().find(|status| status.name == name).expect("the container is shown")
}

/// The state of a container in one word: its reason, or `Running`.
fn state(plan: &PodPlan, name: &str) -> String {
    let state = shown(plan, name).state.clone().expect("a state");
    let waiting = state.waiting.and_then(|waiting| waiting.reason);
    let ended = state.terminated.and_then(|ended| ended.reason);
    waiting.or(ended).unwrap_or_else(|| "Running".to_owned())
}

fn phase(plan: &PodPlan) -> &str {
    plan.status.as_ref().and_then(|status| status.phase.as_deref()).expect("a phase")
}

fn shown_running(name: &str, attempt: u32) -> Value {
    json!({"name": name, "image": "i", "imageID": "sha256:1", "ready": true, "started": true, "restartCount": attempt,
        "containerID": format!("stead://u-{name}-{attempt}"), "state": {"running": {"startedAt": "1970-01-01T00:00:50Z"}}})
}

/// The first run of an init container, shown after its end.
fn shown_ended(name: &str, code: i32) -> Value {
    json!({"name": name, "image": "i", "imageID": "sha256:1", "ready": code == 0, "restartCount": 0,
        "containerID": format!("stead://u-{name}-0"), "state": {"terminated": {"exitCode": code}}})
}

fn check(told: &str, expected: Expect) {
    expected.assert_eq(told);
}

/// `Ready=False ContainersNotReady: containers with …`, one line per condition.
fn conditions(plan: &PodPlan) -> String {
    let status = plan.status.clone().expect("a status");
    let line = |condition: PodCondition| {
        let reason = condition.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
        let message = condition.message.map(|message| format!(": {message}")).unwrap_or_default();
        format!("{}={}{reason}{message}", condition.type_, condition.status)
    };
    status.conditions.unwrap_or_default().into_iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The plan for the pod as it is shown after this one.
fn then(pod: &Pod, status: Option<PodStatus>, seen: &Observed, now: i64) -> PodPlan {
    plan(&Pod { status, ..pod.clone() }, seen, at(now))
}

fn deleted(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("1970-01-01T00:02:30Z")).ok();
    pod
}

#[test]
fn a_pod_is_set_up_step_by_step() {
    let pod = pod(json!({}), json!({}));
    let mut seen = Observed { volumes: Volumes::Unmounted, ..set_up(Vec::new()) };
    seen.sandbox = None;
    assert_eq!(plan(&pod, &seen, at(1)).actions, [Action::MountVolumes]);
    seen.volumes = Volumes::Mounted;
    assert_eq!(plan(&pod, &seen, at(1)).actions, [Action::CreateSandbox { again: false }]);
    seen.sandbox = Some(Sandbox { ip: [10, 244, 0, 2].into() });
    seen.images.remove("b");
    let pull = Action::Pull { container: "b".to_owned(), image: "i".to_owned() };
    assert_eq!(plan(&pod, &seen, at(1)).actions, [start("a", 0), pull]);
}

#[test]
fn a_container_that_ends_again_waits_longer_and_that_is_told() {
    let pod = pod(json!({}), json!({}));
    let mut seen = set_up(vec![exited("a", 0, 1), running("b", 0)]);
    assert_eq!(plan(&pod, &seen, at(101)).actions, [start("a", 1)], "the first time at once");
    seen.backoffs.insert("a".to_owned(), Backoff { restarts: 1 });
    let waiting = plan(&pod, &seen, at(105));
    assert_eq!((waiting.actions.as_slice(), waiting.wake_at), (&[][..], Some(at(111))));
    assert_eq!(waiting.news, [News::BackOff { container: "a".to_owned(), id: "u-a-0".to_owned() }]);
    assert_eq!((state(&waiting, "a").as_str(), phase(&waiting)), ("CrashLoopBackOff", "Running"));
    assert_eq!(plan(&pod, &seen, at(111)).actions, [start("a", 1)]);
    assert_eq!(plan(&pod, &seen, at(61)).actions, [start("a", 1)], "a clock set back does not hold it up");
}

#[test]
fn a_new_try_to_pull_does_not_hide_why_the_last_one_failed() {
    let pod = pod(json!({}), json!({}));
    let mut seen = set_up(vec![running("b", 0)]);
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: "no such image".to_owned(), retry_at: at(110) };
    seen.images.insert("a".to_owned(), ImageState::Failed(failure.clone()));
    let failed = plan(&pod, &seen, at(105));
    assert_eq!((state(&failed, "a").as_str(), failed.wake_at), ("ErrImagePull", Some(at(110))));
    let pull = Action::Pull { container: "a".to_owned(), image: "i".to_owned() };
    assert_eq!(plan(&pod, &seen, at(110)).actions, [pull]);
    seen.images.insert("a".to_owned(), ImageState::Pulling { before: Some(failure) });
    assert_eq!(state(&plan(&pod, &seen, at(110)), "a"), "ErrImagePull");
    seen.images.insert("a".to_owned(), ImageState::Pulling { before: None });
    assert_eq!(state(&plan(&pod, &seen, at(110)), "a"), "ContainerCreating");
}

#[test]
fn containers_after_one_with_a_hook_wait_for_it() {
    let hooked = json!({"name": "a", "image": "i", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let pod = pod(json!({"containers": [hooked, {"name": "b", "image": "i"}]}), json!({}));
    assert_eq!(plan(&pod, &set_up(Vec::new()), at(100)).actions, [start("a", 0)]);

    let mut seen = set_up(vec![running("a", 0)]);
    let hook = Action::PostStart { id: "u-a-0".to_owned(), container: "a".to_owned() };
    assert_eq!(plan(&pod, &seen, at(100)).actions, [hook]);
    seen.hooks.insert("u-a-0".to_owned(), Hook::Running);
    let pending = plan(&pod, &seen, at(100));
    assert_eq!((pending.actions.as_slice(), state(&pending, "a").as_str()), (&[][..], "ContainerCreating"));
    assert_eq!((phase(&pending), shown(&pending, "a").started), ("Pending", Some(false)));
    seen.hooks.insert("u-a-0".to_owned(), Hook::Done);
    let through = plan(&pod, &seen, at(100));
    assert_eq!((through.actions.as_slice(), state(&through, "a").as_str()), (&[start("b", 0)][..], "Running"));

    seen.hooks.insert("u-a-0".to_owned(), Hook::Failed);
    let failed = plan(&pod, &seen, at(100));
    assert!(matches!(&failed.actions[..], [Action::Stop { .. }, Action::Start { .. }]), "{:?}", failed.actions);
    assert_eq!(state(&failed, "a"), "PostStartHookError");

    let mut no_image = set_up(Vec::new());
    let failure = Failure { reason: "ErrImagePull".to_owned(), message: String::new(), retry_at: at(200) };
    no_image.images.insert("a".to_owned(), ImageState::Failed(failure));
    assert_eq!(plan(&pod, &no_image, at(100)).actions, [start("b", 0)], "one that cannot start holds nobody up");
}

#[test]
fn what_the_node_lost_starts_again_under_the_next_number() {
    let status = json!({"phase": "Running", "containerStatuses": [shown_running("a", 0), shown_running("b", 4)]});
    let pod = pod(json!({}), status);
    let mut seen = set_up(Vec::new());
    seen.sandbox = None;
    assert_eq!(plan(&pod, &seen, at(100)).actions, [Action::CreateSandbox { again: true }]);
    seen.sandbox = Some(Sandbox { ip: [10, 244, 0, 3].into() });
    let lost = plan(&pod, &seen, at(100));
    assert_eq!(lost.actions, [start("a", 1), start("b", 5)]);
    let b = shown(&lost, "b");
    assert_eq!((state(&lost, "b").as_str(), phase(&lost)), ("ContainerCreating", "Running"));
    assert_eq!((b.restart_count, b.container_id.as_deref()), (5, None));
    let last = b.last_state.clone().and_then(|state| state.terminated).expect("a last state");
    assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("ContainerStatusUnknown")));

    // The status was written, and the images must be confirmed first: the number stays.
    let mut shown_lost = pod.clone();
    shown_lost.status = lost.status.clone();
    let next = plan(&shown_lost, &seen, at(102));
    assert_eq!(next.actions, [start("a", 1), start("b", 5)]);
    assert_eq!(next.status, lost.status, "and nothing is written again");

    // Started at once, without a status in between.
    seen.instances = vec![running("a", 1), running("b", 5)];
    let back = plan(&pod, &seen, at(102));
    let last = shown(&back, "b").last_state.clone().and_then(|state| state.terminated).expect("a last state");
    assert_eq!((shown(&back, "b").restart_count, last.exit_code), (5, 137));
}

#[test]
fn a_pod_that_must_not_restart_fails_when_the_node_lost_it() {
    let status = json!({"phase": "Running", "containerStatuses": [shown_running("a", 0), shown_running("b", 0)]});
    let pod = pod(json!({"restartPolicy": "Never"}), status);
    let plan = plan(&pod, &set_up(Vec::new()), at(100));
    assert_eq!((plan.actions.as_slice(), phase(&plan)), (&[][..], "Failed"));
    assert_eq!(state(&plan, "a"), "ContainerStatusUnknown");
}

#[test]
fn init_containers_are_run_again_only_where_what_they_made_may_be_lost() {
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let init = json!({"name": "init", "image": "i", "imageID": "sha256:1", "ready": true, "started": false,
        "restartCount": 0, "containerID": "stead://u-init-0", "state": ended});
    let status = json!({"phase": "Running", "initContainerStatuses": [init],
        "containerStatuses": [shown_running("a", 0), shown_running("b", 0)]});
    let pod = pod(json!({"initContainers": [{"name": "init", "image": "i"}]}), status);
    let lost = plan(&pod, &set_up(Vec::new()), at(100));
    assert_eq!((lost.actions.as_slice(), phase(&lost)), (&[start("init", 1)][..], "Running"));
    // After a reboot the runtime may still know how everything ended, but the sandbox is gone.
    let mut rebooted = set_up(vec![exited("init", 0, 0), exited("a", 0, 137), exited("b", 0, 137)]);
    rebooted.sandbox = None;
    let forget = Action::Forget { id: "u-init-0".to_owned() };
    assert_eq!(plan(&pod, &rebooted, at(200)).actions, [forget, Action::CreateSandbox { again: true }]);
    let kept = plan(&pod, &set_up(vec![running("a", 0), running("b", 0)]), at(100));
    assert_eq!((kept.actions.as_slice(), state(&kept, "init").as_str()), (&[][..], "Completed"));
    assert_eq!(phase(&kept), "Running");
}

#[test]
fn sidecars_end_last_and_within_what_is_left_of_the_time() {
    let sidecar = json!({"name": "init", "image": "i", "restartPolicy": "Always"});
    let mut pod = pod(json!({"initContainers": [sidecar]}), json!({"phase": "Running"}));
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("1970-01-01T00:02:30Z")).ok();
    pod.metadata.deletion_grace_period_seconds = Some(30);
    let graces = |seen: &Observed, now| -> Vec<(String, i64)> {
        let actions = plan(&pod, seen, at(now)).actions.into_iter();
        actions
            .filter_map(|action| match action {
                Action::Stop { container, grace_s, .. } => Some((container, grace_s)),
                _ => None,
            })
            .collect()
    };
    let mut seen = set_up(vec![running("init", 0), running("a", 0), exited("b", 0, 0)]);
    assert_eq!(graces(&seen, 120), [("a".to_owned(), 30)]);
    seen.instances = vec![running("init", 0), exited("a", 0, 0), exited("b", 0, 0)];
    assert_eq!(graces(&seen, 140), [("init".to_owned(), 11)]);
    assert_eq!(graces(&seen, 160), [("init".to_owned(), 2)], "never less than the floor");
    assert_eq!(graces(&seen, 0), [("init".to_owned(), 30)], "a clock set back gives no more than the whole");
}

#[test]
fn all_messages_of_a_pod_share_a_limit() {
    let pod = pod(json!({"restartPolicy": "Never"}), json!({}));
    let talkative = |name: &str| {
        let message = "é".repeat(4000);
        let state = InstanceState::Exited { code: 1, oom_killed: false, finished_at: at(101), message };
        Instance { state, ..running(name, 0) }
    };
    let plan = plan(&pod, &set_up(vec![talkative("a"), talkative("b")]), at(102));
    let message = shown(&plan, "a").state.clone().and_then(|state| state.terminated?.message).expect("a message");
    assert_eq!(message.len(), 6144);
}

#[test]
fn a_deadline_is_told_and_fails_the_pod() {
    let pod = pod(json!({"activeDeadlineSeconds": 50}), json!({"phase": "Running"}));
    let seen = set_up(vec![running("a", 0), running("b", 0)]);
    assert_eq!(plan(&pod, &seen, at(10)).wake_at, Some(at(50)));
    let over = plan(&pod, &seen, at(50));
    assert_eq!(over.news, [News::DeadlineExceeded]);
    assert!(over.actions.iter().all(|action| matches!(action, Action::Stop { .. })) && over.actions.len() == 2);
}
