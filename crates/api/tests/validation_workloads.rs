//! What StatefulSets, Deployments, ReplicaSets and revisions are refused for.

mod support;

use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use serde_json::{Value, json};
use stead_api::errors::FieldErrors;
use support::{check_create, check_status, check_update, check_update_from, check_warnings, object};

const WEB: &str = r"
metadata: {name: web, namespace: default}
spec:
  serviceName: nginx
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: nginx, image: 'nginx:1', volumeMounts: [{name: www, mountPath: /www}]}
  volumeClaimTemplates:
  - metadata: {name: www}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

const APP: &str = r"
metadata: {name: app, namespace: default}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: a, image: 'a:1'}]}
";

fn set(change: Value, expected: Expect) {
    check_create::<StatefulSet>(WEB, change, expected);
}

fn deployment(change: Value, expected: Expect) {
    check_create::<Deployment>(APP, change, expected);
}

#[test]
fn a_sound_set_is_taken() {
    set(json!({}), expect![""]);
    check_update::<StatefulSet>(WEB, json!({}), expect![""]);
    check_warnings::<StatefulSet>(WEB, json!({}), expect![""]);
}

#[test]
fn the_selector_must_match_the_template() {
    set(
        json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`
    "#]],
    );
    set(
        json!({"spec": {"selector": null}}),
        expect![[r#"
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
    "#]],
    );
    set(
        json!({"spec": {"template": {"metadata": null}}}),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
    "#]],
    );
    let broken = json!({"matchExpressions": [{"key": "app", "operator": "In"}]});
    set(
        json!({"spec": {"selector": broken}}),
        expect![[r#"
            spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.selector: Invalid value: {"matchLabels":{"app":"web"},"matchExpressions":[{"key":"app","operator":"In"}]}
        "#]],
    );
}

#[test]
fn the_whole_message_of_a_mismatch() {
    let set: StatefulSet = object(WEB, &json!({"spec": {"template": {"metadata": {"labels": {"app": "x"}}}}}));
    let errors: FieldErrors = stead_api::validation::stateful_set_create(&set);
    expect![[
        r#"spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`"#
    ]]
    .assert_eq(&errors.to_string());
}

#[test]
fn names_of_sets_are_labels() {
    set(
        json!({"metadata": {"name": "Web"}}),
        expect![[r#"
        metadata.name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    set(
        json!({"metadata": {"name": "w".repeat(64)}}),
        expect![[r#"
        metadata.name: Invalid value: "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww": must be no more than 63 characters
    "#]],
    );
    set(
        json!({"metadata": {"name": "a.b"}}),
        expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
    "#]],
    );
    set(
        json!({"spec": {"serviceName": "Bad_Name"}}),
        expect![[r#"
        spec.serviceName: Invalid value: "Bad_Name": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
}

#[test]
fn annotations_of_sets_that_mean_something_can_be_read() {
    set(
        json!({"metadata": {"annotations": {"stead.dev/reserve-ordinals": "1,x", "stead.dev/paused": "yes", "other": "x"}}}),
        expect![[r#"
        metadata.annotations[stead.dev/paused]: Invalid value: "yes": must be 'true' or 'false'
        metadata.annotations[stead.dev/reserve-ordinals]: Invalid value: "1,x": 'x' is neither an ordinal nor a range of ordinals
    "#]],
    );
    let with = |value: &str| -> StatefulSet {
        object(
            WEB,
            &json!({"metadata": {"resourceVersion": "1", "annotations": {"stead.dev/reserve-ordinals": value}}}),
        )
    };
    let (good, bad) = (with("1"), with("1,x"));
    assert_eq!(stead_api::validation::stateful_set_update(&bad, &good).iter().count(), 1);
    assert!(stead_api::validation::stateful_set_update(&bad, &bad).is_empty(), "what is stored is not judged again");
}

#[test]
fn policies_and_numbers_of_sets() {
    set(
        json!({"spec": {"podManagementPolicy": "Random"}}),
        expect![[r#"
        spec.podManagementPolicy: Invalid value: "Random": must be 'OrderedReady' or 'Parallel'
    "#]],
    );
    set(
        json!({"spec": {"updateStrategy": {"type": "Canary"}}}),
        expect![[r#"
        spec.updateStrategy: Invalid value: {"Type":"Canary","RollingUpdate":null}: must be 'RollingUpdate', 'OnDelete' or 'Recreate'
    "#]],
    );
    set(
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
        expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for updateStrategy 'RollingUpdate'
    "#]],
    );
    set(json!({"spec": {"updateStrategy": {"type": "Recreate"}}}), expect![""]);
    set(
        json!({"spec": {"updateStrategy": {"type": "Recreate", "rollingUpdate": {"partition": 1}}}}),
        expect![[r#"
        spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for updateStrategy 'RollingUpdate'
    "#]],
    );
    set(
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": "0%"}}}}),
        expect![[r#"
        spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "0%": cannot be 0
    "#]],
    );
    set(
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": -1}}}}),
        expect![[r#"
        spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    set(
        json!({"spec": {"replicas": -1, "minReadySeconds": -2, "ordinals": {"start": -3}}}),
        expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.minReadySeconds: Invalid value: -2: must be greater than or equal to 0
        spec.ordinals.start: Invalid value: -3: must be greater than or equal to 0
    "#]],
    );
    set(
        json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Keep"}}}),
        expect![[r#"
        spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: "Keep": supported values: "Retain", "Delete"
    "#]],
    );
}

#[test]
fn templates_of_sets() {
    set(
        json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}}),
        expect![[r#"
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in StatefulSet is not Supported
    "#]],
    );
    set(
        json!({"spec": {"template": {"spec": {"containers": []}}}}),
        expect![[r#"
        spec.template.spec.containers: Required value
    "#]],
    );
    // Only claims by templates and volumes of the pod can be mounted.
    set(
        json!({"spec": {"volumeClaimTemplates": null}}),
        expect![[r#"
        spec.template.spec.containers[0].volumeMounts[0].name: Not found: "www"
    "#]],
    );
    set(
        json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {}}]}}),
        expect![[r#"
        spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
    "#]],
    );
}

#[test]
fn what_may_change_on_a_set() {
    let free = json!({"spec": {
        "replicas": 5, "minReadySeconds": 3, "revisionHistoryLimit": 2,
        "updateStrategy": {"rollingUpdate": {"partition": 2}},
        "template": {"spec": {"containers": [{"name": "nginx", "image": "nginx:2"}]}},
    }});
    check_update::<StatefulSet>(WEB, free, expect![""]);
    check_update::<StatefulSet>(
        WEB,
        json!({"spec": {"serviceName": "other"}}),
        expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    check_update::<StatefulSet>(
        WEB,
        json!({"spec": {"podManagementPolicy": "Parallel"}}),
        expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    check_update::<StatefulSet>(
        WEB,
        json!({"spec": {"volumeClaimTemplates": null}}),
        expect![[r#"
        spec.template.spec.containers[0].volumeMounts[0].name: Not found: "www"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    check_update::<StatefulSet>(
        WEB,
        json!({"spec": {"selector": {"matchLabels": {"b": "c"}}}}),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
}

/// The claim template `www` with this name and spec.
fn claims(name: &str, spec: &Value) -> Value {
    json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": name}, "spec": spec}]}})
}

#[test]
fn claim_templates_of_a_set_may_ask_for_other_claims_but_stay_the_same_in_number_and_name() {
    let spec = |size: &str, mode: &str| json!({"accessModes": [mode], "resources": {"requests": {"storage": size}}});
    check_update::<StatefulSet>(WEB, claims("www", &spec("2Gi", "ReadWriteOnce")), expect![""]);
    check_update::<StatefulSet>(WEB, claims("www", &spec("500Mi", "ReadWriteOncePod")), expect![""]);
    check_update::<StatefulSet>(
        WEB,
        claims("www", &spec("-2Gi", "Whatever")),
        expect![[r#"
            spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: "Whatever": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.volumeClaimTemplates[0].spec.resources[storage]: Invalid value: "-2Gi": must be greater than or equal to 0
            spec.volumeClaimTemplates[0].spec.resources[storage]: Invalid value: "-2Gi": must be greater than zero
        "#]],
    );
    check_update::<StatefulSet>(
        WEB,
        claims("www2", &spec("1Gi", "ReadWriteOnce")),
        expect![[r#"
            spec.template.spec.containers[0].volumeMounts[0].name: Not found: "www"
            spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
        "#]],
    );
}

#[test]
fn claim_templates_carry_only_labels_that_claims_may_carry() {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let metadata = json!({"name": "www", "labels": {"tier": "not a value"}});
    check_update::<StatefulSet>(
        WEB,
        json!({"spec": {"volumeClaimTemplates": [{"metadata": metadata, "spec": spec}]}}),
        expect![[r#"
            spec.volumeClaimTemplates[0].metadata.labels: Invalid value: "not a value": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        "#]],
    );
}

#[test]
fn a_set_whose_pods_could_not_be_named_is_warned_of() {
    let name = "w".repeat(62);
    check_warnings::<StatefulSet>(
        WEB,
        json!({"metadata": {"name": name}}),
        expect![[r#"
            metadata.name: pod names like wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww-0 are longer than 63 characters, so these pods cannot be made
        "#]],
    );
    check_warnings::<StatefulSet>(WEB, json!({"metadata": {"name": "w".repeat(61)}}), expect![""]);
}

#[test]
fn a_stored_bad_template_does_not_block_updates() {
    let bad = json!({"spec": {"template": {"spec": {"containers": [{"name": "NOT OK", "image": "x:1"}]}}}});
    check_update_from::<StatefulSet>(WEB, bad, json!({"spec": {"replicas": 2}}), expect![""]);
}

#[test]
fn the_status_of_a_set() {
    check_status::<StatefulSet>(
        WEB,
        json!({"status": {"collisionCount": 2}}),
        json!({"status": {
            "replicas": 1, "readyReplicas": 2, "currentReplicas": -1, "availableReplicas": 3, "collisionCount": 1,
        }}),
        expect![[r#"
            status.currentReplicas: Invalid value: -1: must be greater than or equal to 0
            status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 3: cannot be greater than status.readyReplicas
            status.collisionCount: Invalid value: 1: cannot be decremented
        "#]],
    );
}

#[test]
fn warnings_of_sets() {
    check_warnings::<StatefulSet>(
        WEB,
        json!({"spec": {
            "revisionHistoryLimit": -1,
            "template": {"spec": {"nodeSelector": {"beta.kubernetes.io/arch": "amd64"}}},
            "volumeClaimTemplates": [
                {"metadata": {"name": "www"}, "spec": {"resources": {"requests": {"storage": "1500m"}}}},
            ],
        }}),
        expect![[r#"
            spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead
            spec.volumeClaimTemplates[0].spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer
            spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
        "#]],
    );
}

#[test]
fn deployments() {
    deployment(json!({}), expect![""]);
    deployment(
        json!({"spec": {"selector": null}}),
        expect![[r#"
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {"app":"app"}: `selector` does not match template `labels`
    "#]],
    );
    deployment(
        json!({"spec": {"strategy": {"type": "BlueGreen"}}}),
        expect![[r#"
        spec.strategy: Unsupported value: {"Type":"BlueGreen","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"
    "#]],
    );
    deployment(
        json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}),
        expect![[r#"
        spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
    "#]],
    );
    let update = |unavailable: Value, surge: Value| json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": unavailable, "maxSurge": surge}}}});
    deployment(
        update(json!(0), json!("0%")),
        expect![[r#"
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
    "#]],
    );
    deployment(
        update(json!("110%"), json!("200%")),
        expect![[r#"
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "110%": must not be greater than 100%
    "#]],
    );
    deployment(
        update(json!("x"), json!(-1)),
        expect![[r#"
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    deployment(
        json!({"spec": {"minReadySeconds": 600}}),
        expect![[r#"
        spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds
    "#]],
    );
    check_update::<Deployment>(
        APP,
        json!({"spec": {"selector": {"matchLabels": {"app": "b"}}}}),
        expect![[r#"
        spec.template.metadata.labels: Invalid value: {"app":"app"}: `selector` does not match template `labels`
        spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable
    "#]],
    );
    check_status::<Deployment>(
        APP,
        json!({}),
        json!({"status": {"replicas": 1, "readyReplicas": 1, "availableReplicas": 2}}),
        expect![[r#"
            status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas
            status.availableReplicas: Invalid value: 2: cannot be greater than readyReplicas
        "#]],
    );
    check_warnings::<Deployment>(
        APP,
        json!({"metadata": {"name": "a.b"}}),
        expect![[r#"
        metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
    "#]],
    );
}

#[test]
fn replica_sets() {
    check_create::<ReplicaSet>(APP, json!({}), expect![""]);
    check_create::<ReplicaSet>(
        APP,
        json!({"spec": {"replicas": -1, "template": {"spec": {"restartPolicy": "OnFailure", "activeDeadlineSeconds": 1}}}}),
        expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.template.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported
        "#]],
    );
    check_status::<ReplicaSet>(
        APP,
        json!({}),
        json!({"status": {"replicas": 1, "fullyLabeledReplicas": 2}}),
        expect![[r#"
        status.fullyLabeledReplicas: Invalid value: 2: cannot be greater than status.replicas
    "#]],
    );
}

#[test]
fn revisions_keep_their_data() {
    let base = "{metadata: {name: web-1, namespace: default}, revision: 1, data: {spec: {}}}";
    check_create::<ControllerRevision>(base, json!({}), expect![""]);
    check_create::<ControllerRevision>(
        base,
        json!({"data": null, "revision": -1}),
        expect![[r#"
        data: Required value: data is mandatory
        revision: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check_create::<ControllerRevision>(
        base,
        json!({"data": "text"}),
        expect![[r#"
        data: Invalid value: "\"text\"": data must be a valid JSON object
    "#]],
    );
    check_update::<ControllerRevision>(base, json!({"revision": 5}), expect![""]);
    check_update::<ControllerRevision>(
        base,
        json!({"data": {"spec": {"a": 1}}}),
        expect![[r#"
        data: Invalid value: {"spec":{"a":1}}: field is immutable
    "#]],
    );
}

#[test]
fn metadata_of_any_kind() {
    let meta = |change: Value, expected| deployment(json!({"metadata": change}), expected);
    meta(
        json!({"labels": {"-a": "ok", "b": "not ok"}}),
        expect![[r#"
        metadata.labels: Invalid value: "-a": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.labels: Invalid value: "not ok": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
    "#]],
    );
    meta(
        json!({"annotations": {"A/b/c": "x"}}),
        expect![[r#"
        metadata.annotations: Invalid value: "A/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
    "#]],
    );
    meta(
        json!({"annotations": {"a": "x".repeat(262_144)}}),
        expect![[r#"
        metadata.annotations: Too long: may not be more than 262144 bytes
    "#]],
    );
    meta(
        json!({"finalizers": ["plain", "a.io/b", "orphan", "foregroundDeletion"]}),
        expect![[r#"
        metadata.finalizers: Invalid value: ["plain","a.io/b","orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set
        metadata.finalizers[0]: Invalid value: "plain": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
    meta(
        json!({"ownerReferences": [owner("a"), owner("b")]}),
        expect![[r#"
            metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","kind":"Pod","name":"a","uid":"u","controller":true},{"apiVersion":"v1","kind":"Pod","name":"b","uid":"u","controller":true}]: Only one reference can have Controller set to true. Found "true" in references for Pod/a and Pod/b
        "#]],
    );
    meta(
        json!({"ownerReferences": [{"apiVersion": "", "kind": "", "name": "", "uid": ""}]}),
        expect![[r#"
        metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty
        metadata.ownerReferences.kind: Invalid value: "": must not be empty
        metadata.ownerReferences.name: Invalid value: "": must not be empty
        metadata.ownerReferences.uid: Invalid value: "": must not be empty
    "#]],
    );
    meta(
        json!({"name": null, "generateName": "Web-"}),
        expect![[r#"
        metadata.generateName: Invalid value: "Web-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.name: Required value: name or generateName is required
    "#]],
    );
    let deleting = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "generation": 2}});
    let change = json!({"metadata": {"name": "other", "generation": 1, "finalizers": ["a.io/b"], "uid": "u"}});
    check_update_from::<Deployment>(
        APP,
        deleting,
        change,
        expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"a.io/b"}
        metadata.generation: Invalid value: 1: must not be decremented
        metadata.name: Invalid value: "other": field is immutable
        metadata.uid: Invalid value: "u": field is immutable
    "#]],
    );
}
