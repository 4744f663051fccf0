//! The table of protobuf fields agrees with the types it describes.

use std::collections::BTreeSet;

use super::*;
use crate::kinds;
use crate::schema::{self, TypeRef};

/// Fields of features that are not beta in the version the table was made from: their numbers are unknown, and Kubernetes
/// itself would not keep what they say.
const WITHOUT_NUMBER: &[&str] = &[
    "core.v1.PodSpec.schedulingGroup",
    "core.v1.PodStatus.nodeAllocatableResourceClaimStatuses",
    "core.v1.ResourceHealth.message",
    "core.v1.VolumeMountStatus.volumeStatus",
];

/// A message's fields as JSON has them, those of inlined messages included.
fn flat(message: MessageId) -> Vec<&'static Field> {
    let inner = |field: &'static Field| match field.what {
        What::Inline(message) => flat(message),
        _ => vec![field],
    };
    fields(message).iter().flat_map(inner).collect()
}

/// Compares a message with the schema of its type, and all they lead to.
fn compare(message: MessageId, definition: &'static schema::Definition, seen: &mut BTreeSet<&'static str>) {
    if !seen.insert(definition.name) {
        return;
    }
    let name = definition.name.rsplit('.').take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(".");
    for theirs in definition.fields.iter() {
        let path = format!("{name}.{}", theirs.name);
        // The envelope says these.
        if matches!(theirs.name, "apiVersion" | "kind") && definition.field("metadata").is_some() {
            continue;
        }
        let Some(ours) = flat(message).into_iter().find(|ours| ours.name == theirs.name) else {
            assert!(WITHOUT_NUMBER.contains(&path.as_str()), "{path} has no number");
            continue;
        };
        let element = match (ours.holds, theirs.ty) {
            (Holds::List, TypeRef::List(element)) | (Holds::Map, TypeRef::Map(element)) => *element,
            (Holds::One | Holds::Pointer, ty) => ty,
            (holds, ty) => panic!("{path}: {holds:?} is not {ty:?}"),
        };
        match (ours.what, element) {
            (What::Message(message), TypeRef::Object(target)) => {
                let definition = schema::definition(target).expect("known by its holder");
                compare(message, definition, seen);
            }
            (What::Json, TypeRef::Any | TypeRef::Object(_)) | (What::Texts, TypeRef::List(_)) => {}
            (What::Message(_) | What::Inline(_) | What::Json | What::Texts, other) => panic!("{path} is not {other:?}"),
            (_, TypeRef::Scalar) => {}
            (what, other) => panic!("{path}: {what:?} is not {other:?}"),
        }
    }
}

#[test]
fn every_field_of_every_kind_has_a_number_and_its_shape() {
    let mut seen = BTreeSet::new();
    for kind in kinds::ALL {
        let message = find(&kind.api_version(), kind.kind).unwrap_or_else(|| panic!("{} is in the table", kind.kind));
        let definition = schema::root(kind).definition().expect("a kind is an object");
        compare(message, definition, &mut seen);
    }
    assert!(seen.len() > 200, "{} types are compared", seen.len());
}

#[test]
fn kinds_without_a_row_are_known() {
    for (api_version, kind) in [
        ("v1", "Binding"),
        ("policy/v1", "Eviction"),
        ("autoscaling/v1", "Scale"),
        ("apps/v1", "DeleteOptions"),
        ("authentication.k8s.io/v1", "SelfSubjectReview"),
        ("authentication.k8s.io/v1", "TokenRequest"),
        ("authentication.k8s.io/v1", "TokenReview"),
        ("authorization.k8s.io/v1", "LocalSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview"),
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview"),
        ("authorization.k8s.io/v1", "SubjectAccessReview"),
    ] {
        assert!(find(api_version, kind).is_some(), "{api_version} {kind}");
    }
    assert_eq!(find("apps/v9", "Deployment"), None);
}

#[test]
fn numbers_and_names_are_unique_and_no_message_contains_itself() {
    fn depth(message: MessageId, above: &mut Vec<MessageId>) -> usize {
        assert!(!above.contains(&message), "{message:?} contains itself");
        above.push(message);
        let inner = fields(message).iter().filter_map(|field| match field.what {
            What::Message(inner) | What::Inline(inner) => Some(depth(inner, above)),
            _ => None,
        });
        let deepest = inner.max().unwrap_or(0);
        above.pop();
        deepest + 1
    }
    let mut deepest = 0;
    for message in PARSED.ids.values() {
        let numbers: BTreeSet<u32> = fields(*message).iter().map(|field| field.number).collect();
        assert_eq!(numbers.len(), fields(*message).len());
        let names: BTreeSet<&str> = flat(*message).iter().map(|field| field.name).collect();
        assert_eq!(names.len(), flat(*message).len());
        deepest = deepest.max(depth(*message, &mut Vec::new()));
    }
    assert!((8..32).contains(&deepest), "{deepest} levels");
}
