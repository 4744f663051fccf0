//! The lesson's cluster: a registry that serves `qdrant/qdrant`, and the lesson's own files at hand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Cluster, ImageBuilder, Registry, busybox};

/// Longest a roll-out of the lesson's three replicas may take.
const ROLLOUT_MAX: Duration = Duration::from_secs(40);

/// Listens on 6333, serves and keeps what is in its storage, and notes each of its starts there.
const SERVE: &str = "trap 'kill $!; exit 0' TERM; date >> /qdrant/storage/starts; \
    httpd -f -p 6333 -h /qdrant/storage & wait $!";

/// A cluster with what the lesson needs. The registry ends before the cluster goes.
pub struct Lesson {
    registry: Option<Registry>,
    cluster: Cluster,
}

impl Lesson {
    /// Starts a cluster whose Docker Hub is a registry of its own, with `qdrant/qdrant` at the tags
    /// `latest` and `v1.7.0`, and `broken`, which exits with 1 at once. The lesson's files lie in the
    /// directory that [`Cluster::shell`] runs in.
    pub fn start(stead: &str) -> Self {
        let mut cluster = Cluster::prepare(stead);
        let registry = Registry::beside(&mut cluster);
        for (tag, command) in [("latest", SERVE), ("v1.7.0", SERVE), ("broken", "echo no storage; exit 1")] {
            registry.push("qdrant/qdrant", tag, qdrant(tag, command));
        }
        for file in ["qdrant-service.yaml", "qdrant-statefulset.yaml"] {
            let from = example(&format!("qdrant/{file}"));
            std::fs::copy(&from, cluster.scratch().join(file)).expect("the lesson's file can be copied");
        }
        Self { registry: Some(registry), cluster }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster, to start and stop it.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Ends the registry: from now on only images that are on the node can be used.
    pub fn stop_registry(&mut self) {
        self.registry = None;
    }

    /// Applies the lesson's two files and waits until all three replicas are Ready.
    pub fn apply(&self) {
        self.cluster.shell("kubectl apply -f qdrant-service.yaml -f qdrant-statefulset.yaml");
        self.cluster.rolled_out("statefulset/qdrant", ROLLOUT_MAX);
    }
}

fn qdrant(version: &str, command: &str) -> ImageBuilder {
    let mut image = busybox();
    image.file("qdrant/version", 0o644, version.as_bytes()).command(&["/bin/sh", "-c", command]);
    image
}

/// A file of the repository's `examples` directory.
pub fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)
}
