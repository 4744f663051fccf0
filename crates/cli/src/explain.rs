//! `stead explain sts/NAME`: what the controller would do next and what it waits for. It reads what the
//! controller reads and asks the function that the controller asks; it changes nothing.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use k8s_openapi::api::storage::v1::StorageClass;
use stead_plan::statefulset::Observed;
use stead_plan::statefulset::explain::explain;

use crate::sets::{SetName, Sets, VerbError};

/// The set explained, ready to be printed.
pub async fn run(sets: &Sets, name: &SetName) -> Result<String, VerbError> {
    let set = sets.get(name).await?;
    let (pods, claims) = (sets.pods().await?, sets.claims().await?);
    let revisions = sets.list::<ControllerRevision>("controllerrevisions").await?;
    let volumes = sets.list_all::<PersistentVolume>("persistentvolumes").await?;
    let nodes = sets.list_all::<Node>("nodes").await?;
    let classes = sets.list_all::<StorageClass>("storageclasses").await?;
    let observed = Observed {
        pods: &pods,
        claims: &claims,
        revisions: &revisions,
        volumes: &volumes,
        nodes: &nodes,
        classes: &classes,
    };
    let explanation = explain(&set, &observed, Timestamp::now());
    Ok(format!("StatefulSet {}/{}\n{explanation}", sets.namespace(), name.0))
}
