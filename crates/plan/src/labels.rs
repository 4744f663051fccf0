//! Label selectors of typed objects: whether a set of labels satisfies one. It validates nothing;
//! the API has refused bad selectors long before.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether `labels` satisfy `selector`. An empty selector matches everything; a requirement with an
/// unknown operator matches nothing.
pub fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    equal && selector.match_expressions.iter().flatten().all(|requirement| holds(requirement, value(&requirement.key)))
}

/// Whether the selector has no requirement at all, and so selects everything.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn holds(requirement: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().flatten().any(|wanted| wanted == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => value.is_none_or(|value| !listed(value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            }]),
            ..LabelSelector::default()
        }
    }

    #[test]
    fn every_operator_means_what_kubernetes_says() {
        let web = labels(&[("app", "web")]);
        for (operator, values, wanted) in [
            ("In", &["web", "db"][..], true),
            ("In", &["db"], false),
            ("NotIn", &["db"], true),
            ("NotIn", &["web"], false),
            ("Exists", &[], true),
            ("DoesNotExist", &[], false),
            ("Near", &[], false),
        ] {
            assert_eq!(matches(&expression("app", operator, values), Some(&web)), wanted, "{operator} {values:?}");
        }
        assert!(matches(&expression("tier", "NotIn", &["db"]), Some(&web)), "an absent label is not in any list");
        assert!(!matches(&expression("app", "In", &["web"]), None));
        assert!(matches(&expression("tier", "DoesNotExist", &[]), Some(&web)));
        assert!(is_empty(&LabelSelector::default()) && !is_empty(&expression("tier", "Exists", &[])));
    }
}
