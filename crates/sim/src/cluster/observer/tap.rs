//! I6: a watch is an exact subsequence of the log from where it began, or ends. Each stream is compared with
//! the log as it leaves the server.

use std::collections::BTreeMap;

use http::Uri;
use serde::Deserialize;
use stead_api::registry::Scope;

use super::{Logged, Name, Observer, State, find};

/// What is checked of one watch.
pub(crate) struct Tap {
    observer: Observer,
    resource: &'static str,
    namespace: Option<String>,
    /// Objects are selected: what is left out proves nothing.
    selected: bool,
    /// Everything up to here was shown; none while the present state is.
    at: Option<u64>,
    shown: BTreeMap<Name, u64>,
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The table and the namespace a path means.
pub(crate) fn table_of(path: &str) -> Option<(&'static str, Option<String>)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (namespace, plural) = match rest {
        ["namespaces", namespace, plural, ..] if *plural != "status" && *plural != "finalize" => {
            (Some((*namespace).to_owned()), *plural)
        }
        [plural, ..] => (None, *plural),
        [] => return None,
    };
    let mut kinds = stead_api::kinds::ALL.iter();
    let kind = kinds.find(|kind| kind.group == group && kind.version == version && kind.facts.plural == plural)?;
    Some((kind.facts.storage, namespace.filter(|_| kind.facts.scope == Scope::Namespaced)))
}

impl Tap {
    /// A tap, if the request is a watch.
    pub(crate) fn of(observer: &Observer, uri: &Uri) -> Option<Self> {
        let query = uri.query().unwrap_or_default();
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
        };
        parameter("watch").filter(|value| value == "1" || value == "true")?;
        let (resource, namespace) = table_of(uri.path())?;
        let selected = ["labelSelector", "fieldSelector"].into_iter().any(|name| parameter(name).is_some());
        let from = parameter("resourceVersion").and_then(|text| text.parse().ok()).filter(|from| *from > 0);
        let at = from.filter(|_| parameter("sendInitialEvents").is_none());
        Some(Self { observer: observer.clone(), resource, namespace, selected, at, shown: BTreeMap::new() })
    }

    /// Whole lines of the stream.
    pub(crate) fn saw(&mut self, bytes: &[u8]) {
        let observer = self.observer.clone();
        let state = observer.lock();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let checked = match serde_json::from_slice::<Line>(line) {
                Ok(line) => self.check(&state, &line),
                Err(error) => Err(format!("a line is not an event: {error}")),
            };
            if let Err(text) = checked {
                observer.story.violated("I6", format!("watch of {}: {text}", self.resource));
            }
        }
    }

    fn check(&mut self, state: &State, line: &Line) -> Result<(), String> {
        if line.kind == "ERROR" {
            return Ok(());
        }
        let metadata = line.object.metadata.as_ref().ok_or("an event without metadata")?;
        let revision: u64 = metadata.resource_version.parse().map_err(|_| "an event without a revision")?;
        let lines = state.log.get(self.resource).map(Vec::as_slice).unwrap_or_default();
        let name = (metadata.namespace.clone(), metadata.name.clone());
        match (self.at, line.kind.as_str()) {
            (None, "BOOKMARK") if metadata.annotations.contains_key("k8s.io/initial-events-end") => {
                self.at = Some(revision);
                if self.selected { Ok(()) } else { self.check_state(lines, revision) }
            }
            (None, _) => {
                self.shown.insert(name, revision);
                Ok(())
            }
            (Some(at), "BOOKMARK") => {
                self.at = Some(revision.max(at));
                if revision < at {
                    return Err(format!("bookmark {revision} after {at}"));
                }
                self.check_gap(lines, at, revision + 1)
            }
            (Some(at), _) => {
                self.at = Some(revision);
                if revision <= at {
                    return Err(format!("{name:?} at {revision} after {at}"));
                }
                let logged = find(lines, revision).ok_or_else(|| format!("{name:?} at {revision} is not durable"))?;
                if logged.name != name {
                    return Err(format!("{name:?} at {revision} is not what was written then"));
                }
                if !self.selected && logged.deleted != (line.kind == "DELETED") {
                    return Err(format!("{name:?} at {revision} is shown as {}", line.kind));
                }
                self.check_gap(lines, at, revision)
            }
        }
    }

    /// Nothing that concerns the watch was written between the two revisions, both excluded.
    fn check_gap(&self, lines: &[Logged], after: u64, before: u64) -> Result<(), String> {
        if self.selected {
            return Ok(());
        }
        let first = lines.partition_point(|line| line.revision <= after);
        let mut between = lines[first..].iter().take_while(|line| line.revision < before);
        match between.find(|line| self.concerns(&line.name)) {
            Some(line) => Err(format!("{:?} at {} was left out", line.name, line.revision)),
            None => Ok(()),
        }
    }

    /// What was shown first is the state at `revision`.
    fn check_state(&mut self, lines: &[Logged], revision: u64) -> Result<(), String> {
        let mut state = BTreeMap::new();
        for line in lines.iter().take_while(|line| line.revision <= revision).filter(|line| self.concerns(&line.name)) {
            if line.deleted {
                state.remove(&line.name);
            } else {
                state.insert(line.name.clone(), line.revision);
            }
        }
        let shown = std::mem::take(&mut self.shown);
        if shown == state {
            Ok(())
        } else {
            Err(format!("shows {shown:?} first, but at {revision} there was {state:?}"))
        }
    }

    fn concerns(&self, name: &Name) -> bool {
        self.namespace.as_ref().is_none_or(|namespace| *namespace == name.0)
    }
}
