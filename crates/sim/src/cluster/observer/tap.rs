//! I6: a watch is an exact subsequence of the log from where it began, or ends with 410 because history no
//! longer goes back so far. Each stream is compared with the log as it leaves the server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use stead_store::{Entry, Event};

use super::log::{Log, Logged};
use super::selection::Selection;
use super::shown::{Head, Metadata, is_entry};
use super::{Name, Observer};

/// What is checked of one watch.
pub(crate) struct Tap {
    observer: Observer,
    who: Arc<str>,
    position: Arc<Mutex<Position>>,
}

/// How far a watch has come.
pub(super) struct Position {
    selection: Selection,
    /// Everything up to here was shown; none while the present state is.
    at: Option<u64>,
    shown: BTreeMap<Name, u64>,
    ended: bool,
    /// Only metadata are shown.
    partial: bool,
}

/// Watches that are open.
#[derive(Default)]
pub(super) struct Open(Vec<Weak<Mutex<Position>>>);

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Refusal {
    code: u16,
    #[serde(default)]
    message: String,
}

/// What a watch has to say of one change.
struct Told<'a> {
    kind: &'static str,
    entry: &'a Entry,
    revision: u64,
}

impl Tap {
    /// A tap, if the request is a watch.
    pub(crate) fn of(observer: &Observer, who: &Arc<str>, uri: &Uri, accept: &str) -> Option<Self> {
        let selection = Selection::of(uri)?;
        selection.parameter("watch").filter(|value| matches!(*value, "1" | "true"))?;
        let from = selection.parameter("resourceVersion").and_then(|text| text.parse().ok()).filter(|from| *from > 0);
        let at = from.filter(|_| selection.parameter("sendInitialEvents").is_none());
        let partial = accept.contains("PartialObjectMetadata");
        let position = Position { selection, at, shown: BTreeMap::new(), ended: false, partial };
        let position = Arc::new(Mutex::new(position));
        observer.lock().open.0.push(Arc::downgrade(&position));
        Some(Self { observer: observer.clone(), who: Arc::clone(who), position })
    }

    /// The server has not opened it.
    pub(crate) fn refused(&self, status: StatusCode) {
        let mut position = lock(&self.position);
        position.ended = true;
        let state = self.observer.lock();
        let from = position.at.unwrap_or(0);
        let legal = match status {
            StatusCode::GONE => position.at.is_some() && state.log.may_be_compacted(from),
            StatusCode::TOO_MANY_REQUESTS => true,
            _ => false,
        };
        if !legal {
            self.violated(&position, &format!("refused with {status} from {from} on"));
        }
    }

    /// Whole lines of the stream.
    pub(crate) fn saw(&self, bytes: &[u8]) {
        let mut position = lock(&self.position);
        let mut state = self.observer.lock();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let checked = match serde_json::from_slice::<Line<'_>>(line) {
                Ok(line) => position.check(&state.log, &line),
                Err(error) => Err(format!("a line is not an event: {error}")),
            };
            if let Err(text) = checked {
                self.violated(&position, &text);
            }
            state.log.show(position.at.unwrap_or(0));
        }
    }

    /// The client has taken in everything it was sent: it asks for more.
    pub(crate) fn taken(&self) {
        let position = lock(&self.position);
        if let Some(at) = position.at.filter(|_| position.selection.is_everything() && !position.partial) {
            self.observer.lock().sights.taken(&self.who, position.selection.table(), at);
        }
    }

    fn violated(&self, position: &Position, text: &str) {
        self.observer.story.violated("I6", format!("watch of {} by {}: {text}", position.selection.table(), self.who));
    }
}

impl Open {
    /// What open watches have yet to show of what was written up to `revision`, as text. At rest, a moment after
    /// that, there is nothing.
    pub(super) fn unshown(&mut self, log: &Log, revision: u64) -> Vec<String> {
        self.0.retain(|watch| watch.strong_count() > 0);
        let mut late = Vec::new();
        for watch in self.0.iter().filter_map(Weak::upgrade) {
            let position = lock(&watch);
            if let (Some(at), false) = (position.at, position.ended)
                && let Err(text) = position.check_gap(log, at, revision)
            {
                late.push(format!("watch of {}: {text}", position.selection.table()));
            }
        }
        late
    }
}

impl Position {
    fn check(&mut self, log: &Log, line: &Line<'_>) -> Result<(), String> {
        if self.ended {
            return Err(format!("goes on after its end with {}", line.kind));
        }
        if line.kind == "ERROR" {
            self.ended = true;
            return self.check_end(log, line.object);
        }
        let (_, metadata) = Head::of(line.object)?;
        let revision = metadata.revision()?;
        match (self.at, line.kind.as_str()) {
            // Where nobody asked for its end to be told, the present state ends with the first bookmark.
            (None, "BOOKMARK") => {
                self.at = Some(revision);
                self.check_state(log, revision)
            }
            (None, "DELETED") => {
                self.shown.remove(&metadata.named());
                Ok(())
            }
            (None, _) => self.check_first(log, line, &metadata, revision),
            (Some(at), "BOOKMARK") => {
                self.at = Some(revision.max(at));
                if revision < at {
                    return Err(format!("bookmark {revision} after {at}"));
                }
                self.check_gap(log, at, revision)
            }
            (Some(at), _) => {
                self.at = Some(revision.max(at));
                if revision <= at {
                    return Err(format!("{:?} at {revision} after {at}", metadata.named()));
                }
                self.check_gap(log, at, revision - 1)?;
                self.check_event(log, line, revision)
                    .map_err(|text| format!("{:?} at {revision} {text}", metadata.named()))
            }
        }
    }

    /// It may end only with 410, and only when it is so far behind that its server forgets.
    fn check_end(&self, log: &Log, object: &RawValue) -> Result<(), String> {
        let refusal: Refusal = serde_json::from_str(object.get()).map_err(|error| error.to_string())?;
        let (table, namespace) = (self.selection.table(), self.selection.namespace.as_deref());
        let at = self.at.unwrap_or(0);
        if refusal.code != 410 {
            return Err(format!("ends with {}: {}", refusal.code, refusal.message));
        }
        if log.may_be_behind(table, namespace, at) {
            return Ok(());
        }
        Err(format!("ends with 410 at {at}, though nothing was compacted: {}", refusal.message))
    }

    /// One object of the present state.
    fn check_first(&mut self, log: &Log, line: &Line<'_>, shown: &Metadata, revision: u64) -> Result<(), String> {
        let name = shown.named();
        let logged = log.table(self.selection.table()).and_then(|table| table.find(revision));
        let logged = logged.ok_or_else(|| format!("{name:?} at {revision} is not durable"))?;
        if !is_entry(line.object, &self.selection, &logged.event.after, revision) {
            return Err(format!("{name:?} at {revision} is not what was written then"));
        }
        self.shown.insert(name, revision);
        Ok(())
    }

    /// What was shown first is the state at `revision`.
    fn check_state(&mut self, log: &Log, revision: u64) -> Result<(), String> {
        let state = log.table(self.selection.table()).into_iter().flat_map(|table| table.state(revision));
        let state: BTreeMap<Name, u64> = state
            .filter(|entry| self.selection.matches(entry))
            .map(|entry| ((entry.key.namespace.to_string(), entry.key.name.to_string()), entry.revision.0))
            .collect();
        let shown = std::mem::take(&mut self.shown);
        if shown == state {
            return Ok(());
        }
        Err(format!("shows {shown:?} first, but at {revision} there was {state:?}"))
    }

    fn check_event(&self, log: &Log, line: &Line<'_>, revision: u64) -> Result<(), String> {
        let logged = log.table(self.selection.table()).and_then(|table| table.find(revision));
        let logged = logged.ok_or("is not durable")?;
        let told = self.told(&logged.event).ok_or("does not concern it")?;
        if told.kind != line.kind {
            return Err(format!("is shown as {}, not {}", line.kind, told.kind));
        }
        if !is_entry(line.object, &self.selection, told.entry, told.revision) {
            return Err("is not what was written then".to_owned());
        }
        Ok(())
    }

    /// Nothing that concerns the watch was written after `after` up to `end`.
    fn check_gap(&self, log: &Log, after: u64, end: u64) -> Result<(), String> {
        let lines = log.table(self.selection.table()).map(|table| table.after(after)).unwrap_or_default();
        let mut between = lines.iter().take_while(|line| line.revision() <= end);
        match between.find(|line: &&Logged| self.told(&line.event).is_some()) {
            Some(line) => Err(format!("{:?} at {} was left out", line.name(), line.revision())),
            None => Ok(()),
        }
    }

    /// A change as this watch has to tell it.
    fn told<'a>(&self, event: &'a Event) -> Option<Told<'a>> {
        let revision = event.after.revision.0;
        let before = event.before.as_deref().filter(|entry| self.selection.matches(entry));
        let after = (!event.deleted && self.selection.matches(&event.after)).then_some(&*event.after);
        let (kind, entry) = match (before, after) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(_), None) if event.deleted => ("DELETED", &*event.after),
            (Some(before), None) => ("DELETED", before),
            (None, None) => return None,
        };
        Some(Told { kind, entry, revision })
    }
}

fn lock(position: &Mutex<Position>) -> MutexGuard<'_, Position> {
    position.lock().unwrap_or_else(PoisonError::into_inner)
}
