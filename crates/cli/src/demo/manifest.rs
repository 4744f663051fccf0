//! The objects of the demo, as `examples/demo.yaml` would have them.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// Image of the replicas, made from the `stead` binary itself.
pub const IMAGE: &str = "stead.local/demo:v1";
pub(super) const NAME: &str = "keeper";
pub(super) const SERVICE: &str = "keepers";
pub(super) const REPLICAS: u8 = 3;
/// Port the replicas answer on.
pub(super) const PORT: u16 = 6333;

/// The headless Service.
pub(super) fn service() -> Service {
    typed(json!({
        "metadata": {"name": SERVICE},
        "spec": {"clusterIP": "None", "selector": {"app": NAME}, "ports": [{"port": PORT, "name": "api"}]},
    }))
}

/// The StatefulSet.
pub(super) fn stateful_set() -> StatefulSet {
    typed(json!({
        "metadata": {"name": NAME},
        "spec": {
            "serviceName": SERVICE,
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {
                    "terminationGracePeriodSeconds": 5,
                    "containers": [{
                        "name": NAME,
                        "image": IMAGE,
                        "ports": [{"containerPort": PORT, "name": "api"}],
                        "readinessProbe": {"tcpSocket": {"port": "api"}, "periodSeconds": 1},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    }))
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the demo's objects are well formed")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_demos_objects_are_well_formed() {
        assert_eq!(super::service().metadata.name.as_deref(), Some(super::SERVICE));
        assert_eq!(super::stateful_set().spec.and_then(|spec| spec.replicas), Some(3));
    }
}
