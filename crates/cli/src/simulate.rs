//! `stead simulate nodes`: nodes without machines behind them. They are registered, keep their leases, say
//! of every pod bound to them that it runs and is Ready, and let go of those that are deleted. Nothing
//! runs. It is for trying what a hundred nodes are like, and for measuring control planes: it asks
//! nothing of the cluster that Kubernetes does not offer.

mod addresses;
mod fleet;
mod pods;

use std::future::Future;
use std::time::{Duration, Instant};

use stead_client::kube;
use tokio_util::sync::CancellationToken;

pub use addresses::{Addresses, AddressesError};
pub use fleet::Fleet;

use fleet::Placed;
use pods::Agent;

/// How often at most a line tells how many pods there are.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Why nodes could not be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// The API refused, or could not be reached.
    #[error("cannot {what}")]
    Api {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<kube::Error>,
    },
    /// A node of that name is not a simulated one, and is left alone.
    #[error("node {0} exists and is not simulated; choose another --prefix")]
    Foreign(String),
    /// The range has no room for that many nodes.
    #[error("the address range has no room for {0} nodes")]
    NoRoom(u32),
}

/// Simulates the nodes until `stop`, then takes them away. Tells on standard output how it goes; the first
/// line comes when every node is there.
pub async fn nodes(
    client: kube::Client,
    fleet: Fleet,
    mut addresses: Addresses,
    stop: impl Future<Output = ()>,
) -> Result<(), SimulateError> {
    let placed = fleet.place(&mut addresses)?;
    let stopping = CancellationToken::new();
    let life = live(&client, &fleet, &placed, addresses, &stopping);
    tokio::pin!(life);
    let lived = tokio::select! {
        lived = &mut life => lived,
        () = stop => {
            stopping.cancel();
            life.await
        }
    };
    let removed = fleet.remove(&client, &placed).await;
    lived.and(removed)
}

/// Registers the nodes and does their work until `stopping`.
async fn live(
    client: &kube::Client,
    fleet: &Fleet,
    placed: &[Placed],
    addresses: Addresses,
    stopping: &CancellationToken,
) -> Result<(), SimulateError> {
    let started = Instant::now();
    fleet.register(client, placed, stopping).await?;
    if stopping.is_cancelled() {
        return Ok(());
    }
    let agent = Agent::start(client.clone(), placed, addresses);
    let work = async {
        agent.synced().await;
        let (count, ms) = (fleet.count, started.elapsed().as_millis());
        println!("stead: {count} nodes simulated after {ms} ms; Ctrl-C takes them away");
        tokio::join!(agent.work(), fleet::keep_leases(client, placed), tell(&agent));
    };
    tokio::select! {
        () = work => {}
        () = stopping.cancelled() => {}
    }
    Ok(())
}

/// Tells how many pods run whenever that has changed.
async fn tell(agent: &Agent) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        let counts = agent.counts();
        if told.is_some_and(|told| told != counts) {
            println!("stead: {counts}");
        }
        told = Some(counts);
    }
}
