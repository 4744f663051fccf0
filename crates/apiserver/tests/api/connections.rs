//! Connections and requests that misbehave: silence, half a head, a handler that panics. None of
//! them may cost anybody else anything, and none is kept for ever.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::json;
use stead_apiserver::{NodeDialer, NodeStream};
use stead_store::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::common::{CONFIG_MAPS, Cluster, PODS, pod};
use crate::served::Served;

/// Longer than any client may be silent.
const FOREVER: Duration = Duration::from_secs(3_600);

/// Reads to the end. Time only passes while nothing else happens, so a deadline of the server's is
/// reached at once.
async fn everything_until_closed(stream: &mut TlsStream<TcpStream>) -> String {
    tokio::time::pause();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(FOREVER, stream.read_to_end(&mut bytes)).await;
    tokio::time::resume();
    match ended.expect("the server keeps the connection for ever") {
        Ok(_) => {}
        // A peer that closes without the farewell of TLS.
        Err(error) => assert!(matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go_whatever_it_speaks() {
    let served = Served::start().await;
    for protocols in [&[][..], &["http/1.1"], &["h2"]] {
        let mut stream = served.connect_offering(protocols).await;
        everything_until_closed(&mut stream).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn half_a_request_and_a_used_connection_are_not_kept_for_ever_either() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    stream.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    everything_until_closed(&mut stream).await;

    let mut stream = served.connect().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    everything_until_closed(&mut stream).await;
    served.stop().await;
}

#[tokio::test]
async fn a_watch_with_nothing_to_say_is_not_idle() {
    let served = Served::start().await;
    let mut stream = served.connect().await;
    let request =
        format!("GET {CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=600 HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    let said = everything_until_closed(&mut stream).await;
    assert!(said.matches("\"BOOKMARK\"").count() >= 9, "the watch went on for its ten minutes: {said}");
    served.stop().await;
}

/// Panics when it is asked for a node.
struct Broken;

impl NodeDialer for Broken {
    fn dial(&self, node: &str) -> BoxFuture<'static, io::Result<Box<dyn NodeStream>>> {
        panic!("nobody thought of node {node}")
    }
}

#[tokio::test]
async fn a_request_that_panics_is_answered_and_the_server_goes_on() {
    let cluster = Cluster::start_with(Limits::default(), Arc::new(Broken)).await;
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("one");
    cluster.create(PODS, bound).await.ok();
    let (code, reason, _) = cluster.get(&format!("{PODS}/p/log")).await.refusal();
    assert_eq!((code, reason.as_str()), (500, "InternalError"));
    assert_eq!(cluster.get(&format!("{PODS}/p")).await.code, 200);
}
