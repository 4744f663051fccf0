//! A namespace from its first breath to its last.

use expect_test::expect;
use serde_json::{Value, json};

use super::*;

fn namespace(extra: Value) -> Namespace {
    let mut namespace = json!({
        "metadata": {"name": "ns", "uid": "n-1", "resourceVersion": "3"},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    for (key, value) in extra.as_object().expect("an object") {
        namespace["metadata"][key] = value.clone();
    }
    serde_json::from_value(namespace).expect("a Namespace")
}

fn terminating() -> Namespace {
    let mut namespace = namespace(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
    namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    namespace
}

fn now() -> Timestamp {
    "2026-01-01T00:00:05Z".parse().expect("a time")
}

fn left(resource: &str, count: usize, finalizers: &[(&str, usize)], grace_s: i64) -> Remaining {
    let finalizers = finalizers.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    Remaining { resource: resource.to_owned(), count, finalizers, grace_s }
}

fn conditions(namespace: Option<Namespace>) -> String {
    let conditions = namespace.and_then(|namespace| namespace.status?.conditions).unwrap_or_default();
    let line = |c: &NamespaceCondition| {
        let (reason, message) = (c.reason.as_deref().unwrap_or_default(), c.message.as_deref().unwrap_or_default());
        format!("{} {} {reason}: {message}\n", c.type_, c.status)
    };
    conditions.iter().map(line).collect()
}

#[test]
fn a_live_namespace_gets_what_every_namespace_has_and_a_terminating_one_does_not() {
    let live = namespace(json!({}));
    let account = missing_service_account(&live, None).expect("missing").metadata;
    assert_eq!((account.name.as_deref(), account.namespace.as_deref()), (Some("default"), Some("ns")));
    assert!(missing_service_account(&live, Some(&ServiceAccount::default())).is_none());
    let made = wrong_root_ca(&live, None, "PEM").expect("missing");
    let called = (made.metadata.name.as_deref(), made.metadata.namespace.as_deref());
    assert_eq!(called, (Some("kube-root-ca.crt"), Some("ns")));
    assert_eq!(wrong_root_ca(&live, Some(&made), "PEM"), None);
    let padded = ConfigMap { binary_data: Some(BTreeMap::new()), ..made.clone() };
    assert_eq!(wrong_root_ca(&live, Some(&padded), "PEM"), Some(made.clone()), "nothing else belongs there");
    let repaired = wrong_root_ca(&live, Some(&made), "NEW").expect("differs");
    assert_eq!(repaired.data.expect("data")["ca.crt"], "NEW");
    assert!(missing_service_account(&terminating(), None).is_none());
    assert!(wrong_root_ca(&terminating(), None, "PEM").is_none());
    let mut called = terminating();
    called.metadata.deletion_timestamp = None;
    assert!(!is_live(&called), "it is called terminating");
    assert!(!is_live(&namespace(json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}))), "its deletion was asked for");
}

#[test]
fn pods_go_first_and_the_rest_only_when_none_remains() {
    assert_eq!(begin(&namespace(json!({}))), Step::Nothing);
    let dying = terminating();
    assert_eq!(begin(&dying), Step::Empty(Stage::Pods));

    let pods_left = Survey { remaining: vec![left("pods.", 2, &[], 30)], failures: vec![] };
    let (status, step) = after(&dying, Stage::Pods, &pods_left, now());
    assert_eq!(step, Step::Wait { retry_s: 16 });
    expect![[r#"
        NamespaceDeletionDiscoveryFailure False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure False ContentDeleted: All content successfully deleted, may be waiting on finalization
        NamespaceContentRemaining False ContentRemoved: All content successfully removed
        NamespaceFinalizersRemaining False ContentHasNoFinalizers: All content-preserving finalizers finished
    "#]]
    .assert_eq(&conditions(status));

    assert_eq!(after(&dying, Stage::Pods, &Survey::default(), now()).1, Step::Empty(Stage::Rest));
    let (_, step) = after(&dying, Stage::Rest, &Survey::default(), now());
    let Step::Finalize(finalized) = step else { panic!("empty: {step:?}") };
    assert_eq!(finalized.spec.and_then(|spec| spec.finalizers), Some(vec![]));
    assert_eq!(finalized.metadata.resource_version.as_deref(), Some("3"));
}

#[test]
fn what_remains_and_what_failed_is_told_in_the_conditions() {
    let survey = Survey {
        remaining: vec![
            left("persistentvolumeclaims.", 2, &[("kubernetes.io/pvc-protection", 2), ("x/y", 1)], 0),
            left("configmaps.", 1, &[("x/y", 1)], 0),
        ],
        failures: vec!["secrets: refused".to_owned()],
    };
    let (status, step) = after(&terminating(), Stage::Rest, &survey, now());
    assert_eq!(step, Step::Wait { retry_s: 1 });
    expect![[r#"
        NamespaceDeletionDiscoveryFailure False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: secrets: refused
        NamespaceContentRemaining True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances, persistentvolumeclaims. has 2 resource instances
        NamespaceFinalizersRemaining True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: kubernetes.io/pvc-protection in 2 resource instances, x/y in 2 resource instances
    "#]]
    .assert_eq(&conditions(status.clone()));

    let again = after(&status.expect("written"), Stage::Rest, &survey, "2026-01-01T01:00:00Z".parse().expect("a time"));
    assert_eq!(again.0, None, "the same survey later is no reason to write");
}

#[test]
fn a_namespace_held_by_others_only_is_not_ours() {
    let mut namespace = terminating();
    namespace.spec.get_or_insert_default().finalizers = Some(vec!["x/other".to_owned()]);
    assert_eq!(begin(&namespace), Step::Nothing);
    assert_eq!(after(&namespace, Stage::Rest, &Survey::default(), now()), (None, Step::Nothing));
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes() {
    let survey = |count| Survey { remaining: vec![left("configmaps.", count, &[], 0)], failures: vec![] };
    let later = |minutes: i64| now() + jiff::SignedDuration::from_mins(minutes);
    let look = |namespace: &Namespace, survey: &Survey, minutes| {
        let written = after(namespace, Stage::Rest, survey, later(minutes)).0.expect("written");
        let conditions = written.status.clone().and_then(|status| status.conditions).unwrap_or_default();
        let found = conditions.into_iter().find(|condition| condition.type_ == "NamespaceContentRemaining");
        let found = found.expect("it is always there");
        (written, found.message.unwrap_or_default(), found.last_transition_time.expect("a time").0)
    };
    let (first, _, since) = look(&terminating(), &survey(2), 0);
    assert_eq!(since, later(0));
    let (fewer, message, since) = look(&first, &survey(1), 1);
    let wanted = "Some resources are remaining: configmaps. has 1 resource instances";
    assert_eq!((message.as_str(), since), (wanted, later(0)), "other words, the same status");
    let (_, message, since) = look(&fewer, &Survey::default(), 2);
    assert_eq!((message.as_str(), since), ("All content successfully removed", later(2)));
}
