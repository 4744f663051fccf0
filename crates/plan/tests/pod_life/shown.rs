//! What is shown of a pod that is up or coming up: its phase, its conditions, its containers.

use stead_plan::pod::long_name;

use super::*;

#[test]
fn a_pod_that_is_up_is_shown_in_full() {
    let mounts =
        json!([{"name": "data", "mountPath": "/data"}, {"name": "conf", "mountPath": "/etc", "readOnly": true}]);
    let mut pod = pod(
        json!({
            "initContainers": [{"name": "init", "image": "i"}],
            "containers": [
                {"name": "b", "image": "i"},
                {"name": "a", "image": "i", "volumeMounts": mounts,
                    "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}},
            ],
        }),
        json!({"conditions": [{"type": "Theirs", "status": "True"}]}),
    );
    pod.metadata.generation = Some(3);
    let before = Instance {
        state: InstanceState::Exited { code: 0, oom_killed: true, finished_at: at(90), message: "no room".to_owned() },
        ..exited("a", 0, 0)
    };
    let mut seen = set_up(vec![exited("init", 0, 0), before, running("a", 1), running("b", 0)]);
    seen.host_ip = Some([192, 168, 0, 9].into());
    let shown = plan(&pod, &seen, at(200)).status.expect("a status");
    check(
        &serde_json::to_string_pretty(&shown).expect("it can be written"),
        expect![[r#"
        {
          "conditions": [
            {
              "status": "True",
              "type": "Theirs"
            },
            {
              "lastTransitionTime": "1970-01-01T00:03:20Z",
              "observedGeneration": 3,
              "status": "True",
              "type": "PodReadyToStartContainers"
            },
            {
              "lastTransitionTime": "1970-01-01T00:03:20Z",
              "observedGeneration": 3,
              "status": "True",
              "type": "Initialized"
            },
            {
              "lastTransitionTime": "1970-01-01T00:03:20Z",
              "observedGeneration": 3,
              "status": "True",
              "type": "Ready"
            },
            {
              "lastTransitionTime": "1970-01-01T00:03:20Z",
              "observedGeneration": 3,
              "status": "True",
              "type": "ContainersReady"
            },
            {
              "lastTransitionTime": "1970-01-01T00:03:20Z",
              "observedGeneration": 3,
              "status": "True",
              "type": "PodScheduled"
            }
          ],
          "containerStatuses": [
            {
              "allocatedResources": {
                "cpu": "1"
              },
              "containerID": "stead://u-a-1",
              "image": "i",
              "imageID": "sha256:1",
              "lastState": {
                "terminated": {
                  "containerID": "stead://u-a-0",
                  "exitCode": 0,
                  "finishedAt": "1970-01-01T00:01:30Z",
                  "message": "no room",
                  "reason": "OOMKilled",
                  "startedAt": "1970-01-01T00:01:40Z"
                }
              },
              "name": "a",
              "ready": true,
              "resources": {
                "limits": {
                  "cpu": "2"
                },
                "requests": {
                  "cpu": "1"
                }
              },
              "restartCount": 1,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "1970-01-01T00:01:40Z"
                }
              },
              "volumeMounts": [
                {
                  "mountPath": "/data",
                  "name": "data"
                },
                {
                  "mountPath": "/etc",
                  "name": "conf",
                  "readOnly": true,
                  "recursiveReadOnly": "Disabled"
                }
              ]
            },
            {
              "containerID": "stead://u-b-0",
              "image": "i",
              "imageID": "sha256:1",
              "lastState": {},
              "name": "b",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": true,
              "state": {
                "running": {
                  "startedAt": "1970-01-01T00:01:40Z"
                }
              }
            }
          ],
          "hostIP": "192.168.0.9",
          "hostIPs": [
            {
              "ip": "192.168.0.9"
            }
          ],
          "initContainerStatuses": [
            {
              "containerID": "stead://u-init-0",
              "image": "i",
              "imageID": "sha256:1",
              "lastState": {},
              "name": "init",
              "ready": true,
              "resources": {},
              "restartCount": 0,
              "started": false,
              "state": {
                "terminated": {
                  "containerID": "stead://u-init-0",
                  "exitCode": 0,
                  "finishedAt": "1970-01-01T00:01:41Z",
                  "reason": "Completed",
                  "startedAt": "1970-01-01T00:01:40Z"
                }
              }
            }
          ],
          "observedGeneration": 3,
          "phase": "Running",
          "podIP": "10.244.0.2",
          "podIPs": [
            {
              "ip": "10.244.0.2"
            }
          ],
          "qosClass": "Burstable",
          "startTime": "1970-01-01T00:00:00Z"
        }"#]],
    );
    let later = then(&pod, Some(shown.clone()), &seen, 300);
    assert_eq!(later.status, Some(shown), "times are those of the last change");
}

#[test]
fn containers_that_are_yet_to_run_say_what_they_wait_for() {
    let init = json!([
        {"name": "init", "image": "i"},
        {"name": "side", "image": "i", "restartPolicy": "Always"},
    ]);
    let pod = pod(json!({"initContainers": init}), json!({}));
    let begun = plan(&pod, &set_up(vec![running("init", 0)]), at(100));
    assert_eq!((phase(&begun), state(&begun, "a").as_str()), ("Pending", "PodInitializing"));
    check(
        &conditions(&begun),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=False ContainersNotInitialized: containers with incomplete status: [init side]
        Ready=False ContainersNotReady: containers with unready status: [side a b]
        ContainersReady=False ContainersNotReady: containers with unready status: [side a b]
        PodScheduled=True"#]],
    );
    let side = plan(&pod, &set_up(vec![exited("init", 0, 0)]), at(100));
    assert_eq!(phase(&side), "Pending");
    check(
        &conditions(&side),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=False ContainersNotInitialized: containers with incomplete status: [side]
        Ready=False ContainersNotReady: containers with unready status: [side a b]
        ContainersReady=False ContainersNotReady: containers with unready status: [side a b]
        PodScheduled=True"#]],
    );
    let through = plan(&pod, &set_up(vec![exited("init", 0, 0), running("side", 0)]), at(100));
    check(
        &conditions(&through),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False ContainersNotReady: containers with unready status: [a b]
        ContainersReady=False ContainersNotReady: containers with unready status: [a b]
        PodScheduled=True"#]],
    );
    let up =
        plan(&pod, &set_up(vec![exited("init", 0, 0), running("side", 0), running("a", 0), running("b", 0)]), at(100));
    assert_eq!(phase(&up), "Running");
    check(
        &conditions(&up),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=True
        ContainersReady=True
        PodScheduled=True"#]],
    );
    let side_down = plan(
        &pod,
        &set_up(vec![exited("init", 0, 0), exited("side", 0, 1), running("a", 0), running("b", 0)]),
        at(100),
    );
    assert_eq!(phase(&side_down), "Running");
    check(
        &conditions(&side_down),
        expect![[r#"
        PodReadyToStartContainers=True
        Initialized=True
        Ready=False ContainersNotReady: containers with unready status: [side]
        ContainersReady=False ContainersNotReady: containers with unready status: [side]
        PodScheduled=True"#]],
    );
}

#[test]
fn readiness_gates_are_asked_beside_the_containers() {
    let gates = json!({"readinessGates": [{"conditionType": "Balanced"}, {"conditionType": "Warm"}]});
    let ready = |conditions: Value| {
        let pod = pod(gates.clone(), json!({"conditions": conditions}));
        let plan = plan(&pod, &set_up(vec![running("a", 0), running("b", 0)]), at(100));
        let lines = self::conditions(&plan);
        lines.lines().find(|line| line.starts_with("Ready=")).expect("it is always there").to_owned()
    };
    let gate = |type_: &str, status: &str| json!({"type": type_, "status": status});
    check(
        &ready(json!([])),
        expect![[
            r#"Ready=False ReadinessGatesNotReady: corresponding condition of pod readiness gate "Balanced" does not exist., corresponding condition of pod readiness gate "Warm" does not exist."#
        ]],
    );
    check(
        &ready(json!([gate("Balanced", "True"), gate("Warm", "Unknown")])),
        expect![[
            r#"Ready=False ReadinessGatesNotReady: the status of pod readiness gate "Warm" is not "True", but Unknown"#
        ]],
    );
    check(&ready(json!([gate("Warm", "True"), gate("Balanced", "True")])), expect!["Ready=True"]);
}

#[test]
fn a_pod_is_ready_to_start_containers_while_it_has_its_sandbox() {
    let pod = pod(json!({}), json!({}));
    let told = |seen: &Observed| conditions(&plan(&pod, seen, at(100))).lines().next().unwrap_or_default().to_owned();
    let up = set_up(Vec::new());
    assert_eq!(told(&up), "PodReadyToStartContainers=True");
    assert_eq!(told(&Observed { sandbox: None, ..up.clone() }), "PodReadyToStartContainers=False");
    assert_eq!(told(&Observed { torn_down: true, ..up }), "PodReadyToStartContainers=False");
}

#[test]
fn the_class_of_a_pod_is_that_of_its_containers() {
    let class = |spec: Value| {
        let status = plan(&pod(spec, json!({})), &set_up(Vec::new()), at(100)).status.expect("a status");
        status.qos_class.unwrap_or_default()
    };
    let with = |a: Value, b: Value| json!({"containers": [{"name": "a", "image": "i", "resources": a}, {"name": "b", "image": "i", "resources": b}]});
    let whole = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let same = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let less = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}});
    let some = json!({"requests": {"memory": "1Gi"}});
    for (spec, wanted) in [
        (json!({}), "BestEffort"),
        (with(json!({}), json!({"requests": {"ephemeral-storage": "1Gi"}})), "BestEffort"),
        (with(whole.clone(), same.clone()), "Guaranteed"),
        (with(whole.clone(), less.clone()), "Burstable"),
        (with(whole.clone(), json!({})), "Burstable"),
        (with(some, json!({})), "Burstable"),
        (json!({"resources": same}), "Guaranteed"),
        (json!({"resources": less}), "Burstable"),
    ] {
        assert_eq!(class(spec.clone()), wanted, "{spec}");
    }
}

#[test]
fn a_container_that_crashes_names_its_pod() {
    let pod = pod(json!({}), json!({}));
    assert_eq!(long_name(&pod), "web-0_default(u)");
    let mut seen = set_up(vec![exited("a", 0, 1), running("b", 0)]);
    seen.backoffs.insert("a".to_owned(), Backoff { restarts: 1 });
    let plan = plan(&pod, &seen, at(105));
    let message = shown(&plan, "a").state.clone().and_then(|state| state.waiting?.message).unwrap_or_default();
    check(&message, expect!["back-off 10s restarting failed container=a pod=web-0_default(u)"]);
}
