//! A container as the pod and its image declare it, put together for the runtime (contract `pods.md`,
//! section 6). Pure but for looking up users in the image's own files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SecurityContext};
use stead_image::{Image, users};
use stead_runtime::{BindMount, ContainerId, ContainerSpec, DEFAULT_PATH, RootFs, SandboxId, Seccomp, User};

use crate::env;
use crate::resources;

/// Why a container cannot be put together; shown as `CreateContainerConfigError` or
/// `CreateContainerError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither the pod nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// The user named by the image is not in it.
    #[error("{0}")]
    User(String),
    /// The pod forbids root and the container would be root.
    #[error("{0}")]
    Root(String),
    /// A user name cannot be checked for being root.
    #[error("seccomp profile {0} is not supported")]
    Seccomp(String),
}

/// What goes into a container beside its declaration.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The declaration.
    pub container: &'a Container,
    /// Restart count.
    pub attempt: u32,
    /// Its image.
    pub image: &'a Image,
    /// Environment from [`env::environment`].
    pub env: Vec<(String, String)>,
    /// Host name of the pod.
    pub hostname: &'a str,
    /// Volumes and managed files.
    pub mounts: Vec<BindMount>,
    /// Where it logs.
    pub log_path: PathBuf,
    /// Memory of the node, for `oom_score_adj`.
    pub node_memory_bytes: i64,
    /// Words kept for the agent.
    pub annotations: BTreeMap<String, String>,
}

/// Id of an incarnation.
pub fn container_id(pod_uid: &str, container: &str, attempt: u32) -> ContainerId {
    ContainerId(format!("{pod_uid}-{container}-{attempt}"))
}

/// Puts a container together.
pub fn container_spec(parts: Parts<'_>) -> Result<ContainerSpec, SpecError> {
    let Parts { pod, container, image, .. } = &parts;
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let none_pod = PodSecurityContext::default();
    let none = SecurityContext::default();
    let pod_security = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref()).unwrap_or(&none_pod);
    let security = container.security_context.as_ref().unwrap_or(&none);
    let user = user(pod, container, image, pod_security, security)?;
    let env = full_environment(&parts);
    let args = arguments(container, image, &env)?;
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let cwd = container.working_dir.clone().filter(|dir| !dir.is_empty()).or_else(|| image.config.working_dir.clone());
    Ok(ContainerSpec {
        id: container_id(uid, &container.name, parts.attempt),
        sandbox: SandboxId(uid.to_owned()),
        name: container.name.clone(),
        attempt: parts.attempt,
        image: container.image.clone().unwrap_or_default(),
        image_id: image.digest.clone().unwrap_or_else(|| image.id.to_string()),
        rootfs: RootFs { layers: image.layers.clone(), readonly: security.read_only_root_filesystem.unwrap_or(false) },
        args,
        env,
        cwd: cwd.filter(|dir| !dir.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from),
        user,
        resources: resources::container_resources(container),
        oom_score_adj: resources::oom_score_adj(pod, container, parts.node_memory_bytes),
        privileged: security.privileged.unwrap_or(false),
        capabilities_add: capabilities.add.unwrap_or_default(),
        capabilities_drop: capabilities.drop.unwrap_or_default(),
        no_new_privileges: security.allow_privilege_escalation == Some(false),
        seccomp: seccomp(pod_security, security)?,
        host_pid: pod.spec.as_ref().and_then(|spec| spec.host_pid).unwrap_or(false),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        mounts: parts.mounts,
        log_path: parts.log_path,
        annotations: parts.annotations,
    })
}

/// Image environment, then the pod's, then what is filled in when nobody set it.
fn full_environment(parts: &Parts<'_>) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        vec![("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOSTNAME".to_owned(), parts.hostname.to_owned())];
    if parts.container.tty == Some(true) {
        all.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let of_image = parts.image.config.env.iter().filter_map(|pair| pair.split_once('='));
    let of_image = of_image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in of_image.chain(parts.env.iter().cloned()) {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => all.push((name, value)),
        }
    }
    all
}

/// Command and arguments, the image's where the pod has none (rule 18).
fn arguments(container: &Container, image: &Image, env: &[(String, String)]) -> Result<Vec<String>, SpecError> {
    let lookup = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| env::expand(word, lookup)).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    let all: Vec<String> = match (command.is_empty(), args.is_empty()) {
        (false, _) => command.into_iter().chain(args).collect(),
        (true, false) => image.config.entrypoint.iter().cloned().chain(args).collect(),
        (true, true) => image.config.entrypoint.iter().chain(&image.config.cmd).cloned().collect(),
    };
    if all.is_empty() { Err(SpecError::NoCommand) } else { Ok(all) }
}

fn user(
    pod: &Pod,
    container: &Container,
    image: &Image,
    pod_security: &PodSecurityContext,
    security: &SecurityContext,
) -> Result<User, SpecError> {
    // What the API server lets through fits.
    let number = |id: i64| u32::try_from(id).unwrap_or(u32::MAX);
    let run_as_user = security.run_as_user.or(pod_security.run_as_user);
    let of_image = image.config.user.clone().unwrap_or_default();
    let name = run_as_user.map_or(of_image.clone(), |id| id.to_string());
    let resolved =
        users::resolve(&users::Layers(&image.layers), &name).map_err(|error| SpecError::User(error.to_string()))?;
    let gid = security.run_as_group.or(pod_security.run_as_group).map_or(resolved.gid, number);
    if security.run_as_non_root.or(pod_security.run_as_non_root) == Some(true) {
        let named = run_as_user.is_none().then_some(of_image.as_str());
        forbid_root(&resolved, named).map_err(|why| {
            let place = format!("(pod: \"{}\", container: {})", stead_plan::pod::long_name(pod), container.name);
            SpecError::Root(format!("{why} {place}"))
        })?;
    }
    let mut additional_gids = resolved.additional_gids;
    additional_gids.extend(pod_security.supplemental_groups.iter().flatten().copied().map(number));
    additional_gids.extend(pod_security.fs_group.map(number));
    additional_gids.sort_unstable();
    additional_gids.dedup();
    Ok(User { uid: resolved.uid, gid, additional_gids, home: resolved.home })
}

/// Refuses root, and where the image names the user (`named`) also a name: what it stands for is the image's
/// to say. Gives the reason (contract `pods.md` 6.3).
fn forbid_root(resolved: &users::ResolvedUser, named: Option<&str>) -> Result<(), String> {
    let user = named.and_then(|user| user.split(':').next()).filter(|user| !user.is_empty());
    if let Some(user) = user.filter(|user| user.parse::<u32>().is_err()) {
        return Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        ));
    }
    if resolved.uid != 0 {
        return Ok(());
    }
    Err(match named {
        Some(_) => "container has runAsNonRoot and image will run as root".to_owned(),
        None => "container's runAsUser breaks non-root policy".to_owned(),
    })
}

/// Unset means the runtime's default profile: secure as delivered, where Kubernetes leaves it off.
fn seccomp(pod: &PodSecurityContext, own: &SecurityContext) -> Result<Seccomp, SpecError> {
    let profile = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    match profile.map(|profile| profile.type_.as_str()) {
        None | Some("RuntimeDefault") => Ok(Seccomp::RuntimeDefault),
        Some("Unconfined") => Ok(Seccomp::Unconfined),
        Some(other) => Err(SpecError::Seccomp(other.to_owned())),
    }
}
