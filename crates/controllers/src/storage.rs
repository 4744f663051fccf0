//! Claims and volumes: binds them, makes and removes the directories of local volumes, and keeps both
//! from going too early (contract 6). What to do is decided in `plan::claims`; this asks for the next
//! write, makes it, and asks again with the answer.

mod dirs;
pub(crate) mod observe;
mod volumes;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{ListParams, PostParams};
use stead_client::{EventType, ObjectKey, Recorder, WorkQueue, reference_to};
use stead_plan::claims::{self, ClaimView, Next, Notice, Step};
use stead_plan::nodes;
use tokio_util::sync::CancellationToken;

pub use self::dirs::{DirFuture, LocalVolumeDirs, VolumeDirError, VolumeDirs};
use self::observe::Related;
use crate::context::Context;
use crate::outcome::{is_already_exists, is_not_found, seen};

/// Claims and volumes worked on at once. Each is several writes one after the other, and those of many share commits.
const WORKERS: usize = 32;
/// Writes about one object in one go; binding takes five.
const STEPS_MAX: usize = 10;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Claim(ObjectKey),
    Volume(String),
}

/// Why a claim or a volume has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum StorageError {
    #[error("cannot read {what}")]
    Read { what: String, source: kube::Error },
    #[error("cannot write {what}")]
    Write { what: String, source: kube::Error },
    #[error("cannot make the directory of claim {claim}")]
    MakeDirectory { claim: ObjectKey, source: VolumeDirError },
    #[error("cannot remove the directory of volume {volume}")]
    RemoveDirectory { volume: String, source: VolumeDirError },
    #[error("node {node}, selected for claim {claim}, does not exist")]
    NodeMissing { claim: ObjectKey, node: String },
    #[error("class {class} of claim {claim} does not exist")]
    ClassMissing { claim: ObjectKey, class: String },
}

/// Runs until `shutdown`. `dirs` makes and removes the directories, on whichever node.
pub async fn run(ctx: Context, dirs: Arc<dyn VolumeDirs>, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    let related = Related::new(&ctx.caches);
    observe::start(&ctx.caches, &related, &queue);
    let on_chosen = queue.clone();
    ctx.chosen.on_chosen(move |claim| on_chosen.add(Key::Claim(claim.clone())));
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.synced() => {}
    }
    let recorder = ctx.recorder("persistentvolume-controller");
    let keeper = Arc::new(Keeper { ctx, related, dirs, recorder });
    let handler = move |key: Key| {
        let keeper = Arc::clone(&keeper);
        async move {
            match key {
                Key::Claim(key) => keeper.process_claim(&key).await,
                Key::Volume(name) => keeper.process_volume(&name).await,
            }
        }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

struct Keeper {
    ctx: Context,
    related: Related,
    dirs: Arc<dyn VolumeDirs>,
    recorder: Recorder,
}

/// A claim while it is being worked on, with the volumes as the last writes left them.
struct ClaimWork {
    key: ObjectKey,
    claim: PersistentVolumeClaim,
    written: HashMap<String, Arc<PersistentVolume>>,
    claim_written: bool,
}

impl Keeper {
    async fn process_claim(&self, key: &ObjectKey) -> Result<(), StorageError> {
        let Some(claim) = self.ctx.caches.claims.get_key(key) else {
            self.ctx.chosen.forget(key);
            return Ok(());
        };
        let claim = PersistentVolumeClaim::clone(&claim);
        let mut work = ClaimWork { key: key.clone(), claim, written: HashMap::new(), claim_written: false };
        if self.protect_claim(&mut work).await? {
            return Ok(());
        }
        for _ in 0..STEPS_MAX {
            let next = self.next_for_claim(&work).await?;
            if let Some(notice) = &next.notice {
                self.tell(&work.claim, notice);
            }
            if !self.take_claim_step(&mut work, next).await? {
                break;
            }
        }
        if claims::volume_name(&work.claim).is_some() {
            self.ctx.chosen.forget(key);
        }
        if work.claim_written {
            seen(&self.ctx.caches.claims, &work.claim.metadata).await;
        }
        for volume in work.written.values() {
            seen(&self.ctx.caches.volumes, &volume.metadata).await;
        }
        Ok(())
    }

    /// Puts the finalizer on or takes it off; true when the claim may be gone now.
    async fn protect_claim(&self, work: &mut ClaimWork) -> Result<bool, StorageError> {
        let deleting = work.claim.metadata.deletion_timestamp.is_some();
        let seen = if deleting { self.related.pods_of(&work.key) } else { Vec::new() };
        if claims::is_in_use(&work.key.name, seen.iter().map(Arc::as_ref)) {
            // The end of the pod brings us back; only that nobody uses the claim has to be read live.
            return Ok(false);
        }
        let pods = if deleting { self.pods_in(&work.key.namespace).await? } else { Vec::new() };
        let Some(claim) = claims::claim_protection(&work.claim, &pods) else { return Ok(false) };
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), &work.key.namespace);
        match api.replace(&work.key.name, &PostParams::default(), &claim).await {
            Ok(claim) => work.claim = claim,
            Err(error) if is_not_found(&error) => return Ok(true),
            Err(source) => return Err(write_of(&work.key, source)),
        }
        work.claim_written = true;
        Ok(deleting)
    }

    async fn next_for_claim(&self, work: &ClaimWork) -> Result<Next, StorageError> {
        let caches = &self.ctx.caches;
        let chosen = self.ctx.chosen.onto(&work.claim);
        let claim = chosen.as_ref().unwrap_or(&work.claim);
        let named = match claims::volume_name(&work.claim) {
            Some(name) => self.volume(name, &work.written).await?,
            None => None,
        };
        let unbound = named.is_none() && !claims::was_bound(&work.claim);
        let classes = caches.storage_classes.list();
        let mut volumes = match unbound {
            true if claims::weighs_nodes(&work.claim, &classes) => caches.volumes.list(),
            true => self.related.candidates(&work.key),
            false => Vec::new(),
        };
        volumes.retain(|volume| !work.written.contains_key(volume.metadata.name.as_deref().unwrap_or_default()));
        volumes.extend(work.written.values().cloned());
        Ok(claims::next_for_claim(&ClaimView {
            claim,
            volumes: &volumes,
            named: named.as_deref(),
            classes: &classes,
            nodes: &if unbound { caches.nodes.list() } else { Vec::new() },
            unscheduled_pods: &if unbound { self.unscheduled_pods(&work.key) } else { Vec::new() },
            now: self.ctx.clock.now(),
        }))
    }

    /// Makes one write; false when there is nothing more to do now.
    async fn take_claim_step(&self, work: &mut ClaimWork, next: Next) -> Result<bool, StorageError> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), &work.key.namespace);
        let volumes: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
        let params = PostParams::default();
        let failed = |source| write_of(&work.key, source);
        match next.step {
            Step::Nothing | Step::Reclaim => return Ok(false),
            Step::Claim(claim) => work.claim = api.replace(&work.key.name, &params, &claim).await.map_err(failed)?,
            Step::ClaimStatus(claim) => {
                work.claim = api.replace_status(&work.key.name, &params, &claim).await.map_err(failed)?;
            }
            Step::Volume(volume) => {
                let name = volume.metadata.name.clone().unwrap_or_default();
                let volume = volumes.replace(&name, &params, &volume).await.map_err(failed)?;
                work.written.insert(name, Arc::new(volume));
                return Ok(true);
            }
            Step::VolumeStatus(volume) => {
                let name = volume.metadata.name.clone().unwrap_or_default();
                let volume = volumes.replace_status(&name, &params, &volume).await.map_err(failed)?;
                work.written.insert(name, Arc::new(volume));
                return Ok(true);
            }
            Step::Provision { node } => match self.provision(work, &node).await {
                Ok(volume) => {
                    work.written.insert(volume.metadata.name.clone().unwrap_or_default(), Arc::new(volume));
                    return Ok(true);
                }
                Err(StorageError::NodeMissing { .. }) if claims::selected_node(&work.claim).is_some() => {
                    let claim = claims::without_selected_node(&work.claim);
                    work.claim = api.replace(&work.key.name, &params, &claim).await.map_err(failed)?;
                }
                Err(error) => {
                    self.write_choice(work, &error).await?;
                    return Err(error);
                }
            },
        }
        work.claim_written = true;
        Ok(true)
    }

    /// Provisioning has failed: where it is tried can be seen from now on, and is settled, unless there is no such
    /// node.
    async fn write_choice(&self, work: &ClaimWork, error: &StorageError) -> Result<(), StorageError> {
        let Some(claim) = self.ctx.chosen.onto(&work.claim) else { return Ok(()) };
        if let StorageError::NodeMissing { .. } = error {
            self.ctx.chosen.withdraw(&work.key);
            return Ok(());
        }
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.ctx.client.clone(), &work.key.namespace);
        let written = api.replace(&work.key.name, &PostParams::default(), &claim).await;
        let written = written.map_err(|source| write_of(&work.key, source))?;
        seen(&self.ctx.caches.claims, &written.metadata).await;
        self.ctx.chosen.forget(&work.key);
        Ok(())
    }

    /// Makes the directory, then the volume that points to it; both may exist already from a run that
    /// ended in between.
    async fn provision(&self, work: &ClaimWork, node: &str) -> Result<PersistentVolume, StorageError> {
        let class_name = claims::class_of_claim(&work.claim);
        let Some(class) = self.ctx.caches.storage_classes.get("", class_name) else {
            return Err(StorageError::ClassMissing { claim: work.key.clone(), class: class_name.to_owned() });
        };
        let node = self.node(&work.key, node).await?;
        let path = self.directory(work, class_name, &node).await?;
        let volume = claims::provision(&work.claim, &class, &node, &path);
        let name = volume.metadata.name.clone().unwrap_or_default();
        let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
        let made = match api.create(&PostParams::default(), &volume).await {
            Err(error) if is_already_exists(&error) => api.get(&name).await,
            made => made,
        };
        let made = made.map_err(|source| StorageError::Write { what: format!("volume {name}"), source })?;
        let message = format!("Successfully provisioned volume {name}");
        self.tell(&work.claim, &Notice { warning: false, reason: "ProvisioningSucceeded", message });
        Ok(made)
    }

    /// Makes the claim's directory on the node and gives its path; a simulated node has no room for one.
    async fn directory(&self, work: &ClaimWork, class_name: &str, node: &Node) -> Result<String, StorageError> {
        let uid = work.claim.metadata.uid.as_deref().unwrap_or_default();
        if nodes::is_simulated(node) {
            return Ok(claims::simulated_path(uid));
        }
        self.dirs.create(nodes::hostname(node), uid).await.map_err(|source| {
            let error = StorageError::MakeDirectory { claim: work.key.clone(), source };
            let message = format!("failed to provision volume with StorageClass {class_name:?}: {error}");
            self.tell(&work.claim, &Notice { warning: true, reason: "ProvisioningFailed", message });
            error
        })
    }

    async fn node(&self, claim: &ObjectKey, name: &str) -> Result<Arc<Node>, StorageError> {
        if let Some(node) = self.ctx.caches.nodes.get("", name) {
            return Ok(node);
        }
        let api: Api<Node> = Api::all(self.ctx.client.clone());
        let live = api.get_opt(name).await;
        let live = live.map_err(|source| StorageError::Read { what: format!("node {name}"), source })?;
        live.map(Arc::new).ok_or_else(|| StorageError::NodeMissing { claim: claim.clone(), node: name.to_owned() })
    }

    /// A volume as it is: as just written, as cached, or read live before anyone calls it missing.
    async fn volume(
        &self,
        name: &str,
        written: &HashMap<String, Arc<PersistentVolume>>,
    ) -> Result<Option<Arc<PersistentVolume>>, StorageError> {
        if let Some(volume) = written.get(name).cloned().or_else(|| self.ctx.caches.volumes.get("", name)) {
            return Ok(Some(volume));
        }
        let api: Api<PersistentVolume> = Api::all(self.ctx.client.clone());
        let live = api.get_opt(name).await;
        let live = live.map_err(|source| StorageError::Read { what: format!("volume {name}"), source })?;
        Ok(live.map(Arc::new))
    }

    async fn pods_in(&self, namespace: &str) -> Result<Vec<Pod>, StorageError> {
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), namespace);
        let listed = api.list(&ListParams::default()).await;
        let read = |source| StorageError::Read { what: format!("the pods of namespace {namespace}"), source };
        Ok(listed.map_err(read)?.items)
    }

    fn unscheduled_pods(&self, claim: &ObjectKey) -> Vec<String> {
        let mut pods = self.related.pods_of(claim);
        pods.retain(|pod| stead_plan::scheduler::is_ours(pod));
        pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    fn tell(&self, claim: &PersistentVolumeClaim, notice: &Notice) {
        let type_ = if notice.warning { EventType::Warning } else { EventType::Normal };
        self.recorder.event(&reference_to(claim), type_, notice.reason, notice.message.clone());
    }
}

fn write_of(claim: &ObjectKey, source: kube::Error) -> StorageError {
    StorageError::Write { what: format!("claim {claim} or its volume"), source }
}
