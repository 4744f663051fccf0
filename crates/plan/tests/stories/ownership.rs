//! Whose a pod is: U17, U18, namesakes, a set that is being deleted.

use expect_test::expect;

use crate::check;
use crate::world::World;

#[test]
fn u17_a_pod_without_the_labels_is_let_go_and_taken_back() {
    let mut world = World::running(1);
    let uid = world.uid("web-0");
    let relabel = |world: &mut World, value: Option<&str>| {
        let pod = world.pods.get_mut("web-0").expect("web-0 exists");
        let labels = pod.metadata.labels.get_or_insert_default();
        match value {
            Some(value) => labels.insert("app".to_owned(), value.to_owned()),
            None => labels.remove("app"),
        };
    };
    relabel(&mut world, None);
    world.settle();
    assert_eq!(world.waits(), ["web-0 is not this set's pod, but has its name"]);
    relabel(&mut world, Some("web"));
    world.run();
    world.told(expect![[r#"
        release web-0
        adopt web-0
    "#]]);
    assert_eq!(world.uid("web-0"), uid);
}

#[test]
fn u18_a_set_made_again_over_its_orphans_restarts_nothing() {
    let mut world = World::running(3);
    for pod in world.pods.values_mut() {
        pod.metadata.owner_references = None;
    }
    for revision in world.revisions.values_mut() {
        revision.metadata.owner_references = None;
    }
    world.set.metadata.uid = Some("set-2".to_owned());
    world.set.metadata.generation = Some(1);
    world.set.status = None;
    world.scale(2);
    world.run();
    world.told(expect![[r#"
        adopt revision a
        adopt web-0
        adopt web-1
        adopt web-2
        delete web-2 (condemned)
    "#]]);
    assert_eq!(world.history(), "a:1");
}

#[test]
fn deleting_the_set_only_keeps_its_status() {
    let mut world = World::running(2);
    world.set.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now));
    world.image("b");
    world.delete_pod("web-0");
    world.gone("web-0");
    world.settle();
    assert_eq!(world.tell(), "\n");
    check(&world.counts(), expect!["replicas=1 ready=1 available=1 current=1@a updated=0@?"]);
}

#[test]
fn s10_pods_of_others_do_not_shadow_an_ordinal() {
    let mut world = World::running(1);
    let mut impostor = world.pods["web-0"].clone();
    impostor.metadata.name = Some("web-01".to_owned());
    impostor.metadata.owner_references = None;
    world.pods.insert("web-01".to_owned(), impostor);
    world.scale(2);
    world.run();
    assert!(world.pods.contains_key("web-1"));
}

#[test]
fn an_ownerless_pod_that_ends_is_not_adopted() {
    let mut world = World::running(1);
    world.orphan("web-0");
    world.delete_pod("web-0");
    world.settle();
    assert_eq!(world.tell(), "\n");
}

#[test]
fn a_pod_that_another_controls_is_nothing_to_the_set_though_its_labels_match() {
    let mut world = World::running(1);
    let mut theirs = world.pods["web-0"].clone();
    theirs.metadata.name = Some("web-1".to_owned());
    theirs.metadata.owner_references.get_or_insert_default()[0].uid = "set-9".to_owned();
    world.pods.insert("web-1".to_owned(), theirs.clone());
    theirs.metadata.name = Some("other".to_owned());
    world.pods.insert("other".to_owned(), theirs);
    world.scale(2);
    world.settle();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["web-1 is not this set's pod, but has its name"]);
    let seen: Vec<_> = world.decide().0.pods.iter().map(|pod| pod.target.name.clone()).collect();
    assert_eq!(seen, ["web-0", "web-1"], "the other one is not even looked at");
}

#[test]
fn s12_a_pod_without_the_claims_of_its_ordinal_is_named_and_left() {
    let mut world = World::running(1);
    world.events.clear();
    for volume in world.pods.get_mut("web-0").expect("there").spec.get_or_insert_default().volumes.iter_mut().flatten()
    {
        volume.persistent_volume_claim.get_or_insert_default().claim_name = "data-web-7".to_owned();
    }
    world.sync();
    assert_eq!(world.tell(), "\n");
    assert_eq!(world.waits(), ["web-0 does not mount the claims of its ordinal, which cannot be changed"]);
    check(
        &world.events.join("\n"),
        expect![
            "Warning FailedUpdate Update Pod web-0 in StatefulSet web failed error: the pod does not mount the claims of its ordinal, and volumes of a pod cannot be changed"
        ],
    );
}

#[test]
fn s12_an_adopted_pod_without_its_claim_is_named_and_left_alone() {
    let mut world = World::running(2);
    world.orphan("web-1");
    let pod = world.pods.get_mut("web-1").expect("it runs");
    pod.spec.as_mut().expect("it has a spec").volumes = None;
    world.run();
    world.told(expect![[r#"
        adopt web-1
    "#]]);
    assert_eq!(world.waits(), ["web-1 does not mount the claims of its ordinal, which cannot be changed"]);
    let blocked = world.condition("Blocked");
    assert!(blocked.starts_with("Blocked=True PodStorageDiffers: web-1"), "{blocked}");
    assert!(world.events.iter().any(|event| event.starts_with("Warning FailedUpdate")), "{:#?}", world.events);
    assert!(world.plan().is_empty(), "nothing is tried again and again");
    // It gets its claim when it is made anew.
    world.delete_pod("web-1");
    world.run();
    assert_eq!(world.waits(), Vec::<String>::new());
    check(&world.condition("Blocked"), expect!["Blocked=False NothingBlocks: "]);
}
