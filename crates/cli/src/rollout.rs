//! `stead rollout pause|resume sts/NAME`: kubectl refuses both for StatefulSets.

use serde_json::json;
use stead_plan::statefulset::wishes::PAUSED;

use crate::sets::{SetName, Sets, VerbError};

/// Stops rolling; lost replicas still come back.
pub async fn pause(sets: &Sets, name: &SetName) -> Result<String, VerbError> {
    let set = sets.get(name).await?;
    sets.annotate(&set, &json!({PAUSED: "true"})).await?;
    Ok(format!("statefulset.apps/{} paused\n", name.0))
}

/// Goes on rolling.
pub async fn resume(sets: &Sets, name: &SetName) -> Result<String, VerbError> {
    let set = sets.get(name).await?;
    sets.annotate(&set, &json!({PAUSED: null})).await?;
    Ok(format!("statefulset.apps/{} resumed\n", name.0))
}
