//! I3, the half in the API: claims keep their identity and their volume, and controllers delete none that
//! is to be kept.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use stead_store::simulated::Committed;

use super::{CONTROLLERS, Name, Observer, State};

/// A claim.
#[derive(Clone, Debug)]
pub(super) struct ClaimFact {
    uid: String,
    deleting: bool,
    volume: Option<String>,
}

impl Observer {
    pub(super) fn claim(&self, state: &mut State, change: &Committed, name: Name, claim: &PersistentVolumeClaim) {
        let fact = ClaimFact {
            uid: claim.metadata.uid.clone().unwrap_or_default(),
            deleting: claim.metadata.deletion_timestamp.is_some(),
            volume: stead_plan::claims::volume_name(claim).map(str::to_owned),
        };
        let before = state.claims.get(&name).cloned();
        self.narrate_claim(change, &name, before.as_ref(), &fact);
        if let Some(before) = &before {
            if before.volume.is_some() && before.volume != fact.volume {
                self.story.violated("I3", format!("claim {} changed its volume", name.1));
            }
            let asked_to_go = !before.deleting && (fact.deleting || change.event.deleted);
            if asked_to_go && &*change.writer == CONTROLLERS && keeps_claims(state, &name) {
                self.story.violated("I3", format!("a controller deleted claim {}, which is to be kept", name.1));
            }
        }
        if change.event.deleted {
            state.claims.remove(&name);
        } else {
            state.claims.insert(name, fact);
        }
    }

    fn narrate_claim(&self, change: &Committed, name: &Name, before: Option<&ClaimFact>, fact: &ClaimFact) {
        let what = match before {
            _ if change.event.deleted => "gone",
            None => "created",
            Some(before) if before.volume != fact.volume => "bound",
            Some(before) if !before.deleting && fact.deleting => "asked to end",
            Some(_) => return,
        };
        let uid = fact.uid.get(..8).unwrap_or_default();
        self.story.tell(&change.writer, &format!("claim {} ({uid}): {what}", name.1));
    }
}

/// Whether no set whose claim this could be ever asked for claims to be deleted, nor for this replica to be
/// made anew.
fn keeps_claims(state: &State, claim: &Name) -> bool {
    let Some((front, _)) = claim.1.rsplit_once('-') else { return true };
    let is_reset = |pod: &Name| pod.0 == claim.0 && claim.1.ends_with(&format!("-{}", pod.1));
    !state.resets.iter().any(is_reset)
        && !state.takes_claims.iter().any(|set| set.0 == claim.0 && front.ends_with(&format!("-{}", set.1)))
}
