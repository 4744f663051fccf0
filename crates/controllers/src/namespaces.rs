//! Namespaces: a ServiceAccount and the root certificate in every live one; emptying and finalizing the
//! terminating ones (contract 7B, 7C). What to do is decided in `plan::namespaces`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use stead_api::registry::{Kind, Scope};
use stead_client::{Change, WorkQueue};
use stead_plan::namespaces::{self, Remaining, Stage, Step, Survey};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::metadata::{self, Metadata, Sighting};
use crate::outcome::{is_already_exists, is_namespace_terminating, is_not_found};

const WORKERS: usize = 4;

/// Why a namespace has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum NamespaceError {
    #[error("cannot read {what} of namespace {namespace}")]
    Read { namespace: String, what: &'static str, source: kube::Error },
    #[error("cannot write {what} of namespace {namespace}")]
    Write { namespace: String, what: &'static str, source: kube::Error },
}

/// Runs until `shutdown`. `ca_pem` is the certificate of the authority that signs the API server's.
pub async fn run(ctx: Context, ca_pem: String, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    observe(&ctx, &queue);
    tokio::select! {
        () = shutdown.cancelled() => return,
        () = ctx.caches.all_synced() => {}
    }
    let keeper = std::sync::Arc::new(Keeper { ctx, ca_pem, queue: queue.clone() });
    let handler = move |name: String| {
        let keeper = std::sync::Arc::clone(&keeper);
        async move { keeper.process(&name).await }
    };
    queue.run(WORKERS, shutdown, handler).await;
}

/// A namespace is looked at when it changes, when something it should hold changes or goes, and, while
/// it is terminating, whenever anything in it goes.
fn observe(ctx: &Context, queue: &WorkQueue<String>) {
    let on_namespace = queue.clone();
    ctx.caches.namespaces.on_change(move |change| match change {
        Change::Applied { new, .. } => on_namespace.add(new.metadata.name.clone().unwrap_or_default()),
        Change::Deleted { .. } => {}
    });
    let (on_content, namespaces) = (queue.clone(), ctx.caches.namespaces.clone());
    metadata::on_any_change(&ctx.caches, move |sighting| {
        let Some(namespace) = &sighting.meta.namespace else { return };
        let terminating = || namespaces.get("", namespace).is_some_and(|namespace| !namespaces::is_live(&namespace));
        if is_standing_content(&sighting) || (sighting.gone && terminating()) {
            on_content.add(namespace.clone());
        }
    });
}

fn is_standing_content(sighting: &Sighting<'_>) -> bool {
    let name = sighting.meta.name.as_deref();
    match sighting.kind.kind {
        "ServiceAccount" => sighting.gone && name == Some(namespaces::DEFAULT_SERVICE_ACCOUNT),
        "ConfigMap" => name == Some(namespaces::ROOT_CA_CONFIG_MAP),
        _ => false,
    }
}

struct Keeper {
    ctx: Context,
    ca_pem: String,
    queue: WorkQueue<String>,
}

impl Keeper {
    async fn process(&self, name: &str) -> Result<(), NamespaceError> {
        let api: Api<Namespace> = Api::all(self.ctx.client.clone());
        let read = |source| NamespaceError::Read { namespace: name.to_owned(), what: "the object", source };
        let Some(namespace) = api.get_opt(name).await.map_err(read)? else { return Ok(()) };
        if namespaces::is_live(&namespace) {
            self.furnish(&namespace, name).await
        } else {
            self.empty(&api, namespace, name).await
        }
    }

    /// Makes what every live namespace holds.
    async fn furnish(&self, namespace: &Namespace, name: &str) -> Result<(), NamespaceError> {
        let client = || self.ctx.client.clone();
        let write = |what, source| NamespaceError::Write { namespace: name.to_owned(), what, source };
        let held = self.ctx.caches.service_accounts.get(name, namespaces::DEFAULT_SERVICE_ACCOUNT);
        if let Some(account) = namespaces::missing_service_account(namespace, held.as_deref()) {
            let api: Api<ServiceAccount> = Api::namespaced(client(), name);
            let made = api.create(&PostParams::default(), &account).await;
            tolerate(made).map_err(|source| write("the default ServiceAccount", source))?;
        }
        let api: Api<ConfigMap> = Api::namespaced(client(), name);
        let held = api.get_opt(namespaces::ROOT_CA_CONFIG_MAP).await.map_err(|source| NamespaceError::Read {
            namespace: name.to_owned(),
            what: "the root certificate",
            source,
        })?;
        if let Some(wanted) = namespaces::wrong_root_ca(namespace, held.as_ref(), &self.ca_pem) {
            let made = match held {
                Some(_) => api.replace(namespaces::ROOT_CA_CONFIG_MAP, &PostParams::default(), &wanted).await,
                None => api.create(&PostParams::default(), &wanted).await,
            };
            tolerate(made).map_err(|source| write("the root certificate", source))?;
        }
        Ok(())
    }

    /// Takes a terminating namespace as far as it gets without waiting.
    async fn empty(&self, api: &Api<Namespace>, mut namespace: Namespace, name: &str) -> Result<(), NamespaceError> {
        let write = |what, source| NamespaceError::Write { namespace: name.to_owned(), what, source };
        let mut step = namespaces::begin(&namespace);
        loop {
            match step {
                Step::Nothing => return Ok(()),
                Step::Wait { retry_s } => {
                    self.queue.add_after(name.to_owned(), Duration::from_secs(retry_s));
                    return Ok(());
                }
                Step::Finalize(finalized) => {
                    let done = api.replace_subresource("finalize", name, &PostParams::default(), &finalized).await;
                    return gone_is_fine(done).map(|_| ()).map_err(|source| write("the finalizers", source));
                }
                Step::Empty(stage) => {
                    let survey = self.survey(name, stage).await;
                    let (status, next) = namespaces::after(&namespace, stage, &survey, self.ctx.clock.now());
                    if let Some(status) = status {
                        let written = api.replace_status(name, &PostParams::default(), &status).await;
                        match gone_is_fine(written).map_err(|source| write("the status", source))? {
                            // Decided once more, on the state just written.
                            Some(written) => namespace = written,
                            None => return Ok(()),
                        }
                        step = namespaces::after(&namespace, stage, &survey, self.ctx.clock.now()).1;
                    } else {
                        step = next;
                    }
                }
            }
        }
    }

    /// Asks for the deletion of everything a stage covers and looks at what is left.
    async fn survey(&self, namespace: &str, stage: Stage) -> Survey {
        let kinds = metadata::deletable().filter(|kind| kind.facts.scope == Scope::Namespaced);
        let mut survey = Survey::default();
        for kind in kinds.filter(|kind| (kind.kind == "Pod") == (stage == Stage::Pods)) {
            match self.clear(namespace, kind).await {
                Ok(None) => {}
                Ok(Some(remaining)) => survey.remaining.push(remaining),
                Err(error) => survey.failures.push(format!("{}: {error}", kind.qualified_plural())),
            }
        }
        survey
    }

    async fn clear(&self, namespace: &str, kind: &'static Kind) -> kube::Result<Option<Remaining>> {
        let api = metadata::api(&self.ctx.client, kind, namespace);
        let held = api.list(&ListParams::default()).await?;
        if held.items.is_empty() {
            return Ok(None);
        }
        if held.items.iter().all(|object| object.metadata.deletion_timestamp.is_some()) {
            // All asked for already: asking again would only cost.
            return Ok(Some(remaining(kind, &held.items, self.ctx.clock.now())));
        }
        if kind.facts.verbs.contains(&"deletecollection") {
            api.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        } else {
            for name in held.items.iter().filter_map(|object| object.metadata.name.as_deref()) {
                crate::outcome::deleted(api.delete(name, &DeleteParams::background()).await)?;
            }
        }
        let left = api.list(&ListParams::default()).await?;
        Ok((!left.items.is_empty()).then(|| remaining(kind, &left.items, self.ctx.clock.now())))
    }
}

fn remaining(kind: &Kind, objects: &[Metadata], now: Timestamp) -> Remaining {
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for finalizer in objects.iter().flat_map(|object| object.metadata.finalizers.iter().flatten()) {
        *finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    let ends = objects.iter().filter_map(|object| object.metadata.deletion_timestamp.as_ref());
    let grace_s = ends.map(|end| end.0.duration_since(now).as_secs()).max().unwrap_or(0).max(0);
    Remaining { resource: format!("{}.{}", kind.facts.plural, kind.group), count: objects.len(), finalizers, grace_s }
}

/// Takes it for done when somebody else was faster or the namespace is going.
fn tolerate<T>(made: kube::Result<T>) -> kube::Result<()> {
    match made {
        Ok(_) => Ok(()),
        Err(error) if is_already_exists(&error) || is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

fn gone_is_fine<T>(answer: kube::Result<T>) -> kube::Result<Option<T>> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
