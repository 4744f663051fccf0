//! A real registry (Debian's docker-registry) inside a cluster's network namespace.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::image::digest;
use crate::{Cluster, ImageBuilder, eventually};

const READY_MAX: Duration = Duration::from_secs(30);

/// A registry that a test owns; dropped, it ends.
pub struct Registry {
    child: Child,
    port: u16,
    netns: std::path::PathBuf,
}

impl Registry {
    /// Starts the cluster with a registry beside it that answers for Docker Hub.
    pub fn beside(cluster: &mut Cluster) -> Self {
        let port = Self::free_port();
        let file = cluster.scratch().join("registries.yaml");
        let text = format!("mirrors:\n  docker.io:\n  - url: http://127.0.0.1:{port}\n");
        std::fs::write(&file, text).expect("a file can be written");
        cluster.flag("--registry-config", &file.display().to_string());
        cluster.up();
        Self::start(cluster, port)
    }

    /// Starts a registry on loopback of the cluster's network namespace, which must exist.
    pub fn start(cluster: &Cluster, port: u16) -> Self {
        let config = cluster.scratch().join("registry.yml");
        let storage = cluster.scratch().join("registry");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            storage.display()
        );
        std::fs::write(&config, text).expect("a file can be written");
        let child = cluster
            .inside("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter and docker-registry are installed; `cargo xtask test` does that");
        let registry = Self { child, port, netns: cluster.netns() };
        eventually("the registry answers", READY_MAX, || {
            registry.request("GET", "/v2/", "", &[]).ok().filter(|a| a.0 == 200)
        });
        registry
    }

    /// A free port of this machine. The registry's own namespace has no other user of it.
    pub fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("a port").port()
    }

    /// Pushes an image under `repository:tag`.
    pub fn push(&self, repository: &str, tag: &str, image: ImageBuilder) {
        let built = image.build();
        for (bytes, digest) in [(&built.layer, &built.layer_digest), (&built.config, &built.config_digest)] {
            let (status, headers, _) = self
                .request("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])
                .expect("the registry answers");
            assert_eq!(status, 202, "an upload can begin: {headers}");
            let location = headers.lines().find_map(|line| line.strip_prefix("Location: ")).expect("a location");
            let path =
                location.split_once("://").map_or(location, |(_, rest)| &rest[rest.find('/').expect("a path")..]);
            let join = if path.contains('?') { '&' } else { '?' };
            let put = format!("{path}{join}digest={digest}");
            let (status, _, body) =
                self.request("PUT", &put, "application/octet-stream", bytes).expect("the registry answers");
            assert_eq!(status, 201, "a blob is taken: {body}");
        }
        let put = format!("/v2/{repository}/manifests/{tag}");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let (status, _, body) = self.request("PUT", &put, kind, &built.manifest).expect("the registry answers");
        assert_eq!(status, 201, "manifest {} is taken: {body}", digest(&built.manifest));
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> std::io::Result<(u16, String, String)> {
        let netns = std::fs::File::open(&self.netns)?;
        let (port, method, path) = (self.port, method.to_owned(), path.to_owned());
        let (kind, body) = (kind.to_owned(), body.to_vec());
        // A thread of its own enters the cluster's namespace and ends with the request.
        let request = std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&netns),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )?;
            ask(port, &method, &path, &kind, &body)
        });
        request.join().expect("a request does not panic")
    }
}

fn ask(port: u16, method: &str, path: &str, kind: &str, body: &[u8]) -> std::io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut reader = BufReader::new(stream);
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        headers.push_str(line.trim_end());
        headers.push('\n');
    }
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    let status = headers.split(' ').nth(1).and_then(|code| code.parse().ok());
    status.map(|status| (status, headers, text)).ok_or_else(|| std::io::Error::other("no status line"))
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end the registry: {error}");
        }
    }
}
