//! What Services, endpoints, namespaces, nodes and the small kinds are refused for.

mod support;

use expect_test::{Expect, expect};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Event, Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use support::{check_create, check_status, check_update, check_update_from, check_warnings};

const SERVICE: &str = "{metadata: {name: s, namespace: default}, spec: {selector: {app: a}, ports: [{port: 80}]}}";
const SLICE: &str =
    "{metadata: {name: e, namespace: default}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1]}]}";
const NODE: &str = "{metadata: {name: n}, spec: {podCIDR: 10.0.0.0/24}}";
const EVENT: &str = "{metadata: {name: e, namespace: default}, involvedObject: {kind: Pod, namespace: default}}";

fn service(change: Value, expected: Expect) {
    check_create::<Service>(SERVICE, json!({"spec": change}), expected);
}

#[test]
fn services() {
    service(json!({}), expect![""]);
    service(json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": null}), expect![""]);
    service(
        json!({"ports": null}),
        expect![[r#"
        spec.ports: Required value
    "#]],
    );
    service(
        json!({"ports": [{"port": 0, "targetPort": "NO"}, {"port": 80, "name": "A", "nodePort": 30000}, {"port": 80, "name": "b"}]}),
        expect![[r#"
        spec.ports[0].name: Required value
        spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.ports[0].targetPort: Invalid value: "NO": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.ports[0].targetPort: Invalid value: "NO": must contain at least one letter (a-z)
        spec.ports[1].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
        spec.ports[2]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}
    "#]],
    );
    service(
        json!({"type": "Magic", "sessionAffinity": "Sticky"}),
        expect![[r#"
        spec.sessionAffinity: Unsupported value: "Sticky": supported values: "ClientIP", "None"
        spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
    "#]],
    );
    service(
        json!({"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"]}),
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
    "#]],
    );
    service(
        json!({"type": "ExternalName", "clusterIPs": ["10.0.0.1"], "ipFamilyPolicy": "SingleStack"}),
        expect![[r#"
        spec.clusterIPs: Forbidden: may not be set for ExternalName services
        spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services
        spec.externalName: Required value
        spec.clusterIPs: Invalid value: ["10.0.0.1"]: must be empty when `clusterIP` is not specified
    "#]],
    );
    service(
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
        expect![[r#"
        spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400
    "#]],
    );
    service(
        json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2", "10.0.0.3"], "ipFamilies": ["IPv6", "IPv6"], "ipFamilyPolicy": "Both"}),
        expect![[r#"
        spec.ipFamilies[1]: Duplicate value: "IPv6"
        spec.ipFamilyPolicy: Unsupported value: "Both": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"
        spec.clusterIPs: Invalid value: ["10.0.0.2","10.0.0.3"]: first value must match `clusterIP`
        spec.clusterIPs[0]: Invalid value: "10.0.0.2": expected an IPv6 value as indicated by `ipFamilies[0]`
        spec.clusterIPs[1]: Invalid value: "10.0.0.3": expected an IPv6 value as indicated by `ipFamilies[1]`
        spec.clusterIPs: Invalid value: ["10.0.0.2","10.0.0.3"]: may specify no more than one IP for each IP family
    "#]],
    );
    service(
        json!({"externalIPs": ["127.0.0.1", "x"], "loadBalancerClass": "a/b", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
        expect![[r#"
        spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'
        spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
    "#]],
    );
    service(
        json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 1, "internalTrafficPolicy": "X", "trafficDistribution": "Y"}),
        expect![[r#"
        spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
        spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
        spec.internalTrafficPolicy: Unsupported value: "X": supported values: "Cluster", "Local"
        spec.trafficDistribution: Unsupported value: "Y": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"
    "#]],
    );
    check_create::<Service>(
        SERVICE,
        json!({"metadata": {"name": "a.b"}}),
        expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
    "#]],
    );
}

#[test]
fn changes_of_services() {
    let placed = json!({"spec": {"clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"], "ipFamilies": ["IPv4"]}});
    check_update_from::<Service>(SERVICE, placed.clone(), json!({"spec": {"ports": [{"port": 81}]}}), expect![""]);
    check_update_from::<Service>(
        SERVICE,
        placed,
        json!({"spec": {"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6"], "ipFamilies": ["IPv6"]}}),
        expect![[r#"
            spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set
            spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set
            spec.clusterIPs[0]: Invalid value: "10.96.0.6": expected an IPv6 value as indicated by `ipFamilies[0]`
        "#]],
    );
    check_status::<Service>(
        SERVICE,
        json!({}),
        json!({"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
        expect![[r#"
        status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'
    "#]],
    );
    check_warnings::<Service>(
        SERVICE,
        json!({"spec": {"externalIPs": ["010.0.0.1"], "externalName": "x", "trafficDistribution": "PreferClose"}}),
        expect![[r#"
        spec.externalIPs is deprecated and may no longer be implemented in some clusters
        spec.externalName is ignored when spec.type is not "ExternalName"
        spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"
        spec.externalIPs[0]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"
    "#]],
    );
}

#[test]
fn endpoints_of_both_kinds() {
    let base = "{metadata: {name: e, namespace: default}}";
    check_create::<Endpoints>(
        base,
        json!({"subsets": [{}, {"addresses": [{"ip": "127.0.0.1", "hostname": "A"}], "ports": [{"port": 0}, {"port": 1}]}]}),
        expect![[r#"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        subsets[1].addresses[0].hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        subsets[1].ports[0].name: Required value
        subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
        subsets[1].ports[1].name: Required value
    "#]],
    );
    check_warnings::<Endpoints>(
        base,
        json!({}),
        expect![[r#"
        v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice
    "#]],
    );
    check_create::<EndpointSlice>(SLICE, json!({}), expect![""]);
    check_create::<EndpointSlice>(
        SLICE,
        json!({"addressType": "IPX"}),
        expect![[r#"
        addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"
    "#]],
    );
    check_create::<EndpointSlice>(
        SLICE,
        json!({"endpoints": [{"addresses": []}, {"addresses": ["::1"]}, {"addresses": ["x"]}], "ports": [{"port": 1}, {"port": 70000}]}),
        expect![[r#"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses: Invalid value: "::1": must be an IPv4 address
        endpoints[1].addresses[0]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        endpoints[2].addresses[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
        ports[1].name: Duplicate value: ""
        ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive
    "#]],
    );
    check_create::<EndpointSlice>(
        SLICE,
        json!({"addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}]}),
        expect![[r#"
        endpoints[0].addresses[0]: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")
    "#]],
    );
    check_create::<EndpointSlice>(
        SLICE,
        json!({"addressType": "FQDN", "endpoints": [{"addresses": ["localhost"]}]}),
        expect![[r#"
        endpoints[0].addresses[0]: Invalid value: "localhost": should be a domain with at least two segments separated by dots
    "#]],
    );
    check_update::<EndpointSlice>(
        SLICE,
        json!({"addressType": "IPv6"}),
        expect![[r#"
        addressType: Invalid value: "IPv6": field is immutable
    "#]],
    );
    check_warnings::<EndpointSlice>(
        SLICE,
        json!({"addressType": "FQDN"}),
        expect![[r#"
        spec.addressType: FQDN endpoints are deprecated
    "#]],
    );
}

#[test]
fn namespaces_and_nodes() {
    check_create::<Namespace>(
        "{metadata: {name: a.b, namespace: x}}",
        json!({"spec": {"finalizers": ["mine"]}}),
        expect![[r#"
        metadata.name: Invalid value: "a.b": must not contain dots
        metadata.namespace: Forbidden: not allowed on this type
        spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
    check_status::<Namespace>(
        "metadata: {name: a}",
        json!({}),
        json!({"status": {"phase": "Terminating"}}),
        expect![[r#"
        status.Phase: Invalid value: "Terminating": may only be 'Active' if `deletionTimestamp` is empty
    "#]],
    );
    check_create::<Node>(NODE, json!({}), expect![""]);
    let taint = json!({"key": "k", "effect": "NoSchedule"});
    check_create::<Node>(
        NODE,
        json!({"spec": {"taints": [taint, taint, {"key": "k", "effect": "Later", "value": "a b"}], "podCIDR": "10.0.0.1/24", "podCIDRs": null}, "status": {"capacity": {"pods": "1500m"}}}),
        expect![[r#"
            metadata.taints[1]: Duplicate value: {"Key":"k","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair
            metadata.taints[2].value: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.taints[2].effect: Unsupported value: "Later": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length
            status.capacity.pods: Invalid value: "1500m": must be an integer
            status.allocatable.pods: Invalid value: "1500m": must be an integer
        "#]],
    );
    check_update::<Node>(
        NODE,
        json!({"spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "providerID": "x"}}),
        expect![[r#"
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
    "#]],
    );
    check_warnings::<Node>(
        NODE,
        json!({"spec": {"externalID": "x"}}),
        expect![[r#"
        spec.externalID: this field is deprecated, and is unused by Kubernetes
    "#]],
    );
}

#[test]
fn events_and_leases() {
    check_create::<Event>(EVENT, json!({}), expect![""]);
    check_create::<Event>(
        EVENT,
        json!({"involvedObject": {"namespace": "other"}, "eventTime": "2026-01-01T00:00:00.000000Z"}),
        expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
        reportingComponent: Required value
        reportingInstance: Required value
        action: Required value
        reason: Required value
    "#]],
    );
    let lease = "{metadata: {name: l, namespace: default}}";
    check_create::<Lease>(
        lease,
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
        spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
}
