//! What a fresh cluster holds before anyone asks for anything: its namespaces, the API's and the DNS
//! server's Services, the default StorageClass and the system PriorityClasses (contract 9.1-9.4). What
//! the cluster cannot do without is made again when it goes.

mod objects;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::PostParams;
use stead_client::{Change, WorkQueue};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::outcome::is_already_exists;

/// The namespaces every cluster has.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Where the cluster's own services are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Cluster address of the API, the first of the service range (10.96.0.1).
    pub api_cluster_ip: Ipv4Addr,
    /// Where the API server can be reached, not a loopback address.
    pub api_address: IpAddr,
    /// Its port there.
    pub api_port: u16,
    /// Cluster address of the DNS server (10.96.0.10).
    pub dns_cluster_ip: Ipv4Addr,
}

/// What is made, in this order; the later needs the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Namespace(usize),
    ApiService,
    ApiEndpoints,
    ApiSlice,
    DnsService,
    StorageClass,
    PriorityClasses,
}

/// Why a part has to be tried again.
#[derive(Debug, thiserror::Error)]
#[error("cannot make {part:?}")]
pub struct BootstrapError {
    part: Part,
    source: kube::Error,
}

/// Makes what is missing, once; for those who want to wait until a cluster can be used.
pub async fn ensure(client: &kube::Client, settings: &Settings) -> Result<(), BootstrapError> {
    for part in all_parts() {
        make(client, settings, part).await?;
    }
    Ok(())
}

/// Makes what is missing and makes again what goes, until `shutdown`.
pub async fn run(ctx: Context, settings: Settings, shutdown: CancellationToken) {
    let queue = WorkQueue::new();
    all_parts().for_each(|part| queue.add(part));
    observe(&ctx, &queue);
    let (client, settings) = (ctx.client.clone(), Arc::new(settings));
    let handler = move |part: Part| {
        let (client, settings) = (client.clone(), Arc::clone(&settings));
        async move { make(&client, &settings, part).await }
    };
    // One worker: parts are made in order.
    queue.run(1, shutdown, handler).await;
}

fn all_parts() -> impl Iterator<Item = Part> {
    let rest = [
        Part::ApiService,
        Part::ApiEndpoints,
        Part::ApiSlice,
        Part::DnsService,
        Part::StorageClass,
        Part::PriorityClasses,
    ];
    (0..NAMESPACES.len()).map(Part::Namespace).chain(rest)
}

/// What goes is made again; a deleted default class is somebody's choice and stays deleted while we run.
fn observe(ctx: &Context, queue: &WorkQueue<Part>) {
    let on_namespace = queue.clone();
    ctx.caches.namespaces.on_change(move |change| {
        let Change::Deleted { old } = change else { return };
        let index = NAMESPACES.iter().position(|name| old.metadata.name.as_deref() == Some(name));
        if let Some(index) = index {
            on_namespace.add(Part::Namespace(index));
        }
    });
    let on_service = queue.clone();
    ctx.caches.services.on_change(move |change| {
        if let Some((objects::API, _)) = gone(&change) {
            on_service.add(Part::ApiService);
        }
        if let Some((objects::DNS, _)) = gone(&change) {
            on_service.add(Part::DnsService);
        }
    });
    let on_endpoints = queue.clone();
    ctx.caches.endpoints.on_change(move |change| {
        if let Some((objects::API, "default")) = gone(&change) {
            on_endpoints.add(Part::ApiEndpoints);
        }
    });
    let on_slice = queue.clone();
    ctx.caches.endpoint_slices.on_change(move |change| {
        if let Some((objects::API, "default")) = gone(&change) {
            on_slice.add(Part::ApiSlice);
        }
    });
}

/// Name and namespace of an object that is gone.
fn gone<K: kube::Resource>(change: &Change<K>) -> Option<(&str, &str)> {
    match change {
        Change::Applied { .. } => None,
        Change::Deleted { old } => Some((old.meta().name.as_deref()?, old.meta().namespace.as_deref()?)),
    }
}

async fn make(client: &kube::Client, settings: &Settings, part: Part) -> Result<(), BootstrapError> {
    let all = || client.clone();
    let made = match part {
        Part::Namespace(index) => create(Api::<Namespace>::all(all()), &objects::namespace(NAMESPACES[index])).await,
        Part::ApiService => create(Api::<Service>::namespaced(all(), "default"), &objects::api_service(settings)).await,
        Part::ApiEndpoints => {
            let api = Api::<Endpoints>::namespaced(all(), "default");
            put(api, &objects::api_endpoints(settings), |held, wanted| held.subsets == wanted.subsets).await
        }
        Part::ApiSlice => {
            let api = Api::<EndpointSlice>::namespaced(all(), "default");
            let same = |held: &EndpointSlice, wanted: &EndpointSlice| {
                held.endpoints == wanted.endpoints && held.ports == wanted.ports
            };
            put(api, &objects::api_slice(settings), same).await
        }
        Part::DnsService => {
            create(Api::<Service>::namespaced(all(), "kube-system"), &objects::dns_service(settings)).await
        }
        Part::StorageClass => create(Api::<StorageClass>::all(all()), &objects::storage_class()).await,
        Part::PriorityClasses => {
            let mut made = Ok(());
            for class in objects::priority_classes() {
                made = made.and(create(Api::<PriorityClass>::all(all()), &class).await);
            }
            made
        }
    };
    made.map_err(|source| BootstrapError { part, source })
}

async fn create<K>(api: Api<K>, wanted: &K) -> kube::Result<()>
where
    K: kube::Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    // Looked at first: creating a Service again with its address is refused for the address, not the name.
    if api.get_metadata_opt(wanted.meta().name.as_deref().unwrap_or_default()).await?.is_some() {
        return Ok(());
    }
    match api.create(&PostParams::default(), wanted).await {
        Ok(_) => Ok(()),
        Err(error) if is_already_exists(&error) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates, or replaces what is there and not the same: the server's address may have changed.
async fn put<K>(api: Api<K>, wanted: &K, same: impl Fn(&K, &K) -> bool) -> kube::Result<()>
where
    K: kube::Resource + Clone + serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let name = wanted.meta().name.clone().unwrap_or_default();
    match api.get_opt(&name).await? {
        None => create(api, wanted).await,
        Some(held) if same(&held, wanted) => Ok(()),
        Some(held) => {
            let mut wanted = wanted.clone();
            wanted.meta_mut().resource_version.clone_from(&held.meta().resource_version);
            api.replace(&name, &PostParams::default(), &wanted).await.map(|_| ())
        }
    }
}
