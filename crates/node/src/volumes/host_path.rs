//! Paths of the node that pods ask for by name (contract `pods.md` 5.13).

use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::{VolumeError, io, set_mode};

/// Refuses a path that is not of the wanted type; makes what may be made.
pub(super) fn check(path: &str, wanted: &str) -> Result<(), VolumeError> {
    let found = std::fs::metadata(path).ok().map(|meta| meta.file_type());
    let holds = match wanted {
        "" => true,
        "DirectoryOrCreate" if found.is_none() => {
            std::fs::create_dir_all(path).map_err(io(format!("create {path}")))?;
            set_mode(Path::new(path), 0o755)?;
            true
        }
        "FileOrCreate" if found.is_none() => {
            std::fs::write(path, []).map_err(io(format!("create {path}")))?;
            set_mode(Path::new(path), 0o644)?;
            true
        }
        "Directory" | "DirectoryOrCreate" => found.is_some_and(|kind| kind.is_dir()),
        "File" | "FileOrCreate" => found.is_some_and(|kind| kind.is_file()),
        "Socket" => found.is_some_and(|kind| kind.is_socket()),
        "CharDevice" => found.is_some_and(|kind| kind.is_char_device()),
        "BlockDevice" => found.is_some_and(|kind| kind.is_block_device()),
        _ => false,
    };
    if holds { Ok(()) } else { Err(VolumeError::HostPath { path: path.to_owned(), wanted: wanted.to_owned() }) }
}
