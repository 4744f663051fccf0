//! The pod network on a real kernel. Needs root.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use common::{PATIENCE, Pod, config, connect, echo, kernel_state, listen, on_a_node};
use stead_net::{KernelNetwork, NetError, Network, PodKey};

#[test]
fn pods_reach_each_other_the_node_and_the_service_addresses() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        let a_address = network.attach(&a.key, &a.netns).await.expect("attached");
        let b_address = network.attach(&b.key, &b.netns).await.expect("attached");
        assert_eq!((a_address.ip, b_address.ip), (Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)));
        assert_eq!(a_address.gateway, Ipv4Addr::new(10, 244, 0, 1));

        let (b_listener, b_socket) = b.run(move || listen(b_address.ip));
        let seen = echo(|| a.run(move || connect(b_socket)).expect("pod to pod"), &b_listener);
        assert_eq!(seen, a_address.ip, "pods see each other's own addresses");
        let seen = echo(|| connect(b_socket).expect("node to pod"), &b_listener);
        assert_eq!(seen, a_address.gateway);
        let seen = echo(|| b.run(move || connect(b_socket)).expect("pod to itself"), &b_listener);
        assert_eq!(seen, b_address.ip);
        for ip in [a_address.gateway, network.config().dns_ip, network.config().api_ip] {
            let (listener, socket) = listen(ip);
            let seen = echo(|| a.run(move || connect(socket)).expect("pod to node"), &listener);
            assert_eq!(seen, a_address.ip);
        }
        let (lo_listener, lo) = a.run(|| listen(Ipv4Addr::LOCALHOST));
        echo(|| a.run(move || connect(lo)).expect("loopback is up"), &lo_listener);
    });
}

#[test]
fn private_addresses_that_nobody_has_are_unreachable_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let pod = Pod::new("a");
        network.attach(&pod.key, &pod.netns).await.expect("attached");
        for nobody in ["10.244.77.1:80", "10.96.99.99:80"] {
            let nobody: SocketAddr = nobody.parse().expect("an address");
            assert_eq!(connect(nobody).expect_err("from the node").kind(), ErrorKind::HostUnreachable);
            assert_eq!(pod.run(move || connect(nobody)).expect_err("from a pod").kind(), ErrorKind::HostUnreachable);
        }
    });
}

#[test]
fn a_second_run_takes_over_and_connections_live_on() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let first = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        let a_address = first.attach(&a.key, &a.netns).await.expect("attached");
        let b_address = first.attach(&b.key, &b.netns).await.expect("attached");
        let (listener, socket) = b.run(move || listen(b_address.ip));
        let mut near = a.run(move || connect(socket)).expect("connected");
        let mut far = listener.accept().expect("a caller").0;
        let before = kernel_state();
        drop(first); // As kill -9 would have it: nothing is said to the kernel.

        let second = KernelNetwork::up(config(dir.path())).await.expect("up again");
        assert_eq!(kernel_state(), before);
        assert_eq!(second.addresses(), [(a.key.clone(), a_address), (b.key.clone(), b_address)]);
        assert_eq!(second.attach(&a.key, &a.netns).await.expect("attached again"), a_address);
        assert_eq!(kernel_state(), before);
        near.write_all(b"on").expect("sent");
        let mut heard = [0; 2];
        far.set_read_timeout(Some(PATIENCE)).expect("set");
        far.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"on");
    });
}

#[test]
fn a_sandbox_made_anew_for_the_same_pod_is_connected_again() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (old, new) = (Pod::new("a"), Pod::new("a"));
        let address = network.attach(&old.key, &old.netns).await.expect("attached");
        assert_eq!(network.attach(&new.key, &new.netns).await.expect("attached"), address);
        let (listener, socket) = new.run(move || listen(address.ip));
        echo(|| connect(socket).expect("node to pod"), &listener);
    });
}

#[test]
fn a_detached_pod_leaves_no_link_and_its_successor_has_a_fresh_address() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let before = kernel_state();
        let pod = Pod::new("a");
        let address = network.attach(&pod.key, &pod.netns).await.expect("attached");
        assert_ne!(kernel_state().0, before.0);
        network.detach(&pod.key).await.expect("detached");
        network.detach(&pod.key).await.expect("detached twice");
        assert_eq!(kernel_state(), before);
        assert_eq!(network.addresses(), []);
        let successor = Pod::new("a, the second");
        assert_ne!(network.attach(&successor.key, &successor.netns).await.expect("attached").ip, address.ip);
    });
}

#[test]
fn down_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        KernelNetwork::down(&config(dir.path())).await.expect("down of nothing");
        // Loopback is brought up by `up` and stays up: it is the machine's.
        drop(KernelNetwork::up(config(dir.path())).await.expect("up"));
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        let before = kernel_state();

        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        network.attach(&a.key, &a.netns).await.expect("attached");
        network.attach(&b.key, &b.netns).await.expect("attached");
        drop(network);
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        assert_eq!(kernel_state(), before);
        let again = KernelNetwork::up(config(dir.path())).await.expect("up");
        assert_eq!(again.addresses(), []);
    });
}

#[test]
fn a_second_cluster_is_refused_and_takes_nothing_away() {
    let [dir, other] = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
    on_a_node(|| async {
        let first = KernelNetwork::up(config(dir.path())).await.expect("up");
        let pod = Pod::new("a");
        first.attach(&pod.key, &pod.netns).await.expect("attached");
        let before = kernel_state();
        match KernelNetwork::up(config(other.path())).await.err().expect("refused") {
            NetError::Taken { owner, .. } => assert_eq!(Path::new(&owner), dir.path().join("net")),
            error => panic!("{error}"),
        }
        KernelNetwork::down(&config(other.path())).await.expect("nothing to do");
        assert_eq!(kernel_state(), before);
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        KernelNetwork::up(config(other.path())).await.expect("the place is free");
    });
}

#[test]
fn a_namespace_that_is_gone_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let gone = Path::new("/proc/self/no-such-namespace");
        match network.attach(&PodKey("a".to_owned()), gone).await {
            Err(NetError::Namespace { path, .. }) => assert_eq!(Path::new(&path), gone),
            other => panic!("{other:?}"),
        }
    });
}

/// The forward chain as `iptables` shows it.
fn forward_rules(args: &[&str]) -> String {
    let output = std::process::Command::new("iptables").arg("-w").args(args).output().expect("iptables can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_firewall_that_drops_what_nobody_speaks_for_lets_pods_through() {
    if std::process::Command::new("iptables").arg("--version").output().is_err() {
        return eprintln!("there is no iptables: this machine cannot show it");
    }
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        forward_rules(&["-P", "FORWARD", "DROP"]);
        let before = forward_rules(&["-S", "FORWARD"]);
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        network.attach(&a.key, &a.netns).await.expect("attached");
        let b_address = network.attach(&b.key, &b.netns).await.expect("attached");
        let (listener, socket) = b.run(move || listen(b_address.ip));
        echo(|| a.run(move || connect(socket)).expect("pod to pod"), &listener);
        let rules = forward_rules(&["-S", "FORWARD"]);
        drop(KernelNetwork::up(config(dir.path())).await.expect("up again"));
        assert_eq!(forward_rules(&["-S", "FORWARD"]), rules, "said once");
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        assert_eq!(forward_rules(&["-S", "FORWARD"]), before);
    });
}
