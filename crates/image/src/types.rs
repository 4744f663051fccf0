//! The words of the image store: what an image is, what a pull reports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ImageName;

/// Digest of an image's configuration, `sha256:<64 hex digits>`: the same content, the same id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub String);

impl std::fmt::Display for ImageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An image that is wholly present: every layer unpacked and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The name as it was asked for, e.g. `redis:7`. What pod statuses show as `image`.
    pub reference: String,
    /// The name in full, e.g. `docker.io/library/redis:7`.
    pub name: ImageName,
    /// Digest of the image's configuration.
    pub id: ImageId,
    /// `repository@sha256:…` as the registry named it; none for imported and built-in images.
    pub digest: Option<String>,
    /// Size of the configuration and of the layers as they travelled, in bytes.
    pub size_bytes: u64,
    /// Unpacked layer directories, lowest first, with whiteouts as overlayfs has them.
    pub layers: Vec<PathBuf>,
    /// What the image says about running it.
    pub config: ImageConfig,
}

impl Image {
    /// Whether its layers are still there. They may go once its name stands for nothing or for something else,
    /// and nobody is [`using`](crate::ImageStore::using) layers. Looks on disk.
    pub fn is_whole(&self) -> bool {
        self.layers.iter().all(|layer| layer.is_dir())
    }
}

/// What an image says about running it (contract/pods.md 6.2, 6.18). Empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// The program and its leading arguments.
    pub entrypoint: Vec<String>,
    /// Arguments after the entry point, or the whole command without one.
    pub cmd: Vec<String>,
    /// Environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Working directory.
    pub working_dir: Option<String>,
    /// `user[:group]`, names or numbers; see [`crate::users`].
    pub user: Option<String>,
    /// Signal that asks the program to stop, e.g. `SIGQUIT` or `3`.
    pub stop_signal: Option<String>,
    /// Ports the image says it listens on, e.g. `6333/tcp`. Documentation only.
    pub exposed_ports: Vec<String>,
}

/// How far a pull has come. Reported as it happens; a reader may drop what it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The manifest is known and the layers that are missing here begin to arrive.
    Resolved {
        /// Layers of the image.
        layers: usize,
        /// Layers that are already present.
        layers_present: usize,
        /// Bytes still to be fetched.
        bytes_total: u64,
    },
    /// Bytes of layers fetched so far by this pull.
    Fetched {
        /// Fetched.
        bytes: u64,
        /// Of so many.
        bytes_total: u64,
    },
    /// One more layer is unpacked and verified.
    LayerReady {
        /// Layers present now.
        layers_ready: usize,
        /// Layers of the image.
        layers: usize,
    },
}

/// What a collection took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layer directories removed.
    pub layers: Vec<PathBuf>,
    /// Bytes freed, as the layers were accounted when they were unpacked.
    pub bytes: u64,
}
