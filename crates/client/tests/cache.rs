//! Caches against a scripted server: what handlers are told when a watch is lost and the world has
//! moved on meanwhile, and what a server is spared that ends every watch at once.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use stead_client::{Cache, Change, Index, ListScope, Listed};

/// What the server says to each watch in turn; then nothing is said any more and the watch stays open.
type Script = Arc<Mutex<VecDeque<Vec<String>>>>;

fn event(type_: &str, name: &str, uid: &str, revision: u64) -> String {
    format!(
        r#"{{"type":"{type_}","object":{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"ns","uid":"{uid}","resourceVersion":"{revision}"}}}}}}"#
    )
}

fn end_of_state(revision: u64) -> String {
    format!(
        r#"{{"type":"BOOKMARK","object":{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"resourceVersion":"{revision}","annotations":{{"k8s.io/initial-events-end":"true"}}}}}}}}"#
    )
}

fn expired() -> String {
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","status":"Failure","message":"too old","reason":"Expired","code":410}}"#.to_owned()
}

fn client(script: &Script, requests: &Arc<AtomicUsize>) -> Client {
    let (script, requests) = (Arc::clone(script), Arc::clone(requests));
    let service = tower::service_fn(move |_request: http::Request<kube::client::Body>| {
        requests.fetch_add(1, Ordering::SeqCst);
        let lines = script.lock().unwrap().pop_front();
        async move {
            let open = lines.is_none();
            let lines = stream::iter(lines.unwrap_or_default().into_iter().map(|line| Bytes::from(line + "\n")));
            let rest = if open { stream::pending().boxed() } else { stream::empty().boxed() };
            let frames = lines.chain(rest).map(|bytes| Ok::<_, Infallible>(Frame::data(bytes)));
            Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
        }
    });
    Client::new(service, "ns")
}

fn told(change: &Change<ConfigMap>) -> String {
    let uid = |map: &ConfigMap| map.metadata.uid.clone().unwrap_or_default();
    match change {
        Change::Applied { old, new } => {
            format!("{} after {}", uid(new), old.as_ref().map_or("nothing".to_owned(), |old| uid(old)))
        }
        Change::Deleted { old } => format!("{} gone", uid(old)),
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_replaced_while_nobody_watched_is_told_as_gone_and_then_as_new() {
    let script = Script::default();
    script.lock().unwrap().extend([
        vec![event("ADDED", "a", "first", 5), end_of_state(5), expired()],
        vec![event("ADDED", "a", "second", 9), end_of_state(9), expired()],
    ]);
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &Arc::default())), ListScope::default());
    let changes = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&changes);
    cache.on_change(move |change| tell.lock().unwrap().push(told(&change)));
    cache.wait_revision(9).await;
    assert_eq!(*changes.lock().unwrap(), ["first after nothing", "first gone", "second after nothing"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_watch_has_missed_appears_at_once() {
    let script = Script::default();
    script.lock().unwrap().extend([
        vec![event("ADDED", "a", "a", 1), event("ADDED", "b", "b", 2), end_of_state(2), expired()],
        vec![event("ADDED", "a", "a", 9), event("ADDED", "b", "b", 5), end_of_state(9), expired()],
    ]);
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &Arc::default())), ListScope::default());
    let states = Arc::new(Mutex::new(Vec::new()));
    let (note, shown) = (Arc::clone(&states), cache.clone());
    cache.on_change(move |_| {
        let revisions = shown.list().iter().filter_map(|map| map.metadata.resource_version.clone()).collect::<Vec<_>>();
        note.lock().unwrap().push(revisions.join(" "));
    });
    cache.wait_revision(9).await;
    tokio::task::yield_now().await;
    assert_eq!(*states.lock().unwrap(), ["1 2", "1 2", "9 5", "9 5"], "never half of it");
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_as_new_as_a_list_when_it_shows_what_was_listed() {
    let script = Script::default();
    script.lock().unwrap().push_back(vec![
        event("ADDED", "a", "a", 1),
        event("ADDED", "b", "b", 2),
        end_of_state(2),
        event("MODIFIED", "a", "a", 4),
    ]);
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &Arc::default())), ListScope::default());
    cache.wait_revision(4).await;
    let listed = |revision, objects: &[(&str, u64)]| Listed {
        revision,
        objects: objects.iter().map(|(name, revision)| ((*name).to_owned(), *revision)).collect(),
    };
    let shows = async |live: Listed| {
        tokio::time::timeout(Duration::from_secs(3600), cache.wait_listed("ns", &live)).await.is_ok()
    };
    assert!(shows(listed(3, &[("a", 1), ("b", 2)])).await, "it is newer");
    assert!(shows(listed(8, &[("a", 4), ("b", 2)])).await, "nothing has happened since that concerns it");
    assert!(shows(listed(8, &[("a", 3), ("b", 2)])).await, "an object may be newer than the list");
    assert!(!shows(listed(8, &[("a", 6), ("b", 2)])).await, "a change has not been seen");
    assert!(!shows(listed(8, &[("a", 4), ("b", 2), ("c", 7)])).await, "nor has a new object");
    assert!(!shows(listed(8, &[("a", 4)])).await, "nor that one is gone");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_costs_neither_the_cache_nor_the_other_handlers_anything() {
    let script = Script::default();
    script.lock().unwrap().push_back(vec![
        event("ADDED", "a", "one", 1),
        end_of_state(1),
        event("ADDED", "b", "two", 2),
        event("ADDED", "c", "three", 3),
    ]);
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &Arc::default())), ListScope::default());
    cache.on_change(|change| assert_ne!(change.object().metadata.name.as_deref(), Some("b"), "cannot stand it"));
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    cache.on_change(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    let done = tokio::time::timeout(Duration::from_secs(60), cache.wait_revision(3)).await;
    assert!(done.is_ok(), "the cache is stuck at {}", cache.revision());
    assert_eq!((seen.load(Ordering::SeqCst), cache.list().len()), (3, 3));
}

#[tokio::test]
async fn what_changes_while_everything_held_is_looked_at_is_told_afterwards() {
    let (mut say, said) = futures::channel::mpsc::channel::<String>(4);
    let said = Mutex::new(Some(said));
    let client = Client::new(
        tower::service_fn(move |_request: http::Request<kube::client::Body>| {
            let said = said.lock().unwrap().take();
            async move {
                let lines = said.map_or_else(|| stream::pending().boxed(), StreamExt::boxed);
                let frames = lines.map(|line| Ok::<_, Infallible>(Frame::data(Bytes::from(line + "\n"))));
                Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
            }
        }),
        "ns",
    );
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client), ListScope::default());
    for line in [event("ADDED", "a", "one", 1), event("ADDED", "b", "two", 2), end_of_state(2)] {
        say.try_send(line).unwrap();
    }
    cache.synced().await;
    let (shown, heard) = (Mutex::new(0), Arc::new(Mutex::new(Vec::new())));
    let hears = Arc::clone(&heard);
    cache.on_change_after(
        |held| {
            *shown.lock().unwrap() = held.len();
            say.try_send(event("DELETED", "a", "one", 3)).unwrap();
        },
        move |change| hears.lock().unwrap().push(told(&change)),
    );
    cache.wait_revision(3).await;
    assert_eq!(*shown.lock().unwrap(), 2);
    assert_eq!(*heard.lock().unwrap(), ["one after nothing", "two after nothing", "one gone"]);
}

#[tokio::test(start_paused = true)]
async fn an_index_shows_what_the_cache_has_been_waited_for() {
    let script = Script::default();
    script.lock().unwrap().push_back(vec![
        event("ADDED", "a", "one", 1),
        end_of_state(1),
        event("MODIFIED", "a", "two", 2),
        event("ADDED", "b", "two", 3),
        event("DELETED", "a", "two", 4),
    ]);
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &Arc::default())), ListScope::default());
    let index = Index::new(&cache, |map: &ConfigMap| Vec::from_iter(map.metadata.uid.clone()));
    cache.wait_revision(4).await;
    let names = |uid: &str| -> Vec<_> {
        index.get(&uid.to_owned()).iter().filter_map(|map| map.metadata.name.clone()).collect()
    };
    assert_eq!((names("one"), names("two")), (Vec::new(), vec!["b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_not_asked_in_a_tight_loop() {
    let (script, requests) = (Script::default(), Arc::new(AtomicUsize::new(0)));
    script.lock().unwrap().extend((0..10_000).map(|_| Vec::new()));
    let cache: Cache<ConfigMap> = Cache::start(Api::all(client(&script, &requests)), ListScope::default());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let asked = requests.load(Ordering::SeqCst);
    assert!((2..50).contains(&asked), "{asked} watches in ten seconds");
    drop(cache);
}
