//! What becomes of claims that are bound.

use super::*;

/// A claim of 10 Gi that is bound to the volume `v`.
fn bound(extra: Value) -> PersistentVolumeClaim {
    let base = json!({
        "metadata": {"annotations": {BIND_COMPLETED_ANNOTATION: "yes"}},
        "spec": {"volumeName": "v"},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}},
    });
    claim(overlay(base, extra))
}

/// The volume `name` that is bound to the claim.
fn bound_volume(name: &str, extra: Value) -> PersistentVolume {
    let reference = json!({"kind": "PersistentVolumeClaim", "namespace": "ns", "name": "data-web-0", "uid": "c-1"});
    volume(name, overlay(json!({"spec": {"claimRef": reference}, "status": {"phase": "Bound"}}), extra))
}

#[test]
fn a_bound_claim_whose_volume_is_gone_or_anothers_is_lost_and_stays_so() {
    let other = volume("v", json!({"spec": {"claimRef": {"namespace": "ns", "name": "data-web-0", "uid": "c-0"}}}));
    let mut gone = World::of(bound(json!({})), vec![]);
    let mut shown = gone.settle();
    assert_eq!(gone.claim.status.and_then(|status| status.access_modes), None);
    shown += &World::of(bound(json!({"spec": {"volumeName": ""}})), vec![]).settle();
    shown += &World::of(bound(json!({})), vec![other]).settle();
    expect![[r#"
        Warning ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!
        claim is Lost 
        Warning ClaimLost: Bound claim has lost reference to PersistentVolume. Data on the volume is lost!
        claim is Lost 
        Warning ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly
        claim is Lost 
    "#]]
    .assert_eq(&shown);
}

#[test]
fn a_bound_pair_is_left_alone() {
    let mut world = World::of(with_selected_node(&claim(json!({})), "n1"), vec![]);
    world.settle();
    assert_eq!(world.settle(), "");
    let kept = next_for_volume(&world.volumes[0], ClaimFact::Exists(&world.claim), now());
    assert_eq!(kept, Next::default());
}

#[test]
fn a_bound_claim_on_a_volume_of_another_kind_shows_what_its_own_provisioner_tells() {
    let grown = bound_volume("v", json!({"spec": {"capacity": {"storage": "20Gi"}}}));
    let mut growing = World::of(bound(json!({})), vec![grown.clone()]);
    assert_eq!(growing.settle(), "", "the file system is still to grow");
    let mut bare = World::of(bound(json!({"status": {"capacity": null}})), vec![grown]);
    assert_eq!(bare.settle(), "claim is Bound 20Gi\n", "it does not say how large it is");
}

#[test]
fn a_bound_local_claim_grows_with_what_it_asks_for() {
    let mut local = bound_volume("pvc-c-1", json!({}));
    annotate(&mut local.metadata, PROVISIONED_BY_ANNOTATION, LOCAL_PROVISIONER);
    let bound = bound(json!({"spec": {"volumeName": "pvc-c-1", "resources": {"requests": {"storage": "20Gi"}}}}));
    let mut fixed = World::of(bound.clone(), vec![local.clone()]);
    assert_eq!(fixed.settle(), "", "its class says nothing of growing");
    let mut growing = World::of(bound, vec![local]);
    let class = StorageClass { allow_volume_expansion: Some(true), ..StorageClass::clone(&growing.classes[0]) };
    growing.classes = vec![Arc::new(class)];
    growing.settle();
    let capacity = growing.claim.status.and_then(|status| status.capacity).unwrap_or_default();
    assert_eq!(capacity["storage"].0, "20Gi");
    let capacity = growing.volumes[0].spec.clone().and_then(|spec| spec.capacity).unwrap_or_default();
    assert_eq!(capacity["storage"].0, "20Gi");
}
