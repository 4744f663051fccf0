//! What every kind prints in a Table row.

use expect_test::{Expect, expect};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ResourceQuota, Secret,
    Service,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role};
use k8s_openapi::api::storage::v1::StorageClass;

use super::human_duration;
use crate::decode::from_yaml;
use crate::registry::{Cell, Spec};

/// Every object of these tests was created an hour before.
const NOW: &str = "2024-05-01T13:00:00Z";
const META: &str = "{name: web, namespace: default, creationTimestamp: '2024-05-01T12:00:00Z'}";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn cell_text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => format!("#{number}"),
        Cell::Bool(value) => format!("#{value}"),
        Cell::Null => "null".to_owned(),
    }
}

/// Headers and cells one below the other; JSON numbers and booleans are marked with `#`.
fn check<T: Spec>(body: &str, expected: Expect) {
    let object: T = from_yaml(&format!("metadata: {META}\n{body}"));
    let cells = object.row(now());
    let lines = T::COLUMNS.iter().zip(&cells).map(|(column, cell)| {
        let wide = if column.priority == 1 { "~" } else { "" };
        format!("{wide}{}: {}\n", column.name, cell_text(cell))
    });
    expected.assert_eq(&lines.collect::<String>());
}

/// READY STATUS RESTARTS of a pod.
fn check_pod(body: &str, expected: Expect) {
    let pod: Pod = from_yaml(body);
    let cells = pod.row(now());
    expected.assert_eq(&cells[1..4].iter().map(cell_text).collect::<Vec<_>>().join(" "));
}

const SPEC: &str =
    "spec: {initContainers: [{name: i1}, {name: side, restartPolicy: Always}], containers: [{name: a}, {name: b}]}";

#[test]
fn durations_read_as_kubectl_prints_them() {
    let cases = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_000, "3h3m"),
        (28_799, "7h59m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_199, "7d23h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_287_999, "7y364d"),
        (252_288_000, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(human_duration(seconds), expected, "{seconds} seconds");
    }
}

#[test]
fn a_running_pod() {
    check::<Pod>(
        "spec: {nodeName: n1, containers: [{name: a}], readinessGates: [{conditionType: g1}, {conditionType: g2}]}
status: {phase: Running, podIPs: [{ip: 10.244.0.5}], conditions: [{type: g1, status: 'True'}], containerStatuses: [
  {name: a, image: '', imageID: '', ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1, finishedAt: '2024-05-01T12:57:55Z'}}}]}",
        expect![[r#"
            Name: web
            Ready: 1/1
            Status: Running
            Restarts: 2 (2m5s ago)
            Age: 60m
            ~IP: 10.244.0.5
            ~Node: n1
            ~Nominated Node: <none>
            ~Readiness Gates: 1/2
        "#]],
    );
}

#[test]
fn a_pod_that_initialises() {
    let starting = |init: &str| format!("{SPEC}\nstatus: {{phase: Pending, initContainerStatuses: [{init}]}}");
    let status = |name: &str, rest: &str| {
        format!("{{name: {name}, image: '', imageID: '', ready: false, restartCount: 1, {rest}}}")
    };
    check_pod(&format!("{SPEC}\nstatus: {{phase: Pending}}"), expect!["0/3 Pending 0"]);
    check_pod(&starting(&status("i1", "state: {waiting: {reason: PodInitializing}}")), expect!["0/3 Init:0/2 1"]);
    check_pod(&starting(&status("i1", "state: {running: {}}")), expect!["0/3 Init:0/2 1"]);
    check_pod(
        &starting(&status("i1", "state: {waiting: {reason: CrashLoopBackOff}}")),
        expect!["0/3 Init:CrashLoopBackOff 1"],
    );
    check_pod(&starting(&status("i1", "state: {terminated: {exitCode: 3}}")), expect!["0/3 Init:ExitCode:3 1"]);
    check_pod(
        &starting(&status("i1", "state: {terminated: {exitCode: 137, signal: 9}}")),
        expect!["0/3 Init:Signal:9 1"],
    );
    check_pod(
        &starting(&status("i1", "state: {terminated: {exitCode: 1, reason: Error}}")),
        expect!["0/3 Init:Error 1"],
    );
    let first = status("i1", "state: {terminated: {exitCode: 0}}");
    let side =
        "{name: side, image: '', imageID: '', ready: true, started: true, restartCount: 4, state: {running: {}}}";
    check_pod(&starting(&format!("{first}, {}", status("side", "state: {running: {}}"))), expect!["0/3 Init:1/2 2"]);
    check_pod(&starting(&format!("{first}, {side}")), expect!["1/3 Pending 4"]);
}

#[test]
fn a_pod_in_trouble() {
    let pod = |statuses: &str| {
        format!(
            "spec: {{containers: [{{name: a}}, {{name: b}}]}}\nstatus: {{phase: Running, conditions: [{{type: Ready, status: 'True'}}], containerStatuses: [{statuses}]}}"
        )
    };
    let status = |name: &str, ready: bool, state: &str| {
        format!("{{name: {name}, image: '', imageID: '', ready: {ready}, restartCount: 0, state: {{{state}}}}}")
    };
    let done = "terminated: {exitCode: 0, reason: Completed}";
    let failed = "terminated: {exitCode: 1, reason: Error}";
    check_pod(
        &pod(&format!(
            "{}, {}",
            status("a", false, "waiting: {reason: ImagePullBackOff}"),
            status("b", true, "running: {}")
        )),
        expect!["1/2 ImagePullBackOff 0"],
    );
    check_pod(
        &pod(&format!("{}, {}", status("a", false, done), status("b", true, "running: {}"))),
        expect!["1/2 Running 0"],
    );
    check_pod(&pod(&format!("{}, {}", status("a", false, done), status("b", false, failed))), expect!["0/2 Error 0"]);
    check_pod(&pod(&format!("{}, {}", status("a", false, done), status("b", false, done))), expect!["0/2 Completed 0"]);
    check_pod(
        &pod(&format!("{}, {}", status("a", false, done), status("b", true, "running: {}")))
            .replace("'True'", "'False'"),
        expect!["1/2 NotReady 0"],
    );
    check_pod("spec: {containers: [{name: a}]}\nstatus: {phase: Failed, reason: Evicted}", expect!["0/1 Evicted 0"]);
    check_pod(
        "spec: {containers: [{name: a}]}\nstatus: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}",
        expect!["0/1 SchedulingGated 0"],
    );
    let deleted = "metadata: {deletionTimestamp: '2024-05-01T12:00:00Z'}\nspec: {containers: [{name: a}]}\nstatus: ";
    check_pod(&format!("{deleted}{{phase: Running}}"), expect!["0/1 Terminating 0"]);
    check_pod(&format!("{deleted}{{phase: Running, reason: NodeLost}}"), expect!["0/1 Unknown 0"]);
    check_pod(&format!("{deleted}{{phase: Succeeded}}"), expect!["0/1 Succeeded 0"]);
}

#[test]
fn a_finished_pod_carries_a_condition() {
    let pod: Pod = from_yaml("status: {phase: Failed}");
    assert_eq!(pod.row_condition().unwrap().message, "The pod failed.");
    assert_eq!(from_yaml::<Pod>("status: {phase: Running}").row_condition(), None);
}

#[test]
fn workloads() {
    let spec = "replicas: 3, selector: {matchLabels: {app: web}, matchExpressions: [{key: a, operator: In, values: [y, x]}]}, template: {spec: {nodeSelector: {b: c}, containers: [{name: a, image: i:1}, {name: b, image: j}]}}";
    check::<StatefulSet>(
        &format!("spec: {{{spec}}}\nstatus: {{replicas: 3, readyReplicas: 2}}"),
        expect![[r#"
            Name: web
            Ready: 2/3
            Age: 60m
            ~Containers: a,b
            ~Images: i:1,j
        "#]],
    );
    check::<Deployment>(
        &format!("spec: {{{spec}}}\nstatus: {{readyReplicas: 1, updatedReplicas: 2, availableReplicas: 1}}"),
        expect![[r#"
            Name: web
            Ready: 1/3
            Up-to-date: #2
            Available: #1
            Age: 60m
            ~Containers: a,b
            ~Images: i:1,j
            ~Selector: a in (x,y),app=web
        "#]],
    );
    check::<ReplicaSet>(
        &format!("spec: {{{spec}}}\nstatus: {{replicas: 3}}"),
        expect![[r#"
            Name: web
            Desired: #3
            Current: #3
            Ready: #0
            Age: 60m
            ~Containers: a,b
            ~Images: i:1,j
            ~Selector: a in (x,y),app=web
        "#]],
    );
    check::<DaemonSet>(
        &format!(
            "spec: {{{}}}\nstatus: {{desiredNumberScheduled: 2, numberReady: 1}}",
            spec.replace("replicas: 3, ", "")
        ),
        expect![[r#"
            Name: web
            Desired: #2
            Current: #0
            Ready: #1
            Up-to-date: #0
            Available: #0
            Node Selector: b=c
            Age: 60m
            ~Containers: a,b
            ~Images: i:1,j
            ~Selector: a in (x,y),app=web
        "#]],
    );
    check::<ControllerRevision>(
        "revision: 4",
        expect![[r#"
            Name: web
            Controller: <none>
            Revision: #4
            Age: 60m
        "#]],
    );
    let owned: ControllerRevision = from_yaml(
        "metadata: {ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}\nrevision: 1",
    );
    assert_eq!(cell_text(&owned.row(now())[1]), "statefulset.apps/web");
}

#[test]
fn batch_kinds() {
    let template = "template: {spec: {containers: [{name: a, image: i}]}}";
    check::<Job>(
        &format!(
            "spec: {{parallelism: 2, {template}}}\nstatus: {{succeeded: 1, startTime: '2024-05-01T12:00:00Z', completionTime: '2024-05-01T12:02:05Z', conditions: [{{type: Complete, status: 'True'}}]}}"
        ),
        expect![[r#"
            Name: web
            Status: Complete
            Completions: 1/1 of 2
            Duration: 2m5s
            Age: 60m
            ~Containers: a
            ~Images: i
            ~Selector: <none>
        "#]],
    );
    check::<CronJob>(
        &format!(
            "spec: {{schedule: '* * * * *', suspend: false, jobTemplate: {{spec: {{{template}}}}}}}\nstatus: {{active: [{{}}], lastScheduleTime: '2024-05-01T12:59:00Z'}}"
        ),
        expect![[r#"
            Name: web
            Schedule: * * * * *
            Timezone: <none>
            Suspend: False
            Active: #1
            Last Schedule: 60s
            Age: 60m
            ~Containers: a
            ~Images: i
            ~Selector: <none>
        "#]],
    );
}

#[test]
fn services() {
    check::<Service>(
        "spec: {type: NodePort, clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], selector: {b: c, a: b}, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}]}",
        expect![[r#"
            Name: web
            Type: NodePort
            Cluster-IP: 10.96.0.7
            External-IP: <none>
            Port(s): 80:30080/TCP,53/UDP
            Age: 60m
            ~Selector: a=b,b=c
        "#]],
    );
    let shown = |body: &str| {
        let service: Service = from_yaml(body);
        let cells = service.row(now());
        [1, 2, 3, 4].map(|index| cell_text(&cells[index])).join(" ")
    };
    expect!["ClusterIP None <none> 6333/TCP"].assert_eq(&shown(
        "spec: {type: ClusterIP, clusterIP: None, clusterIPs: [None], ports: [{port: 6333, protocol: TCP}]}",
    ));
    expect!["LoadBalancer <none> <pending> <none>"].assert_eq(&shown("spec: {type: LoadBalancer}"));
    expect!["LoadBalancer <none> 1.1.1.1,host,9.9.9.9 <none>"].assert_eq(&shown("spec: {type: LoadBalancer, externalIPs: [9.9.9.9]}\nstatus: {loadBalancer: {ingress: [{hostname: host}, {ip: 1.1.1.1}, {ip: 1.1.1.1}]}}"));
    expect!["ExternalName <none> db.example <none>"]
        .assert_eq(&shown("spec: {type: ExternalName, externalName: db.example}"));
    expect![" <none> <unknown> <none>"].assert_eq(&shown("spec: {}"));
}

#[test]
fn endpoints_of_both_kinds() {
    check::<Endpoints>(
        "subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 'fd00::2'}], notReadyAddresses: [{ip: 10.0.0.9}], ports: [{port: 80}, {port: 443}]}]",
        expect![[r#"
            Name: web
            Endpoints: 10.0.0.1:80,[fd00::2]:80,10.0.0.1:443 + 1 more...
            Age: 60m
        "#]],
    );
    check::<Endpoints>(
        "",
        expect![[r#"
        Name: web
        Endpoints: <none>
        Age: 60m
    "#]],
    );
    check::<EndpointSlice>(
        "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}, {addresses: [10.0.0.2, 10.0.0.3]}, {addresses: [10.0.0.4]}]\nports: [{port: 80}, {name: metrics}, {}]",
        expect![[r#"
            Name: web
            AddressType: IPv4
            Ports: 80,metrics,*
            Endpoints: 10.0.0.1,10.0.0.2,10.0.0.3 + 1 more...
            Age: 60m
        "#]],
    );
    check::<EndpointSlice>(
        "addressType: IPv4\nendpoints: []",
        expect![[r#"
        Name: web
        AddressType: IPv4
        Ports: <unset>
        Endpoints: <unset>
        Age: 60m
    "#]],
    );
}

#[test]
fn nodes_and_namespaces() {
    let node: Node = from_yaml(
        "metadata: {name: n1, labels: {node-role.kubernetes.io/worker: '', node-role.kubernetes.io/control-plane: 'x', kubernetes.io/role: edge}}
spec: {unschedulable: true}
status: {conditions: [{type: Ready, status: Unknown}], addresses: [{type: Hostname, address: h}, {type: InternalIP, address: 10.0.0.1}], nodeInfo: {kubeletVersion: v1.36.2, kernelVersion: 6.1.0, architecture: amd64, osImage: Debian, machineID: '', systemUUID: '', bootID: '', containerRuntimeVersion: '', kubeProxyVersion: '', operatingSystem: linux}}",
    );
    let cells = node.row(now());
    expect!["n1 | NotReady,SchedulingDisabled | control-plane,edge,worker | <unknown> | v1.36.2 | 10.0.0.1 | <none> | Debian | 6.1.0 (amd64) | <unknown>"]
        .assert_eq(&cells.iter().map(cell_text).collect::<Vec<_>>().join(" | "));
    check::<Namespace>(
        "status: {phase: Active}",
        expect![[r#"
        Name: web
        Status: Active
        Age: 60m
    "#]],
    );
}

#[test]
fn volumes_claims_and_classes() {
    check::<PersistentVolume>(
        "spec: {capacity: {storage: 1024Mi}, accessModes: [ReadOnlyMany, ReadWriteOnce, ReadWriteOnce], persistentVolumeReclaimPolicy: Delete, storageClassName: local, volumeMode: Filesystem, claimRef: {namespace: default, name: data-web-0}}\nstatus: {phase: Bound}",
        expect![[r#"
            Name: web
            Capacity: 1Gi
            Access Modes: RWO,ROX
            Reclaim Policy: Delete
            Status: Bound
            Claim: default/data-web-0
            StorageClass: local
            VolumeAttributesClass: <unset>
            Reason: 
            Age: 60m
            ~VolumeMode: Filesystem
        "#]],
    );
    check::<PersistentVolumeClaim>(
        "spec: {volumeName: pvc-1, storageClassName: local, volumeMode: Filesystem}\nstatus: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}",
        expect![[r#"
            Name: web
            Status: Bound
            Volume: pvc-1
            Capacity: 1Gi
            Access Modes: RWO
            StorageClass: local
            VolumeAttributesClass: <unset>
            Age: 60m
            ~VolumeMode: Filesystem
        "#]],
    );
    check::<PersistentVolumeClaim>(
        "status: {phase: Pending, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}",
        expect![[r#"
            Name: web
            Status: Pending
            Volume: 
            Capacity: 
            Access Modes: 
            StorageClass: 
            VolumeAttributesClass: <unset>
            Age: 60m
            ~VolumeMode: <unset>
        "#]],
    );
    let class: StorageClass = from_yaml(
        "metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}\nprovisioner: stead.dev/local\nvolumeBindingMode: WaitForFirstConsumer",
    );
    let cells = class.row(now());
    expect!["local (default) | stead.dev/local | Delete | WaitForFirstConsumer | #false | <unknown>"]
        .assert_eq(&cells.iter().map(cell_text).collect::<Vec<_>>().join(" | "));
}

#[test]
fn events() {
    check::<Event>(
        "type: Normal\nreason: Started\nmessage: \" Started container \\n\"\ncount: 3\nfirstTimestamp: '2024-05-01T12:30:00Z'\nlastTimestamp: '2024-05-01T12:59:00Z'\nsource: {component: kubelet, host: n1}\ninvolvedObject: {kind: Pod, name: web-0, fieldPath: 'spec.containers{a}'}",
        expect![[r#"
            Last Seen: 60s
            Type: Normal
            Reason: Started
            Object: pod/web-0
            ~Subobject: spec.containers{a}
            ~Source: kubelet, n1
            Message: Started container
            ~First Seen: 30m
            ~Count: #3
            ~Name: web
        "#]],
    );
    check::<Event>(
        "eventTime: '2024-05-01T12:58:00.000000Z'\nseries: {count: 7, lastObservedTime: '2024-05-01T12:59:30.000000Z'}\nreportingComponent: stead\nreportingInstance: ''\ninvolvedObject: {kind: Node}",
        expect![[r#"
            Last Seen: 30s
            Type: 
            Reason: 
            Object: node
            ~Subobject: 
            ~Source: stead
            Message: 
            ~First Seen: 2m
            ~Count: #7
            ~Name: web
        "#]],
    );
}

#[test]
fn the_small_kinds() {
    check::<ConfigMap>(
        "data: {a: b}\nbinaryData: {c: ZA==}",
        expect![[r#"
        Name: web
        Data: #2
        Age: 60m
    "#]],
    );
    check::<Secret>(
        "type: Opaque\ndata: {c: ZA==}",
        expect![[r#"
        Name: web
        Type: Opaque
        Data: #1
        Age: 60m
    "#]],
    );
    check::<Lease>(
        "spec: {holderIdentity: me}",
        expect![[r#"
        Name: web
        Holder: me
        Age: 60m
    "#]],
    );
    check::<PodDisruptionBudget>(
        "spec: {maxUnavailable: 50%}",
        expect![[r#"
        Name: web
        Min Available: N/A
        Max Unavailable: 50%
        Allowed Disruptions: #0
        Age: 60m
    "#]],
    );
    check::<ResourceQuota>(
        "status: {hard: {pods: 4, limits.cpu: 2, requests.cpu: 1}, used: {pods: 1}}",
        expect![[r#"
        Name: web
        Request: pods: 1/4, requests.cpu: 0/1
        Limit: limits.cpu: 0/2
        Age: 60m
    "#]],
    );
    check::<Role>(
        "",
        expect![[r#"
        Name: web
        Created At: 2024-05-01T12:00:00Z
    "#]],
    );
    check::<ClusterRoleBinding>(
        "roleRef: {kind: ClusterRole, name: admin}\nsubjects: [{kind: User, name: u1}, {kind: User, name: u2}, {kind: ServiceAccount, name: s, namespace: n}]",
        expect![[r#"
            Name: web
            Role: ClusterRole/admin
            Age: 60m
            ~Users: u1, u2
            ~Groups: 
            ~ServiceAccounts: n/s
        "#]],
    );
    check::<Ingress>(
        "spec: {rules: [{host: a}, {host: b}, {}, {host: c}, {host: d}], tls: [{}]}",
        expect![[r#"
        Name: web
        Class: <none>
        Hosts: a,b,c + 2 more...
        Address: 
        Ports: 80, 443
        Age: 60m
    "#]],
    );
}
