//! Small readings of a pod: what it refers to, what its ended containers left to say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVarSource, Pod, Volume, VolumeProjection};
use stead_api::preparation::Request;
use stead_client::ObjectKey;
use stead_plan::pod::declared;
use stead_runtime::{ContainerInfo, ContainerState};

/// Most bytes of a termination message (contract `pods.md` 2.24).
const MESSAGE_BYTES_MAX: u64 = 4096;
const FALLBACK_BYTES_MAX: usize = 2048;
const FALLBACK_LINES_MAX: usize = 80;

/// Annotation of a container that holds the path of its termination log on the node.
pub(crate) const TERMINATION_LOG: &str = "stead.dev/termination-log";

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten())
}

fn same_namespace(pod: &Pod, key: &ObjectKey) -> bool {
    pod.metadata.namespace.as_deref() == Some(key.namespace.as_str())
}

/// Whether the pod mounts a claim.
pub(crate) fn uses_claim(pod: &Pod, key: &ObjectKey) -> bool {
    let names =
        |volume: &Volume| volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.claim_name == key.name);
    same_namespace(pod, key) && volumes(pod).any(names)
}

/// The sources of variables of all containers: whole objects, and single keys.
fn env(pod: &Pod) -> (Vec<&EnvFromSource>, Vec<&EnvVarSource>) {
    let containers = declared(pod);
    let from = containers.iter().flat_map(|container| container.spec.env_from.iter().flatten()).collect();
    let variables = containers.iter().flat_map(|container| container.spec.env.iter().flatten());
    (from, variables.filter_map(|variable| variable.value_from.as_ref()).collect())
}

fn projections(pod: &Pod) -> impl Iterator<Item = &VolumeProjection> {
    volumes(pod).filter_map(|volume| volume.projected.as_ref()).flat_map(|projected| projected.sources.iter().flatten())
}

/// The names of the ConfigMaps that the pod mounts or reads.
pub(crate) fn config_maps(pod: &Pod) -> BTreeSet<String> {
    let (from, values) = env(pod);
    let mounted = volumes(pod).filter_map(|volume| Some(&volume.config_map.as_ref()?.name));
    let projected = projections(pod).filter_map(|source| Some(&source.config_map.as_ref()?.name));
    let whole = from.into_iter().filter_map(|from| Some(&from.config_map_ref.as_ref()?.name));
    let keys = values.into_iter().filter_map(|value| Some(&value.config_map_key_ref.as_ref()?.name));
    mounted.chain(projected).chain(whole).chain(keys).cloned().collect()
}

/// The names of the Secrets that the pod mounts or reads, or that images are pulled with, its own and those
/// of its replacement.
pub(crate) fn secrets(pod: &Pod) -> BTreeSet<String> {
    let (from, values) = env(pod);
    let mounted = volumes(pod).filter_map(|volume| volume.secret.as_ref()?.secret_name.as_ref());
    let projected = projections(pod).filter_map(|source| Some(&source.secret.as_ref()?.name));
    let whole = from.into_iter().filter_map(|from| Some(&from.secret_ref.as_ref()?.name));
    let keys = values.into_iter().filter_map(|value| Some(&value.secret_key_ref.as_ref()?.name));
    let shown = pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()).map(|secret| &secret.name);
    let next = Request::of(&pod.metadata).map(|request| request.pull_secrets).unwrap_or_default();
    mounted.chain(projected).chain(whole).chain(keys).chain(shown).cloned().chain(next).collect()
}

/// What an ended container left in its termination log or, where it asks for that, in its log.
pub(crate) fn termination_message(pod: &Pod, container: &ContainerInfo) -> String {
    let written = container.spec.annotations.get(TERMINATION_LOG).map(PathBuf::from);
    let text = written.map(|path| tail(&path, MESSAGE_BYTES_MAX)).unwrap_or_default();
    let failed = !matches!(container.state, ContainerState::Exited { code: 0, .. });
    if text.is_empty() && failed && falls_back(pod, &container.spec.name) {
        return last_log_lines(&container.spec.log_path);
    }
    text
}

fn falls_back(pod: &Pod, name: &str) -> bool {
    let own = |container: &Container| container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    declared(pod).iter().any(|container| container.spec.name == name && own(container.spec))
}

/// The end of a file; nothing where there is none.
fn tail(path: &Path, bytes_max: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(bytes_max);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "not readable");
            String::new()
        }
    }
}

/// The last lines of a log without their time stamps.
fn last_log_lines(path: &Path) -> String {
    let raw = tail(path, FALLBACK_BYTES_MAX as u64 * 4);
    let lines: Vec<&str> = raw.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
    let kept = lines.len().saturating_sub(FALLBACK_LINES_MAX);
    let text = lines[kept..].join("\n");
    let start = text.len().saturating_sub(FALLBACK_BYTES_MAX);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text[start..].to_owned()
}
