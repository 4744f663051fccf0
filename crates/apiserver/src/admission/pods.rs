//! What admission does to pods: ServiceAccount, Priority, DefaultTolerationSeconds.

use k8s_openapi::api::core::v1::{Pod, Toleration};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use stead_api::registry::kind_of;
use stead_store::Store;

use super::forbidden;
use crate::server::ApiServer;
use crate::status::StatusError;

/// How long a pod stays on a node that is not ready or cannot be reached.
const TOLERATION_S: i64 = 300;
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const PREEMPT: &str = "PreemptLowerPriority";

/// Names the service account. The account is not looked up and no token is mounted: this server
/// does not issue tokens yet, and a pod must not wait for what it cannot use.
pub(super) fn default_service_account(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    if spec.service_account_name.as_deref().unwrap_or_default().is_empty() {
        spec.service_account_name = Some("default".to_owned());
    }
}

/// Lets the pod stay a while on a node in trouble, unless it says how long itself.
pub(super) fn default_tolerations(pod: &mut Pod) {
    let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
    for key in [NOT_READY, UNREACHABLE] {
        let decided = tolerations.iter().any(|toleration| {
            let own = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            (own == key || own.is_empty()) && matches!(effect, "NoExecute" | "")
        });
        if !decided {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(TOLERATION_S),
                value: None,
            });
        }
    }
}

/// A change that leaves the priority out means the one there is.
pub(super) fn keep_priority(pod: &mut Pod, old: &Pod) {
    let (Some(spec), Some(old)) = (pod.spec.as_mut(), old.spec.as_ref()) else { return };
    spec.priority = spec.priority.or(old.priority);
    if spec.preemption_policy.is_none() {
        spec.preemption_policy.clone_from(&old.preemption_policy);
    }
}

impl<S: Store> ApiServer<S> {
    /// Resolves the priority class.
    pub(super) async fn admit_priority(&self, pod: &mut Pod) -> Result<(), StatusError> {
        let kind = kind_of::<Pod>();
        let class_name = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.clone()).unwrap_or_default();
        let class = match class_name.as_str() {
            "" => self.default_priority().await?,
            name => {
                let class = self.find_typed::<PriorityClass>("", name).await?.or_else(|| system_class(name));
                let missing =
                    || forbidden(kind, &pod.metadata, &format!("no PriorityClass with name {name} was found"));
                Some(class.ok_or_else(missing)?)
            }
        };
        let value = class.as_ref().and_then(|class| class.value).unwrap_or(0);
        let policy =
            class.as_ref().and_then(|class| class.preemption_policy.clone()).unwrap_or_else(|| PREEMPT.to_owned());
        let spec = pod.spec.get_or_insert_default();
        let refusal = match (spec.priority, spec.preemption_policy.as_deref()) {
            (Some(sent), _) if sent != value => Some(format!(
                "the integer value of priority ({sent}) must not be provided in pod spec; priority admission \
                 controller computed {value} from the given PriorityClass name"
            )),
            (_, Some(sent)) if sent != policy => Some(format!(
                "the string value of PreemptionPolicy ({sent}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name"
            )),
            _ => None,
        };
        if let Some(text) = refusal {
            return Err(forbidden(kind, &pod.metadata, &text));
        }
        if let Some(class) = class.filter(|_| class_name.is_empty()) {
            spec.priority_class_name = class.metadata.name;
        }
        spec.priority = Some(value);
        spec.preemption_policy = Some(policy);
        Ok(())
    }

    /// The class for pods that name none: of several, the one with the smallest value.
    async fn default_priority(&self) -> Result<Option<PriorityClass>, StatusError> {
        let classes = self.list_typed::<PriorityClass>().await?;
        Ok(classes
            .into_iter()
            .filter(|class| class.global_default == Some(true))
            .min_by_key(|class| class.value.unwrap_or(0)))
    }
}

/// The classes of the system exist even before their objects do.
fn system_class(name: &str) -> Option<PriorityClass> {
    let value = match name {
        "system-node-critical" => 2_000_001_000,
        "system-cluster-critical" => 2_000_000_000,
        _ => return None,
    };
    Some(PriorityClass { value: Some(value), ..PriorityClass::default() })
}
