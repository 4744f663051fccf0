//! Where connections lead, as tables: a Service, what its slices say, and the rows.

use std::fmt::Write as _;
use std::sync::Arc;

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::*;

fn service(name: &str, spec: Value) -> Arc<Service> {
    let service = json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
    Arc::new(serde_json::from_value(service).expect("a Service"))
}

/// The Service `web` with one unnamed port 80, and whatever else is said.
fn web(more: Value) -> Arc<Service> {
    let mut spec = json!({"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"], "ports": [{"port": 80}]});
    merge(&mut spec, more);
    service("web", spec)
}

fn merge(into: &mut Value, more: Value) {
    let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) else { panic!("objects") };
    into.extend(more);
}

fn slice(of: &str, ports: Value, endpoints: Vec<Value>) -> Arc<EndpointSlice> {
    let slice = json!({
        "metadata": {"name": format!("{of}-x"), "namespace": "ns", "labels": {SERVICE_NAME_LABEL: of}},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(slice).expect("an EndpointSlice"))
}

/// A slice of `web` whose one port is 8080.
fn web_slice(endpoints: Vec<Value>) -> Arc<EndpointSlice> {
    slice("web", json!([{"port": 8080}]), endpoints)
}

/// `state` is what the slice controller writes for pods that are `ready`, `unready`, `ending` (terminating, and
/// ready still) or `ended` (terminating, and not ready any more); or `unsaid`, for slices that people write.
fn endpoint(ip: &str, node: &str, state: &str) -> Value {
    let conditions = match state {
        "ready" => json!({"ready": true, "serving": true, "terminating": false}),
        "unready" => json!({"ready": false, "serving": false, "terminating": false}),
        "ending" => json!({"ready": false, "serving": true, "terminating": true}),
        "ended" => json!({"ready": false, "serving": false, "terminating": true}),
        "unsaid" => json!({}),
        other => panic!("{other} is no state"),
    };
    json!({"addresses": [ip], "nodeName": node, "conditions": conditions})
}

fn backends_text(backends: &Backends) -> String {
    match backends {
        Backends::Endpoints(list) => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Backends::Refused => "refused".to_owned(),
        Backends::Dropped => "dropped".to_owned(),
    }
}

fn check(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], expected: Expect) {
    let mut shown = String::new();
    for row in plan(&Observed { services, slices, node: "here" }) {
        let affinity = row.affinity_s.map(|seconds| format!(" for {seconds}s")).unwrap_or_default();
        let (ip, port, backends) = (row.cluster_ip, row.port, backends_text(&row.backends));
        writeln!(shown, "{}: {ip}:{port} {:?}{affinity} -> {backends}", row.label, row.protocol).expect("a string");
        if let Some(NodePort { port, from_here, from_outside }) = &row.node_port {
            let [here, outside] = [from_here, from_outside].map(backends_text);
            writeln!(shown, "  :{port} from here -> {here}; from outside -> {outside}").expect("a string");
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn ready_endpoints_serve_and_those_that_end_serve_for_want_of_better_ones() {
    let cases = [
        (vec![("10.244.0.2", "ready"), ("10.244.0.3", "unready"), ("10.244.0.4", "ending")], "10.244.0.2:8080"),
        (vec![("10.244.0.3", "ready"), ("10.244.0.2", "unsaid")], "10.244.0.2:8080 10.244.0.3:8080"),
        (vec![("10.244.0.3", "unready"), ("10.244.0.4", "ending"), ("10.244.0.5", "ended")], "10.244.0.4:8080"),
        (vec![("10.244.0.3", "unready"), ("10.244.0.5", "ended")], "refused"),
        (vec![], "refused"),
    ];
    for (endpoints, expected) in cases {
        let listed = endpoints.iter().map(|(ip, state)| endpoint(ip, "here", state)).collect();
        let rows = plan(&Observed { services: &[web(json!({}))], slices: &[web_slice(listed)], node: "here" });
        assert_eq!(
            rows.iter().map(|row| backends_text(&row.backends)).collect::<Vec<_>>(),
            [expected],
            "{endpoints:?}"
        );
    }
}

#[test]
fn policies_keep_connections_on_the_node() {
    let node_port = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let with = |field: &str| {
        let mut spec = node_port.clone();
        merge(&mut spec, json!({field: "Local"}));
        web(spec)
    };
    let both = [web_slice(vec![endpoint("10.244.0.2", "here", "ready"), endpoint("10.244.1.2", "there", "ready")])];
    check(
        &[web(node_port.clone())],
        &both,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080 10.244.1.2:8080
          :30080 from here -> 10.244.0.2:8080 10.244.1.2:8080; from outside -> 10.244.0.2:8080 10.244.1.2:8080
    "#]],
    );
    check(
        &[with("internalTrafficPolicy")],
        &both,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080
          :30080 from here -> 10.244.0.2:8080 10.244.1.2:8080; from outside -> 10.244.0.2:8080 10.244.1.2:8080
    "#]],
    );
    check(
        &[with("externalTrafficPolicy")],
        &both,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080 10.244.1.2:8080
          :30080 from here -> 10.244.0.2:8080 10.244.1.2:8080; from outside -> 10.244.0.2:8080
    "#]],
    );
    // Elsewhere only: kept from it in silence, so that a client tries another node.
    let there = [web_slice(vec![endpoint("10.244.1.2", "there", "ready")])];
    check(
        &[with("internalTrafficPolicy")],
        &there,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> dropped
          :30080 from here -> 10.244.1.2:8080; from outside -> 10.244.1.2:8080
    "#]],
    );
    check(
        &[with("externalTrafficPolicy")],
        &there,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.1.2:8080
          :30080 from here -> 10.244.1.2:8080; from outside -> dropped
    "#]],
    );
    check(
        &[with("externalTrafficPolicy")],
        &[],
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> refused
          :30080 from here -> refused; from outside -> refused
    "#]],
    );
    // One that ends here is better than a ready one elsewhere.
    let ending = [web_slice(vec![endpoint("10.244.0.2", "here", "ending"), endpoint("10.244.1.2", "there", "ready")])];
    check(
        &[with("externalTrafficPolicy")],
        &ending,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.1.2:8080
          :30080 from here -> 10.244.1.2:8080; from outside -> 10.244.0.2:8080
    "#]],
    );
}

#[test]
fn ports_meet_by_name_and_protocol() {
    let dns = service(
        "dns",
        json!({"clusterIP": "10.96.2.2", "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            {"name": "sctp", "port": 53, "protocol": "SCTP"},
            {"name": "odd", "port": 53, "protocol": "DCCP"},
        ]}),
    );
    let ready = || vec![endpoint("10.244.0.2", "here", "ready")];
    // Pods of one Service can disagree about the number behind a name.
    let slices = [
        slice(
            "dns",
            json!([{"name": "dns", "port": 5353, "protocol": "UDP"}, {"name": "dns-tcp", "port": 5354}]),
            ready(),
        ),
        slice(
            "dns",
            json!([{"name": "dns", "port": 1053, "protocol": "UDP"}]),
            vec![endpoint("10.244.0.3", "here", "ready")],
        ),
        slice("dns", json!([{"name": "sctp", "port": 9, "protocol": "UDP"}, {"name": "dns-tcp"}]), ready()),
        slice("other", json!([{"name": "dns", "port": 7, "protocol": "UDP"}]), ready()),
    ];
    check(
        &[dns],
        &slices,
        expect![[r#"
        ns/dns:dns: 10.96.2.2:53 Udp -> 10.244.0.2:5353 10.244.0.3:1053
        ns/dns:dns-tcp: 10.96.2.2:53 Tcp -> 10.244.0.2:5354
        ns/dns:sctp: 10.96.2.2:53 Sctp -> refused
    "#]],
    );
}

#[test]
fn an_endpoint_in_two_slices_counts_once_as_fit_as_either_says() {
    let slices = [
        web_slice(vec![endpoint("10.244.0.2", "here", "ending"), endpoint("10.244.0.3", "here", "ready")]),
        web_slice(vec![endpoint("10.244.0.2", "here", "ready"), endpoint("10.244.0.3", "here", "unready")]),
    ];
    check(
        &[web(json!({}))],
        &slices,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080 10.244.0.3:8080
    "#]],
    );
}

#[test]
fn an_endpoint_is_on_the_node_as_soon_as_one_slice_says_so() {
    let slices = [
        web_slice(vec![endpoint("10.244.0.2", "here", "ready")]),
        web_slice(vec![endpoint("10.244.0.2", "there", "ready")]),
    ];
    check(
        &[web(json!({"internalTrafficPolicy": "Local"}))],
        &slices,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080
    "#]],
    );
}

#[test]
fn affinity_has_the_time_that_the_service_says() {
    let sticky = |config: Value| web(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}));
    check(
        &[
            sticky(json!({"clientIP": {"timeoutSeconds": 60}})),
            sticky(json!({})),
            sticky(json!({"clientIP": {"timeoutSeconds": 0}})),
        ],
        &[],
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp for 60s -> refused
        ns/web: 10.96.1.1:80 Tcp for 10800s -> refused
        ns/web: 10.96.1.1:80 Tcp -> refused
    "#]],
    );
}

#[test]
fn services_without_an_address_or_of_another_proxy_are_left_out() {
    let mut foreign = Service::clone(&web(json!({})));
    foreign.metadata.labels = Some([(PROXY_NAME_LABEL.to_owned(), "mesh".to_owned())].into());
    let services = [
        Arc::new(foreign),
        web(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
        web(json!({"clusterIP": null, "clusterIPs": null, "type": "ExternalName", "externalName": "example.org"})),
        web(json!({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]})),
        web(json!({"clusterIP": null, "clusterIPs": null})),
    ];
    check(&services, &[], expect![[""]]);
}

#[test]
fn slices_of_other_families_and_of_headless_services_are_left_out() {
    let mut headless = EndpointSlice::clone(&web_slice(vec![endpoint("10.244.0.3", "here", "ready")]));
    headless.metadata.labels.get_or_insert_default().insert(HEADLESS_LABEL.to_owned(), String::new());
    let mut named = EndpointSlice::clone(&web_slice(vec![endpoint("db.example.org", "here", "ready")]));
    named.address_type = "FQDN".to_owned();
    let mut six = EndpointSlice::clone(&web_slice(vec![endpoint("fd00::2", "here", "ready")]));
    six.address_type = "IPv6".to_owned();
    let slices = [Arc::new(headless), Arc::new(named), Arc::new(six)];
    check(
        &[web(json!({}))],
        &slices,
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> refused
    "#]],
    );
}

#[test]
fn a_load_balancer_is_a_node_port_until_somebody_balances() {
    let spec =
        json!({"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 31000}, {"name": "admin", "port": 81}]});
    check(
        &[web(spec)],
        &[web_slice(vec![endpoint("10.244.0.2", "here", "ready")])],
        expect![[r#"
        ns/web: 10.96.1.1:80 Tcp -> 10.244.0.2:8080
          :31000 from here -> 10.244.0.2:8080; from outside -> 10.244.0.2:8080
        ns/web:admin: 10.96.1.1:81 Tcp -> refused
    "#]],
    );
}
