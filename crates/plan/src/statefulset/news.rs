//! Which changes are news to a set. Most writes of others change nothing that it decides by, and a plan for a set
//! of thousands is work.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::claim_views::claim_view;
use super::views::{Observed, pod_view, set_view};
use crate::claims::volume_name;

/// Whether `set` decides as before although a pod, `before`, became `after`. `prepares` tells whether the node of a
/// name answers requests. That a pod has found a node is no news by itself: it would not have, were its data lost.
pub fn sees_same_pod(set: &StatefulSet, prepares: impl Fn(&str) -> bool, before: &Pod, after: &Pod) -> bool {
    let view = set_view(set);
    let nodes = [before, after].map(|pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()));
    let preparing: BTreeSet<&str> = nodes.into_iter().flatten().filter(|node| prepares(node)).collect();
    let seen = |pod| pod_view(set, &view, &preparing, pod);
    match (seen(before), seen(after)) {
        (Some(before), Some(mut after)) => {
            after.target.resource_version.clone_from(&before.target.resource_version);
            before == after
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether `set` decides as before although a claim, `before`, became `after`: what the binder notes on it until it
/// is bound, and the state it shows, are nothing to the set. `classes` tell whether it can grow.
pub fn sees_same_claim(
    set: &StatefulSet,
    classes: &[Arc<StorageClass>],
    before: &PersistentVolumeClaim,
    after: &PersistentVolumeClaim,
) -> bool {
    let (view, observed) = (set_view(set), Observed { classes, ..Observed::default() });
    let seen = |claim| claim_view(set, &view, &observed, claim).map(|seen| Arc::unwrap_or_clone(seen.view));
    let moved = volume_name(before).is_some() && volume_name(before) != volume_name(after);
    match (seen(before), seen(after)) {
        (Some(before), Some(mut after)) => {
            after.target.resource_version.clone_from(&before.target.resource_version);
            before == after && !moved
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether nothing of a set has changed but the counts in its status. Who has written those counts has decided
/// by what was counted already.
pub fn only_counted(before: &StatefulSet, after: &StatefulSet) -> bool {
    let meta = |set: &StatefulSet| ObjectMeta { resource_version: None, managed_fields: None, ..set.metadata.clone() };
    let status = |set: &StatefulSet| {
        set.status.clone().map(|status| StatefulSetStatus {
            replicas: 0,
            ready_replicas: None,
            available_replicas: None,
            current_replicas: None,
            updated_replicas: None,
            ..status
        })
    };
    before.spec == after.spec && meta(before) == meta(after) && status(before) == status(after)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::statefulset::wishes::RESET_GENERATION;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("an object")
    }

    /// `object` with other values at some paths.
    fn changed<T: serde::de::DeserializeOwned>(object: &Value, changes: &Value) -> T {
        let mut object = object.clone();
        for (path, value) in changes.as_object().expect("changes by their path") {
            *object.pointer_mut(path).expect("such a field") = value.clone();
        }
        read(object)
    }

    fn set() -> Value {
        json!({
            "metadata": {"name": "web", "uid": "s", "resourceVersion": "1", "generation": 1, "annotations": {}},
            "spec": {
                "serviceName": "web",
                "selector": {"matchLabels": {"app": "web"}},
                "template": {},
                "volumeClaimTemplates": [
                    {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}},
                ],
            },
            "status": {
                "observedGeneration": 1, "replicas": 1, "readyReplicas": 0, "availableReplicas": 0,
                "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "web-a", "conditions": [],
            },
        })
    }

    fn owner(kind: &str, name: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": "o", "controller": true}])
    }

    #[test]
    fn what_the_binder_notes_on_a_claim_is_nothing_to_its_set_and_the_rest_is() {
        let claim = json!({
            "metadata": {"name": "data-web-0", "uid": "c", "resourceVersion": "7", "annotations": {}},
            "spec": {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": ""},
            "status": {"phase": "Pending"},
        });
        let annotated = |key: &str, value: &str| json!({"/metadata/annotations": {key: value}});
        let bound = json!({
            "/metadata/annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            "/spec/volumeName": "v",
            "/status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        });
        let same =
            |from: &Value, to: &Value| sees_same_claim(&read(set()), &[], &changed(&claim, from), &changed(&claim, to));
        let none = json!({});
        for to in [json!({"/metadata/resourceVersion": "8"}), annotated("volume.kubernetes.io/selected-node", "n")] {
            assert!(same(&none, &to), "{to}");
        }
        assert!(same(&none, &bound));
        for (from, to) in [
            (&none, json!({"/metadata/uid": "d"})),
            (&none, json!({"/metadata/name": "data-web-x"})),
            (&none, annotated(RESET_GENERATION, "1")),
            (
                &none,
                json!({"/metadata": {"name": "data-web-0", "uid": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            ),
            (&none, json!({"/metadata": {"name": "data-web-0", "uid": "c", "ownerReferences": owner("Pod", "web-0")}})),
            (&none, json!({"/spec/resources": {"requests": {"storage": "2Gi"}}})),
            (&none, json!({"/status": {"capacity": {"storage": "512Mi"}}})),
            (&bound, json!({"/spec/volumeName": "w"})),
            (&bound, none.clone()),
        ] {
            assert!(!same(from, &to), "{from} {to}");
        }
    }

    #[test]
    fn a_claim_that_can_grow_once_it_is_bound_is_news() {
        let class = read(json!({"metadata": {"name": "fast"}, "provisioner": "p", "allowVolumeExpansion": true}));
        let claim = json!({
            "metadata": {"name": "data-web-0", "uid": "c", "annotations": {}},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "512Mi"}}, "volumeName": "v"},
            "status": {},
        });
        let bound = json!({
            "/metadata/annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            "/status": {"phase": "Bound", "capacity": {"storage": "512Mi"}},
        });
        let (before, after) = (read(claim.clone()), changed(&claim, &bound));
        assert!(!sees_same_claim(&read(set()), &[Arc::new(class)], &before, &after));
        assert!(sees_same_claim(&read(set()), &[], &before, &after), "no class lets it grow");
    }

    #[test]
    fn that_a_pod_finds_a_node_is_nothing_to_its_set_and_how_it_fares_is() {
        let pod = json!({
            "metadata": {
                "name": "web-0", "uid": "p", "resourceVersion": "7", "ownerReferences": owner("StatefulSet", "web"),
                "labels": {"app": "web"}, "annotations": {},
            },
            "spec": {"nodeName": "", "containers": [], "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}},
            ]},
            "status": {"phase": "Pending", "conditions": []},
        });
        let mut set = set();
        set["metadata"]["uid"] = json!("o");
        let same = |to: &Value| {
            sees_same_pod(&read(set.clone()), |node| node == "able", &read(pod.clone()), &changed(&pod, to))
        };
        let condition =
            |kind: &str| json!([{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        for to in [
            json!({"/metadata/resourceVersion": "8", "/spec/nodeName": "n", "/status/conditions": condition("PodScheduled")}),
            json!({"/metadata/annotations": {"a": "b"}}),
        ] {
            assert!(same(&to), "{to}");
        }
        for to in [
            json!({"/metadata/uid": "q"}),
            json!({"/metadata/labels": {"app": "other"}}),
            json!({"/metadata/ownerReferences": []}),
            json!({"/metadata/annotations": {RESET_GENERATION: "1"}}),
            json!({"/spec/nodeName": "able"}),
            json!({"/spec/volumes": []}),
            json!({"/status/phase": "Running"}),
            json!({"/status/conditions": condition("Ready")}),
        ] {
            assert!(!same(&to), "{to}");
        }
        let stranger = json!({"/metadata/name": "web-x", "/metadata/ownerReferences": []});
        assert!(!same(&stranger), "it was the set's");
    }

    #[test]
    fn counts_in_the_status_of_a_set_are_told_from_everything_else() {
        let same = |to: &Value| only_counted(&read(set()), &changed(&set(), to));
        let counts = json!({
            "/metadata/resourceVersion": "2",
            "/status/replicas": 2,
            "/status/readyReplicas": 2,
            "/status/availableReplicas": 2,
            "/status/currentReplicas": 2,
            "/status/updatedReplicas": 2,
        });
        assert!(same(&json!({})) && same(&counts));
        for to in [
            json!({"/metadata/generation": 2}),
            json!({"/metadata/annotations": {"a": "b"}}),
            json!({"/spec/serviceName": "other"}),
            json!({"/status/observedGeneration": 2}),
            json!({"/status/currentRevision": "web-b"}),
            json!({"/status/conditions": [{"type": "Available", "status": "True"}]}),
            json!({"/status": null}),
        ] {
            assert!(!same(&to), "{to}");
        }
    }
}
