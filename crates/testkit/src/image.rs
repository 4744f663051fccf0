//! Small images for tests, built from files of this machine's Debian packages.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

/// A one-layer image.
pub struct ImageBuilder {
    layer: tar::Builder<Vec<u8>>,
    config: serde_json::Value,
}

/// An image's parts, ready to be pushed.
pub(crate) struct Built {
    pub(crate) layer: Vec<u8>,
    pub(crate) layer_digest: String,
    pub(crate) config: Vec<u8>,
    pub(crate) config_digest: String,
    pub(crate) manifest: Vec<u8>,
}

impl Default for ImageBuilder {
    fn default() -> Self {
        let mut builder = Self { layer: tar::Builder::new(Vec::new()), config: json!({}) };
        for (dir, mode) in [("etc", 0o755), ("tmp", 0o1777), ("bin", 0o755), ("root", 0o700), ("var", 0o755)] {
            builder.directory(dir, mode);
        }
        builder
    }
}

impl ImageBuilder {
    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(path, tar::EntryType::Directory, mode, &[]);
        self
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> &mut Self {
        self.entry(path, tar::EntryType::Regular, mode, bytes);
        self
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let mut header = roots_own(tar::EntryType::Symlink, 0o777);
        header.set_size(0);
        self.layer.append_link(&mut header, path, target).expect("a link fits into a layer");
        self
    }

    /// Adds a file of this machine at another path.
    pub fn copy(&mut self, path: &str, from: &Path) -> &mut Self {
        let bytes = fs::read(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()));
        let mode = fs::metadata(from).map(|meta| meta.permissions().mode() & 0o7777).unwrap_or(0o644);
        self.file(path, mode, &bytes)
    }

    /// Adds the regular files and links below a directory of this machine at another path.
    pub fn tree(&mut self, path: &str, from: &Path) -> &mut Self {
        let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("cannot read {}: {error}", from.display()));
        for entry in entries.map(|entry| entry.expect("a directory can be read to its end")) {
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().expect("the kernel knows an entry's kind");
            if kind.is_dir() {
                self.tree(&path, &entry.path());
            } else if kind.is_symlink() {
                self.link(&path, &fs::read_link(entry.path()).expect("a link has a target").to_string_lossy());
            } else {
                self.copy(&path, &entry.path());
            }
        }
        self
    }

    /// Sets the command.
    pub fn command(&mut self, args: &[&str]) -> &mut Self {
        self.config["Cmd"] = json!(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(&mut self, pair: &str) -> &mut Self {
        match self.config["Env"].as_array_mut() {
            Some(env) => env.push(json!(pair)),
            None => self.config["Env"] = json!([pair]),
        }
        self
    }

    fn entry(&mut self, path: &str, kind: tar::EntryType, mode: u32, bytes: &[u8]) {
        let mut header = roots_own(kind, mode);
        header.set_size(bytes.len() as u64);
        self.layer.append_data(&mut header, path, bytes).expect("a file fits into a layer");
    }

    pub(crate) fn build(self) -> Built {
        let tar = self.layer.into_inner().expect("a layer can be finished");
        let mut layer = Vec::new();
        flate2::read::GzEncoder::new(tar.as_slice(), flate2::Compression::fast())
            .read_to_end(&mut layer)
            .expect("memory can be compressed");
        let config = serde_json::to_vec(&json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": [digest(&tar)]},
        }))
        .expect("JSON");
        let (layer_digest, config_digest) = (digest(&layer), digest(&config));
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config_digest, "size": config.len(),
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": layer_digest, "size": layer.len(),
            }],
        }))
        .expect("JSON");
        Built { layer, layer_digest, config, config_digest, manifest }
    }

    /// Writes the image as an OCI archive named `name`, for `stead image import`.
    pub fn save(self, name: &str, to: &Path) {
        let built = self.build();
        let mut archive = tar::Builder::new(fs::File::create(to).expect("an archive can be made"));
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, path, bytes).expect("a file fits into an archive");
        };
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(&built.manifest), "size": built.manifest.len(),
                "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
            }],
        });
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        add("index.json", index.to_string().as_bytes());
        let blob = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
        add(&blob(&digest(&built.manifest)), &built.manifest);
        add(&blob(&built.config_digest), &built.config);
        add(&blob(&built.layer_digest), &built.layer);
        archive.finish().expect("an archive can be finished");
    }
}

/// The header of an entry that root owns.
fn roots_own(kind: tar::EntryType, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// An image with busybox and its usual commands, without a command of its own.
pub fn busybox() -> ImageBuilder {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.exists());
    let busybox = busybox.expect("busybox-static is installed; `cargo xtask test` does that");
    let mut image = ImageBuilder::default();
    image.copy("bin/busybox", busybox);
    for name in [
        "sh", "cat", "ls", "echo", "sleep", "nslookup", "nc", "wget", "hostname", "date", "ps", "id", "mount", "env",
        "httpd", "touch", "wc", "sync", "mkdir", "tr", "head", "tail", "true", "false", "kill", "test", "rm",
    ] {
        image.link(&format!("bin/{name}"), "busybox");
    }
    image.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    image.file("etc/group", 0o644, b"root:x:0:\n");
    image
}
