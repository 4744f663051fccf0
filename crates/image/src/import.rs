//! Taking images from archives: what `docker save` writes, and OCI archives. Both are tar files; the
//! documents inside say what is what.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::{Digest, HashingReader};
use crate::layers::{self, AddError};
use crate::layout::{Layout, Record};
use crate::manifest::{ConfigFile, Document, Index, Manifest, Platform};
use crate::{ImageId, ImageName, ImportError, LayerError};

/// Largest document inside an archive.
const DOCUMENT_BYTES_MAX: u64 = 8 << 20;

/// Most entries of an archive.
const ARCHIVE_ENTRIES_MAX: usize = 100_000;

/// Most bytes an archive in gzip may inflate to.
const ARCHIVE_BYTES_MAX: u64 = 256 << 30;

/// Most symbolic links followed from one name inside an archive.
const LINKS_MAX: usize = 8;

/// Imports every image of an archive that has a name. Blocks.
pub(crate) fn import(layout: &Layout, path: &Path) -> Result<Vec<ImageName>, ImportError> {
    let _adding = layout.adding()?;
    // Holds the inflated copy, where one is needed, for as long as it is read.
    let draft = layout.draft()?;
    let archive = Archive::open(path, draft.path())?;
    let images = match archive.json::<Vec<Saved>>("manifest.json")? {
        Some(saved) => saved.iter().map(|saved| archive.saved_image(saved)).collect::<Result<Vec<_>, _>>()?,
        None => {
            let index: Index = archive
                .json("index.json")?
                .ok_or_else(|| archive.wrong("it has neither manifest.json nor index.json"))?;
            index.manifests.iter().map(|entry| archive.oci_image(entry)).collect::<Result<Vec<_>, _>>()?
        }
    };
    if images.iter().all(|image| image.names.is_empty()) {
        return Err(archive.wrong("no image in it has a name; give it one when saving, as in docker save NAME:TAG"));
    }
    let mut names = Vec::new();
    for image in images {
        names.extend(archive.take(layout, image)?);
    }
    Ok(names)
}

/// An entry of docker's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An image inside an archive.
struct Found {
    names: Vec<ImageName>,
    id: Digest,
    config: ConfigFile,
    config_bytes: u64,
    layers: Vec<Part>,
}

/// A layer inside an archive.
struct Part {
    member: String,
    /// Digest of the packed bytes, where the archive says it.
    digest: Option<Digest>,
}

/// A tar file with its table of contents.
struct Archive {
    path: PathBuf,
    file: File,
    members: HashMap<String, Member>,
}

enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Archive {
    fn open(path: &Path, scratch: &Path) -> Result<Self, ImportError> {
        let read_error = |source| ImportError::Read { path: path.to_owned(), source };
        let file = plain(path, scratch).map_err(read_error)?;
        let members = contents(&file).map_err(|error| ImportError::Format {
            path: path.to_owned(),
            reason: format!("not a tar file: {error}"),
        })?;
        Ok(Self { path: path.to_owned(), file, members })
    }

    fn wrong(&self, reason: impl Into<String>) -> ImportError {
        ImportError::Format { path: self.path.clone(), reason: reason.into() }
    }

    /// Where a member is; docker once stored layers that occur twice as links.
    fn locate(&self, member: &str) -> Result<Option<(u64, u64)>, ImportError> {
        let mut name = member.to_owned();
        for _ in 0..LINKS_MAX {
            match self.members.get(&name) {
                None => return Ok(None),
                Some(Member::File { offset, size }) => return Ok(Some((*offset, *size))),
                Some(Member::Link(target)) => name = resolve_link(&name, target),
            }
        }
        Err(self.wrong(format!("{member} is a loop of links")))
    }

    fn read(&self, member: &str) -> Result<Option<io::Take<BufReader<File>>>, ImportError> {
        let Some((offset, size)) = self.locate(member)? else {
            return Ok(None);
        };
        let open = || {
            // A file description of its own, for positions are shared by duplicates.
            let mut file = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.file)))?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(BufReader::new(file).take(size))
        };
        open().map(Some).map_err(|source| ImportError::Read { path: self.path.clone(), source })
    }

    fn document(&self, member: &str) -> Result<Option<Vec<u8>>, ImportError> {
        let Some(mut reader) = self.read(member)? else {
            return Ok(None);
        };
        if reader.limit() > DOCUMENT_BYTES_MAX {
            return Err(self.wrong(format!("{member} is larger than {DOCUMENT_BYTES_MAX} bytes")));
        }
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|source| ImportError::Read { path: self.path.clone(), source })?;
        Ok(Some(bytes))
    }

    fn json<T: DeserializeOwned>(&self, member: &str) -> Result<Option<T>, ImportError> {
        let Some(bytes) = self.document(member)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.wrong(format!("{member}: {error}")))
    }

    /// A document that is named by its digest.
    fn blob(&self, digest: &Digest) -> Result<Vec<u8>, ImportError> {
        let member = blob_member(digest);
        let bytes = self.document(&member)?.ok_or_else(|| self.wrong(format!("{member} is missing")))?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(self.wrong(format!("{member} is damaged: it is {actual}")));
        }
        Ok(bytes)
    }

    fn saved_image(&self, saved: &Saved) -> Result<Found, ImportError> {
        let config = self.document(&saved.config)?.ok_or_else(|| self.wrong(format!("{} is missing", saved.config)))?;
        let names = saved
            .repo_tags
            .iter()
            .flatten()
            .map(|name| name.parse().map_err(|error: crate::NameError| self.wrong(error.to_string())));
        let layers = saved.layers.iter().map(|member| Part { member: member.clone(), digest: None }).collect();
        self.found(names.collect::<Result<_, _>>()?, &config, layers)
    }

    fn oci_image(&self, entry: &crate::manifest::Descriptor) -> Result<Found, ImportError> {
        let names = match entry.name() {
            Some(name) => vec![name.parse().map_err(|error: crate::NameError| self.wrong(error.to_string()))?],
            None => Vec::new(),
        };
        let manifest = self.manifest(&entry.digest)?;
        let config = self.blob(&manifest.config.digest)?;
        let layers = manifest
            .layers
            .iter()
            .map(|layer| Part { member: blob_member(&layer.digest), digest: Some(layer.digest.clone()) })
            .collect();
        self.found(names, &config, layers)
    }

    fn manifest(&self, digest: &Digest) -> Result<Manifest, ImportError> {
        let parse = |digest: &Digest| {
            serde_json::from_slice(&self.blob(digest)?).map_err(|error| self.wrong(format!("{digest}: {error}")))
        };
        let index = match parse(digest)? {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index(index) => index,
        };
        let entry = index
            .for_here()
            .ok_or_else(|| self.wrong(format!("no image in it is for platform {}", Platform::here())))?;
        match parse(&entry.digest)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(self.wrong("an index inside an index inside an index")),
        }
    }

    fn found(&self, names: Vec<ImageName>, config_bytes: &[u8], layers: Vec<Part>) -> Result<Found, ImportError> {
        let config: ConfigFile = serde_json::from_slice(config_bytes)
            .map_err(|error| self.wrong(format!("not an image configuration: {error}")))?;
        if config.diff_ids().len() != layers.len() {
            return Err(self.wrong(format!(
                "configuration has {} layers, manifest {}",
                config.diff_ids().len(),
                layers.len()
            )));
        }
        Ok(Found { names, id: Digest::of(config_bytes), config, config_bytes: config_bytes.len() as u64, layers })
    }

    /// Unpacks what is missing and names the image.
    fn take(&self, layout: &Layout, image: Found) -> Result<Vec<ImageName>, ImportError> {
        let mut size_bytes = image.config_bytes;
        for (part, diff_id) in image.layers.iter().zip(image.config.diff_ids()) {
            let packed = self.read(&part.member)?.ok_or_else(|| self.wrong(format!("{} is missing", part.member)))?;
            size_bytes += packed.limit();
            if layout.layer(diff_id)?.is_none() {
                self.add_layer(layout, part, diff_id, packed)?;
            }
        }
        let layers = image.config.diff_ids().to_vec();
        let config = image.config.into_config();
        for name in &image.names {
            layout.write_record(&Record {
                name: name.clone(),
                id: ImageId(image.id.to_string()),
                digest: None,
                size_bytes,
                layers: layers.clone(),
                config: config.clone(),
            })?;
        }
        Ok(image.names)
    }

    fn add_layer(&self, layout: &Layout, part: &Part, diff_id: &Digest, packed: impl Read) -> Result<(), ImportError> {
        let layer_error = |source| ImportError::Layer { path: self.path.clone(), layer: part.member.clone(), source };
        let mut packed = HashingReader::new(packed);
        layers::add(layout, diff_id, &mut packed).map_err(|error| match error {
            AddError::Layer(error) => layer_error(error),
            AddError::Store(error) => ImportError::Store(error),
        })?;
        // The diff id has already vouched for the content; a packed form that differs is damage all the same.
        let actual = packed.finish().map_err(|source| ImportError::Read { path: self.path.clone(), source })?;
        match &part.digest {
            Some(expected) if *expected != actual => {
                Err(layer_error(LayerError::Digest { expected: expected.to_string(), actual: actual.to_string() }))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn blob_member(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The archive without its outer gzip; inflated into `scratch` where it has one, for it is read out of order.
fn plain(path: &Path, scratch: &Path) -> io::Result<File> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let mut read = 0;
    while read < magic.len() {
        match file.read(&mut magic[read..])? {
            0 => break,
            more => read += more,
        }
    }
    file.seek(SeekFrom::Start(0))?;
    if magic != [0x1f, 0x8b] {
        return Ok(file);
    }
    let copy_path = scratch.join("archive.tar");
    let mut copy = File::options().create_new(true).read(true).write(true).open(&copy_path)?;
    let mut inflated = flate2::read::MultiGzDecoder::new(BufReader::new(file)).take(ARCHIVE_BYTES_MAX + 1);
    if io::copy(&mut inflated, &mut copy)? > ARCHIVE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("inflates to more than {ARCHIVE_BYTES_MAX} bytes"),
        ));
    }
    copy.seek(SeekFrom::Start(0))?;
    Ok(copy)
}

fn contents(file: &File) -> io::Result<HashMap<String, Member>> {
    let mut archive = tar::Archive::new(file);
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let name = clean_name(&entry.path_bytes());
        if entry.header().entry_type().is_file() {
            members.insert(name, Member::File { offset: entry.raw_file_position(), size: entry.size() });
        } else if let Some(target) = entry.link_name()? {
            members.insert(name, Member::Link(String::from_utf8_lossy(target.as_os_str().as_bytes()).into_owned()));
        }
        if members.len() > ARCHIVE_ENTRIES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("more than {ARCHIVE_ENTRIES_MAX} entries"),
            ));
        }
    }
    Ok(members)
}

fn clean_name(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches("./").trim_matches('/').to_owned()
}

/// The member that a link inside an archive names, relative to the link's directory. Only ever looked up
/// in the table of contents.
fn resolve_link(link: &str, target: &str) -> String {
    let mut components: Vec<&str> = link.split('/').collect();
    components.pop();
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components.join("/")
}
