//! What is mounted where, as `/proc/self/mountinfo` tells it (proc(5)).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Kind of file system, as in `/proc/filesystems`.
    pub kind: String,
    /// Options of the file system (not of this mount of it), separated by commas.
    pub options: String,
}

/// Every mount this process sees, in the order they were made.
pub fn table() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// The mounts that a `mountinfo` lists. Paths need not be text; a line of another form is left out.
pub fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// Where mounts are at or below a directory, innermost first. One that is not there has none.
pub fn below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    // The table knows paths without links only.
    let dir = match fs::canonicalize(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        dir => dir?,
    };
    let points = table()?.into_iter().map(|mount| mount.point);
    let mut below: Vec<PathBuf> = points.filter(|point| point.starts_with(&dir)).collect();
    // What was mounted later may cover what was mounted at the same place before.
    below.reverse();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    Ok(below)
}

/// Whether something is mounted exactly here.
pub fn is_mounted(path: &Path) -> io::Result<bool> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        path => path?,
    };
    Ok(table()?.iter().any(|mount| mount.point == path))
}

/// Unmounts what is mounted at or below a directory, but for what `keep` names. What is in use stays
/// for those who use it.
///
/// # Errors
/// The first that could not be unmounted, with its path.
pub fn unmount_below(dir: &Path, keep: impl Fn(&Path) -> bool) -> io::Result<()> {
    let points: Vec<PathBuf> = below(dir)?.into_iter().filter(|point| !keep(point)).collect();
    let failed = |point: &Path, error: io::Error| {
        io::Error::new(error.kind(), format!("cannot unmount {}: {error}", point.display()))
    };
    // All of them before any: what is unmounted on a mount goes from each of its peers, too.
    points.iter().try_for_each(|point| part(point).map_err(|error| failed(point, error)))?;
    points.iter().try_for_each(|point| detach(point).map_err(|error| failed(point, error.into())))
}

/// Unmounts what is mounted exactly here, with all that is mounted on it; nothing is fine. What was bound
/// here keeps its own mounts.
pub fn unmount(point: &Path) -> io::Result<()> {
    part(point)?;
    match detach(point) {
        // Nothing is mounted there.
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

/// Parts a mount, and those on it, from their peers: a directory of the machine that is shown here is one.
fn part(point: &Path) -> io::Result<()> {
    match rustix::mount::mount_change(point, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC) {
        // Nothing is mounted there.
        Err(Errno::INVAL) => Ok(()),
        other => Ok(other?),
    }
}

fn detach(point: &Path) -> Result<(), Errno> {
    rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// `<id> <parent> <device> <root> <point> <options> [<tags> …] - <kind> <source> <options>`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let point = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let kind = text(fields.next()?);
    let options = fields.nth(1).map(text).unwrap_or_default();
    Some(Mount { point: OsString::from_vec(unescape(point)).into(), kind, options })
}

/// The kernel writes blanks and backslashes of paths as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'\\').then(|| after.split_first_chunk::<3>()).flatten();
        match escaped.and_then(|(digits, after)| Some((octal(*digits)?, after))) {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

fn octal(digits: [u8; 3]) -> Option<u8> {
    let digits = std::str::from_utf8(&digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn every_escape_the_kernel_writes_is_read() {
        let table = b"30 1 0:26 / /a\\040b\\011c\\012d\\134e\\043 rw shared:1 master:2 - tmpfs none rw,size=1k\n\
            31 1 0:27 / /caf\xe9\\ rw - cgroup cgroup rw,cpu,cpuacct\n\
            torn 1 0:28\n";
        let found = parse(table);
        let points: Vec<&[u8]> = found.iter().map(|mount| mount.point.as_os_str().as_bytes()).collect();
        assert_eq!(points, [b"/a b\tc\nd\\e#".as_slice(), b"/caf\xe9\\"]);
        assert_eq!(
            (found[0].kind.as_str(), found[1].kind.as_str(), found[1].options.as_str()),
            ("tmpfs", "cgroup", "rw,cpu,cpuacct")
        );
    }

    #[test]
    fn mounts_are_found_and_taken_away_whatever_the_directory_is_called() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let odd = dir.path().join("with blank\tand\nline \\040 end");
        let (outer, inner) = (odd.join("outer"), odd.join("outer/inner"));
        std::fs::create_dir_all(&outer).expect("made");
        let mount = |at: &Path| {
            let none = rustix::mount::MountFlags::empty();
            rustix::mount::mount("stead-test", at, "tmpfs", none, c"size=64k").expect("mounted");
        };
        mount(&outer);
        std::fs::create_dir(&inner).expect("made");
        mount(&inner);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&odd, &link).expect("linked");

        assert_eq!(below(&link).expect("read"), [inner.clone(), outer.clone()]);
        assert!(is_mounted(&link.join("outer")).expect("read") && !is_mounted(&odd).expect("read"));
        unmount_below(&odd, |point| point == outer).expect("unmounted");
        assert_eq!(below(&odd).expect("read"), [outer]);
        unmount_below(&odd, |_| false).expect("unmounted");
        assert_eq!(below(&odd).expect("read"), [] as [&Path; 0]);
        assert_eq!(below(&dir.path().join("absent")).expect("none"), [] as [&Path; 0]);
    }

    #[test]
    fn a_directory_of_the_machine_that_was_shown_keeps_what_is_mounted_in_it() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let [shown, pod] = ["shown", "pod"].map(|name| dir.path().join(name));
        let [first, second] = ["first", "second"].map(|name| pod.join(name));
        for made in [&shown.join("disk"), &first, &second] {
            std::fs::create_dir_all(made).expect("made");
        }
        // As on most machines, where every mount is shared.
        rustix::mount::mount_bind(&shown, &shown).expect("mounted");
        rustix::mount::mount_change(&shown, MountPropagationFlags::SHARED).expect("shared");
        rustix::mount::mount("none", shown.join("disk"), "tmpfs", rustix::mount::MountFlags::empty(), c"")
            .expect("mounted");
        for part in [&first, &second] {
            rustix::mount::mount_bind_recursive(&shown, part).expect("mounted");
        }
        let gone = unmount(&first).and_then(|()| unmount(&first)).and_then(|()| unmount_below(&pod, |_| false));
        let (left, kept) = (below(&pod), is_mounted(&shown.join("disk")));
        unmount_below(&shown, |_| false).expect("unmounted");
        gone.expect("unmounted");
        assert_eq!(left.expect("read"), [] as [&Path; 0]);
        assert!(kept.expect("read"), "the machine's own mount is gone");
    }
}
