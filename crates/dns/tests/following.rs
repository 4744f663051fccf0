//! The whole name server over caches that watch an API of this test's making: questions wait for
//! the caches, names follow the objects, and a shutdown ends everything.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::{endpoint, namespace, service, slice};
use futures::StreamExt as _;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use stead_client::kube::{Api, Client};
use stead_client::{Cache, ListScope};
use stead_dns::{Dns, DnsConfig};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

const EVENTS_MAX: usize = 16;
/// Far more than anything here takes, far less than a hung test run.
const PATIENCE: Duration = Duration::from_secs(20);

/// An API that only has watches, one for each resource, fed by the test.
struct FakeApi {
    senders: HashMap<&'static str, mpsc::Sender<Bytes>>,
    client: Client,
}

impl FakeApi {
    fn new() -> Self {
        let (mut senders, mut receivers) = (HashMap::new(), HashMap::new());
        for resource in ["services", "endpointslices", "namespaces"] {
            let (sender, receiver) = mpsc::channel(EVENTS_MAX);
            senders.insert(resource, sender);
            receivers.insert(resource, receiver);
        }
        let receivers = Arc::new(Mutex::new(receivers));
        let watches = tower::service_fn(move |request: http::Request<stead_client::kube::client::Body>| {
            let resource = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let events = receivers.lock().unwrap().remove(resource.as_str()).expect("one watch for each resource");
            let frames = ReceiverStream::new(events).map(|line| Ok::<_, Infallible>(Frame::data(line)));
            std::future::ready(Ok::<_, Infallible>(http::Response::new(StreamBody::new(frames))))
        });
        Self { senders, client: Client::new(watches, "default") }
    }

    async fn send(&self, resource: &str, kind: &str, object: impl Serialize) {
        let event = serde_json::json!({ "type": kind, "object": object });
        self.senders[resource].send(format!("{event}\n").into()).await.unwrap();
    }

    /// Says that everything that existed has been sent.
    async fn complete(&self, resource: &str) {
        let metadata = serde_json::json!({
            "resourceVersion": "10",
            "annotations": { "k8s.io/initial-events-end": "true" },
        });
        let bookmark = serde_json::json!({ "apiVersion": "v1", "kind": "Bookmark", "metadata": metadata });
        self.send(resource, "BOOKMARK", bookmark).await;
    }
}

fn replica(revision: &str, ready: bool) -> EndpointSlice {
    let mut slice = slice("default/nginx-1", "nginx", vec![endpoint("web-0", "10.244.0.5", Some(ready))], &[]);
    slice.metadata.resource_version = Some(revision.into());
    slice
}

async fn ask(server: SocketAddr) -> Message {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    let name = Name::from_ascii("web-0.nginx.default.svc.cluster.local.").unwrap();
    message.add_query(Query::query(name, RecordType::A));
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
    let mut response = [0; 512];
    let length = socket.recv(&mut response).await.unwrap();
    Message::from_vec(&response[..length]).unwrap()
}

async fn ask_until(server: SocketAddr, code: ResponseCode) {
    while ask(server).await.metadata.response_code != code {}
}

#[tokio::test]
async fn questions_wait_for_the_caches_and_names_follow_the_objects() {
    let api = FakeApi::new();
    let shutdown = CancellationToken::new();
    let config = DnsConfig {
        domain: "cluster.local".into(),
        listen: vec![(Ipv4Addr::LOCALHOST, 0).into()],
        upstreams: vec![],
        services: Cache::<Service>::start(Api::all(api.client.clone()), ListScope::default()),
        slices: Cache::<EndpointSlice>::start(Api::all(api.client.clone()), ListScope::default()),
        namespaces: Cache::<Namespace>::start(Api::all(api.client.clone()), ListScope::default()),
    };
    let dns = Dns::start(config, shutdown.clone()).unwrap();
    let address = dns.addresses()[0];
    let early = tokio::spawn(ask(address));

    api.send("namespaces", "ADDED", namespace("default")).await;
    api.complete("namespaces").await;
    api.send("services", "ADDED", service("default/nginx", &["None"], &[])).await;
    api.complete("services").await;
    api.send("endpointslices", "ADDED", replica("7", true)).await;
    api.complete("endpointslices").await;

    let answer = tokio::time::timeout(PATIENCE, early).await.unwrap().unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "not told before it was known");
    assert_eq!(answer.answers[0].data.to_string(), "10.244.0.5");

    api.send("endpointslices", "MODIFIED", replica("11", false)).await;
    tokio::time::timeout(PATIENCE, ask_until(address, ResponseCode::NXDomain)).await.unwrap();
    api.send("endpointslices", "MODIFIED", replica("12", true)).await;
    tokio::time::timeout(PATIENCE, ask_until(address, ResponseCode::NoError)).await.unwrap();

    shutdown.cancel();
    tokio::time::timeout(PATIENCE, dns.stopped()).await.unwrap();
    UdpSocket::bind(address).await.expect("the address is free again");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = taken.local_addr().unwrap();
    let api = FakeApi::new();
    let config = DnsConfig {
        domain: "cluster.local".into(),
        listen: vec![address],
        upstreams: vec![],
        services: Cache::start(Api::all(api.client.clone()), ListScope::default()),
        slices: Cache::start(Api::all(api.client.clone()), ListScope::default()),
        namespaces: Cache::start(Api::all(api.client.clone()), ListScope::default()),
    };
    let error = Dns::start(config, CancellationToken::new()).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen for names at {address}"));
}
