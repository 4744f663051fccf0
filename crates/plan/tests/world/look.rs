//! What stories look at: the transcript and the state, in a few words.

use expect_test::Expect;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use stead_plan::pods;
use stead_plan::statefulset::ordinals::pod_name;
use stead_plan::statefulset::{self, Action, events};

use super::{World, name};

impl World {
    /// What was written since the last call, one line per action; a pod that goes and comes back next is
    /// one line, `replace web-2@b (outdated)`.
    pub(crate) fn tell(&mut self) -> String {
        let mut told: Vec<String> = Vec::new();
        for line in std::mem::take(&mut self.transcript) {
            match told.last().and_then(|before| replaced(before, &line)) {
                Some(both) => *told.last_mut().expect("there was a line before") = both,
                None => told.push(line),
            }
        }
        told.join("\n") + "\n"
    }

    /// Holds what was written since the last look against a story.
    pub(crate) fn told(&mut self, story: Expect) {
        story.assert_eq(&self.tell());
    }

    /// `web-0@a ready …`, one line per pod.
    pub(crate) fn show(&self) -> String {
        let line = |pod: &Pod| {
            let revision = pod.metadata.labels.as_ref().and_then(|labels| labels.get(statefulset::REVISION_LABEL));
            let state = if pods::is_terminating(pod) {
                "terminating"
            } else if pods::is_ready(pod) {
                "ready"
            } else {
                "not ready"
            };
            format!("{}@{} {state}\n", name(&pod.metadata), self.letter(revision.map_or("?", |label| label)))
        };
        self.pods.values().map(line).collect()
    }

    /// The counts of the status in one line.
    pub(crate) fn counts(&self) -> String {
        let status = self.set.status.clone().unwrap_or_default();
        let count = |count: Option<i32>| count.unwrap_or(0);
        format!(
            "replicas={} ready={} available={} current={}@{} updated={}@{}",
            status.replicas,
            count(status.ready_replicas),
            count(status.available_replicas),
            count(status.current_replicas),
            self.letter(status.current_revision.as_deref().unwrap_or("?")),
            count(status.updated_replicas),
            self.letter(status.update_revision.as_deref().unwrap_or("?")),
        )
    }

    pub(crate) fn waits(&self) -> Vec<String> {
        self.plan().waits.iter().map(ToString::to_string).collect()
    }

    /// `Blocked=True PodNotReady: web-2 is not running and ready`
    pub(crate) fn condition(&self, kind: &str) -> String {
        let conditions = self.set.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let found = conditions.into_iter().find(|condition| condition.type_ == kind);
        found.map_or_else(
            || format!("no {kind}"),
            |found| {
                let text = |text: &Option<String>| text.clone().unwrap_or_default();
                let mut message = text(&found.message);
                for name in self.revisions.keys() {
                    message = message.replace(name.as_str(), &self.letter(name));
                }
                format!("{kind}={} {}: {message}", found.status, text(&found.reason))
            },
        )
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        self.set.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn uid(&self, pod: &str) -> String {
        self.pods[pod].metadata.uid.clone().unwrap_or_default()
    }

    /// `a:1 b:2`, the revisions by number.
    pub(crate) fn history(&self) -> String {
        let mut revisions: Vec<_> = self.revisions.values().collect();
        revisions.sort_by_key(|revision| revision.revision);
        let line = |revision: &&ControllerRevision| {
            format!("{}:{}", self.letter(&name(&revision.metadata)), revision.revision)
        };
        revisions.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    /// The image of a revision: short, and the same in every run.
    pub(crate) fn letter(&self, revision: &str) -> String {
        let template = self.revisions.get(revision).and_then(statefulset::revisions::template_of);
        let image = template.and_then(|template| template.spec?.containers.into_iter().next()?.image);
        image.unwrap_or_else(|| "?".to_owned())
    }

    pub(super) fn line(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::ConfirmSet | Action::CreateRevision { .. } | Action::CreateClaim { .. } => return None,
            Action::AdoptRevision(target) => format!("adopt revision {}", self.letter(&target.name)),
            Action::AdoptPod(target) => format!("adopt {}", target.name),
            Action::RenumberRevision { target, number } => {
                format!("renumber {} to {number}", self.letter(&target.name))
            }
            Action::DeleteRevision(target) => format!("forget {}", self.letter(&target.name)),
            Action::ReleasePod(target) => format!("release {}", target.name),
            Action::OwnClaim { target, owner, .. } => match owner {
                statefulset::ClaimKeeper::Nobody => format!("own {}: nobody", target.name),
                statefulset::ClaimKeeper::Set => format!("own {}: set", target.name),
                statefulset::ClaimKeeper::Pod(_) => format!("own {}: pod", target.name),
            },
            Action::CreatePod { ordinal, revision } => {
                format!("create {}@{}", pod_name("web", *ordinal), self.letter(&revision.0))
            }
            Action::RelabelPod { target, .. } => format!("relabel {}", target.name),
            Action::Prepare { target, revision, .. } => {
                format!("prepare {} for {}", target.name, self.letter(&revision.0))
            }
            Action::Withdraw { target, .. } => format!("withdraw {}", target.name),
            Action::DeletePod { target, why, .. } => format!("delete {} ({why:?})", target.name).to_lowercase(),
            Action::DeleteClaim { target, .. } => format!("delete {}", target.name),
            Action::GrowClaim { target, storage, .. } => format!("grow {} to {storage}", target.name),
            Action::Remember { .. } => return None,
            Action::RollBack { to, from } => format!("roll back {} to {}", self.letter(&from.0), self.letter(&to.0)),
        })
    }

    pub(super) fn event(&mut self, note: &events::Note) {
        let kind = if note.warning { "Warning" } else { "Normal" };
        self.events.push(format!("{kind} {} {}", note.reason, note.message));
    }
}

/// `delete web-2 (outdated)` and `create web-2@b` in one line.
fn replaced(before: &str, after: &str) -> Option<String> {
    let (pod, why) = before.strip_prefix("delete ")?.split_once(' ')?;
    let created = after.strip_prefix("create ")?;
    (created.split_once('@')?.0 == pod).then(|| format!("replace {created} {why}"))
}
