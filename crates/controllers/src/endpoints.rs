//! Endpoints and EndpointSlices of Services: observes Services, their pods and what is published, and
//! writes what `plan::endpoints` decides (contract 3A-3C). A pod's readiness reaches its slices with the
//! watch event that brings it; only what comes while a Service rests is published together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use stead_client::{Change, EventType, ObjectKey, Recorder, WorkQueue, reference_to};
use stead_plan::endpoints::{self, EndpointsAction, Observed, SliceAction, TriggerTimes};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answered;
use crate::context::Context;
use crate::framework::states;
use crate::locks::lock;
use crate::outcome::{deleted, exactly, is_already_exists, is_namespace_terminating, is_not_found, seen};

const WORKERS: usize = 4;
/// A Service rests four times as long as it took to publish it, and no longer than this: publishing writes whole
/// lists, and of a burst of pods that become ready not each needs lists of its own.
const REST_TIMES: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(100);
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Why a Service has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error("cannot write an EndpointSlice of {service}")]
    Slice { service: ObjectKey, source: kube::Error },
    #[error("cannot write the Endpoints of {service}")]
    Endpoints { service: ObjectKey, source: kube::Error },
    #[error("cannot read {service}")]
    Service { service: ObjectKey, source: kube::Error },
    #[error("the nodes of pods {pods:?} of {service} are not known")]
    NodesMissing { service: ObjectKey, pods: Vec<String> },
}

/// Runs until `shutdown`.
pub async fn run(ctx: Context, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    observe(&ctx, &queue);
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.synced() => {}
    }
    let recorder = ctx.recorder("endpoint-slice-controller");
    let publisher = Arc::new(Publisher { ctx, recorder, triggers: Mutex::default() });
    let resting = queue.clone();
    let handler = move |key: ObjectKey| {
        let (publisher, resting) = (Arc::clone(&publisher), resting.clone());
        async move {
            let begun = Instant::now();
            let published = publisher.publish(&key).await;
            resting.rest(key, (begun.elapsed() * REST_TIMES).min(REST_MAX));
            published
        }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

fn observe(ctx: &Context, queue: &WorkQueue<ObjectKey>) {
    let on_service = queue.clone();
    ctx.caches.services.on_change(move |change| on_service.add(ObjectKey::of(&**change.object())));
    let on_endpoints = queue.clone();
    ctx.caches.endpoints.on_change(move |change| on_endpoints.add(ObjectKey::of(&**change.object())));
    let on_slice = queue.clone();
    ctx.caches.endpoint_slices.on_change(move |change| {
        if let Some(service) = service_of(change.object()) {
            on_slice.add(service);
        }
    });
    let (on_pod, services) = (queue.clone(), ctx.caches.services.clone());
    ctx.caches.pods.on_change(move |change| {
        let (before, now) = change.sides();
        if !endpoints::is_relevant_change(before.map(Arc::as_ref), now.map(Arc::as_ref)) {
            return;
        }
        let states: Vec<&Arc<Pod>> = states(&change).collect();
        let namespace = states[0].metadata.namespace.as_deref().unwrap_or_default();
        for service in services.list_in(namespace) {
            if states.iter().any(|pod| endpoints::selects(&service, pod)) {
                on_pod.add(ObjectKey::of(&*service));
            }
        }
    });
    let (on_node, services) = (queue.clone(), ctx.caches.services.clone());
    ctx.caches.nodes.on_change(move |change| {
        let Change::Applied { old, new } = &change else { return };
        if old.as_ref().is_none_or(|old| zone(old) != zone(new)) {
            services.list().iter().for_each(|service| on_node.add(ObjectKey::of(&**service)));
        }
    });
}

fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE_LABEL))
}

/// The Service a slice of ours belongs to.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(endpoints::SLICE_MANAGED_BY_LABEL).is_some_and(|by| by == endpoints::SLICE_MANAGER);
    let name = labels.get(endpoints::SERVICE_NAME_LABEL)?;
    ours.then(|| ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name))
}

struct Publisher {
    ctx: Context,
    recorder: Recorder,
    triggers: Mutex<HashMap<ObjectKey, TriggerTimes>>,
}

impl Publisher {
    async fn publish(&self, key: &ObjectKey) -> Result<(), PublishError> {
        let caches = &self.ctx.caches;
        let Some(service) = caches.services.get_key(key) else { return self.withdraw(key).await };
        if !endpoints::applies_to(&service) || service.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut pods = caches.pods.list_in(&key.namespace);
        pods.retain(|pod| endpoints::selects(&service, pod));
        let mut slices = caches.endpoint_slices.list_in(&key.namespace);
        slices.retain(|slice| service_of(slice).as_ref() == Some(key));
        let held = caches.endpoints.get_key(key);
        let trigger = {
            let mut triggers = lock(&self.triggers);
            triggers.entry(key.clone()).or_default().advance(&service, &pods)
        };
        let plan = endpoints::plan(&Observed {
            service: &service,
            pods: &pods,
            node: &|name| caches.nodes.get("", name),
            slices: &slices,
            endpoints: held.as_deref(),
            trigger,
        });
        let (slices, endpoints) =
            tokio::join!(self.write_slices(key, plan.slices), self.write_endpoints(key, plan.endpoints));
        let written = slices.and(endpoints);
        if let Err(error) = &written {
            self.complain(&service, error);
        }
        written?;
        match plan.pods_without_node {
            pods if pods.is_empty() => Ok(()),
            pods => Err(PublishError::NodesMissing { service: key.clone(), pods }),
        }
    }

    /// Carries the actions out up to the first that fails, and in any case waits until those that did not
    /// can be seen: a slice is made under a generated name, and nothing else keeps it from being made twice.
    async fn write_slices(&self, key: &ObjectKey, actions: Vec<SliceAction>) -> Result<(), PublishError> {
        let mut outcome = Ok(());
        let mut last = None;
        for action in actions {
            match self.write_slice(key, action).await {
                Ok(slice) => last = slice.or(last),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if let Some(slice) = last {
            seen(&self.ctx.caches.endpoint_slices, &slice).await;
        }
        match outcome {
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            outcome => outcome.map_err(|source| PublishError::Slice { service: key.clone(), source }),
        }
    }

    async fn write_slice(&self, key: &ObjectKey, action: SliceAction) -> kube::Result<Option<ObjectMeta>> {
        let api: Api<EndpointSlice> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        match action {
            SliceAction::Create(slice) => answered::create(&api, &slice).await.map(Some),
            SliceAction::Update(slice) => {
                let name = slice.metadata.name.clone().unwrap_or_default();
                answered::replace(&api, &name, &slice).await.map(Some)
            }
            SliceAction::Delete { name, uid, resource_version } => {
                deleted(api.delete(&name, &exactly(&uid, Some(&resource_version), None)).await).map(|()| None)
            }
        }
    }

    async fn write_endpoints(&self, key: &ObjectKey, action: Option<EndpointsAction>) -> Result<(), PublishError> {
        let api: Api<Endpoints> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        let written = match action {
            None => return Ok(()),
            Some(EndpointsAction::Create(wanted)) => answered::create(&api, &wanted).await,
            Some(EndpointsAction::Update(wanted)) => answered::replace(&api, &key.name, &wanted).await,
        };
        match written {
            Ok(endpoints) => {
                seen(&self.ctx.caches.endpoints, &endpoints).await;
                Ok(())
            }
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            Err(source) => Err(PublishError::Endpoints { service: key.clone(), source }),
        }
    }

    /// The Service is gone: so is its Endpoints object, unless it is somebody else's. Slices follow their
    /// owner reference.
    async fn withdraw(&self, key: &ObjectKey) -> Result<(), PublishError> {
        lock(&self.triggers).remove(key);
        let Some(held) = self.ctx.caches.endpoints.get_key(key) else { return Ok(()) };
        if !endpoints::is_abandoned(&held) {
            return Ok(());
        }
        let services: Api<Service> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        let live = services.get_opt(&key.name).await;
        if live.map_err(|source| PublishError::Service { service: key.clone(), source })?.is_some() {
            return Ok(());
        }
        let api: Api<Endpoints> = Api::namespaced(self.ctx.client.clone(), &key.namespace);
        let params =
            exactly(held.metadata.uid.as_deref().unwrap_or_default(), held.metadata.resource_version.as_deref(), None);
        let gone = deleted(api.delete(&key.name, &params).await);
        gone.map_err(|source| PublishError::Endpoints { service: key.clone(), source })
    }

    /// Tells people, unless the failure is a race that the next look settles.
    fn complain(&self, service: &Service, error: &PublishError) {
        let source = match error {
            PublishError::Slice { source, .. } => source,
            PublishError::Endpoints { .. } | PublishError::Service { .. } | PublishError::NodesMissing { .. } => return,
        };
        let race = is_not_found(source) || is_already_exists(source) || crate::outcome::is_conflict(source);
        if race {
            return;
        }
        let (namespace, name) = (&service.metadata.namespace, &service.metadata.name);
        let message = format!(
            "Error updating Endpoint Slices for Service {}/{}: {source}",
            namespace.as_deref().unwrap_or_default(),
            name.as_deref().unwrap_or_default()
        );
        self.recorder.event(&reference_to(service), EventType::Warning, "FailedToUpdateEndpointSlices", message);
    }
}
