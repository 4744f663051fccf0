//! The nodes that the scheduler has chosen for claims that are provisioned here, from when it chose until the claim
//! is bound. Whoever provisions elsewhere is told by an annotation of the claim, which is a write of its own
//! (contract 6.16); here the choice goes from one controller to the other and is written with the claim's volume,
//! or once provisioning has failed. A choice that a crash forgets is made again, and a volume that was made for it by
//! then leads the scheduler back to its node.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use stead_client::ObjectKey;
use stead_plan::claims;

use crate::locks::lock;

type Handler = Box<dyn Fn(&ObjectKey) + Send + Sync>;

/// The choices that stand. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Chosen(Arc<Shared>);

#[derive(Default)]
struct Shared {
    choices: Mutex<HashMap<ObjectKey, Choice>>,
    on_chosen: Mutex<Vec<Handler>>,
    on_withdrawn: Mutex<Vec<Handler>>,
}

/// A node, and the claim it was chosen for, whatever takes the claim's name later.
struct Choice {
    claim_uid: Option<String>,
    node: String,
}

impl Chosen {
    /// Tells `handler` of every claim a node is chosen for.
    pub(crate) fn on_chosen(&self, handler: impl Fn(&ObjectKey) + Send + Sync + 'static) {
        lock(&self.0.on_chosen).push(Box::new(handler));
    }

    /// Tells `handler` of every claim that needs another node.
    pub(crate) fn on_withdrawn(&self, handler: impl Fn(&ObjectKey) + Send + Sync + 'static) {
        lock(&self.0.on_withdrawn).push(Box::new(handler));
    }

    /// The claim goes to the node that it names.
    pub(crate) fn choose(&self, claim: &PersistentVolumeClaim) {
        let Some(node) = claims::selected_node(claim) else { return };
        let key = ObjectKey::of(claim);
        let choice = Choice { claim_uid: claim.metadata.uid.clone(), node: node.to_owned() };
        lock(&self.0.choices).insert(key.clone(), choice);
        lock(&self.0.on_chosen).iter().for_each(|handler| handler(&key));
    }

    /// The choice for the claim does not hold.
    pub(crate) fn withdraw(&self, key: &ObjectKey) {
        if lock(&self.0.choices).remove(key).is_some() {
            lock(&self.0.on_withdrawn).iter().for_each(|handler| handler(key));
        }
    }

    /// The choice for the claim is written down, or of no use any more.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        lock(&self.0.choices).remove(key);
    }

    /// The claim, naming the node that is chosen for it unless it names one itself.
    pub(crate) fn onto(&self, claim: &PersistentVolumeClaim) -> Option<PersistentVolumeClaim> {
        let choices = lock(&self.0.choices);
        let choice = choices.get(&ObjectKey::of(claim)).filter(|choice| choice.claim_uid == claim.metadata.uid)?;
        claims::selected_node(claim).is_none().then(|| claims::with_selected_node(claim, &choice.node))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(uid: &str) -> PersistentVolumeClaim {
        let claim = json!({"metadata": {"name": "data", "namespace": "ns", "uid": uid}});
        serde_json::from_value(claim).expect("a claim")
    }

    #[test]
    fn a_choice_is_for_one_claim_until_it_is_withdrawn_or_written() {
        let chosen = Chosen::default();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listen = |what: &'static str| {
            let heard = Arc::clone(&heard);
            move |key: &ObjectKey| lock(&heard).push(format!("{key} {what}"))
        };
        chosen.on_chosen(listen("chosen"));
        chosen.on_withdrawn(listen("withdrawn"));
        let key = ObjectKey::of(&claim("c"));
        let node = |claim: &PersistentVolumeClaim| {
            chosen.onto(claim).and_then(|claim| claims::selected_node(&claim).map(str::to_owned))
        };

        chosen.choose(&claim("c"));
        assert_eq!(node(&claim("c")), None, "it names no node");
        chosen.choose(&claims::with_selected_node(&claim("c"), "n1"));
        assert_eq!(node(&claim("c")).as_deref(), Some("n1"));
        assert_eq!(node(&claim("later")), None, "another claim of that name");
        assert_eq!(chosen.onto(&claims::with_selected_node(&claim("c"), "n2")), None, "it says so itself");

        chosen.withdraw(&key);
        chosen.withdraw(&key);
        assert_eq!(node(&claim("c")), None);
        chosen.choose(&claims::with_selected_node(&claim("c"), "n3"));
        chosen.forget(&key);
        assert_eq!(node(&claim("c")), None);
        assert_eq!(*lock(&heard), ["ns/data chosen", "ns/data withdrawn", "ns/data chosen"]);
    }
}
