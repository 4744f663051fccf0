//! What claims, volumes, storage classes and configuration are refused for.

mod support;

use expect_test::expect;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Secret, ServiceAccount};
use k8s_openapi::api::storage::v1::StorageClass;
use serde_json::json;
use support::{check_create, check_update, check_update_from, check_warnings};

const CLAIM: &str = r"
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: local}
";
const VOLUME: &str = r"
metadata: {name: pv}
spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, hostPath: {path: /data}}
";
const CLASS: &str = "{metadata: {name: local}, provisioner: stead.dev/local}";
const SECRET: &str = "{metadata: {name: s, namespace: default}}";
const MAP: &str = "{metadata: {name: m, namespace: default}, data: {a: b}}";

#[test]
fn claims() {
    check_create::<PersistentVolumeClaim>(CLAIM, json!({}), expect![""]);
    check_create::<PersistentVolumeClaim>(
        CLAIM,
        json!({"spec": {"accessModes": null, "resources": null}}),
        expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Required value
    "#]],
    );
    check_create::<PersistentVolumeClaim>(
        CLAIM,
        json!({"spec": {"accessModes": ["ReadWriteOncePod", "Sometimes"], "resources": {"requests": {"storage": "0"}}, "storageClassName": "A B", "volumeMode": "Tape"}}),
        expect![[r#"
            spec.accessModes: Unsupported value: "Sometimes": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
            spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
            spec.resources[storage]: Invalid value: "0": must be greater than zero
            spec.storageClassName: Invalid value: "A B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"
        "#]],
    );
}

#[test]
fn changes_of_claims() {
    let grow = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    check_update::<PersistentVolumeClaim>(
        CLAIM,
        grow.clone(),
        expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
        @@ -4,7 +4,7 @@
           ],
           "resources": {
             "requests": {
        -      "storage": "1Gi"
        +      "storage": "2Gi"
             }
           },
           "storageClassName": "local",

    "#]],
    );
    let bound = json!({"spec": {"volumeName": "pv"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    check_update_from::<PersistentVolumeClaim>(CLAIM, bound.clone(), grow, expect![""]);
    let shrink = json!({"spec": {"resources": {"requests": {"storage": "1Mi"}}}});
    check_update_from::<PersistentVolumeClaim>(
        CLAIM,
        bound.clone(),
        shrink,
        expect![[r#"
        spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
    "#]],
    );
    check_update_from::<PersistentVolumeClaim>(
        CLAIM,
        bound,
        json!({"spec": {"volumeName": "other", "volumeMode": "Block"}}),
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -9,5 +9,5 @@
               },
               "storageClassName": "local",
               "volumeMode": "Filesystem",
            -  "volumeName": "pv"
            +  "volumeName": "other"
             }

            volumeMode: Invalid value: "Block": field is immutable
        "#]],
    );
    check_update::<PersistentVolumeClaim>(CLAIM, json!({"spec": {"volumeName": "pv"}}), expect![""]);
    check_warnings::<PersistentVolumeClaim>(
        CLAIM,
        json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}}}),
        expect![[r#"
            metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead
        "#]],
    );
}

#[test]
fn volumes() {
    check_create::<PersistentVolume>(VOLUME, json!({}), expect![""]);
    check_create::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"accessModes": null, "capacity": null, "hostPath": null}}),
        expect![[r#"
        spec.accessModes: Required value
        spec.capacity: Required value
        spec.capacity: Unsupported value: {}: supported values: "storage"
        spec: Required value: must specify a volume type
    "#]],
    );
    check_create::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"local": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Burn", "capacity": {"storage": "-1"}}}),
        expect![[r#"
        spec.capacity[storage]: Invalid value: "-1": must be greater than zero
        spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"
        spec.local: Forbidden: may not specify more than 1 volume type
        spec.nodeAffinity: Required value: Local volume requires node affinity
    "#]],
    );
    check_create::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}}),
        expect![[r#"
        spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
    "#]],
    );
    check_create::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"hostPath": null, "csi": {"driver": "A_b", "volumeHandle": ""}, "nodeAffinity": {}}}),
        expect![[r#"
        spec.nodeAffinity.required: Required value: must specify required node constraints
        spec.csi.driver: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.csi.volumeHandle: Required value
    "#]],
    );
    check_update::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"capacity": {"storage": "5Gi"}, "persistentVolumeReclaimPolicy": "Delete"}}),
        expect![""],
    );
    check_update::<PersistentVolume>(
        VOLUME,
        json!({"spec": {"hostPath": {"path": "/other"}, "volumeMode": "Block"}}),
        expect![[r#"
        spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
        @@ -1,6 +1,6 @@
         {
           "hostPath": {
        -    "path": "/data",
        +    "path": "/other",
             "type": ""
           }
         }

        volumeMode: Invalid value: "Block": field is immutable
    "#]],
    );
}

#[test]
fn classes() {
    check_create::<StorageClass>(CLASS, json!({}), expect![""]);
    check_create::<StorageClass>(
        CLASS,
        json!({"provisioner": "", "reclaimPolicy": "Recycle", "volumeBindingMode": "Late", "parameters": {"": "x"}}),
        expect![[r#"
        provisioner: Required value
        parameters: Invalid value: "": field can not be empty.
        reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
        volumeBindingMode: Unsupported value: "Late": supported values: "Immediate", "WaitForFirstConsumer"
    "#]],
    );
    let term = json!({"matchLabelExpressions": [{"key": "zone", "values": ["a", "a"]}, {"key": "zone", "values": []}]});
    check_create::<StorageClass>(
        CLASS,
        json!({"allowedTopologies": [term, term]}),
        expect![[r#"
        allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"
        allowedTopologies[0].matchLabelExpressions[1].values: Required value
        allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"
        allowedTopologies[1].matchLabelExpressions[0].values[1]: Duplicate value: "a"
        allowedTopologies[1].matchLabelExpressions[1].values: Required value
        allowedTopologies[1].matchLabelExpressions[1].key: Duplicate value: "zone"
        allowedTopologies[1].matchLabelExpressions: Duplicate value: ""
    "#]],
    );
    check_update::<StorageClass>(CLASS, json!({"allowVolumeExpansion": true}), expect![""]);
    check_update::<StorageClass>(
        CLASS,
        json!({"provisioner": "a/b", "reclaimPolicy": "Retain", "parameters": {"a": "b"}}),
        expect![[r#"
        parameters: Invalid value: {"a":"b"}: field is immutable
        provisioner: Invalid value: "a/b": field is immutable
        reclaimPolicy: Invalid value: "Retain": field is immutable
    "#]],
    );
}

#[test]
fn configuration() {
    check_create::<ConfigMap>(
        MAP,
        json!({"data": {"a/b": "x", "..c": "x", "d": "x"}, "binaryData": {"d": "eA=="}}),
        expect![[r#"
        data[..c]: Invalid value: "..c": must not start with '..'
        data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[d]: Invalid value: "d": duplicate of key present in binaryData
    "#]],
    );
    check_create::<ConfigMap>(
        MAP,
        json!({"data": {"a": "x".repeat(1_048_577)}}),
        expect![[r#"
        : Too long: may not be more than 1048576 bytes
    "#]],
    );
    check_update_from::<ConfigMap>(
        MAP,
        json!({"immutable": true}),
        json!({"immutable": null, "data": {"a": "c"}}),
        expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
    check_create::<Secret>(
        SECRET,
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}}),
        expect![[r#"
        data[tls.key]: Required value
    "#]],
    );
    check_create::<Secret>(
        SECRET,
        json!({"type": "kubernetes.io/basic-auth"}),
        expect![[r#"
        data[username]: Required value
        data[password]: Required value
    "#]],
    );
    check_create::<Secret>(
        SECRET,
        json!({"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "nope"}}),
        expect![[r#"
        data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": expected ident at line 1 column 2
    "#]],
    );
    check_create::<Secret>(
        SECRET,
        json!({"type": "kubernetes.io/service-account-token"}),
        expect![[r#"
        metadata.annotations[kubernetes.io/service-account.name]: Required value
    "#]],
    );
    check_update::<Secret>(
        SECRET,
        json!({"type": "Other"}),
        expect![[r#"
        type: Invalid value: "Other": field is immutable
    "#]],
    );
    check_warnings::<ServiceAccount>(
        SECRET,
        json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}}),
        expect![[r#"
        metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets
    "#]],
    );
}
