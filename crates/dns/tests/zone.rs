//! The zone as a table: objects and questions in, records out. `~` stands for `svc.cluster.local`.
//! Numbers refer to contract/controllers.md.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{applied, ask, ask_all, endpoint, external, service, slice, zone};
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Service;
use stead_client::Change;
use stead_dns::{Feed, Zone};

fn check(zone: &Zone, questions: &str, expected: Expect) {
    expected.assert_eq(&ask_all(zone, questions));
}

/// Three replicas of a headless Service, the last one not ready.
fn web() -> Zone {
    let endpoints = vec![
        endpoint("web-0", "10.244.0.5", Some(true)),
        endpoint("web-1", "10.244.0.6", None),
        endpoint("web-2", "10.244.0.7", Some(false)),
    ];
    zone(
        vec![service("default/nginx", &["None"], &["web/TCP/80"])],
        vec![slice("default/nginx-abcde", "nginx", endpoints, &["web/TCP/8080"])],
    )
}

#[test]
fn a_headless_service_names_its_ready_replicas() {
    // 5.5, 5.6, 5.7, 5.12
    check(
        &web(),
        "A nginx.default.~
         A web-0.nginx.default.~
         A web-1.nginx.default.~
         A web-2.nginx.default.~
         AAAA web-0.nginx.default.~
         SRV _web._tcp.nginx.default.~
         SRV _web._udp.nginx.default.~
         SRV nginx.default.~
         SRV web-1.nginx.default.~
         A _web._tcp.nginx.default.~",
        expect![[r#""#]],
    );
}

#[test]
fn a_cluster_service_is_there_without_endpoints() {
    // 5.3, 5.4, 5.14, 5.16
    let ports = ["http/TCP/80", "dns/UDP/53", "/TCP/9"];
    let zone = zone(vec![service("default/api", &["10.96.0.20", "fd00::20"], &ports)], vec![]);
    check(
        &zone,
        "A api.default.~
         AAAA api.default.~
         TXT api.default.~
         SRV _dns._udp.api.default.~
         SRV api.default.~
         SRV _._tcp.api.default.~
         A 10-244-0-9.api.default.~",
        expect![[r#""#]],
    );
}

#[test]
fn endpoints_without_hostname_get_a_name_from_their_address() {
    // 5.6, 5.14, 5.15: also of a Service with a cluster IP, also without ports
    let zone = zone(
        vec![service("default/api", &["10.96.0.20"], &[]), service("default/bare", &["None"], &[])],
        vec![
            slice("default/api-1", "api", vec![endpoint("", "10.244.0.9", None)], &["/TCP/80"]),
            slice("default/bare-1", "bare", vec![endpoint("", "10.244.0.9", None)], &[]),
            slice("default/bare-2", "bare", vec![endpoint("", "fd00::9", None)], &[]),
        ],
    );
    check(
        &zone,
        "A 10-244-0-9.api.default.~
         A api.default.~
         ANY bare.default.~
         AAAA fd00--9.bare.default.~
         SRV bare.default.~",
        expect![[r#""#]],
    );
}

#[test]
fn what_is_published_not_ready_has_its_name_at_once() {
    let mut early = service("default/early", &["None"], &[]);
    early.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
    let endpoints = vec![endpoint("db-0", "10.244.0.5", Some(false))];
    let zone = zone(vec![early], vec![slice("default/early-1", "early", endpoints, &[])]);
    check(&zone, "A db-0.early.default.~", expect![[r#""#]]);
}

#[test]
fn names_that_hold_others_exist_and_the_rest_does_not() {
    // 5.1, 5.2, 5.12
    check(
        &web(),
        "SOA cluster.local
         NS cluster.local
         A cluster.local
         A ns.dns.cluster.local
         TXT dns-version.cluster.local
         A svc.cluster.local
         A default.~
         A nowhere.~
         A nginx.nowhere.~
         A nginx.other.~
         A x.web-0.nginx.default.~
         A nginx.default.svc.cluster.local.default.~
         A nginx.default.cluster.local
         A cluster.locale",
        expect![[r#""#]],
    );
}

#[test]
fn an_external_name_is_followed() {
    // 5.9
    let services = vec![
        external("default/out", "DB.Example.ORG."),
        external("default/near", "nginx.default.svc.cluster.local"),
        external("default/gone", "missing.default.svc.cluster.local"),
        external("default/ip", "192.0.2.7"),
        external("default/loop", "loop.default.svc.cluster.local"),
        service("default/nginx", &["10.96.0.20"], &[]),
    ];
    check(
        &zone(services, vec![]),
        "A out.default.~
         CNAME out.default.~
         A near.default.~
         A gone.default.~
         A ip.default.~
         A loop.default.~
         A x.out.default.~",
        expect![[r#""#]],
    );
}

#[test]
fn addresses_have_names() {
    // 5.8, 5.20
    let zone = zone(
        vec![
            service("default/api", &["10.96.0.20", "fd00::20"], &[]),
            service("default/nginx", &["None"], &[]),
            service("default/all", &["None"], &[]),
        ],
        vec![
            slice("default/nginx-1", "nginx", vec![endpoint("web-0", "10.244.0.5", None)], &[]),
            slice("default/all-1", "all", vec![endpoint("", "10.244.0.5", None)], &[]),
        ],
    );
    check(
        &zone,
        "PTR 20.0.96.10.in-addr.arpa
         PTR 0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa
         PTR 5.0.244.10.in-addr.arpa
         A 5.0.244.10.in-addr.arpa
         PTR 6.0.244.10.in-addr.arpa
         PTR 0.244.10.in-addr.arpa
         PTR x.ip6.arpa",
        expect![[r#""#]],
    );
}

#[test]
fn pods_are_named_by_their_address() {
    // 5.10
    check(
        &web(),
        "A 10-244-0-5.default.pod.cluster.local
         AAAA 10-244-0-5.default.pod.cluster.local
         AAAA fd00--9.default.pod.cluster.local
         A 10-244-0-5.nowhere.pod.cluster.local
         A web-0.default.pod.cluster.local
         A default.pod.cluster.local",
        expect![[r#""#]],
    );
}

#[test]
fn names_follow_the_objects() {
    let feed = Feed::default();
    let old = Arc::new(slice("default/s", "nginx", vec![endpoint("web-0", "10.244.0.5", Some(false))], &[]));
    let nginx: Arc<Service> = Arc::new(service("default/nginx", &["None"], &[]));
    let zone = Zone::new("cluster.local", []);
    let mut told = String::new();
    let mut tell = |zone: &Zone, when: &str| told += &format!("{when}: {}", ask(zone, "A web-0.nginx.default.~"));

    feed.slice(&Change::Applied { old: None, new: Arc::clone(&old) });
    let zone = feed.bring_up_to_date(&zone);
    tell(&zone, "slice without service");
    feed.service(&Change::Applied { old: None, new: Arc::clone(&nginx) });
    let zone = feed.bring_up_to_date(&zone);
    tell(&zone, "not ready");
    let new = Arc::new(slice("default/s", "nginx", vec![endpoint("web-0", "10.244.0.5", Some(true))], &[]));
    feed.slice(&Change::Applied { old: Some(old), new: Arc::clone(&new) });
    let zone = feed.bring_up_to_date(&zone);
    tell(&zone, "ready");
    let moved = slice("default/s", "another", vec![endpoint("web-0", "10.244.0.5", Some(true))], &[]);
    feed.slice(&Change::Applied { old: Some(Arc::clone(&new)), new: Arc::new(moved) });
    let zone = feed.bring_up_to_date(&zone);
    tell(&zone, "slice of another service");
    feed.slice(&applied(slice("default/s", "nginx", vec![endpoint("web-0", "10.244.0.8", None)], &[])));
    feed.service(&Change::Deleted { old: nginx });
    let zone = feed.bring_up_to_date(&zone);
    tell(&zone, "service deleted");
    expect![[r#""#]].assert_eq(&told);
}
