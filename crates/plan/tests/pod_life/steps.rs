//! The small steps: what is tried again and when, what is removed, how a pod winds down.

use super::*;

fn failure(retry_at: i64) -> Failure {
    Failure { reason: "Failed".to_owned(), message: "no luck".to_owned(), retry_at: at(retry_at) }
}

fn names(plan: &PodPlan) -> Vec<&'static str> {
    plan.actions.iter().map(Action::name).collect()
}

#[test]
fn what_failed_is_tried_again_when_its_time_has_come() {
    let pod = pod(json!({}), json!({}));
    let next = |seen: &Observed, now| {
        let plan = plan(&pod, seen, at(now));
        (names(&plan), plan.wake_at)
    };
    let mut seen = set_up(Vec::new());
    seen.volumes = Volumes::Failed(failure(110));
    assert_eq!(next(&seen, 109), (vec![], Some(at(110))));
    assert_eq!(next(&seen, 110), (vec!["mount-volumes"], None));
    seen.volumes = Volumes::Mounted;
    (seen.sandbox, seen.sandbox_failure) = (None, Some(failure(110)));
    assert_eq!(next(&seen, 109), (vec![], Some(at(110))));
    assert_eq!(next(&seen, 110), (vec!["create-sandbox"], None));
    let mut seen = set_up(vec![running("b", 0)]);
    seen.start_failures.insert("a".to_owned(), failure(110));
    assert_eq!(next(&seen, 109), (vec![], Some(at(110))));
    assert_eq!(state(&plan(&pod, &seen, at(109)), "a"), "Failed");
    assert_eq!(next(&seen, 110), (vec!["start"], None));
}

#[test]
fn an_image_that_is_always_pulled_is_confirmed_before_each_start() {
    let always = json!({"containers": [{"name": "a", "image": "i", "imagePullPolicy": "Always"}]});
    let pod = pod(always, json!({}));
    let mut seen = set_up(Vec::new());
    assert_eq!(names(&plan(&pod, &seen, at(100))), ["pull"]);
    seen.images.insert("a".to_owned(), ImageState::Pulled);
    assert_eq!(names(&plan(&pod, &seen, at(100))), ["start"]);
}

#[test]
fn of_what_has_ended_the_newest_two_are_kept() {
    let pod = pod(json!({}), json!({}));
    let seen = set_up(vec![exited("a", 0, 1), exited("a", 1, 1), exited("a", 2, 1), running("a", 3), running("b", 0)]);
    let forget = |id: &str| Action::Forget { id: id.to_owned() };
    let next = plan(&pod, &seen, at(200));
    assert_eq!(next.actions, [forget("u-a-0"), forget("u-a-1")]);
    let last = shown(&next, "a").last_state.clone().and_then(|state| state.terminated?.container_id);
    assert_eq!(last.as_deref(), Some("stead://u-a-2"));
}

#[test]
fn the_rest_of_a_pod_is_removed_once_its_end_is_shown() {
    let mut going = pod(json!({}), json!({"phase": "Running"}));
    going.metadata.deletion_timestamp = serde_json::from_value(json!("1970-01-01T00:02:30Z")).ok();
    let mut seen = set_up(vec![exited("a", 0, 0), exited("b", 0, 0)]);
    let ended = plan(&going, &seen, at(200));
    assert_eq!(ended.actions, [], "first its end is written down");
    going.status = ended.status;
    assert_eq!(plan(&going, &seen, at(200)).actions, [Action::TearDown]);
    seen.torn_down = true;
    let bare = plan(&going, &seen, at(200));
    assert_eq!(bare.actions, [Action::Delete]);
    seen.gone = true;
    let gone = plan(&going, &seen, at(200));
    assert_eq!((gone.actions.as_slice(), gone.status), (&[Action::Finish][..], None));
    // A pod that ended by itself stays until somebody deletes it.
    let mut done = pod(json!({"restartPolicy": "Never"}), json!({"phase": "Succeeded"}));
    seen.gone = false;
    assert_eq!(plan(&done, &seen, at(200)).actions, []);
    // One whose deletion nobody saw is removed without anybody being told.
    done.status = None;
    seen.gone = true;
    seen.torn_down = false;
    assert_eq!(plan(&done, &seen, at(200)).actions, [Action::TearDown]);
}

#[test]
fn sidecars_end_from_the_last_declared_up_and_init_containers_with_the_others() {
    let init = json!([
        {"name": "one", "image": "i", "restartPolicy": "Always"},
        {"name": "two", "image": "i", "restartPolicy": "Always"},
    ]);
    let mut pod = pod(json!({"initContainers": init}), json!({"phase": "Running"}));
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("1970-01-01T00:02:30Z")).ok();
    let stopped = |instances| -> Vec<String> {
        let actions = plan(&pod, &set_up(instances), at(120)).actions.into_iter();
        actions
            .filter_map(|action| if let Action::Stop { container, .. } = action { Some(container) } else { None })
            .collect()
    };
    assert_eq!(stopped(vec![running("one", 0), running("two", 0), running("b", 0), running("a", 0)]), ["b", "a"]);
    assert_eq!(stopped(vec![running("one", 0), running("two", 0), exited("a", 0, 0)]), ["two"]);
    assert_eq!(stopped(vec![running("one", 0), exited("two", 0, 0)]), ["one"]);
}

/// What is stopped, and the phase that is shown, of a pod with a sidecar that runs beside `instances`.
fn with_sidecar(pod: &Pod, instances: &[Instance]) -> (String, String) {
    let plan = plan(pod, &set_up([&[running("side", 0)], instances].concat()), at(200));
    let stopped = plan.actions.iter().filter_map(|action| match action {
        Action::Stop { container, .. } => Some(container.as_str()),
        _ => None,
    });
    (stopped.collect::<Vec<_>>().join(" "), phase(&plan).to_owned())
}

#[test]
fn when_nothing_is_left_to_do_what_still_runs_is_stopped_and_then_the_end_is_shown() {
    let init = json!([{"name": "side", "image": "i", "restartPolicy": "Always"}, {"name": "init", "image": "i"}]);
    let shown_as =
        |phase: &str| pod(json!({"restartPolicy": "Never", "initContainers": init}), json!({"phase": phase}));
    let told = |stopped: &str, phase: &str| (stopped.to_owned(), phase.to_owned());
    let through = exited("init", 0, 0);
    let up = shown_as("Running");
    assert_eq!(with_sidecar(&up, &[through.clone(), exited("a", 0, 1), running("b", 0)]), told("", "Running"));
    let ended = [through, exited("a", 0, 0), exited("b", 0, 0)];
    assert_eq!(with_sidecar(&up, &ended), told("side", "Running"));
    assert_eq!(with_sidecar(&shown_as("Pending"), &[exited("init", 0, 1)]), told("side", "Pending"));
    let all = plan(&up, &set_up([&[exited("side", 0, 137)], &ended[..]].concat()), at(201));
    assert_eq!((phase(&all), state(&all, "side").as_str()), ("Succeeded", "Error"), "the sidecar's end matters not");
}

#[test]
fn an_end_that_somebody_else_has_shown_stays_while_the_pod_is_stopped() {
    let pod = pod(json!({}), json!({"phase": "Failed", "reason": "Evicted", "message": "no room"}));
    let stopping = plan(&pod, &set_up(vec![running("a", 0), running("b", 0)]), at(200));
    assert_eq!(names(&stopping), ["stop", "stop"]);
    let status = stopping.status.expect("a status");
    assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Evicted")));
}

#[test]
fn a_sidecar_that_ended_starts_again_beside_what_runs() {
    let sidecar = json!({"name": "init", "image": "i", "restartPolicy": "Always"});
    let pod = pod(json!({"initContainers": [sidecar]}), json!({}));
    let seen = set_up(vec![exited("init", 0, 0), running("a", 0), running("b", 0)]);
    assert_eq!(plan(&pod, &seen, at(200)).actions, [start("init", 1)]);
}

#[test]
fn how_an_init_container_ended_counts_though_the_runtime_has_forgotten_it() {
    let next = |code: i32| {
        let spec = json!({"restartPolicy": "Never", "initContainers": [{"name": "init", "image": "i"}]});
        let pod = pod(spec, json!({"phase": "Pending", "initContainerStatuses": [shown_ended("init", code)]}));
        let plan = plan(&pod, &set_up(Vec::new()), at(100));
        (plan.actions.clone(), phase(&plan).to_owned())
    };
    assert_eq!(next(0), (vec![start("a", 0), start("b", 0)], "Pending".to_owned()));
    assert_eq!(next(3), (vec![], "Failed".to_owned()));
}

#[test]
fn an_init_container_that_failed_for_good_fails_the_pod_though_one_before_it_would_run_again() {
    let init = json!([{"name": "one", "image": "i"}, {"name": "two", "image": "i", "restartPolicy": "Never"}]);
    let status = json!({"phase": "Pending", "initContainerStatuses": [shown_ended("one", 0), shown_ended("two", 1)]});
    let pod = pod(json!({"initContainers": init}), status);
    // The node was started anew and knows nothing of them.
    let lost = plan(&pod, &set_up(Vec::new()), at(100));
    assert_eq!((lost.actions.as_slice(), phase(&lost)), (&[][..], "Failed"));
}

#[test]
fn init_containers_go_one_after_the_other_and_a_sidecar_lets_the_next_one_go_once_it_has_started() {
    let probe = json!({"exec": {"command": ["x"]}});
    let init = json!([
        {"name": "side", "image": "i", "restartPolicy": "Always", "startupProbe": probe},
        {"name": "init", "image": "i"},
    ]);
    let pod = pod(json!({"initContainers": init}), json!({}));
    let mut seen = set_up(vec![running("side", 0)]);
    seen.images.insert("side".to_owned(), ImageState::Present);
    assert_eq!(plan(&pod, &set_up(Vec::new()), at(100)).actions.len(), 1);
    assert_eq!(plan(&pod, &seen, at(100)).actions, [], "its startup probe has not passed");
    let passed = stead_plan::pod::Probed { started: true, ..Default::default() };
    seen.probes.insert("u-side-0".to_owned(), passed);
    assert_eq!(plan(&pod, &seen, at(100)).actions, [start("init", 0)]);
    seen.instances.push(running("init", 0));
    assert_eq!(plan(&pod, &seen, at(100)).actions, []);
    *seen.instances.last_mut().expect("init") = exited("init", 0, 0);
    assert_eq!(plan(&pod, &seen, at(100)).actions, [start("a", 0), start("b", 0)]);
}

#[test]
fn what_runs_is_left_alone_and_a_pod_without_regular_containers_to_run_is_not_over() {
    let pod = pod(json!({"restartPolicy": "OnFailure"}), json!({}));
    assert_eq!(plan(&pod, &set_up(vec![exited("a", 0, 0), running("b", 0)]), at(200)).actions, []);
    let next = plan(&pod, &set_up(vec![exited("a", 0, 0), exited("b", 0, 1)]), at(200));
    assert_eq!(next.actions, [start("b", 1)], "the failed one only");
    assert_eq!(phase(&next), "Running");
}

#[test]
fn a_deadline_counts_from_the_start_that_is_shown() {
    let status = json!({"phase": "Running", "startTime": "1970-01-01T00:00:20Z"});
    let pod = pod(json!({"activeDeadlineSeconds": 50}), status);
    let seen = set_up(vec![running("a", 0), running("b", 0)]);
    assert_eq!(plan(&pod, &seen, at(69)).wake_at, Some(at(70)));
    let over = plan(&pod, &seen, at(70));
    assert_eq!((over.news.as_slice(), over.wake_at), (&[News::DeadlineExceeded][..], None));
}

#[test]
fn a_container_is_ready_when_its_readiness_probe_says_so() {
    let probe = json!({"exec": {"command": ["x"]}});
    let pod = pod(json!({"containers": [{"name": "a", "image": "i", "readinessProbe": probe}]}), json!({}));
    let mut seen = set_up(vec![running("a", 0)]);
    let ready = |seen: &Observed| shown(&plan(&pod, seen, at(100)), "a").ready;
    assert!(!ready(&seen));
    seen.probes.insert("u-a-0".to_owned(), stead_plan::pod::Probed { ready: true, ..Default::default() });
    assert!(ready(&seen));
    seen.instances = vec![exited("a", 0, 0)];
    assert!(!ready(&seen), "it ended");
}
