//! Quantities as the API stores and shows them: rounded up to thousandths and in canonical form,
//! so `1000m` comes back as `1` and `0.5Gi` as `512Mi`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::amount::{Amount, Format};

type Resources = Option<BTreeMap<String, Quantity>>;

/// Rounds a list of resources up to thousandths and writes it canonically.
pub(super) fn resources(list: &mut Resources) {
    list.iter_mut().flat_map(BTreeMap::values_mut).for_each(|quantity| rewrite(quantity, Amount::rounded_up_to_milli));
}

/// The limits and requests of a container or pod.
pub(super) fn requirements(requirements: &mut Option<ResourceRequirements>) {
    if let Some(requirements) = requirements {
        resources(&mut requirements.limits);
        resources(&mut requirements.requests);
    }
}

/// The limits and requests of a claim.
pub(super) fn volume_requirements(requirements: &mut Option<VolumeResourceRequirements>) {
    if let Some(requirements) = requirements {
        resources(&mut requirements.limits);
        resources(&mut requirements.requests);
    }
}

/// Writes one quantity canonically, without rounding. What cannot be read stays, for validation to
/// refuse.
pub(super) fn canonical(quantity: &mut Option<Quantity>) {
    if let Some(quantity) = quantity {
        rewrite(quantity, |amount| amount);
    }
}

/// A computed amount in the notation usual for a resource: memory in powers of 1024.
pub(super) fn written(amount: Amount, resource: &str) -> Quantity {
    let format = if resource == "memory" { Format::BinarySi } else { Format::DecimalSi };
    amount.written(format).into()
}

fn rewrite(quantity: &mut Quantity, round: impl Fn(Amount) -> Amount) {
    if let Some(amount) = Amount::parse(&quantity.0) {
        *quantity = round(amount).into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_what_kubernetes_returns() {
        for (written, returned) in [
            ("500m", "500m"),
            ("1000m", "1"),
            ("10Gi", "10Gi"),
            ("0.5Gi", "512Mi"),
            ("1024Mi", "1Gi"),
            ("1000", "1k"),
            ("1.5", "1500m"),
            ("1e3", "1e3"),
            ("1000e0", "1e3"),
            ("15e2", "1500"),
            ("100Ki", "100Ki"),
            ("0.5Ki", "512"),
            ("0Gi", "0"),
            ("1E", "1E"),
            ("-2000m", "-2"),
            ("100u", "1m"),
            ("nonsense", "nonsense"),
        ] {
            let mut list = Some(BTreeMap::from([("memory".to_owned(), Quantity(written.to_owned()))]));
            resources(&mut list);
            assert_eq!(list.expect("still there")["memory"].0, returned, "{written}");
        }
    }

    #[test]
    fn only_resource_lists_are_rounded() {
        let mut quantity = Some(Quantity("100u".to_owned()));
        canonical(&mut quantity);
        assert_eq!(quantity, Some(Quantity("100u".to_owned())));
    }
}
