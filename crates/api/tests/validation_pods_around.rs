//! What pods are refused for around their containers, and what may change on them.

mod support;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use support::{check_create, check_status, check_update, check_update_from, check_warnings};

const POD: &str = r"
metadata: {name: p, namespace: default}
spec:
  containers: [{name: c, image: 'c:1'}]
";

fn spec(change: Value, expected: Expect) {
    check_create::<Pod>(POD, json!({"spec": change}), expected);
}

fn container(mut change: Value, expected: Expect) {
    for (field, value) in [("name", "c"), ("image", "c:1")] {
        if change.get(field).is_none() {
            change[field] = json!(value);
        }
    }
    spec(json!({"containers": [change], "volumes": [{"name": "v"}]}), expected);
}

#[test]
fn volumes() {
    let volumes = |list: Value, expected| spec(json!({"volumes": list}), expected);
    volumes(
        json!([{"name": ""}, {"name": "A"}, {"name": "a"}, {"name": "a"}]),
        expect![[r#"
        spec.volumes[0].name: Required value
        spec.volumes[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.volumes[3].name: Duplicate value: "a"
    "#]],
    );
    volumes(
        json!([{"name": "a", "emptyDir": {"sizeLimit": "-1"}, "hostPath": {"path": "/x/.."}}]),
        expect![[r#"
            spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type
        "#]],
    );
    volumes(
        json!([{"name": "a", "hostPath": {"path": "", "type": "Tree"}}, {"name": "b", "hostPath": {"path": "/", "type": "Tree"}}]),
        expect![[r#"
        spec.volumes[0].hostPath.path: Required value
        spec.volumes[1].hostPath.type: Unsupported value: "Tree": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
    "#]],
    );
    volumes(
        json!([{"name": "a", "secret": {"items": [{"key": "", "path": "/x", "mode": 512}]}}]),
        expect![[r#"
        spec.volumes[0].secret.secretName: Required value
        spec.volumes[0].secret.items[0].key: Required value
        spec.volumes[0].secret.items[0].path: Invalid value: "/x": must be a relative path
        spec.volumes[0].secret.items[0].mode: Invalid value: 512: must be a number between 0 and 0777 (octal), both inclusive
    "#]],
    );
    volumes(
        json!([{"name": "a", "configMap": {"name": "", "items": [{"key": "k", "path": "..x"}]}}]),
        expect![[r#"
        spec.volumes[0].configMap.name: Required value
        spec.volumes[0].configMap.items[0].path: Invalid value: "..x": must not start with '..'
    "#]],
    );
    volumes(
        json!([{"name": "a", "persistentVolumeClaim": {"claimName": ""}}, {"name": "b", "nfs": {"server": "", "path": "x"}}]),
        expect![[r#"
        spec.volumes[0].persistentVolumeClaim.claimName: Required value
        spec.volumes[1].nfs.server: Required value
        spec.volumes[1].nfs.path: Invalid value: "x": must be an absolute path
    "#]],
    );
    volumes(
        json!([{"name": "a", "downwardAPI": {"items": [{"path": "x"}, {"path": "y", "resourceFieldRef": {"resource": "limits.cpu"}}]}}]),
        expect![[r#"
        spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required
        spec.volumes[0].downwardAPI.resourceFieldRef.containerName: Required value
    "#]],
    );
    volumes(
        json!([{"name": "a", "projected": {"sources": [
            {"secret": {"name": "s", "items": [{"key": "k", "path": "x"}]}, "configMap": {"name": "c"}},
            {"serviceAccountToken": {"path": "x", "expirationSeconds": 5}},
        ]}}]),
        expect![[r#"
            spec.volumes[0].projected.sources[0].configMap: Forbidden: may not specify more than 1 volume type per source
            spec.volumes[0].projected.sources[1].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set
            spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes
            spec.volumes[0].projected: Invalid value: "x": conflicting duplicate paths
        "#]],
    );
    volumes(
        json!([{"name": "a", "csi": {"driver": ""}}, {"name": "b", "iscsi": {"targetPortal": "", "iqn": "x", "lun": 300}}]),
        expect![[r#"
        spec.volumes[0].csi.driver: Required value
        spec.volumes[1].iscsi.targetPortal: Required value
        spec.volumes[1].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa
        spec.volumes[1].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive
    "#]],
    );
    volumes(
        json!([{"name": "a", "ephemeral": {"volumeClaimTemplate": {"metadata": {"name": "x"}, "spec": {}}}}, {"name": "b", "persistentVolumeClaim": {"claimName": "p-a"}}]),
        expect![[r#"
        spec.volumes[0].ephemeral.volumeClaimTemplate.metadata: Forbidden: cannot be set
        spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required
        spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value
        spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: "p-a": must not reference a PVC that gets created for an ephemeral volume
    "#]],
    );
}

#[test]
fn security() {
    spec(
        json!({
            "securityContext": {"runAsUser": -1, "fsGroupChangePolicy": "Never", "sysctls": [{"name": "A", "value": "1"}, {"name": "net.x", "value": "1"}], "seccompProfile": {"type": "Localhost"}},
            "hostNetwork": true, "hostPID": true, "shareProcessNamespace": true, "hostUsers": false,
        }),
        expect![[r#"
            spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled
            spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
            spec.securityContext.sysctls[1].name: Invalid value: "net.x": may not be specified when 'hostNetwork' is true
            spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"
            spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
            spec.hostNetwork: Forbidden: when `hostUsers` is false
            spec.HostPID: Forbidden: when `hostUsers` is false
        "#]],
    );
    container(
        json!({"securityContext": {"allowPrivilegeEscalation": false, "privileged": true, "procMount": "Unmasked", "appArmorProfile": {"type": "X", "localhostProfile": "y"}}}),
        expect![[r#"
            spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`
            spec.containers[0].securityContext: Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":"Unmasked","SeccompProfile":null,"AppArmorProfile":{"Type":"X","LocalhostProfile":"y"}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: "X": supported values: "Localhost", "RuntimeDefault", "Unconfined"
            spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: "y": can only be set when AppArmor type is Localhost
        "#]],
    );
}

#[test]
fn scheduling() {
    let expression = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]});
    spec(
        json!({"affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [expression("In", json!([])), expression("Gt", json!(["1", "2"])), expression("Is", json!([])), {"matchFields": [{"key": "x", "operator": "In", "values": ["a"]}]}]},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}],
            },
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "", "matchLabelKeys": ["a"], "namespaces": ["N"]}]},
        }}),
        expect![[r#"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[1].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[2].matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[3].matchFields[0].key: Invalid value: "x": not a valid field selector key
            spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace: Invalid value: "N": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty
            spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        "#]],
    );
    spec(
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}),
        expect![[r#"
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
    "#]],
    );
    spec(
        json!({"tolerations": [
            {"operator": "Equal"}, {"key": "a", "operator": "Exists", "value": "v"}, {"key": "a", "operator": "Lt"},
            {"key": "a", "effect": "Nothing", "tolerationSeconds": 1}, {"key": "a", "operator": "Like"},
        ]}),
        expect![[r#"
            spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[1].operator: Invalid value: "v": value must be empty when `operator` is 'Exists'
            spec.tolerations[2].operator: Unsupported value: "Lt": supported values: "Equal", "Exists", "Lt", "Gt"
            spec.tolerations[3].effect: Invalid value: "Nothing": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec.tolerations[3].effect: Unsupported value: "Nothing": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.tolerations[4].operator: Unsupported value: "Like": supported values: "Equal", "Exists"
        "#]],
    );
    let spread = |when: &str, domains: i32| json!({"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": when, "minDomains": domains});
    spec(
        json!({"topologySpreadConstraints": [spread("ScheduleAnyway", 1), spread("ScheduleAnyway", 0), spread("Later", 1)]}),
        expect![[r#"
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway
        spec.topologySpreadConstraints[1].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[1].minDomains: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[1].minDomains: Invalid value: 0: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway
        spec.topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, ScheduleAnyway}"
        spec.topologySpreadConstraints[2].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[2].whenUnsatisfiable: Unsupported value: "Later": supported values: "DoNotSchedule", "ScheduleAnyway"
        spec.topologySpreadConstraints[2].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not Later
    "#]],
    );
}

#[test]
fn what_may_change_on_a_pod() {
    let image = json!({"spec": {"containers": [{"name": "c", "image": "c:2"}], "activeDeadlineSeconds": 5}});
    check_update::<Pod>(POD, image, expect![""]);
    check_update::<Pod>(
        POD,
        json!({"spec": {"containers": [{"name": "c", "image": "c:1"}, {"name": "d", "image": "c:1"}]}}),
        expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    check_update::<Pod>(
        POD,
        json!({"spec": {"containers": [{"name": "c", "image": " c:2"}]}}),
        expect![[r#"
        spec.containers[0].image: Invalid value: " c:2": must not have leading or trailing whitespace
    "#]],
    );
    check_update::<Pod>(
        POD,
        json!({"spec": {"hostname": "other"}}),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        @@ -11,6 +11,7 @@
           ],
           "dnsPolicy": "ClusterFirst",
           "enableServiceLinks": true,
        +  "hostname": "other",
           "restartPolicy": "Always",
           "schedulerName": "default-scheduler",
           "securityContext": {},

    "#]],
    );
    let tolerating = json!({"spec": {"activeDeadlineSeconds": 5, "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute"}]}});
    let more = json!({"spec": {"activeDeadlineSeconds": 5, "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}, {"key": "b", "operator": "Exists"}]}});
    check_update_from::<Pod>(POD, tolerating.clone(), more, expect![""]);
    check_update_from::<Pod>(
        POD,
        tolerating,
        json!({"spec": {"activeDeadlineSeconds": null, "tolerations": []}}),
        expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {"nodeName": "n"}});
    check_update_from::<Pod>(
        POD,
        mirror,
        json!({"metadata": {"annotations": null}}),
        expect![[r#"
        metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not remove or update mirror pod annotation
    "#]],
    );
}

#[test]
fn gated_pods_may_be_narrowed() {
    let gated = json!({"spec": {"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "b"}}});
    check_update_from::<Pod>(
        POD,
        gated.clone(),
        json!({"spec": {"schedulingGates": [], "nodeSelector": {"c": "d"}}}),
        expect![""],
    );
    check_update_from::<Pod>(
        POD,
        gated,
        json!({"spec": {"schedulingGates": [{"name": "h"}], "nodeSelector": {"a": null}}}),
        expect![[r#"
        spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'
        spec.nodeSelector: Invalid value: {}: only additions to spec.nodeSelector are allowed (no mutations or deletions)
    "#]],
    );
}

#[test]
fn the_status_of_a_pod() {
    let ended = json!({"spec": {"restartPolicy": "Never"}, "status": {"qosClass": "BestEffort", "containerStatuses": [
        {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}},
    ]}});
    check_status::<Pod>(
        POD,
        ended,
        json!({"status": {"qosClass": "Burstable", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "hostIPs": [{"ip": "10.0.0.3"}], "containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"running": {}}},
        ]}}),
        expect![[r#"
            status.qosClass: Invalid value: "Burstable": field is immutable
            status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
            status.podIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family
            status.hostIPs[0].ip: Invalid value: "10.0.0.3": must be equal to `hostIP`
        "#]],
    );
}

#[test]
fn warnings() {
    check_warnings::<Pod>(
        POD,
        json!({
            "metadata": {"name": "a.b", "annotations": {"scheduler.alpha.kubernetes.io/critical-pod": ""}},
            "spec": {
                "terminationGracePeriodSeconds": 30,
                "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {"name": ""}],
                "hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}],
                "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}, {"name": "p", "projected": {}}],
                "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "failure-domain.beta.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}],
                "containers": [{"name": "c", "image": "c", "env": [{"name": "A"}, {"name": "A"}], "resources": {"limits": {"memory": "100m"}},
                    "ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 1, "name": "x"}]}],
            },
        }),
        expect![[r#"
            metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
            metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
            spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead
            spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod
            spec.hostAliases[1].ip: duplicate ip "1.1.1.1"
            spec.imagePullSecrets[1].name: duplicate name "a"
            spec.imagePullSecrets[2].name: invalid empty name ""
            spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
            volume "p" (Projected) has no sources provided
            spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer
            spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer
            spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
            spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]
            spec.containers[0].ports[1].name: duplicate port name "x" with spec.containers[0].ports[0].name, services and probes that select ports by name will use spec.containers[0].ports[0].name
        "#]],
    );
}
