//! The lock that keeps two incarnations of one pod from using a claim at once. It lies beside the
//! volume's directory and names the pods that use it, so it holds while the agent is not running.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::FlockOperation;
use stead_disk::{Durability, draft_of, remove_tree, replace};

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

/// Who holds a volume that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// Nobody but the pod.
    Alone,
    /// Other pods, too.
    Shared,
}

fn lock_path(volume: &Path) -> PathBuf {
    let mut path = volume.as_os_str().to_owned();
    path.push(".users");
    path.into()
}

/// Takes the volume for `pod`; again is fine.
pub(super) fn acquire(volume: &Path, pod: &Pod) -> Result<Held, LockError> {
    let meta = &pod.metadata;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (name, uid) = (format!("{}/{}", part(&meta.namespace), part(&meta.name)), part(&meta.uid));
    change(volume, |users| {
        if let Some((_, holder)) = users.iter().find(|(user, other)| *user == name && *other != uid) {
            return Err(LockError::Held { holder: holder.clone() });
        }
        if !users.iter().any(|(_, other)| *other == uid) {
            users.push((name, uid));
        }
        Ok(if users.len() == 1 { Held::Alone } else { Held::Shared })
    })
}

/// Gives the volume back; again is fine. The last to leave takes the lock file away.
pub(super) fn release(volume: &Path, uid: &str) -> Result<(), LockError> {
    if !lock_path(volume).exists() {
        return Ok(());
    }
    change(volume, |users| {
        users.retain(|(_, other)| other != uid);
        Ok(())
    })
}

type Users = Vec<(String, String)>;

/// Changes the record under its lock. A crash leaves the old record or the new one.
fn change<T>(volume: &Path, edit: impl FnOnce(&mut Users) -> Result<T, LockError>) -> Result<T, LockError> {
    let path = lock_path(volume);
    let failed = |source: std::io::Error| LockError::Io { path: path.display().to_string(), source };
    let mut file = open_locked(&path).map_err(failed)?;
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let before: Users = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, uid)| (name.to_owned(), uid.to_owned()))
        .collect();
    let mut users = before.clone();
    let edited = edit(&mut users)?;
    if users.is_empty() {
        remove_tree(&draft_of(&path)).and_then(|()| remove_tree(&path)).map_err(failed)?;
    } else if users != before {
        let text: String = users.iter().map(|(name, uid)| format!("{name} {uid}\n")).collect();
        // With the machine goes every process that the lock could keep apart.
        replace(&path, text.as_bytes(), 0o644, Durability::Process).map_err(failed)?;
    }
    Ok(edited)
}

/// Opens the file and locks it. Whoever held it before may have replaced it or taken it away meanwhile: then
/// the next one.
fn open_locked(path: &Path) -> std::io::Result<File> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let held = file.metadata()?;
        match std::fs::metadata(path) {
            Ok(there) if there.ino() == held.ino() && there.dev() == held.dev() => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
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
        assert_eq!(acquire(&volume, &pod("web-0", "a")).expect("free"), Held::Alone);
        acquire(&volume, &pod("web-0", "a")).expect("again is fine");
        assert!(matches!(acquire(&volume, &pod("web-0", "b")), Err(LockError::Held { holder }) if holder == "a"));
        let shared = acquire(&volume, &pod("reader", "c")).expect("another pod may share the claim on this node");
        assert_eq!(shared, Held::Shared);
        release(&volume, "a").expect("held");
        acquire(&volume, &pod("web-0", "b")).expect("free again");
        release(&volume, "b").expect("held");
        release(&volume, "b").expect("again is fine");
        assert!(lock_path(&volume).exists(), "the reader is still there");
        release(&volume, "c").expect("held");
        assert!(!lock_path(&volume).exists(), "nobody is: nothing is left beside the data");
    }
    #[test]
    fn a_crash_at_any_moment_of_a_change_loses_no_holder() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let volume = dir.path().join("claim");
        acquire(&volume, &pod("web-0", "a")).expect("free");
        // The record as a crash within the next change leaves it, and what such a crash may leave beside it.
        let crashed = dir.path().join("crashed");
        std::fs::hard_link(lock_path(&volume), &crashed).expect("linked");
        std::fs::write(draft_of(&lock_path(&volume)), "default/we").expect("written");
        acquire(&volume, &pod("reader", "c")).expect("shared");
        assert_eq!(std::fs::read_to_string(&crashed).expect("there"), "default/web-0 a\n");
        assert!(matches!(acquire(&volume, &pod("web-0", "b")), Err(LockError::Held { holder }) if holder == "a"));
        std::fs::write(draft_of(&lock_path(&volume)), "torn").expect("written");
        release(&volume, "a").expect("held");
        release(&volume, "c").expect("held");
        let left: Vec<_> =
            std::fs::read_dir(dir.path()).expect("there").map(|entry| entry.expect("one").file_name()).collect();
        assert_eq!(left, ["crashed"], "nothing is left beside the data");
    }
}
