//! A network without a kernel, for the tests of those who use one.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Cidr, NetError, Network, PodAddress, PodKey};

/// Hands out addresses of 10.244.0.0/16 in ascending order, never one twice, and touches nothing.
#[derive(Default)]
pub struct FakeNetwork {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    given: u64,
    pods: BTreeMap<PodKey, Ipv4Addr>,
    failures: VecDeque<NetError>,
}

const NETWORK: Cidr = Cidr { base: Ipv4Addr::new(10, 244, 0, 0), prefix_len: 16 };

impl FakeNetwork {
    /// A network with no pods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next attach that is not already done fail like this; several queue up.
    pub fn fail_next_attach(&self, error: NetError) {
        self.state().failures.push_back(error);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(ip: Ipv4Addr) -> PodAddress {
    PodAddress { ip, gateway: Ipv4Addr::new(10, 244, 0, 1) }
}

impl Network for FakeNetwork {
    async fn attach(&self, pod: &PodKey, _netns: &Path) -> Result<PodAddress, NetError> {
        let mut state = self.state();
        if let Some(ip) = state.pods.get(pod) {
            return Ok(address(*ip));
        }
        if let Some(error) = state.failures.pop_front() {
            return Err(error);
        }
        // The network and the gateway address come first.
        let ip = NETWORK.nth(state.given + 2).ok_or_else(|| NetError::Exhausted { cidr: NETWORK.to_string() })?;
        state.given += 1;
        state.pods.insert(pod.clone(), ip);
        Ok(address(ip))
    }

    async fn detach(&self, pod: &PodKey) -> Result<(), NetError> {
        self.state().pods.remove(pod);
        Ok(())
    }

    fn addresses(&self) -> Vec<(PodKey, PodAddress)> {
        self.state().pods.iter().map(|(pod, ip)| (pod.clone(), address(*ip))).collect()
    }
}
