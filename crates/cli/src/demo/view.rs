//! The live view: one line per ordinal, redrawn in place on a terminal, printed when it changes
//! elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::manifest::NAME;

/// A table of replicas.
pub(super) struct View {
    replicas: u8,
    shown: Vec<String>,
}

/// Whether the pod's Ready condition is True.
pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

impl View {
    /// A view of so many ordinals that has shown nothing yet.
    pub(super) fn new(replicas: u8) -> Self {
        Self { replicas, shown: Vec::new() }
    }

    /// Shows the replicas, if they are not what is shown already.
    pub(super) fn show(&mut self, pods: &[Arc<Pod>]) {
        let lines = lines(self.replicas, pods);
        if lines == self.shown {
            return;
        }
        let mut out = std::io::stdout().lock();
        let mut text = String::new();
        if std::io::stdout().is_terminal() && !self.shown.is_empty() {
            text += &format!("\x1b[{}A", self.shown.len());
        }
        for line in &lines {
            text += &format!("\x1b[2K{line}\n");
        }
        if !std::io::stdout().is_terminal() {
            text = text.replace("\x1b[2K", "");
            text.push('\n');
        }
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Nobody looks any more; the story goes on.
            drop(error);
        }
        self.shown = lines;
    }
}

/// The table as text.
fn lines(replicas: u8, pods: &[Arc<Pod>]) -> Vec<String> {
    let mut lines = vec![format!("  {:<8} {:<10} {:<20} {:<16} ADDRESS", "ORDINAL", "POD", "STATE", "CLAIM")];
    for ordinal in 0..replicas {
        let name = format!("{NAME}-{ordinal}");
        let pod = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name.as_str()));
        let (state, claim, address) = match pod {
            None => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            Some(pod) => (state(pod), format!("data-{name}"), address(pod)),
        };
        lines.push(format!("  {ordinal:<8} {name:<10} {state:<20} {claim:<16} {address}"));
    }
    lines
}

fn state(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let waiting = status
        .and_then(|status| status.container_statuses.as_ref()?.first()?.state.as_ref()?.waiting.as_ref())
        .and_then(|waiting| waiting.reason.as_deref());
    match (pod.metadata.deletion_timestamp.is_some(), phase, waiting) {
        (true, ..) => "Terminating".to_owned(),
        (_, "Running", _) if is_ready(pod) => "Ready".to_owned(),
        (_, _, Some(reason)) => reason.to_owned(),
        (_, phase, None) => phase.to_owned(),
    }
}

fn address(pod: &Pod) -> String {
    pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_else(|| "-".to_owned())
}
