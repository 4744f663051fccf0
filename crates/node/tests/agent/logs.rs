//! Logs as a client reads them.

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::world::{IMAGE, World};

impl World {
    /// Asks the agent for a container's log, as the API server does: the status code and the body.
    async fn log(&self, pod: &str, container: &str, query: &str) -> (u16, String) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let agent = self.agent();
        tokio::spawn(async move { agent.serve_stream(theirs).await });
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(ours)).await.expect("greeted");
        tokio::spawn(connection);
        let request = Request::get(format!("/containerLogs/default/{pod}/{container}?{query}"));
        let answer = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).expect("a request")).await;
        let answer = answer.expect("answered");
        let status = answer.status().as_u16();
        (
            status,
            String::from_utf8(answer.into_body().collect().await.expect("whole").to_bytes().to_vec()).expect("text"),
        )
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_was_removed_is_said_to_be() {
    let world = World::start().await;
    let uid = world.pod("web-0", json!({"containers": [{"name": "c", "image": IMAGE}]})).await;
    world.until_running("web-0", &uid).await;
    let container = world.container(&uid, "c").await.expect("runs").spec;
    let log = &container.log_path;
    std::fs::create_dir_all(log.parent().expect("a directory")).expect("made");
    std::fs::write(log, "2026-01-01T00:00:01Z stdout F one\r\n").expect("written");
    assert_eq!(world.log("web-0", "c", "").await, (200, "one\r\n".to_owned()));
    std::fs::remove_file(log).expect("removed");
    let said = format!("unable to retrieve container logs for stead://{}", container.id.0);
    assert_eq!(world.log("web-0", "c", "").await, (200, said));
    let none = r#"previous terminated container "c" in pod "web-0" not found"#.to_owned();
    assert_eq!(world.log("web-0", "c", "previous=true").await, (400, none));
}
