//! Whether a PodDisruptionBudget lets a pod be evicted (contract/controllers.md, 7.25 to 7.28). No controller
//! fills the status of budgets: what it would say is worked out from what is stored at that moment.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use stead_api::selectors::Selector;
use stead_store::Store;

use crate::server::ApiServer;
use crate::status::StatusError;

/// What a budget asks for and what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Health {
    current: i32,
    desired: i32,
    expected: i32,
}

impl<S: Store> ApiServer<S> {
    /// Refuses the eviction of `pod` when a budget does not leave room for it.
    pub(crate) async fn check_budget(&self, pod: &Pod) -> Result<(), StatusError> {
        if !counts(pod) {
            return Ok(());
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut budgets: Vec<PodDisruptionBudget> = self.list_typed_in(namespace).await?;
        budgets.retain(|budget| selects(budget, pod));
        let budget = match budgets.as_slice() {
            [] => return Ok(()),
            [budget] => budget,
            [_, _, ..] => return Err(StatusError::several_budgets()),
        };
        let mut pods: Vec<Pod> = self.list_typed_in(namespace).await?;
        pods.retain(|pod| selects(budget, pod));
        let spec = budget.spec.clone().unwrap_or_default();
        let expected = match &spec.min_available {
            Some(IntOrString::Int(_)) => total(pods.len()),
            Some(IntOrString::String(_)) | None => self.scale_of(namespace, &pods).await?,
        };
        let health = Health {
            current: total(pods.iter().filter(|pod| is_healthy(pod)).count()),
            desired: desired(&spec, expected),
            expected,
        };
        let always = spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow");
        if may_go(health, is_healthy(pod), always) {
            return Ok(());
        }
        let name = budget.metadata.name.as_deref().unwrap_or_default();
        Err(StatusError::budget_spent(name, health.desired, health.current))
    }

    /// How many pods those who own these pods want in all.
    async fn scale_of(&self, namespace: &str, pods: &[Pod]) -> Result<i32, StatusError> {
        let owners = pods.iter().filter_map(|pod| controller_of(&pod.metadata));
        let owners: BTreeMap<&str, &OwnerReference> = owners.map(|owner| (owner.uid.as_str(), owner)).collect();
        let mut wanted = BTreeMap::new();
        for owner in owners.into_values() {
            if let Some((uid, replicas)) = self.replicas_of(namespace, owner).await? {
                wanted.insert(uid, replicas);
            }
        }
        Ok(wanted.into_values().fold(0, i32::saturating_add))
    }

    /// The scale of a pod's controller; that of a Deployment's set is the Deployment's.
    async fn replicas_of(&self, namespace: &str, owner: &OwnerReference) -> Result<Option<(String, i32)>, StatusError> {
        let is_owner = |meta: &ObjectMeta, uid: &str| meta.uid.as_deref() == Some(uid);
        if owner.kind == "StatefulSet" {
            let set: Option<StatefulSet> = self.find_typed(namespace, &owner.name).await?;
            let set = set.filter(|set| is_owner(&set.metadata, &owner.uid));
            return Ok(set.and_then(|set| Some((owner.uid.clone(), set.spec?.replicas.unwrap_or(1)))));
        }
        if owner.kind != "ReplicaSet" {
            return Ok(None);
        }
        let set: Option<ReplicaSet> = self.find_typed(namespace, &owner.name).await?;
        let Some(set) = set.filter(|set| is_owner(&set.metadata, &owner.uid)) else { return Ok(None) };
        let Some(above) = controller_of(&set.metadata).filter(|above| above.kind == "Deployment") else {
            return Ok(set.spec.map(|spec| (owner.uid.clone(), spec.replicas.unwrap_or(1))));
        };
        let deployment: Option<Deployment> = self.find_typed(namespace, &above.name).await?;
        let deployment = deployment.filter(|deployment| is_owner(&deployment.metadata, &above.uid));
        Ok(deployment.and_then(|deployment| Some((above.uid.clone(), deployment.spec?.replicas.unwrap_or(1)))))
    }
}

/// Whether the pod may go: within the budget, or because it is of no use to it anyway.
fn may_go(health: Health, healthy: bool, always: bool) -> bool {
    let unhealthy_may = always || (health.desired > 0 && health.current >= health.desired);
    (!healthy && unhealthy_may) || (health.expected > 0 && health.current > health.desired)
}

/// The pods that must be healthy, of `expected`. Shares are rounded up.
fn desired(spec: &PodDisruptionBudgetSpec, expected: i32) -> i32 {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => expected.saturating_sub(share(most, expected)).max(0),
        (None, Some(least)) => share(least, expected),
        (None, None) => 0,
    }
}

fn share(value: &IntOrString, whole: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let part = (i64::from(whole) * percent + 99).div_euclid(100);
            i32::try_from(part).unwrap_or(i32::MAX)
        }
    }
}

/// A selector that is missing selects nothing, one that is empty everything.
fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.and_then(|selector| Selector::from_optional(Some(selector)).ok());
    selector.is_some_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}

/// Whether budgets look at the pod at all.
fn counts(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Pending" | "Succeeded" | "Failed"))
}

fn is_healthy(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

fn total(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(least: Option<IntOrString>, most: Option<IntOrString>) -> PodDisruptionBudgetSpec {
        PodDisruptionBudgetSpec { min_available: least, max_unavailable: most, ..PodDisruptionBudgetSpec::default() }
    }

    #[test]
    fn shares_are_rounded_up_and_nothing_is_asked_of_nothing() {
        let percent = |text: &str| Some(IntOrString::String(text.to_owned()));
        let cases = [
            (spec(Some(IntOrString::Int(2)), None), 3, 2),
            (spec(percent("50%"), None), 3, 2),
            (spec(None, Some(IntOrString::Int(1))), 3, 2),
            (spec(None, percent("30%")), 3, 2),
            (spec(None, Some(IntOrString::Int(9))), 3, 0),
            (spec(percent("100%"), None), 0, 0),
        ];
        for (spec, expected, wanted) in cases {
            assert_eq!(desired(&spec, expected), wanted, "{spec:?} of {expected}");
        }
    }

    #[test]
    fn a_pod_that_is_down_may_go_while_the_others_keep_the_budget() {
        let health = |current, desired| Health { current, desired, expected: 3 };
        assert!(may_go(health(3, 2), true, false));
        assert!(!may_go(health(2, 2), true, false));
        assert!(may_go(health(2, 2), false, false), "it does not count anyway");
        assert!(!may_go(health(1, 2), false, false), "it may be about to come up");
        assert!(may_go(health(1, 2), false, true));
        assert!(!may_go(Health { current: 0, desired: 0, expected: 0 }, true, false));
    }
}
