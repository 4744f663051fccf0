//! The objects that a set's actions write, in full.

use expect_test::expect;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use serde::Serialize;
use serde_json::{Value, json};
use stead_plan::ids::Uid;
use stead_plan::statefulset::ClaimKeeper;
use stead_plan::statefulset::ordinals::Ordinal;
use stead_plan::statefulset::render;
use stead_plan::statefulset::revisions::RevisionName;

use crate::check;

fn shown(object: &impl Serialize) -> String {
    serde_json::to_string_pretty(object).expect("objects can be written")
}

fn name(revision: &str) -> RevisionName {
    RevisionName(revision.to_owned())
}

/// A set with something in every place that a pod or a claim takes over.
fn set() -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "set-1", "resourceVersion": "7",
            "annotations": {"stead.dev/reset": "1=2", "team": "blue"},
        },
        "spec": {
            "serviceName": "front",
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {
                    "labels": {"app": "web"}, "annotations": {"note": "n"}, "finalizers": ["example.com/keep"],
                },
                "spec": {
                    "containers": [{"name": "web", "image": "a"}],
                    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data", "labels": {"tier": "db"}, "annotations": {"kind": "ssd"}},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                "status": {"phase": "Pending"},
            }],
        },
    }))
    .expect("a set")
}

fn template(set: &StatefulSet) -> PodTemplateSpec {
    set.spec.clone().unwrap_or_default().template
}

#[test]
fn a_pod_is_its_template_with_the_identity_and_the_claims_of_its_ordinal() {
    let set = set();
    let pod = render::pod(&set, &template(&set), &name("web-x1"), Ordinal(1));
    check(
        &shown(&pod),
        expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Pod",
          "metadata": {
            "annotations": {
              "note": "n",
              "stead.dev/reset-generation": "2"
            },
            "finalizers": [
              "example.com/keep"
            ],
            "generateName": "web-",
            "labels": {
              "app": "web",
              "apps.kubernetes.io/pod-index": "1",
              "controller-revision-hash": "web-x1",
              "statefulset.kubernetes.io/pod-name": "web-1"
            },
            "name": "web-1",
            "namespace": "shop",
            "ownerReferences": [
              {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "StatefulSet",
                "name": "web",
                "uid": "set-1"
              }
            ]
          },
          "spec": {
            "containers": [
              {
                "image": "a",
                "name": "web"
              }
            ],
            "hostname": "web-1",
            "subdomain": "front",
            "volumes": [
              {
                "name": "data",
                "persistentVolumeClaim": {
                  "claimName": "data-web-1"
                }
              },
              {
                "emptyDir": {},
                "name": "scratch"
              }
            ]
          }
        }"#]],
    );
}

#[test]
fn a_pod_of_a_set_without_a_service_has_no_subdomain() {
    let mut set = set();
    let subdomain = |set: &StatefulSet| {
        let pod = render::pod(set, &template(set), &name("web-x1"), Ordinal(0));
        pod.spec.and_then(|spec| spec.subdomain)
    };
    assert_eq!(subdomain(&set).as_deref(), Some("front"));
    set.spec.get_or_insert_default().service_name = Some(String::new());
    assert_eq!(subdomain(&set), None);
}

#[test]
fn a_claim_is_its_template_with_the_labels_the_set_selects_by() {
    let claim = render::claim(&set(), "data", Ordinal(1)).expect("there is such a template");
    check(
        &shown(&claim),
        expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "PersistentVolumeClaim",
          "metadata": {
            "annotations": {
              "kind": "ssd",
              "stead.dev/reset-generation": "2"
            },
            "labels": {
              "app": "web",
              "tier": "db"
            },
            "name": "data-web-1",
            "namespace": "shop"
          },
          "spec": {
            "accessModes": [
              "ReadWriteOnce"
            ],
            "resources": {
              "requests": {
                "storage": "1Gi"
              }
            }
          }
        }"#]],
    );
    assert_eq!(render::claim(&set(), "logs", Ordinal(1)), None);
    let mut plain = set();
    let spec = plain.spec.get_or_insert_default();
    spec.selector.match_labels = None;
    spec.volume_claim_templates.get_or_insert_default()[0].metadata.labels = None;
    let claim = render::claim(&plain, "data", Ordinal(1)).expect("there is such a template");
    assert_eq!(claim.metadata.labels, None);
}

#[test]
fn a_claim_goes_from_keeper_to_keeper_and_strangers_stay_in_front() {
    let mut claim = render::claim(&set(), "data", Ordinal(1)).expect("there is such a template");
    claim.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: "keeper".to_owned(),
        uid: "k".to_owned(),
        ..OwnerReference::default()
    }]);
    let of_set = render::owned_claim(&set(), &claim, Ordinal(1), &ClaimKeeper::Set);
    let of_pod = render::owned_claim(&set(), &of_set, Ordinal(1), &ClaimKeeper::Pod(Uid("pod-1".to_owned())));
    check(
        &shown(&json!([of_set.metadata.owner_references, of_pod.metadata.owner_references])),
        expect![[r#"
        [
          [
            {
              "apiVersion": "v1",
              "kind": "ConfigMap",
              "name": "keeper",
              "uid": "k"
            },
            {
              "apiVersion": "apps/v1",
              "blockOwnerDeletion": true,
              "controller": true,
              "kind": "StatefulSet",
              "name": "web",
              "uid": "set-1"
            }
          ],
          [
            {
              "apiVersion": "v1",
              "kind": "ConfigMap",
              "name": "keeper",
              "uid": "k"
            },
            {
              "apiVersion": "v1",
              "blockOwnerDeletion": true,
              "controller": true,
              "kind": "Pod",
              "name": "web-1",
              "uid": "pod-1"
            }
          ]
        ]"#]],
    );
    assert_eq!(render::owned_claim(&set(), &of_pod, Ordinal(1), &ClaimKeeper::Nobody), claim);
}

#[test]
fn a_revision_keeps_the_template_and_takes_it_back_to_the_very_set_that_was_seen() {
    let revision = render::revision(&set(), &name("web-x1"), "x1", 3);
    check(
        &shown(&revision),
        expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "ControllerRevision",
          "data": {
            "spec": {
              "template": {
                "$patch": "replace",
                "metadata": {
                  "annotations": {
                    "note": "n"
                  },
                  "finalizers": [
                    "example.com/keep"
                  ],
                  "labels": {
                    "app": "web"
                  }
                },
                "spec": {
                  "containers": [
                    {
                      "image": "a",
                      "name": "web"
                    }
                  ],
                  "volumes": [
                    {
                      "emptyDir": {},
                      "name": "data"
                    },
                    {
                      "emptyDir": {},
                      "name": "scratch"
                    }
                  ]
                }
              }
            }
          },
          "metadata": {
            "annotations": {
              "stead.dev/reset": "1=2",
              "team": "blue"
            },
            "labels": {
              "app": "web",
              "controller.kubernetes.io/hash": "x1"
            },
            "name": "web-x1",
            "namespace": "shop",
            "ownerReferences": [
              {
                "apiVersion": "apps/v1",
                "blockOwnerDeletion": true,
                "controller": true,
                "kind": "StatefulSet",
                "name": "web",
                "uid": "set-1"
              }
            ]
          },
          "revision": 3
        }"#]],
    );
    assert_eq!(render::template(&set(), &name("web-x1"), Some(&revision)), Some(template(&set())));
    assert_eq!(render::template(&set(), &name("web-x2"), Some(&revision)), None, "that is another one");
    let patch = render::rollback(&set(), &revision, &name("web-x2")).expect("the revision holds a template");
    check(
        &shown(&patch["metadata"]),
        expect![[r#"
        {
          "uid": "set-1",
          "resourceVersion": "7",
          "annotations": {
            "stead.dev/rolled-back-from": "web-x2"
          }
        }"#]],
    );
    assert_eq!(patch["spec"]["template"]["spec"]["containers"][0]["image"], "a");
}

#[test]
fn what_is_written_on_the_set_names_the_set() {
    let patch = |value: Option<&str>| render::remembered(&set(), "stead.dev/paused-replicas", value);
    let wanted =
        |value: Value| json!({"metadata": {"uid": "set-1", "annotations": {"stead.dev/paused-replicas": value}}});
    assert_eq!(patch(Some("web-x1=0")), wanted(json!("web-x1=0")));
    assert_eq!(patch(None), wanted(Value::Null), "null takes it away");
}

#[test]
fn identity_labels_come_back_beside_the_others() {
    let set = set();
    let mut meta = render::pod(&set, &template(&set), &name("web-x1"), Ordinal(1)).metadata;
    let whole = meta.clone();
    meta.labels.get_or_insert_default().remove("statefulset.kubernetes.io/pod-name");
    meta.creation_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
    let again = render::relabelled(&set, &meta, Ordinal(1));
    assert_eq!(again.labels, whole.labels);
    assert_eq!(again.creation_timestamp, meta.creation_timestamp, "all else stays");
}
