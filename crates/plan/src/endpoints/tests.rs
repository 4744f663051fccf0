//! Which addresses are published for which pods, and with how few writes.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use serde_json::{Value, json};

use super::*;

mod many;
mod wire;

fn service(spec: Value) -> Service {
    let service = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "svc-1", "labels": {"app": "web"},
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    });
    serde_json::from_value(service).expect("a Service")
}

fn headless() -> Service {
    service(json!({"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}))
}

/// `ready` is `True`, `False`, or `Gone` for a ready pod being deleted.
fn pod(name: &str, ip: &str, ready: &str) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "hostname": name, "subdomain": "web",
                 "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
                   "conditions": [{"type": "Ready", "status": if ready == "False" { "False" } else { "True" },
                                   "lastTransitionTime": "2026-01-01T00:01:00Z"}]},
    });
    if ready == "Gone" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:02:00Z");
    }
    Arc::new(serde_json::from_value(pod).expect("a Pod"))
}

fn changed(pod: &Pod, change: impl FnOnce(&mut Pod)) -> Pod {
    let mut pod = pod.clone();
    change(&mut pod);
    pod
}

fn node(name: &str) -> Option<Arc<Node>> {
    let node = json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "z1"}}});
    (name == "n1").then(|| Arc::new(serde_json::from_value(node).expect("a Node")))
}

/// The API as far as the plan needs it: what was written comes back with names and versions.
#[derive(Default)]
struct World {
    slices: Vec<Arc<EndpointSlice>>,
    endpoints: Option<Endpoints>,
    version: u64,
}

impl World {
    fn plan(&self, service: &Service, pods: &[Arc<Pod>]) -> Plan {
        let (slices, endpoints) = (&self.slices, self.endpoints.as_ref());
        plan(&Observed { service, pods, node: &node, slices, endpoints, trigger: None })
    }

    /// Plans, carries out, and shows what was written; a second look must find nothing to do.
    fn settle(&mut self, service: &Service, pods: &[Arc<Pod>]) -> String {
        let plan = self.plan(service, pods);
        let mut shown = String::new();
        for action in &plan.slices {
            self.version += 1;
            match action {
                SliceAction::Create(slice) | SliceAction::Update(slice) => {
                    let mut slice = EndpointSlice::clone(slice);
                    let verb = if slice.metadata.name.is_none() { "create" } else { "update" };
                    let generated = slice.metadata.generate_name.take();
                    let name = slice.metadata.name.clone();
                    let name = name.unwrap_or_else(|| format!("{}{}", generated.unwrap_or_default(), self.version));
                    writeln!(shown, "{verb} slice {name} {}", show_slice(&slice)).expect("a string");
                    slice.metadata.uid = Some(format!("uid-{name}"));
                    slice.metadata.name = Some(name);
                    slice.metadata.resource_version = Some(self.version.to_string());
                    self.slices.retain(|held| held.metadata.name != slice.metadata.name);
                    self.slices.push(Arc::new(slice));
                }
                SliceAction::Delete { name, .. } => {
                    writeln!(shown, "delete slice {name}").expect("a string");
                    self.slices.retain(|held| held.metadata.name.as_ref() != Some(name));
                }
            }
        }
        match plan.endpoints {
            None => {}
            Some(EndpointsAction::Create(endpoints) | EndpointsAction::Update(endpoints)) => {
                writeln!(shown, "endpoints {}", show_endpoints(&endpoints)).expect("a string");
                self.endpoints = Some(*endpoints);
            }
        }
        let again = self.plan(service, pods);
        assert!(again.slices.is_empty() && again.endpoints.is_none(), "not settled: {again:?}");
        shown
    }
}

fn show_slice(slice: &EndpointSlice) -> String {
    let ports: Vec<String> = slice.ports.iter().flatten().map(|port| port.port.unwrap_or(0).to_string()).collect();
    let endpoints: Vec<String> = slice.endpoints.iter().flatten().map(show_endpoint).collect();
    let endpoints = if endpoints.len() > 4 { vec![format!("{} endpoints", endpoints.len())] } else { endpoints };
    format!("{} [{}] {}", slice.address_type, ports.join(","), endpoints.join("; "))
}

fn show_endpoint(endpoint: &Endpoint) -> String {
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let flags = [("ready", conditions.ready), ("serving", conditions.serving), ("terminating", conditions.terminating)];
    let set: Vec<&str> = flags.iter().filter(|(_, set)| *set == Some(true)).map(|(name, _)| *name).collect();
    let (host, zone) = (endpoint.hostname.as_deref().unwrap_or("-"), endpoint.zone.as_deref().unwrap_or("-"));
    format!("{} {host} {zone} {}", endpoint.addresses.join(","), set.join("+"))
}

fn show_endpoints(endpoints: &Endpoints) -> String {
    let subsets = endpoints.subsets.iter().flatten().map(|subset| {
        let ips = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| {
            let ips: Vec<&str> = list.iter().flatten().map(|address| address.ip.as_str()).collect();
            if ips.len() > 4 { format!("{} addresses", ips.len()) } else { ips.join(",") }
        };
        let ports: Vec<String> = subset.ports.iter().flatten().map(|port| port.port.to_string()).collect();
        format!("{{{} ready={} not={}}}", ports.join(","), ips(&subset.addresses), ips(&subset.not_ready_addresses))
    });
    let annotations: Vec<&String> = endpoints.metadata.annotations.iter().flatten().map(|(_, value)| value).collect();
    format!("{} {annotations:?}", subsets.collect::<Vec<_>>().join(" "))
}

fn check(service: &Service, pods: &[Arc<Pod>], wanted: &Expect) {
    wanted.assert_eq(&World::default().settle(service, pods));
}

#[test]
fn a_stateful_set_is_published_with_hostnames_and_every_stage_of_life() {
    let pods = [pod("web-0", "10.0.0.1", "True"), pod("web-1", "10.0.0.2", "False"), pod("web-2", "10.0.0.3", "Gone")];
    check(
        &headless(),
        &pods,
        &expect![[r#"
        create slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 ready+serving; 10.0.0.2 web-1 z1 ; 10.0.0.3 web-2 z1 serving+terminating
        endpoints {80 ready=10.0.0.1 not=10.0.0.2} []
    "#]],
    );
}

#[test]
fn publish_not_ready_addresses_makes_all_of_them_ready() {
    let mut service = headless();
    service.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
    let pods = [pod("web-0", "10.0.0.1", "False"), pod("web-1", "10.0.0.2", "Gone")];
    check(
        &service,
        &pods,
        &expect![[r#"
        create slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 ready; 10.0.0.2 web-1 z1 ready+serving+terminating
        endpoints {80 ready=10.0.0.1,10.0.0.2 not=} []
    "#]],
    );
}

#[test]
fn pods_without_address_or_finished_are_left_out_and_a_placeholder_stays() {
    let mut finished = Pod::clone(&pod("web-0", "10.0.0.1", "True"));
    finished.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
    let mut unborn = Pod::clone(&pod("web-1", "10.0.0.2", "True"));
    unborn.status = None;
    check(
        &headless(),
        &[Arc::new(finished), Arc::new(unborn)],
        &expect![[r#"
        create slice web-1 IPv4 [] 
        endpoints  []
    "#]],
    );
}

#[test]
fn readiness_changes_one_slice_in_place_and_the_last_pod_leaves_the_placeholder() {
    let mut world = World::default();
    let service = headless();
    let mut shown = world.settle(&service, &[pod("web-0", "10.0.0.1", "False")]);
    shown += &world.settle(&service, &[pod("web-0", "10.0.0.1", "True")]);
    shown += &world.settle(&service, &[pod("web-0", "10.0.0.9", "True")]);
    shown += &world.settle(&service, &[]);
    shown += &world.settle(&service, &[pod("web-0", "10.0.0.2", "True")]);
    expect![[r#"
        create slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 
        endpoints {80 ready= not=10.0.0.1} []
        update slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 ready+serving
        endpoints {80 ready=10.0.0.1 not=} []
        update slice web-1 IPv4 [80] 10.0.0.9 web-0 z1 ready+serving
        endpoints {80 ready=10.0.0.9 not=} []
        update slice web-1 IPv4 [] 
        endpoints  []
        update slice web-1 IPv4 [80] 10.0.0.2 web-0 z1 ready+serving
        endpoints {80 ready=10.0.0.2 not=} []
    "#]]
    .assert_eq(&shown);
}

#[test]
fn hostnames_need_a_subdomain_of_the_services_name() {
    let mut stranger = Pod::clone(&pod("web-0", "10.0.0.1", "True"));
    stranger.spec.get_or_insert_default().subdomain = Some("other".to_owned());
    let mut nameless = Pod::clone(&pod("web-1", "10.0.0.2", "True"));
    nameless.spec.get_or_insert_default().hostname = None;
    let plan = World::default().plan(&headless(), &[Arc::new(stranger), Arc::new(nameless)]);
    let SliceAction::Create(slice) = &plan.slices[0] else { panic!("a new slice") };
    assert!(slice.endpoints.iter().flatten().all(|endpoint| endpoint.hostname.is_none()));
}

#[test]
fn named_ports_are_looked_up_per_pod_and_group_the_addresses() {
    let service = service(json!({"clusterIP": "10.96.1.1", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 90, "targetPort": 9090}]}));
    let mut old = Pod::clone(&pod("a", "10.0.0.1", "True"));
    old.spec.get_or_insert_default().containers[0].ports.as_mut().expect("ports")[0].container_port = 8081;
    let mut without = Pod::clone(&pod("b", "10.0.0.2", "True"));
    without.spec.get_or_insert_default().containers[0].ports = None;
    let pods = [Arc::new(old), Arc::new(without), pod("c", "10.0.0.3", "True")];
    check(
        &service,
        &pods,
        &expect![[r#"
        create slice web-1 IPv4 [9090] 10.0.0.2 b z1 ready+serving
        create slice web-2 IPv4 [9090,8080] 10.0.0.3 c z1 ready+serving
        create slice web-3 IPv4 [9090,8081] 10.0.0.1 a z1 ready+serving
        endpoints {9090 ready=10.0.0.2 not=} {9090,8080 ready=10.0.0.3 not=} {9090,8081 ready=10.0.0.1 not=} []
    "#]],
    );
}

#[test]
fn a_pod_without_the_port_is_left_out_of_the_old_kind_but_a_headless_service_without_ports_needs_none() {
    let pods = [pod("web-0", "10.0.0.1", "True")];
    let endpoints = |spec: Value| {
        let mut world = World::default();
        world.settle(&service(spec), &pods);
        show_endpoints(&world.endpoints.expect("made"))
    };
    let selector = json!({"app": "web"});
    let other = json!([{"name": "admin", "port": 90, "targetPort": "admin"}]);
    assert_eq!(endpoints(json!({"clusterIP": "None", "selector": selector})), "{ ready=10.0.0.1 not=} []");
    assert_eq!(endpoints(json!({"clusterIP": "None", "selector": selector, "ports": other})), " []");
    assert_eq!(endpoints(json!({"clusterIP": "10.96.1.1", "selector": selector, "ports": other})), " []");
}

#[test]
fn the_last_pod_of_a_headless_service_without_ports_is_taken_back_too() {
    let mut world = World::default();
    let service = service(json!({"clusterIP": "None", "selector": {"app": "web"}}));
    let mut shown = world.settle(&service, &[pod("web-0", "10.0.0.1", "True")]);
    shown += &world.settle(&service, &[]);
    expect![[r#"
        create slice web-1 IPv4 [] 10.0.0.1 web-0 z1 ready+serving
        endpoints { ready=10.0.0.1 not=} []
        update slice web-1 IPv4 [] 
        endpoints  []
    "#]]
    .assert_eq(&shown);
}

#[test]
fn addresses_are_sorted_as_numbers() {
    let pods = [pod("a", "10.0.0.10", "True"), pod("b", "10.0.0.9", "True"), pod("c", "10.0.0.100", "False")];
    let mut world = World::default();
    world.settle(&headless(), &pods);
    expect!["{80 ready=10.0.0.9,10.0.0.10 not=10.0.0.100} []"]
        .assert_eq(&show_endpoints(&world.endpoints.expect("made")));
}

#[test]
fn a_pod_on_an_unknown_node_waits_unless_everything_is_published() {
    let mut lost = Pod::clone(&pod("web-0", "10.0.0.1", "True"));
    lost.spec.get_or_insert_default().node_name = Some("n9".to_owned());
    let pods = [Arc::new(lost)];
    assert_eq!(World::default().plan(&headless(), &pods).pods_without_node, ["web-0"]);
    let mut service = headless();
    service.spec.get_or_insert_default().publish_not_ready_addresses = Some(true);
    assert!(World::default().plan(&service, &pods).pods_without_node.is_empty());
}

#[test]
fn labels_of_the_service_reach_the_slices_and_leave_them_again() {
    let mut world = World::default();
    let mut service = headless();
    world.settle(&service, &[]);
    service.metadata.labels.get_or_insert_default().insert("team".to_owned(), "blue".to_owned());
    world.settle(&service, &[]);
    let labels = |world: &World| format!("{:?}", world.slices[0].metadata.labels.clone().unwrap_or_default());
    assert!(labels(&world).contains("blue"));
    service.metadata.labels = None;
    world.settle(&service, &[]);
    expect![[r#"{"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io", "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": ""}"#]]
    .assert_eq(&labels(&world));
}

#[test]
fn services_without_selector_are_nobodys_business() {
    let manual = service(json!({"clusterIP": "10.96.1.1", "ports": [{"port": 80}]}));
    let external = service(json!({"type": "ExternalName", "externalName": "x", "selector": {"app": "web"}}));
    for service in [manual, external] {
        assert_eq!(World::default().plan(&service, &[pod("web-0", "10.0.0.1", "True")]), Plan::default());
    }
}

#[test]
fn trigger_times_are_creation_first_then_the_earliest_new_transition() {
    let mut times = TriggerTimes::default();
    let service = headless();
    let show = |at: Option<jiff::Timestamp>| at.map_or("-".to_owned(), |at| at.to_string());
    assert_eq!(show(times.advance(&service, &[pod("a", "10.0.0.1", "True")])), "2026-01-01T00:00:00Z");
    assert_eq!(show(times.advance(&service, &[pod("a", "10.0.0.1", "True")])), "-");
    let pods = [pod("a", "10.0.0.1", "True"), pod("b", "10.0.0.2", "True")];
    assert_eq!(show(times.advance(&service, &pods)), "2026-01-01T00:01:00Z");
    let turned = changed(&pods[0], |pod| {
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions[0].last_transition_time = serde_json::from_value(json!("2026-01-01T00:05:00Z")).ok();
    });
    let pods = [Arc::new(turned), pods[1].clone()];
    assert_eq!(show(times.advance(&service, &pods)), "2026-01-01T00:05:00Z");
    // A Service of the same name, made before anybody saw that the first one went.
    let mut anew = service.clone();
    anew.metadata.creation_timestamp = serde_json::from_value(json!("2026-01-01T00:07:00Z")).ok();
    assert_eq!(show(times.advance(&anew, &pods)), "2026-01-01T00:07:00Z");
    assert_eq!(show(times.advance(&anew, &pods)), "-");
}

#[test]
fn a_service_made_anew_takes_over_the_slices_of_the_one_before() {
    let pods = [pod("web-0", "10.0.0.1", "True")];
    let mut world = World::default();
    world.settle(&headless(), &pods);
    let mut anew = headless();
    anew.metadata.uid = Some("svc-2".to_owned());
    expect![[r#"
        update slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 ready+serving
    "#]]
    .assert_eq(&world.settle(&anew, &pods));
    let owners = world.slices[0].metadata.owner_references.iter().flatten();
    assert_eq!(owners.map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), ["svc-2"]);
}
