//! What the planning controllers share: how one is run, and what it says to its queue and its events. It decides
//! nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_client::{Change, EventType, ObjectKey, Recorder, WorkQueue};
use stead_plan::pods::controller_of;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::own_writes::OwnWrites;
use crate::writer::WriteError;

/// Objects worked on at the same time by one controller.
const WORKERS: usize = 5;

/// A controller that brings one object after the other in line.
pub(crate) trait Reconcile: Send + Sync + 'static {
    /// Observes, plans and executes for the object `key`, once. A failure is tried again.
    fn sync(&self, key: &ObjectKey) -> impl Future<Output = Result<(), WriteError>> + Send;
}

/// What a planning controller works with.
pub(crate) struct Parts {
    pub(crate) ctx: Context,
    /// Objects to be worked on, now or later.
    pub(crate) queue: WorkQueue<ObjectKey>,
    pub(crate) recorder: Recorder,
    pub(crate) own: OwnWrites,
}

/// Lets a controller, which events call `component`, work until `shutdown` on the objects that `watch` puts on its
/// queue, from when the caches show everything.
pub(crate) async fn run<C: Reconcile>(
    ctx: Context,
    component: &str,
    watch: impl FnOnce(&Context, &WorkQueue<ObjectKey>),
    controller: impl FnOnce(Parts) -> C,
    shutdown: CancellationToken,
) {
    let queue = WorkQueue::new();
    watch(&ctx, &queue);
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.synced() => {}
    }
    let recorder = ctx.recorder(component);
    let parts = Parts { ctx, queue: queue.clone(), recorder, own: OwnWrites::default() };
    work(controller(parts), queue, shutdown).await;
}

async fn work(controller: impl Reconcile, queue: WorkQueue<ObjectKey>, shutdown: CancellationToken) {
    let controller = Arc::new(controller);
    let handler = move |key: ObjectKey| {
        let controller = Arc::clone(&controller);
        async move { controller.sync(&key).await }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

/// The old and the new state of what changed.
pub(crate) fn states<K>(change: &Change<K>) -> impl Iterator<Item = &Arc<K>> {
    let (old, new) = change.sides();
    old.into_iter().chain(new)
}

/// Puts the owner of an object on the queue, when it is of `kind`.
pub(crate) fn enqueue_owner(queue: &WorkQueue<ObjectKey>, kind: &str, meta: &ObjectMeta) {
    if let Some(owner) = controller_of(meta).filter(|owner| owner.kind == kind) {
        queue.add(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), &owner.name));
    }
}

/// Writes an event about `about`.
pub(crate) fn tell(recorder: &Recorder, about: &ObjectReference, warning: bool, reason: &str, message: &str) {
    let kind = if warning { EventType::Warning } else { EventType::Normal };
    recorder.event(about, kind, reason, message);
}

/// How long from `now` to `at`; nothing when it is past.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}
