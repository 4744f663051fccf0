//! What pods are refused for: the spec itself and its containers.

mod support;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use support::{check_create, check_update};

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
fn a_sound_pod_is_taken() {
    check_create::<Pod>(POD, json!({}), expect![""]);
    check_update::<Pod>(POD, json!({"metadata": {"labels": {"a": "b"}}}), expect![""]);
}

#[test]
fn the_spec_itself() {
    spec(
        json!({"containers": []}),
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    spec(
        json!({"restartPolicy": "Sometimes", "dnsPolicy": "Mine"}),
        expect![[r#"
        spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"
        spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
    "#]],
    );
    spec(
        json!({"hostname": "A", "subdomain": "b.c", "nodeName": "_", "serviceAccountName": "S"}),
        expect![[r#"
        spec.serviceAccountName: Invalid value: "S": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.nodeName: Invalid value: "_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.subdomain: Invalid value: "b.c": must not contain dots
    "#]],
    );
    spec(
        json!({"activeDeadlineSeconds": 0, "nodeSelector": {"a": "b c"}}),
        expect![[r#"
        spec.nodeSelector: Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
    "#]],
    );
    spec(
        json!({"preemptionPolicy": "Maybe", "os": {"name": "plan9"}, "hostnameOverride": "a", "hostNetwork": true}),
        expect![[r#"
        spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true
        spec.preemptionPolicy: Unsupported value: "Maybe": supported values: "PreemptLowerPriority", "Never"
        spec.os: Unsupported value: "plan9": supported values: "linux", "windows"
    "#]],
    );
    spec(
        json!({"readinessGates": [{"conditionType": "a b"}], "schedulingGates": [{"name": "g"}, {"name": "g"}], "nodeName": "n"}),
        expect![[r#"
        spec.readinessGates[0].conditionType: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.schedulingGates[1]: Duplicate value: "g"
        spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared
    "#]],
    );
    spec(
        json!({"dnsPolicy": "None"}),
        expect![[r#"
        spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
    "#]],
    );
    spec(
        json!({"dnsConfig": {"nameservers": ["1", "1.1.1.1", "1.1.1.1", "1.1.1.1"], "searches": ["a_b.c.", "A!"], "options": [{}]}}),
        expect![[r#"
        spec.dnsConfig.nameservers: Invalid value: ["1","1.1.1.1","1.1.1.1","1.1.1.1"]: must not have more than 3 nameservers
        spec.dnsConfig.nameservers[0]: Invalid value: "1": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.dnsConfig.searches[1]: Invalid value: "A!": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.dnsConfig.options[0]: Required value: must not be empty
    "#]],
    );
    spec(
        json!({"hostAliases": [{"ip": "010.0.0.1", "hostnames": ["A"]}]}),
        expect![[r#"
        spec.hostAliases[0].ip: Invalid value: "010.0.0.1": must not have leading 0s
        spec.hostAliases[0].hostnames[0]: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
}

#[test]
fn containers() {
    spec(
        json!({"containers": [{"name": "", "image": ""}, {"name": "a", "image": " x "}, {"name": "a", "image": "x"}]}),
        expect![[r#"
        spec.containers[0].name: Required value
        spec.containers[0].image: Required value
        spec.containers[2].name: Duplicate value: "a"
        spec.containers[1].image: Invalid value: " x ": must not have leading or trailing whitespace
    "#]],
    );
    container(
        json!({"imagePullPolicy": "Often", "terminationMessagePolicy": "Mail"}),
        expect![[r#"
        spec.containers[0].terminationMessagePolicy: Unsupported value: "Mail": supported values: "File", "FallbackToLogsOnError"
        spec.containers[0].imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"
    "#]],
    );
    container(
        json!({"ports": [
            {"containerPort": 0}, {"containerPort": 70000, "name": "UPPER"},
            {"containerPort": 80, "name": "http", "hostPort": 8080}, {"containerPort": 81, "name": "http", "hostPort": 8080, "protocol": "X"},
            {"containerPort": 82, "hostPort": 8080},
        ]}),
        expect![[r#"
            spec.containers[0].ports[0].containerPort: Required value
            spec.containers[0].ports[1].name: Invalid value: "UPPER": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].ports[1].name: Invalid value: "UPPER": must contain at least one letter (a-z)
            spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.containers[0].ports[3].name: Duplicate value: "http"
            spec.containers[0].ports[3].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
            spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//8080"
        "#]],
    );
    container(
        json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "Is", "values": [1]}}, {"action": "Zap"}]}),
        expect![[r#"
        spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used
        spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"
        spec.containers[0].restartPolicyRules[1].action: Unsupported value: "Zap": supported values: "Restart", "RestartAllContainers"
        spec.containers[0].restartPolicyRules[1].exitCodes: Required value: must be specified
    "#]],
    );
}

#[test]
fn environment() {
    container(
        json!({"env": [
            {"name": ""}, {"name": "A=B", "value": "x"},
            {"name": "C", "valueFrom": {}},
            {"name": "D", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "status.mood"}}},
            {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}},
            {"name": "G", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}},
            {"name": "H", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"}}},
            {"name": "I", "valueFrom": {"secretKeyRef": {"name": "", "key": "a/b"}}},
            {"name": "J", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
        ], "envFrom": [{}, {"configMapRef": {"name": ""}}]}),
        expect![[r#"
            spec.containers[0].env[0].name: Required value
            spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
            spec.containers[0].env[3].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "status.mood": error converting fieldPath: field label not supported: status.mood
            spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
            spec.containers[0].env[6].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.gpu": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
            spec.containers[0].env[7].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource
            spec.containers[0].env[8].valueFrom.secretKeyRef.name: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.containers[0].env[8].valueFrom.secretKeyRef.key: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
            spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec.containers[0].envFrom.configMapRef.name: Required value
        "#]],
    );
}

#[test]
fn mounts_and_devices() {
    container(
        json!({"volumeMounts": [
            {"name": "v", "mountPath": "/a"}, {"name": "nope", "mountPath": "/a"},
            {"name": "v", "mountPath": "/b", "subPath": "/x/../y", "subPathExpr": "z"},
            {"name": "v", "mountPath": "/c", "mountPropagation": "Bidirectional"},
            {"name": "v", "mountPath": "/d", "recursiveReadOnly": "Enabled"},
        ], "volumeDevices": [{"name": "v", "devicePath": "/dev/../x"}]}),
        expect![[r#"
            spec.containers[0].volumeMounts[0].name: Invalid value: "v": must not already exist in volumeDevices
            spec.containers[0].volumeMounts[1].name: Not found: "nope"
            spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
            spec.containers[0].volumeMounts[2].name: Invalid value: "v": must not already exist in volumeDevices
            spec.containers[0].volumeMounts.subPath: Invalid value: "/x/../y": must be a relative path
            spec.containers[0].volumeMounts.subPath: Invalid value: "/x/../y": must not contain '..'
            spec.containers[0].volumeMounts[2].subPathExpr: Invalid value: "z": subPathExpr and subPath are mutually exclusive
            spec.containers[0].volumeMounts[3].name: Invalid value: "v": must not already exist in volumeDevices
            spec.containers[0].volumeMounts[3].mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
            spec.containers[0].volumeMounts[4].name: Invalid value: "v": must not already exist in volumeDevices
            spec.containers[0].volumeMounts[4].recursiveReadOnly: Forbidden: may only be specified when readOnly is true
            spec.containers[0].volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode
            spec.containers[0].volumeDevices[0].devicePath: Invalid value: "/dev/../x": can not contain backsteps ('..')
        "#]],
    );
}

#[test]
fn resources() {
    container(
        json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2", "memory": "-1"}}}),
        expect![[r#"
        spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
        spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
    "#]],
    );
    container(
        json!({"resources": {"limits": {"cpus": "1", "memory": "lots"}}}),
        expect![[r#"
        spec.containers[0].resources.limits[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[cpus]: Invalid value: "cpus": must be a standard resource for containers
        spec.containers[0].resources.limits[memory]: Invalid value: "lots": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
        spec.containers[0].resources.requests[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[cpus]: Invalid value: "cpus": must be a standard resource for containers
        spec.containers[0].resources.requests[memory]: Invalid value: "lots": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'
    "#]],
    );
    container(
        json!({"resources": {"requests": {"example.com/gpu": "1"}}}),
        expect![[r#"
        spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources
    "#]],
    );
    container(
        json!({"resources": {"limits": {"example.com/gpu": "1500m"}}}),
        expect![[r#"
        spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer
        spec.containers[0].resources.requests[example.com/gpu]: Invalid value: "1500m": must be an integer
    "#]],
    );
    container(
        json!({"resources": {"limits": {"hugepages-2Mi": "3Mi"}}}),
        expect![[r#"
        spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
        spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
        spec.containers[0].resources: Forbidden: HugePages require cpu or memory
    "#]],
    );
    spec(
        json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}, "containers": [{"name": "c", "image": "c:1", "resources": {"limits": {"cpu": "3"}, "requests": {"cpu": "1500m"}}}]}),
        expect![[r#"
        spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1500m
        spec.resources.containers[0][cpu].limits: Invalid value: "3": must be less than or equal to pod limits of 1
    "#]],
    );
}

#[test]
fn probes_and_hooks() {
    container(
        json!({"livenessProbe": {"successThreshold": 2}}),
        expect![[r#"
        spec.containers[0].livenessProbe: Required value: must specify a handler type
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
    "#]],
    );
    container(
        json!({"readinessProbe": {"exec": {}, "httpGet": {"port": 80}, "terminationGracePeriodSeconds": 1, "periodSeconds": -1}}),
        expect![[r#"
            spec.containers[0].readinessProbe.exec.command: Required value
            spec.containers[0].readinessProbe.httpGet: Forbidden: may not specify more than 1 handler type
            spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes
        "#]],
    );
    container(
        json!({"startupProbe": {"httpGet": {"port": "NO PORT", "scheme": "FTP", "httpHeaders": [{"name": "a b", "value": ""}]}}}),
        expect![[r#"
        spec.containers[0].startupProbe.httpGet.port: Invalid value: "NO PORT": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].startupProbe.httpGet.port: Invalid value: "NO PORT": must contain at least one letter (a-z)
        spec.containers[0].startupProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
        spec.containers[0].startupProbe.httpGet.httpHeaders: Invalid value: "a b": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')
    "#]],
    );
    container(
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 60}}, "postStart": {}}}),
        expect![[r#"
        spec.containers[0].lifecycle.postStart: Required value: must specify a handler type
        spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)
    "#]],
    );
}

#[test]
fn init_and_ephemeral_containers() {
    let probe = json!({"tcpSocket": {"port": 1}});
    spec(
        json!({"initContainers": [
            {"name": "c", "image": "i:1"},
            {"name": "i", "image": "i:1", "livenessProbe": probe},
            {"name": "s", "image": "i:1", "livenessProbe": probe, "restartPolicy": "Always"},
            {"name": "t", "image": "i:1", "restartPolicy": "Perhaps"},
        ]}),
        expect![[r#"
            spec.initContainers[0].name: Duplicate value: "c"
            spec.initContainers[1].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.initContainers[3].restartPolicy: Unsupported value: "Perhaps": supported values: "Always", "Never", "OnFailure"
        "#]],
    );
    spec(
        json!({"ephemeralContainers": [{"name": "c", "image": "e:1", "ports": [{"containerPort": 1}], "targetContainerName": "x"}]}),
        expect![[r#"
        spec.ephemeralContainers[0].name: Duplicate value: "c"
        spec.ephemeralContainers[0].targetContainerName: Not found: "x"
        spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container
        spec.ephemeralContainers: Forbidden: cannot be set on create
    "#]],
    );
}
