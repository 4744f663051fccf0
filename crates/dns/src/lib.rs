//! Cluster names: the zone as a pure function of a snapshot, and the server.
//!
//! Names are prepared whenever a cache changes and swapped in as a whole, so that a packet is
//! answered without a lock. Nothing is written to the API, and names of the cluster domain are never asked
//! of other servers. Behaviour: contract/controllers.md, section 5.

mod feed;
mod forward;
mod records;
mod resolv;
mod server;
mod service;
mod wire;
mod zone;

pub use feed::Feed;
pub use records::{
    ANSWER_TTL_S, Answer, Code, Data, Kind, NEGATIVE_TTL_S, Question, Record, Reply, SERVICE_NEGATIVE_TTL_S, Soa, Srv,
};
pub use resolv::upstreams;
pub use server::{Server, Sockets};
pub use service::ServiceRecords;
pub use zone::Zone;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use stead_client::Cache;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the cluster's name server is made from.
pub struct DnsConfig {
    /// The cluster domain, e.g. `cluster.local`.
    pub domain: String,
    /// Where to listen, for UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// Who knows all other names, in order; see [`upstreams`]. Own addresses are left out.
    pub upstreams: Vec<SocketAddr>,
    /// All Services.
    pub services: Cache<Service>,
    /// All EndpointSlices.
    pub slices: Cache<EndpointSlice>,
    /// All Namespaces.
    pub namespaces: Cache<Namespace>,
}

/// Why the name server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for names at {address}")]
pub struct StartError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The running name server.
pub struct Dns {
    addresses: Vec<SocketAddr>,
    tasks: TaskTracker,
}

impl Dns {
    /// Binds every address, then answers as soon as the caches are complete: questions that come
    /// earlier wait in the sockets rather than be told that there is no such name. Ends with
    /// `shutdown`. Must be called within a tokio runtime.
    pub fn start(config: DnsConfig, shutdown: CancellationToken) -> Result<Self, StartError> {
        let DnsConfig { domain, listen, upstreams, services, slices, namespaces } = config;
        let bind = |address| Sockets::bind(address).map_err(|source| StartError { address, source });
        let sockets = listen.into_iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<SocketAddr> = sockets.iter().map(Sockets::address).collect();
        let served_at = addresses.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified());
        let zone = Arc::new(ArcSwap::from_pointee(Zone::new(&domain, served_at)));
        let tasks = TaskTracker::new();
        let upstreams = resolv::without_loops(upstreams, &addresses);
        let server = Server::new(Arc::clone(&zone), upstreams, tasks.clone(), shutdown.clone());

        let feed = Arc::new(Feed::default());
        services.on_change(hand_to(&feed, |feed, change| feed.service(&change)));
        slices.on_change(hand_to(&feed, |feed, change| feed.slice(&change)));
        namespaces.on_change(hand_to(&feed, |feed, change| feed.namespace(&change)));
        tasks.spawn(async move {
            let complete = async { tokio::join!(services.synced(), slices.synced(), namespaces.synced()) };
            if shutdown.run_until_cancelled(complete).await.is_none() {
                return;
            }
            zone.store(Arc::new(feed.bring_up_to_date(&zone.load())));
            sockets.into_iter().for_each(|sockets| server.serve(sockets));
            feed.keep_current(&zone, shutdown).await;
            // The caches live as long as they are followed.
            drop((services, slices, namespaces));
        });
        tasks.close();
        Ok(Self { addresses, tasks })
    }

    /// The addresses that are bound, in the order they were given.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Waits until everything has come to its end after a shutdown.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }
}

/// A handler for a cache that outlives neither the feed nor the cache's own need of it.
fn hand_to<K>(
    feed: &Arc<Feed>,
    note: impl Fn(&Feed, stead_client::Change<K>) + Send + Sync + 'static,
) -> impl Fn(stead_client::Change<K>) + Send + Sync + 'static {
    let feed = Arc::clone(feed);
    move |change| note(&feed, change)
}
