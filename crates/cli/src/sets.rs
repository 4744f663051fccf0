//! How the verbs name a StatefulSet and reach it: `sts/NAME`, a namespace, the few reads and the one
//! write that they share.

use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stead_client::kube::{self, Api, Client, Resource, api::ListParams, api::Patch, api::PatchParams};

/// Why a verb could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// The API refused, or could not be reached.
    #[error("cannot {what}: {}", text(error))]
    Api {
        /// What was tried.
        what: String,
        /// Why it failed; it is told in the API's own words, not as a source of its own.
        error: Box<kube::Error>,
    },
    /// There is no such set.
    #[error("StatefulSet {namespace}/{name} does not exist")]
    NoSuchSet {
        /// Where it was looked for.
        namespace: String,
        /// The name.
        name: String,
    },
    /// What was asked makes no sense for that set.
    #[error("{0}")]
    Senseless(String),
}

fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => {
            let mut text = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                text = inner.to_string();
                cause = inner.source();
            }
            text
        }
    }
}

/// A StatefulSet by name: `sts/web`, `statefulset/web`, `statefulsets.apps/web`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetName(pub String);

impl FromStr for SetName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once('/').ok_or("must be of the form sts/NAME")?;
        let known = ["sts", "statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps"];
        if !known.contains(&kind.to_ascii_lowercase().as_str()) || name.is_empty() {
            return Err("only StatefulSets can be named, like sts/NAME".to_owned());
        }
        Ok(Self(name.to_owned()))
    }
}

/// The StatefulSets of one namespace.
pub struct Sets {
    client: Client,
    namespace: String,
}

impl Sets {
    /// Those that `client` sees in `namespace`, or in its default one.
    pub fn new(client: Client, namespace: Option<&str>) -> Self {
        let namespace = namespace.map_or_else(|| client.default_namespace().to_owned(), str::to_owned);
        Self { client, namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The set called `name`.
    pub async fn get(&self, name: &SetName) -> Result<StatefulSet, VerbError> {
        let found = self.api::<StatefulSet>().get_opt(&name.0).await;
        found
            .map_err(|error| failed(&format!("read StatefulSet {}", name.0), error))?
            .ok_or_else(|| VerbError::NoSuchSet { namespace: self.namespace.clone(), name: name.0.clone() })
    }

    /// Writes annotations of `set`, or takes those without a value away; only if nobody changed the set
    /// since it was read.
    pub async fn annotate(&self, set: &StatefulSet, annotations: &Value) -> Result<(), VerbError> {
        let meta = &set.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {
            "uid": meta.uid, "resourceVersion": meta.resource_version, "annotations": annotations,
        }});
        let patched = self.api::<StatefulSet>().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.map(drop).map_err(|error| failed(&format!("change StatefulSet {name}"), error))
    }

    /// Everything of a kind in the namespace.
    pub async fn list<K>(&self, what: &str) -> Result<Vec<Arc<K>>, VerbError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let listed = self.api::<K>().list(&ListParams::default()).await;
        let listed = listed.map_err(|error| failed(&format!("list {what}"), error))?;
        Ok(listed.items.into_iter().map(Arc::new).collect())
    }

    /// Everything of a kind that has no namespace.
    pub async fn list_all<K>(&self, what: &str) -> Result<Vec<Arc<K>>, VerbError>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let listed = Api::<K>::all(self.client.clone()).list(&ListParams::default()).await;
        let listed = listed.map_err(|error| failed(&format!("list {what}"), error))?;
        Ok(listed.items.into_iter().map(Arc::new).collect())
    }

    /// The pods of the namespace.
    pub async fn pods(&self) -> Result<Vec<Arc<Pod>>, VerbError> {
        self.list("pods").await
    }

    /// The claims of the namespace.
    pub async fn claims(&self) -> Result<Vec<Arc<PersistentVolumeClaim>>, VerbError> {
        self.list("persistentvolumeclaims").await
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

fn failed(what: &str, error: kube::Error) -> VerbError {
    VerbError::Api { what: what.to_owned(), error: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_named_as_kubectl_names_them() {
        for text in ["sts/web", "StatefulSet/web", "statefulsets.apps/web"] {
            assert_eq!(text.parse(), Ok(SetName("web".to_owned())), "{text}");
        }
        for text in ["web", "pod/web", "sts/", "/web"] {
            assert!(text.parse::<SetName>().is_err(), "{text}");
        }
    }
}
