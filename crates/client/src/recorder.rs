//! Events: what happened to an object, for people. Recording never blocks and never fails its
//! caller. How many events become of what is recorded is decided in `correlate`.

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
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

/// Events of one component being written at the same time.
const WRITTEN_AT_ONCE_MAX: usize = 32;

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
        let author = Author { client, component: component.to_owned(), host: host.to_owned() };
        tokio::spawn(write_events(author, recorded));
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

/// Who writes events, and as whom.
struct Author {
    client: Client,
    component: String,
    host: String,
}

/// An event that is known under its name from now on.
struct Known {
    slot: Slot,
    name: String,
}

async fn write_events(author: Author, mut queue: mpsc::Receiver<Recorded>) {
    let mut correlator = Correlator::default();
    let mut writing = FuturesUnordered::new();
    loop {
        let recorded = tokio::select! {
            Some(anew) = writing.next() => {
                take_note(&mut correlator, anew);
                continue;
            }
            recorded = queue.recv(), if writing.len() < WRITTEN_AT_ONCE_MAX => recorded,
        };
        let Some(recorded) = recorded else { break };
        match correlator.judge(&recorded.occurrence, recorded.at) {
            Verdict::Suppress => {}
            Verdict::Write { message, slot } => {
                let event = author.event(&recorded, message);
                correlator.remember(slot, event.metadata.name.clone().unwrap_or_default());
                writing.push(author.create(event).map(|()| None).boxed());
            }
            Verdict::Repeat { name, count, message, slot } => {
                // It may be one of those being written.
                while let Some(anew) = writing.next().await {
                    take_note(&mut correlator, anew);
                }
                let patch = serde_json::json!({"count": count, "message": message, "lastTimestamp": Time(recorded.at)});
                writing.push(author.repeat(name, patch, slot, author.event(&recorded, message)).boxed());
            }
        }
    }
    while writing.next().await.is_some() {}
}

fn take_note(correlator: &mut Correlator, anew: Option<Known>) {
    if let Some(Known { slot, name }) = anew {
        correlator.remember(slot, name);
    }
}

impl Author {
    fn api(&self, event: &Event) -> Api<Event> {
        Api::namespaced(self.client.clone(), event.metadata.namespace.as_deref().unwrap_or_default())
    }

    async fn create(&self, event: Event) {
        if let Err(error) = self.api(&event).create(&PostParams::default(), &event).await {
            tracing::debug!(%error, "cannot write an event");
        }
    }

    /// Raises the count of the event `name`; if it has expired meanwhile, `anew` takes its place.
    async fn repeat(&self, name: String, patch: serde_json::Value, slot: Slot, anew: Event) -> Option<Known> {
        let patched = self.api(&anew).patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await;
        match patched {
            Ok(_) => None,
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let name = anew.metadata.name.clone().unwrap_or_default();
                self.create(anew).await;
                Some(Known { slot, name })
            }
            Err(error) => {
                tracing::debug!(%error, "cannot count an event");
                None
            }
        }
    }

    fn event(&self, recorded: &Recorded, message: String) -> Event {
        let Self { component, host, .. } = self;
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
                component: Some(component.clone()),
                host: Some(host.clone()).filter(|host| !host.is_empty()),
            }),
            first_timestamp: Some(Time(recorded.at)),
            last_timestamp: Some(Time(recorded.at)),
            count: Some(1),
            reporting_component: Some(component.clone()),
            reporting_instance: Some(host.clone()),
            ..Event::default()
        }
    }
}
