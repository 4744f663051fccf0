//! Where the administrator's programs are.

use std::path::PathBuf;

/// Where they may be besides `PATH`, which often leaves their directories out.
const EXTRA_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// The program of this name; none where it is not installed.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(EXTRA_DIRECTORIES.map(PathBuf::from));
    directories.map(|directory| directory.join(name)).find(|program| program.is_file())
}
