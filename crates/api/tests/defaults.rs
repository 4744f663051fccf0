//! What comes back when a small manifest goes in.

use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stead_api::defaults;

/// Decodes, fills in and prints as YAML; filling in twice must change nothing more.
fn check<T: DeserializeOwned + Serialize + Clone + PartialEq + std::fmt::Debug>(
    fill_in: fn(&mut T),
    manifest: &str,
    expected: Expect,
) {
    let mut object: T = serde_yaml_ng::from_str(manifest).expect("a manifest of the type");
    fill_in(&mut object);
    let once = object.clone();
    fill_in(&mut object);
    assert_eq!(once, object, "defaulting is idempotent");
    expected.assert_eq(&serde_yaml_ng::to_string(&object).expect("YAML"));
}

#[test]
fn the_set_of_the_lesson() {
    check::<StatefulSet>(
        defaults::stateful_set,
        r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: qdrant}
spec:
  serviceName: qdrant-service
  selector: {matchLabels: {app: qdrant}}
  template:
    metadata: {labels: {app: qdrant}}
    spec:
      containers:
      - name: qdrant
        image: qdrant/qdrant:v1.6.0
        ports: [{containerPort: 6333, name: http}]
        resources: {requests: {cpu: 500m}, limits: {cpu: 1000m}}
        readinessProbe: {httpGet: {port: 6333}}
        env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}
",
        expect![[r#"
            apiVersion: apps/v1
            kind: StatefulSet
            metadata:
              name: qdrant
            spec:
              persistentVolumeClaimRetentionPolicy:
                whenDeleted: Retain
                whenScaled: Retain
              podManagementPolicy: OrderedReady
              replicas: 1
              revisionHistoryLimit: 10
              selector:
                matchLabels:
                  app: qdrant
              serviceName: qdrant-service
              template:
                metadata:
                  labels:
                    app: qdrant
                spec:
                  containers:
                  - env:
                    - name: POD
                      valueFrom:
                        fieldRef:
                          apiVersion: v1
                          fieldPath: metadata.name
                    image: qdrant/qdrant:v1.6.0
                    imagePullPolicy: IfNotPresent
                    name: qdrant
                    ports:
                    - containerPort: 6333
                      name: http
                      protocol: TCP
                    readinessProbe:
                      failureThreshold: 3
                      httpGet:
                        path: /
                        port: 6333
                        scheme: HTTP
                      periodSeconds: 10
                      successThreshold: 1
                      timeoutSeconds: 1
                    resources:
                      limits:
                        cpu: '1'
                      requests:
                        cpu: 500m
                    terminationMessagePath: /dev/termination-log
                    terminationMessagePolicy: File
                  dnsPolicy: ClusterFirst
                  restartPolicy: Always
                  schedulerName: default-scheduler
                  securityContext: {}
                  terminationGracePeriodSeconds: 30
              updateStrategy:
                rollingUpdate:
                  partition: 0
                type: RollingUpdate
              volumeClaimTemplates:
              - apiVersion: v1
                kind: PersistentVolumeClaim
                metadata:
                  name: data
                spec:
                  accessModes:
                  - ReadWriteOnce
                  resources:
                    requests:
                      storage: 10Gi
                  volumeMode: Filesystem
                status:
                  phase: Pending
            status:
              availableReplicas: 0
              replicas: 0
        "#]],
    );
}

#[test]
fn a_strategy_without_a_block_stays_without_one() {
    let mut set = StatefulSet::default();
    set.spec.get_or_insert_default().update_strategy.get_or_insert_default().type_ = Some("RollingUpdate".to_owned());
    defaults::stateful_set(&mut set);
    let strategy = set.spec.and_then(|spec| spec.update_strategy).expect("kept");
    assert_eq!(strategy.rolling_update, None);
}

#[test]
fn a_bare_pod() {
    check::<Pod>(
        defaults::pod,
        r"
metadata: {name: a}
spec:
  hostNetwork: true
  serviceAccount: old
  terminationGracePeriodSeconds: -5
  initContainers: [{name: i, image: x@sha256:0, restartPolicy: Always, resources: {limits: {cpu: 1500m}}}]
  containers: [{name: c, image: x, ports: [{containerPort: 80}], livenessProbe: {grpc: {port: 1}}}]
  volumes:
  - name: nothing
  - {name: host, hostPath: {path: /x}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: t}}]}}
  resources: {limits: {memory: 1024Mi, cpu: 2}}
",
        expect![[r#"
            apiVersion: v1
            kind: Pod
            metadata:
              name: a
            spec:
              containers:
              - image: x
                imagePullPolicy: Always
                livenessProbe:
                  failureThreshold: 3
                  grpc:
                    port: 1
                    service: ''
                  periodSeconds: 10
                  successThreshold: 1
                  timeoutSeconds: 1
                name: c
                ports:
                - containerPort: 80
                  hostPort: 80
                  protocol: TCP
                resources: {}
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              dnsPolicy: ClusterFirst
              enableServiceLinks: true
              hostNetwork: true
              initContainers:
              - image: x@sha256:0
                imagePullPolicy: IfNotPresent
                name: i
                resources:
                  limits:
                    cpu: 1500m
                  requests:
                    cpu: 1500m
                restartPolicy: Always
                terminationMessagePath: /dev/termination-log
                terminationMessagePolicy: File
              resources:
                limits:
                  cpu: '2'
                  memory: 1Gi
                requests:
                  cpu: 1500m
                  memory: 1Gi
              restartPolicy: Always
              schedulerName: default-scheduler
              securityContext: {}
              serviceAccount: old
              serviceAccountName: old
              terminationGracePeriodSeconds: 1
              volumes:
              - emptyDir: {}
                name: nothing
              - hostPath:
                  path: /x
                  type: ''
                name: host
              - name: token
                projected:
                  defaultMode: 420
                  sources:
                  - serviceAccountToken:
                      expirationSeconds: 3600
                      path: t
        "#]],
    );
}

#[test]
fn services() {
    check::<Service>(
        defaults::service,
        "spec: {clusterIP: None, selector: {app: x}, ports: [{port: 80}, {port: 81, targetPort: http, name: b}]}",
        expect![[r#"
            apiVersion: v1
            kind: Service
            metadata: {}
            spec:
              clusterIP: None
              internalTrafficPolicy: Cluster
              ports:
              - port: 80
                protocol: TCP
                targetPort: 80
              - name: b
                port: 81
                protocol: TCP
                targetPort: http
              selector:
                app: x
              sessionAffinity: None
              type: ClusterIP
            status:
              loadBalancer: {}
        "#]],
    );
    check::<Service>(
        defaults::service,
        "spec: {type: NodePort, sessionAffinity: ClientIP, ports: [{port: 80, protocol: UDP}]}",
        expect![[r#"
            apiVersion: v1
            kind: Service
            metadata: {}
            spec:
              externalTrafficPolicy: Cluster
              internalTrafficPolicy: Cluster
              ports:
              - port: 80
                protocol: UDP
                targetPort: 80
              sessionAffinity: ClientIP
              sessionAffinityConfig:
                clientIP:
                  timeoutSeconds: 10800
              type: NodePort
            status:
              loadBalancer: {}
        "#]],
    );
    check::<Service>(
        defaults::service,
        "spec: {type: ExternalName, externalName: example.com}",
        expect![[r#"
        apiVersion: v1
        kind: Service
        metadata: {}
        spec:
          externalName: example.com
          sessionAffinity: None
          type: ExternalName
        status:
          loadBalancer: {}
    "#]],
    );
}

#[test]
fn a_deployment() {
    check::<Deployment>(
        defaults::deployment,
        "spec: {selector: {matchLabels: {a: b}}, template: {spec: {containers: []}}, strategy: {rollingUpdate: {maxSurge: 1}}}",
        expect![[r#"
            apiVersion: apps/v1
            kind: Deployment
            metadata: {}
            spec:
              progressDeadlineSeconds: 600
              replicas: 1
              revisionHistoryLimit: 10
              selector:
                matchLabels:
                  a: b
              strategy:
                rollingUpdate:
                  maxSurge: 1
                  maxUnavailable: 25%
                type: RollingUpdate
              template:
                metadata: {}
                spec:
                  containers: []
                  dnsPolicy: ClusterFirst
                  restartPolicy: Always
                  schedulerName: default-scheduler
                  securityContext: {}
                  terminationGracePeriodSeconds: 30
            status: {}
        "#]],
    );
}

#[test]
fn small_kinds() {
    check::<Namespace>(
        defaults::namespace,
        "metadata: {name: prod}",
        expect![[r#"
        apiVersion: v1
        kind: Namespace
        metadata:
          labels:
            kubernetes.io/metadata.name: prod
          name: prod
        status:
          phase: Active
    "#]],
    );
    check::<Secret>(
        defaults::secret,
        "{metadata: {name: s}, stringData: {a: hi}, data: {a: eA==, b: eA==}}",
        expect![[r#"
        apiVersion: v1
        kind: Secret
        data:
          a: aGk=
          b: eA==
        metadata:
          name: s
        type: Opaque
    "#]],
    );
    check::<ConfigMap>(
        defaults::config_map,
        "{metadata: {name: c}, data: {}}",
        expect![[r#"
        apiVersion: v1
        kind: ConfigMap
        metadata:
          name: c
    "#]],
    );
    check::<Node>(
        defaults::node,
        "{metadata: {name: n}, spec: {podCIDR: 10.0.0.0/24}, status: {capacity: {cpu: 2000m}}}",
        expect![[r#"
            apiVersion: v1
            kind: Node
            metadata:
              name: n
            spec:
              podCIDR: 10.0.0.0/24
              podCIDRs:
              - 10.0.0.0/24
            status:
              allocatable:
                cpu: '2'
              capacity:
                cpu: '2'
        "#]],
    );
    check::<EndpointSlice>(
        defaults::endpoint_slice,
        "{metadata: {name: e}, addressType: IPv4, endpoints: [], ports: [{port: 80}]}",
        expect![[r#"
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            addressType: IPv4
            endpoints: []
            metadata:
              name: e
            ports:
            - name: ''
              port: 80
              protocol: TCP
        "#]],
    );
    check::<PersistentVolumeClaim>(
        defaults::persistent_volume_claim,
        "{metadata: {name: c}, spec: {dataSource: {kind: PersistentVolumeClaim, name: x}}}",
        expect![[r#"
            apiVersion: v1
            kind: PersistentVolumeClaim
            metadata:
              name: c
            spec:
              dataSource:
                kind: PersistentVolumeClaim
                name: x
              dataSourceRef:
                kind: PersistentVolumeClaim
                name: x
              resources: {}
              volumeMode: Filesystem
            status:
              phase: Pending
        "#]],
    );
}
