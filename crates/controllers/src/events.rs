//! Events that have had their time, or are too many, are deleted. Which these are is decided in
//! `plan::events`; every deletion rests on a live read and names the UID and the resourceVersion seen, so
//! that an event which has just happened again stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use stead_api::registry::kind_of;
use stead_client::{Cache, Change, Clock, ListScope, ObjectKey, WorkQueue};
use stead_plan::events;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metadata::{self, Metadata};
use crate::outcome::{deleted, exactly, is_conflict};

const WORKERS: usize = 2;
/// Deletions in flight at the same time while there are too many events.
const DELETIONS_MAX: usize = 32;

/// How long and how many events are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long an event is kept after it last happened.
    pub lifetime: Duration,
    /// How many are kept.
    pub count_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lifetime: events::LIFETIME, count_max: events::EVENTS_MAX }
    }
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Event(ObjectKey),
    /// The number of events.
    Number,
}

/// Why an event has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum ExpiryError {
    #[error("cannot read event {event}")]
    Read { event: ObjectKey, source: kube::Error },
    #[error("cannot delete event {event}")]
    Delete { event: ObjectKey, source: kube::Error },
}

/// Runs until `shutdown`.
pub async fn run(ctx: Context, limits: Limits, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    let all: Cache<Metadata> = Cache::start(metadata::api(&ctx.client, kind_of::<Event>(), ""), ListScope::default());
    observe(&all, &queue, limits, ctx.clock.clone());
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = all.synced() => {}
    }
    let keeper = Arc::new(Keeper { client: ctx.client.clone(), all, queue: queue.clone(), limits, clock: ctx.clock });
    let handler = move |key: Key| {
        let keeper = Arc::clone(&keeper);
        async move {
            match key {
                Key::Event(key) => keeper.process(&key).await,
                Key::Number => keeper.thin_out().await,
            }
        }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

/// An event is looked at when its time would be over had it not happened again.
fn observe(all: &Cache<Metadata>, queue: &WorkQueue<Key>, limits: Limits, clock: Clock) {
    let (queue, count) = (queue.clone(), AtomicUsize::new(0));
    all.on_change(move |change| match change {
        Change::Applied { old, new } => {
            let created = new.metadata.creation_timestamp.as_ref().map(|time| time.0);
            let age = created.and_then(|created| Duration::try_from(clock.now().duration_since(created)).ok());
            let left = limits.lifetime.saturating_sub(age.unwrap_or_default());
            queue.add_after(
                Key::Event(ObjectKey::new(
                    new.metadata.namespace.clone().unwrap_or_default(),
                    new.metadata.name.clone().unwrap_or_default(),
                )),
                left,
            );
            if old.is_none() && count.fetch_add(1, Ordering::Relaxed) >= limits.count_max {
                queue.add(Key::Number);
            }
        }
        Change::Deleted { .. } => {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    });
}

struct Keeper {
    client: kube::Client,
    all: Cache<Metadata>,
    queue: WorkQueue<Key>,
    limits: Limits,
    clock: Clock,
}

impl Keeper {
    async fn process(&self, key: &ObjectKey) -> Result<(), ExpiryError> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
        let live = api.get_opt(&key.name).await.map_err(|source| ExpiryError::Read { event: key.clone(), source })?;
        let Some(event) = live else { return Ok(()) };
        let left = events::time_left(&event, self.limits.lifetime, self.clock.now());
        if !left.is_zero() {
            self.queue.add_after(Key::Event(key.clone()), left);
            return Ok(());
        }
        self.delete(key, &event.metadata).await
    }

    async fn thin_out(&self) -> Result<(), ExpiryError> {
        let all = self.all.list();
        let surplus = events::surplus(all.iter().map(|event| &event.metadata), self.limits.count_max);
        let surplus: Vec<ObjectMeta> = surplus.into_iter().cloned().collect();
        if surplus.is_empty() {
            return Ok(());
        }
        tracing::info!(count = surplus.len(), "deleting events: there are too many");
        let deletions = surplus.into_iter().map(|meta| async move {
            let (namespace, name) = (meta.namespace.clone(), meta.name.clone());
            self.delete(&ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default()), &meta).await
        });
        let outcomes: Vec<_> = stream::iter(deletions).buffer_unordered(DELETIONS_MAX).collect().await;
        outcomes.into_iter().collect()
    }

    /// Deletes the event unless it has happened again meanwhile.
    async fn delete(&self, key: &ObjectKey, meta: &ObjectMeta) -> Result<(), ExpiryError> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
        let uid = meta.uid.as_deref().unwrap_or_default();
        let params = exactly(uid, meta.resource_version.as_deref(), None);
        match deleted(api.delete(&key.name, &params).await) {
            Ok(()) => Ok(()),
            Err(error) if is_conflict(&error) => {
                self.queue.add_after(Key::Event(key.clone()), self.limits.lifetime);
                Ok(())
            }
            Err(source) => Err(ExpiryError::Delete { event: key.clone(), source }),
        }
    }
}
