//! What the tests of images share: images made by hand, and a registry that serves them over real HTTP.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use stead_image::{Collected, ImageStore};
use tokio::net::TcpListener;

/// Collects while containers use these layers.
pub(crate) fn collect(store: &ImageStore, in_use: &HashSet<PathBuf>) -> Collected {
    store.collection().expect("alone").collect(in_use).expect("collected")
}

/// How a layer is packed.
#[derive(Clone, Copy)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A blob: bytes and their digest.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    pub(crate) fn hex(&self) -> &str {
        self.digest.trim_start_matches("sha256:")
    }
}

/// One layer, packed, and the digest of what is inside.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) blob: Blob,
    pub(crate) diff_id: String,
    pub(crate) media_type: &'static str,
}

/// An image.
#[derive(Clone)]
pub(crate) struct TestImage {
    pub(crate) config: Blob,
    pub(crate) layers: Vec<Layer>,
    pub(crate) manifest: Blob,
}

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A layer with these files.
pub(crate) fn layer(files: &[(&str, &str)], packing: Packing) -> Layer {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, content.as_bytes()).expect("written");
    }
    let plain = builder.into_inner().expect("written");
    let diff_id = digest(&plain);
    let (packed, media_type) = match packing {
        Packing::Plain => (plain, "application/vnd.oci.image.layer.v1.tar"),
        Packing::Gzip => (gzip(&plain), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        Packing::Zstd => (
            zstd::stream::encode_all(plain.as_slice(), 1).expect("packed"),
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    };
    Layer { blob: Blob::new(packed), diff_id, media_type }
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("packed");
    encoder.finish().expect("packed")
}

/// An image of these layers that runs `/bin/app serve`.
pub(crate) fn image(layers: Vec<Layer>) -> TestImage {
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Entrypoint": ["/bin/app"], "Cmd": ["serve"], "Env": ["PATH=/bin", "A=b"], "WorkingDir": "/data", "User": "app",
            "StopSignal": "SIGQUIT", "ExposedPorts": {"6333/tcp": {}},
        },
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Blob::new(config.to_string().into_bytes());
    let manifest = manifest_of(&config, &layers);
    TestImage { config, layers, manifest }
}

pub(crate) fn manifest_of(config: &Blob, layers: &[Layer]) -> Blob {
    let descriptors: Vec<_> = layers.iter().map(|layer| serde_json::json!({"mediaType": layer.media_type, "digest": layer.blob.digest, "size": layer.blob.bytes.len()})).collect();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": config.bytes.len()},
        "layers": descriptors,
    });
    Blob::new(manifest.to_string().into_bytes())
}

/// Who may read.
pub(crate) enum Access {
    Anyone,
    /// `user:password`, shown with every request.
    Basic(&'static str),
    /// `user:password`, shown to get a token.
    Token(&'static str),
}

struct State {
    access: Access,
    address: SocketAddr,
    manifests: HashMap<String, (&'static str, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
    requests: Vec<String>,
}

/// A registry on loopback, gone when the test's runtime is.
pub(crate) struct Registry {
    pub(crate) host: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    pub(crate) async fn start(access: Access) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State {
            access,
            address,
            manifests: HashMap::new(),
            blobs: HashMap::new(),
            requests: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let answer = state.lock().expect("not poisoned").answer(&request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { host: address.to_string(), state }
    }

    /// Serves an image under `repository` and `tag`.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &TestImage) {
        let mut state = self.state.lock().expect("not poisoned");
        for reference in [tag, &image.manifest.digest] {
            state
                .manifests
                .insert(format!("{repository}/manifests/{reference}"), (MANIFEST, image.manifest.bytes.clone()));
        }
        for blob in image.layers.iter().map(|layer| &layer.blob).chain([&image.config]) {
            state.blobs.insert(blob.digest.clone(), blob.bytes.clone());
        }
    }

    /// Serves an index of images, each for a platform `os/architecture`, under `repository` and `tag`; gives its digest.
    pub(crate) fn push_index(&self, repository: &str, tag: &str, images: &[(&str, &TestImage)]) -> String {
        let entry = |(platform, image): &(&str, &TestImage)| {
            let (os, architecture) = platform.split_once('/').expect("os/architecture");
            serde_json::json!({"mediaType": MANIFEST, "digest": image.manifest.digest, "size": image.manifest.bytes.len(), "platform": {"os": os, "architecture": architecture}})
        };
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images.iter().map(entry).collect::<Vec<_>>()}).to_string().into_bytes();
        for (_, image) in images {
            self.push(repository, &image.manifest.digest, image);
        }
        let named = digest(&index);
        self.state
            .lock()
            .expect("not poisoned")
            .manifests
            .insert(format!("{repository}/manifests/{tag}"), (INDEX, index));
        named
    }

    /// Serves other bytes under a digest.
    pub(crate) fn spoil(&self, digest: &str, bytes: &[u8]) {
        self.state.lock().expect("not poisoned").blobs.insert(digest.to_owned(), bytes.to_owned());
    }

    /// How often a path that ends like this was asked for.
    pub(crate) fn requests(&self, end: &str) -> usize {
        self.state.lock().expect("not poisoned").requests.iter().filter(|path| path.ends_with(end)).count()
    }
}

impl State {
    fn answer(&mut self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        self.requests.push(path.clone());
        let shown = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or("");
        let basic = |pair: &str| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        if path == "/token" {
            return match self.access {
                Access::Token(pair) if shown == basic(pair) => {
                    respond(StatusCode::OK, "application/json", br#"{"token":"open-sesame"}"#.to_vec())
                }
                Access::Token(_) | Access::Basic(_) | Access::Anyone => error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
            };
        }
        let challenge = match self.access {
            Access::Anyone => None,
            Access::Basic(pair) => (shown != basic(pair)).then(|| r#"Basic realm="test""#.to_owned()),
            Access::Token(_) => (shown != "Bearer open-sesame")
                .then(|| format!(r#"Bearer realm="http://{}/token",service="test""#, self.address)),
        };
        if let Some(challenge) = challenge {
            let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
            response.headers_mut().insert("www-authenticate", challenge.parse().expect("a header"));
            return response;
        }
        let Some(rest) = path.strip_prefix("/v2/") else {
            return error(StatusCode::NOT_FOUND, "NOT_FOUND");
        };
        if rest.is_empty() {
            return respond(StatusCode::OK, "application/json", b"{}".to_vec());
        }
        if let Some((_, digest)) = rest.split_once("/blobs/") {
            return match self.blobs.get(digest) {
                Some(bytes) => respond(StatusCode::OK, "application/octet-stream", bytes.clone()),
                None => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            };
        }
        match self.manifests.get(rest) {
            Some((media_type, bytes)) => respond(StatusCode::OK, media_type, bytes.clone()),
            None => error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        }
    }
}

fn respond(status: StatusCode, media_type: &str, bytes: Vec<u8>) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", media_type)
        .body(Full::new(Bytes::from(bytes)))
        .expect("a response")
}

fn error(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    respond(status, "application/json", format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#).into_bytes())
}
