//! ConfigMaps, Secrets and ServiceAccounts (contract `defaults-validation.md`, 7).

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};

use super::metadata::{self, NameRule};
use super::names;
use super::path::Path;
use crate::errors::{FieldError, FieldErrors};
use crate::registry::Scope;

const BYTES_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Everything wrong with a new ConfigMap.
pub fn config_map_create(map: &ConfigMap) -> FieldErrors {
    let mut errors = metadata::metadata_create(&map.metadata, NameRule::Subdomain, Scope::Namespaced);
    config_map_data(&mut errors, map);
    errors
}

/// Everything wrong with a change to a ConfigMap.
pub fn config_map_update(new: &ConfigMap, old: &ConfigMap) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    if old.immutable == Some(true) {
        frozen(&mut errors, "immutable", new.immutable != Some(true));
        frozen(&mut errors, "data", differ(&new.data, &old.data));
        frozen(&mut errors, "binaryData", differ(&new.binary_data, &old.binary_data));
    }
    config_map_data(&mut errors, new);
    errors
}

/// ConfigMaps never warn.
pub fn config_map_warnings(_new: &ConfigMap, _old: Option<&ConfigMap>) -> Vec<String> {
    Vec::new()
}

fn config_map_data(errors: &mut FieldErrors, map: &ConfigMap) {
    let mut bytes = 0;
    let binary = map.binary_data.as_ref();
    for (key, value) in map.data.iter().flatten() {
        let path = Path::new("data").key(key);
        names::check(errors, &path, key, names::config_key);
        if binary.is_some_and(|binary| binary.contains_key(key)) {
            errors.push(FieldError::invalid(path, key, "duplicate of key present in binaryData"));
        }
        bytes += value.len();
    }
    for (key, value) in binary.into_iter().flatten() {
        names::check(errors, &Path::new("binaryData").key(key), key, names::config_key);
        bytes += value.0.len();
    }
    if bytes > BYTES_MAX {
        errors.push(FieldError::too_long("", BYTES_MAX));
    }
}

fn frozen(errors: &mut FieldErrors, field: &str, changed: bool) {
    if changed {
        errors.push(FieldError::forbidden(field, FROZEN));
    }
}

/// Whether two maps differ; an empty one is an absent one.
fn differ<V: PartialEq>(new: &Option<BTreeMap<String, V>>, old: &Option<BTreeMap<String, V>>) -> bool {
    let (new, old) = (new.as_ref(), old.as_ref());
    let empty = |map: Option<&BTreeMap<String, V>>| map.is_none_or(BTreeMap::is_empty);
    !(empty(new) && empty(old)) && new != old
}

/// Everything wrong with a new Secret.
pub fn secret_create(secret: &Secret) -> FieldErrors {
    let mut errors = metadata::metadata_create(&secret.metadata, NameRule::Subdomain, Scope::Namespaced);
    secret_data(&mut errors, secret);
    errors
}

/// Everything wrong with a change to a Secret.
pub fn secret_update(new: &Secret, old: &Secret) -> FieldErrors {
    let mut errors = metadata::metadata_update(&new.metadata, &old.metadata);
    metadata::immutable(&mut errors, &Path::new("type"), &new.type_, &old.type_);
    if old.immutable == Some(true) {
        frozen(&mut errors, "immutable", new.immutable != Some(true));
        frozen(&mut errors, "data", differ(&new.data, &old.data));
    }
    secret_data(&mut errors, new);
    errors
}

/// Secrets do not warn: the one warning Kubernetes has is the text of its TLS library.
pub fn secret_warnings(_new: &Secret, _old: Option<&Secret>) -> Vec<String> {
    Vec::new()
}

fn secret_data(errors: &mut FieldErrors, secret: &Secret) {
    let path = Path::new("data");
    let mut bytes = 0;
    for (key, value) in secret.data.iter().flatten() {
        names::check(errors, &path.key(key), key, names::config_key);
        bytes += value.0.len();
    }
    if bytes > BYTES_MAX {
        errors.push(FieldError::too_long(&path, BYTES_MAX));
    }
    let missing = |key: &str| secret.data.as_ref().is_none_or(|data| !data.contains_key(key));
    let demand = |errors: &mut FieldErrors, keys: &[&str]| {
        for key in keys.iter().filter(|key| missing(key)) {
            errors.push(FieldError::required(path.key(key), ""));
        }
    };
    match secret.type_.as_deref().unwrap_or_default() {
        "kubernetes.io/service-account-token" => {
            let name = secret.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ACCOUNT_NAME));
            if name.is_none_or(String::is_empty) {
                errors.push(FieldError::required(Path::new("metadata.annotations").key(ACCOUNT_NAME), ""));
            }
        }
        "kubernetes.io/dockercfg" => json_key(errors, &path, secret, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_key(errors, &path, secret, ".dockerconfigjson"),
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            demand(errors, &["username", "password"]);
        }
        "kubernetes.io/ssh-auth" => demand(errors, &["ssh-privatekey"]),
        "kubernetes.io/tls" => demand(errors, &["tls.crt", "tls.key"]),
        _ => {}
    }
}

/// A key that must hold a JSON object; its content is never repeated in an error.
fn json_key(errors: &mut FieldErrors, path: &Path, secret: &Secret, key: &str) {
    let path = path.key(key);
    let Some(ByteString(bytes)) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    if let Err(error) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(bytes) {
        errors.push(FieldError::invalid(path, "<secret contents redacted>", error.to_string()));
    }
}

/// Everything wrong with a new ServiceAccount.
pub fn service_account_create(account: &ServiceAccount) -> FieldErrors {
    metadata::metadata_create(&account.metadata, NameRule::Subdomain, Scope::Namespaced)
}

/// Everything wrong with a change to a ServiceAccount.
pub fn service_account_update(new: &ServiceAccount, old: &ServiceAccount) -> FieldErrors {
    metadata::metadata_update(&new.metadata, &old.metadata)
}

/// Texts for `Warning:` headers.
pub fn service_account_warnings(account: &ServiceAccount, _old: Option<&ServiceAccount>) -> Vec<String> {
    let key = "kubernetes.io/enforce-mountable-secrets";
    let set = account.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(key));
    let text = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    if set { vec![format!("metadata.annotations[{key}]: {text}")] } else { Vec::new() }
}
