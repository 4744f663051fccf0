//! I5 and I7: what an answer shows was written, is the newest there is, and is what was asked for; a write
//! happens only to the object, and to the state of it, that it was decided on.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use stead_store::Entry;

use super::log::{Log, Logged, Table};
use super::selection::Selection;
use super::shown::{Head, Metadata, is_entry};
use super::{Name, Observer};

/// A request on its way.
pub(crate) struct Question {
    who: Arc<str>,
    method: Method,
    selection: Selection,
    on: Condition,
    /// The newest revision anybody was shown before it was asked: no answer may show less.
    shown: u64,
}

/// What a write asks of the object.
#[derive(Clone, Debug, Default)]
struct Condition {
    revision: Option<u64>,
    uid: Option<String>,
}

/// Which invariant an answer breaks, and how.
type Verdict = Result<(), (&'static str, String)>;

#[derive(Deserialize)]
struct List<'a> {
    metadata: Metadata,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Stated {
    metadata: Option<Metadata>,
    preconditions: Option<Preconditions>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Condition {
    /// What the body of a write asks for, if it is a JSON object that says so.
    fn of(method: &Method, body: &[u8]) -> Self {
        let stated: Stated = serde_json::from_slice(body).unwrap_or_default();
        let filled = |text: String| Some(text).filter(|text| !text.is_empty());
        let revision = |text: Option<String>| text.and_then(|text| text.parse().ok());
        match *method {
            Method::PUT | Method::PATCH => {
                let metadata = stated.metadata.unwrap_or_default();
                Self { revision: revision(filled(metadata.resource_version)), uid: filled(metadata.uid) }
            }
            Method::DELETE => {
                let preconditions = stated.preconditions.unwrap_or_default();
                Self { revision: revision(preconditions.resource_version), uid: preconditions.uid }
            }
            _ => Self::default(),
        }
    }
}

impl Observer {
    /// A request reaches the server. None when it is about nothing that is stored.
    pub(crate) fn asked(&self, who: &Arc<str>, method: &Method, uri: &Uri, body: &[u8]) -> Option<Question> {
        let selection = Selection::of(uri)?;
        let (who, on, shown) = (Arc::clone(who), Condition::of(method, body), self.lock().log.shown());
        Some(Question { who, method: method.clone(), selection, on, shown })
    }

    /// The server answers it.
    pub(crate) fn answered(&self, question: &Question, status: StatusCode, body: &[u8]) {
        let mut state = self.lock();
        match question.judge(&state.log, status, body) {
            Ok(shown) => state.log.show(shown),
            Err((invariant, text)) => {
                let Question { who, method, selection, .. } = question;
                let about = (selection.table(), selection.namespace.as_deref(), selection.name.as_deref());
                self.story.violated(invariant, format!("{method} {about:?} by {who}: {text}"));
            }
        }
    }
}

impl Question {
    /// The newest revision that the answer shows.
    fn judge(&self, log: &Log, status: StatusCode, body: &[u8]) -> Result<u64, (&'static str, String)> {
        let whole = matches!(self.selection.subresource.as_deref(), None | Some("status"));
        if status == StatusCode::NOT_FOUND && self.method == Method::GET && whole {
            return self.judge_absence(log).map(|()| 0);
        }
        if !status.is_success() {
            return Ok(0);
        }
        if self.method == Method::GET && self.selection.name.is_none() {
            return self.judge_list(log, body);
        }
        let object: &RawValue = serde_json::from_slice(body).map_err(|error| ("I5", error.to_string()))?;
        let (kind, shown) = Head::of(object).map_err(|error| ("I5", error))?;
        if kind == "Status" {
            return if self.method == Method::DELETE { self.judge_removal(log) } else { Ok(0) };
        }
        // What is made under an object need not be stored (a token, say), and what is removed by selector is a list.
        let Ok(revision) = shown.revision() else { return Ok(0) };
        if self.method == Method::DELETE && self.selection.name.is_none() {
            return Ok(0);
        }
        self.judge_object(log, object, &shown, revision, whole)?;
        Ok(revision)
    }

    fn judge_object(&self, log: &Log, object: &RawValue, shown: &Metadata, revision: u64, whole: bool) -> Verdict {
        let name = shown.named();
        if self.selection.name.as_ref().is_some_and(|asked| *asked != name.1) {
            return Err(("I5", format!("{name:?} is shown")));
        }
        let table = log.table(self.selection.table());
        let line = table.and_then(|table| Some((table, table.find(revision)?)));
        let (table, line) = line.ok_or_else(|| ("I5", format!("{name:?} at {revision} is not durable")))?;
        if line.name() != name || (whole && !is_entry(object, &self.selection, &line.event.after, revision)) {
            return Err(("I5", format!("{name:?} at {revision} is not what was written then")));
        }
        if let Some(later) = table.of_after(&name, revision).find(|later| later.revision() <= self.shown) {
            let later = later.revision();
            return Err(("I5", format!("{name:?} is shown at {revision}, but {later} had been shown already")));
        }
        if self.method == Method::POST && whole && self.selection.name.is_none() && line.before().is_some() {
            return Err(("I7", format!("{name:?} was made though it was there")));
        }
        self.judge_condition(line, revision)
    }

    /// The object was as the request said: when it was written, or all along if nothing was.
    fn judge_condition(&self, line: &Logged, revision: u64) -> Verdict {
        let Condition { revision: on, uid } = &self.on;
        if let Some(on) = on.filter(|on| *on != revision && line.before() != Some(*on)) {
            let text = format!("{:?} was to be written on {on}, but it was at {:?}", line.name(), line.before());
            return Err(("I7", text));
        }
        let own = uid_of(&line.event.after);
        if uid.as_ref().is_some_and(|uid| *uid != own) {
            return Err(("I7", format!("{uid:?} was meant, but {:?} is {own}", line.name())));
        }
        Ok(())
    }

    /// The object is gone, as its answer says.
    fn judge_removal(&self, log: &Log) -> Result<u64, (&'static str, String)> {
        let (Some(table), Some(name)) = (log.table(self.selection.table()), self.key()) else { return Ok(0) };
        let own = |line: &&Logged| line.event.deleted && line.writer == self.who;
        let line = table.of_after(&name, self.shown).filter(own).last();
        let line = line.ok_or_else(|| ("I5", format!("{name:?} is said to be gone, which is not durable")))?;
        self.judge_condition(line, line.revision()).map(|()| line.revision())
    }

    /// At some moment since the request was made the object was not there.
    fn judge_absence(&self, log: &Log) -> Verdict {
        let (Some(table), Some(name)) = (log.table(self.selection.table()), self.key()) else { return Ok(()) };
        let was_there = table.at(&name, self.shown).is_some();
        let went = table.of_after(&name, self.shown).any(|line| line.event.deleted);
        match table.at(&name, self.shown) {
            Some(entry) if was_there && !went => {
                Err(("I5", format!("{name:?} is said not to exist, but {} had been shown", entry.revision)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The namespace and name that are asked for.
    fn key(&self) -> Option<Name> {
        Some((self.selection.namespace.clone().unwrap_or_default(), self.selection.name.clone()?))
    }

    /// A list is the state at its revision, and that is the newest.
    fn judge_list(&self, log: &Log, body: &[u8]) -> Result<u64, (&'static str, String)> {
        let wrong = |text: String| ("I5", text);
        let list: List<'_> = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
        let revision = list.metadata.revision().map_err(wrong)?;
        let paged = !list.metadata.continues.is_empty() || self.selection.parameter("continue").is_some();
        if !paged && revision < self.shown && self.selection.parameter("limit").is_none() {
            return Err(wrong(format!("a list is at {revision}, but {} had been shown", self.shown)));
        }
        if revision > log.newest() {
            return Err(wrong(format!("a list is at {revision}, which is not durable")));
        }
        let state = log.table(self.selection.table()).into_iter().flat_map(|table: &Table| table.state(revision));
        let mut state: BTreeMap<Name, &Arc<Entry>> = state
            .filter(|entry| self.selection.matches(entry))
            .map(|entry| ((entry.key.namespace.to_string(), entry.key.name.to_string()), entry))
            .collect();
        for item in list.items {
            let (_, shown) = Head::of(item).map_err(wrong)?;
            let name = shown.named();
            let entry = state.remove(&name).ok_or_else(|| wrong(format!("{name:?} is listed at {revision}")))?;
            let at = shown.revision().map_err(wrong)?;
            if at != entry.revision.0 || !is_entry(item, &self.selection, entry, at) {
                return Err(wrong(format!("{name:?} is listed at {at}, but is at {} in {revision}", entry.revision)));
            }
        }
        match state.keys().next().filter(|_| !paged) {
            Some(name) => Err(wrong(format!("{name:?} is missing from the list at {revision}"))),
            None => Ok(revision),
        }
    }
}

fn uid_of(entry: &Entry) -> String {
    serde_json::from_slice::<Head>(&entry.bytes).ok().and_then(|head| head.metadata).unwrap_or_default().uid
}
