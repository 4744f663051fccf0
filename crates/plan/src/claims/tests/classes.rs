//! Which class a claim is of, and what that keeps it from.

use super::*;

#[test]
fn a_claim_gets_a_volume_of_its_attributes_class_only() {
    let gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let taken = |volumes: Vec<PersistentVolume>| {
        let mut world = World::of(claim(gold.clone()), volumes);
        world.classes = vec![class("standard", "Immediate", NO_PROVISIONER)];
        world.settle();
        volume_name(&world.claim).map(str::to_owned)
    };
    assert_eq!(taken(vec![volume("plain", json!({}))]), None);
    assert_eq!(taken(vec![volume("plain", json!({})), volume("right", gold.clone())]).as_deref(), Some("right"));
}

#[test]
fn a_claim_without_a_class_gets_the_default_one_later() {
    let mut bare = claim(json!({}));
    bare.spec.get_or_insert_default().storage_class_name = None;
    let mut world = World::of(bare, vec![]);
    let mut default = StorageClass::clone(&world.classes[0]);
    annotate(&mut default.metadata, "storageclass.kubernetes.io/is-default-class", "true");
    world.classes = vec![Arc::new(default)];
    let next = world.next();
    let Step::Claim(claim) = next.step else { panic!("{next:?}") };
    assert_eq!(class_of_claim(&claim), "standard");
    // One that asks for none, or for another one in the old way, is left as it is.
    for asked in [
        json!({"spec": {"storageClassName": ""}}),
        json!({"metadata": {"annotations": {CLASS_ANNOTATION: "old"}}, "spec": {"storageClassName": null}}),
    ] {
        world.claim = super::claim(asked.clone());
        assert_eq!(world.next().step, Step::Nothing, "{asked}");
    }
}

#[test]
fn the_newest_default_class_wins_and_ties_go_by_name() {
    let marked = |name: &str, created: &str| {
        let mut class = StorageClass::clone(&class(name, "Immediate", "p"));
        annotate(&mut class.metadata, "storageclass.kubernetes.io/is-default-class", "true");
        class.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(created.parse().expect("a time")));
        Arc::new(class)
    };
    let (old, b, a) =
        (marked("z", "2026-01-01T00:00:00Z"), marked("b", "2026-01-02T00:00:00Z"), marked("a", "2026-01-02T00:00:00Z"));
    let classes = [old, b, a, class("plain", "Immediate", "p")];
    assert_eq!(default_class(&classes).and_then(|class| class.metadata.name.as_deref()), Some("a"));
}
