//! The cluster's name server, its zone and its caches as the product makes them, on a link of its own; and
//! somebody who asks it for replicas at random moments. What it may answer is the observer's business (I11).

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use stead_client::{Cache, ListScope};
use stead_dns::{Data, Feed, Kind, Question, Reply, Zone};

use super::link::Link;
use super::users::{NAMESPACE, SETS};
use super::world::World;

/// Its name as a client.
pub(crate) const DNS: &str = "dns";
const DOMAIN: &str = "cluster.local";
/// Longest time between two questions.
const PAUSE_MS_MAX: u64 = 5_000;
/// Replicas that are asked for.
const ORDINALS: u64 = 5;

/// The name server.
pub(crate) struct Resolver {
    link: Link,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    namespaces: Cache<Namespace>,
    feed: Arc<Feed>,
    zone: Mutex<Zone>,
}

impl Resolver {
    /// A name server that knows nothing yet.
    pub(crate) fn start(link: Link) -> Self {
        let (client, feed) = (link.client(), Arc::new(Feed::default()));
        let services = Cache::start(Api::all(client.clone()), ListScope::default());
        let slices = Cache::start(Api::all(client.clone()), ListScope::default());
        let namespaces = Cache::start(Api::all(client), ListScope::default());
        let (of_services, of_slices, of_namespaces) = (Arc::clone(&feed), Arc::clone(&feed), Arc::clone(&feed));
        services.on_change(move |change| of_services.service(&change));
        slices.on_change(move |change| of_slices.slice(&change));
        namespaces.on_change(move |change| of_namespaces.namespace(&change));
        Self { link, services, slices, namespaces, feed, zone: Mutex::new(Zone::new(DOMAIN, [])) }
    }

    /// Its way to the server.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// The addresses of a name below the users' Services; none while it is not complete, when questions wait.
    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        if !(self.services.is_synced() && self.slices.is_synced() && self.namespaces.is_synced()) {
            return None;
        }
        let mut zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        *zone = self.feed.bring_up_to_date(&zone);
        let question = Question { name: format!("{name}.{NAMESPACE}.svc.{DOMAIN}"), kind: Kind::A };
        let records = match zone.reply(&question) {
            Reply::Answer(answer) => answer.answers,
            Reply::Alias { chain, .. } => chain,
            Reply::Elsewhere { .. } => Vec::new(),
        };
        let address = |data| match data {
            Data::A(address) => Some(IpAddr::V4(address)),
            Data::Aaaa(_)
            | Data::Cname(_)
            | Data::Ns(_)
            | Data::Ptr(_)
            | Data::Soa(_)
            | Data::Srv(_)
            | Data::Txt(_) => None,
        };
        Some(records.into_iter().filter_map(|record| address(record.data)).collect())
    }
}

/// Asks for ever.
pub(crate) async fn keep_asking(world: World) {
    let dice = world.dice("questions");
    loop {
        tokio::time::sleep(dice.ms(50, PAUSE_MS_MAX)).await;
        for set in SETS {
            let pod = dice.permille(700).then(|| format!("{set}-{}", dice.below(ORDINALS)));
            let name = pod.as_ref().map_or_else(|| set.to_owned(), |pod| format!("{pod}.{set}"));
            if let Some(addresses) = world.resolve(&name) {
                world.observer().named(set, pod.as_deref(), &addresses);
            }
        }
    }
}
