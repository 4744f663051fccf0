//! Read, change, write back: the one way in which stored objects change. Updates, patches and
//! subresources say what the object should become; this file checks what it was based on, runs
//! admission, preparation and validation, and wins races or gives up (contract
//! `defaults-validation.md`, 1.4 "Update").

use stead_api::{FieldError, FieldErrors, Kind, Object};
use stead_store::{Entry, Expect, Store};

use crate::convert;
use crate::deletion;
use crate::handlers::create::dedup_owners;
use crate::limits::WRITE_ATTEMPTS_MAX;
use crate::routes::ResourcePath;
use crate::server::ApiServer;
use crate::status::StatusError;
use crate::storage::{self, Lost, Outcome};

/// Which object is changed, through which door.
pub(crate) struct Target<'a> {
    pub(crate) kind: &'static Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) subresource: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The object a path names.
    pub(crate) fn of(path: &'a ResourcePath) -> Self {
        Self {
            kind: path.kind,
            namespace: path.namespace(),
            name: path.name(),
            subresource: path.subresource.as_deref(),
        }
    }
}

/// What an object should become.
pub(crate) struct Proposal {
    /// The new state; its `metadata.resourceVersion` is the revision it was based on, if any.
    pub(crate) object: Object,
    /// `Warning:` texts about it.
    pub(crate) warnings: Vec<String>,
}

/// Who checks a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// A client's change: preparation and validation of the kind apply.
    Client,
    /// The server's own change through an action (binding, eviction, deletion): only what the
    /// action touches changes, so there is nothing to prepare.
    Server,
}

impl<S: Store> ApiServer<S> {
    /// Changes an object. `propose` is called with fresh state on every attempt; a proposal that
    /// names no revision is tried again when another writer was faster.
    pub(crate) async fn modify(
        &self,
        target: &Target<'_>,
        rules: Rules,
        dry_run: bool,
        warnings: &mut Vec<String>,
        propose: &mut (dyn FnMut(&Object) -> Result<Proposal, StatusError> + Send),
    ) -> Result<Outcome, StatusError> {
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let entry = self.fetch(target.kind, target.namespace, target.name).await?;
            let old = storage::load_as(target.kind, &entry)?;
            let mut proposal = propose(&old)?;
            check_base(target, &proposal.object, &old)?;
            carry_over(&mut proposal.object, &old);
            if rules == Rules::Client {
                self.check(target, &mut proposal, &old).await?;
            }
            match self.write_back(target, &entry, proposal.object, &old, dry_run).await {
                Ok(outcome) => {
                    *warnings = proposal.warnings;
                    return Ok(outcome);
                }
                Err(Lost::Race) => {}
                Err(Lost::Refused(refusal)) => return Err(refusal),
            }
        }
        Err(StatusError::modified(target.kind, target.name))
    }

    async fn check(&self, target: &Target<'_>, proposal: &mut Proposal, old: &Object) -> Result<(), StatusError> {
        let Target { kind, name, subresource, .. } = *target;
        let object = &mut proposal.object;
        (kind.set_defaults)(object);
        dedup_owners(object, &mut proposal.warnings);
        self.admit_update(target, object, old).await?;
        match subresource {
            Some(subresource) => (kind.prepare_subresource_update)(object, subresource, old),
            None => (kind.prepare_update)(object, old),
        }
        (kind.stamp)(object, Some(old), self.world.now());
        (kind.set_defaults)(object);
        if (kind.spec_changed)(object, old) {
            let metadata = object.metadata_mut();
            metadata.generation = Some(metadata.generation.unwrap_or(0) + 1);
        }
        let errors = match subresource {
            Some(subresource) => (kind.validate_subresource_update)(object, subresource, old),
            None => (kind.validate_update)(object, old),
        };
        if !errors.is_empty() {
            return Err(StatusError::invalid(kind, name, &errors));
        }
        if subresource.is_none() {
            proposal.warnings.extend((kind.warnings)(object, Some(old)));
        }
        Ok(())
    }

    async fn write_back(
        &self,
        target: &Target<'_>,
        entry: &std::sync::Arc<Entry>,
        mut object: Object,
        old: &Object,
        dry_run: bool,
    ) -> Result<Outcome, Lost> {
        object.metadata_mut().managed_fields = None;
        object.metadata_mut().resource_version.clone_from(&old.metadata().resource_version);
        if object == *old {
            return Ok(Outcome::Stored(entry.clone()));
        }
        let allocation = self.allocate_for_update(&mut object, old, dry_run).await.map_err(Lost::Refused)?;
        let goes = deletion::may_go(&object);
        let stored = convert::to_stored(object).map_err(Lost::Refused)?;
        if dry_run {
            return Ok(Outcome::Pretended(stored));
        }
        let key = storage::key_of(target.kind, target.namespace, target.name);
        let written = match goes {
            true => self.remove(key, entry.revision, stored).await?,
            false => self.put(key, Expect::At(entry.revision), stored, target.subresource).await?,
        };
        allocation.keep();
        Ok(Outcome::Stored(written))
    }
}

/// Checks what the proposal was based on: the uid and the revision it names, if any.
fn check_base(target: &Target<'_>, object: &Object, old: &Object) -> Result<(), StatusError> {
    let Target { kind, name, .. } = *target;
    let (new, old) = (object.metadata(), old.metadata());
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if let (Some(wanted), Some(found)) = (filled(&new.uid), &old.uid)
        && wanted != *found
    {
        return Err(StatusError::uid_mismatch(kind, name, &wanted, found));
    }
    match filled(&new.resource_version) {
        Some(version) if Some(&version) != old.resource_version.as_ref() => Err(StatusError::modified(kind, name)),
        None if !kind.facts.unconditional_update => {
            let mut errors = FieldErrors::default();
            errors.push(FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update"));
            Err(StatusError::invalid_kind(kind.group, kind.facts.plural, name, &errors))
        }
        _ => Ok(()),
    }
}

/// System fields of the metadata are the server's.
fn carry_over(object: &mut Object, old: &Object) {
    let (new, old) = (object.metadata_mut(), old.metadata());
    new.generation = old.generation;
    if new.uid.as_deref().unwrap_or_default().is_empty() {
        new.uid.clone_from(&old.uid);
    }
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    if new.deletion_grace_period_seconds.is_none() || old.deletion_timestamp.is_none() {
        new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    new.self_link = None;
}
