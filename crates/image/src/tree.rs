//! A directory tree that is filled by someone who is not trusted. Every path is resolved by the kernel
//! below the tree's root, whatever symbolic links it holds; nothing outside is ever touched.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dev, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// How a directory is opened to name what is in it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Marks a directory of an upper layer that hides what lower layers have there.
const OPAQUE: &str = "trusted.overlay.opaque";

/// Most directories above one another. Far below what a path of the kernel's length could name: every further step
/// costs whoever resolves it, and links let a layer of few bytes go deeper than any path.
pub(crate) const DEPTH_MAX: usize = 512;

/// How often a path is resolved anew when the kernel could not be sure of it.
const RESOLVE_TRIES_MAX: u32 = 128;

/// The tree.
pub(crate) struct Tree {
    root: OwnedFd,
    /// The directory used last: entries of an archive mostly follow each other in one directory.
    recent: Option<(Vec<u8>, OwnedFd)>,
}

/// Owner, permissions and time of a new entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u32,
    pub(crate) mtime_s: i64,
}

/// Path of an entry inside the tree: the directory it is in, and its name there; both relative and clean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) parent: &'a [u8],
    pub(crate) name: &'a [u8],
}

impl<'a> Place<'a> {
    /// Splits a clean relative path; the root itself has no place.
    pub(crate) fn of(path: &'a [u8]) -> Option<Self> {
        if path.is_empty() {
            return None;
        }
        Some(match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => Self { parent: &path[..at], name: &path[at + 1..] },
            None => Self { parent: b"", name: path },
        })
    }

    fn os_name(&self) -> &'a OsStr {
        OsStr::from_bytes(self.name)
    }
}

/// An I/O error that says that a directory lies too deep, however it was reached.
#[derive(Debug, thiserror::Error)]
#[error("deeper than {DEPTH_MAX} directories")]
pub(crate) struct TooDeep;

/// What is already at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Present {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

impl Tree {
    /// The tree below an existing directory.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            root: rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
            recent: None,
        })
    }

    /// A regular file, empty; whatever file was at its place is replaced.
    pub(crate) fn create_file(&mut self, place: Place<'_>) -> io::Result<File> {
        self.make_room(place)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.directory(place.parent)?, place.os_name(), flags, Mode::RUSR | Mode::WUSR)?;
        Ok(File::from(fd))
    }

    /// A directory; one that is there already takes the attributes.
    pub(crate) fn directory_at(&mut self, place: Place<'_>, attributes: &Attributes) -> io::Result<OwnedFd> {
        let present = self.present(place)?;
        if present != Present::Directory {
            self.make_room(place)?;
            rustix::fs::mkdirat(self.directory(place.parent)?, place.os_name(), Mode::RWXU)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.directory(place.parent)?, place.os_name(), flags, Mode::empty())?;
        if present == Present::Whiteout {
            set_opaque(fd.as_fd())?;
        }
        set_attributes(fd.as_fd(), attributes)?;
        Ok(fd)
    }

    /// Attributes of the tree's root.
    pub(crate) fn root_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        set_attributes(self.root.as_fd(), attributes)
    }

    /// A symbolic link; its target is only text here, and may be anything.
    pub(crate) fn symlink(&mut self, place: Place<'_>, target: &[u8], attributes: &Attributes) -> io::Result<()> {
        self.make_room(place)?;
        let directory = self.directory(place.parent)?;
        rustix::fs::symlinkat(OsStr::from_bytes(target), directory, place.os_name())?;
        set_link_attributes(directory, place.os_name(), attributes)
    }

    /// Another name for a file of this tree; never for what a symbolic link at `target` points to.
    pub(crate) fn hard_link(&mut self, place: Place<'_>, target: Place<'_>) -> io::Result<()> {
        if place == target {
            return Ok(());
        }
        let source = self.open_directory(target.parent)?;
        self.make_room(place)?;
        Ok(rustix::fs::linkat(
            source,
            target.os_name(),
            self.directory(place.parent)?,
            place.os_name(),
            AtFlags::empty(),
        )?)
    }

    /// A named pipe.
    pub(crate) fn fifo(&mut self, place: Place<'_>, attributes: &Attributes) -> io::Result<()> {
        self.make_room(place)?;
        let directory = self.directory(place.parent)?;
        rustix::fs::mknodat(directory, place.os_name(), FileType::Fifo, Mode::from_raw_mode(attributes.mode), 0)?;
        rustix::fs::chmodat(directory, place.os_name(), Mode::from_raw_mode(attributes.mode), AtFlags::empty())?;
        set_link_attributes(directory, place.os_name(), attributes)
    }

    /// Hides what lower layers have at a place. Where this layer has something there itself, that stays: a
    /// directory becomes opaque, anything else hides what is below as it is.
    pub(crate) fn whiteout(&mut self, place: Place<'_>) -> io::Result<()> {
        match self.present(place)? {
            Present::Nothing => Ok(rustix::fs::mknodat(
                self.directory(place.parent)?,
                place.os_name(),
                FileType::CharacterDevice,
                Mode::empty(),
                0,
            )?),
            Present::Directory => {
                let fd = rustix::fs::openat(
                    self.directory(place.parent)?,
                    place.os_name(),
                    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                    Mode::empty(),
                )?;
                set_opaque(fd.as_fd())
            }
            Present::Whiteout | Present::Other => Ok(()),
        }
    }

    /// Hides everything that lower layers have in a directory.
    pub(crate) fn opaque(&mut self, directory: &[u8]) -> io::Result<()> {
        let fd = rustix::fs::openat(
            self.directory(directory)?,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        set_opaque(fd.as_fd())
    }

    /// Sets a directory's time, which filling it has changed.
    pub(crate) fn set_directory_mtime(&mut self, path: &[u8], mtime_s: i64) -> io::Result<()> {
        let directory = self.directory(path)?;
        Ok(rustix::fs::utimensat(directory, ".", &times(mtime_s), AtFlags::empty())?)
    }

    /// Whether something other than a directory is at a place directly below the root.
    pub(crate) fn is_no_directory(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(FileType::from_raw_mode(stat.st_mode) != FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn present(&mut self, place: Place<'_>) -> io::Result<Present> {
        match rustix::fs::statat(self.directory(place.parent)?, place.os_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Present::Directory,
                FileType::CharacterDevice if stat.st_rdev == Dev::default() => Present::Whiteout,
                _ => Present::Other,
            }),
            Err(Errno::NOENT) => Ok(Present::Nothing),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes away what is at a place. A directory is not: no honest layer has a path twice in that way.
    fn make_room(&mut self, place: Place<'_>) -> io::Result<()> {
        match self.present(place)? {
            Present::Nothing => Ok(()),
            Present::Directory => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            Present::Whiteout | Present::Other => {
                rustix::fs::unlinkat(self.directory(place.parent)?, place.os_name(), AtFlags::empty())?;
                // It may have been a link on the way to the directory used last.
                self.recent = None;
                Ok(())
            }
        }
    }

    /// The directory at a path, made where it is missing.
    fn directory(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if path.is_empty() {
            return Ok(self.root.as_fd());
        }
        if self.recent.as_ref().is_none_or(|(known, _)| known != path) {
            let fd = match self.open_through(path, ResolveFlags::NO_SYMLINKS) {
                Ok(fd) => fd,
                Err(_) => self.reach_directory(path)?,
            };
            self.recent = Some((path.to_owned(), fd));
        }
        Ok(self.recent.as_ref().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// The directory at a path that leads through links, or is missing and is made.
    fn reach_directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let fd = match self.open_directory(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_directories(path)?,
            opened => opened?,
        };
        self.check_depth(&fd)?;
        Ok(fd)
    }

    /// Climbs to the root: where links have led the path does not tell how deep it is.
    fn check_depth(&self, directory: &OwnedFd) -> io::Result<()> {
        let root = rustix::fs::fstat(&self.root)?.st_ino;
        let mut at = rustix::fs::openat(directory, ".", DIRECTORY, Mode::empty())?;
        for _ in 0..=DEPTH_MAX {
            if rustix::fs::fstat(&at)?.st_ino == root {
                return Ok(());
            }
            at = rustix::fs::openat(&at, "..", DIRECTORY, Mode::empty())?;
        }
        Err(io::Error::other(TooDeep))
    }

    fn open_directory(&self, path: &[u8]) -> io::Result<OwnedFd> {
        self.open_through(path, ResolveFlags::empty())
    }

    fn open_through(&self, path: &[u8], refused: ResolveFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | refused;
        let mut tries = RESOLVE_TRIES_MAX;
        loop {
            tries -= 1;
            match rustix::fs::openat2(&self.root, OsStr::from_bytes(path), DIRECTORY, Mode::empty(), resolve) {
                // Something was renamed somewhere while a `..` in a link was followed: the kernel wants to start over.
                Err(Errno::AGAIN) if tries > 0 => {}
                opened => return Ok(opened?),
            }
        }
    }

    fn make_directories(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut at = self.open_directory(b"")?;
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end).chain([path.len()]);
        let mut start = 0;
        for end in ends {
            let name = OsStr::from_bytes(&path[start..end]);
            let open = || rustix::fs::openat(&at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
            at = match open() {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o755))?;
                    open()?
                }
                // A link, if it is anything that leads on.
                Err(Errno::NOTDIR) => self.open_directory(&path[..end])?,
                opened => opened?,
            };
            start = end + 1;
        }
        Ok(at)
    }
}

/// Owner first: changing it clears set-user-id bits and capabilities.
pub(crate) fn set_attributes(fd: BorrowedFd<'_>, attributes: &Attributes) -> io::Result<()> {
    rustix::fs::fchown(fd, Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)))?;
    rustix::fs::fchmod(fd, Mode::from_raw_mode(attributes.mode & 0o7777))?;
    Ok(rustix::fs::futimens(fd, &times(attributes.mtime_s))?)
}

/// An extended attribute.
pub(crate) fn set_xattr(fd: BorrowedFd<'_>, name: &str, value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?)
}

fn set_link_attributes(directory: BorrowedFd<'_>, name: &OsStr, attributes: &Attributes) -> io::Result<()> {
    rustix::fs::chownat(
        directory,
        name,
        Some(Uid::from_raw(attributes.uid)),
        Some(Gid::from_raw(attributes.gid)),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(rustix::fs::utimensat(directory, name, &times(attributes.mtime_s), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn set_opaque(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_xattr(fd, OPAQUE, b"y")
}

fn times(mtime_s: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime_s, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Whether a directory of a layer hides what lower layers have under the same path.
pub(crate) fn is_opaque(directory: &Path) -> bool {
    let mut value = [0_u8; 1];
    matches!(rustix::fs::lgetxattr(directory, OPAQUE, &mut value), Ok(1)) && value == *b"y"
}
