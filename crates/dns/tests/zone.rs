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
         A _tcp.nginx.default.~
         A _udp.nginx.default.~
         SRV nginx.default.~
         SRV web-1.nginx.default.~
         A _web._tcp.nginx.default.~",
        expect![[r#"
            ? A nginx.default.~
              nginx.default.svc.cluster.local 5 A 10.244.0.5
              nginx.default.svc.cluster.local 5 A 10.244.0.6
            ? A web-0.nginx.default.~
              web-0.nginx.default.svc.cluster.local 5 A 10.244.0.5
            ? A web-1.nginx.default.~
              web-1.nginx.default.svc.cluster.local 5 A 10.244.0.6
            ? A web-2.nginx.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? AAAA web-0.nginx.default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? SRV _web._tcp.nginx.default.~
              _web._tcp.nginx.default.svc.cluster.local 5 SRV 0 50 8080 web-0.nginx.default.svc.cluster.local
              _web._tcp.nginx.default.svc.cluster.local 5 SRV 0 50 8080 web-1.nginx.default.svc.cluster.local
              also: web-0.nginx.default.svc.cluster.local 5 A 10.244.0.5
              also: web-1.nginx.default.svc.cluster.local 5 A 10.244.0.6
            ? SRV _web._udp.nginx.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A _tcp.nginx.default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A _udp.nginx.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? SRV nginx.default.~
              nginx.default.svc.cluster.local 5 SRV 0 50 8080 web-0.nginx.default.svc.cluster.local
              nginx.default.svc.cluster.local 5 SRV 0 50 8080 web-1.nginx.default.svc.cluster.local
              also: web-0.nginx.default.svc.cluster.local 5 A 10.244.0.5
              also: web-1.nginx.default.svc.cluster.local 5 A 10.244.0.6
            ? SRV web-1.nginx.default.~
              web-1.nginx.default.svc.cluster.local 5 SRV 0 100 8080 web-1.nginx.default.svc.cluster.local
              also: web-1.nginx.default.svc.cluster.local 5 A 10.244.0.6
            ? A _web._tcp.nginx.default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        "#]],
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
        expect![[r#"
            ? A api.default.~
              api.default.svc.cluster.local 5 A 10.96.0.20
            ? AAAA api.default.~
              api.default.svc.cluster.local 5 AAAA fd00::20
            ? TXT api.default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? SRV _dns._udp.api.default.~
              _dns._udp.api.default.svc.cluster.local 5 SRV 0 100 53 api.default.svc.cluster.local
              also: api.default.svc.cluster.local 5 A 10.96.0.20
              also: api.default.svc.cluster.local 5 AAAA fd00::20
            ? SRV api.default.~
              api.default.svc.cluster.local 5 SRV 0 33 80 api.default.svc.cluster.local
              api.default.svc.cluster.local 5 SRV 0 33 53 api.default.svc.cluster.local
              api.default.svc.cluster.local 5 SRV 0 33 9 api.default.svc.cluster.local
              also: api.default.svc.cluster.local 5 A 10.96.0.20
              also: api.default.svc.cluster.local 5 AAAA fd00::20
            ? SRV _._tcp.api.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A 10-244-0-9.api.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        "#]],
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
        expect![[r#"
            ? A 10-244-0-9.api.default.~
              10-244-0-9.api.default.svc.cluster.local 5 A 10.244.0.9
            ? A api.default.~
              api.default.svc.cluster.local 5 A 10.96.0.20
            ? ANY bare.default.~
              bare.default.svc.cluster.local 5 A 10.244.0.9
              bare.default.svc.cluster.local 5 AAAA fd00::9
            ? AAAA fd00--9.bare.default.~
              fd00--9.bare.default.svc.cluster.local 5 AAAA fd00::9
            ? SRV bare.default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        "#]],
    );
}

#[test]
fn what_is_published_not_ready_has_its_name_at_once() {
    let mut early = service("default/early", &["None"], &[]);
    early.spec.as_mut().unwrap().publish_not_ready_addresses = Some(true);
    let endpoints = vec![endpoint("db-0", "10.244.0.5", Some(false))];
    let zone = zone(vec![early], vec![slice("default/early-1", "early", endpoints, &[])]);
    check(
        &zone,
        "A db-0.early.default.~",
        expect![[r#"
        ? A db-0.early.default.~
          db-0.early.default.svc.cluster.local 5 A 10.244.0.5
    "#]],
    );
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
        expect![[r#"
            ? SOA cluster.local
              cluster.local 5 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? NS cluster.local
              cluster.local 5 NS ns.dns.cluster.local
              also: ns.dns.cluster.local 5 A 10.96.0.10
            ? A cluster.local
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A ns.dns.cluster.local
              ns.dns.cluster.local 5 A 10.96.0.10
            ? TXT dns-version.cluster.local
              dns-version.cluster.local 28800 TXT "1.1.0"
            ? A svc.cluster.local
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A default.~
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A nowhere.~
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A nginx.nowhere.~
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A nginx.other.~
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A x.web-0.nginx.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A nginx.default.svc.cluster.local.default.~
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A nginx.default.cluster.local
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A cluster.locale
              elsewhere, or Refused
        "#]],
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
        expect![[r#"
            ? A out.default.~
              out.default.svc.cluster.local 5 CNAME db.example.org
              look up db.example.org
            ? CNAME out.default.~
              out.default.svc.cluster.local 5 CNAME db.example.org
            ? A near.default.~
              near.default.svc.cluster.local 5 CNAME nginx.default.svc.cluster.local
              nginx.default.svc.cluster.local 5 A 10.96.0.20
            ? A gone.default.~
              no such name
              gone.default.svc.cluster.local 5 CNAME missing.default.svc.cluster.local
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A ip.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A loop.default.~
              failure
            ? A x.out.default.~
              no such name
              authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        "#]],
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
        expect![[r#"
            ? PTR 20.0.96.10.in-addr.arpa
              20.0.96.10.in-addr.arpa 5 PTR api.default.svc.cluster.local
            ? PTR 0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa
              0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa 5 PTR api.default.svc.cluster.local
            ? PTR 5.0.244.10.in-addr.arpa
              5.0.244.10.in-addr.arpa 5 PTR 10-244-0-5.all.default.svc.cluster.local
              5.0.244.10.in-addr.arpa 5 PTR web-0.nginx.default.svc.cluster.local
            ? A 5.0.244.10.in-addr.arpa
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? PTR 6.0.244.10.in-addr.arpa
              elsewhere, or NxDomain
            ? PTR 0.244.10.in-addr.arpa
              elsewhere, or NxDomain
            ? PTR x.ip6.arpa
              elsewhere, or NxDomain
        "#]],
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
        expect![[r#"
            ? A 10-244-0-5.default.pod.cluster.local
              10-244-0-5.default.pod.cluster.local 5 A 10.244.0.5
            ? AAAA 10-244-0-5.default.pod.cluster.local
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? AAAA fd00--9.default.pod.cluster.local
              fd00--9.default.pod.cluster.local 5 AAAA fd00::9
            ? A 10-244-0-5.nowhere.pod.cluster.local
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A web-0.default.pod.cluster.local
              no such name
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
            ? A default.pod.cluster.local
              no data
              authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        "#]],
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
    expect![[r#"
        slice without service: ? A web-0.nginx.default.~
          no such name
          authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 2
        not ready: ? A web-0.nginx.default.~
          no such name
          authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 3
        ready: ? A web-0.nginx.default.~
          web-0.nginx.default.svc.cluster.local 5 A 10.244.0.5
        slice of another service: ? A web-0.nginx.default.~
          no such name
          authority: cluster.local 0 SOA ns.dns.cluster.local hostmaster.cluster.local 5
        service deleted: ? A web-0.nginx.default.~
          no such name
          authority: cluster.local 1 SOA ns.dns.cluster.local hostmaster.cluster.local 6
    "#]]
    .assert_eq(&told);
}
