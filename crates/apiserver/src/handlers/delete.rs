//! DELETE of one object.

use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, StatusDetails};
use stead_api::registry::{DeleteAnswer, Propagation};
use stead_api::{FieldError, FieldErrors, Kind, Object};
use stead_store::{Expect, Store};

use crate::body;
use crate::convert;
use crate::deletion::{self, Fate};
use crate::encode;
use crate::handlers::answers::Show;
use crate::handlers::modify::Target;
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::negotiate::{self, Offer};
use crate::query::{Query, read_dry_run};
use crate::respond::{self, Answer, Body};
use crate::routes::ResourcePath;
use crate::server::{ApiServer, Call};
use crate::status::{self, StatusError};
use crate::storage::{Lost, Outcome, key_of};

const JOB_WARNING: &str = "child pods are preserved by default when jobs are deleted; set \
    propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

/// What a deletion led to.
pub(crate) struct Deleted {
    pub(crate) outcome: Outcome,
    /// Whether the object is gone, not merely on its way out.
    pub(crate) gone: bool,
}

impl<S: Store> ApiServer<S> {
    /// Answers a delete.
    pub(crate) async fn delete(&self, call: &Call, path: &ResourcePath) -> Answer {
        let form = negotiate::accepted(&call.headers, Offer::Object)?;
        let (options, dry_run) = read_options(call)?;
        let deleted = self.delete_object(&Target::of(path), &options, dry_run).await?;
        let show = Show { kind: path.kind, form, query: &call.query, code: StatusCode::OK };
        let mut response: Response<Body> = match path.kind.facts.delete_answer {
            DeleteAnswer::Status if deleted.gone => {
                respond::value(StatusCode::OK, &success(path.kind, &deleted.outcome), form)?
            }
            DeleteAnswer::Status | DeleteAnswer::Object => self.show(&show, &deleted.outcome)?,
        };
        let silent = options.propagation_policy.is_none() && options.orphan_dependents.is_none();
        if silent && path.kind.kind == "Job" && path.kind.facts.default_propagation == Propagation::Orphan {
            respond::warn(&mut response, &[JOB_WARNING.to_owned()]);
        }
        Ok(response)
    }

    /// Deletes an object or begins its deletion.
    pub(crate) async fn delete_object(
        &self,
        target: &Target<'_>,
        options: &DeleteOptions,
        dry_run: bool,
    ) -> Result<Deleted, StatusError> {
        let Target { kind, namespace, name, .. } = *target;
        self.admit_delete(kind, name)?;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let entry = self.fetch(kind, namespace, name).await?;
            let old = encode::load(&entry, kind)?;
            check_preconditions(kind, name, options, &old)?;
            let mut object = old;
            let fate = deletion::begin(&mut object, options, self.world.now());
            if fate == Fate::Pending {
                return Ok(Deleted { outcome: Outcome::Stored(entry), gone: false });
            }
            if dry_run {
                return Ok(Deleted { outcome: Outcome::Pretended(object), gone: fate == Fate::Goes });
            }
            let key = key_of(kind, namespace, name);
            let stored = convert::to_stored(object)?;
            let written = match fate {
                Fate::Goes => self.remove(key, entry.revision, stored).await.map_err(Lost::from),
                Fate::Marked | Fate::Pending => {
                    self.put(key, Expect::At(entry.revision), stored, None).await.map_err(Lost::from)
                }
            };
            match written {
                Ok(entry) => return Ok(Deleted { outcome: Outcome::Stored(entry), gone: fate == Fate::Goes }),
                Err(Lost::Race) => {}
                Err(Lost::Refused(refusal)) => return Err(refusal),
            }
        }
        Err(StatusError::modified(kind, name))
    }
}

/// DeleteOptions of the body, with what the query says on top; and whether this is a dry run.
pub(crate) fn read_options(call: &Call) -> Result<(DeleteOptions, bool), StatusError> {
    let mut options = match call.body.is_empty() {
        true => DeleteOptions::default(),
        false => body::delete_options(&call.headers, &call.body)?,
    };
    merge_query(&mut options, &call.query)?;
    let mut errors = FieldErrors::default();
    let dry_run = read_dry_run(options.dry_run.iter().flatten().map(String::as_str), &mut errors);
    if options.propagation_policy.is_some() && options.orphan_dependents.is_some() {
        let value = options.propagation_policy.clone();
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        errors.push(FieldError::invalid("propagationPolicy", value, detail));
    } else if let Some(policy) = options.propagation_policy.as_deref()
        && !["Background", "Foreground", "Orphan"].contains(&policy)
    {
        let supported = ["Foreground", "Background", "Orphan", "nil"];
        errors.push(FieldError::not_supported("propagationPolicy", policy, &supported));
    }
    match errors.is_empty() {
        true => Ok((options, dry_run)),
        false => Err(StatusError::invalid_kind("meta.k8s.io", "DeleteOptions", "", &errors)),
    }
}

fn merge_query(options: &mut DeleteOptions, query: &Query) -> Result<(), StatusError> {
    if let Some(grace_s) = query.number("gracePeriodSeconds")? {
        options.grace_period_seconds = Some(grace_s);
    }
    if let Some(policy) = query.filled("propagationPolicy") {
        options.propagation_policy = Some(policy.to_owned());
    }
    if let Some(orphan) = query.optional_flag("orphanDependents") {
        options.orphan_dependents = Some(orphan);
    }
    let asked: Vec<String> = query.all("dryRun").map(str::to_owned).collect();
    if !asked.is_empty() {
        options.dry_run = Some(asked);
    }
    Ok(())
}

/// Refuses a deletion that was decided on another object, or on another state of this one.
pub(crate) fn check_preconditions(
    kind: &Kind,
    name: &str,
    options: &DeleteOptions,
    old: &Object,
) -> Result<(), StatusError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let found = old.metadata();
    let (uid, version) =
        (found.uid.as_deref().unwrap_or_default(), found.resource_version.as_deref().unwrap_or_default());
    if let Some(wanted) = wanted.uid.as_deref().filter(|wanted| *wanted != uid) {
        let text = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have \
             been deleted and then recreated"
        );
        return Err(StatusError::precondition(kind, name, &text));
    }
    if let Some(wanted) = wanted.resource_version.as_deref().filter(|wanted| *wanted != version) {
        let text = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record \
             ({version}). The object might have been modified"
        );
        return Err(StatusError::precondition(kind, name, &text));
    }
    Ok(())
}

fn success(kind: &Kind, outcome: &Outcome) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Status {
    let (name, uid) = match outcome {
        Outcome::Stored(entry) => (Some(entry.key.name.to_string()), Some(entry.header.uid.to_string())),
        Outcome::Pretended(object) => (object.metadata().name.clone(), object.metadata().uid.clone()),
    };
    status::success(Some(StatusDetails {
        name,
        group: (!kind.group.is_empty()).then(|| kind.group.to_owned()),
        kind: Some(kind.facts.plural.to_owned()),
        uid,
        ..StatusDetails::default()
    }))
}
