//! Giving a volume to the pod's `fsGroup` (contract `pods.md` 5.10). What is in the volume belongs to the
//! processes of pods, which may change it at any moment: nothing is reached by a path that they could bend.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{VolumeError, io};

/// What directories and files of the volume allow their group, at least.
const DIRECTORY: u32 = 0o2770;
const FILE: u32 = 0o660;

const TO_LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The group that the pod's volumes are given to.
pub(super) fn of(pod: &Pod) -> Option<u32> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(security.fs_group?).ok()
}

/// Gives the volume to the pod's group, if it has one; symbolic links are not followed. With the policy
/// `OnRootMismatch` a volume whose root is as it should be is left alone, however large it is.
pub(super) fn apply(pod: &Pod, root: &Path) -> Result<(), VolumeError> {
    let Some(gid) = of(pod) else { return Ok(()) };
    let security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let policy = security.and_then(|security| security.fs_group_change_policy.as_deref());
    give_all(root, gid, policy == Some("OnRootMismatch"))
        .map_err(|error| io(format!("set group of {}", root.display()))(error.into()))
}

/// Goes through the tree with one directory open at a time, whatever its depth. The root comes last: a run
/// that was cut short is not taken for a whole one.
fn give_all(root: &Path, gid: u32, only_on_mismatch: bool) -> Result<(), Errno> {
    let root = rustix::fs::openat(CWD, root, TO_LIST.difference(OFlags::NOFOLLOW), Mode::empty())?;
    if only_on_mismatch && is_given(&rustix::fs::fstat(&root)?, gid) {
        return Ok(());
    }
    let mut at = root.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut own = Level::of(&at, gid)?;
    let mut above: Vec<Level> = Vec::new();
    loop {
        if let Some(name) = own.waiting.pop() {
            // What has become a link, or nothing, is not the directory that was there.
            if let Some(inner) = unless_gone(rustix::fs::openat(&at, &name, TO_LIST, Mode::empty()))? {
                above.push(std::mem::replace(&mut own, Level::of(&inner, gid)?));
                at = inner;
            }
            continue;
        }
        let Some(outer) = above.pop() else { break };
        let up = rustix::fs::openat(&at, "..", TO_LIST, Mode::empty())?;
        // The directory was moved meanwhile, and what is above it now is not ours to list.
        if identity(&rustix::fs::fstat(&up)?) != outer.identity {
            return Err(Errno::STALE);
        }
        (at, own) = (up, outer);
    }
    give(&root, gid)
}

/// A directory whose entries have been given.
struct Level {
    identity: (u64, u64),
    /// Directories in it that have not been gone through.
    waiting: Vec<CString>,
}

impl Level {
    /// Gives what is in the directory.
    fn of(dir: &OwnedFd, gid: u32) -> Result<Self, Errno> {
        let mut waiting = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Some(found) = unless_gone(rustix::fs::openat(dir, name, flags, Mode::empty()))? else { continue };
            give(&found, gid)?;
            if is_directory(&rustix::fs::fstat(&found)?) {
                waiting.push(name.to_owned());
            }
        }
        Ok(Self { identity: identity(&rustix::fs::fstat(dir)?), waiting })
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

fn is_given(root: &Stat, gid: u32) -> bool {
    root.st_gid == gid && root.st_mode & DIRECTORY == DIRECTORY
}

/// Gives what is open to the group; what is as it should be is not touched.
fn give(found: &OwnedFd, gid: u32) -> Result<(), Errno> {
    let stat = rustix::fs::fstat(found)?;
    if stat.st_gid != gid {
        rustix::fs::chownat(found, "", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)?;
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let mode = stat.st_mode & 0o7777;
    let wanted = mode | if is_directory(&stat) { DIRECTORY } else { FILE };
    // A change of the group takes some bits away.
    if wanted != mode || stat.st_gid != gid {
        rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::from_raw_mode(wanted))?;
    }
    Ok(())
}

fn unless_gone<T>(opened: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match opened {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec};

    use super::*;

    fn pod(gid: u32, policy: &str) -> Pod {
        let security = PodSecurityContext {
            fs_group: Some(gid.into()),
            fs_group_change_policy: Some(policy.to_owned()),
            ..PodSecurityContext::default()
        };
        Pod { spec: Some(PodSpec { security_context: Some(security), ..PodSpec::default() }), ..Pod::default() }
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
    }

    #[test]
    fn a_volume_is_given_to_the_group_and_then_left_alone_where_the_pod_asks_for_that() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (root, file) = (dir.path().join("claim"), dir.path().join("claim/deep/data"));
        fs::create_dir_all(root.join("deep")).expect("made");
        fs::write(&file, "x").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        // A group that the test may give to, root or not.
        let own = fs::metadata(&root).expect("there").gid();
        apply(&pod(own, "OnRootMismatch"), &root).expect("given");
        assert_eq!((mode(&root) & DIRECTORY, mode(&root.join("deep")) & DIRECTORY), (DIRECTORY, DIRECTORY));
        assert_eq!(mode(&file), 0o660);

        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("set");
        apply(&pod(own, "OnRootMismatch"), &root).expect("left alone");
        assert_eq!(mode(&file), 0o600);
        apply(&pod(own, "Always"), &root).expect("given");
        assert_eq!(mode(&file), 0o660);
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_directory_leads_nowhere() {
        const GROUP: u32 = 4242;
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (root, outside) = (dir.path().join("claim"), dir.path().join("outside"));
        fs::create_dir_all(root.join("real")).expect("made");
        fs::create_dir(&outside).expect("made");
        for at in [&root.join("real"), &outside] {
            for name in 0..50 {
                fs::write(at.join(name.to_string()), "x").expect("written");
            }
        }
        symlink(&outside, root.join("link")).expect("linked");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // A container that goes on swapping the two while the agent walks.
            scope.spawn(|| {
                let swap = || {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, root.join("real"), CWD, root.join("link"), flags)
                };
                while !over.load(Ordering::SeqCst) {
                    swap().expect("swapped");
                }
            });
            for _ in 0..200 {
                match give_all(&root, GROUP, false) {
                    Ok(()) | Err(Errno::STALE) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            over.store(true, Ordering::SeqCst);
        });
        let reached: Vec<_> = fs::read_dir(&outside)
            .expect("there")
            .map(|entry| entry.expect("one").metadata().expect("there").gid())
            .chain([fs::metadata(&outside).expect("there").gid()])
            .filter(|gid| *gid == GROUP)
            .collect();
        assert!(reached.is_empty(), "{} of what is outside were reached", reached.len());
    }
}
