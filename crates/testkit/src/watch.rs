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
    /// Watches the pods of the default namespace that match a selector. It shows those that there are
    /// first: until then, what happens may be missed.
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
        replay(&self.changes(), |live, change| {
            let is_new = change.event != "DELETED" && live.iter().all(|pod| pod.name != change.name);
            for lower in (0..ordinal(&change.name)).filter(|_| is_new) {
                let ready = live.iter().any(|pod| ordinal(&pod.name) == lower && pod.serves());
                assert!(ready, "{} was created while ordinal {lower} was not Ready", change.name);
            }
        });
    }

    /// Asserts, over everything seen, that a pod only began to end while all the others of `replicas`
    /// were Ready, and that no name ever had two live UIDs.
    pub fn assert_one_down_at_a_time(&self, replicas: usize) {
        assert_one_down(&self.changes(), replicas);
    }
}

fn assert_one_down(changes: &[PodChange], replicas: usize) {
    replay(changes, |live, change| {
        let began = change.terminating && live.iter().any(|pod| pod.uid == change.uid && !pod.terminating);
        let others = live.iter().filter(|pod| pod.uid != change.uid && pod.serves()).count();
        assert!(!began || others + 1 == replicas, "{} ended while only {others} others were Ready", change.name);
    });
}

/// Goes through changes in order, with the pods that were live before each. Asserts that no name ever
/// had two live UIDs.
fn replay(changes: &[PodChange], mut visit: impl FnMut(&[PodChange], &PodChange)) {
    let mut live: Vec<PodChange> = Vec::new();
    for change in changes {
        visit(&live, change);
        let known = live.iter().position(|pod| pod.name == change.name);
        match (change.event.as_str(), known) {
            ("DELETED", Some(at)) => {
                live.remove(at);
            }
            ("DELETED", None) => {}
            (_, Some(at)) => {
                assert_eq!(live[at].uid, change.uid, "{} has two live incarnations", change.name);
                live[at] = change.clone();
            }
            (_, None) => live.push(change.clone()),
        }
    }
}

impl PodChange {
    /// Whether it is Ready and stays.
    fn serves(&self) -> bool {
        self.ready && !self.terminating
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

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(lines: &[&str]) -> Vec<PodChange> {
        lines.iter().map(|line| parse(line).expect("an event")).collect()
    }

    #[test]
    fn an_event_is_read_with_and_without_what_it_may_lack() {
        let [new, ending] =
            ["ADDED web-0 a  ", "MODIFIED web-0 a True ending"].map(|line| parse(line).expect("an event"));
        assert_eq!((new.ready, new.terminating), (false, false));
        assert_eq!((ending.ready, ending.terminating), (true, true));
    }

    #[test]
    fn a_replay_shows_what_was_live_before_each_change() {
        let story = changes(&["ADDED web-0 a True ", "DELETED web-0 a True ending", "ADDED web-0 b  "]);
        let mut live_before = Vec::new();
        replay(&story, |live, _| live_before.push(live.len()));
        assert_eq!(live_before, [0, 1, 0]);
    }

    #[test]
    #[should_panic(expected = "web-0 has two live incarnations")]
    fn a_replay_refuses_two_live_pods_of_one_name() {
        replay(&changes(&["ADDED web-0 a True ending", "ADDED web-0 b  "]), |_, _| {});
    }

    #[test]
    #[should_panic(expected = "web-0 ended while only 0 others were Ready")]
    fn a_pod_that_ends_while_another_is_not_ready_is_found() {
        let both = ["ADDED web-0 a True ", "ADDED web-1 b True ", "MODIFIED web-1 b True ending"];
        assert_one_down(&changes(&both), 2);
        assert_one_down(&changes(&[&both[..], &["MODIFIED web-0 a True ending"]].concat()), 2);
    }
}
