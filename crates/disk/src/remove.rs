//! Removing a tree whose content is not ours to trust: it may hold mounts of what belongs to others, and
//! may be deeper than there are descriptors or stack for.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes what is at `path` and below it. Links are removed, not followed; one that is not there is fine.
/// Blocking.
///
/// # Errors
/// Something of it is mounted, which is then left with all it holds; or the operating system refused.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        parent => parent?,
    };
    remove_within(&parent, name).map_err(|error| match error {
        Errno::XDEV | Errno::BUSY => {
            let text = format!("something is still mounted in {}", path.display());
            io::Error::new(io::ErrorKind::ResourceBusy, text)
        }
        error => error.into(),
    })
}

/// Goes down and up again with one directory open at a time, whatever the depth.
fn remove_within(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    let Removed::Filled = remove_one(parent, name)? else { return Ok(()) };
    let mut at = descend(parent, name)?;
    let mut above = Vec::new();
    let mut own = Level { name: name.as_bytes().to_vec(), number: number(&at)? };
    loop {
        if let Some(filled) = empty(&at)? {
            at = descend(&at, OsStr::from_bytes(filled.to_bytes()))?;
            above.push(std::mem::replace(&mut own, Level { name: filled.into_bytes(), number: number(&at)? }));
            continue;
        }
        let own_name = OsStr::from_bytes(&own.name);
        let Some(outer) = above.pop() else { return gone(rustix::fs::unlinkat(parent, own_name, AtFlags::REMOVEDIR)) };
        let up = rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty())?;
        // Somebody may have moved the directory to where we have no business.
        if number(&up)? != outer.number {
            return Err(Errno::STALE);
        }
        gone(rustix::fs::unlinkat(&up, own_name, AtFlags::REMOVEDIR))?;
        (at, own) = (up, outer);
    }
}

/// A directory that is being emptied. All of a tree are on one file system, where its number says which it is.
struct Level {
    name: Vec<u8>,
    number: u64,
}

fn number(dir: &OwnedFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(dir)?.st_ino)
}

enum Removed {
    /// It is not there any more.
    Gone,
    /// It is a directory that is not empty.
    Filled,
}

fn remove_one(dir: &OwnedFd, name: &OsStr) -> Result<Removed, Errno> {
    match gone(rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Err(Errno::ISDIR) => {}
        other => return other.map(|()| Removed::Gone),
    }
    match gone(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Removed::Filled),
        other => other.map(|()| Removed::Gone),
    }
}

/// Removes what a directory holds, up to the first directory that is not empty: its name.
fn empty(dir: &OwnedFd) -> Result<Option<CString>, Errno> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        if let Removed::Filled = remove_one(dir, OsStr::from_bytes(name.to_bytes()))? {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Opens a directory of another, refused where something is mounted on it.
fn descend(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(dir, name, DIRECTORY, Mode::empty(), resolve)
}

fn gone(removed: Result<(), Errno>) -> Result<(), Errno> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::mount::{UnmountFlags, mount_bind, unmount};

    use super::*;

    #[test]
    fn a_tree_goes_and_what_links_point_to_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (tree, kept) = (dir.path().join("tree"), dir.path().join("kept"));
        fs::create_dir_all(tree.join("a/b/c")).expect("made");
        fs::create_dir_all(tree.join("a/empty")).expect("made");
        fs::create_dir(&kept).expect("made");
        fs::write(kept.join("data"), "d").expect("written");
        fs::write(tree.join("a/b/c/file"), "f").expect("written");
        symlink(&kept, tree.join("a/b/link")).expect("linked");
        symlink("absent", tree.join("broken")).expect("linked");
        remove_tree(&tree).expect("removed");
        remove_tree(&tree).expect("again is fine");
        remove_tree(&tree.join("below/it")).expect("and so is what has no parent");
        assert!(!tree.exists() && kept.join("data").exists());
    }

    #[test]
    fn what_is_mounted_in_a_tree_is_never_reached() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (tree, claim) = (dir.path().join("tree"), dir.path().join("claim"));
        fs::create_dir_all(tree.join("a/part")).expect("made");
        fs::create_dir(&claim).expect("made");
        fs::write(claim.join("data"), "d").expect("written");
        mount_bind(&claim, tree.join("a/part")).expect("mounted");
        let refused = remove_tree(&tree);
        let root_refused = remove_tree(&tree.join("a/part"));
        unmount(tree.join("a/part"), UnmountFlags::DETACH).expect("unmounted");
        let refused = refused.expect_err("something is mounted").to_string();
        assert!(refused.starts_with("something is still mounted in "), "{refused}");
        root_refused.expect_err("neither as the tree itself");
        assert_eq!(fs::read_to_string(claim.join("data")).expect("still there"), "d");
        remove_tree(&tree).expect("removed");
    }

    #[test]
    fn a_tree_may_be_deeper_than_there_are_descriptors() {
        const LEVELS: usize = 2000;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).expect("made");
        let mut at = rustix::fs::openat(CWD, &tree, DIRECTORY, Mode::empty()).expect("open");
        for _ in 0..LEVELS {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).expect("made");
            at = rustix::fs::openat(&at, "d", DIRECTORY, Mode::empty()).expect("open");
        }
        drop(at);
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }
}
