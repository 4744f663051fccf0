//! Images made from one static program, without a registry or an archive.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use crate::digest::{Digest, HashingReader};
use crate::layout::{LayerRecord, Layout, Record, failed};
use crate::{ImageConfig, ImageId, ImageName, StoreError};

/// Changes whenever the files beside the program do, so that a new version makes a new layer.
const RECIPE: &str = "stead built-in layer 1";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Directories of the layer and their permissions.
const DIRECTORIES: [(&str, u32); 7] =
    [("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("var", 0o755)];

/// Makes the image: the program at the path that is the first word of its entry point. Blocks.
pub(crate) fn install(
    layout: &Layout,
    name: &ImageName,
    binary: &Path,
    config: ImageConfig,
) -> Result<Record, StoreError> {
    let _adding = layout.adding()?;
    let place = config.entrypoint.first().map(Path::new).and_then(inside).ok_or_else(|| {
        failed("install", binary)(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the entry point of a built-in image must begin with the absolute path its program is to have",
        ))
    })?;
    let program = HashingReader::new(File::open(binary).map_err(failed("open", binary))?)
        .finish()
        .map_err(failed("read", binary))?;
    let diff_id = Digest::of(format!("{RECIPE}\n{program}\n{}", place.display()).as_bytes());
    let bytes = match layout.layer(&diff_id)? {
        Some(record) => record.bytes,
        None => {
            let draft = layout.draft()?;
            let bytes = fill(&draft.path().join("fs"), binary, place).map_err(failed("install", binary))?;
            layout.commit_layer(draft, &LayerRecord { diff_id: diff_id.clone(), bytes })?;
            bytes
        }
    };
    let described = serde_json::to_string(&config).map_err(|error| failed("install", binary)(error.into()))?;
    let id = Digest::of(format!("{diff_id}\n{described}").as_bytes());
    let record = Record {
        name: name.clone(),
        id: ImageId(id.to_string()),
        digest: None,
        size_bytes: bytes,
        layers: vec![diff_id],
        config,
    };
    layout.write_record(&record)?;
    Ok(record)
}

/// An absolute path, relative to the layer; none where it is not absolute or leads upwards.
fn inside(path: &Path) -> Option<&Path> {
    let relative = path.strip_prefix("/").ok()?;
    let plain = relative.components().all(|component| matches!(component, Component::Normal(_)));
    (plain && relative.file_name().is_some()).then_some(relative)
}

fn fill(root: &Path, binary: &Path, place: &Path) -> io::Result<u64> {
    fs::create_dir(root)?;
    fs::set_permissions(root, fs::Permissions::from_mode(0o755))?;
    let program = root.join(place);
    if let Some(directory) = program.parent() {
        fs::create_dir_all(directory)?;
    }
    for (directory, mode) in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
        fs::set_permissions(root.join(directory), fs::Permissions::from_mode(mode))?;
    }
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    copy(binary, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(fs::metadata(&program)?.len() + (PASSWD.len() + GROUP.len()) as u64)
}

/// Shares the blocks where the file system can; never a hard link, which would follow a later rebuild of the program.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let (source, target) = (File::open(from)?, File::create_new(to)?);
    match rustix::fs::ioctl_ficlone(&target, &source) {
        Ok(()) => Ok(()),
        Err(_) => io::copy(&mut &source, &mut &target).map(drop),
    }
}
