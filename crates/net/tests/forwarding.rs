//! Services on a real kernel, through `nft`. Needs root and `nft`.

mod common;

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use common::{PATIENCE, Pod, config, connect, echo, kernel_state, listen, on_a_node};
use stead_net::{
    Availability, Backends, KernelNetwork, NetError, Network, NodePort, Protocol, Rules, ServicePort, ServiceRules,
};

/// How long a packet that is dropped is waited for.
const SILENCE: Duration = Duration::from_millis(300);
const CLUSTER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 96, 7, 7), 80);
const NODE_PORT: u16 = 30080;

/// One port of a Service at 10.96.7.7, with these endpoints.
fn service(endpoints: &[SocketAddrV4]) -> ServicePort {
    let backends = Backends::Endpoints(endpoints.to_vec());
    ServicePort {
        label: "default/echo".to_owned(),
        cluster_ip: *CLUSTER.ip(),
        protocol: Protocol::Tcp,
        port: CLUSTER.port(),
        affinity_s: None,
        node_port: Some(NodePort { port: NODE_PORT, from_here: backends.clone(), from_outside: backends.clone() }),
        backends,
    }
}

/// A node whose network is up, and its rules.
struct Node {
    network: KernelNetwork,
    rules: ServiceRules,
}

impl Node {
    async fn up(dir: &Path) -> Self {
        let network = KernelNetwork::up(config(dir)).await.expect("up");
        let rules = ServiceRules::open(network.config().clone());
        Self { network, rules }
    }

    /// Puts the rules in force; these stories are about what they do, so there has to be an `nft`.
    async fn apply(&self, ports: &[ServicePort]) {
        let applied = self.rules.apply(ports).await.expect("nft takes the rules");
        assert!(applied == Availability::Applied, "{applied:?}");
    }

    async fn pod(&self, name: &str) -> (Pod, Ipv4Addr) {
        let pod = Pod::new(name);
        let address = self.network.attach(&pod.key, &pod.netns).await.expect("attached");
        (pod, address.ip)
    }

    async fn serving_pod(&self, name: &str) -> (Pod, TcpListener, SocketAddrV4) {
        let (pod, ip) = self.pod(name).await;
        let (listener, socket) = pod.run(move || listen(ip));
        (pod, listener, v4(socket))
    }
}

fn v4(socket: SocketAddr) -> SocketAddrV4 {
    match socket {
        SocketAddr::V4(socket) => socket,
        SocketAddr::V6(socket) => panic!("IPv6 address {socket}"),
    }
}

/// Switches whether frames between the ports of a bridge meet the node's packet rules; whether it can be switched.
fn set_bridge_netfilter(on: bool) -> bool {
    let setting = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    setting.exists() && fs::write(setting, if on { "1" } else { "0" }).is_ok()
}

/// Redirects that this network namespace has sent.
fn redirects_sent() -> String {
    let counts = fs::read_to_string("/proc/thread-self/net/snmp").expect("readable");
    let mut lines = counts.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let at = names.split(' ').position(|name| name == "OutRedirects").expect("counted");
    values.split(' ').nth(at).expect("a count").to_owned()
}

async fn services_lead_to_their_endpoints(dir: &Path) {
    let node = Node::up(dir).await;
    let (a, a_ip) = node.pod("a").await;
    let (b, listener, socket) = node.serving_pod("b").await;
    node.apply(&[service(&[socket])]).await;
    let gateway = node.network.config().gateway();
    let cluster = SocketAddr::V4(CLUSTER);
    let node_port = SocketAddr::from((gateway, NODE_PORT));
    for target in [cluster, node_port, socket.into()] {
        let seen = echo(|| a.run(move || connect(target)).expect("pod to Service"), &listener);
        assert_eq!(seen, a_ip, "callers are seen under their own address at {target}");
    }
    let seen = echo(|| b.run(move || connect(cluster)).expect("pod to itself"), &listener);
    assert_eq!(seen, gateway, "but for those that call themselves");
    for target in [cluster, node_port] {
        let seen = echo(|| connect(target).expect("node to Service"), &listener);
        assert_eq!(seen, gateway);
    }
    assert_eq!(redirects_sent(), "0", "neighbours are not told to pass the node by");
}

#[test]
fn services_lead_to_their_endpoints_whether_or_not_the_bridge_filters() {
    let mut switched = 0;
    for filtered in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        on_a_node(|| async {
            switched += i32::from(set_bridge_netfilter(filtered));
            services_lead_to_their_endpoints(dir.path()).await;
        });
    }
    eprintln!("bridge netfilter was switched {switched} times of 2");
}

#[test]
fn a_service_that_leads_nowhere_says_so_or_keeps_silent() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let node = Node::up(dir.path()).await;
        let (a, _) = node.pod("a").await;
        node.apply(&[service(&[])]).await;
        let cluster = SocketAddr::V4(CLUSTER);
        let node_port = SocketAddr::from((node.network.config().gateway(), NODE_PORT));
        for target in [cluster, node_port] {
            assert_eq!(connect(target).expect_err("no endpoints").kind(), ErrorKind::ConnectionRefused);
            let refused = a.run(move || connect(target)).expect_err("no endpoints");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{target}");
        }
        let silent = ServicePort { backends: Backends::Dropped, ..service(&[]) };
        node.apply(&[silent]).await;
        let unanswered = a.run(move || std::net::TcpStream::connect_timeout(&cluster, SILENCE));
        assert_eq!(unanswered.expect_err("dropped").kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn down_takes_the_rules_away() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        // Loopback is brought up by `up` and stays up: it is the machine's.
        drop(KernelNetwork::up(config(dir.path())).await.expect("up"));
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        let before = kernel_state();
        let node = Node::up(dir.path()).await;
        node.apply(&[service(&[SocketAddrV4::new(Ipv4Addr::new(10, 244, 0, 9), 80)])]).await;
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        assert_eq!(kernel_state(), before);
        let rules = std::process::Command::new("nft").args(["list", "ruleset"]).output().expect("nft can be run");
        assert_eq!(String::from_utf8_lossy(&rules.stdout), "");
        let again = ServiceRules::open(config(dir.path())).apply(&[]).await.expect_err("no bridge any more");
        assert!(matches!(again, NetError::Rules { .. }), "{again}");
    });
}

/// Which of the listeners answers a connection from the pod.
fn answering(pod: &Pod, listeners: &[&TcpListener]) -> usize {
    listeners.iter().for_each(|listener| listener.set_nonblocking(true).expect("set"));
    let _near = pod.run(|| connect(CLUSTER.into())).expect("pod to Service");
    listeners.iter().position(|listener| listener.accept().is_ok()).expect("one of them has the connection")
}

#[test]
fn a_client_stays_with_its_endpoint_as_long_as_that_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let node = Node::up(dir.path()).await;
        let mut clients = Vec::new();
        for n in 0..6 {
            clients.push(node.pod(&format!("client-{n}")).await.0);
        }
        let mut servers = Vec::new();
        for n in 0..4 {
            servers.push(node.serving_pod(&format!("server-{n}")).await);
        }
        let listeners: Vec<&TcpListener> = servers.iter().map(|(_, listener, _)| listener).collect();
        let sticky = |numbers: &[usize]| {
            let endpoints: Vec<SocketAddrV4> = numbers.iter().map(|n| servers[*n].2).collect();
            [ServicePort { affinity_s: Some(600), ..service(&endpoints) }]
        };
        let choices = || clients.iter().map(|client| answering(client, &listeners)).collect::<Vec<_>>();
        node.apply(&sticky(&[0, 1])).await;
        let first = choices();
        assert!(first.contains(&0) && first.contains(&1), "clients spread: {first:?}");
        assert_eq!(choices(), first);
        node.apply(&sticky(&[0, 1, 2, 3])).await;
        assert_eq!(choices(), first, "new endpoints take nobody away");
        node.apply(&sticky(&[1, 2, 3])).await;
        let moved = choices();
        for (before, after) in first.iter().zip(&moved) {
            assert!(*after != 0 && (*before == 0 || before == after), "from {first:?} to {moved:?}");
        }
        node.apply(&sticky(&[0, 1, 2, 3])).await;
        assert_eq!(choices(), moved, "nor does one that comes back");
    });
}

#[test]
fn a_udp_client_that_keeps_its_port_follows_the_endpoints() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let node = Node::up(dir.path()).await;
        let (client, ip) = node.pod("client").await;
        let client = client.run(move || UdpSocket::bind((ip, 0)).expect("bound"));
        let mut servers = Vec::new();
        for name in ["a", "b"] {
            let (pod, ip) = node.pod(name).await;
            let socket = pod.run(move || UdpSocket::bind((ip, 0)).expect("bound"));
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            servers.push((pod, socket));
        }
        let at = |n: usize| v4(servers[n].1.local_addr().expect("bound"));
        let udp = |endpoints: &[SocketAddrV4]| [ServicePort { protocol: Protocol::Udp, ..service(endpoints) }];
        let node_port = SocketAddr::from((node.network.config().gateway(), NODE_PORT));
        // What is sent before there is an endpoint must not be remembered.
        node.apply(&udp(&[])).await;
        for target in [SocketAddr::V4(CLUSTER), node_port] {
            client.send_to(b"early", target).expect("sent");
        }
        for server in [0, 1, 0] {
            node.apply(&udp(&[at(server)])).await;
            for target in [SocketAddr::V4(CLUSTER), node_port] {
                // Refusals of what was sent early are told with the next call.
                while client.send_to(b"stead", target).is_err() {}
                let mut heard = [0; 8];
                let (length, from) = servers[server].1.recv_from(&mut heard).expect("heard");
                assert_eq!((&heard[..length], from.ip()), (&b"stead"[..], ip.into()), "server {server} at {target}");
            }
        }
    });
}
