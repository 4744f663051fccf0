//! Random histories against a reference: a plain list of changes. Every answer of the store (verdicts,
//! states, pages at old revisions, watches from old revisions, refusals) must follow from that list.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{draft, drain, key, resource, stored, text};
use proptest::prelude::*;
use stead_store::{DeleteError, Embedded, Expect, Key, Limits, PutError, Range, ReadError, Revision, Store as _};

const HISTORY_EVENTS_MAX: usize = 6;
const KEYS: [&str; 6] = ["pods/a/x", "pods/a/y", "pods/b/x", "pods/b/z", "nodes//n", "pods/aa/x"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    /// Replaces the newest state, or tries to at a stale revision.
    Replace {
        key: usize,
        stale: bool,
    },
    Delete {
        key: usize,
        stale: bool,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    prop_oneof![
        4 => key.clone().prop_map(Step::Create),
        4 => (key.clone(), any::<bool>()).prop_map(|(key, stale)| Step::Replace { key, stale }),
        2 => (key, any::<bool>()).prop_map(|(key, stale)| Step::Delete { key, stale }),
        1 => Just(Step::Restart),
    ]
}

/// What happened, oldest first: revision, key, and the new value unless it was deleted.
#[derive(Default)]
struct Reference {
    log: Vec<(u64, Key, Option<String>)>,
    /// Position in `log` at which the kept history starts.
    kept_from: usize,
}

impl Reference {
    fn newest(&self) -> u64 {
        self.log.last().map_or(0, |(revision, ..)| *revision)
    }

    fn oldest(&self) -> u64 {
        self.kept_from.checked_sub(1).map_or(0, |last| self.log[last].0)
    }

    fn state(&self, at: u64) -> BTreeMap<Key, (u64, String)> {
        let mut state = BTreeMap::new();
        for (revision, key, value) in self.log.iter().take_while(|(revision, ..)| *revision <= at) {
            match value {
                Some(value) => state.insert(key.clone(), (*revision, value.clone())),
                None => state.remove(key),
            };
        }
        state
    }

    fn record(&mut self, key: Key, value: Option<String>) {
        self.log.push((self.newest() + 1, key, value));
        self.kept_from = self.kept_from.max(self.log.len().saturating_sub(HISTORY_EVENTS_MAX));
    }
}

async fn act(store: &Embedded, reference: &mut Reference, step: &Step) {
    let value = format!("v{}", reference.log.len());
    let current = |at: usize| reference.state(u64::MAX).get(&key(KEYS[at])).map(|(revision, _)| *revision);
    match *step {
        Step::Create(at) => match (store.put(key(KEYS[at]), Expect::Absent, draft(&value)).await, current(at)) {
            (Ok(entry), None) => {
                assert_eq!(text(&entry), stored(&value, reference.newest() + 1));
                reference.record(key(KEYS[at]), Some(value));
            }
            (Err(PutError::Exists { current, .. }), Some(revision)) => assert_eq!(current.revision.0, revision),
            (verdict, current) => panic!("create of {} at {current:?}: {verdict:?}", KEYS[at]),
        },
        Step::Replace { key: at, stale } => {
            let expected = current(at).unwrap_or(1) - u64::from(stale);
            match (store.put(key(KEYS[at]), Expect::At(Revision(expected)), draft(&value)).await, current(at)) {
                (Ok(_), Some(_)) if !stale => reference.record(key(KEYS[at]), Some(value)),
                (Err(PutError::Conflict { current: shown, .. }), current) if stale || current.is_none() => {
                    assert_eq!(shown.map(|entry| entry.revision.0), current);
                }
                (verdict, current) => panic!("replace of {} at {current:?}: {verdict:?}", KEYS[at]),
            }
        }
        Step::Delete { key: at, stale } => {
            let expected = current(at).unwrap_or(1) - u64::from(stale);
            match (store.delete(key(KEYS[at]), Revision(expected), draft("last")).await, current(at)) {
                (Ok(entry), Some(_)) if !stale => {
                    assert_eq!(text(&entry), stored("last", reference.newest() + 1));
                    reference.record(key(KEYS[at]), None);
                }
                (Err(DeleteError::Conflict { current: shown, .. }), current) if stale || current.is_none() => {
                    assert_eq!(shown.map(|entry| entry.revision.0), current);
                }
                (verdict, current) => panic!("delete of {} at {current:?}: {verdict:?}", KEYS[at]),
            }
        }
        Step::Restart => unreachable!("done by the caller, who owns the store"),
    }
}

/// Every page size, namespace and kept revision shows what the reference shows.
async fn check_ranges(store: &Embedded, reference: &Reference, at: u64) {
    for namespace in [None, Some("a"), Some("b"), Some("nobody")] {
        let expected: Vec<_> = reference
            .state(at)
            .into_iter()
            .filter(|(key, _)| *key.resource.0 == *"pods" && namespace.is_none_or(|wanted| *key.namespace == *wanted))
            .map(|(_, (revision, value))| stored(&value, revision))
            .collect();
        for limit in [0, 1, 2] {
            let mut shown = Vec::new();
            let mut after = None;
            loop {
                let range = Range {
                    resource: resource("pods"),
                    namespace: namespace.map(Into::into),
                    after,
                    limit,
                    at: Some(Revision(at)),
                };
                let page = store.range(range).await.unwrap();
                assert_eq!(page.revision.0, at);
                shown.extend(page.entries.iter().map(|entry| text(entry)));
                assert_eq!(shown.len() + page.remaining, expected.len());
                let Some(last) = page.entries.last().filter(|_| page.remaining > 0) else { break };
                after = Some((last.key.namespace.clone(), last.key.name.clone()));
            }
            assert_eq!(shown, expected, "namespace {namespace:?} limit {limit} at {at}");
        }
    }
}

/// A watch from every kept revision is the exact subsequence of the reference's list.
async fn check_watches(store: &Embedded, reference: &Reference, from: u64) {
    for namespace in [None, Some("a")] {
        let mut watch = store.watch(resource("pods"), namespace.map(Into::into), Revision(from)).await.unwrap();
        let shown: Vec<_> = drain(&mut watch)
            .into_iter()
            .map(|event| {
                let event = event.unwrap();
                let before = event.before.as_ref().map(|entry| entry.revision.0);
                (before, event.after.revision.0, event.after.key.clone(), event.deleted)
            })
            .collect();
        let expected: Vec<_> = reference
            .log
            .iter()
            .filter(|(revision, key, _)| {
                *revision > from
                    && *key.resource.0 == *"pods"
                    && namespace.is_none_or(|wanted| *key.namespace == *wanted)
            })
            .map(|(revision, key, value)| {
                let before = reference.state(revision - 1).get(key).map(|(revision, _)| *revision);
                (before, *revision, key.clone(), value.is_none())
            })
            .collect();
        assert_eq!(shown, expected, "namespace {namespace:?} from {from}");
    }
}

async fn check(store: &Embedded, reference: &Reference) {
    let (oldest, newest) = (reference.oldest(), reference.newest());
    assert_eq!(store.revision().0, newest);
    let state = reference.state(newest);
    for path in KEYS {
        let shown = store.get(&key(path)).await.unwrap();
        assert_eq!(
            shown.map(|entry| (entry.revision.0, text(&entry))),
            state.get(&key(path)).map(|(revision, value)| (*revision, stored(value, *revision)))
        );
    }
    for at in oldest..=newest {
        check_ranges(store, reference, at).await;
        check_watches(store, reference, at).await;
    }
    let range =
        |at| Range { resource: resource("pods"), namespace: None, after: None, limit: 0, at: Some(Revision(at)) };
    if let Some(at) = oldest.checked_sub(1) {
        let error = ReadError::Compacted { at: Revision(at), oldest: Revision(oldest) };
        assert_eq!(store.range(range(at)).await.unwrap_err(), error);
        assert_eq!(store.watch(resource("pods"), None, Revision(at)).await.err(), Some(error));
    }
    let error = ReadError::Future { at: Revision(newest + 1), newest: Revision(newest) };
    assert_eq!(store.range(range(newest + 1)).await.unwrap_err(), error);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_follows_the_reference(steps in prop::collection::vec(step(), 1..40)) {
        let directory = tempfile::tempdir().unwrap();
        let limits = Limits { history_events_max: HISTORY_EVENTS_MAX, ..Limits::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut store = Embedded::open(directory.path(), limits.clone()).unwrap();
            let mut reference = Reference::default();
            for step in &steps {
                if let Step::Restart = step {
                    drop(store);
                    store = Embedded::open(directory.path(), limits.clone()).unwrap();
                    reference.kept_from = reference.log.len();
                } else {
                    act(&store, &mut reference, step).await;
                }
            }
            check(&store, &reference).await;
        });
    }
}
