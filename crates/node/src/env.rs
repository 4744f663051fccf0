//! The environment of a container: what the pod declares, expanded (contract `pods.md`, section 4).
//! Pure: ConfigMaps, Secrets and Services come in as lookups.

mod downward;
mod services;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvFromSource, EnvVarSource, Pod, Secret, Service};
use stead_api::amount::Amount;

pub use downward::{field_value, resource_value};
use services::service_variables;

/// What the environment is made from.
pub trait Sources {
    /// A ConfigMap of the pod's namespace.
    fn config_map(&self, name: &str) -> Option<Arc<ConfigMap>>;
    /// A Secret of the pod's namespace.
    fn secret(&self, name: &str) -> Option<Arc<Secret>>;
    /// The Services whose variables the pod gets, the cluster's own first.
    fn services(&self) -> Vec<Arc<Service>>;
    /// The node's allocatable amount of `cpu`, `memory` or `ephemeral-storage`.
    fn allocatable(&self, resource: &str) -> Option<Amount>;
}

/// Facts of the running pod that its object does not hold yet.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    /// The pod's address.
    pub pod_ip: String,
    /// The node's address.
    pub host_ip: String,
    /// The node's name.
    pub node_name: String,
}

/// Why a container's environment cannot be made; shown as `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    /// The ConfigMap is not there.
    #[error("configmap {0:?} not found")]
    ConfigMap(String),
    /// The Secret is not there.
    #[error("secret {0:?} not found")]
    Secret(String),
    /// The object is there, the key is not.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    Key {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
        /// Key.
        key: String,
    },
    /// The field cannot be used here.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// The container of a resource reference does not exist.
    #[error("container {0} not found")]
    Container(String),
    /// The divisor or the resource is not a quantity.
    #[error("cannot read resource {0}")]
    Resource(String),
}

/// The environment in order of definition, without what the image and the agent add.
pub fn environment(
    pod: &Pod,
    container: &Container,
    facts: &PodFacts,
    sources: &impl Sources,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut env = Env::default();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    for service in service_variables(pod, &sources.services(), links) {
        env.set(service.0, service.1);
    }
    for source in container.env_from.iter().flatten() {
        add_all(&mut env, source, sources)?;
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => expand(variable.value.as_deref().unwrap_or_default(), |name| env.get(name)),
            Some(from) => match value_from(pod, container, from, facts, sources)? {
                Some(value) => value,
                None => continue,
            },
        };
        env.set(variable.name.clone(), value);
    }
    Ok(env.pairs)
}

#[derive(Default)]
struct Env {
    pairs: Vec<(String, String)>,
    at: BTreeMap<String, usize>,
}

impl Env {
    fn set(&mut self, name: String, value: String) {
        if let Some(at) = self.at.get(&name) {
            self.pairs[*at].1 = value;
        } else {
            self.at.insert(name.clone(), self.pairs.len());
            self.pairs.push((name, value));
        }
    }

    fn get(&self, name: &str) -> Option<String> {
        self.at.get(name).map(|at| self.pairs[*at].1.clone())
    }
}

/// Replaces `$(NAME)` by its value; an unknown name stays as written and `$$` is a plain `$`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

fn add_all(env: &mut Env, source: &EnvFromSource, sources: &impl Sources) -> Result<(), EnvError> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    if let Some(reference) = &source.config_map_ref {
        match sources.config_map(&reference.name) {
            Some(map) => {
                for (key, value) in map.data.iter().flatten() {
                    env.set(format!("{prefix}{key}"), value.clone());
                }
            }
            None if reference.optional == Some(true) => {}
            None => return Err(EnvError::ConfigMap(reference.name.clone())),
        }
    }
    if let Some(reference) = &source.secret_ref {
        match sources.secret(&reference.name) {
            Some(secret) => {
                for (key, value) in secret.data.iter().flatten() {
                    env.set(format!("{prefix}{key}"), String::from_utf8_lossy(&value.0).into_owned());
                }
            }
            None if reference.optional == Some(true) => {}
            None => return Err(EnvError::Secret(reference.name.clone())),
        }
    }
    Ok(())
}

fn value_from(
    pod: &Pod,
    container: &Container,
    from: &EnvVarSource,
    facts: &PodFacts,
    sources: &impl Sources,
) -> Result<Option<String>, EnvError> {
    if let Some(field) = &from.field_ref {
        return field_value(pod, field, facts).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return resource_value(pod, container, resource, sources).map(Some);
    }
    if let Some(reference) = &from.config_map_key_ref {
        let missing_ok = reference.optional == Some(true);
        let Some(map) = sources.config_map(&reference.name) else {
            return if missing_ok { Ok(None) } else { Err(EnvError::ConfigMap(reference.name.clone())) };
        };
        let value = map.data.as_ref().and_then(|data| data.get(&reference.key)).cloned();
        return found(value, missing_ok, "ConfigMap", pod, &reference.name, &reference.key);
    }
    if let Some(reference) = &from.secret_key_ref {
        let missing_ok = reference.optional == Some(true);
        let Some(secret) = sources.secret(&reference.name) else {
            return if missing_ok { Ok(None) } else { Err(EnvError::Secret(reference.name.clone())) };
        };
        let value = secret.data.as_ref().and_then(|data| data.get(&reference.key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        return found(value, missing_ok, "Secret", pod, &reference.name, &reference.key);
    }
    Ok(None)
}

fn found(
    value: Option<String>,
    missing_ok: bool,
    kind: &'static str,
    pod: &Pod,
    name: &str,
    key: &str,
) -> Result<Option<String>, EnvError> {
    if value.is_some() || missing_ok {
        return Ok(value);
    }
    let namespace = namespace(pod).to_owned();
    Err(EnvError::Key { kind, namespace, name: name.to_owned(), key: key.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_expand_and_everything_else_stays_as_written() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        let cases = [
            ("$(A)", "1"),
            ("x$(A)y", "x1y"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("cost: 5$", "cost: 5$"),
        ];
        for (text, expected) in cases {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
