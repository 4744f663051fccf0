//! Nodes that make ready for the replacement of a pod when they are asked to.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_api::preparation::{Answer, Outcome, PREPARED, PREPARES, Prefetch, Request};
use stead_plan::pods;

use super::World;

/// The node of all pods, once there is one.
pub(crate) const NODE: &str = "n1";

impl World {
    /// `set` with all its replicas up on a node that can be asked.
    pub(crate) fn preparing(set: StatefulSet) -> Self {
        let mut world = Self::on_preparing_nodes(set);
        world.run();
        world.tell();
        world
    }

    /// `set`, only just made, where every pod comes to a node that can be asked.
    pub(crate) fn on_preparing_nodes(set: StatefulSet) -> Self {
        let mut world = Self::new(set);
        let annotations = [(PREPARES.to_owned(), "true".to_owned())].into();
        world.nodes = vec![Arc::new(Node {
            metadata: ObjectMeta {
                name: Some(NODE.to_owned()),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            ..Node::default()
        })];
        world
    }

    /// The request that a pod carries.
    pub(crate) fn request(&self, pod: &str) -> Option<Request> {
        Request::of(&self.pods[pod].metadata)
    }

    /// Every node does what it is asked and says how it went; whether there was anything to say.
    pub(crate) fn prepare(&mut self) -> bool {
        let stays = |(name, pod): (&String, &Pod)| (!pods::is_terminating(pod)).then(|| name.clone());
        let names: Vec<String> = self.pods.iter().filter_map(stays).collect();
        let mut changed = false;
        for name in &names {
            let Some(answer) = self.answer(name) else { continue };
            let (holds, reason, message) = answer.condition();
            let condition = PodCondition {
                type_: PREPARED.to_owned(),
                status: if holds { "True" } else { "False" }.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                ..PodCondition::default()
            };
            changed = true;
            self.status(name, |status, _| {
                let conditions = status.conditions.get_or_insert_default();
                conditions.retain(|condition| condition.type_ != PREPARED);
                conditions.push(condition);
            });
        }
        changed
    }

    /// What the pod's node has to say that it has not said yet.
    fn answer(&self, name: &str) -> Option<Answer> {
        let request = self.request(name)?;
        let pod = &self.pods[name];
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let said = Answer::among(conditions).filter(|answer| answer.id == request.id);
        if said.as_ref().is_some_and(|said| said.outcome == Outcome::Done) {
            return None;
        }
        let missing = request.images.iter().find(|wanted| self.missing.contains(&wanted.image));
        let (outcome, message) = match (missing, &request.hook) {
            (Some(missing), _) if request.prefetch == Prefetch::Required => {
                (Outcome::NoImage, format!("{}: not found", missing.image))
            }
            (_, Some(_)) if !pods::is_ready(pod) => (Outcome::HookWaits, String::new()),
            (_, Some(_)) if self.hooks_fail => (Outcome::HookFailed, "it exited with 1".to_owned()),
            (_, _) => (Outcome::Done, String::new()),
        };
        let answer = Answer { id: request.id, outcome, message };
        Some(answer).filter(|answer| said.as_ref() != Some(answer))
    }
}
