//! The planner's actions in the model's terms.

use stead_plan::ids::{Target as WireTarget, Uid};
use stead_plan::statefulset::ordinals::{claim_ordinal_of, ordinal_of};
use stead_plan::statefulset::{Action, ClaimKeeper, Removal};

use super::super::objects::{Set, Stamp};
use super::super::state::{Act, Given, Target, Why};
use super::{CLAIM, SET, Wire, claims, slot_of, uid_of};

impl Wire {
    /// The action in the model's terms; none when it is about nothing that exists in the model.
    pub(crate) fn act(&self, set: &Set, action: &Action) -> Option<Act> {
        let revision = |target: &WireTarget| Some(read(target, self.template_called(&target.name)?));
        let pod = |target: &WireTarget| Some(read(target, slot_of(ordinal_of(SET, &target.name)?)?));
        let claim = |target: &WireTarget| Some(read(target, slot_of(claim_ordinal_of(CLAIM, SET, &target.name)?)?));
        Some(match action {
            Action::ConfirmSet => Act::Confirm,
            Action::AdoptRevision(target) => Act::AdoptRevision(revision(target)?),
            Action::CreateRevision { name, number, .. } => {
                Act::CreateRevision { template: self.template_called(&name.0)?, number: u8::try_from(*number).ok()? }
            }
            Action::RenumberRevision { target, number } => {
                Act::Renumber(revision(target)?, u8::try_from(*number).ok()?)
            }
            Action::DeleteRevision(target) => Act::DeleteRevision(revision(target)?),
            Action::AdoptPod(target) => Act::AdoptPod(pod(target)?),
            Action::ReleasePod(target) => Act::ReleasePod(pod(target)?),
            Action::RelabelPod { target, .. } => Act::Relabel(pod(target)?),
            Action::Prepare { target, revision, .. } => Act::Prepare(pod(target)?, self.template_called(&revision.0)?),
            Action::Withdraw { target, .. } => Act::Withdraw(pod(target)?),
            Action::OwnClaim { target, owner, .. } => Act::OwnClaim(claim(target)?, given(owner)?),
            Action::CreateClaim { ordinal, .. } => Act::CreateClaim { slot: slot_of(*ordinal)? },
            Action::CreatePod { ordinal, revision } => {
                Act::CreatePod { slot: slot_of(*ordinal)?, template: self.template_called(&revision.0)? }
            }
            Action::DeletePod { target, why, .. } => Act::DeletePod(pod(target)?, reason(*why)?),
            Action::DeleteClaim { target, .. } => Act::DeleteClaim(claim(target)?),
            Action::GrowClaim { target, storage, .. } => Act::GrowClaim(claim(target)?, claims::size_of(storage)?),
            Action::Remember { key, value } => Act::Remember(self.noted(set, key, value.as_ref())?),
            Action::RollBack { to, from } => Act::RollBack {
                set: Target { slot: 0, uid: Some(set.uid), version: Some(set.version) },
                to: self.template_called(&to.0)?,
                from: self.template_called(&from.0)?,
            },
        })
    }
}

fn read(target: &WireTarget, slot: u8) -> Target {
    Target { slot, uid: uid_of(&target.uid.0), version: target.resource_version.0.parse().ok().map(Stamp) }
}

fn given(owner: &ClaimKeeper) -> Option<Given> {
    Some(match owner {
        ClaimKeeper::Nobody => Given::Nobody,
        ClaimKeeper::Set => Given::Set,
        ClaimKeeper::Pod(Uid(uid)) => Given::Pod(uid_of(uid)?),
    })
}

fn reason(why: Removal) -> Option<Why> {
    Some(match why {
        Removal::Ended => Why::Ended,
        Removal::Condemned => Why::Condemned,
        Removal::Outdated => Why::Outdated,
        Removal::Broken => Why::Broken,
        Removal::Reset => Why::Reset,
    })
}
