//! A shared, watch-fed copy of one kind. It relists by itself when its watch is lost and tells
//! handlers about every difference; it never shows a state older than one it has shown before, nor half
//! of a list: what a lost watch has missed appears at once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt, pin_mut};
use kube::api::{WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::ObjectKey;

const BACKOFF_FIRST: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Which objects of the kind a cache holds.
#[derive(Clone, Debug, Default)]
pub struct ListScope {
    /// Label selector; none is everything.
    pub labels: Option<String>,
    /// Field selector; none is everything.
    pub fields: Option<String>,
}

/// What a namespace held at one revision, as the API listed it.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// The revision of the list.
    pub revision: u64,
    /// resourceVersion of each object by name.
    pub objects: BTreeMap<String, u64>,
}

/// A difference between two states of a cache.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new or different.
    Applied {
        /// What the cache held before.
        old: Option<Arc<K>>,
        /// What it holds now.
        new: Arc<K>,
    },
    /// The object is gone.
    Deleted {
        /// Its last state.
        old: Arc<K>,
    },
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { old, new } => Self::Applied { old: old.clone(), new: Arc::clone(new) },
            Self::Deleted { old } => Self::Deleted { old: Arc::clone(old) },
        }
    }
}

impl<K> Change<K> {
    /// What was before, and what is now.
    pub fn sides(&self) -> (Option<&Arc<K>>, Option<&Arc<K>>) {
        match self {
            Self::Applied { old, new } => (old.as_ref(), Some(new)),
            Self::Deleted { old } => (Some(old), None),
        }
    }

    /// The newest known state of the object.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied { new, .. } => new,
            Self::Deleted { old } => old,
        }
    }
}

type Handler<K> = Box<dyn Fn(Change<K>) + Send + Sync>;

struct Shared<K> {
    objects: RwLock<BTreeMap<ObjectKey, Arc<K>>>,
    /// Held while a change is applied and announced, so that a new handler misses nothing.
    handlers: Mutex<Vec<Handler<K>>>,
    revision: watch::Sender<u64>,
    synced: watch::Sender<bool>,
}

/// A shared copy of one kind. Clones see the same objects; the watch ends with the last clone.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    task: Arc<tokio_util::task::AbortOnDropHandle<()>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), task: Arc::clone(&self.task) }
    }
}

impl<K> Cache<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// Starts watching. Must be called within a tokio runtime.
    pub fn start(api: Api<K>, scope: ListScope) -> Self {
        let shared = Arc::new(Shared {
            objects: RwLock::default(),
            handlers: Mutex::default(),
            revision: watch::Sender::new(0),
            synced: watch::Sender::new(false),
        });
        let task = tokio::spawn(keep_watching(api, scope, Arc::clone(&shared)));
        Self { shared, task: Arc::new(tokio_util::task::AbortOnDropHandle::new(task)) }
    }

    /// Waits until everything that existed at the start has been seen.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _open = synced.wait_for(|synced| *synced).await.is_ok();
    }

    /// Whether [`Cache::synced`] would return at once.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&ObjectKey::new(namespace, name))
    }

    /// One object by key.
    pub fn get_key(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.objects().get(key).cloned()
    }

    /// Every object, in key order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.objects().values().cloned().collect()
    }

    /// The objects of one namespace, in name order.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = ObjectKey::new(namespace, "");
        self.objects()
            .range(first..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| Arc::clone(object))
            .collect()
    }

    /// The newest resourceVersion seen.
    pub fn revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// Waits until the cache has seen `revision`, for reading one's own writes.
    pub async fn wait_revision(&self, revision: u64) {
        let mut seen = self.shared.revision.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _open = seen.wait_for(|seen| *seen >= revision).await.is_ok();
    }

    /// Waits until nothing in the cache is older than `live`, what the API itself has listed of
    /// `namespace`. Objects are compared, too: that nothing else has happened is seldom told.
    pub async fn wait_listed(&self, namespace: &str, live: &Listed) {
        let mut seen = self.shared.revision.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _open = seen.wait_for(|seen| *seen >= live.revision || self.shows(namespace, live)).await.is_ok();
    }

    /// Whether everything listed is held, in that state or a newer one, and nothing that was gone then.
    fn shows(&self, namespace: &str, live: &Listed) -> bool {
        let mut known = 0;
        for object in self.list_in(namespace) {
            let at = revision_of(object.as_ref());
            match live.objects.get(object.meta().name.as_deref().unwrap_or_default()) {
                Some(listed) if at >= *listed => known += 1,
                None if at > live.revision => {}
                Some(_) | None => return false,
            }
        }
        known == live.objects.len()
    }

    /// Calls `handler` once for every object held now and then inline for every change. Handlers
    /// must be quick and must not call back into `on_change`: they put keys on a queue.
    pub fn on_change(&self, handler: impl Fn(Change<K>) + Send + Sync + 'static) {
        self.on_change_after(|_| {}, handler);
    }

    /// The same, but `first` is shown everything held, as a whole, before `handler` is told of it: what is not
    /// among it is gone, or will be told. Nothing changes meanwhile.
    pub fn on_change_after(&self, first: impl FnOnce(&[Arc<K>]), handler: impl Fn(Change<K>) + Send + Sync + 'static) {
        let mut handlers = lock(&self.shared.handlers);
        let held = self.list();
        first(&held);
        for object in held {
            handler(Change::Applied { old: None, new: object });
        }
        handlers.push(Box::new(handler));
    }

    fn objects(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<ObjectKey, Arc<K>>> {
        self.shared.objects.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Resource> Shared<K> {
    fn apply(&self, object: K) {
        let key = ObjectKey::of(&object);
        let revision = revision_of(&object);
        let handlers = lock(&self.handlers);
        let new = Arc::new(object);
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            match objects.get(&key) {
                Some(held) if revision_of(held.as_ref()) == revision => return,
                _ => objects.insert(key, Arc::clone(&new)),
            }
        };
        announce_new(&handlers, old, new);
        // Last: whoever waits for the revision finds the handlers' own pictures up to date, too.
        self.advance(revision);
    }

    fn remove(&self, key: &ObjectKey, last: K) {
        let handlers = lock(&self.handlers);
        let held = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        let revision = revision_of(&last);
        if held.is_some() {
            announce(&handlers, &Change::Deleted { old: Arc::new(last) });
        }
        self.advance(revision);
    }

    /// Takes over a fresh list, the state at `revision`, in one step.
    fn replace(&self, listed: BTreeMap<ObjectKey, Arc<K>>, revision: u64) {
        let handlers = lock(&self.handlers);
        let held = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *objects, listed.clone())
        };
        for (key, new) in &listed {
            match held.get(key) {
                Some(old) if revision_of(old.as_ref()) == revision_of(new.as_ref()) => {}
                old => announce_new(&handlers, old.cloned(), Arc::clone(new)),
            }
        }
        for (_, old) in held.into_iter().filter(|(key, _)| !listed.contains_key(key)) {
            announce(&handlers, &Change::Deleted { old });
        }
        self.advance(revision);
    }

    fn advance(&self, revision: u64) {
        self.revision.send_if_modified(|seen| {
            let newer = revision > *seen;
            if newer {
                *seen = revision;
            }
            newer
        });
    }
}

/// Tells of a new state of an object, or of a new object of the same name.
fn announce_new<K: Resource>(handlers: &[Handler<K>], old: Option<Arc<K>>, new: Arc<K>) {
    match old {
        // Another object of the same name: that the first one went was missed.
        Some(gone) if gone.meta().uid != new.meta().uid => {
            announce(handlers, &Change::Deleted { old: gone });
            announce(handlers, &Change::Applied { old: None, new });
        }
        old => announce(handlers, &Change::Applied { old, new }),
    }
}

/// Tells every handler. One that panics has missed the change; the others and the cache have not.
fn announce<K>(handlers: &[Handler<K>], change: &Change<K>) {
    for handler in handlers {
        let told = catch_unwind(AssertUnwindSafe(|| handler(change.clone())));
        if told.is_err() {
            tracing::error!("a handler of changes panicked and has missed one");
        }
    }
}

fn revision_of(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Where the next watch starts.
enum Position {
    /// With everything that exists.
    Beginning,
    /// After this revision.
    After(String),
}

/// Why a watch ended.
enum End {
    /// The server closed it in good order.
    Closed,
    /// The revision is no longer kept.
    Expired,
    /// Anything else.
    Failed(String),
}

/// One watch, as far as it has come.
struct Progress {
    position: Position,
    /// Whether this watch has shown anything. One that shows nothing before it ends is not asked for
    /// again at once, however politely it ended.
    has_shown: bool,
}

async fn keep_watching<K>(api: Api<K>, scope: ListScope, shared: Arc<Shared<K>>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut progress = Progress { position: Position::Beginning, has_shown: false };
    let mut backoff = BACKOFF_FIRST;
    loop {
        progress.has_shown = false;
        let watched = AssertUnwindSafe(watch_once(&api, &scope, &shared, &mut progress)).catch_unwind().await;
        let end = watched.unwrap_or_else(|_panic| End::Failed("it panicked".to_owned()));
        match &end {
            End::Closed => {}
            End::Expired => progress.position = Position::Beginning,
            End::Failed(reason) => {
                tracing::debug!(resource = %api.resource_url(), %reason, "watch failed, trying again");
            }
        }
        if progress.has_shown && !matches!(end, End::Failed(_)) {
            backoff = BACKOFF_FIRST;
            continue;
        }
        tokio::time::sleep(backoff).await;
        backoff = if progress.has_shown { BACKOFF_FIRST } else { (backoff * 2).min(BACKOFF_MAX) };
    }
}

async fn watch_once<K>(api: &Api<K>, scope: &ListScope, shared: &Shared<K>, progress: &mut Progress) -> End
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let mut params = WatchParams { bookmarks: true, ..WatchParams::default() };
    params.label_selector.clone_from(&scope.labels);
    params.field_selector.clone_from(&scope.fields);
    let Progress { position, has_shown } = progress;
    let mut listed = None;
    let from = match &*position {
        Position::Beginning => {
            params.send_initial_events = true;
            listed = Some(BTreeMap::new());
            String::new()
        }
        Position::After(revision) => revision.clone(),
    };
    let events = match open(api, &params, &from).await {
        Ok(events) => events,
        Err(error) => return end_of(&error),
    };
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let event = event.and_then(read::<K>);
        *has_shown |= !matches!(event, Err(_) | Ok(WatchEvent::Error(_)));
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                if let Some(listed) = &mut listed {
                    listed.insert(ObjectKey::of(&object), Arc::new(object));
                } else {
                    *position = Position::After(revision_of(&object).to_string());
                    shared.apply(object);
                }
            }
            Ok(WatchEvent::Deleted(object)) => {
                let key = ObjectKey::of(&object);
                if let Some(listed) = &mut listed {
                    listed.remove(&key);
                } else {
                    *position = Position::After(revision_of(&object).to_string());
                    shared.remove(&key, object);
                }
            }
            Ok(WatchEvent::Bookmark(bookmark)) => {
                let revision = bookmark.metadata.resource_version.parse().unwrap_or(0);
                if bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END)
                    && let Some(listed) = listed.take()
                {
                    shared.replace(listed, revision);
                    shared.synced.send_replace(true);
                }
                if listed.is_none() {
                    shared.advance(revision);
                    *position = Position::After(bookmark.metadata.resource_version);
                }
            }
            Ok(WatchEvent::Error(status)) => return end_of(&kube::Error::Api(status)),
            Err(error) => return end_of(&error),
        }
    }
    End::Closed
}

/// Opens a watch whose objects are still text.
async fn open<K>(
    api: &Api<K>,
    params: &WatchParams,
    from: &str,
) -> kube::Result<impl Stream<Item = kube::Result<WatchEvent<Box<RawValue>>>> + use<K>>
where
    K: Resource + Clone,
{
    let request = kube::core::Request::new(api.resource_url());
    let request = match K::metadata_api() {
        true => request.watch_metadata(params, from),
        false => request.watch(params, from),
    };
    api.clone().into_client().request_events(request.map_err(kube::Error::BuildRequest)?).await
}

/// The same event with its object as it is.
fn read<K: DeserializeOwned>(event: WatchEvent<Box<RawValue>>) -> kube::Result<WatchEvent<K>> {
    let object = |text: Box<RawValue>| stead_api::decode::read(text.get()).map_err(kube::Error::SerdeError);
    Ok(match event {
        WatchEvent::Added(text) => WatchEvent::Added(object(text)?),
        WatchEvent::Modified(text) => WatchEvent::Modified(object(text)?),
        WatchEvent::Deleted(text) => WatchEvent::Deleted(object(text)?),
        WatchEvent::Bookmark(bookmark) => WatchEvent::Bookmark(bookmark),
        WatchEvent::Error(status) => WatchEvent::Error(status),
    })
}

fn end_of(error: &kube::Error) -> End {
    match error {
        kube::Error::Api(status) if status.code == 410 => End::Expired,
        other => End::Failed(other.to_string()),
    }
}
