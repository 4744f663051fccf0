//! One layer: from packed bytes to a directory, in one pass that inflates, hashes and writes. Whiteouts
//! become the ones of overlayfs. What an untrusted archive may not do is refused here, and bounded.

mod inflated;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;

use inflated::{Excess, Inflated, Metered, too_large};
use tar::{Archive, Entry, EntryType};

use crate::LayerError;
use crate::digest::{Digest, HashingReader};
use crate::tree::{self, Attributes, DEPTH_MAX, Place, TooDeep, Tree};

/// How much a layer may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Most bytes of its files.
    pub(crate) bytes_max: u64,
    /// Most entries.
    pub(crate) entries_max: u64,
    /// Most times its packed size it may unpack to, once it is larger than `ratio_free_bytes`.
    pub(crate) ratio_max: u64,
    /// So many bytes may come from however few.
    pub(crate) ratio_free_bytes: u64,
    /// Most bytes of headers before one entry: long names and extended attributes are held in memory.
    pub(crate) header_bytes_max: u64,
}

/// The limits of every layer that is pulled or imported.
pub(crate) const LIMITS: Limits = Limits {
    bytes_max: 64 << 30,
    entries_max: 2_000_000,
    ratio_max: 200,
    ratio_free_bytes: 1 << 30,
    header_bytes_max: 4 << 20,
};

/// Longest path of an entry, as the kernel has it.
const PATH_BYTES_MAX: usize = 4096;

/// Bytes moved at a time.
const BUFFER_BYTES: usize = 128 << 10;

/// Directories over which the runtime mounts; a link there would lead it astray.
const MOUNTED_OVER: [&str; 3] = ["dev", "proc", "sys"];

/// Extended attributes that are taken over. Others, `trusted.overlay.*` above all, would change what the kernel
/// makes of the layer.
const XATTR_KEPT: [&str; 2] = ["security.capability", "user."];

/// How extended attributes are written in archives.
const XATTR_RECORD: &str = "SCHILY.xattr.";

const WHITEOUT: &[u8] = b".wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";
/// Names of other union file systems' own books.
const WHITEOUT_META: &[u8] = b".wh..wh.";

/// What came out.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// Digest of the unpacked archive.
    pub(crate) diff_id: Digest,
    /// Bytes of its files.
    pub(crate) bytes: u64,
}

/// Unpacks a layer, packed with gzip, zstd or not at all, into an empty directory. The packed bytes are read
/// to their end.
pub(crate) fn unpack(packed: impl Read, directory: &Path, limits: &Limits) -> Result<Unpacked, LayerError> {
    let io_error = |action: &str| {
        let action = action.to_owned();
        move |source| layer_error(action, source)
    };
    let mut packed = Metered::new(packed);
    let mut layer = Layer {
        tree: Tree::open(directory).map_err(io_error("open the layer's directory"))?,
        limits: *limits,
        bytes: 0,
        entries: 0,
        directories: BTreeMap::new(),
        buffer: vec![0; BUFFER_BYTES],
    };
    let allowance = Rc::new(Cell::new(limits.header_bytes_max));
    let inflated = Inflated::new(&mut packed, *limits, Rc::clone(&allowance)).map_err(io_error("inflate"))?;
    let mut archive = Archive::new(HashingReader::new(inflated));
    for entry in archive.entries().map_err(io_error("read the archive"))? {
        let mut entry = entry.map_err(io_error("read the archive"))?;
        allowance.set(u64::MAX);
        layer.take(&mut entry)?;
        io::copy(&mut entry, &mut io::sink()).map_err(io_error("read the archive"))?;
        allowance.set(limits.header_bytes_max);
    }
    allowance.set(u64::MAX);
    let diff_id = archive.into_inner().finish().map_err(io_error("read the archive"))?;
    // Whatever follows the archive: the sender's own check of the packed bytes comes with their end.
    io::copy(&mut packed, &mut io::sink()).map_err(io_error("read the archive"))?;
    layer.finish()?;
    Ok(Unpacked { diff_id, bytes: layer.bytes })
}

/// A layer being filled.
struct Layer {
    limits: Limits,
    tree: Tree,
    bytes: u64,
    entries: u64,
    /// Times of directories, to be set when nothing is added to them any more.
    directories: BTreeMap<Vec<u8>, i64>,
    buffer: Vec<u8>,
}

impl Layer {
    fn take<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), LayerError> {
        self.entries += 1;
        if self.entries > self.limits.entries_max {
            return Err(LayerError::TooLarge { what: "entries", max: self.limits.entries_max });
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path =
            clean_path(&entry.path_bytes()).map_err(|reason| LayerError::Unsafe { path: shown.clone(), reason })?;
        self.place(entry, &path).map_err(|error| match error {
            Refused::Unsafe(reason) => LayerError::Unsafe { path: shown, reason },
            Refused::Io(source) => layer_error(format!("unpack {shown:?}"), source),
        })
    }

    fn place<R: Read>(&mut self, entry: &mut Entry<'_, R>, path: &[u8]) -> Result<(), Refused> {
        let kind = entry.header().entry_type();
        let attributes = attributes(entry)?;
        let Some(place) = Place::of(path) else {
            return if kind.is_dir() {
                Ok(self.tree.root_attributes(&attributes)?)
            } else {
                Err(Refused::Unsafe("replaces the root".to_owned()))
            };
        };
        if let Some(hidden) = place.name.strip_prefix(WHITEOUT) {
            return self.whiteout(place, hidden);
        }
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(entry, place, &attributes),
            EntryType::Directory => {
                let xattrs = xattrs(entry)?;
                let fd = self.tree.directory_at(place, &attributes)?;
                self.directories.insert(path.to_owned(), attributes.mtime_s);
                set_xattrs(fd.as_fd(), &xattrs)
            }
            EntryType::Symlink => Ok(self.tree.symlink(place, &target(entry)?, &attributes)?),
            EntryType::Link => {
                let target = clean_path(&target(entry)?).map_err(Refused::Unsafe)?;
                let target = Place::of(&target).ok_or_else(|| Refused::Unsafe("links to the root".to_owned()))?;
                Ok(self.tree.hard_link(place, target)?)
            }
            EntryType::Fifo => Ok(self.tree.fifo(place, &attributes)?),
            // Containers get their devices from the runtime; a device node in an image is of no use but to an attacker.
            EntryType::Char | EntryType::Block => Ok(()),
            // Pax and GNU headers have been applied by the reader; unknown kinds are ignored as tar does.
            _ => Ok(()),
        }
    }

    fn whiteout(&mut self, place: Place<'_>, hidden: &[u8]) -> Result<(), Refused> {
        if place.name == WHITEOUT_OPAQUE {
            return Ok(self.tree.opaque(place.parent)?);
        }
        if place.name.starts_with(WHITEOUT_META) {
            return Ok(());
        }
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(Refused::Unsafe("hides no name".to_owned()));
        }
        Ok(self.tree.whiteout(Place { parent: place.parent, name: hidden })?)
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        place: Place<'_>,
        attributes: &Attributes,
    ) -> Result<(), Refused> {
        let xattrs = xattrs(entry)?;
        let mut file = self.tree.create_file(place)?;
        loop {
            let read = entry.read(&mut self.buffer)?;
            if read == 0 {
                break;
            }
            self.bytes += read as u64;
            if self.bytes > self.limits.bytes_max {
                return Err(Refused::Io(too_large("bytes", self.limits.bytes_max)));
            }
            file.write_all(&self.buffer[..read])?;
        }
        tree::set_attributes(file.as_fd(), attributes)?;
        set_xattrs(file.as_fd(), &xattrs)
    }

    fn finish(&mut self) -> Result<(), LayerError> {
        for (path, mtime_s) in std::mem::take(&mut self.directories) {
            self.tree
                .set_directory_mtime(&path, mtime_s)
                .map_err(|source| layer_error("set times".to_owned(), source))?;
        }
        for name in MOUNTED_OVER {
            if self.tree.is_no_directory(name).map_err(|source| layer_error(format!("look at {name:?}"), source))? {
                return Err(LayerError::Unsafe { path: name.to_owned(), reason: "must be a directory".to_owned() });
            }
        }
        Ok(())
    }
}

enum Refused {
    Unsafe(String),
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            // The kernel's word for a path that runs through something that is no directory, or a loop of links.
            Some(libc_errno::ENOTDIR | libc_errno::ELOOP | libc_errno::EXDEV | libc_errno::EISDIR) => {
                Self::Unsafe(error.to_string())
            }
            _ if error.get_ref().is_some_and(|inner| inner.is::<TooDeep>()) => Self::Unsafe(error.to_string()),
            _ if error.kind() == io::ErrorKind::IsADirectory => {
                Self::Unsafe("replaces a directory of the same layer".to_owned())
            }
            _ => Self::Io(error),
        }
    }
}

/// The few numbers that matter here.
mod libc_errno {
    pub(super) const EXDEV: i32 = rustix::io::Errno::XDEV.raw_os_error();
    pub(super) const ENOTDIR: i32 = rustix::io::Errno::NOTDIR.raw_os_error();
    pub(super) const EISDIR: i32 = rustix::io::Errno::ISDIR.raw_os_error();
    pub(super) const ELOOP: i32 = rustix::io::Errno::LOOP.raw_os_error();
}

/// A path without leading slashes, empty and `.` components; `..` is refused.
fn clean_path(path: &[u8]) -> Result<Vec<u8>, String> {
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("longer than {PATH_BYTES_MAX} bytes"));
    }
    if path.contains(&0) {
        return Err("holds a zero byte".to_owned());
    }
    let components: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|component| !component.is_empty() && *component != b".").collect();
    if components.contains(&b"..".as_slice()) {
        return Err("leads upwards".to_owned());
    }
    if components.len() > DEPTH_MAX {
        return Err(TooDeep.to_string());
    }
    Ok(components.join(&b'/'))
}

fn target<R: Read>(entry: &Entry<'_, R>) -> Result<Vec<u8>, Refused> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() && target.len() <= PATH_BYTES_MAX && !target.contains(&0) => {
            Ok(target.into_owned())
        }
        Some(_) | None => Err(Refused::Unsafe("links to nothing".to_owned())),
    }
}

fn attributes<R: Read>(entry: &Entry<'_, R>) -> Result<Attributes, Refused> {
    let header = entry.header();
    let id = |id: u64| {
        u32::try_from(id)
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| Refused::Unsafe(format!("owner {id} does not exist")))
    };
    Ok(Attributes {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()?,
        mtime_s: i64::try_from(header.mtime()?).unwrap_or(i64::MAX),
    })
}

fn xattrs<R: Read>(entry: &mut Entry<'_, R>) -> Result<Vec<(String, Vec<u8>)>, Refused> {
    let mut kept = Vec::new();
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        let name = record.key().ok().and_then(|key| key.strip_prefix(XATTR_RECORD));
        if let Some(name) = name.filter(|name| XATTR_KEPT.iter().any(|kept| name.starts_with(kept))) {
            kept.push((name.to_owned(), record.value_bytes().to_owned()));
        }
    }
    Ok(kept)
}

fn set_xattrs(fd: std::os::fd::BorrowedFd<'_>, xattrs: &[(String, Vec<u8>)]) -> Result<(), Refused> {
    for (name, value) in xattrs {
        tree::set_xattr(fd, name, value)?;
    }
    Ok(())
}

fn layer_error(action: String, source: io::Error) -> LayerError {
    match source.get_ref().and_then(|inner| inner.downcast_ref::<Excess>()) {
        Some(excess) => LayerError::TooLarge { what: excess.what, max: excess.max },
        None => LayerError::Io { action, source },
    }
}

#[cfg(test)]
mod tests;
