//! Volumes: where they are made, who holds them, when they may go.

use super::*;

#[test]
fn a_volume_is_protected_while_it_is_bound() {
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let finalizers =
        |volume: &PersistentVolume| protection::volume_protection(volume).map(|volume| volume.metadata.finalizers);
    assert_eq!(finalizers(&volume("v", json!({}))), None, "it is protected already");
    let bare = volume("v", json!({"metadata": {"finalizers": []}}));
    assert_eq!(finalizers(&bare), Some(Some(vec!["kubernetes.io/pv-protection".to_owned()])));
    assert_eq!(finalizers(&volume("v", going.clone())), Some(Some(Vec::new())), "nothing uses it");
    let bound = volume("v", overlay(going, json!({"status": {"phase": "Bound"}})));
    assert_eq!(finalizers(&bound), None);
}

#[test]
fn a_volume_whose_storage_is_gone_is_let_go_by_those_who_waited_for_that() {
    let held = json!({"metadata": {"finalizers": ["kubernetes.io/pv-protection", PROVISIONER_FINALIZER, "x/y"]}});
    let left = reclaim::without_storage(&volume("v", held)).metadata.finalizers;
    assert_eq!(left, Some(vec!["x/y".to_owned()]));
}

#[test]
fn storage_that_could_not_be_removed_is_told() {
    let status = failed(&volume("v", json!({})), "busy", now()).status.unwrap_or_default();
    assert_eq!((status.phase.as_deref(), status.message.as_deref()), (Some("Failed"), Some("busy")));
}

#[test]
fn a_claim_whose_node_is_gone_is_free_to_choose_again() {
    let chosen = with_selected_node(&claim(json!({"metadata": {"annotations": {"note": "n"}}})), "n1");
    assert_eq!(selected_node(&chosen), Some("n1"));
    let free = without_selected_node(&chosen);
    assert_eq!(
        (selected_node(&free), annotations(&free.metadata)),
        (None, annotations(&claim(json!({"metadata": {"annotations": {"note": "n"}}})).metadata))
    );
}

#[test]
fn a_claim_is_bound_when_all_says_so() {
    let whole = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v"}, "status": {"phase": "Bound"},
    });
    assert!(is_bound(&claim(whole.clone())));
    for missing in [
        json!({"metadata": {"annotations": null}}),
        json!({"spec": {"volumeName": ""}}),
        json!({"status": {"phase": "Lost"}}),
    ] {
        assert!(!is_bound(&claim(overlay(whole.clone(), missing.clone()))), "{missing}");
    }
}

#[test]
fn a_volume_names_the_one_claim_of_that_name_namespace_and_identity() {
    let names =
        |reference: Value| names_claim(&volume("v", json!({"spec": {"claimRef": reference}})), &claim(json!({})));
    assert!(names(json!({"name": "data-web-0", "namespace": "ns", "uid": "c-1"})));
    assert!(names(json!({"name": "data-web-0", "namespace": "ns"})), "it waits for whoever comes by that name");
    assert!(names(json!({"name": "data-web-0", "namespace": "ns", "uid": ""})));
    assert!(!names(json!({"name": "data-web-0", "namespace": "ns", "uid": "c-2"})));
    assert!(!names(json!({"name": "data-web-0", "namespace": "other"})));
    assert!(!names(json!({"name": "data-web-1", "namespace": "ns", "uid": "c-1"})));
}

#[test]
fn a_new_volume_is_for_its_claim_and_its_node_only() {
    let class =
        json!({"metadata": {"name": "standard"}, "provisioner": LOCAL_PROVISIONER, "mountOptions": ["noatime"]});
    let class: StorageClass = serde_json::from_value(class).expect("a class");
    let made = provision::provision(&claim(json!({})), &class, &node("n1"), "/volumes/c-1");
    expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "PersistentVolume",
          "metadata": {
            "annotations": {
              "pv.kubernetes.io/provisioned-by": "stead.dev/local"
            },
            "finalizers": [
              "kubernetes.io/pv-protection",
              "external-provisioner.volume.kubernetes.io/finalizer"
            ],
            "name": "pvc-c-1"
          },
          "spec": {
            "accessModes": [
              "ReadWriteOnce"
            ],
            "capacity": {
              "storage": "10Gi"
            },
            "claimRef": {
              "apiVersion": "v1",
              "kind": "PersistentVolumeClaim",
              "name": "data-web-0",
              "namespace": "ns",
              "resourceVersion": "1",
              "uid": "c-1"
            },
            "local": {
              "path": "/volumes/c-1"
            },
            "mountOptions": [
              "noatime"
            ],
            "nodeAffinity": {
              "required": {
                "nodeSelectorTerms": [
                  {
                    "matchExpressions": [
                      {
                        "key": "kubernetes.io/hostname",
                        "operator": "In",
                        "values": [
                          "n1"
                        ]
                      }
                    ]
                  }
                ]
              }
            },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "standard",
            "volumeMode": "Filesystem"
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&made).expect("it can be written"));
    assert_eq!(provision::simulated_path("c-1"), "/simulated/c-1");
}

#[test]
fn a_volume_that_no_pod_decides_about_comes_to_the_emptiest_node_that_takes_pods() {
    let with = |name: &str, change: fn(&mut Node)| {
        let mut node = Node::clone(&node(name));
        change(&mut node);
        Arc::new(node)
    };
    let nodes = [
        with("a", |node| node.status = None),
        with("b", |node| node.spec.get_or_insert_default().unschedulable = Some(true)),
        node("c"),
        node("d"),
        node("e"),
    ];
    let on = |host: &str, source: Value| {
        let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": HOSTNAME_LABEL, "operator": "In", "values": [host]},
        ]}]}});
        Arc::new(volume(
            "v",
            overlay(json!({"spec": {"nodeAffinity": affinity, "hostPath": null}}), json!({"spec": source})),
        ))
    };
    let local = json!({"local": {"path": "/x"}});
    let chosen = |volumes: &[Arc<PersistentVolume>]| provision::node_for_immediate(&nodes, volumes);
    assert_eq!(chosen(&[]).as_deref(), Some("c"));
    assert_eq!(chosen(&[on("c", local.clone())]).as_deref(), Some("d"));
    assert_eq!(chosen(&[on("c", local.clone()), on("d", local)]).as_deref(), Some("e"));
    assert_eq!(
        chosen(&[on("c", json!({"hostPath": {"path": "/x"}}))]).as_deref(),
        Some("c"),
        "it is not kept on the node"
    );
    assert_eq!(provision::node_for_immediate(&nodes[..2], &[]), None);
    let weighs = |mode: &str, provisioner: &str| {
        binding::weighs_nodes(
            &claim(json!({})),
            &[class("other", mode, LOCAL_PROVISIONER), class("standard", mode, provisioner)],
        )
    };
    assert!(weighs("Immediate", LOCAL_PROVISIONER));
    assert!(!weighs("WaitForFirstConsumer", LOCAL_PROVISIONER));
    assert!(!weighs("Immediate", "example.com/other"));
    assert!(!binding::weighs_nodes(&claim(json!({})), &[]));
}

#[test]
fn the_finalizer_of_a_volume_of_ours_follows_its_policy() {
    let ours = json!({"metadata": {"annotations": {"pv.kubernetes.io/provisioned-by": LOCAL_PROVISIONER}}});
    let next = |extra: Value| {
        let volume = volume("v", overlay(ours.clone(), extra));
        match reclaim::next_for_volume(&volume, reclaim::ClaimFact::Absent, now()).step {
            Step::Volume(volume) => format!("{:?}", volume.metadata.finalizers.unwrap_or_default()),
            Step::Reclaim => "reclaim".to_owned(),
            Step::Nothing => "nothing".to_owned(),
            Step::VolumeStatus(volume) => volume_phase(&volume).to_owned(),
            Step::Claim(_) | Step::ClaimStatus(_) | Step::Provision { .. } => "a claim's step".to_owned(),
        }
    };
    let delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    let held = json!({"metadata": {"finalizers": [PROVISIONER_FINALIZER]}});
    assert_eq!(next(delete.clone()), format!("{:?}", ["kubernetes.io/pv-protection", PROVISIONER_FINALIZER]));
    assert_eq!(next(overlay(delete.clone(), going.clone())), "nothing", "too late to hold it");
    assert_eq!(next(held.clone()), "[]", "what is to be retained is free to go");
    assert_eq!(next(overlay(overlay(delete.clone(), held.clone()), going.clone())), "reclaim", "it was never used");
    assert_eq!(next(overlay(delete.clone(), held.clone())), "nothing");
    let theirs = json!({"metadata": {"annotations": null}});
    assert_eq!(next(overlay(overlay(overlay(delete, held), going), theirs)), "nothing", "it is not ours to remove");
}
