//! A server over a real store in a directory of its own, and requests written as one line.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use stead_apiserver::{ApiServer, Body, Config, Identity, LocalService, NoNodes, NodeDialer};
use stead_store::{Embedded, Limits};
use tempfile::TempDir;
use tower::Service;

pub(crate) struct Cluster {
    pub(crate) server: Arc<ApiServer<Embedded>>,
    service: LocalService<Embedded>,
    _directory: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text))
    }

    /// The object, which must have come with success.
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.code), "{} {}", self.code, self.text);
        self.json()
    }

    /// Code, reason and message of a refusal.
    pub(crate) fn refusal(self) -> (u16, String, String) {
        let status = self.json();
        assert_eq!(status["kind"], "Status", "{status}");
        assert_eq!(status["code"], self.code, "{status}");
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        (self.code, text("reason"), text("message"))
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default(), Arc::new(NoNodes)).await
    }

    pub(crate) async fn start_with(limits: Limits, dialer: Arc<dyn NodeDialer>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(directory.path(), limits).unwrap());
        let server = ApiServer::new(Config::default(), store, dialer);
        let service = server.local_service(Identity::component("system:test"));
        let cluster = Self { server, service, _directory: directory };
        cluster.create("/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await.ok();
        cluster
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Body> {
        self.service.clone().call(request).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        accept: &str,
        body: String,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path).header("accept", accept);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let response = self.send(request.body(Full::from(body)).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply { code: parts.status.as_u16(), headers: parts.headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.ask(Method::GET, path, "", JSON, String::new()).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.ask(Method::GET, path, "", accept, String::new()).await
    }

    pub(crate) async fn create(&self, path: &str, object: Value) -> Reply {
        self.ask(Method::POST, path, JSON, JSON, object.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, object: Value) -> Reply {
        self.ask(Method::PUT, path, JSON, JSON, object.to_string()).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: Value) -> Reply {
        self.ask(Method::PATCH, path, "application/merge-patch+json", JSON, patch.to_string()).await
    }

    pub(crate) async fn strategic(&self, path: &str, patch: Value) -> Reply {
        self.ask(Method::PATCH, path, "application/strategic-merge-patch+json", JSON, patch.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.ask(Method::DELETE, path, "", JSON, String::new()).await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: Value) -> Reply {
        self.ask(Method::DELETE, path, JSON, JSON, options.to_string()).await
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, path: &str) -> Watcher {
        let response = self.send(Request::builder().uri(path).body(Full::default()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watcher::of(response.into_body())
    }
}

pub(crate) const JSON: &str = "application/json";

/// An open watch, read line by line.
pub(crate) struct Watcher {
    body: Body,
    buffer: String,
}

impl Watcher {
    pub(crate) fn of(body: Body) -> Self {
        Self { body, buffer: String::new() }
    }

    /// The next event; none when the server ended the watch.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.buffer.split_once('\n') {
                let event = serde_json::from_str(line).unwrap();
                self.buffer = rest.to_owned();
                return Some(event);
            }
            let frame = self.body.frame().await?.unwrap();
            self.buffer.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    /// Type, name and revision of the next event that is no bookmark.
    pub(crate) async fn change(&mut self) -> (String, String, u64) {
        loop {
            let event = self.next().await.expect("the watch goes on");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            if event["type"] != "BOOKMARK" {
                let metadata = &event["object"]["metadata"];
                let revision = text(&metadata["resourceVersion"]).parse().unwrap_or(0);
                return (text(&event["type"]), text(&metadata["name"]), revision);
            }
        }
    }
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}})
}

pub(crate) fn stateful_set(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"serviceName": name, "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "nginx:1"}]}}}})
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
