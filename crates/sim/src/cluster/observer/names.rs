//! I11: EndpointSlices, and the answers of the name server, name only pods that were Ready within the window,
//! or that were there at all where a Service asks for that.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::time::Instant;

use super::facts::PodFact;
use super::{Name, Observer, State, WINDOW};
use crate::cluster::users::NAMESPACE;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Whose an address is.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pod: Name,
    uid: String,
    /// Since when the pod is gone, or somewhere else.
    gone: Option<Instant>,
}

impl Observer {
    pub(super) fn service(&self, state: &mut State, name: Name, service: &Service) {
        if service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true) {
            state.publishing.insert(name);
        }
    }

    /// A slice was written.
    pub(super) fn slice(&self, state: &State, name: &Name, slice: &EndpointSlice) {
        let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
        let service = (name.0.clone(), service.cloned().unwrap_or_default());
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
            let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_ref());
            let Some(uid) = uid.filter(|_| ready) else { continue };
            let who = endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
            if !may_be_named(state, &service, uid) {
                self.story.violated("I11", format!("{} names {who} ({uid}), which is not Ready", name.1));
            }
            for address in &endpoint.addresses {
                let home = address.parse().ok().and_then(|address: IpAddr| state.homes.get(&address));
                if home.is_none_or(|home| home.uid != *uid || !home.is_fresh()) {
                    self.story.violated("I11", format!("{} says {who} ({uid}) is at {address}: {home:?}", name.1));
                }
            }
        }
    }

    /// The name server gave `addresses` for the Service of a set, or for one of its pods.
    pub(crate) fn named(&self, set: &str, pod: Option<&str>, addresses: &[IpAddr]) {
        let state = self.lock();
        let service = (NAMESPACE.to_owned(), set.to_owned());
        for address in addresses.iter().filter(|address| !is_service_address(**address)) {
            let home = state.homes.get(address);
            let right = home.is_some_and(|home| {
                let asked_for = pod.map_or(super::sets::set_of(&home.pod.1) == set, |pod| home.pod.1 == pod);
                asked_for && home.is_fresh() && may_be_named(&state, &service, &home.uid)
            });
            if !right {
                let asked = pod.unwrap_or(set);
                self.story.violated("I11", format!("{asked} is said to be at {address}, which is {home:?}"));
            }
        }
    }
}

impl Home {
    /// Whether the pod is there, or was lately.
    fn is_fresh(&self) -> bool {
        self.gone.is_none_or(|gone| gone.elapsed() <= WINDOW)
    }
}

/// Notes whose the address of a pod is, and that one it had is no more.
pub(super) fn note_home(state: &mut State, pod: &Name, fact: &PodFact, deleted: bool) {
    for (_, home) in state.homes.iter_mut().filter(|(ip, home)| home.uid == fact.uid && fact.ip != Some(**ip)) {
        home.gone.get_or_insert_with(Instant::now);
    }
    if let Some(ip) = fact.ip {
        let gone = deleted.then(Instant::now);
        state.homes.insert(ip, Home { pod: pod.clone(), uid: fact.uid.clone(), gone });
    }
}

fn may_be_named(state: &State, service: &Name, uid: &str) -> bool {
    let was_there = || state.homes.values().any(|home| home.uid == uid && home.is_fresh());
    state.last_ready.get(uid).is_some_and(|at| at.elapsed() <= WINDOW)
        || state.pods.values().any(|pod| pod.uid == uid && pod.ready_since.is_some())
        || (state.publishing.contains(service) && was_there())
}

fn is_service_address(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10 && (96..112).contains(&address.octets()[1]))
}
