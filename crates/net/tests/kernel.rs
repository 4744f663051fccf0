//! The pod network on a real kernel. Every test has network namespaces of its own with no way out: one thread
//! plays the node, one thread each a pod. Needs root.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use stead_net::{
    Availability, KernelNetwork, NetError, Network, NetworkConfig, PodKey, Protocol, ServicePort, ServiceRules,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// Plays a story on a node: a fresh network namespace with a single-threaded runtime in it.
fn on_a_node<F: Future<Output = ()>>(story: impl FnOnce() -> F + Send) {
    std::thread::scope(|scope| {
        let node = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; these tests need root");
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story());
        });
        if let Err(panic) = node.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

type Task = Box<dyn FnOnce() + Send>;

/// A pod's network namespace, and a thread in it that does what it is told.
struct Pod {
    key: PodKey,
    netns: PathBuf,
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    fn new(name: &str) -> Self {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            tell.send(PathBuf::from(format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid())))
                .expect("the test waits");
            inbox.into_iter().for_each(|task| task());
        });
        Self {
            key: PodKey(name.to_owned()),
            netns: told.recv().expect("a namespace"),
            tasks: Some(tasks),
            thread: Some(thread),
        }
    }

    fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        self.tasks
            .as_ref()
            .expect("alive")
            .send(Box::new(move || tell.send(task()).expect("the test waits")))
            .expect("alive");
        told.recv().expect("the task did not panic")
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn listen(ip: Ipv4Addr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).expect("the address is here");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Connects, says something, hears it back; the listener sees the caller's address.
fn echo(client: impl FnOnce() -> TcpStream, listener: &TcpListener) -> Ipv4Addr {
    let mut near = client();
    let (mut far, from) = listener.accept().expect("a caller");
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
    }
    near.write_all(b"stead").expect("sent");
    let mut heard = [0; 5];
    far.read_exact(&mut heard).expect("heard");
    far.write_all(&heard).expect("sent back");
    near.read_exact(&mut heard).expect("heard back");
    assert_eq!(&heard, b"stead");
    match from {
        SocketAddr::V4(from) => *from.ip(),
        SocketAddr::V6(from) => panic!("IPv6 caller {from}"),
    }
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, PATIENCE)
}

/// Links and IPv4 addresses of the calling thread's namespace, as the kernel lists them.
fn kernel_state() -> (Vec<String>, String) {
    let dev = fs::read_to_string("/proc/thread-self/net/dev").expect("readable");
    let mut links: Vec<String> =
        dev.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect();
    links.sort();
    (links, fs::read_to_string("/proc/thread-self/net/fib_trie").expect("readable"))
}

fn config(dir: &Path) -> NetworkConfig {
    NetworkConfig::for_first_node(&dir.join("net"))
}

#[test]
fn pods_reach_each_other_the_node_and_the_service_addresses() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        let a_address = network.attach(&a.key, &a.netns).await.expect("attached");
        let b_address = network.attach(&b.key, &b.netns).await.expect("attached");
        assert_eq!((a_address.ip, b_address.ip), (Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)));
        assert_eq!((a_address.gateway, a_address.prefix_len), (Ipv4Addr::new(10, 244, 0, 1), 24));

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

/// One port of a Service at 10.96.7.7, with these endpoints.
fn service(endpoints: &[SocketAddr]) -> ServicePort {
    let endpoint = |socket: &SocketAddr| match socket {
        SocketAddr::V4(socket) => (*socket.ip(), socket.port()),
        SocketAddr::V6(socket) => panic!("IPv6 endpoint {socket}"),
    };
    ServicePort {
        label: "default/echo".to_owned(),
        cluster_ip: Ipv4Addr::new(10, 96, 7, 7),
        protocol: Protocol::Tcp,
        port: 80,
        node_port: Some(30080),
        sticky: false,
        endpoints: endpoints.iter().map(endpoint).collect(),
    }
}

#[test]
fn services_lead_to_their_endpoints_or_say_that_they_cannot() {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_node(|| async {
        drop(KernelNetwork::up(config(dir.path())).await.expect("up"));
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        let before = kernel_state();
        let network = KernelNetwork::up(config(dir.path())).await.expect("up");
        let rules = ServiceRules::open(network.config().clone());
        let (a, b) = (Pod::new("a"), Pod::new("b"));
        network.attach(&a.key, &a.netns).await.expect("attached");
        let b_address = network.attach(&b.key, &b.netns).await.expect("attached");
        let (listener, socket) = b.run(move || listen(b_address.ip));
        match rules.apply(&[service(&[socket])]).await.expect("nft takes the rules") {
            // Said rather than passed over: this machine cannot show the rest.
            Availability::Unavailable { reason } => return assert!(reason.contains("install the nftables package")),
            Availability::Applied => {}
        }
        let gateway = network.config().gateway();
        let cluster: SocketAddr = "10.96.7.7:80".parse().expect("an address");
        let node_port = SocketAddr::from((gateway, 30080));
        for (caller, target) in [(&a, cluster), (&a, node_port), (&b, cluster)] {
            echo(|| caller.run(move || connect(target)).expect("pod to Service"), &listener);
        }
        echo(|| connect(cluster).expect("node to Service"), &listener);
        echo(|| connect(node_port).expect("node to its own port"), &listener);

        rules.apply(&[service(&[])]).await.expect("nft takes the rules");
        assert_eq!(connect(cluster).expect_err("no endpoints").kind(), ErrorKind::ConnectionRefused);
        let refused = a.run(move || connect(cluster)).expect_err("no endpoints");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        drop(network);
        KernelNetwork::down(&config(dir.path())).await.expect("down");
        assert_eq!(kernel_state(), before);
        let again = ServiceRules::open(config(dir.path())).apply(&[]).await.expect_err("no bridge any more");
        assert!(matches!(again, NetError::Rules { .. }), "{again}");
    });
}
