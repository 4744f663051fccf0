//! How claims and volumes find each other, and when they may go.

use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::*;

mod bound;
mod classes;
mod volumes;

fn now() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a time")
}

fn overlay(mut base: Value, extra: Value) -> Value {
    fn merge(base: &mut Value, extra: Value) {
        match (base, extra) {
            (Value::Object(base), Value::Object(extra)) => {
                extra.into_iter().for_each(|(key, value)| merge(base.entry(key).or_insert(Value::Null), value));
            }
            (base, extra) => *base = extra,
        }
    }
    merge(&mut base, extra);
    base
}

fn claim(extra: Value) -> PersistentVolumeClaim {
    let base = json!({
        "metadata": {"name": "data-web-0", "namespace": "ns", "uid": "c-1", "resourceVersion": "1",
                     "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "volumeMode": "Filesystem",
                 "resources": {"requests": {"storage": "10Gi"}}},
        "status": {"phase": "Pending"},
    });
    serde_json::from_value(overlay(base, extra)).expect("a claim")
}

fn volume(name: &str, extra: Value) -> PersistentVolume {
    let base = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "1",
                     "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard", "volumeMode": "Filesystem",
                 "capacity": {"storage": "10Gi"}, "persistentVolumeReclaimPolicy": "Retain",
                 "hostPath": {"path": "/x"}},
        "status": {"phase": "Available"},
    });
    serde_json::from_value(overlay(base, extra)).expect("a volume")
}

fn class(name: &str, mode: &str, provisioner: &str) -> Arc<StorageClass> {
    let class = json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode,
                       "reclaimPolicy": "Delete"});
    Arc::new(serde_json::from_value(class).expect("a class"))
}

fn node(name: &str) -> Arc<Node> {
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
                      "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    Arc::new(serde_json::from_value(node).expect("a Node"))
}

/// Everything around one claim.
struct World {
    claim: PersistentVolumeClaim,
    volumes: Vec<PersistentVolume>,
    classes: Vec<Arc<StorageClass>>,
    nodes: Vec<Arc<Node>>,
    pods: Vec<String>,
}

impl World {
    fn of(claim: PersistentVolumeClaim, volumes: Vec<PersistentVolume>) -> Self {
        let classes = vec![class("standard", "WaitForFirstConsumer", LOCAL_PROVISIONER)];
        Self { claim, volumes, classes, nodes: vec![node("n1")], pods: Vec::new() }
    }

    fn next(&self) -> Next {
        let volumes: Vec<Arc<PersistentVolume>> = self.volumes.iter().cloned().map(Arc::new).collect();
        let named = volume_name(&self.claim)
            .and_then(|name| volumes.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)));
        next_for_claim(&ClaimView {
            claim: &self.claim,
            volumes: &volumes,
            named: named.map(Arc::as_ref),
            classes: &self.classes,
            nodes: &self.nodes,
            unscheduled_pods: &self.pods,
            now: now(),
        })
    }

    /// Makes writes until there is none, and shows them.
    fn settle(&mut self) -> String {
        let mut shown = String::new();
        for _ in 0..10 {
            let next = self.next();
            if let Some(notice) = &next.notice {
                let type_ = if notice.warning { "Warning" } else { "Normal" };
                shown += &format!("{type_} {}: {}\n", notice.reason, notice.message);
            }
            match next.step {
                Step::Nothing => return shown,
                Step::Reclaim => panic!("a claim's step is never to reclaim"),
                Step::Claim(claim) => {
                    shown += &format!(
                        "claim -> {} {:?}\n",
                        volume_name(&claim).unwrap_or("-"),
                        annotations(&claim.metadata)
                    );
                    self.claim = *claim;
                }
                Step::ClaimStatus(claim) => {
                    let status = claim.status.clone().unwrap_or_default();
                    let capacity = status.capacity.map(|capacity| capacity["storage"].0.clone());
                    shown += &format!("claim is {} {}\n", claim_phase(&claim), capacity.unwrap_or_default());
                    self.claim = *claim;
                }
                Step::Volume(volume) => {
                    shown += &format!("volume {} reserved {:?}\n", name(&volume), annotations(&volume.metadata));
                    self.put(*volume);
                }
                Step::VolumeStatus(volume) => {
                    shown += &format!("volume {} is {}\n", name(&volume), volume_phase(&volume));
                    self.put(*volume);
                }
                Step::Provision { node: on } => {
                    let class =
                        self.classes.iter().find(|c| c.metadata.name.as_deref() == Some(class_of_claim(&self.claim)));
                    let made = provision(&self.claim, class.expect("its class"), &node(&on), "/data/c-1");
                    shown += &format!("volume {} made on {on}\n", name(&made));
                    self.put(made);
                }
            }
        }
        panic!("never settles: {shown}");
    }

    fn put(&mut self, volume: PersistentVolume) {
        self.volumes.retain(|held| held.metadata.name != volume.metadata.name);
        self.volumes.push(volume);
    }
}

fn name(volume: &PersistentVolume) -> &str {
    volume.metadata.name.as_deref().unwrap_or_default()
}

fn annotations(meta: &Meta) -> Vec<&str> {
    meta.annotations.iter().flatten().map(|(key, _)| key.rsplit('/').next().unwrap_or_default()).collect()
}

fn check(mut world: World, wanted: &Expect) {
    wanted.assert_eq(&world.settle());
}

#[test]
fn a_claim_waits_for_its_pod_then_gets_a_volume_of_its_own_on_that_node() {
    let mut world = World::of(claim(json!({})), vec![volume("static", json!({}))]);
    let mut shown = world.settle();
    world.claim = with_selected_node(&world.claim, "n1");
    world.volumes.clear();
    shown += &world.settle();
    expect![[r#"
        Normal WaitForFirstConsumer: waiting for first consumer to be created before binding
        volume pvc-c-1 made on n1
        claim -> pvc-c-1 ["bind-completed", "bound-by-controller", "storage-provisioner", "selected-node", "storage-provisioner"]
        volume pvc-c-1 is Bound
        claim is Bound 10Gi
    "#]]
    .assert_eq(&shown);
    assert!(is_bound(&world.claim));
    assert_eq!(world.claim.status.and_then(|status| status.access_modes), Some(vec!["ReadWriteOnce".to_owned()]));
}

#[test]
fn a_claim_that_binds_at_once_takes_the_smallest_volume_that_suits() {
    let volumes = vec![
        volume("small", json!({"spec": {"capacity": {"storage": "1Gi"}}})),
        volume("large", json!({"spec": {"capacity": {"storage": "100Gi"}}})),
        volume("shared", json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]}})),
        volume("right", json!({"spec": {"capacity": {"storage": "20Gi"}}})),
        volume("block", json!({"spec": {"volumeMode": "Block"}})),
        volume("other", json!({"spec": {"storageClassName": "other"}})),
        volume("used", json!({"status": {"phase": "Released"}})),
        volume("taken", json!({"spec": {"claimRef": {"namespace": "ns", "name": "x", "uid": "c-9"}}})),
    ];
    let mut world = World::of(claim(json!({})), volumes);
    world.classes = vec![class("standard", "Immediate", NO_PROVISIONER)];
    check(
        world,
        &expect![[r#"
            volume right reserved ["bound-by-controller"]
            claim -> right ["bind-completed", "bound-by-controller"]
            volume right is Bound
            claim is Bound 20Gi
        "#]],
    );
}

#[test]
fn a_volume_that_names_the_claim_is_taken_at_once() {
    let mine = volume(
        "mine",
        json!({"spec": {"storageClassName": "odd", "capacity": {"storage": "50Gi"},
        "claimRef": {"namespace": "ns", "name": "data-web-0"}}, "status": {"phase": "Pending"}}),
    );
    check(
        World::of(claim(json!({})), vec![volume("free", json!({})), mine]),
        &expect![[r#"
            volume mine reserved []
            claim -> mine ["bind-completed", "bound-by-controller"]
            volume mine is Bound
            claim is Bound 50Gi
        "#]],
    );
}

#[test]
fn why_a_named_volume_cannot_be_had() {
    let named = || claim(json!({"spec": {"volumeName": "v"}}));
    let cases = [
        ("missing", None),
        ("small", Some(json!({"spec": {"capacity": {"storage": "1Gi"}}}))),
        ("class", Some(json!({"spec": {"storageClassName": "other"}}))),
        ("mode", Some(json!({"spec": {"volumeMode": "Block"}}))),
        ("access", Some(json!({"spec": {"accessModes": ["ReadOnlyMany"]}}))),
        ("attributes", Some(json!({"spec": {"volumeAttributesClassName": "gold"}}))),
        ("taken", Some(json!({"spec": {"claimRef": {"namespace": "ns", "name": "x", "uid": "c-9"}}}))),
        ("fits", Some(json!({}))),
    ];
    let shown: Vec<String> = cases
        .into_iter()
        .map(|(case, extra)| {
            let volumes = extra.map(|extra| volume("v", extra)).into_iter().collect();
            format!("{case}: {}", World::of(named(), volumes).settle().replace('\n', " | "))
        })
        .collect();
    expect![[r#"
        missing: 
        small: Warning VolumeMismatch: Cannot bind to requested volume "v": requested PV is too small | 
        class: Warning VolumeMismatch: Cannot bind to requested volume "v": storageClassName does not match | 
        mode: Warning VolumeMismatch: Cannot bind to requested volume "v": incompatible volumeMode | 
        access: Warning VolumeMismatch: Cannot bind to requested volume "v": incompatible accessMode | 
        attributes: Warning VolumeMismatch: Cannot bind to requested volume "v": volumeAttributesClassName does not match | 
        taken: Warning FailedBinding: volume "v" already bound to a different claim. | 
        fits: volume v reserved ["bound-by-controller"] | claim -> v ["bind-completed"] | volume v is Bound | claim is Bound 10Gi | "#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn a_claim_that_shows_nothing_yet_is_pending() {
    let mut world = World::of(claim(json!({"status": null})), vec![]);
    expect![[r#"
        Normal WaitForFirstConsumer: waiting for first consumer to be created before binding
        claim is Pending 
        Normal WaitForFirstConsumer: waiting for first consumer to be created before binding
    "#]]
    .assert_eq(&world.settle());
}

#[test]
fn what_an_unbound_claim_is_told() {
    let in_class = |name: &str| claim(json!({"spec": {"storageClassName": name}}));
    let mut none = World::of(in_class(""), vec![]);
    let mut unknown = World::of(in_class("fast"), vec![]);
    let mut static_only = World::of(in_class("manual"), vec![]);
    static_only.classes.push(class("manual", "Immediate", NO_PROVISIONER));
    let mut external = World::of(in_class("cloud"), vec![]);
    external.classes.push(class("cloud", "Immediate", "cloud.example/disk"));
    let mut one = World::of(claim(json!({})), vec![]);
    one.pods = vec!["web-0".to_owned()];
    let mut two = World::of(claim(json!({})), vec![]);
    two.pods = vec!["a".to_owned(), "b".to_owned()];
    let mut at_once = World::of(in_class("now"), vec![]);
    at_once.classes.push(class("now", "Immediate", LOCAL_PROVISIONER));
    at_once.nodes.clear();
    let worlds = [&mut none, &mut unknown, &mut static_only, &mut external, &mut one, &mut two, &mut at_once];
    let shown: Vec<String> = worlds.into_iter().map(World::settle).collect();
    expect![[r#"
        Normal FailedBinding: no persistent volumes available for this claim and no storage class is set

        Warning ProvisioningFailed: storageclass.storage.k8s.io "fast" not found


        Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'cloud.example/disk' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
        claim -> - ["storage-provisioner", "storage-provisioner"]
        Normal ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'cloud.example/disk' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.

        Normal WaitForPodScheduled: waiting for pod web-0 to be scheduled

        Normal WaitForPodScheduled: waiting for pods a,b to be scheduled

        Warning ProvisioningFailed: no node is ready to hold the volume
    "#]]
    .assert_eq(&shown.join("\n"));
}

fn provisioned(extra: Value) -> PersistentVolume {
    let made =
        provision(&claim(json!({})), &class("standard", "WaitForFirstConsumer", LOCAL_PROVISIONER), &node("n1"), "/v");
    let base = serde_json::to_value(made).expect("JSON");
    serde_json::from_value(overlay(base, overlay(json!({"status": {"phase": "Bound"}}), extra))).expect("a volume")
}

fn show_volume_step(next: &Next) -> String {
    match &next.step {
        Step::Nothing => "nothing".to_owned(),
        Step::Reclaim => "reclaim".to_owned(),
        Step::VolumeStatus(volume) => volume_phase(volume).to_owned(),
        Step::Volume(volume) => {
            let spec = volume.spec.clone().unwrap_or_default();
            let uid = spec.claim_ref.map(|reference| reference.uid);
            format!("claimRef uid {uid:?}, finalizers {:?}", volume.metadata.finalizers.clone().unwrap_or_default())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn volumes_follow_their_claim() {
    let gone = ClaimFact::Absent;
    let mine = claim(json!({"spec": {"volumeName": "pvc-c-1"}}));
    let unbound = claim(json!({}));
    let elsewhere = claim(json!({"spec": {"volumeName": "other"}}));
    let namesake = claim(json!({"metadata": {"uid": "c-2"}}));
    let retained = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    let reserved = json!({"spec": {"claimRef": {"namespace": "ns", "name": "data-web-0", "uid": "c-1"}}});
    let chosen =
        overlay(reserved.clone(), json!({"metadata": {"annotations": {BOUND_BY_CONTROLLER_ANNOTATION: "yes"}}}));
    let retained_bare = overlay(retained.clone(), json!({"metadata": {"finalizers": ["kubernetes.io/pv-protection"]}}));
    let delete = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}});
    let released = json!({"status": {"phase": "Released"}});
    let cases = [
        ("free", volume("v", json!({"status": {"phase": "Pending"}})), gone),
        ("bound", provisioned(json!({"status": {"phase": "Pending"}})), ClaimFact::Exists(&mine)),
        ("binding", provisioned(json!({})), ClaimFact::Exists(&unbound)),
        ("claim gone", provisioned(json!({})), gone),
        ("claim replaced", provisioned(json!({})), ClaimFact::Exists(&namesake)),
        ("released, delete", provisioned(json!({"status": {"phase": "Released"}})), gone),
        ("failed, delete", provisioned(json!({"status": {"phase": "Failed"}})), gone),
        ("policy now retain", provisioned(retained), gone),
        ("released, not ours", volume("v", overlay(reserved.clone(), json!({"status": {"phase": "Released"}}))), gone),
        ("user's, elsewhere", volume("v", reserved.clone()), ClaimFact::Exists(&elsewhere)),
        ("ours, elsewhere", volume("v", chosen.clone()), ClaimFact::Exists(&elsewhere)),
        ("made, elsewhere", provisioned(json!({})), ClaimFact::Exists(&elsewhere)),
        ("made and retained, elsewhere", provisioned(retained_bare.clone()), ClaimFact::Exists(&elsewhere)),
        ("user's to delete, elsewhere", volume("v", overlay(reserved, delete.clone())), ClaimFact::Exists(&elsewhere)),
        ("released, retained", provisioned(overlay(retained_bare, released.clone())), gone),
        ("released, another's to delete", volume("v", overlay(overlay(chosen, delete), released)), gone),
    ];
    let shown: Vec<String> = cases
        .iter()
        .map(|(case, volume, fact)| format!("{case}: {}", show_volume_step(&next_for_volume(volume, *fact, now()))))
        .collect();
    expect![[r#"
        free: Available
        bound: Bound
        binding: nothing
        claim gone: Released
        claim replaced: Released
        released, delete: reclaim
        failed, delete: reclaim
        policy now retain: claimRef uid Some(Some("c-1")), finalizers ["kubernetes.io/pv-protection"]
        released, not ours: nothing
        user's, elsewhere: claimRef uid Some(None), finalizers ["kubernetes.io/pv-protection"]
        ours, elsewhere: claimRef uid None, finalizers ["kubernetes.io/pv-protection"]
        made, elsewhere: Released
        made and retained, elsewhere: claimRef uid Some(None), finalizers ["kubernetes.io/pv-protection"]
        user's to delete, elsewhere: claimRef uid Some(None), finalizers ["kubernetes.io/pv-protection"]
        released, retained: nothing
        released, another's to delete: nothing"#]]
    .assert_eq(&shown.join("\n"));
}

fn pod(extra: Value) -> Pod {
    let base = json!({
        "metadata": {"name": "web-0", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:10Z"},
        "spec": {"nodeName": "n1", "containers": [],
                 "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]},
        "status": {"phase": "Running"},
    });
    serde_json::from_value(overlay(base, extra)).expect("a Pod")
}

#[test]
fn a_directory_goes_only_when_its_claim_and_every_pod_that_could_use_it_are_gone() {
    let volume = provisioned(json!({"status": {"phase": "Released"}}));
    let same = claim(json!({}));
    let newer = |at: &str| claim(json!({"metadata": {"uid": "c-2", "creationTimestamp": at}}));
    let running = pod(json!({}));
    let finished = pod(json!({"status": {"phase": "Succeeded"}}));
    let unscheduled = pod(json!({"spec": {"nodeName": ""}}));
    let other = pod(json!({"spec": {"volumes": []}}));
    let may = |namesake: Option<&PersistentVolumeClaim>, pods: &[&Pod]| {
        may_remove_directory(&volume, namesake, pods.to_vec())
    };
    assert!(may(None, &[]));
    assert!(!may(Some(&same), &[]), "the claim is still there");
    assert!(!may(None, &[&running]));
    assert!(!may(None, &[&finished]), "a finished pod has not let go");
    assert!(may(None, &[&unscheduled, &other]));
    let before = newer("2026-01-01T00:00:05Z");
    assert!(may(Some(&before), &[&running]), "the pod came after the new claim and uses that one");
    let after = newer("2026-01-01T00:00:20Z");
    assert!(!may(Some(&after), &[&running]), "the pod was there before the new claim");
    assert!(!may_remove_directory(&super::tests::volume("v", json!({})), None, []), "it names no claim");
}

#[test]
fn only_directories_made_here_are_ever_pointed_out() {
    let ours = provisioned(json!({}));
    expect![[r#"Some(LocalDirectory { host: "n1", claim_uid: "c-1", namespace: "ns" })"#]]
        .assert_eq(&format!("{:?}", local_directory(&ours)));
    let renamed = provisioned(json!({"metadata": {"name": "pvc-c-2"}}));
    let foreign = provisioned(json!({"metadata": {"annotations": {PROVISIONED_BY_ANNOTATION: "x/y"}}}));
    assert_eq!((local_directory(&renamed), local_directory(&foreign)), (None, None));
    assert_eq!(local_directory(&volume("v", json!({}))), None);
}

#[test]
fn a_volume_of_a_simulated_node_has_no_directory_to_remove() {
    let mut simulated = Node::clone(&node("sim-0"));
    simulated.metadata.labels.get_or_insert_default().insert("stead.dev/simulated".to_owned(), "true".to_owned());
    let class = class("standard", "WaitForFirstConsumer", LOCAL_PROVISIONER);
    let made = provision(&claim(json!({})), &class, &simulated, &simulated_path("c-1"));
    assert_eq!(local_directory(&made), None);
    assert!(next_for_volume(&made, ClaimFact::Absent, now()).step != Step::Nothing, "it still goes with its claim");
}

#[test]
fn only_a_claim_of_a_waiting_class_without_volume_and_node_awaits_its_consumer() {
    let (waiting, immediate) =
        (class("standard", "WaitForFirstConsumer", LOCAL_PROVISIONER), class("now", "Immediate", LOCAL_PROVISIONER));
    let awaits = |extra: Value, class: &StorageClass| awaits_consumer(&claim(extra), Some(class));
    assert!(awaits(json!({}), &waiting));
    assert!(!awaits(json!({}), &immediate) && !awaits_consumer(&claim(json!({})), None));
    for extra in [
        json!({"spec": {"volumeName": "v"}}),
        json!({"metadata": {"annotations": {SELECTED_NODE_ANNOTATION: "n1"}}}),
        json!({"metadata": {"annotations": {BIND_COMPLETED_ANNOTATION: "yes"}}}),
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    ] {
        assert!(!awaits(extra.clone(), &waiting), "{extra}");
    }
}

#[test]
fn a_claim_is_kept_while_a_pod_on_a_node_uses_it() {
    let deleting = claim(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}));
    assert!(claim_protection(&deleting, [&pod(json!({}))]).is_none());
    let unscheduled = pod(json!({"spec": {"nodeName": ""}}));
    let freed = claim_protection(&deleting, [&unscheduled]).expect("free to go");
    assert_eq!(freed.metadata.finalizers, Some(vec![]));
    let mut bare = claim(json!({}));
    bare.metadata.finalizers = None;
    assert!(has_finalizer(&claim_protection(&bare, []).expect("put on").metadata, CLAIM_PROTECTION_FINALIZER));
    assert!(claim_protection(&claim(json!({})), []).is_none());
}

#[test]
fn generic_ephemeral_volumes_are_claims_named_after_pod_and_volume() {
    let pod = pod(json!({"spec": {"volumes": [{"name": "tmp", "ephemeral": {}}, {"name": "e", "emptyDir": {}}]}}));
    assert_eq!(claims_of(&pod), ["web-0-tmp"]);
}
