//! Watches that note when each change arrived.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::api::{Connection, Endpoint};

/// Changes waiting to be looked at. The watch stops reading when nobody takes them.
const CHANGES_MAX: usize = 4096;

/// One change of a pod.
pub(crate) struct PodChange {
    /// When it arrived.
    pub(crate) at: Instant,
    pub(crate) name: String,
    pub(crate) deleted: bool,
    pub(crate) running: bool,
    pub(crate) ready: bool,
}

/// A running watch of the pods of the default namespace. It ends with the server.
pub(crate) struct PodWatch {
    changes: Receiver<PodChange>,
}

impl PodWatch {
    /// Starts watching; whatever happens from now on is seen.
    pub(crate) fn start(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let mut connection = endpoint.connect()?;
        connection.watch("/api/v1/namespaces/default/pods?watch=true")?;
        let (seen, changes) = sync_channel(CHANGES_MAX);
        thread::spawn(move || follow(connection, &seen));
        Ok(Self { changes })
    }

    /// Takes changes until one is what is looked for. Fails when that takes too long.
    pub(crate) fn wait(
        &self,
        what: &str,
        at_most: Duration,
        mut found: impl FnMut(&PodChange) -> bool,
    ) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + at_most;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let change = self.changes.recv_timeout(left);
            let change = change.with_context(|| format!("waited {at_most:?} in vain until {what}"))?;
            if found(&change) {
                return Ok(change.at);
            }
        }
    }
}

/// Reads events until the server or the reader of the changes goes away.
fn follow(mut connection: Connection, seen: &SyncSender<PodChange>) {
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = connection.chunk() {
        let at = Instant::now();
        text.extend(chunk);
        while let Some(end) = text.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let change = serde_json::from_slice(&line).ok().and_then(|event| change_of(&event, at));
            if change.is_some_and(|change| seen.send(change).is_err()) {
                return;
            }
        }
    }
}

fn change_of(event: &Value, at: Instant) -> Option<PodChange> {
    let pod = &event["object"];
    let conditions = pod["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    Some(PodChange {
        at,
        name: pod["metadata"]["name"].as_str()?.to_owned(),
        deleted: event["type"] == "DELETED",
        running: pod["status"]["phase"] == "Running",
        ready: conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
    })
}
