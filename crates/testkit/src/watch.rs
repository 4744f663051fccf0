//! What happened to pods, in order: a kubectl watch that runs beside a test and is asked afterwards.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::{Cluster, eventually};

/// One event of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodChange {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub event: String,
    /// Pod name.
    pub name: String,
    /// Pod UID.
    pub uid: String,
    /// Whether its Ready condition was True.
    pub ready: bool,
    /// Whether it was being deleted.
    pub terminating: bool,
}

/// A running watch of pods.
pub struct PodWatch {
    child: Child,
    changes: Arc<Mutex<Vec<PodChange>>>,
}

impl PodWatch {
    /// Watches the pods of the default namespace that match a selector. Returns once it is watching.
    pub fn start(cluster: &Cluster, selector: &str) -> Self {
        let template = "{{.type}} {{.object.metadata.name}} {{.object.metadata.uid}} \
            {{range .object.status.conditions}}{{if eq .type \"Ready\"}}{{.status}}{{end}}{{end}} \
            {{if .object.metadata.deletionTimestamp}}ending{{end}}\n";
        let args = [
            "get",
            "pods",
            "-l",
            selector,
            "--watch",
            "--output-watch-events",
            "-o",
            "go-template",
            "--template",
            template,
        ];
        let mut child = cluster
            .kubectl_command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubectl can be run");
        let stdout = child.stdout.take().expect("stdout is piped");
        let changes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&changes);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(change) = parse(&line) {
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(change);
                }
            }
        });
        Self { child, changes }
    }

    /// Everything seen so far.
    pub fn changes(&self) -> Vec<PodChange> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names in the order in which their incarnations were first seen: a name appears once per UID.
    pub fn incarnations(&self) -> Vec<String> {
        let mut seen: Vec<PodChange> = Vec::new();
        for change in self.changes() {
            if seen.iter().all(|known| known.uid != change.uid) {
                seen.push(change);
            }
        }
        seen.into_iter().map(|change| change.name).collect()
    }

    /// Waits until a change is seen.
    pub fn wait_for(&self, what: &str, at_most: Duration, found: impl Fn(&PodChange) -> bool) -> PodChange {
        eventually(what, at_most, || self.changes().into_iter().find(|change| found(change)))
    }

    /// Asserts, over everything seen, that a pod was only created while every pod of a lower ordinal was
    /// Ready, and that no name ever had two live UIDs.
    pub fn assert_ordered(&self) {
        let mut live: Vec<PodChange> = Vec::new();
        for change in self.changes() {
            let known = live.iter().position(|pod| pod.name == change.name);
            match (change.event.as_str(), known) {
                ("DELETED", Some(at)) => {
                    live.remove(at);
                }
                ("DELETED", None) => {}
                (_, Some(at)) => {
                    assert_eq!(live[at].uid, change.uid, "{} has two live incarnations", change.name);
                    live[at] = change;
                }
                (_, None) => {
                    let own = ordinal(&change.name);
                    for lower in 0..own {
                        let ready = live.iter().any(|pod| ordinal(&pod.name) == lower && pod.ready && !pod.terminating);
                        assert!(ready, "{} was created while ordinal {lower} was not Ready", change.name);
                    }
                    live.push(change);
                }
            }
        }
    }
}

impl Drop for PodWatch {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("cannot end a watch: {error}");
        }
    }
}

/// The ordinal at the end of a pod's name.
fn ordinal(name: &str) -> u32 {
    let digits = name.rsplit('-').next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{name} does not end in an ordinal"))
}

fn parse(line: &str) -> Option<PodChange> {
    let mut words = line.split(' ');
    Some(PodChange {
        event: words.next()?.to_owned(),
        name: words.next()?.to_owned(),
        uid: words.next()?.to_owned(),
        ready: words.next()? == "True",
        terminating: words.next()? == "ending",
    })
}
