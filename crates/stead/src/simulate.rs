//! `stead simulate`: reaches the server as the kubeconfig says; what is simulated is in `stead_cli`.

use stead_cli::simulate::{self, Fleet};

use crate::options::{NodesOptions, SimulateCommand, kubeconfig};
use crate::up::{StopSignals, runtime};

/// Simulates until SIGTERM or SIGINT.
pub(crate) fn run(command: &SimulateCommand) -> anyhow::Result<()> {
    match command {
        SimulateCommand::Nodes(options) => nodes(options),
    }
}

fn nodes(options: &NodesOptions) -> anyhow::Result<()> {
    let fleet = Fleet {
        count: options.count,
        prefix: options.prefix.clone(),
        pods_per_node: options.pods_per_node,
        cpus: options.cpus,
        memory_gib: options.memory,
    };
    runtime()?.block_on(async {
        let client = stead_client::from_kubeconfig(&kubeconfig(options.kubeconfig.as_ref(), &options.data))?;
        let mut stop = StopSignals::listen()?;
        Ok(simulate::nodes(client, fleet, options.cidr.clone(), stop.next()).await?)
    })
}
