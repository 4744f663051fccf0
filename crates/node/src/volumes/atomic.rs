//! Volumes whose files change all at once: the files lie in a dated directory, `..data` points at it,
//! and every visible name is a link through `..data` (contract `pods.md` 5.7).

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::Path;

use super::content::{Content, Files};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";
/// Names of our own, which no file of a volume may have.
const OWN: &str = "..";

/// What a directory, a file and the volume's root allow the pod's group, at least: such a volume is read only
/// (contract `pods.md` 5.10).
const DIRECTORY: u32 = 0o2550;
const FILE: u32 = 0o440;

/// Makes `dir` show exactly `files`, to the pod's group where it has one. Nothing is written when it does already;
/// what an earlier attempt left unfinished is taken away.
pub(super) fn write(dir: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    let access = Access { group };
    access.give_root(dir)?;
    if !access.is_current(dir, files) {
        let now = jiff::Timestamp::now();
        let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
        let name = format!("{stamp}.{}", now.subsec_nanosecond().unsigned_abs());
        access.lay_out(&dir.join(&name), files)?;
        point_to(dir, &name)?;
    }
    link_names(dir, files)?;
    sweep(dir)
}

/// Whose the files are besides root's.
struct Access {
    group: Option<u32>,
}

impl Access {
    fn mode(&self, declared: u32, for_group: u32) -> u32 {
        if self.group.is_some() { declared | for_group } else { declared }
    }

    fn has(&self, meta: &Metadata, mode: u32) -> bool {
        meta.permissions().mode() & 0o7777 == mode && self.group.is_none_or(|gid| meta.gid() == gid)
    }

    fn give(&self, path: &Path, mode: u32) -> io::Result<()> {
        if self.group.is_some() {
            chown(path, None, self.group)?;
        }
        // A change of the group takes some bits away.
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn give_root(&self, dir: &Path) -> io::Result<()> {
        let meta = fs::metadata(dir)?;
        let mode = self.mode(meta.permissions().mode() & 0o7777, DIRECTORY);
        if self.has(&meta, mode) { Ok(()) } else { self.give(dir, mode) }
    }

    /// Writes the files where nobody looks yet.
    fn lay_out(&self, fresh: &Path, files: &Files) -> io::Result<()> {
        let make_directory = |path: &Path| {
            match fs::create_dir(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                made => made?,
            }
            self.give(path, self.mode(0o755, DIRECTORY))
        };
        make_directory(fresh)?;
        for (path, content) in files {
            let path = Path::new(path);
            let parents: Vec<&Path> =
                path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
            parents.into_iter().rev().try_for_each(|parent| make_directory(&fresh.join(parent)))?;
            let target = fresh.join(path);
            File::options().write(true).create_new(true).mode(0o600).open(&target)?.write_all(&content.bytes)?;
            self.give(&target, self.mode(content.mode, FILE))?;
        }
        Ok(())
    }

    fn is_current(&self, dir: &Path, files: &Files) -> bool {
        let data = dir.join(DATA);
        let same = |(path, content): (&String, &Content)| {
            let target = data.join(path);
            let has = |meta: Metadata| self.has(&meta, self.mode(content.mode, FILE));
            fs::metadata(&target).is_ok_and(has) && fs::read(&target).is_ok_and(|bytes| bytes == content.bytes)
        };
        data.symlink_metadata().is_ok() && files.iter().all(same) && count_files(&data) == files.len()
    }
}

/// Has `..data` point at a directory, in one step.
fn point_to(dir: &Path, name: &str) -> io::Result<()> {
    let pointer = dir.join(DATA_NEW);
    stead_disk::remove_tree(&pointer)?;
    symlink(name, &pointer)?;
    fs::rename(&pointer, dir.join(DATA))
}

/// One link per first path element; links to what is gone are dropped.
fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with(OWN) && !wanted.contains(name.as_ref()) {
            stead_disk::remove_tree(&entry.path())?;
        }
    }
    for name in wanted {
        if dir.join(name).symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
    }
    Ok(())
}

/// Takes away what `..data` does not point at: the data of before, and what a crash has left.
fn sweep(dir: &Path) -> io::Result<()> {
    let current = fs::read_link(dir.join(DATA))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(OWN) && name != DATA && name != current.as_os_str() {
            stead_disk::remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn count_files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.filter_map(Result::ok).map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)], mode: u32) -> Files {
        let content = |text: &str| Content { bytes: text.as_bytes().to_vec(), mode };
        pairs.iter().map(|(path, text)| ((*path).to_owned(), content(text))).collect()
    }

    fn names(dir: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(dir).expect("there");
        entries.map(|entry| entry.expect("one").file_name().into_string().expect("text")).collect()
    }

    #[test]
    fn names_point_through_data_and_follow_a_change_all_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path();
        write(dir, &files(&[("a", "1"), ("sub/b", "2")], 0o644), None).expect("written");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("there"), "2");
        let first = fs::read_link(dir.join(DATA)).expect("a link");
        write(dir, &files(&[("a", "1"), ("sub/b", "2")], 0o644), None).expect("unchanged");
        assert_eq!(fs::read_link(dir.join(DATA)).expect("a link"), first, "equal content is not rewritten");
        write(dir, &files(&[("a", "9")], 0o644), None).expect("written");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("there"), "9");
        assert!(dir.join("sub").symlink_metadata().is_err(), "stale names are gone");
        assert!(!dir.join(first).exists(), "and so is the old data");
    }

    #[test]
    fn a_group_may_read_from_the_first_moment_and_equal_content_is_not_rewritten() {
        assert!(rustix::process::geteuid().is_root(), "needs root");
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path();
        let shown = |path: &str| {
            let meta = fs::metadata(dir.join(path)).expect("there");
            (meta.gid(), meta.permissions().mode() & 0o7777)
        };
        let secret = files(&[("sub/key", "k")], 0o400);
        write(dir, &secret, Some(4242)).expect("written");
        assert_eq!(shown("sub/key"), (4242, 0o440), "the group reads and does not write");
        assert_eq!([shown("sub"), shown("..data")], [(4242, 0o2755); 2]);
        assert_eq!((shown("").0, shown("").1 & DIRECTORY), (4242, DIRECTORY));
        let before = (fs::read_link(dir.join(DATA)).expect("a link"), fs::metadata(dir).expect("there").ctime_nsec());
        write(dir, &secret, Some(4242)).expect("unchanged");
        let after = (fs::read_link(dir.join(DATA)).expect("a link"), fs::metadata(dir).expect("there").ctime_nsec());
        assert_eq!(before, after);
    }

    #[test]
    fn what_a_crash_left_is_taken_away_and_what_it_left_out_is_made_up_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path();
        let content = files(&[("a", "1")], 0o644);
        write(dir, &content, None).expect("written");
        let current = fs::read_link(dir.join(DATA)).expect("a link").to_string_lossy().into_owned();
        // Crashes: before the swap, during it, and right after it.
        fs::create_dir(dir.join("..2026_01_01_00_00_00.1")).expect("made");
        fs::write(dir.join("..2026_01_01_00_00_00.1/a"), "half").expect("written");
        symlink("..2026_01_01_00_00_00.1", dir.join(DATA_NEW)).expect("linked");
        fs::remove_file(dir.join("a")).expect("removed");
        write(dir, &content, None).expect("tidied up");
        assert_eq!(names(dir), BTreeSet::from([current, DATA.to_owned(), "a".to_owned()]));
        assert_eq!(fs::read_to_string(dir.join("a")).expect("there"), "1");
    }
}
