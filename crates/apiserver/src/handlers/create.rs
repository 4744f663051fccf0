//! POST to a collection, in the order of contract `defaults-validation.md`, 1.4.

use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use stead_api::{Kind, Object};
use stead_store::{Expect, PutError, Store};

use crate::body;
use crate::convert;
use crate::handlers::answers::Show;
use crate::limits::GENERATE_NAME_ATTEMPTS_MAX;
use crate::negotiate::{self, Offer};
use crate::query::WriteOptions;
use crate::respond::Answer;
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::StatusError;
use crate::storage::{Lost, Outcome, key_of};
use crate::world::{generated_name, new_uid};

impl<S: Store> ApiServer<S> {
    /// Answers a create.
    pub(crate) async fn create(&self, call: &Call, path: &ResourcePath) -> Answer {
        let options = WriteOptions::read(&call.query, "CreateOptions")?;
        let form = negotiate::accepted(&call.headers, Offer::Object)?;
        let body::Decoded { object, mut warnings } =
            body::object(path.kind, &call.headers, &call.body, options.field_validation)?;
        let outcome = self.create_object(path.kind, path.namespace(), object, &options, &mut warnings).await?;
        let show = Show { kind: path.kind, form, query: &call.query, code: StatusCode::CREATED };
        self.show_with(&show, &outcome, &warnings)
    }

    /// Creates an object that was decoded already.
    pub(crate) async fn create_object(
        &self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Object,
        options: &WriteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Outcome, StatusError> {
        settle_namespace(kind, namespace, &mut object)?;
        wipe_system_fields(&mut object)?;
        (kind.set_defaults)(&mut object);
        let home = self.admit_create(kind, namespace, &mut object).await?;

        let metadata = object.metadata_mut();
        metadata.uid = Some(new_uid(self.world.as_ref()));
        metadata.creation_timestamp = Some(Time(self.world.now()));
        let generate = metadata.name.as_deref().unwrap_or_default().is_empty()
            && metadata.generate_name.as_deref().is_some_and(|base| !base.is_empty());
        if generate {
            self.generate_name(&mut object);
        }
        let allocation = self.allocate_for_create(&mut object, options.dry_run).await?;
        (kind.prepare_create)(&mut object);
        (kind.stamp)(&mut object, None, self.world.now());
        if kind.facts.has_generation {
            object.metadata_mut().generation = Some(1);
        }
        let errors = (kind.validate_create)(&object);
        if !errors.is_empty() {
            return Err(StatusError::invalid(kind, name_of(&object), &errors));
        }
        warnings.extend((kind.warnings)(&object, None));
        dedup_owners(&mut object, warnings);
        // Once more: what was filled in above has defaults of its own.
        (kind.set_defaults)(&mut object);
        let outcome = self.store_new(kind, namespace, object, generate, options.dry_run).await?;
        allocation.keep();
        if let (Some(home), Outcome::Stored(created)) = (home, &outcome) {
            self.confirm_namespace(&home, created).await?;
        }
        Ok(outcome)
    }

    async fn store_new(
        &self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Object,
        generate: bool,
        dry_run: bool,
    ) -> Result<Outcome, StatusError> {
        for _ in 0..GENERATE_NAME_ATTEMPTS_MAX {
            let name = name_of(&object).to_owned();
            let key = key_of(kind, namespace, &name);
            // Wanted once more only when the name is taken and another can be made up.
            let again = generate.then(|| object.clone());
            let stored = convert::to_stored(object)?;
            let taken = if dry_run {
                match self.find(kind, namespace, &name).await? {
                    None => return Ok(Outcome::Pretended(stored)),
                    Some(current) => current,
                }
            } else {
                match self.put(key, Expect::Absent, stored, None).await {
                    Ok(entry) => return Ok(Outcome::Stored(entry)),
                    Err(PutError::Exists { current, .. }) => current,
                    Err(error @ (PutError::Conflict { .. } | PutError::Unavailable { .. })) => {
                        return Err(match Lost::from(error) {
                            Lost::Race => StatusError::modified(kind, &name),
                            Lost::Refused(refusal) => refusal,
                        });
                    }
                }
            };
            let Some(unnamed) = again else {
                let being_deleted = crate::encode::load(&taken, kind)
                    .is_ok_and(|object| object.metadata().deletion_timestamp.is_some());
                return Err(StatusError::already_exists(kind, &name, being_deleted));
            };
            object = unnamed;
            self.generate_name(&mut object);
            (kind.set_defaults)(&mut object);
        }
        Err(StatusError::no_generated_name(kind, name_of(&object)))
    }

    fn generate_name(&self, object: &mut Object) {
        let metadata = object.metadata_mut();
        let base = metadata.generate_name.as_deref().unwrap_or_default();
        metadata.name = Some(generated_name(self.world.as_ref(), base));
    }
}

/// The object's name, empty when it has none.
pub(crate) fn name_of(object: &Object) -> &str {
    object.metadata().name.as_deref().unwrap_or_default()
}

/// Fills in the namespace of the path; 400 when the body names another.
pub(crate) fn settle_namespace(kind: &Kind, namespace: &str, object: &mut Object) -> Result<(), StatusError> {
    let metadata = object.metadata_mut();
    if kind.facts.scope == stead_api::Scope::Cluster {
        metadata.namespace = None;
        return Ok(());
    }
    match metadata.namespace.as_deref().unwrap_or_default() {
        "" => metadata.namespace = Some(namespace.to_owned()),
        own if own == namespace => {}
        _ => {
            return Err(StatusError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

fn wipe_system_fields(object: &mut Object) -> Result<(), StatusError> {
    let metadata = object.metadata_mut();
    if metadata.resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(StatusError::plain("resourceVersion should not be set on objects to be created"));
    }
    metadata.resource_version = None;
    metadata.uid = None;
    metadata.creation_timestamp = None;
    metadata.deletion_timestamp = None;
    metadata.deletion_grace_period_seconds = None;
    metadata.self_link = None;
    metadata.managed_fields = None;
    Ok(())
}

/// Removes repeated owner references, with a warning.
pub(crate) fn dedup_owners(object: &mut Object, warnings: &mut Vec<String>) {
    let Some(owners) = &mut object.metadata_mut().owner_references else { return };
    let mut kept = Vec::with_capacity(owners.len());
    let mut repeated: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if !kept.contains(&owner) {
            kept.push(owner);
        } else if !repeated.contains(&owner.uid) {
            repeated.push(owner.uid);
        }
    }
    *owners = kept;
    if !repeated.is_empty() {
        warnings.push(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and \
             may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            repeated.join(", ")
        ));
    }
}
