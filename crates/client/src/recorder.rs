//! Events: what happened to an object, for people. Recording never blocks and never fails its
//! caller. How many events become of what is recorded is decided in `correlate`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;

use crate::Clock;
use crate::correlate::{Correlator, Occurrence, Slot, Subject, Verdict};

/// Events waiting to be written; further ones are dropped with a log line.
const QUEUE_MAX: usize = 1024;

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

struct Recorded {
    about: ObjectReference,
    occurrence: Occurrence,
    at: Timestamp,
}

/// Writes events of one component in the background. Clones share one queue.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Recorded>,
    clock: Clock,
}

impl Recorder {
    /// Starts a recorder for `component` (e.g. `statefulset-controller`) on `host` (the node name, or
    /// empty). Must be called within a tokio runtime.
    pub fn new(client: Client, component: &str, host: &str) -> Self {
        Self::with_clock(client, component, host, Clock::system())
    }

    /// The same by another clock than the machine's.
    pub fn with_clock(client: Client, component: &str, host: &str, clock: Clock) -> Self {
        let (queue, recorded) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(write_events(client, component.to_owned(), host.to_owned(), recorded));
        Self { queue, clock }
    }

    /// Records that `reason` happened to `about`.
    pub fn event(&self, about: &ObjectReference, type_: EventType, reason: &str, message: impl Into<String>) {
        self.record(about, type_, reason, message.into(), false);
    }

    /// Records how far something that goes on has come: one event of this reason about `about`, whose
    /// message changes.
    pub fn progress(&self, about: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(about, EventType::Normal, reason, message.into(), true);
    }

    fn record(&self, about: &ObjectReference, type_: EventType, reason: &str, message: String, goes_on: bool) {
        let subject = Subject {
            namespace: about.namespace.clone().filter(|ns| !ns.is_empty()).unwrap_or_else(|| "default".to_owned()),
            kind: about.kind.clone().unwrap_or_default(),
            name: about.name.clone().unwrap_or_default(),
            uid: about.uid.clone().unwrap_or_default(),
        };
        let occurrence = Occurrence {
            subject,
            field_path: about.field_path.clone().unwrap_or_default(),
            type_,
            reason: reason.to_owned(),
            message,
            goes_on,
        };
        let recorded = Recorded { about: about.clone(), occurrence, at: self.clock.now() };
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
    let mut correlator = Correlator::default();
    while let Some(recorded) = queue.recv().await {
        let api: Api<Event> = Api::namespaced(client.clone(), &recorded.occurrence.subject.namespace);
        let (message, slot) = match correlator.judge(&recorded.occurrence, recorded.at) {
            Verdict::Suppress => continue,
            Verdict::Write { message, slot } => (message, slot),
            Verdict::Repeat { name, count, message, slot } => {
                let patch = serde_json::json!({"count": count, "message": message, "lastTimestamp": Time(recorded.at)});
                match api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
                    Ok(_) => continue,
                    // Expired meanwhile: written anew below.
                    Err(kube::Error::Api(status)) if status.code == 404 => (message, slot),
                    Err(error) => {
                        tracing::debug!(%error, "cannot count an event");
                        continue;
                    }
                }
            }
        };
        let event = new_event(&recorded, message, &component, &host);
        write(&api, event, slot, &mut correlator).await;
    }
}

async fn write(api: &Api<Event>, event: Event, slot: Slot, correlator: &mut Correlator) {
    match api.create(&PostParams::default(), &event).await {
        Ok(written) => correlator.remember(slot, written.metadata.name.unwrap_or_default()),
        Err(error) => tracing::debug!(%error, "cannot write an event"),
    }
}

fn new_event(recorded: &Recorded, message: String, component: &str, host: &str) -> Event {
    let occurrence = &recorded.occurrence;
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", occurrence.subject.name, recorded.at.as_nanosecond())),
            namespace: Some(occurrence.subject.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: recorded.about.clone(),
        type_: Some(occurrence.type_.as_str().to_owned()),
        reason: Some(occurrence.reason.clone()),
        message: Some(message),
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
