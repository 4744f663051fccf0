//! The documents of an image as registries and archives hold them: index, manifest, configuration. Pure.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::digest::Digest;
use crate::{ImageConfig, LayerError};

/// Media types of manifests and indexes, as asked for in `Accept`.
pub(crate) const MANIFEST_MEDIA_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Beginnings of the media types of file system layers; how they are packed shows in their first bytes.
const LAYER_MEDIA_TYPES: &[&str] = &[
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.rootfs.",
];

/// The annotation of an index entry that names an image, per specification; often only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation by which containerd and Docker give the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// A reference to content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default)]
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// What an index entry is for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Platform {
    os: String,
    architecture: String,
}

/// Either of what a name can stand for.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Document {
    /// Images for several platforms.
    Index(Index),
    /// One image.
    Manifest(Manifest),
}

#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

impl Platform {
    /// This machine, in the words of images.
    pub(crate) fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned() }
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)
    }
}

impl Index {
    /// The entry for this machine; the only entry where it does not say what it is for.
    pub(crate) fn for_here(&self) -> Option<&Descriptor> {
        let here = Platform::here();
        let exact = self.manifests.iter().find(|entry| entry.platform.as_ref() == Some(&here));
        exact.or_else(|| match self.manifests.as_slice() {
            [only] if only.platform.is_none() => Some(only),
            _ => None,
        })
    }
}

impl Descriptor {
    /// The image name an archive's index gives this entry.
    pub(crate) fn name(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        // A bare tag names no image.
        let full = |name: &&String| name.contains([':', '/']);
        annotations.get(CONTAINERD_NAME).or_else(|| annotations.get(REF_NAME).filter(full)).map(String::as_str)
    }

    /// Refuses what is not a file system layer, such as a chart or a signature.
    pub(crate) fn check_is_layer(&self) -> Result<(), LayerError> {
        if LAYER_MEDIA_TYPES.iter().any(|prefix| self.media_type.starts_with(prefix)) {
            return Ok(());
        }
        Err(LayerError::MediaType(self.media_type.clone()))
    }
}

/// The configuration file of an image.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    config: Option<Runtime>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// The part about running. Go writes absent lists as `null`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Runtime {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

impl ConfigFile {
    /// Digests of the unpacked layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[Digest] {
        &self.rootfs.diff_ids
    }

    /// What it says about running.
    pub(crate) fn into_config(self) -> ImageConfig {
        let runtime = self.config.unwrap_or_default();
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        ImageConfig {
            entrypoint: runtime.entrypoint.unwrap_or_default(),
            cmd: runtime.cmd.unwrap_or_default(),
            env: runtime.env.unwrap_or_default(),
            working_dir: said(runtime.working_dir),
            user: said(runtime.user),
            stop_signal: said(runtime.stop_signal),
            exposed_ports: runtime.exposed_ports.unwrap_or_default().into_keys().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_entry_for_this_machine_is_chosen() {
        let here = Platform::here();
        let entry = |os: &str, architecture: &str, size: u64| {
            format!(
                r#"{{"digest":"{DIGEST}","size":{size},"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
            )
        };
        let text = format!(
            r#"{{"manifests":[{},{},{}]}}"#,
            entry("unknown", "unknown", 1),
            entry("windows", &here.architecture, 2),
            entry("linux", &here.architecture, 3)
        );
        match serde_json::from_str(&text).expect("a document") {
            Document::Index(index) => assert_eq!(index.for_here().expect("an entry").size, 3),
            Document::Manifest(manifest) => panic!("{manifest:?}"),
        }
    }

    #[test]
    fn a_configuration_as_go_writes_it() {
        let text = format!(
            r#"{{"config":{{"Cmd":["x"],"Entrypoint":null,"User":"","ExposedPorts":{{"6333/tcp":{{}}}}}},"rootfs":{{"type":"layers","diff_ids":["{DIGEST}"]}}}}"#
        );
        let file: ConfigFile = serde_json::from_str(&text).expect("a configuration");
        assert_eq!(file.diff_ids().len(), 1);
        let config = file.into_config();
        assert_eq!(
            (config.cmd, config.entrypoint, config.user, config.exposed_ports),
            (vec!["x".to_owned()], vec![], None, vec!["6333/tcp".to_owned()])
        );
    }
}
