//! A node and its pods, each in a network namespace of its own with no way out: one thread plays the node, one
//! thread each a pod. Needs root.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use stead_net::{NetworkConfig, PodKey};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Plays a story on a node: a fresh network namespace with a single-threaded runtime in it.
pub(crate) fn on_a_node<F: Future<Output = ()>>(story: impl FnOnce() -> F + Send) {
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
pub(crate) struct Pod {
    pub(crate) key: PodKey,
    pub(crate) netns: PathBuf,
    tasks: Option<mpsc::SyncSender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Pod {
    pub(crate) fn new(name: &str) -> Self {
        let (tasks, inbox) = mpsc::sync_channel::<Task>(1);
        let (tell, told) = mpsc::sync_channel(1);
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

    pub(crate) fn run<T: Send + 'static>(&self, task: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::sync_channel(1);
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

pub(crate) fn listen(ip: Ipv4Addr) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((ip, 0)).expect("the address is here");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Connects, says something, hears it back; the listener sees the caller's address.
pub(crate) fn echo(client: impl FnOnce() -> TcpStream, listener: &TcpListener) -> Ipv4Addr {
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

pub(crate) fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, PATIENCE)
}

/// Links and IPv4 addresses of the calling thread's namespace, as the kernel lists them.
pub(crate) fn kernel_state() -> (Vec<String>, String) {
    let dev = fs::read_to_string("/proc/thread-self/net/dev").expect("readable");
    let mut links: Vec<String> =
        dev.lines().skip(2).filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect();
    links.sort();
    (links, fs::read_to_string("/proc/thread-self/net/fib_trie").expect("readable"))
}

pub(crate) fn config(dir: &Path) -> NetworkConfig {
    NetworkConfig::for_first_node(&dir.join("net"))
}
