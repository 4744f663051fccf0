//! The quality-of-service class of a pod, from its CPU and memory requests and limits.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::amount::Amount;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed`, `Burstable` or `BestEffort`.
///
/// Pod-level resources decide alone where they are given; else containers and init containers count
/// together. Quantities that cannot be read count as absent: validation refuses them.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let pod_level = spec.resources.as_ref().filter(|resources| mentions_counted(resources));
    let (requests, limits, is_limited) = match pod_level {
        Some(resources) => totals([Some(resources)].into_iter()),
        None => totals(
            spec.containers
                .iter()
                .chain(spec.init_containers.iter().flatten())
                .map(|container| container.resources.as_ref()),
        ),
    };
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if is_limited && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

type Totals = BTreeMap<&'static str, Amount>;

/// Sums of requests and of limits, and whether every part limits both CPU and memory.
fn totals<'a>(parts: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> (Totals, Totals, bool) {
    let (mut requests, mut limits) = (Totals::new(), Totals::new());
    let mut is_limited = true;
    for part in parts {
        add(&mut requests, part.and_then(|part| part.requests.as_ref()));
        let limited = add(&mut limits, part.and_then(|part| part.limits.as_ref()));
        is_limited &= limited == COUNTED.len();
    }
    (requests, limits, is_limited)
}

/// Adds the counted resources above zero; returns how many there were.
fn add(totals: &mut Totals, list: Option<&BTreeMap<String, Quantity>>) -> usize {
    let mut count = 0;
    for name in COUNTED {
        let amount = list.and_then(|list| list.get(name)).map(Amount::of);
        if let Some(amount) = amount.filter(|amount| *amount > Amount::ZERO) {
            let total = totals.entry(name).or_insert(Amount::ZERO);
            *total = total.plus(amount);
            count += 1;
        }
    }
    count
}

fn mentions_counted(resources: &ResourceRequirements) -> bool {
    [&resources.requests, &resources.limits]
        .into_iter()
        .flatten()
        .any(|list| list.keys().any(|name| COUNTED.contains(&name.as_str()) || name.starts_with("hugepages-")))
}
