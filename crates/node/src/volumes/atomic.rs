//! Volumes whose files change all at once: the files lie in a dated directory, `..data` points at it,
//! and every visible name is a link through `..data` (contract `pods.md` 5.7).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::content::Files;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly `files`. Nothing is written when it does already.
pub(super) fn write(dir: &Path, files: &Files) -> io::Result<()> {
    if is_current(dir, files) {
        return Ok(());
    }
    let now = jiff::Timestamp::now();
    let stamp = now.strftime("..%Y_%m_%d_%H_%M_%S").to_string();
    let name = format!("{stamp}.{}", now.subsec_nanosecond().unsigned_abs());
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, file) in files {
        let target = fresh.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    let old = fs::read_link(dir.join(DATA)).ok();
    let pointer = dir.join(DATA_NEW);
    if pointer.symlink_metadata().is_ok() {
        fs::remove_file(&pointer)?;
    }
    symlink(&name, &pointer)?;
    fs::rename(&pointer, dir.join(DATA))?;
    link_names(dir, files)?;
    match old {
        Some(old) if old.as_os_str() != name.as_str() => fs::remove_dir_all(dir.join(old)),
        Some(_) | None => Ok(()),
    }
}

/// One link per first path element; links to what is gone are dropped.
fn link_names(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        if dir.join(name).symlink_metadata().is_err() {
            symlink(Path::new(DATA).join(name), dir.join(name))?;
        }
    }
    Ok(())
}

fn is_current(dir: &Path, files: &Files) -> bool {
    let data = dir.join(DATA);
    if data.symlink_metadata().is_err() {
        return false;
    }
    let same = |(path, file): (&String, &super::content::Content)| {
        let target = data.join(path);
        let mode = fs::metadata(&target).map(|meta| meta.permissions().mode() & 0o7777).ok();
        mode == Some(file.mode) && fs::read(&target).is_ok_and(|bytes| bytes == file.bytes)
    };
    files.iter().all(same) && count_files(&data) == files.len()
}

fn count_files(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.filter_map(Result::ok).map(|entry| if entry.path().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::content::Content;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let content = |text: &str| Content { bytes: text.as_bytes().to_vec(), mode: 0o644 };
        pairs.iter().map(|(path, text)| ((*path).to_owned(), content(text))).collect()
    }

    #[test]
    fn names_point_through_data_and_follow_a_change_all_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let dir = dir.path();
        write(dir, &files(&[("a", "1"), ("sub/b", "2")])).expect("written");
        assert_eq!(fs::read_to_string(dir.join("sub/b")).expect("there"), "2");
        let first = fs::read_link(dir.join(DATA)).expect("a link");
        write(dir, &files(&[("a", "1"), ("sub/b", "2")])).expect("unchanged");
        assert_eq!(fs::read_link(dir.join(DATA)).expect("a link"), first, "equal content is not rewritten");
        write(dir, &files(&[("a", "9")])).expect("written");
        assert_eq!(fs::read_to_string(dir.join("a")).expect("there"), "9");
        assert!(dir.join("sub").symlink_metadata().is_err(), "stale names are gone");
        assert!(!dir.join(first).exists(), "and so is the old data");
    }
}
