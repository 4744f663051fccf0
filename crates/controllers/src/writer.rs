//! Writes on behalf of one object, each remembered until the caches show it, and what becomes of them.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::Value;
use stead_client::{Cache, ObjectKey};
use stead_plan::ids::Target;

use crate::answered;
use crate::outcome;
use crate::own_writes::{OwnWrites, Tracked};

/// Times a status is written again after somebody else changed the object.
const STATUS_TRIES: usize = 5;

/// A write that the API refused or never answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The API's answer, or its absence.
    #[error("cannot {verb} {kind} {key}: {source}")]
    Api {
        /// What was tried, e.g. `create`.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// The object.
        key: ObjectKey,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// The object decided on is no longer there, or no longer as it was.
    #[error("{key} has changed since it was decided on")]
    Changed {
        /// The object.
        key: ObjectKey,
    },
    /// A stored revision holds something that is not a pod template.
    #[error("revision {key} holds no pod template")]
    BadRevision {
        /// The revision.
        key: ObjectKey,
    },
}

impl WriteError {
    /// What came of trying to `verb` the object `key` of kind `K`.
    pub(crate) fn of<K: Tracked>(verb: &'static str, key: ObjectKey, source: kube::Error) -> Self {
        Self::Api { verb, kind: K::kind(&()).into_owned(), key, source: Box::new(source) }
    }

    /// Whether a creation failed because there is such an object already.
    pub(crate) fn is_already_exists(&self) -> bool {
        self.source().is_some_and(outcome::is_already_exists)
    }

    /// Whether the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.source().is_some_and(outcome::is_not_found)
    }

    /// Whether somebody else wrote the object first.
    pub(crate) fn is_conflict(&self) -> bool {
        match self {
            Self::Changed { .. } => true,
            Self::Api { source, .. } => outcome::is_conflict(source),
            Self::BadRevision { .. } => false,
        }
    }

    /// Whether the write failed because its namespace is going away.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        self.source().is_some_and(outcome::is_namespace_terminating)
    }

    /// The reason in the API's own words, as events and conditions show it.
    pub(crate) fn text(&self) -> String {
        match self.source() {
            Some(kube::Error::Api(status)) => status.message.clone(),
            Some(error) => error.to_string(),
            None => self.to_string(),
        }
    }

    fn source(&self) -> Option<&kube::Error> {
        match self {
            Self::Api { source, .. } => Some(source),
            Self::Changed { .. } | Self::BadRevision { .. } => None,
        }
    }
}

/// Writes on behalf of one object, each remembered.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    client: &'a Client,
    own: &'a OwnWrites,
    owner: &'a ObjectKey,
}

impl<'a> Writer<'a> {
    /// Writes through `client` on behalf of `owner`, in its namespace.
    pub(crate) fn new(client: &'a Client, own: &'a OwnWrites, owner: &'a ObjectKey) -> Self {
        Self { client, own, owner }
    }

    /// Creates `object`.
    pub(crate) async fn create<K>(&self, object: &K) -> Result<ObjectMeta, WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let answer = answered::create(&self.api::<K>(), object).await;
        self.written::<K>("create", &name_of(object), answer)
    }

    /// Writes `object` over the state with its resourceVersion.
    pub(crate) async fn replace<K>(&self, object: &K) -> Result<ObjectMeta, WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let name = name_of(object);
        let answer = answered::replace(&self.api::<K>(), &name, object).await;
        self.written::<K>("update", &name, answer)
    }

    /// Changes parts of the object `name`.
    pub(crate) async fn patch<K>(&self, name: &str, patch: &Patch<Value>) -> Result<ObjectMeta, WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let answer = self.api::<K>().patch(name, &PatchParams::default(), patch).await;
        self.written::<K>("patch", name, answer.map(|object| object.meta().clone()))
    }

    /// Deletes exactly `target`; that it is gone already is success.
    pub(crate) async fn delete<K>(&self, target: &Target) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let preconditions = Preconditions {
            uid: Some(target.uid.0.clone()),
            resource_version: Some(target.resource_version.0.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match self.api::<K>().delete(&target.name, &params).await {
            Ok(answer) => match answer.left() {
                Some(object) => self.own.remember::<K>(self.owner, object.meta()),
                // Gone at once, at a revision that the answer does not tell.
                None => self.own.doubt::<K>(self.owner),
            },
            Err(error) => {
                let error = self.lost::<K>("delete", &target.name, error);
                return if error.is_not_found() { Ok(()) } else { Err(error) };
            }
        }
        Ok(())
    }

    /// Reads the object `name` from the API, not from a cache; none when there is none.
    pub(crate) async fn read<K>(&self, name: &str) -> Result<Option<K>, WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        self.api::<K>().get_opt(name).await.map_err(|error| self.failed::<K>("read", name, error))
    }

    /// Writes the status of `object`; when somebody changed it meanwhile, `put` puts the same status
    /// on the newer state and it is tried again.
    pub(crate) async fn write_status<K>(&self, mut object: K, put: impl Fn(&mut K)) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let (name, uid) = (name_of(&object), object.uid());
        for _ in 0..STATUS_TRIES {
            put(&mut object);
            let answer = answered::replace_status(&self.api::<K>(), &name, &object).await;
            match self.written::<K>("update the status of", &name, answer) {
                Ok(_) => return Ok(()),
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
            match self.read::<K>(&name).await? {
                Some(fresh) if fresh.uid() == uid => object = fresh,
                Some(_) | None => return Ok(()),
            }
        }
        Err(WriteError::Changed { key: self.owner.clone() })
    }

    /// Makes sure that `object` as the API has it now is the same one and is not being deleted.
    pub(crate) async fn confirm<K>(&self, object: &K) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let live = self.read::<K>(&name_of(object)).await?;
        let same =
            live.is_some_and(|live| live.meta().uid == object.meta().uid && live.meta().deletion_timestamp.is_none());
        if same { Ok(()) } else { Err(self.changed(&name_of(object))) }
    }

    /// The object decided on, if `cache` still shows it in that state.
    pub(crate) fn seen<K: Tracked + Send + Sync + 'static>(
        &self,
        cache: &Cache<K>,
        target: &Target,
    ) -> Result<Arc<K>, WriteError> {
        let seen = cache.get(&self.owner.namespace, &target.name);
        seen.filter(|seen| Target::of(seen.meta()) == *target).ok_or_else(|| self.changed(&target.name))
    }

    /// Writes new metadata of the object decided on.
    pub(crate) async fn rewrite<K>(
        &self,
        cache: &Cache<K>,
        target: &Target,
        change: impl Fn(&ObjectMeta) -> ObjectMeta,
    ) -> Result<(), WriteError>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope> + Send + Sync + 'static,
    {
        let mut object = K::clone(self.seen(cache, target)?.as_ref());
        *object.meta_mut() = change(object.meta());
        self.replace(&object).await.map(drop)
    }

    /// The error that tells of an object of the owner's namespace that is not as it was.
    pub(crate) fn changed(&self, name: &str) -> WriteError {
        WriteError::Changed { key: ObjectKey::new(self.owner.namespace.clone(), name) }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Tracked<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.owner.namespace)
    }

    fn written<K: Tracked>(
        &self,
        verb: &'static str,
        name: &str,
        answer: kube::Result<ObjectMeta>,
    ) -> Result<ObjectMeta, WriteError> {
        let written = answer.map_err(|error| self.lost::<K>(verb, name, error))?;
        self.own.remember::<K>(self.owner, &written);
        Ok(written)
    }

    /// The error of a write; one that may have been made all the same is not forgotten.
    fn lost<K: Tracked>(&self, verb: &'static str, name: &str, source: kube::Error) -> WriteError {
        if outcome::is_in_doubt(&source) {
            self.own.doubt::<K>(self.owner);
        }
        self.failed::<K>(verb, name, source)
    }

    fn failed<K: Tracked>(&self, verb: &'static str, name: &str, source: kube::Error) -> WriteError {
        WriteError::of::<K>(verb, ObjectKey::new(self.owner.namespace.clone(), name), source)
    }
}

fn name_of(object: &impl Resource) -> String {
    let meta = object.meta();
    meta.name.clone().or_else(|| meta.generate_name.clone()).unwrap_or_default()
}
