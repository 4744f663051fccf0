//! Logs and exec: the pod's container is found, and the node's bytes pass through.

use std::io;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use serde_json::json;
use stead_apiserver::{NodeDialer, NodeStream};
use stead_store::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::common::{Cluster, PODS, pod};
use crate::served::Served;

/// Answers every connection with one canned answer and keeps what it was asked.
struct Agent {
    answer: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NodeDialer for Agent {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn NodeStream>>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        tokio::spawn(speak(far, node.to_owned(), self.answer, Arc::clone(&self.asked)));
        Box::pin(async move { Ok(Box::new(near) as Box<dyn NodeStream>) })
    }
}

async fn speak(mut far: DuplexStream, node: String, answer: &'static str, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(far.read_u8().await.unwrap()));
    }
    let line = head.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(format!("{node} {line}"));
    far.write_all(answer.as_bytes()).await.unwrap();
    // After an upgrade, whatever arrives goes back.
    let mut buffer = [0; 256];
    while let Ok(count @ 1..) = far.read(&mut buffer).await {
        far.write_all(&buffer[..count]).await.unwrap();
    }
}

async fn cluster(answer: &'static str) -> (Cluster, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::default();
    let agent = Agent { answer, asked: Arc::clone(&asked) };
    (Cluster::start_with(Limits::default(), Arc::new(agent)).await, asked)
}

#[tokio::test]
async fn logs_come_from_the_node_of_the_pod() {
    let (cluster, asked) = cluster("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n").await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, bound).await.ok();
    let log = cluster.get(&format!("{PODS}/p/log?container=c&tailLines=5")).await;
    assert_eq!((log.code, log.text.as_str()), (200, "hello\n"));
    assert_eq!(*asked.lock().unwrap(), ["one GET /containerLogs/default/p/c?tailLines=5 HTTP/1.1"]);
    let other = cluster.get(&format!("{PODS}/p/log?container=x")).await.refusal();
    assert_eq!((other.0, other.2.as_str()), (400, "container x is not valid for pod p"));
}

#[tokio::test]
async fn a_nodes_refusal_becomes_a_status() {
    let answer = "HTTP/1.1 400 Bad Request\r\ncontent-length: 60\r\n\r\n\
        container \"c\" in pod \"p\" is waiting to start: PodInitializing";
    let (cluster, _) = cluster(answer).await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, bound).await.ok();
    let refused = cluster.get(&format!("{PODS}/p/log")).await.refusal();
    assert_eq!((refused.0, refused.1.as_str()), (400, "BadRequest"));
    assert!(refused.2.starts_with("container \"c\" in pod \"p\" is waiting to start"), "{}", refused.2);
}

#[tokio::test]
async fn a_pod_that_is_nowhere_has_no_logs_and_runs_nothing() {
    let (cluster, asked) = cluster("").await;
    let mut two = pod("p");
    two["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    cluster.create(PODS, two).await.ok();
    let unnamed = cluster.get(&format!("{PODS}/p/log")).await.refusal();
    assert_eq!(unnamed.2, "a container name must be specified for pod p, choose one of: [a b]");
    assert_eq!(cluster.get(&format!("{PODS}/p/log?container=a")).await.text, "");
    let exec = cluster.get(&format!("{PODS}/p/exec?container=a&command=ls")).await.refusal();
    assert_eq!(exec.2, "pod p does not have a host assigned");
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn exec_asks_the_agent_in_its_own_words() {
    let (cluster, asked) = cluster("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, bound).await.ok();
    let answer = cluster.get(&format!("{PODS}/p/exec?command=ls&command=-l&stdin=true&stdout=true&tty=true")).await;
    // What the agent says is passed on as it is.
    assert_eq!(answer.code, 403);
    assert_eq!(
        *asked.lock().unwrap(),
        ["one GET /exec/default/p/c?input=1&output=1&tty=1&command=ls&command=-l HTTP/1.1"]
    );
}

#[tokio::test]
async fn an_upgrade_passes_through_the_listener() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n";
    let asked = Arc::default();
    let agent = Arc::new(Agent { answer, asked: Arc::clone(&asked) });
    let served = Served::start_with(agent).await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    served.cluster.create(PODS, bound).await.ok();
    let mut stream = served.connect().await;
    let request = format!(
        "GET {PODS}/p/exec?command=cat&stdin=true HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         sec-websocket-protocol: v5.channel.k8s.io\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("sec-websocket-protocol: v5.channel.k8s.io"), "{head}");
    stream.write_all(b"raw bytes, both ways").await.unwrap();
    let mut echo = [0; 20];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"raw bytes, both ways");
    drop(stream);
    served.stop().await;
}
