//! Events: what happened to an object, for people. Recording never blocks and never fails its
//! caller; repeats of the same event raise a count instead of adding objects.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;

/// Events waiting to be written; further ones are dropped with a log line.
const QUEUE_MAX: usize = 1024;
/// Distinct events whose counts are remembered; then the memory starts afresh.
const REMEMBERED_MAX: usize = 2048;

/// How an event is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Information.
    Normal,
    /// Something is wrong.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Occurrence {
    namespace: String,
    kind: String,
    name: String,
    uid: String,
    field_path: String,
    type_: EventType,
    reason: String,
    message: String,
}

struct Recorded {
    about: ObjectReference,
    occurrence: Occurrence,
    at: Timestamp,
}

/// Writes events of one component in the background. Clones share one queue.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Recorded>,
}

impl Recorder {
    /// Starts a recorder for `component` (e.g. `statefulset-controller`) on `host` (the node name, or
    /// empty). Must be called within a tokio runtime.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        let (queue, recorded) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write_events(client, component.to_owned(), host.to_owned(), recorded));
        Self { queue }
    }

    /// Records that `reason` happened to `about`.
    pub fn event(&self, about: &ObjectReference, type_: EventType, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence {
            namespace: about.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or_else(|| "default".to_owned()),
            kind: about.kind.clone().unwrap_or_default(),
            name: about.name.clone().unwrap_or_default(),
            uid: about.uid.clone().unwrap_or_default(),
            field_path: about.field_path.clone().unwrap_or_default(),
            type_,
            reason: reason.to_owned(),
            message: message.into(),
        };
        let recorded = Recorded { about: about.clone(), occurrence, at: Timestamp::now() };
        if let Err(error) = self.queue.try_send(recorded) {
            tracing::warn!(reason, %error, "event dropped");
        }
    }
}

/// A reference to `object`, for events and targets.
pub fn reference_to<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

async fn write_events(client: Client, component: String, host: String, mut queue: mpsc::Receiver<Recorded>) {
    let mut counts: HashMap<Occurrence, (String, i32)> = HashMap::new();
    while let Some(recorded) = queue.recv().await {
        let api: Api<Event> = Api::namespaced(client.clone(), &recorded.occurrence.namespace);
        if let Some((name, count)) = counts.get_mut(&recorded.occurrence) {
            *count += 1;
            let patch = serde_json::json!({"count": *count, "lastTimestamp": Time(recorded.at)});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => continue,
                // Expired meanwhile: written anew below.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => {
                    tracing::debug!(%error, "cannot count an event");
                    continue;
                }
            }
        }
        let event = new_event(&recorded, &component, &host);
        let name = event.metadata.name.clone().unwrap_or_default();
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if counts.len() >= REMEMBERED_MAX {
                    counts.clear();
                }
                counts.insert(recorded.occurrence, (name, 1));
            }
            Err(error) => tracing::debug!(%error, "cannot write an event"),
        }
    }
}

fn new_event(recorded: &Recorded, component: &str, host: &str) -> Event {
    let occurrence = &recorded.occurrence;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", occurrence.name, recorded.at.as_nanosecond())),
            namespace: Some(occurrence.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: recorded.about.clone(),
        type_: Some(occurrence.type_.as_str().to_owned()),
        reason: Some(occurrence.reason.clone()),
        message: Some(occurrence.message.clone()),
        source: Some(EventSource {
            component: Some(component.to_owned()),
            host: Some(host.to_owned()).filter(|h| !h.is_empty()),
        }),
        first_timestamp: Some(Time(recorded.at)),
        last_timestamp: Some(Time(recorded.at)),
        count: Some(1),
        reporting_component: Some(component.to_owned()),
        reporting_instance: Some(host.to_owned()),
        ..Event::default()
    }
}
