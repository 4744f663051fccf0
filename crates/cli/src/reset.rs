//! `stead reset sts/NAME --ordinal N`: has one replica made anew with its claims. The data of its
//! claims go with them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use stead_plan::statefulset::ordinals::{Ordinal, claim_name, pod_name};
use stead_plan::statefulset::views::{Observed, View};
use stead_plan::statefulset::wishes::{RESET, RESET_GENERATION, write_resets};

use crate::sets::{SetName, Sets, VerbError};

/// Asks for the reset and says what will happen.
pub async fn run(sets: &Sets, name: &SetName, ordinal: i32) -> Result<String, VerbError> {
    let set = sets.get(name).await?;
    let ordinal = Ordinal(ordinal);
    let view = View::new(&set, &Observed::default());
    if !view.set.range.contains(ordinal) {
        return Err(VerbError::Senseless(format!("StatefulSet {} has no replica {ordinal}", name.0)));
    }
    let claims: Vec<_> =
        view.set.claim_templates.iter().map(|template| claim_name(template, &name.0, ordinal)).collect();
    let pod = pod_name(&name.0, ordinal);
    let (pods, existing) = (sets.pods().await?, sets.claims().await?);
    let metas = pods.iter().map(|pod| &pod.metadata).filter(|meta| meta.name.as_ref() == Some(&pod));
    let claim_metas = existing.iter().map(|claim| &claim.metadata);
    let claim_metas = claim_metas.filter(|meta| meta.name.as_ref().is_some_and(|name| claims.contains(name)));
    let generation = next_generation(view.set.wishes.resets.get(&ordinal), metas.chain(claim_metas));
    let resets = requested(&set, &view, ordinal, generation)?;
    sets.annotate(&set, &json!({RESET: write_resets(&resets)})).await?;
    let claims = if claims.is_empty() { "no claim".to_owned() } else { claims.join(", ") };
    Ok(format!(
        "{pod} will be stopped and made anew with {claims} (generation {generation}); follow with `stead explain sts/{}`\n",
        name.0
    ))
}

/// A generation that is later than every numbered one asked for or done.
fn next_generation<'a>(asked: Option<&String>, made: impl Iterator<Item = &'a ObjectMeta>) -> u64 {
    let mark = |meta: &'a ObjectMeta| meta.annotations.as_ref()?.get(RESET_GENERATION);
    let known = made.filter_map(mark).chain(asked).filter_map(|text| text.parse::<u64>().ok());
    known.max().map_or(1, |latest| latest.saturating_add(1))
}

fn requested(
    set: &StatefulSet,
    view: &View,
    ordinal: Ordinal,
    generation: u64,
) -> Result<BTreeMap<Ordinal, String>, VerbError> {
    let text = set.metadata.annotations.as_ref().and_then(|own| own.get(RESET));
    if text.is_some_and(|text| !text.trim().is_empty()) && view.set.wishes.resets.is_empty() {
        // What is there cannot be read; writing over it would lose what somebody meant.
        let problem = view.set.wishes.problems.iter().find(|problem| problem.starts_with(RESET));
        return Err(VerbError::Senseless(problem.cloned().unwrap_or_else(|| format!("{RESET} cannot be read"))));
    }
    let mut resets = view.set.wishes.resets.clone();
    resets.insert(ordinal, generation.to_string());
    Ok(resets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_for(generation: &str) -> ObjectMeta {
        let annotation = (RESET_GENERATION.to_owned(), generation.to_owned());
        ObjectMeta { annotations: Some(BTreeMap::from([annotation])), ..ObjectMeta::default() }
    }

    #[test]
    fn every_reset_is_a_new_generation() {
        let made = [made_for("3"), made_for("x"), ObjectMeta::default()];
        assert_eq!(next_generation(None, [].iter()), 1);
        assert_eq!(next_generation(Some(&"1".to_owned()), [].iter()), 2);
        assert_eq!(next_generation(Some(&"1".to_owned()), made.iter()), 4, "the annotation was taken away meanwhile");
    }
}
