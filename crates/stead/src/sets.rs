//! The verbs about a StatefulSet: reaches the server as the kubeconfig says, asks `stead_cli`, prints.

use std::future::Future;

use stead_cli::sets::{Sets, VerbError};
use stead_cli::{explain as explaining, reset as resetting, rollout as rolling};

use crate::options::{RolloutCommand, SetOptions, kubeconfig};
use crate::up::runtime;

/// `stead explain`
pub(crate) fn explain(options: &SetOptions) -> anyhow::Result<()> {
    print(options, |sets| async move { explaining::run(&sets, &options.set).await })
}

/// `stead rollout`
pub(crate) fn rollout(command: &RolloutCommand) -> anyhow::Result<()> {
    match command {
        RolloutCommand::Pause(options) => {
            print(options, |sets| async move { rolling::pause(&sets, &options.set).await })
        }
        RolloutCommand::Resume(options) => {
            print(options, |sets| async move { rolling::resume(&sets, &options.set).await })
        }
    }
}

/// `stead reset`
pub(crate) fn reset(options: &SetOptions, ordinal: i32) -> anyhow::Result<()> {
    print(options, |sets| async move { resetting::run(&sets, &options.set, ordinal).await })
}

fn print<F>(options: &SetOptions, verb: impl FnOnce(Sets) -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<String, VerbError>>,
{
    let kubeconfig = kubeconfig(options.kubeconfig.as_ref(), &options.data);
    let told: anyhow::Result<String> = runtime()?.block_on(async {
        let client = stead_client::from_kubeconfig(&kubeconfig)?;
        let sets = Sets::new(client, options.namespace.as_deref());
        verb(sets).await.map_err(anyhow::Error::from)
    });
    print!("{}", told?);
    Ok(())
}
