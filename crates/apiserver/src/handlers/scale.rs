//! The `scale` subresource of the kinds that have replicas (contract `statefulset.md` C6).

use http::{Method, StatusCode};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use stead_api::selectors::Selector;
use stead_api::{FieldError, FieldErrors, Object};
use stead_store::Store;

use crate::body;
use crate::handlers::modify::{Proposal, Rules, Target};
use crate::handlers::patch::Patch;
use crate::negotiate::{self, Form, Offer};
use crate::query::WriteOptions;
use crate::respond::{self, Answer};
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;
use crate::storage::{self, Outcome};

impl<S: Store> ApiServer<S> {
    /// Answers GET, PUT and PATCH of a Scale.
    pub(crate) async fn scale(&self, method: &Method, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Plain)?;
        match method.as_str() {
            "GET" | "HEAD" => {
                let entry = self.fetch(path.kind, path.namespace(), path.name()).await?;
                show(&storage::load_as(path.kind, &entry)?, form)
            }
            "PUT" => {
                let wanted: Scale = body::plain("Scale", &call.headers, &call.body)?;
                let options = WriteOptions::read(&call.query, "UpdateOptions")?;
                self.rescale(path, form, options.dry_run, &mut |_| Ok(wanted.clone())).await
            }
            "PATCH" => {
                let patch = Patch::read(call)?;
                let options = WriteOptions::read(&call.query, "PatchOptions")?;
                let mut wanted = |current: &Scale| {
                    let current = serde_json::to_value(current).map_err(StatusError::internal)?;
                    let patched = patch.apply_to_scale(&current)?;
                    serde_json::from_value(patched).map_err(|error| StatusError::bad_request(error.to_string()))
                };
                self.rescale(path, form, options.dry_run, &mut wanted).await
            }
            _ => Err(StatusError::method_not_allowed()),
        }
    }

    async fn rescale(
        &self,
        path: &ResourcePath,
        form: Form,
        dry_run: bool,
        wanted: &mut (dyn FnMut(&Scale) -> Result<Scale, StatusError> + Send),
    ) -> Answer {
        // Only the count goes back into the object, by the rules of its own update.
        let target = Target { subresource: None, ..Target::of(path) };
        let mut propose = |old: &Object| {
            let current = scale_of(old).ok_or_else(StatusError::no_such_resource)?;
            let scale = wanted(&current)?;
            let replicas = checked_replicas(path.name(), &scale)?;
            let mut object = old.clone();
            set_replicas(&mut object, replicas);
            let metadata = object.metadata_mut();
            metadata.resource_version = scale.metadata.resource_version.filter(|version| !version.is_empty());
            if let Some(uid) = scale.metadata.uid.filter(|uid| !uid.is_empty()) {
                metadata.uid = Some(uid);
            }
            Ok(Proposal { object, warnings: Vec::new() })
        };
        let outcome = self.modify(&target, Rules::Client, dry_run, &mut Vec::new(), &mut propose).await?;
        match outcome {
            Outcome::Stored(entry) => show(&storage::load_as(path.kind, &entry)?, form),
            Outcome::Pretended(object) => show(&object, form),
        }
    }
}

fn show(object: &Object, form: Form) -> Answer {
    let scale = scale_of(object).ok_or_else(StatusError::no_such_resource)?;
    respond::value(StatusCode::OK, &scale, form)
}

fn checked_replicas(name: &str, scale: &Scale) -> Result<i32, StatusError> {
    let own = scale.metadata.name.as_deref().unwrap_or_default();
    if !own.is_empty() && own != name {
        return Err(StatusError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let mut errors = FieldErrors::default();
    errors.push(FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0"));
    Err(StatusError::invalid_kind("autoscaling", "Scale", name, &errors))
}

/// The Scale of an object; none when its kind has no replicas.
fn scale_of(object: &Object) -> Option<Scale> {
    let (wanted, present, selector) = if let Some(set) = object.get::<StatefulSet>() {
        let spec = set.spec.as_ref();
        let present = set.status.as_ref().map(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), present, spec.map(|spec| text(&spec.selector)))
    } else if let Some(deployment) = object.get::<Deployment>() {
        let spec = deployment.spec.as_ref();
        let present = deployment.status.as_ref().and_then(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), present, spec.map(|spec| text(&spec.selector)))
    } else if let Some(set) = object.get::<ReplicaSet>() {
        let spec = set.spec.as_ref();
        let present = set.status.as_ref().map(|status| status.replicas);
        (spec.and_then(|spec| spec.replicas), present, spec.map(|spec| text(&spec.selector)))
    } else {
        let controller = object.get::<ReplicationController>()?;
        let spec = controller.spec.as_ref();
        let present = controller.status.as_ref().map(|status| status.replicas);
        let selector =
            spec.and_then(|spec| spec.selector.as_ref()).map(|labels| Selector::from_labels(labels).to_string());
        (spec.and_then(|spec| spec.replicas), present, selector)
    };
    let metadata = object.metadata();
    Some(Scale {
        metadata: ObjectMeta {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
            creation_timestamp: metadata.creation_timestamp.clone(),
            ..ObjectMeta::default()
        },
        spec: Some(ScaleSpec { replicas: Some(wanted.unwrap_or(0)) }),
        status: Some(ScaleStatus { replicas: present.unwrap_or(0), selector }),
    })
}

fn text(selector: &LabelSelector) -> String {
    // A stored selector has passed validation.
    Selector::try_from(selector).map(|selector| selector.to_string()).unwrap_or_default()
}

fn set_replicas(object: &mut Object, replicas: i32) {
    if let Some(set) = object.get_mut::<StatefulSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(deployment) = object.get_mut::<Deployment>() {
        deployment.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(set) = object.get_mut::<ReplicaSet>() {
        set.spec.get_or_insert_default().replicas = Some(replicas);
    } else if let Some(controller) = object.get_mut::<ReplicationController>() {
        controller.spec.get_or_insert_default().replicas = Some(replicas);
    }
}
