//! The directories behind local volumes: `<root>/<claim uid>`, made when a claim is provisioned, removed
//! when it is deleted, and nothing else ever.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

/// What making or removing a directory gives, in time.
pub type DirFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, VolumeDirError>> + Send + 'a>>;

/// Why a directory could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeDirError {
    /// The node cannot be reached from here.
    #[error("node {node} does not hold volumes of this process")]
    ForeignNode {
        /// The node asked for.
        node: String,
    },
    /// Not a UID, and so not a name to make a path of.
    #[error("{uid:?} is not a claim uid")]
    NotAUid {
        /// What was given.
        uid: String,
    },
    /// The file system said no.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// Makes and removes the directories of local volumes on their nodes.
pub trait VolumeDirs: Send + Sync + 'static {
    /// Makes the claim's directory on the node, if it is not there, and gives its path on that node.
    /// `node` is the node's `kubernetes.io/hostname`.
    fn create<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, String>;

    /// Removes the claim's directory and all it holds; one that is not there is no error.
    fn delete<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, ()>;
}

/// Directories on the node this process runs on.
#[derive(Clone, Debug)]
pub struct LocalVolumeDirs {
    node: String,
    root: PathBuf,
}

impl LocalVolumeDirs {
    /// `root` (`DATA/volumes`) on the node whose `kubernetes.io/hostname` is `node`.
    pub fn new(node: impl Into<String>, root: impl Into<PathBuf>) -> Self {
        Self { node: node.into(), root: root.into() }
    }

    fn path(&self, node: &str, uid: &str) -> Result<PathBuf, VolumeDirError> {
        if node != self.node {
            return Err(VolumeDirError::ForeignNode { node: node.to_owned() });
        }
        let is_uid = !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_uid {
            return Err(VolumeDirError::NotAUid { uid: uid.to_owned() });
        }
        Ok(self.root.join(uid))
    }
}

impl VolumeDirs for LocalVolumeDirs {
    fn create<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, String> {
        Box::pin(async move {
            let path = self.path(node, claim_uid)?;
            let made = path.clone();
            blocking("make", &path, move || make(&made)).await?;
            Ok(path.to_string_lossy().into_owned())
        })
    }

    fn delete<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, ()> {
        Box::pin(async move {
            let path = self.path(node, claim_uid)?;
            let removed = path.clone();
            blocking("remove", &path, move || remove(&removed)).await
        })
    }
}

async fn blocking(
    action: &'static str,
    path: &Path,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), VolumeDirError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|source| VolumeDirError::Io { action, path: path.to_owned(), source })
}

/// Any user of a container may write to its volume; who reaches the directory at all is decided by the
/// directories above it. Durable before the volume that points to it exists.
fn make(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Some(parent) = path.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
    std::fs::create_dir_all(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777))?;
    std::fs::File::open(parent)?.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    stead_disk::remove_tree(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_claims_own_directory_comes_and_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = LocalVolumeDirs::new("n1", root.path());
        let path = dirs.create("n1", "0a-1").await.expect("made");
        let neighbour = dirs.create("n1", "0a-2").await.expect("made");
        std::fs::write(Path::new(&path).join("data"), "x").expect("written");
        assert_eq!(dirs.create("n1", "0a-1").await.expect("there already"), path);
        assert!(Path::new(&path).join("data").exists(), "making it again keeps what it holds");

        for uid in ["", "..", "0a-1/..", "/etc", "."] {
            assert!(matches!(dirs.delete("n1", uid).await, Err(VolumeDirError::NotAUid { .. })), "{uid:?}");
        }
        assert!(matches!(dirs.delete("n2", "0a-1").await, Err(VolumeDirError::ForeignNode { .. })));
        dirs.delete("n1", "0a-1").await.expect("removed");
        dirs.delete("n1", "0a-1").await.expect("gone is fine");
        assert!(!Path::new(&path).exists() && Path::new(&neighbour).exists());
    }
}
