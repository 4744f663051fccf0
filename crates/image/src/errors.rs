//! One error per operation of the image store; variants name the phase that failed.

use std::path::PathBuf;

use crate::{ImageName, NameError};

/// Why an image could not be pulled. The text is shown to people as the message of `ErrImagePull`.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The name does not parse; `InvalidImageName` in pod statuses.
    #[error("Failed to apply default image tag {text:?}: {why}", text = .0.text, why = .0)]
    Name(NameError),
    /// The registry answered that there is no such repository or tag.
    #[error("{name}: not found")]
    NotFound {
        /// The image.
        name: ImageName,
    },
    /// The registry refused every credential there was, and anonymous access.
    #[error("{name}: unauthorized: the registry wants other credentials, or there is no such repository")]
    Unauthorized {
        /// The image.
        name: ImageName,
    },
    /// The registry cannot be reached; `RegistryUnavailable` in pod statuses.
    #[error("{name}: registry {host} cannot be reached: {reason}")]
    Unreachable {
        /// The image.
        name: ImageName,
        /// The registry or mirror last tried.
        host: String,
        /// The client's answer.
        reason: String,
    },
    /// The registry answered with something else than an image.
    #[error("{name}: registry answered: {reason}")]
    Registry {
        /// The image.
        name: ImageName,
        /// What it said.
        reason: String,
    },
    /// No image of the index is for this machine.
    #[error("{name}: no image for platform {platform}")]
    Platform {
        /// The image.
        name: ImageName,
        /// `os/architecture` of this machine.
        platform: String,
    },
    /// A layer or the configuration is not what its digest says, or cannot be unpacked safely.
    #[error("{name}: layer {digest}: {source}")]
    Layer {
        /// The image.
        name: ImageName,
        /// The blob's digest.
        digest: String,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a layer could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The bytes are not the ones that were named.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    Digest {
        /// What the manifest or configuration promises.
        expected: String,
        /// What came.
        actual: String,
    },
    /// An entry that would reach outside the layer, or is otherwise not to be trusted.
    #[error("unsafe entry {path:?}: {reason}")]
    Unsafe {
        /// The entry's name.
        path: String,
        /// Why it is refused.
        reason: String,
    },
    /// Larger than a layer may be.
    #[error("too large: more than {max} {what}")]
    TooLarge {
        /// Bytes, entries, or times its packed size.
        what: &'static str,
        /// The bound.
        max: u64,
    },
    /// Packed in a way that is not understood.
    #[error("unsupported media type {0:?}")]
    MediaType(String),
    /// Reading the stream or writing the files failed.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Why an archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is neither a docker-save tar nor an OCI archive, or one with parts missing.
    #[error("{path} is not an image archive: {reason}")]
    Format {
        /// The archive.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A layer is damaged or unsafe.
    #[error("{path}: layer {layer}")]
    Layer {
        /// The archive.
        path: PathBuf,
        /// The layer's name inside it.
        layer: String,
        /// What is wrong with it.
        #[source]
        source: LayerError,
    },
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the files of the image store could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The name does not parse.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The store was written by a later version.
    #[error(
        "{path} holds images of format {found}, this version knows {known}: use the newer version or another data directory"
    )]
    Format {
        /// The store.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What this version knows.
        known: &'static str,
    },
    /// The HTTP client for registries cannot be made.
    #[error("cannot make the registry client: {0}")]
    Client(String),
}

/// Why a registry configuration or a set of credentials could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not what it should be.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which text.
        what: String,
        /// What is wrong.
        reason: String,
    },
}

/// Why a user named by an image could not be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user in the image's `/etc/passwd`.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such group in the image's `/etc/group`.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
}
