//! Which changes are news to a set. Most writes of others change nothing that it decides by, and a plan for a set
//! of thousands is work.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::claim_views::claim_view;
use super::conditions::StoredProgress;
use super::views::{Observed, Owner, pod_view, set_view};
use crate::claims::volume_name;

/// What a change is to a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing: it decides as before.
    None,
    /// Something to be counted, which has time until there is more: what the set has most likely made itself, and
    /// waits for.
    Soon,
    /// Something to decide about.
    Now,
}

/// What it is to `set` that a pod, `before`, became `after`; none where there is none. `prepares` tells whether the
/// node of a name answers requests. That a pod has found a node is no news by itself: it would not have, were its
/// data lost.
pub fn of_pod(set: &StatefulSet, prepares: impl Fn(&str) -> bool, before: Option<&Pod>, after: Option<&Pod>) -> News {
    let view = set_view(set);
    let nodes = [before, after].map(|pod| pod.and_then(|pod| pod.spec.as_ref()?.node_name.as_deref()));
    let preparing: BTreeSet<&str> = nodes.into_iter().flatten().filter(|node| prepares(node)).collect();
    let seen = |pod| pod_view(set, &view, &preparing, pod);
    match (before.and_then(seen), after.and_then(seen)) {
        (None, None) => News::None,
        (None, Some(after)) if before.is_none() && after.owner == Owner::This => News::Soon,
        (Some(before), Some(mut after)) => {
            after.target.resource_version.clone_from(&before.target.resource_version);
            if before == after { News::None } else { News::Now }
        }
        (None, Some(_)) | (Some(_), None) => News::Now,
    }
}

/// What it is to `set` that a claim, `before`, became `after`: what the binder notes on it until it is bound, and the
/// state it shows, are nothing to the set. `classes` tell whether it can grow.
pub fn of_claim(
    set: &StatefulSet,
    classes: &[Arc<StorageClass>],
    before: Option<&PersistentVolumeClaim>,
    after: Option<&PersistentVolumeClaim>,
) -> News {
    let (view, observed) = (set_view(set), Observed { classes, ..Observed::default() });
    let seen = |claim| claim_view(set, &view, &observed, claim).map(|seen| Arc::unwrap_or_clone(seen.view));
    let moved = || {
        let volume = before.and_then(volume_name);
        volume.is_some() && volume != after.and_then(volume_name)
    };
    match (before.and_then(seen), after.and_then(seen)) {
        (None, None) => News::None,
        (None, Some(_)) if before.is_none() => News::Soon,
        (Some(before), Some(mut after)) => {
            after.target.resource_version.clone_from(&before.target.resource_version);
            if before == after && !moved() { News::None } else { News::Now }
        }
        (None, Some(_)) | (Some(_), None) => News::Now,
    }
}

/// Whether nothing of a set has changed but what its status tells people: counts, and conditions other than how far
/// its rollout is. Who has written such a status has decided by what it tells already.
pub fn only_told(before: &StatefulSet, after: &StatefulSet) -> bool {
    let meta = |set: &StatefulSet| ObjectMeta { resource_version: None, managed_fields: None, ..set.metadata.clone() };
    let decisive = |set: &StatefulSet| {
        let status = set.status.as_ref();
        let of_status = status.map(|status| (status.current_revision.clone(), status.collision_count));
        (of_status, StoredProgress::of(status))
    };
    before.spec == after.spec && meta(before) == meta(after) && decisive(before) == decisive(after)
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
                "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "web-a", "collisionCount": 0,
                "conditions": [],
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
        let news = |from: Option<&Value>, to: Option<&Value>| {
            let claim = |changes: &Value| changed(&claim, changes);
            of_claim(&read(set()), &[], from.map(claim).as_ref(), to.map(claim).as_ref())
        };
        let same = |from: &Value, to: &Value| news(Some(from), Some(to)) == News::None;
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
            assert_eq!(news(Some(from), Some(&to)), News::Now, "{from} {to}");
        }
        let stranger = json!({"/metadata/name": "data-web-x"});
        assert_eq!([news(None, Some(&none)), news(Some(&none), None)], [News::Soon, News::Now]);
        assert_eq!([news(None, Some(&stranger)), news(Some(&stranger), None)], [News::None; 2]);
        assert_eq!(news(Some(&stranger), Some(&none)), News::Now);
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
        let news = |classes: &[Arc<StorageClass>]| of_claim(&read(set()), classes, Some(&before), Some(&after));
        assert_eq!([news(&[Arc::new(class)]), news(&[])], [News::Now, News::None], "it takes a class that lets it");
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
        let news = |from: Option<&Value>, to: Option<&Value>| {
            let pod = |changes: &Value| changed(&pod, changes);
            of_pod(&read(set.clone()), |node| node == "able", from.map(pod).as_ref(), to.map(pod).as_ref())
        };
        let none = json!({});
        let condition =
            |kind: &str| json!([{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        for to in [
            json!({"/metadata/resourceVersion": "8", "/spec/nodeName": "n", "/status/conditions": condition("PodScheduled")}),
            json!({"/metadata/annotations": {"a": "b"}}),
        ] {
            assert_eq!(news(Some(&none), Some(&to)), News::None, "{to}");
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
            assert_eq!(news(Some(&none), Some(&to)), News::Now, "{to}");
        }
        let orphan = json!({"/metadata/ownerReferences": []});
        let stranger = json!({"/metadata/name": "web-x", "/metadata/ownerReferences": []});
        assert_eq!([news(None, Some(&none)), news(Some(&none), None)], [News::Soon, News::Now]);
        assert_eq!([news(None, Some(&orphan)), news(Some(&orphan), None)], [News::Now; 2]);
        assert_eq!([news(None, Some(&stranger)), news(Some(&stranger), None)], [News::None; 2]);
        assert_eq!([news(Some(&none), Some(&stranger)), news(Some(&stranger), Some(&none))], [News::Now; 2]);
    }

    #[test]
    fn what_a_status_tells_people_is_told_from_what_is_decided_by() {
        let same = |to: &Value| only_told(&read(set()), &changed(&set(), to));
        let condition = |kind: &str, reason: &str| json!([{"type": kind, "status": "True", "reason": reason}]);
        let told = json!({
            "/metadata/resourceVersion": "2",
            "/status/replicas": 2,
            "/status/readyReplicas": 2,
            "/status/availableReplicas": 2,
            "/status/currentReplicas": 2,
            "/status/updatedReplicas": 2,
            "/status/conditions": condition("Available", "EnoughReplicas"),
        });
        assert!(same(&json!({})) && same(&told));
        for to in [
            json!({"/metadata/generation": 2}),
            json!({"/metadata/annotations": {"a": "b"}}),
            json!({"/spec/serviceName": "other"}),
            json!({"/status/observedGeneration": 2}),
            json!({"/status/currentRevision": "web-b"}),
            json!({"/status/collisionCount": 1}),
            json!({"/status/conditions": condition("Progressing", "RolledOut")}),
            json!({"/status": null}),
        ] {
            assert!(!same(&to), "{to}");
        }
    }
}
