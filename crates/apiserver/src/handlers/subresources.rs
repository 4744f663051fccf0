//! Subresources: the whole object through another door (`status`, `finalize`, …), Scale, and the
//! actions on pods (contract `controllers.md` 7F and 8B; `defaults-validation.md`, 4.2).

use std::sync::Arc;

use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::{Binding, Node, Pod, PodCondition};
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time};
use stead_api::{FieldError, FieldErrors, Object};
use stead_store::Store;

use crate::body;
use crate::handlers::delete::check_preconditions;
use crate::handlers::modify::{Proposal, Rules, Target};
use crate::negotiate::{self, Offer};
use crate::query::WriteOptions;
use crate::respond::{self, Answer};
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::{self, StatusError};
use crate::storage::Outcome;

/// Labels a pod takes over from the node it is bound to.
const TOPOLOGY_LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

impl<S: Store> ApiServer<S> {
    /// Answers a request below an object.
    pub(crate) async fn subresource(
        self: &Arc<Self>,
        method: &Method,
        call: &Call,
        path: &ResourcePath,
        subresource: &str,
    ) -> Answer {
        let known = path.kind.facts.subresources.iter().any(|known| known.name == subresource);
        if !known {
            return Err(StatusError::no_such_resource());
        }
        match (path.kind.kind, subresource, method.as_str()) {
            (_, "scale", _) => self.scale(method, call, path).await,
            ("Pod", "binding", "POST") => self.bind(call, path).await,
            ("Pod", "eviction", "POST") => self.evict(call, path).await,
            ("Pod", "binding" | "eviction", _) => Err(StatusError::method_not_allowed()),
            (_, "status" | "ephemeralcontainers" | "resize", "GET" | "HEAD") => self.get(call, path).await,
            (_, "status" | "ephemeralcontainers" | "resize" | "finalize", "PUT") => self.update(call, path).await,
            (_, "status" | "ephemeralcontainers" | "resize", "PATCH") => self.patch(call, path).await,
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    /// Puts a pod on a node.
    async fn bind(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Plain)?;
        let options = WriteOptions::read(&call.query, "CreateOptions")?;
        let binding: Binding = body::plain("Binding", &call.headers, &call.body)?;
        check_binding(path.name(), &binding)?;
        let topology = self.topology_of(&binding.target.name.clone().unwrap_or_default()).await?;
        let now = Time(self.world.now());
        let mut propose = |old: &Object| {
            let mut object = old.clone();
            if let Some(pod) = object.get_mut::<Pod>() {
                may_bind(path, pod)?;
                put_on_node(pod, &binding, &topology, &now);
            }
            let metadata = object.metadata_mut();
            metadata.resource_version = binding.metadata.resource_version.clone();
            if binding.metadata.uid.is_some() {
                metadata.uid.clone_from(&binding.metadata.uid);
            }
            Ok(Proposal { object, warnings: Vec::new() })
        };
        let target = Target { subresource: None, ..Target::of(path) };
        self.modify(&target, Rules::Server, options.dry_run, &mut Vec::new(), &mut propose).await?;
        respond::value(StatusCode::CREATED, &created(), form)
    }

    async fn topology_of(&self, node: &str) -> Result<Vec<(String, String)>, StatusError> {
        let node: Option<Node> = self.find_typed("", node).await?;
        let labels = node.and_then(|node| node.metadata.labels).unwrap_or_default();
        let topology = TOPOLOGY_LABELS.iter().filter_map(|key| Some(((*key).to_owned(), labels.get(*key)?.clone())));
        Ok(topology.collect())
    }

    /// Evicts a pod, if its disruption budget allows it.
    async fn evict(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Plain)?;
        let eviction: Eviction = body::plain("Eviction", &call.headers, &call.body)?;
        let mut options = eviction.delete_options.unwrap_or_default();
        let mut errors = FieldErrors::default();
        let asked = options.dry_run.iter().flatten().map(String::as_str).chain(call.query.all("dryRun"));
        let dry_run = crate::query::read_dry_run(asked, &mut errors);
        if !errors.is_empty() {
            return Err(StatusError::invalid_kind("policy", "Eviction", path.name(), &errors));
        }
        let target = Target { subresource: None, ..Target::of(path) };
        let _one_at_a_time = self.evictions.lock().await;
        if let Some(pod) = self.find_typed::<Pod>(target.namespace, target.name).await? {
            self.check_budget(&pod).await?;
        }
        if !dry_run {
            let uid = self.mark_evicted(&target, &options).await?;
            // The mark was made on the revision the client may have named, and has changed it. What is
            // deleted is what was marked.
            options.preconditions = Some(Preconditions { uid: Some(uid), resource_version: None });
        }
        self.delete_object(&target, &options, dry_run).await?;
        respond::value(StatusCode::CREATED, &created(), form)
    }

    /// Says on the pod why it goes; the pod's UID.
    async fn mark_evicted(&self, target: &Target<'_>, options: &DeleteOptions) -> Result<String, StatusError> {
        let now = Time(self.world.now());
        let mut propose = |old: &Object| {
            check_preconditions(target.kind, target.name, options, old)?;
            let mut object = old.clone();
            if let Some(pod) = object.get_mut::<Pod>() {
                set_condition(pod, "DisruptionTarget", &now, Some(("EvictionByEvictionAPI", "Eviction API: evicting")));
            }
            Ok(Proposal { object, warnings: Vec::new() })
        };
        match self.modify(target, Rules::Server, false, &mut Vec::new(), &mut propose).await? {
            Outcome::Stored(entry) => Ok(entry.header.uid.clone().into()),
            Outcome::Pretended(_) => Err(StatusError::internal("a mark that is no dry run is stored")),
        }
    }
}

fn created() -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Status {
    let mut status = status::success(None);
    status.code = Some(201);
    status
}

fn check_binding(pod: &str, binding: &Binding) -> Result<(), StatusError> {
    let mut errors = FieldErrors::default();
    let kind = binding.target.kind.as_deref().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if binding.target.name.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    let own = binding.metadata.name.as_deref().unwrap_or_default();
    if !own.is_empty() && own != pod {
        return Err(StatusError::bad_request("name in URL does not match name in Binding object"));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(StatusError::invalid_kind("", "Binding", pod, &errors)),
    }
}

fn may_bind(path: &ResourcePath, pod: &Pod) -> Result<(), StatusError> {
    let name = path.name();
    let refuse = |text: String| Err(StatusError::subresource_conflict(path.kind, "binding", name, &text));
    let spec = pod.spec.as_ref();
    if pod.metadata.deletion_timestamp.is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    if let Some(node) = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node \"{node}\""));
    }
    if spec.and_then(|spec| spec.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

fn put_on_node(pod: &mut Pod, binding: &Binding, topology: &[(String, String)], now: &Time) {
    pod.spec.get_or_insert_default().node_name.clone_from(&binding.target.name);
    if let Some(annotations) = binding.metadata.annotations.clone() {
        pod.metadata.annotations.get_or_insert_default().extend(annotations);
    }
    let labels = binding.metadata.labels.clone().unwrap_or_default();
    if !(labels.is_empty() && topology.is_empty()) {
        let own = pod.metadata.labels.get_or_insert_default();
        own.extend(labels);
        own.extend(topology.iter().cloned());
    }
    pod.status.get_or_insert_default().nominated_node_name = None;
    set_condition(pod, "PodScheduled", now, None);
}

/// Sets a condition of a pod to True, keeping the time of an earlier transition.
fn set_condition(pod: &mut Pod, type_: &str, now: &Time, why: Option<(&str, &str)>) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let earlier = conditions.iter().position(|condition| condition.type_ == type_);
    let since = earlier.filter(|index| conditions[*index].status == "True");
    let condition = PodCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: why.map(|(reason, _)| reason.to_owned()),
        message: why.map(|(_, message)| message.to_owned()),
        last_transition_time: match since {
            Some(index) => conditions[index].last_transition_time.clone(),
            None => Some(now.clone()),
        },
        ..PodCondition::default()
    };
    match earlier {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}
