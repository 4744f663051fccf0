//! What is read off pods and nodes.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::*;

fn spec_pod(extra: Value) -> Pod {
    let mut pod = json!({"metadata": {"name": "p", "uid": "u", "generation": 4}, "spec": {}, "status": {}});
    for (key, value) in extra.as_object().expect("an object") {
        pod[key] = overlay(pod[key].clone(), value.clone());
    }
    serde_json::from_value(pod).expect("a pod")
}

#[test]
fn a_pod_is_ours_until_it_has_a_node_or_an_end_or_another_scheduler() {
    assert!(is_ours(&spec_pod(json!({}))));
    assert!(is_ours(&spec_pod(json!({"spec": {"schedulerName": "default-scheduler", "nodeName": ""}}))));
    assert!(is_ours(&spec_pod(json!({"spec": {"schedulerName": ""}}))));
    for other in [
        json!({"spec": {"nodeName": "n"}}),
        json!({"spec": {"schedulerName": "mine"}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"status": {"phase": "Failed"}}),
    ] {
        assert!(!is_ours(&spec_pod(other.clone())), "{other}");
    }
    assert!(!is_ours(&Pod::default()));
    assert!(is_gated(&spec_pod(json!({"spec": {"schedulingGates": [{"name": "g"}]}}))));
    assert!(!is_gated(&spec_pod(json!({"spec": {"schedulingGates": []}}))) && !is_gated(&spec_pod(json!({}))));
}

#[test]
fn a_node_that_says_it_is_well_again_is_no_news_for_the_scheduler() {
    let node = |extra: Value| -> Node {
        let base = json!({"metadata": {"labels": {"a": "b"}}, "spec": {}, "status": {"allocatable": {"cpu": "1"}}});
        serde_json::from_value(overlay(base, extra)).expect("a Node")
    };
    let before = node(json!({}));
    let heartbeat =
        json!({"status": {"allocatable": {"cpu": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}});
    assert!(!is_relevant_node_change(&before, &node(heartbeat)));
    for change in [
        json!({"metadata": {"labels": {"a": "c"}}}),
        json!({"spec": {"unschedulable": true}}),
        json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        json!({"status": {"allocatable": {"cpu": "2"}}}),
    ] {
        assert!(is_relevant_node_change(&before, &node(change.clone())), "{change}");
    }
}

#[test]
fn why_a_pod_has_no_node_is_said_once_and_dated_when_it_began() {
    let time = |second: i64| Time(jiff::Timestamp::from_second(second).expect("a small number"));
    let first = unschedulable_condition(&spec_pod(json!({})), "no room", time(10)).expect("it is new");
    let wanted = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room",
        "lastTransitionTime": "1970-01-01T00:00:10Z", "observedGeneration": 4});
    assert_eq!(serde_json::to_value(&first).expect("it can be written"), wanted);
    let told = |held: Value, message: &str| {
        let pod = spec_pod(json!({"status": {"conditions": [held]}}));
        unschedulable_condition(&pod, message, time(99)).map(|condition| condition.last_transition_time)
    };
    assert_eq!(told(wanted.clone(), "no room"), None);
    assert_eq!(told(wanted.clone(), "no node"), Some(Some(time(10))), "other words for the same state");
    assert_eq!(told(overlay(wanted.clone(), json!({"reason": "Other"})), "no room"), Some(Some(time(10))));
    assert_eq!(told(overlay(wanted, json!({"status": "True"})), "no room"), Some(Some(time(99))));
}

#[test]
fn large_clusters_are_not_searched_to_the_end() {
    for (nodes, wanted) in [(1, 1), (100, 100), (101, 100), (1000, 420), (5000, 500), (20_000, 1000)] {
        assert_eq!(feasible_wanted(nodes), wanted, "{nodes} nodes");
    }
}

#[test]
fn a_note_is_cut_between_characters() {
    let long = format!("a{}", "é".repeat(600));
    let cut = note(&long);
    assert!(cut.len() <= NOTE_BYTES_MAX && cut.len() > NOTE_BYTES_MAX - 3 && cut.ends_with(" ..."), "{}", cut.len());
    let fits = "x".repeat(NOTE_BYTES_MAX);
    assert_eq!(note(&fits), fits);
}

#[test]
fn nodes_and_pods_come_and_go() {
    let world = World::default().node("a", json!({})).node("b", json!({})).node("c", json!({}));
    let order = |cluster: &Cluster, start| cluster.from(start).map(|state| state.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(order(&world.cluster, 1), ["b", "c", "a"]);
    assert_eq!(order(&world.cluster, 4), ["b", "c", "a"]);
    let mut cluster = world.running("p", "b", json!({})).cluster;
    assert_eq!((cluster.node_of("p"), cluster.node_of("q")), (Some("b"), None));
    cluster.remove_node("b");
    assert_eq!((order(&cluster, 0), cluster.is_empty()), (vec!["a".to_owned(), "c".to_owned()], false));
    assert_eq!(cluster.node_of("p"), Some("b"), "the pod stays known");
    cluster.remove("p");
    assert_eq!(cluster.node_of("p"), None);
    assert!(Cluster::default().is_empty());
}

#[test]
fn a_claim_is_in_use_until_the_last_of_its_pods_is_gone() {
    let mut cluster = World::default()
        .node("a", json!({}))
        .running("p", "a", uses(&["data"]))
        .running("q", "a", uses(&["data"]))
        .cluster;
    cluster.remove("p");
    assert!(cluster.is_claim_used("ns", "data"));
    cluster.remove("q");
    assert!(!cluster.is_claim_used("ns", "data"));
}

#[test]
fn a_port_is_given_back_by_the_pod_that_took_it() {
    let port =
        |number: i32| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": number}]}]});
    let mut world = World::default().node("a", json!({})).running("p", "a", port(80)).running("q", "a", port(81));
    world.cluster.remove("q");
    assert!(world.decide(port(80)).contains("free ports"), "the other one is still taken");
    assert!(!world.decide(port(81)).contains("free ports"));
}

#[test]
fn node_selectors_know_all_operators() {
    let node: Node = serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"size": "5", "kind": "ssd"}}}))
        .expect("a Node");
    let volume = |key: &str, field: &str, operator: &str, values: &[&str]| -> PersistentVolume {
        let term = json!({field: [{"key": key, "operator": operator, "values": values}]});
        let affinity = json!({"required": {"nodeSelectorTerms": [term]}});
        serde_json::from_value(json!({"spec": {"nodeAffinity": affinity}})).expect("a volume")
    };
    for (key, operator, values, wanted) in [
        ("kind", "In", &["hdd", "ssd"][..], true),
        ("kind", "NotIn", &["hdd"], true),
        ("kind", "NotIn", &["ssd"], false),
        ("other", "NotIn", &["ssd"], true),
        ("kind", "Exists", &[], true),
        ("other", "Exists", &[], false),
        ("kind", "DoesNotExist", &[], false),
        ("other", "DoesNotExist", &[], true),
        ("size", "Gt", &["4"], true),
        ("size", "Gt", &["5"], false),
        ("size", "Lt", &["6"], true),
        ("size", "Lt", &["5"], false),
        ("size", "Lt", &["4"], false),
        ("kind", "Near", &["ssd"], false),
    ] {
        let reached = node_selector::volume_reaches(&volume(key, "matchExpressions", operator, values), &node);
        assert_eq!(reached, wanted, "{key} {operator} {values:?}");
    }
    assert!(node_selector::volume_reaches(&volume("metadata.name", "matchFields", "In", &["n"]), &node));
    assert!(!node_selector::volume_reaches(&volume("metadata.uid", "matchFields", "In", &["n"]), &node));
}

#[test]
fn a_cordoned_node_takes_those_who_tolerate_that() {
    let world = World::default().node("a", json!({"spec": {"unschedulable": true}}));
    let tolerates = |toleration: Value| world.decide(json!({"tolerations": [toleration]})).contains("unschedulable");
    let key = "node.kubernetes.io/unschedulable";
    assert!(!tolerates(json!({"key": key, "operator": "Exists", "effect": "NoSchedule"})));
    assert!(tolerates(json!({"key": "other", "operator": "Exists"})));
    assert!(tolerates(json!({"key": key, "operator": "Exists", "effect": "NoExecute"})));
}

#[test]
fn what_is_asked_for_counts_init_containers_sidecars_and_ports() {
    let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let ports = json!([{"containerPort": 80, "hostPort": 8080}]);
    let pod = pod(json!({
        "initContainers": [
            {"name": "init", "image": "i", "ports": [{"containerPort": 80, "hostPort": 8081}]},
            {"name": "side", "image": "i", "restartPolicy": "Always", "resources": asks("200m"), "ports": ports},
        ],
        "containers": [{"name": "c", "image": "i", "resources": asks("500m")}],
    }));
    let taken: Vec<i32> = host_ports(&pod).iter().map(|port| port.port).collect();
    assert_eq!(taken, [8080], "an init container that ends takes no port");
    assert_eq!(requests(&pod).get("cpu").milli(), 700);
    let scored = requests::scored_requests(&pod);
    assert_eq!(scored.get("cpu").milli(), 700);
    assert_eq!(scored.get("memory").units(), 2 * 200 * 1024 * 1024, "assumed where nothing is asked for");
    let taken =
        |ip: &str, protocol: &str, port: i32| HostPort { ip: ip.to_owned(), protocol: protocol.to_owned(), port };
    for (one, other, wanted) in [
        (taken("0.0.0.0", "TCP", 80), taken("10.0.0.1", "TCP", 80), true),
        (taken("10.0.0.1", "TCP", 80), taken("0.0.0.0", "TCP", 80), true),
        (taken("10.0.0.1", "TCP", 80), taken("10.0.0.1", "TCP", 80), true),
        (taken("10.0.0.1", "TCP", 80), taken("10.0.0.2", "TCP", 80), false),
        (taken("10.0.0.1", "TCP", 80), taken("10.0.0.1", "UDP", 80), false),
        (taken("10.0.0.1", "TCP", 80), taken("10.0.0.1", "TCP", 81), false),
    ] {
        assert_eq!(one.conflicts(&other), wanted, "{one:?} {other:?}");
    }
    let mut held = Resources::of(Some(&[("cpu".to_owned(), Quantity("2".to_owned()))].into()));
    held.remove(&Resources::of(Some(&[("cpu".to_owned(), Quantity("500m".to_owned()))].into())));
    assert_eq!(held.get("cpu").milli(), 1500);
    held.remove(&held.clone());
    assert_eq!(held, Resources::default(), "nothing is kept of what is used up");
}
