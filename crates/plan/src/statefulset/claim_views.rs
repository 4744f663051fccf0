//! The few facts of a claim that decisions depend on: who owns it, whether it can be used, how it
//! differs from its template today, and whether its data are still somewhere.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use stead_api::amount::Amount;

use super::claim_list::Place;
use super::ordinals::{self, Ordinal, Range};
use super::reach::Reach;
use super::views::{Observed, SetView};
use super::wishes::RESET_GENERATION;
use super::{API_VERSION, KIND};
use crate::claims;
use crate::ids::{Target, Uid};

/// What an owner reference on a claim refers to (section F).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimOwner {
    /// This very set.
    Set,
    /// A set of this name that is gone.
    StaleSet,
    /// A pod with the name of the claim's ordinal.
    Pod(Uid),
    /// Anything else.
    Foreign,
}

/// How the size of a claim compares with its template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Size {
    /// There is nothing to do about it.
    #[default]
    Settled,
    /// It asks for less than the template and can be made to ask for this much.
    MayGrow(String),
    /// It asks for more than its volume has so far.
    Growing,
}

/// A claim made from one of the set's templates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClaimView {
    /// Which claim, exactly.
    pub target: Target,
    /// Whether deletion was asked for.
    pub terminating: bool,
    /// Its owner references, each with whether it is the controller one.
    pub owners: Vec<(ClaimOwner, bool)>,
    /// When deletion was asked for.
    pub terminating_since: Option<Timestamp>,
    /// The generation of a reset that it was made for ([`RESET_GENERATION`]).
    pub reset: Option<String>,
    /// Its size beside its template's.
    pub size: Size,
    /// How it differs from its template in ways that only a new claim would change, in words (S8).
    pub differences: Vec<String>,
    /// Whether its volume can only be reached from nodes that are no more.
    pub lost: bool,
}

/// What can be said of a claim whatever becomes of nodes and volumes.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    place: Place,
    pub(super) view: Arc<ClaimView>,
}

impl Seen {
    /// The claim's view now. Whether its data are still somewhere is asked where a replica of the set has to
    /// find a node with them: one that is wanted and not among the `placed` ones, lowest first.
    pub(super) fn now(
        self,
        claim: &PersistentVolumeClaim,
        observed: &Observed<'_>,
        wanted: &Range,
        placed: &[Ordinal],
        reach: &mut Reach<'_>,
    ) -> (Place, Arc<ClaimView>) {
        let ordinal = self.place.ordinal;
        let volume = || claims::volume_name(claim).and_then(|name| observed.volumes.named(name));
        let matters = wanted.contains(ordinal) && placed.binary_search(&ordinal).is_err();
        if !matters || volume().is_none_or(|volume| !reach.is_lost(&volume)) {
            return (self.place, self.view);
        }
        (self.place, Arc::new(ClaimView { lost: true, ..ClaimView::clone(&self.view) }))
    }
}

/// The view of `claim`, if it is one that `set` makes.
pub(super) fn claim_view(
    set: &StatefulSet,
    view: &SetView,
    observed: &Observed<'_>,
    claim: &PersistentVolumeClaim,
) -> Option<Seen> {
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let place = view.claim_templates.iter().enumerate().find_map(|(template, called)| {
        ordinals::claim_ordinal_of(called, &view.name, name).map(|ordinal| Place { ordinal, template })
    })?;
    let asked = set.spec.as_ref()?.volume_claim_templates.as_ref()?.get(place.template)?;
    let owners = claim.metadata.owner_references.iter().flatten();
    let owners =
        owners.map(|owner| (claim_owner(view, place.ordinal, owner), owner.controller == Some(true))).collect();
    let deleted = claim.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let (size, differences) = compared(observed, claim, asked);
    let view = ClaimView {
        target: Target::of(&claim.metadata),
        terminating: deleted.is_some(),
        owners,
        terminating_since: deleted,
        reset: claim.metadata.annotations.as_ref().and_then(|own| own.get(RESET_GENERATION)).cloned(),
        size,
        differences,
        lost: false,
    };
    Some(Seen { place, view: Arc::new(view) })
}

/// What `owner` on a claim of `ordinal` refers to.
pub(super) fn claim_owner(view: &SetView, ordinal: Ordinal, owner: &OwnerReference) -> ClaimOwner {
    let is = |api_version: &str, kind: &str, name: &str| {
        owner.api_version == api_version && owner.kind == kind && owner.name == name
    };
    if is(API_VERSION, KIND, &view.name) {
        if owner.uid == view.uid.0 { ClaimOwner::Set } else { ClaimOwner::StaleSet }
    } else if is("v1", "Pod", &ordinals::pod_name(&view.name, ordinal)) {
        ClaimOwner::Pod(Uid(owner.uid.clone()))
    } else {
        ClaimOwner::Foreign
    }
}

/// The size of `claim` beside what its template asks for, and what else differs.
fn compared(
    observed: &Observed<'_>,
    claim: &PersistentVolumeClaim,
    template: &PersistentVolumeClaim,
) -> (Size, Vec<String>) {
    let (Some(has), Some(asked)) = (&claim.spec, &template.spec) else { return (Size::Settled, Vec::new()) };
    let mut differences = Vec::new();
    let class = claims::class_of_claim(claim);
    // A template without a class leaves the choice to the cluster.
    if let Some(asked) = asked.storage_class_name.as_deref().filter(|asked| *asked != class) {
        differences.push(format!("its class is {class:?}, the template says {asked:?}"));
    }
    let modes = |spec: &PersistentVolumeClaimSpec| spec.access_modes.iter().flatten().cloned().collect::<Vec<_>>();
    if has.access_modes.as_deref().unwrap_or_default() != asked.access_modes.as_deref().unwrap_or_default() {
        differences.push(format!("its access is {:?}, the template says {:?}", modes(has), modes(asked)));
    }
    let (mode, asked_mode) = (mode(has), mode(asked));
    if mode != asked_mode {
        differences.push(format!("its mode is {mode:?}, the template says {asked_mode:?}"));
    }
    let size = size(observed, claim, request(has), request(asked));
    if let (Some(has), Some(asked), Size::Settled | Size::Growing) = (request(has), request(asked), &size)
        && amount(has) != amount(asked)
    {
        differences.push(format!("its size is {has}, the template says {asked}"));
    }
    (size, differences)
}

fn size(observed: &Observed<'_>, claim: &PersistentVolumeClaim, has: Option<&str>, asked: Option<&str>) -> Size {
    let (Some(has), Some(asked)) = (has, asked) else { return Size::Settled };
    if is_growing(claim, has) {
        Size::Growing
    } else if has != asked && amount(asked) > amount(has) && claims::is_bound(claim) && can_grow(observed, claim) {
        Size::MayGrow(asked.to_owned())
    } else {
        Size::Settled
    }
}

/// Whether the claim's volume has less than the claim asks for.
fn is_growing(claim: &PersistentVolumeClaim, has: &str) -> bool {
    let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
    capacity.is_some_and(|capacity| capacity.0 != has && Amount::of(capacity) < amount(has))
}

fn amount(text: &str) -> Amount {
    Amount::parse(text).unwrap_or_default()
}

fn mode(spec: &PersistentVolumeClaimSpec) -> &str {
    spec.volume_mode.as_deref().unwrap_or("Filesystem")
}

fn request(spec: &PersistentVolumeClaimSpec) -> Option<&str> {
    let requests = spec.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|quantity| quantity.0.as_str())
}

fn can_grow(observed: &Observed<'_>, claim: &PersistentVolumeClaim) -> bool {
    let class = claims::class_of_claim(claim);
    let class = observed.classes.iter().find(|known| known.metadata.name.as_deref() == Some(class));
    class.is_some_and(|class| class.allow_volume_expansion == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("an object")
    }

    #[test]
    fn owners_are_told_apart_by_all_they_are_called() {
        let set: StatefulSet = read(json!({"metadata": {"name": "web", "uid": "set-1"}}));
        let view = super::super::views::set_view(&set);
        let owner = |version: &str, kind: &str, name: &str, uid: &str| {
            let owner = json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid});
            claim_owner(&view, Ordinal(1), &read(owner))
        };
        assert_eq!(owner("apps/v1", "StatefulSet", "web", "set-1"), ClaimOwner::Set);
        assert_eq!(owner("apps/v1", "StatefulSet", "web", "set-0"), ClaimOwner::StaleSet);
        assert_eq!(owner("v1", "Pod", "web-1", "p"), ClaimOwner::Pod(Uid("p".to_owned())));
        for (version, kind, name) in [
            ("apps/v1", "StatefulSet", "other"),
            ("apps/v1", "Deployment", "web"),
            ("example.com/v1", "StatefulSet", "web"),
            ("v1", "Pod", "web-2"),
            ("v1", "ConfigMap", "web-1"),
            ("v2", "Pod", "web-1"),
        ] {
            assert_eq!(owner(version, kind, name, "set-1"), ClaimOwner::Foreign, "{version} {kind} {name}");
        }
    }

    #[test]
    fn a_claim_grows_only_to_what_is_more_and_is_growing_only_while_it_has_less() {
        let class = read(json!({"metadata": {"name": "standard"}, "allowVolumeExpansion": true, "provisioner": "p"}));
        let observed = Observed { classes: &[Arc::new(class)], ..Observed::default() };
        let grows = Size::MayGrow("2Gi".to_owned());
        for (capacity, has, asked, wanted) in [
            ("1Gi", "1Gi", "1Gi", Size::Settled),
            ("1Gi", "1Gi", "2Gi", grows.clone()),
            ("1Gi", "1Gi", "1024Mi", Size::Settled),
            ("1Gi", "1Gi", "512Mi", Size::Settled),
            ("1Gi", "2Gi", "2Gi", Size::Growing),
            ("1Gi", "2Gi", "3Gi", Size::Growing),
            ("1024Mi", "1Gi", "1Gi", Size::Settled),
            ("10Gi", "1Gi", "1Gi", Size::Settled),
            ("10Gi", "1Gi", "2Gi", grows),
        ] {
            let claim: PersistentVolumeClaim = read(json!({
                "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
                "spec": {"storageClassName": "standard", "volumeName": "v"},
                "status": {"phase": "Bound", "capacity": {"storage": capacity}},
            }));
            let found = size(&observed, &claim, Some(has), Some(asked));
            assert_eq!(found, wanted, "{capacity} there, {has} asked, the template says {asked}");
        }
    }
}
