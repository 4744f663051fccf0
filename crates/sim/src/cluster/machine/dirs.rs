//! The directories of claims, as the controllers make them.

use stead_controllers::storage::{DirFuture, VolumeDirError, VolumeDirs};

use super::{Machine, State};
use crate::cluster::entropy::Dice;

/// Directories of claims on whichever machine.
pub(crate) struct SimDirs {
    pub(crate) machines: Vec<Machine>,
    pub(crate) dice: Dice,
}

impl SimDirs {
    async fn on<T>(&self, node: &str, change: impl FnOnce(&mut State) -> T) -> Result<T, VolumeDirError> {
        tokio::time::sleep(self.dice.ms(0, 20)).await;
        let foreign = || VolumeDirError::ForeignNode { node: node.to_owned() };
        let machine = self.machines.iter().find(|machine| machine.name() == node).ok_or_else(foreign)?;
        let mut state = machine.lock();
        if state.powered { Ok(change(&mut state)) } else { Err(foreign()) }
    }
}

impl VolumeDirs for SimDirs {
    fn create<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, String> {
        Box::pin(async move {
            self.on(node, |state| state.dirs.insert(claim_uid.to_owned())).await?;
            Ok(format!("/volumes/{claim_uid}"))
        })
    }

    fn delete<'a>(&'a self, node: &'a str, claim_uid: &'a str) -> DirFuture<'a, ()> {
        Box::pin(async move { self.on(node, |state| state.dirs.remove(claim_uid)).await.map(drop) })
    }
}
