//! What nft is given for which rows.

use expect_test::expect;

use super::*;

/// A TCP port of a Service; addresses are written with their ports.
pub(crate) fn port(label: &str, cluster: &str, endpoints: &[&str]) -> ServicePort {
    let cluster: SocketAddrV4 = cluster.parse().expect("an address");
    ServicePort {
        label: label.to_owned(),
        cluster_ip: *cluster.ip(),
        protocol: Protocol::Tcp,
        port: cluster.port(),
        affinity_s: None,
        backends: backends(endpoints),
        node_port: None,
    }
}

fn backends(endpoints: &[&str]) -> Backends {
    Backends::Endpoints(endpoints.iter().map(|text| text.parse().expect("an address")).collect())
}

pub(crate) fn config() -> NetworkConfig {
    NetworkConfig::for_first_node("/nowhere".as_ref())
}

/// The lines that name something that belongs to a Service.
fn about_services(text: &str) -> String {
    let words = ["service-", "clients-", "drop", "elements", "delete", "flush"];
    text.lines()
        .filter(|line| words.iter().any(|word| line.contains(word)))
        .fold(String::new(), |all, line| all + line.trim() + "\n")
}

#[test]
fn a_ruleset() {
    let web = ServicePort {
        node_port: Some(NodePort {
            port: 30080,
            from_here: backends(&["10.244.0.2:8080", "10.244.0.9:8080"]),
            from_outside: backends(&["10.244.0.9:8080", "10.244.0.2:8080"]),
        }),
        ..port("default/web", "10.96.3.4:80", &["10.244.0.9:8080", "10.244.0.2:8080"])
    };
    let sticky = ServicePort {
        protocol: Protocol::Udp,
        affinity_s: Some(600),
        ..port("default/log\nflush ruleset", "10.96.1.1:514", &["10.244.0.5:514", "192.0.2.7:514"])
    };
    let rows = [
        web,
        sticky,
        port("default/empty", "10.96.9.9:80", &[]),
        port("default/kubernetes", "10.96.0.1:443", &["10.0.0.1:6443"]),
    ];
    let text = Ruleset::new(&config(), &rows).replacing_all();
    expect![[r#"
        table ip stead-stead0
        delete table ip stead-stead0
        table ip stead-stead0 {
        	set clients-10.96.1.1-udp-514-10.244.0.5-514 { type ipv4_addr; flags dynamic,timeout; timeout 600s; }
        	set clients-10.96.1.1-udp-514-192.0.2.7-514 { type ipv4_addr; flags dynamic,timeout; timeout 600s; }
        	# default/logflush ruleset
        	chain service-0-0 { update @clients-10.96.1.1-udp-514-10.244.0.5-514 { ip saddr }; meta l4proto udp dnat to 10.244.0.5:514; }
        	chain service-0-1 { update @clients-10.96.1.1-udp-514-192.0.2.7-514 { ip saddr }; meta l4proto udp dnat to 192.0.2.7:514; }
        	chain service-0 { ip saddr @clients-10.96.1.1-udp-514-10.244.0.5-514 goto service-0-0; ip saddr @clients-10.96.1.1-udp-514-192.0.2.7-514 goto service-0-1; jhash ip saddr mod 2 seed 0x57ead vmap { 0 : goto service-0-0, 1 : goto service-0-1 }; }
        	# default/web
        	chain service-1-0 { meta l4proto tcp dnat to 10.244.0.2:8080; }
        	chain service-1-1 { meta l4proto tcp dnat to 10.244.0.9:8080; }
        	chain service-1 { numgen random mod 2 vmap { 0 : goto service-1-0, 1 : goto service-1-1 }; }
        	# default/empty
        	map cluster-ips {
        		type ipv4_addr . inet_proto . inet_service : verdict;
        		elements = { 10.96.1.1 . udp . 514 : goto service-0,
        			10.96.3.4 . tcp . 80 : goto service-1 }
        	}
        	map node-ports {
        		type inet_proto . inet_service : verdict;
        		elements = { tcp . 30080 : goto service-1 }
        	}
        	set hairpins {
        		type ipv4_addr . ipv4_addr;
        		elements = { 10.244.0.2 . 10.244.0.2,
        			10.244.0.5 . 10.244.0.5,
        			10.244.0.9 . 10.244.0.9 }
        	}
        	set elsewhere {
        		type ipv4_addr;
        		elements = { 192.0.2.7 }
        	}
        	chain services {
        		ip daddr . ip protocol . th dport vmap @cluster-ips
        		fib daddr type local ip daddr != { 127.0.0.0/8, 10.96.0.0/12 } ip protocol . th dport vmap @node-ports
        	}
        	chain prerouting { type nat hook prerouting priority dstnat; policy accept; jump services; }
        	chain output { type nat hook output priority -100; policy accept; jump services; }
        	chain postrouting {
        		type nat hook postrouting priority srcnat; policy accept;
        		ct status dnat ip saddr . ip daddr @hairpins masquerade
        		ct status dnat ip daddr @elsewhere fib daddr type != local masquerade
        		ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 10.96.0.0/12 } oifname != "stead0" masquerade
        	}
        	chain refuse-output {
        		type filter hook output priority filter; policy accept;
        		ip daddr 10.96.0.0/12 fib daddr type != local meta l4proto tcp reject with tcp reset
        		ip daddr 10.96.0.0/12 fib daddr type != local reject
        	}
        	chain refuse-forward {
        		type filter hook forward priority filter; policy accept;
        		ip daddr 10.96.0.0/12 fib daddr type != local meta l4proto tcp reject with tcp reset
        		ip daddr 10.96.0.0/12 fib daddr type != local reject
        	}
        }
    "#]]
    .assert_eq(&text);
    let turned: Vec<ServicePort> = rows.into_iter().rev().collect();
    assert_eq!(Ruleset::new(&config(), &turned).replacing_all(), text);
}

#[test]
fn callers_from_outside_may_be_led_elsewhere_or_nowhere() {
    let node_port = |port, from_here, from_outside| Some(NodePort { port, from_here, from_outside });
    let both = ["10.244.0.2:80", "10.244.1.2:80"];
    let rows = [
        ServicePort {
            node_port: node_port(30001, backends(&both), backends(&both[..1])),
            ..port("default/local", "10.96.1.1:80", &both)
        },
        ServicePort {
            backends: Backends::Dropped,
            node_port: node_port(30002, backends(&both[1..]), Backends::Dropped),
            ..port("default/away", "10.96.1.2:80", &[])
        },
        ServicePort {
            backends: Backends::Refused,
            node_port: node_port(30003, Backends::Refused, Backends::Refused),
            ..port("default/empty", "10.96.1.3:80", &[])
        },
    ];
    expect![[r#"
        delete table ip stead-stead0
        chain service-0-0 { meta l4proto tcp dnat to 10.244.0.2:80; }
        chain service-0-1 { meta l4proto tcp dnat to 10.244.1.2:80; }
        chain service-0 { numgen random mod 2 vmap { 0 : goto service-0-0, 1 : goto service-0-1 }; }
        chain service-0-outside { goto service-0-0; }
        chain service-0-node { ip saddr 10.244.0.0/16 goto service-0; fib saddr type local goto service-0; goto service-0-outside; }
        chain service-1-0 { meta l4proto tcp dnat to 10.244.1.2:80; }
        chain service-1-here { goto service-1-0; }
        chain service-1-node { ip saddr 10.244.0.0/16 goto service-1-here; fib saddr type local goto service-1-here; drop; }
        elements = { 10.96.1.1 . tcp . 80 : goto service-0,
        10.96.1.2 . tcp . 80 : drop }
        elements = { tcp . 30001 : goto service-0-node,
        tcp . 30002 : goto service-1-node }
        elements = { 10.244.0.2 . 10.244.0.2,
    "#]].assert_eq(&about_services(&Ruleset::new(&config(), &rows).replacing_all()));
}

#[test]
fn renewed_rules_keep_what_they_know_about_clients_that_can_stay() {
    let rows =
        |endpoints: &[&str]| [ServicePort { affinity_s: Some(600), ..port("default/web", "10.96.1.1:80", endpoints) }];
    let rules = |endpoints: &[&str]| Ruleset::new(&config(), &rows(endpoints));
    let before = rules(&["10.244.0.2:80", "10.244.0.3:80"]);
    let after = rules(&["10.244.0.3:80", "10.244.0.4:80"]);
    expect![[r#"
        flush table ip stead-stead0
        delete map ip stead-stead0 cluster-ips
        delete map ip stead-stead0 node-ports
        delete set ip stead-stead0 hairpins
        delete set ip stead-stead0 elsewhere
        delete chain ip stead-stead0 service-0
        delete chain ip stead-stead0 service-0-0
        delete chain ip stead-stead0 service-0-1
        delete set ip stead-stead0 clients-10.96.1.1-tcp-80-10.244.0.2-80
        set clients-10.96.1.1-tcp-80-10.244.0.4-80 { type ipv4_addr; flags dynamic,timeout; timeout 600s; }
        chain service-0-0 { update @clients-10.96.1.1-tcp-80-10.244.0.3-80 { ip saddr }; meta l4proto tcp dnat to 10.244.0.3:80; }
        chain service-0-1 { update @clients-10.96.1.1-tcp-80-10.244.0.4-80 { ip saddr }; meta l4proto tcp dnat to 10.244.0.4:80; }
        chain service-0 { ip saddr @clients-10.96.1.1-tcp-80-10.244.0.3-80 goto service-0-0; ip saddr @clients-10.96.1.1-tcp-80-10.244.0.4-80 goto service-0-1; jhash ip saddr mod 2 seed 0x57ead vmap { 0 : goto service-0-0, 1 : goto service-0-1 }; }
        elements = { 10.96.1.1 . tcp . 80 : goto service-0 }
        elements = { 10.244.0.3 . 10.244.0.3,
    "#]].assert_eq(&about_services(&after.renewing(&before).expect("one endpoint stays")));
    assert_eq!(rules(&["10.244.0.9:80"]).renewing(&before), None, "no client can stay");
    assert_eq!(after.renewing(&Ruleset::new(&config(), &[])), None, "no client is known");
}
