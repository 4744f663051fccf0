//! Host aliases and the resolver configuration of a pod (contract 4.4).

use k8s_openapi::api::core::v1::PodSpec;

use super::path::Path;
use super::{ip, names};
use crate::errors::{FieldError, FieldErrors};

const NAMESERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_LIST_MAX: usize = 2048;

/// Extra lines of the hosts file.
pub(super) fn host_aliases(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    for (index, alias) in spec.host_aliases.iter().flatten().enumerate() {
        let path = path.index(index);
        names::check(errors, &path.child("ip"), &alias.ip, ip::address);
        for (index, name) in alias.hostnames.iter().flatten().enumerate() {
            names::check(errors, &path.child("hostnames").index(index), name, names::subdomain);
        }
    }
}

/// `dnsConfig`; `path` is that of the spec.
pub(super) fn config(errors: &mut FieldErrors, path: &Path, spec: &PodSpec) {
    let alone = spec.dns_policy.as_deref() == Some("None");
    let path = path.child("dnsConfig");
    let Some(config) = &spec.dns_config else {
        if alone {
            errors.push(FieldError::required(&path, "must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        return;
    };
    let nameservers = config.nameservers.as_deref().unwrap_or_default();
    if alone && nameservers.is_empty() {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        errors.push(FieldError::required(path.child("nameservers"), detail));
    }
    if nameservers.len() > NAMESERVERS_MAX {
        let detail = format!("must not have more than {NAMESERVERS_MAX} nameservers");
        errors.push(FieldError::invalid(path.child("nameservers"), nameservers, detail));
    }
    for (index, server) in nameservers.iter().enumerate() {
        names::check(errors, &path.child("nameservers").index(index), server, ip::address);
    }
    searches(errors, &path.child("searches"), config.searches.as_deref().unwrap_or_default());
    for (index, option) in config.options.iter().flatten().enumerate() {
        if option.name.as_deref().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(path.child("options").index(index), "must not be empty"));
        }
    }
}

fn searches(errors: &mut FieldErrors, path: &Path, searches: &[String]) {
    if searches.len() > SEARCHES_MAX {
        let detail = format!("must not have more than {SEARCHES_MAX} search paths");
        errors.push(FieldError::invalid(path, searches, detail));
    }
    if searches.join(" ").len() > SEARCH_LIST_MAX {
        let detail =
            format!("must not have more than {SEARCH_LIST_MAX} characters (including spaces) in the search list");
        errors.push(FieldError::invalid(path, searches, detail));
    }
    for (index, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let plain = search.strip_suffix('.').unwrap_or(search);
        // Underscores are common in search paths, so they pass here.
        for message in names::subdomain(&plain.replace('_', "x")) {
            errors.push(FieldError::invalid(path.index(index), plain, message));
        }
    }
}
