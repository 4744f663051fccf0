//! Whether volumes can be reached from any node there is. Nearly every volume names its nodes by a label, so nodes are
//! looked up by that: thousands of claims are not each held against thousands of nodes.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeSelectorTerm, PersistentVolume};

use crate::scheduler::node_selector;

/// The nodes with one value of a label, by the value.
type ByValue<'a> = HashMap<&'a str, Vec<&'a Node>>;

/// The nodes of a cluster, and those found by label so far.
pub(super) struct Reach<'a> {
    nodes: &'a [Arc<Node>],
    by_label: HashMap<String, ByValue<'a>>,
}

impl<'a> Reach<'a> {
    pub(super) fn of(nodes: &'a [Arc<Node>]) -> Self {
        Self { nodes, by_label: HashMap::new() }
    }

    /// Whether no node there is can reach the volume. Without any nodes none counts as lost.
    pub(super) fn is_lost(&mut self, volume: &PersistentVolume) -> bool {
        let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
        let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else { return false };
        !self.nodes.is_empty() && !required.node_selector_terms.iter().any(|term| self.any_satisfies(term))
    }

    /// Whether one of the nodes satisfies `term`.
    fn any_satisfies(&mut self, term: &NodeSelectorTerm) -> bool {
        let listed = term.match_expressions.iter().flatten().find(|requirement| requirement.operator == "In");
        let Some(listed) = listed else {
            return self.nodes.iter().any(|node| node_selector::term_matches(term, node));
        };
        let nodes = self.nodes;
        let by_value = self.by_label.entry(listed.key.clone()).or_insert_with(|| by_value(nodes, &listed.key));
        let named = listed.values.iter().flatten().filter_map(|value| by_value.get(value.as_str()));
        named.flatten().any(|node| node_selector::term_matches(term, node))
    }
}

fn by_value<'a>(nodes: &'a [Arc<Node>], key: &str) -> ByValue<'a> {
    let mut by_value = ByValue::new();
    for node in nodes {
        if let Some(value) = node.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            by_value.entry(value).or_default().push(node);
        }
    }
    by_value
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, zone: &str) -> Arc<Node> {
        let labels = json!({"host": name, "zone": zone});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).expect("a node"))
    }

    fn volume(terms: &Value) -> PersistentVolume {
        let affinity = json!({"required": {"nodeSelectorTerms": terms}});
        serde_json::from_value(json!({"metadata": {}, "spec": {"nodeAffinity": affinity}})).expect("a volume")
    }

    #[test]
    fn a_volume_is_lost_when_no_node_is_one_of_those_it_names() {
        let nodes = [node("one", "east"), node("two", "east"), node("three", "west")];
        let mut reach = Reach::of(&nodes);
        let is =
            |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
        let term = |requirements: &[Value]| json!({"matchExpressions": requirements});
        for (terms, lost) in [
            (json!([term(&[is("host", "In", &["two"])])]), false),
            (json!([term(&[is("host", "In", &["four"])])]), true),
            (json!([term(&[is("host", "In", &["four", "three"])])]), false),
            (json!([term(&[is("host", "In", &["four"])]), term(&[is("zone", "In", &["west"])])]), false),
            (json!([term(&[is("zone", "In", &["east"]), is("host", "In", &["two"])])]), false),
            (json!([term(&[is("zone", "In", &["west"]), is("host", "In", &["two"])])]), true),
            (json!([term(&[is("zone", "NotIn", &["east"])])]), false),
            (json!([term(&[is("zone", "NotIn", &["east", "west"])])]), true),
            (json!([term(&[is("rack", "In", &["a"])])]), true),
            (json!([term(&[is("rack", "DoesNotExist", &[])])]), false),
            (json!([{"matchFields": [is("metadata.name", "In", &["one"])]}]), false),
            (json!([{"matchFields": [is("metadata.name", "In", &["four"])]}]), true),
            (json!([{}]), true),
        ] {
            assert_eq!(reach.is_lost(&volume(&terms)), lost, "{terms}");
            assert!(!Reach::of(&[]).is_lost(&volume(&terms)), "nothing is known of nodes");
        }
        assert!(!reach.is_lost(&PersistentVolume::default()), "it can be had anywhere");
    }
}
