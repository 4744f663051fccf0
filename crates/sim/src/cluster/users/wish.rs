//! What sets are made with.

use serde_json::{Value, json};

use crate::cluster::entropy::Dice;

/// What a set is made with.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) name: &'static str,
    pub(crate) replicas: i64,
    pub(crate) parallel: bool,
    pub(crate) unavailable_max: Option<i64>,
    pub(crate) min_ready_s: i64,
    pub(crate) probed: bool,
    pub(crate) claims: bool,
    /// Whether claims go with their set or replica.
    pub(crate) claims_go: bool,
    /// Whether the Service has no address of its own.
    pub(crate) headless: bool,
    /// Whether the Service names replicas that are not ready, too.
    pub(crate) publishes_unready: bool,
}

impl Wish {
    /// The fault list's set: three replicas, OrderedReady, one claim each.
    pub(crate) const WEB: Self = Self {
        name: "web",
        replicas: 3,
        parallel: false,
        unavailable_max: None,
        min_ready_s: 0,
        probed: true,
        claims: true,
        claims_go: false,
        headless: true,
        publishes_unready: false,
    };

    /// Any kind of set.
    pub(crate) fn random(name: &'static str, dice: &Dice) -> Self {
        let claims = dice.permille(700);
        Self {
            name,
            replicas: 1 + i64::try_from(dice.below(4)).unwrap_or(0),
            parallel: dice.permille(300),
            unavailable_max: dice.permille(250).then_some(2),
            min_ready_s: if dice.permille(300) { 6 } else { 0 },
            probed: dice.permille(700),
            claims,
            claims_go: claims && dice.permille(300),
            headless: dice.permille(850),
            publishes_unready: dice.permille(200),
        }
    }

    /// The set.
    pub(super) fn manifest(&self) -> Value {
        let mut container = json!({"name": "c", "image": "app:v0"});
        if self.probed {
            container["readinessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1});
        }
        let mut spec = json!({
            "replicas": self.replicas, "serviceName": self.name, "minReadySeconds": self.min_ready_s,
            "selector": {"matchLabels": {"app": self.name}},
            "podManagementPolicy": if self.parallel { "Parallel" } else { "OrderedReady" },
            "template": {
                "metadata": {"labels": {"app": self.name}},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [container]},
            },
        });
        if let Some(most) = self.unavailable_max {
            spec["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}});
        }
        if self.claims {
            spec["volumeClaimTemplates"] = claim_templates(1);
        }
        if self.claims_go {
            spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": "Delete", "whenScaled": "Delete"});
        }
        json!({"metadata": {"name": self.name}, "spec": spec})
    }
}

/// One claim of so many GiB for each replica.
pub(super) fn claim_templates(gib: u64) -> Value {
    json!([{
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": format!("{gib}Gi")}}},
    }])
}
