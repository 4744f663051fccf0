//! What is shown of containers that ended and of pods that end: phases, reasons, exit codes, and ends that nobody
//! saw.

use super::*;

#[test]
fn a_pod_whose_containers_ended_for_good_has_succeeded_or_failed() {
    let pod = pod(json!({"restartPolicy": "Never"}), json!({}));
    let well = plan(&pod, &set_up(vec![exited("a", 0, 0), exited("b", 0, 0)]), at(200));
    assert_eq!(phase(&well), "Succeeded");
    check(
        &conditions(&well),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False PodCompleted
        ContainersReady=False PodCompleted
        PodScheduled=True"#]],
    );
    let badly = plan(&pod, &set_up(vec![exited("a", 0, 0), exited("b", 0, 7)]), at(200));
    assert_eq!(phase(&badly), "Failed");
    check(
        &conditions(&badly),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False PodFailed
        ContainersReady=False PodFailed
        PodScheduled=True"#]],
    );
    let half = plan(&pod, &set_up(vec![exited("a", 0, 0), running("b", 0)]), at(200));
    assert_eq!(phase(&half), "Running");
    for code in [0, 7] {
        let b_is_to_come = plan(&pod, &set_up(vec![exited("a", 0, code)]), at(200));
        assert_eq!(phase(&b_is_to_come), "Pending");
    }
}

#[test]
fn a_pod_whose_containers_all_start_again_runs() {
    let both = plan(&pod(json!({}), json!({})), &set_up(vec![exited("a", 0, 0), exited("b", 0, 0)]), at(101));
    assert_eq!((both.actions.len(), phase(&both)), (2, "Running"));
}

#[test]
fn a_pod_without_containers_waits_and_has_not_succeeded_when_it_goes() {
    let none = pod(json!({"containers": []}), json!({}));
    assert_eq!(phase(&plan(&none, &set_up(Vec::new()), at(100))), "Pending");
    assert_eq!(phase(&plan(&deleted(none), &set_up(Vec::new()), at(100))), "Failed");
}

#[test]
fn an_init_container_that_nobody_knows_of_is_taken_for_done_once_the_pod_is_past_it() {
    let init = json!({"initContainers": [{"name": "init", "image": "i"}]});
    let up = set_up(vec![running("a", 0), running("b", 0)]);
    let state = |status: Value| {
        let plan = plan(&pod(init.clone(), status), &up, at(200));
        let state = shown(&plan, "init").state.clone().expect("a state");
        serde_json::to_string_pretty(&state).expect("it can be written")
    };
    check(
        &state(json!({})),
        expect![[r#"
        {
          "terminated": {
            "exitCode": 0,
            "finishedAt": "1970-01-01T00:03:20Z",
            "message": "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
            "reason": "Completed"
          }
        }"#]],
    );
    let ended = json!({"terminated": {"containerID": "stead://u-init-0", "exitCode": 0, "reason": "Completed"}});
    let known = json!({"name": "init", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "containerID": "stead://u-init-0", "state": ended});
    check(
        &state(json!({"initContainerStatuses": [known]})),
        expect![[r#"
        {
          "terminated": {
            "containerID": "stead://u-init-0",
            "exitCode": 0,
            "reason": "Completed"
          }
        }"#]],
    );
}

#[test]
fn a_pod_that_goes_counts_no_start_of_what_its_node_lost() {
    let mut b = shown_running("b", 4);
    let ended = json!({"exitCode": 3, "reason": "Error", "containerID": "stead://u-b-4"});
    b["state"] = json!({"terminated": ended});
    let status = json!({"phase": "Running", "containerStatuses": [shown_running("a", 2), b]});
    let lost = plan(&deleted(pod(json!({}), status)), &set_up(Vec::new()), at(200));
    assert_eq!(phase(&lost), "Failed");
    let told = |name: &str| {
        let status = shown(&lost, name);
        let ended = status.state.clone().and_then(|state| state.terminated).expect("its end");
        (status.restart_count, status.container_id.clone().unwrap_or_default(), ended.exit_code)
    };
    assert_eq!(told("a"), (2, "stead://u-a-2".to_owned(), 137));
    assert_eq!(told("b"), (4, "stead://u-b-4".to_owned(), 3), "its end was seen");
}

#[test]
fn a_container_whose_hook_goes_on_is_shown_as_running_once_the_pod_ends() {
    let hooked = json!({"name": "a", "image": "i", "lifecycle": {"postStart": {"exec": {"command": ["x"]}}}});
    let pod = pod(json!({"containers": [hooked]}), json!({"phase": "Pending"}));
    let mut seen = set_up(vec![running("a", 0)]);
    seen.hooks.insert("u-a-0".to_owned(), Hook::Running);
    let state = |pod: &Pod| {
        let state = shown(&plan(pod, &seen, at(120)), "a").state.clone().expect("a state");
        (state.running.is_some(), state.waiting.and_then(|waiting| waiting.reason))
    };
    assert_eq!(state(&pod), (false, Some("ContainerCreating".to_owned())));
    assert_eq!(state(&deleted(pod)), (true, None));
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let pod = pod(json!({"restartPolicy": "Never", "initContainers": [{"name": "init", "image": "i"}]}), json!({}));
    let failed = plan(&pod, &set_up(vec![exited("init", 0, 1)]), at(200));
    assert_eq!((phase(&failed), failed.actions.as_slice()), ("Failed", &[][..]));
    check(
        &conditions(&failed),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=False ContainersNotInitialized: containers with incomplete status: [init]
        Ready=False PodFailed
        ContainersReady=False PodFailed
        PodScheduled=True"#]],
    );
    // Short of memory it has not done what it was to do, whatever it says.
    let starved = Instance {
        state: InstanceState::Exited { code: 0, oom_killed: true, finished_at: at(101), message: String::new() },
        ..exited("init", 0, 0)
    };
    assert_eq!(phase(&plan(&pod, &set_up(vec![starved]), at(200))), "Failed");
}

#[test]
fn a_pod_that_is_gone_before_it_ran_shows_ends_that_nobody_saw() {
    let pod = deleted(pod(json!({"initContainers": [{"name": "init", "image": "i"}]}), json!({"phase": "Pending"})));
    let ended = plan(&pod, &set_up(vec![exited("init", 0, 0), exited("a", 0, 0)]), at(200));
    assert_eq!(phase(&ended), "Failed");
    let shown = ended.status.clone().expect("a status").container_statuses.unwrap_or_default();
    check(
        &serde_json::to_string_pretty(&shown[1]).expect("it can be written"),
        expect![[r#"
        {
          "image": "i",
          "imageID": "",
          "lastState": {},
          "name": "b",
          "ready": false,
          "resources": {},
          "restartCount": 0,
          "started": false,
          "state": {
            "terminated": {
              "exitCode": 137,
              "finishedAt": "1970-01-01T00:03:20Z",
              "message": "The container could not be located when the pod was terminated",
              "reason": "ContainerStatusUnknown"
            }
          }
        }"#]],
    );
    let all_well = plan(&pod, &set_up(vec![exited("init", 0, 0), exited("a", 0, 0), exited("b", 0, 0)]), at(200));
    assert_eq!(phase(&all_well), "Succeeded");
    let still = plan(&pod, &set_up(vec![exited("a", 0, 0), running("b", 0)]), at(200));
    assert_eq!(phase(&still), "Running", "as long as something runs nothing is final");
    let never = plan(&pod, &set_up(vec![]), at(200));
    assert_eq!(phase(&never), "Failed");
}

#[test]
fn a_deadline_is_the_reason_of_a_pod_that_failed_of_it_and_stays_so() {
    let pod =
        pod(json!({"activeDeadlineSeconds": 50}), json!({"phase": "Running", "startTime": "1970-01-01T00:00:00Z"}));
    let why = |plan: &PodPlan| {
        let status = plan.status.clone().expect("a status");
        format!("{} {}: {}", phase(plan), status.reason.unwrap_or_default(), status.message.unwrap_or_default())
    };
    let stopping = plan(&pod, &set_up(vec![running("a", 0), exited("b", 0, 0)]), at(60));
    assert_eq!(why(&stopping), "Running : ");
    let over = set_up(vec![exited("a", 0, 0), exited("b", 0, 0)]);
    let failed = plan(&pod, &over, at(60));
    check(
        &why(&failed),
        expect!["Failed DeadlineExceeded: Pod was active on the node longer than the specified deadline"],
    );
    // Shown as failed it stays failed, whatever else comes; the generation is noted.
    let mut seen_later = pod.clone();
    seen_later.metadata.generation = Some(4);
    let later = then(&seen_later, failed.status.clone(), &over, 90);
    assert_eq!(why(&later), why(&failed));
    let (later, failed) = (later.status.expect("a status"), failed.status.expect("a status"));
    assert_eq!(later, PodStatus { observed_generation: Some(4), ..failed });
}

#[test]
fn a_reason_stays_while_the_phase_does() {
    let status = json!({"phase": "Running", "reason": "Told", "message": "by somebody"});
    let pod = pod(json!({"restartPolicy": "Never"}), status);
    let up = plan(&pod, &set_up(vec![running("a", 0), running("b", 0)]), at(100)).status.expect("a status");
    assert_eq!((up.reason.as_deref(), up.message.as_deref()), (Some("Told"), Some("by somebody")));
    let ended = plan(&pod, &set_up(vec![exited("a", 0, 0), exited("b", 0, 0)]), at(200)).status.expect("a status");
    assert_eq!((ended.reason, ended.message), (None, None));
}
