//! The step that makes a pod's sandbox, connects it and writes the files every container gets.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod;
use stead_client::{EventType, reference_to};
use stead_net::{Network, PodKey};
use stead_plan::pod::{Failure, Sandbox};
use stead_runtime::{Runtime, SandboxId, SandboxSpec};

use crate::agent::Inner;
use crate::config::AgentConfig;
use crate::files;
use crate::retry;
use crate::worker::step::{Outcome, StepError};
use crate::worker::{Step, Worker};

/// Makes the sandbox, connects it and writes the files every container gets; `again`: the pod had one.
pub(crate) async fn create<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    again: bool,
) -> Outcome<Step> {
    let pod = worker.pod();
    let about = reference_to(pod.as_ref());
    let failed_before = worker.state().sandbox_failures;
    if again && failed_before == 0 {
        let text = "Pod sandbox changed, it will be killed and re-created.";
        inner.recorder.event(&about, EventType::Normal, "SandboxChanged", text);
    }
    let made = try_sandbox(inner, worker, &pod).await;
    let mut state = worker.state();
    match made {
        Ok(ip) => {
            state.sandbox = Some(Sandbox { ip });
            state.sandbox_failure = None;
            state.sandbox_failures = 0;
        }
        Err(error) => {
            let text = format!("Failed to create pod sandbox: {error}");
            inner.recorder.event(&about, EventType::Warning, "FailedCreatePodSandBox", text.clone());
            state.sandbox_failure = Some(Failure {
                reason: "FailedCreatePodSandBox".to_owned(),
                message: text,
                retry_at: retry::set_up_at(failed_before),
            });
            state.sandbox_failures += 1;
        }
    }
    // After a failure the plan knows when to try again.
    Ok(Step::Again)
}

async fn try_sandbox<R: Runtime, N: Network>(
    inner: &Arc<Inner<R, N>>,
    worker: &Arc<Worker>,
    pod: &Pod,
) -> Outcome<IpAddr> {
    let pod_spec = pod.spec.as_ref();
    let security = pod_spec.and_then(|spec| spec.security_context.as_ref());
    let sysctls = security.into_iter().flat_map(|security| security.sysctls.iter().flatten());
    let spec = SandboxSpec {
        id: SandboxId(worker.uid.clone()),
        namespace: worker.key.namespace.clone(),
        name: worker.key.name.clone(),
        hostname: files::kernel_hostname(pod, &inner.config.cluster_domain).map_err(StepError::Hostname)?,
        host_network: pod_spec.and_then(|spec| spec.host_network).unwrap_or(false),
        sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
        cgroup: crate::resources::pod_cgroup(&inner.config.cgroup_root, pod),
        resources: crate::resources::pod_resources(pod),
    };
    let started = Instant::now();
    let sandbox = inner.runtime.create_sandbox(spec).await?;
    let made = started.elapsed();
    let ip = match &sandbox.netns {
        Some(netns) => IpAddr::V4(inner.network.attach(&PodKey(worker.uid.clone()), netns).await?.ip),
        None => IpAddr::V4(inner.config.node_ip),
    };
    let attached = started.elapsed().saturating_sub(made);
    tracing::debug!(pod = %worker.key, ?made, ?attached, "sandbox");
    let (task_inner, pod, uid) = (Arc::clone(inner), pod.clone(), worker.uid.clone());
    tokio::task::spawn_blocking(move || write_files(&task_inner.config, &uid, &pod, ip)).await??;
    Ok(ip)
}

/// Writes `/etc/hosts` and `/etc/resolv.conf` of the pod. Blocking.
fn write_files(config: &AgentConfig, uid: &str, pod: &Pod, ip: IpAddr) -> Outcome<()> {
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    let read = |path: &str| {
        std::fs::read_to_string(path).inspect_err(|error| tracing::debug!(path, %error, "not readable")).ok()
    };
    let host_hosts = host_network.then(|| read("/etc/hosts")).flatten();
    let hosts = files::hosts(pod, &ip.to_string(), &config.cluster_domain, host_hosts.as_deref());
    let host_resolver = files::Resolver::parse(&read("/etc/resolv.conf").unwrap_or_default());
    let resolver = files::resolver(pod, &config.cluster_dns.to_string(), &config.cluster_domain, &host_resolver);
    let dir = config.pod_dir(uid);
    let failed = |path: &Path| {
        let action = format!("write {}", path.display());
        |source| StepError::Io { action, source }
    };
    for (name, text) in [("etc-hosts", hosts), ("resolv.conf", resolver.to_string())] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).map_err(failed(&path))?;
    }
    Ok(())
}
