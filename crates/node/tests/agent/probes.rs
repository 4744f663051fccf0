//! Probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use stead_apiserver::pki::{Pki, ServerNames};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{IMAGE, World, status};

fn is_ready(pod: Option<&Pod>) -> bool {
    let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|found| found.type_ == "Ready" && found.status == "True"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_ready_while_its_port_answers() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let probe = json!({"tcpSocket": {"host": "127.0.0.1", "port": address.port()}, "periodSeconds": 1,
        "failureThreshold": 1});
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE, "readinessProbe": probe}]})).await;
    let pod = world.until_running("web-0", &uid).await;
    assert!(!is_ready(Some(&pod)), "nothing listens yet");
    let listener = TcpListener::bind(address).await.expect("the port is free");
    let ready = world.until("ready", "web-0", is_ready).await.expect("just seen");
    for condition in ready.status.iter().flat_map(|status| status.conditions.iter().flatten()) {
        assert_eq!((&condition.reason, &condition.message), (&None, &None), "{} is True", condition.type_);
    }
    drop(listener);
    world.until("not ready", "web-0", |pod| pod.is_some() && !is_ready(pod)).await;
    let refused = format!("dial tcp {address}: connect: connection refused");
    world.until_told("web-0", &format!("Unhealthy: Readiness probe failed: {refused}")).await;
    assert_eq!(status(&world.pods.get("default", "web-0").expect("there"), "c").expect("shown").restart_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_answers_over_tls_with_a_certificate_of_its_own_is_ready() {
    let world = World::start().await;
    let names = ServerNames { listen: None, service: [10, 96, 0, 1].into(), node: "n1".to_owned() };
    let pki = Pki::open(&world.dir().join("pki"), &names, Timestamp::now()).expect("certificates");
    let acceptor = tokio_rustls::TlsAcceptor::from(pki.server_config().expect("a configuration"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.expect("TLS");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(String::from_utf8_lossy(&request[..read]).starts_with("GET /readyz HTTP/1.1\r\n"));
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("answered");
            stream.shutdown().await.expect("closed");
        }
    });
    let get = json!({"scheme": "HTTPS", "host": "127.0.0.1", "port": port, "path": "/readyz"});
    let container = json!({"name": "c", "image": IMAGE, "readinessProbe": {"httpGet": get}});
    world.pod("web-0", json!({"containers": [container]})).await;
    world.until("ready", "web-0", is_ready).await;
    server.abort();
}

/// Answers every request with one of these, chosen by the path asked for.
async fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + 'static) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let read = stream.read(&mut request).await.expect("a request");
        let request = String::from_utf8_lossy(&request[..read]).into_owned();
        let answer = answer(request.split(' ').nth(1).expect("a path"));
        stream.write_all(answer.as_bytes()).await.expect("answered");
        stream.shutdown().await.expect("closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_is_sent_on_within_its_host_and_no_further() {
    let world = World::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let away = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&away);
    let server = tokio::spawn(serve(listener, move |path| match (path, seen.load(Ordering::SeqCst)) {
        ("/", false) => "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n".to_owned(),
        ("/", true) => {
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere.test/\r\ncontent-length: 5\r\n\r\nmoved".to_owned()
        }
        _ => "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned(),
    }));
    let probe = json!({"httpGet": {"host": "127.0.0.1", "port": port}, "periodSeconds": 1, "failureThreshold": 1});
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE, "readinessProbe": probe}]})).await;
    let pod = world.until_running("web-0", &uid).await;
    world.until_told("web-0", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503").await;
    assert!(!is_ready(Some(&pod)), "what it is sent to is not well");
    away.store(true, Ordering::SeqCst);
    world.until("ready", "web-0", is_ready).await;
    let warning = "ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: moved";
    world.until_told("web-0", warning).await;
    server.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_whose_liveness_probe_fails_is_restarted() {
    let world = World::start().await;
    let sick = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&sick);
    world.runtime.fake.on_exec(move |id, _| match seen.load(Ordering::SeqCst) && id.0.ends_with("-0") {
        true => Ok((1, b"no space left".to_vec())),
        false => Ok((0, Vec::new())),
    });
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE, "livenessProbe": probe}]})).await;
    world.until_running("web-0", &uid).await;
    sick.store(true, Ordering::SeqCst);
    world.until_runs(&uid, "c", 1).await;
    world.until_told("web-0", "Unhealthy: Liveness probe failed: no space left").await;
    world.until_told("web-0", "Killing: Container c failed liveness probe, will be restarted").await;
}
