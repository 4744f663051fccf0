//! Replacing a small file: whoever reads it, also after a crash, sees the old content or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What a file's new content must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// This process: a crash of the machine makes the content meaningless.
    Process,
    /// The machine: on disk before [`replace`] returns.
    Machine,
}

/// Where the new content of a file is written before it takes its place. A crash may leave it behind; the
/// next [`replace`] of the file begins it anew.
pub fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    draft.into()
}

/// Gives the file at `path` this content and mode, making it if there is none. Its directory must be
/// there. Two calls for one file at once are the caller's to prevent. Blocking.
pub fn replace(path: &Path, content: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let draft = draft_of(path);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Never open for more than it will be, whatever mask the process has.
    let mut file = File::options().write(true).create_new(true).mode(mode).open(&draft)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)?;
    if durability == Durability::Machine {
        file.sync_all()?;
    }
    fs::rename(&draft, path)?;
    match (durability, path.parent()) {
        (Durability::Machine, Some(dir)) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_has_the_old_content_or_the_new_and_a_torn_draft_is_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("record");
        let read = |path: &Path| fs::read_to_string(path).expect("there");
        replace(&path, b"one", 0o600, Durability::Machine).expect("written");
        fs::write(draft_of(&path), "tor").expect("written");
        let before = dir.path().join("before");
        fs::hard_link(&path, &before).expect("linked");
        assert_eq!(read(&path), "one");
        replace(&path, b"two", 0o640, Durability::Process).expect("written");
        assert_eq!((read(&before), read(&path)), ("one".to_owned(), "two".to_owned()));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o640);
        assert!(!draft_of(&path).exists());
    }
}
