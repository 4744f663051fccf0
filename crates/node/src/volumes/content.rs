//! What configMap, secret, downwardAPI and projected volumes hold (contract `pods.md` 5.7–5.8).
//! Pure: everything comes in through lookups.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume, VolumeProjection};

use crate::env::{self, EnvError, PodFacts, Sources};

const MODE_DEFAULT: i32 = 0o644;

/// One file of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Its mode.
    pub(super) mode: u32,
}

/// Files by relative path.
pub(super) type Files = BTreeMap<String, Content>;

/// Why the content cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// The object is not there.
    #[error("{kind} {name:?} not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// The object has no such key.
    #[error("{kind} references non-existent {noun} key: {key}")]
    Key {
        /// `configmap` or `references`, as the text begins.
        kind: &'static str,
        /// `config` or `secret`.
        noun: &'static str,
        /// Key.
        key: String,
    },
    /// A field or resource cannot be given.
    #[error(transparent)]
    Field(#[from] EnvError),
    /// Service account tokens cannot be projected yet.
    #[error("service account tokens cannot be projected by this version")]
    Token,
}

/// The files of a volume; later sources win over earlier ones.
pub(super) fn render(
    pod: &Pod,
    volume: &Volume,
    facts: &PodFacts,
    sources: &impl Sources,
) -> Result<Files, ContentError> {
    let mut files = Files::new();
    if let Some(source) = &volume.config_map {
        let default = source.default_mode.unwrap_or(MODE_DEFAULT);
        let picked = config_map(&source.name, source.items.as_deref(), source.optional, sources)?;
        add(&mut files, picked, default);
    } else if let Some(source) = &volume.secret {
        let default = source.default_mode.unwrap_or(MODE_DEFAULT);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let picked = secret(name, source.items.as_deref(), source.optional, sources)?;
        add(&mut files, picked, default);
    } else if let Some(source) = &volume.downward_api {
        let default = source.default_mode.unwrap_or(MODE_DEFAULT);
        let picked = downward(pod, source.items.as_deref().unwrap_or_default(), facts, sources)?;
        add(&mut files, picked, default);
    } else if let Some(source) = &volume.projected {
        let default = source.default_mode.unwrap_or(MODE_DEFAULT);
        for projection in source.sources.iter().flatten() {
            let picked = project(pod, projection, facts, sources)?;
            add(&mut files, picked, default);
        }
    }
    Ok(files)
}

type Picked = Vec<(String, Vec<u8>, Option<i32>)>;

fn add(files: &mut Files, picked: Picked, default_mode: i32) {
    for (path, bytes, mode) in picked {
        let mode = u32::try_from(mode.unwrap_or(default_mode)).unwrap_or(0o644);
        files.insert(path, Content { bytes, mode });
    }
}

fn project(
    pod: &Pod,
    projection: &VolumeProjection,
    facts: &PodFacts,
    sources: &impl Sources,
) -> Result<Picked, ContentError> {
    if let Some(source) = &projection.config_map {
        config_map(&source.name, source.items.as_deref(), source.optional, sources)
    } else if let Some(source) = &projection.secret {
        secret(&source.name, source.items.as_deref(), source.optional, sources)
    } else if let Some(source) = &projection.downward_api {
        downward(pod, source.items.as_deref().unwrap_or_default(), facts, sources)
    } else {
        Err(ContentError::Token)
    }
}

fn config_map(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    sources: &impl Sources,
) -> Result<Picked, ContentError> {
    let optional = optional == Some(true);
    let Some(map) = sources.config_map(name) else {
        return absent(optional, "configmap", name);
    };
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    let key_error = |key: &str| ContentError::Key { kind: "configmap", noun: "config", key: key.to_owned() };
    pick(text.chain(binary).collect(), items, optional, key_error)
}

fn secret(
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    sources: &impl Sources,
) -> Result<Picked, ContentError> {
    let optional = optional == Some(true);
    let Some(secret) = sources.secret(name) else {
        return absent(optional, "secret", name);
    };
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let key_error = |key: &str| ContentError::Key { kind: "secret", noun: "secret", key: key.to_owned() };
    pick(data, items, optional, key_error)
}

fn absent(optional: bool, kind: &'static str, name: &str) -> Result<Picked, ContentError> {
    if optional { Ok(Picked::new()) } else { Err(ContentError::Missing { kind, name: name.to_owned() }) }
}

fn pick(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    key_error: impl Fn(&str) -> ContentError,
) -> Result<Picked, ContentError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, bytes)| (key, bytes, None)).collect());
    };
    let mut picked = Picked::new();
    for item in items {
        match data.get(&item.key) {
            Some(bytes) => picked.push((item.path.clone(), bytes.clone(), item.mode)),
            None if optional => {}
            None => return Err(key_error(&item.key)),
        }
    }
    Ok(picked)
}

fn downward(
    pod: &Pod,
    items: &[DownwardAPIVolumeFile],
    facts: &PodFacts,
    sources: &impl Sources,
) -> Result<Picked, ContentError> {
    let mut picked = Picked::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            env::field_value(pod, field, facts)?
        } else if let Some(resource) = &item.resource_field_ref {
            let own = pod.spec.as_ref().and_then(|spec| spec.containers.first()).cloned().unwrap_or_default();
            env::resource_value(pod, &own, resource, sources)?
        } else {
            continue;
        };
        picked.push((item.path.clone(), text.into_bytes(), item.mode));
    }
    Ok(picked)
}
