//! What annotations of the set and marks on its pods and claims look like, and what they say.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use stead_api::annotations::write_rolled_out;
use stead_plan::statefulset::View;
use stead_plan::statefulset::ordinals::{Ordinal, OrdinalSet};
use stead_plan::statefulset::revisions::RevisionName;
use stead_plan::statefulset::wishes;
use stead_plan::statefulset::wishes::{
    AUTO_ROLLBACK, PARTITION_RAISE, PAUSED, PAUSED_REPLICAS, PROGRESS_DEADLINE, RESERVE_ORDINALS, RESET,
    RESET_GENERATION, RESETTING, ROLLED_BACK, ROLLED_OUT, UPDATE_LAST, write_resets,
};

use super::super::objects::{Note, Notes, SLOTS, Set, Wishes};
use super::super::steps::templates;
use super::{Wire, ordinal, slot_of};

/// The deadline of a rollout, where there is one.
pub(super) const DEADLINE_S: i32 = 600;

/// The annotations of a set.
pub(super) fn of(wishes: &Wishes, notes: &Notes, name: impl Fn(u8) -> RevisionName) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, value: Option<String>| all.extend(value.map(|value| (key.to_owned(), value)));
    let yes = |wanted: bool| wanted.then(|| "true".to_owned());
    let reserved: OrdinalSet = wishes.reserved.iter().map(ordinal).collect();
    let resets = (0..SLOTS).filter(|slot| wishes.resets[*slot] > 0);
    let resets: BTreeMap<Ordinal, String> =
        resets.map(|slot| (ordinal(slot), wishes.resets[slot].to_string())).collect();
    put(PARTITION_RAISE, wishes.hold_on_raise.then(|| "hold".to_owned()));
    put(PAUSED, yes(wishes.paused));
    put(PAUSED_REPLICAS, paused_replicas(notes, &name));
    put(RESERVE_ORDINALS, (!reserved.is_empty()).then(|| reserved.to_string()));
    put(RESET, (!resets.is_empty()).then(|| write_resets(&resets)));
    put(UPDATE_LAST, wishes.leader_last.then(leader).map(|(key, value)| format!("{key}={value}")));
    put(PROGRESS_DEADLINE, wishes.deadline.then(|| DEADLINE_S.to_string()));
    put(AUTO_ROLLBACK, yes(wishes.rolls_back));
    let rolled_back: Vec<String> =
        templates().filter(|(_, at)| notes.rolled_back.has(*at)).map(|(t, _)| name(t).0).collect();
    put(ROLLED_BACK, (!rolled_back.is_empty()).then(|| rolled_back.join(",")));
    let rolled_out = |(template, partition): (u8, u8)| write_rolled_out(&name(template).0, i32::from(partition));
    put(ROLLED_OUT, notes.rolled_out.map(rolled_out));
    put(RESETTING, notes.resetting.map(|slot| slot.to_string()));
    all
}

fn paused_replicas(notes: &Notes, name: impl Fn(u8) -> RevisionName) -> Option<String> {
    let mut by_name: BTreeMap<RevisionName, Vec<Ordinal>> = BTreeMap::new();
    for (slot, template) in notes.paused.iter().enumerate() {
        if let Some(template) = template {
            by_name.entry(name(*template)).or_default().push(ordinal(slot));
        }
    }
    let part = |(name, ordinals): (RevisionName, Vec<Ordinal>)| {
        format!("{name}={}", ordinals.into_iter().collect::<OrdinalSet>())
    };
    let parts: Vec<String> = by_name.into_iter().map(part).collect();
    (!parts.is_empty()).then(|| parts.join(";"))
}

/// The label of the leader.
pub(super) fn leader() -> (String, String) {
    ("role".to_owned(), "leader".to_owned())
}

/// Writes on a pod or claim which generation it was made for.
pub(super) fn mark(meta: &mut ObjectMeta, generation: u8) {
    if generation > 0 {
        meta.annotations.get_or_insert_default().insert(RESET_GENERATION.to_owned(), generation.to_string());
    }
}

/// The generation that a pod or claim was made for.
pub(super) fn generation(meta: &ObjectMeta) -> u8 {
    let mark = meta.annotations.as_ref().and_then(|own| own.get(RESET_GENERATION));
    mark.and_then(|generation| generation.parse().ok()).unwrap_or(0)
}

impl Wire {
    /// What the planner wants to be written down, as it will read it.
    pub(super) fn noted(&self, set: &Set, key: &str, value: Option<&String>) -> Option<Note> {
        let mut wire = self.set(set, None);
        let annotations = wire.metadata.annotations.get_or_insert_default();
        annotations.remove(key);
        annotations.extend(value.map(|value| (key.to_owned(), value.clone())));
        let wishes = View::new(&wire, &Default::default()).set.wishes;
        match key {
            PAUSED_REPLICAS => Some(Note::Paused(self.paused(&wishes)?)),
            ROLLED_OUT => match wishes.rolled_out {
                None => Some(Note::RolledOut(None)),
                Some((revision, partition)) => {
                    Some(Note::RolledOut(Some((self.template_called(&revision.0)?, u8::try_from(partition).ok()?))))
                }
            },
            RESETTING => match wishes.resetting {
                None => Some(Note::Resetting(None)),
                Some(ordinal) => Some(Note::Resetting(Some(slot_of(ordinal)?))),
            },
            _ => None,
        }
    }

    fn paused(&self, wishes: &wishes::Wishes) -> Option<[Option<u8>; SLOTS]> {
        let mut noted = [None; SLOTS];
        for (revision, ordinals) in &wishes.paused_replicas {
            let template = self.template_called(&revision.0)?;
            for (slot, noted) in noted.iter_mut().enumerate().filter(|(slot, _)| ordinals.contains(ordinal(*slot))) {
                debug_assert!(slot < SLOTS);
                *noted = Some(template);
            }
        }
        Some(noted)
    }
}
