//! The objects of a fresh cluster.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Namespace, Service, ServicePort, ServiceSpec,
};
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_plan::claims::LOCAL_PROVISIONER;
use stead_plan::endpoints::SERVICE_NAME_LABEL;

use super::Settings;

/// Name of the API's Service.
pub(super) const API: &str = "kubernetes";
/// Name of the DNS server's Service.
pub(super) const DNS: &str = "kube-dns";
const HTTPS: &str = "https";
const HTTPS_PORT: i32 = 443;
const DNS_PORT: i32 = 53;
/// Endpoints with this label are not mirrored (contract 3.25).
const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";

fn meta(namespace: Option<&str>, name: &str, labels: &[(&str, &str)]) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: (!labels.is_empty()).then(|| texts(labels)),
        ..ObjectMeta::default()
    }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn namespace(name: &str) -> Namespace {
    Namespace { metadata: meta(None, name, &[]), ..Namespace::default() }
}

pub(super) fn api_service(settings: &Settings) -> Service {
    let ports = vec![ServicePort {
        name: Some(HTTPS.to_owned()),
        port: HTTPS_PORT,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(settings.api_port.into())),
        ..ServicePort::default()
    }];
    let labels = [("component", "apiserver"), ("provider", "kubernetes")];
    service(meta(Some("default"), API, &labels), settings.api_cluster_ip, ports, None)
}

pub(super) fn dns_service(settings: &Settings) -> Service {
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: DNS_PORT,
        protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::Int(DNS_PORT)),
        ..ServicePort::default()
    };
    let labels = [("k8s-app", DNS), ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "CoreDNS")];
    let ports = vec![port("dns", "UDP"), port("dns-tcp", "TCP")];
    service(meta(Some("kube-system"), DNS, &labels), settings.dns_cluster_ip, ports, None)
}

fn service(
    metadata: ObjectMeta,
    address: Ipv4Addr,
    ports: Vec<ServicePort>,
    selector: Option<BTreeMap<String, String>>,
) -> Service {
    Service {
        metadata,
        spec: Some(ServiceSpec {
            cluster_ip: Some(address.to_string()),
            cluster_ips: Some(vec![address.to_string()]),
            ip_families: Some(vec!["IPv4".to_owned()]),
            ip_family_policy: Some("SingleStack".to_owned()),
            ports: Some(ports),
            selector,
            session_affinity: Some("None".to_owned()),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub(super) fn api_endpoints(settings: &Settings) -> Endpoints {
    Endpoints {
        metadata: meta(Some("default"), API, &[(SKIP_MIRROR_LABEL, "true")]),
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: settings.api_address.to_string(),
                ..EndpointAddress::default()
            }]),
            not_ready_addresses: None,
            ports: Some(vec![EndpointPort {
                name: Some(HTTPS.to_owned()),
                port: settings.api_port.into(),
                protocol: Some("TCP".to_owned()),
                app_protocol: None,
            }]),
        }]),
    }
}

pub(super) fn api_slice(settings: &Settings) -> discovery::EndpointSlice {
    let family = match settings.api_address {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    discovery::EndpointSlice {
        metadata: meta(Some("default"), API, &[(SERVICE_NAME_LABEL, API)]),
        address_type: family.to_owned(),
        endpoints: Some(vec![discovery::Endpoint {
            addresses: vec![settings.api_address.to_string()],
            conditions: Some(discovery::EndpointConditions {
                ready: Some(true),
                ..discovery::EndpointConditions::default()
            }),
            ..discovery::Endpoint::default()
        }]),
        ports: Some(vec![discovery::EndpointPort {
            name: Some(HTTPS.to_owned()),
            port: Some(settings.api_port.into()),
            protocol: Some("TCP".to_owned()),
            app_protocol: None,
        }]),
    }
}

/// The default class. Claims wait for their first pod, so that a volume is made on a node where the pod
/// fits; a claim of a StatefulSet has its pod at once.
pub(super) fn storage_class() -> StorageClass {
    let mut metadata = meta(None, "standard", &[]);
    metadata.annotations = Some(texts(&[("storageclass.kubernetes.io/is-default-class", "true")]));
    StorageClass {
        metadata,
        provisioner: LOCAL_PROVISIONER.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

pub(super) fn priority_classes() -> Vec<PriorityClass> {
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)]
        .into_iter()
        .map(|(name, value)| PriorityClass {
            metadata: meta(None, name, &[]),
            value: Some(value),
            global_default: Some(false),
            description: Some("For pods the cluster itself depends on.".to_owned()),
            preemption_policy: Some("PreemptLowerPriority".to_owned()),
        })
        .collect()
}
