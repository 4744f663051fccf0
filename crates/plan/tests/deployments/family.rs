//! The sets of a Deployment: whose they are, what they are made of, which are history.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::*;

/// The actions in words, with images for names.
fn planned(world: &World) -> Vec<String> {
    let plan = world.plan();
    let name = |target: &stead_plan::ids::Target| target.name.clone();
    let size = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let word = |action: &Action| match action {
        Action::CreateSet(set) => format!("create {} {}", image_of(set), size(set)),
        Action::UpdateSet { set, from } => format!("update {} from {from:?} to {}", image_of(set), size(set)),
        Action::DeleteSet(target) => format!("delete {}", name(target)),
        Action::AdoptSet(target) => format!("adopt {}", name(target)),
        Action::ReleaseSet(target) => format!("release {}", name(target)),
        Action::ConfirmDeployment => "confirm".to_owned(),
    };
    plan.actions().map(word).collect()
}

/// A copy of the set with another name, changed.
fn beside(world: &mut World, name: &str, change: impl FnOnce(&mut ReplicaSet)) {
    let mut set = world.sets.values().find(|set| name_of(set).starts_with("web-")).expect("the set").clone();
    set.metadata.name = Some(name.to_owned());
    set.metadata.uid = Some(name.to_owned());
    change(&mut set);
    world.sets.insert(name.to_owned(), set);
}

fn owner(set: &mut ReplicaSet) -> &mut OwnerReference {
    &mut set.metadata.owner_references.get_or_insert_default()[0]
}

#[test]
fn sets_are_taken_let_go_and_left_by_owner_and_labels() {
    let mut world = World::running(2);
    beside(&mut world, "theirs", |set| owner(set).uid = "other".to_owned());
    beside(&mut world, "misfit", |set| set.metadata.labels = None);
    beside(&mut world, "orphan", |set| set.metadata.owner_references = None);
    beside(&mut world, "stray", |set| {
        set.metadata.owner_references = None;
        set.metadata.labels = None;
    });
    beside(&mut world, "leaving", |set| {
        set.metadata.owner_references = None;
        set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    });
    assert_eq!(planned(&world), ["confirm", "release misfit", "adopt orphan"]);
    assert_eq!(world.plan().status.replicas, Some(2), "none of them counts yet");
    world.deployment.metadata.deletion_timestamp = Some(Time(world.now));
    assert_eq!(planned(&world), Vec::<String>::new(), "one that goes takes and lets go of nothing");
    assert_eq!(world.plan().status.replicas, Some(4), "what does not match goes with it");
}

#[test]
fn a_set_is_made_of_the_deployment_in_full() {
    let mut world = World::new(3);
    let meta = &mut world.deployment.metadata;
    meta.namespace = Some("shop".to_owned());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert("team".to_owned(), "blue".to_owned());
    annotations.insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), "{}".to_owned());
    world.edit(|spec| spec.min_ready_seconds = Some(5));
    world.sync();
    let set = world.sets.values().next().expect("one set");
    check(
        &serde_json::to_string_pretty(set).expect("it can be written"),
        expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "ReplicaSet",
          "metadata": {
            "annotations": {
              "deployment.kubernetes.io/desired-replicas": "3",
              "deployment.kubernetes.io/max-replicas": "4",
              "deployment.kubernetes.io/revision": "1",
              "team": "blue"
            },
            "creationTimestamp": "1970-01-12T13:46:40Z",
            "generation": 1,
            "labels": {
              "app": "web",
              "pod-template-hash": "6c95fb458b"
            },
            "name": "web-6c95fb458b",
            "namespace": "shop",
            "ownerReferences": [
              {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "Deployment",
                "name": "web",
                "uid": "deployment"
              }
            ],
            "uid": "set-1"
          },
          "spec": {
            "minReadySeconds": 5,
            "replicas": 3,
            "selector": {
              "matchLabels": {
                "app": "web",
                "pod-template-hash": "6c95fb458b"
              }
            },
            "template": {
              "metadata": {
                "labels": {
                  "app": "web",
                  "pod-template-hash": "6c95fb458b"
                }
              },
              "spec": {
                "containers": [
                  {
                    "image": "a",
                    "name": ""
                  }
                ]
              }
            }
          }
        }"#]],
    );
    // What comes later is copied too, in one write with a new size.
    world.deployment.metadata.annotations.get_or_insert_default().insert("team".to_owned(), "red".to_owned());
    world.edit(|spec| spec.replicas = Some(4));
    assert_eq!(planned(&world), ["update a from Some(3) to 4"]);
    world.sync();
    assert_eq!(world.annotation("a", "team").as_deref(), Some("red"));
}

#[test]
fn the_name_of_a_set_is_cut_so_that_its_hash_fits() {
    let mut world = World::new(1);
    world.deployment.metadata.name = Some("w".repeat(253));
    world.sync();
    let name = world.sets.keys().next().expect("one set");
    assert_eq!(name.len(), 253);
    let (front, hash) = name.split_once('-').expect("a hash");
    assert!(front.chars().all(|letter| letter == 'w') && hash.len() >= 5, "{name}");
}

#[test]
fn an_old_set_that_is_in_use_is_passed_over_but_counts_as_history() {
    let history = |change: fn(&mut ReplicaSet)| {
        let mut world = World::running(1);
        for image in ["b", "c"] {
            world.image(image);
            world.run();
        }
        for set in world.sets.values_mut().filter(|set| image_of(set) == "a") {
            change(set);
        }
        world.edit(|spec| spec.revision_history_limit = Some(1));
        world.sync();
        let mut left: Vec<_> = world.sets.values().map(image_of).collect();
        left.sort();
        left.join(" ")
    };
    assert_eq!(history(|_| {}), "b c");
    assert_eq!(history(|set| set.status.get_or_insert_default().replicas = 1), "a b c", "a pod of it is left");
    assert_eq!(history(|set| set.metadata.generation = Some(99)), "a b c", "its status is older than its size");
    assert_eq!(history(|set| set.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))), "a b c");
}

#[test]
fn an_old_set_that_is_to_have_pods_is_no_history_while_it_has_none_yet() {
    let mut world = World::running(4);
    world.image("b");
    world.run();
    let resize = |world: &mut World, image: &str, size: i32| {
        let set = world.sets.values_mut().find(|set| image_of(set) == image).expect("the set");
        set.spec.get_or_insert_default().replicas = Some(size);
    };
    resize(&mut world, "a", 1);
    resize(&mut world, "b", 3);
    world.edit(|spec| {
        spec.revision_history_limit = Some(0);
        spec.paused = Some(true);
    });
    assert_eq!(planned(&world), ["update b from Some(3) to 4"]);
}

#[test]
fn a_set_that_is_at_zero_does_not_hold_up_a_rollout_by_what_it_was_scaled_under() {
    let mut world = World::running(3);
    world.image("b");
    world.run();
    world.edit(|spec| spec.replicas = Some(4));
    world.run();
    world.image("c");
    world.run();
    assert_eq!(world.sizes(), "c=4");
}

#[test]
fn the_revisions_a_set_has_been_are_kept_as_far_as_they_fit() {
    let history_after = |first: i32| {
        let mut world = World::running(1);
        let long: Vec<String> = (101..600).map(|number: i32| number.to_string()).collect();
        let set = world.sets.values_mut().next().expect("one set");
        let key = "deployment.kubernetes.io/revision-history".to_owned();
        let before = format!("{first},{}", long.join(","));
        set.metadata.annotations.get_or_insert_default().insert(key.clone(), before);
        world.image("b");
        world.run();
        world.image("a");
        world.run();
        world.annotation("a", &key).expect("it has been several")
    };
    let history = history_after(100);
    assert!(history.starts_with("101,102,") && history.ends_with(",599,1"), "{history}");
    assert_eq!(history.len(), 1997);
    let history = history_after(99);
    assert!(history.starts_with("99,101,") && history.ends_with(",599,1"), "{history}");
    assert_eq!(history.len(), 2000, "it fits exactly");
}

#[test]
fn recreation_waits_for_the_last_old_pod_though_it_is_not_counted_any_more() {
    let mut world = World::running(1);
    world.recreate();
    world.image("b");
    world.sync();
    world.pods(|_| i32::MAX);
    let old = world.sets.values().find(|set| image_of(set) == "a").expect("the old set").clone();
    let creates = |phase: &str, owner: &str| {
        let reference = OwnerReference { uid: owner.to_owned(), controller: Some(true), ..OwnerReference::default() };
        let pod = Pod {
            metadata: ObjectMeta { owner_references: Some(vec![reference]), ..ObjectMeta::default() },
            status: Some(PodStatus { phase: Some(phase.to_owned()), ..PodStatus::default() }),
            ..Pod::default()
        };
        let sets: Vec<_> = world.sets.values().cloned().map(Arc::new).collect();
        let observed = Observed { sets: &sets, pods: &[Arc::new(pod)] };
        let plan = deployment::plan(&world.deployment, &observed, world.now);
        plan.actions().any(|action| matches!(action, Action::CreateSet(_)))
    };
    let uid = old.metadata.uid.unwrap_or_default();
    assert!(!creates("Running", &uid));
    assert!(creates("Succeeded", &uid), "it has ended");
    assert!(creates("Running", "other"), "it is somebody else's");
}
