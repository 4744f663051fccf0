//! The lock that keeps two incarnations of one pod from using a claim at once. It lies beside the
//! volume's directory and names the pods that use it, so it holds while the agent is not running.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::FlockOperation;

/// Why a claim is not to be had now.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A pod of the same name and another UID uses it.
    #[error("volume is still in use by an earlier pod of the same name ({holder})")]
    Held {
        /// UID of the holder.
        holder: String,
    },
    /// The lock could not be read or written.
    #[error("cannot keep the volume's lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn lock_path(volume: &Path) -> PathBuf {
    let mut path = volume.as_os_str().to_owned();
    path.push(".users");
    path.into()
}

fn identity(pod: &Pod) -> (String, String) {
    let meta = &pod.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (format!("{}/{}", part(&meta.namespace), part(&meta.name)), part(&meta.uid))
}

/// Takes the volume for `pod`; again is fine.
pub(super) fn acquire(volume: &Path, pod: &Pod) -> Result<(), LockError> {
    let (name, uid) = identity(pod);
    change(volume, |users| {
        if let Some((_, holder)) = users.iter().find(|(user, other)| *user == name && *other != uid) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        if !users.iter().any(|(_, other)| *other == uid) {
            users.push((name, uid));
        }
        Ok(())
    })
}

/// Gives the volume back; again is fine.
pub(super) fn release(volume: &Path, pod: &Pod) -> Result<(), LockError> {
    let (_, uid) = identity(pod);
    if !lock_path(volume).exists() {
        return Ok(());
    }
    change(volume, |users| {
        users.retain(|(_, other)| *other != uid);
        Ok(())
    })
}

type Users = Vec<(String, String)>;

fn change(volume: &Path, edit: impl FnOnce(&mut Users) -> Result<(), LockError>) -> Result<(), LockError> {
    let path = lock_path(volume);
    let failed = |source: std::io::Error| LockError::Io { path: path.display().to_string(), source };
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let before: Users = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
        .collect();
    let mut users = before.clone();
    edit(&mut users)?;
    if users == before {
        return Ok(());
    }
    let text: String = users.iter().map(|(name, uid)| format!("{name} {uid}\n")).collect();
    file.set_len(0).map_err(failed)?;
    file.rewind().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    fn pod(name: &str, uid: &str) -> Pod {
        let metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("default".to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        Pod { metadata, ..Pod::default() }
    }

    #[test]
    fn a_second_pod_of_the_same_name_waits_until_the_first_has_let_go() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let volume = dir.path().join("claim");
        acquire(&volume, &pod("web-0", "a")).expect("free");
        acquire(&volume, &pod("web-0", "a")).expect("again is fine");
        assert!(matches!(acquire(&volume, &pod("web-0", "b")), Err(LockError::Held { holder }) if holder == "a"));
        acquire(&volume, &pod("reader", "c")).expect("another pod may share the claim on this node");
        release(&volume, &pod("web-0", "a")).expect("held");
        acquire(&volume, &pod("web-0", "b")).expect("free again");
    }
}
