//! Bodies built byte by byte, as the clients' encoder does: non-pointer fields are always there, zero or not.

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::decode::{Format, decode, decode_as, parse};
use crate::registry::find_kind;

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn int(number: u32, value: i64) -> Vec<u8> {
    [varint(u64::from(number) << 3), varint(value.cast_unsigned())].concat()
}

fn bytes(number: u32, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [varint(u64::from(number) << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn message(number: u32, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(number, fields.concat())
}

fn entry(number: u32, key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    message(number, &[bytes(1, key), bytes(2, value)])
}

/// A whole body.
fn body(api_version: &str, kind: &str, object: &[Vec<u8>]) -> Vec<u8> {
    let type_meta = message(1, &[bytes(1, api_version), bytes(2, kind)]);
    [MAGIC.to_vec(), type_meta, message(2, object), bytes(3, ""), bytes(4, "")].concat()
}

/// Metadata as a client sends them with a new object.
fn metadata(name: &str, more: &[Vec<u8>]) -> Vec<u8> {
    let empty = [bytes(2, ""), bytes(3, ""), bytes(4, ""), bytes(5, ""), bytes(6, ""), int(7, 0), bytes(8, "")];
    message(1, &[bytes(1, name), empty.concat(), more.concat()])
}

fn int_or_string(number: u32, kind: i64, value: i64, text: &str) -> Vec<u8> {
    message(number, &[int(1, kind), int(2, value), bytes(3, text)])
}

fn read(body: &[u8]) -> Value {
    Envelope::open(body).unwrap().read().unwrap()
}

fn check(body: &[u8], expected: Expect) {
    expected.assert_eq(&serde_json::to_string_pretty(&read(body)).unwrap());
}

#[test]
fn a_deployment_scaled_to_nothing_stays_so() {
    let container = [bytes(1, "web"), bytes(2, "nginx"), bytes(5, ""), message(8, &[]), bytes(13, ""), int(16, 0)];
    let pod = [message(2, &container), bytes(3, ""), int(4, 0), bytes(6, ""), int(11, 0), int(12, 0), bytes(19, "")];
    let template = [metadata("", &[entry(11, "app", "web")]), message(2, &pod)];
    let surge = message(2, &[int_or_string(1, 1, 0, "25%"), int_or_string(2, 0, 0, "")]);
    let spec = [
        int(1, 0),
        message(2, &[entry(1, "app", "web")]),
        message(3, &template),
        message(4, &[bytes(1, ""), surge]),
        int(5, 0),
        int(7, 0),
    ];
    let status = message(3, &[int(1, 0), int(2, 0), int(3, 0)]);
    let deployment = body("apps/v1", "Deployment", &[metadata("web", &[]), message(2, &spec), status]);
    check(
        &deployment,
        expect![[r#"
            {
              "apiVersion": "apps/v1",
              "kind": "Deployment",
              "metadata": {
                "name": "web"
              },
              "spec": {
                "replicas": 0,
                "selector": {
                  "matchLabels": {
                    "app": "web"
                  }
                },
                "template": {
                  "metadata": {
                    "labels": {
                      "app": "web"
                    }
                  },
                  "spec": {
                    "containers": [
                      {
                        "name": "web",
                        "image": "nginx",
                        "resources": {}
                      }
                    ],
                    "terminationGracePeriodSeconds": 0
                  }
                },
                "strategy": {
                  "rollingUpdate": {
                    "maxUnavailable": "25%",
                    "maxSurge": 0
                  }
                }
              },
              "status": {}
            }"#]],
    );
    let kind = find_kind("apps", "v1", "Deployment").unwrap();
    let decoded = decode(kind, &deployment, Format::Protobuf).unwrap();
    assert_eq!(decoded.complaints(), Vec::<String>::new());
}

#[test]
fn a_service_has_no_node_port_but_its_target() {
    let port = [bytes(1, "http"), bytes(2, "TCP"), int(3, 80), int_or_string(4, 0, 8080, ""), int(5, 0)];
    let spec =
        [message(1, &port), entry(2, "app", "web"), bytes(3, ""), bytes(4, ""), bytes(7, ""), int(12, 0), int(13, 0)];
    let service = body("v1", "Service", &[metadata("web", &[]), message(2, &spec), message(3, &[message(1, &[])])]);
    let expected = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "status": {"loadBalancer": {}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]},
    });
    assert_eq!(read(&service), expected);
}

#[test]
fn bytes_are_base64_and_quantities_are_text() {
    let data = [entry(2, "password", "pass\0word"), message(2, &[bytes(1, "empty")]), bytes(3, "Opaque"), int(5, 0)];
    let secret = body("v1", "Secret", &[[metadata("s", &[])].as_slice(), &data].concat());
    let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "data": {"password": "cGFzcwB3b3Jk", "empty": ""}, "type": "Opaque", "immutable": false});
    assert_eq!(read(&secret), expected);

    let spec = [entry(1, "pods", bytes(1, "10")), entry(1, "cpu", bytes(1, "500m")), entry(1, "memory", "")];
    let quota = body("v1", "ResourceQuota", &[metadata("q", &[]), message(2, &spec)]);
    assert_eq!(read(&quota)["spec"], json!({"hard": {"pods": "10", "cpu": "500m", "memory": "0"}}));
}

#[test]
fn the_zero_time_is_none_and_1970_is_one() {
    let renewed = [bytes(1, "me"), int(2, 0), message(4, &[int(1, 0), int(2, 1_500)]), int(5, 0), bytes(7, "")];
    let lease = body("coordination.k8s.io/v1", "Lease", &[metadata("l", &[bytes(8, "")]), message(2, &renewed)]);
    assert_eq!(
        read(&lease)["spec"],
        json!({"holderIdentity": "me", "leaseDurationSeconds": 0, "renewTime": "1970-01-01T00:00:00.0000015Z",
            "leaseTransitions": 0, "preferredHolder": ""})
    );
    assert_eq!(read(&lease)["metadata"], json!({"name": "l"}));
    let decoded = decode(find_kind("coordination.k8s.io", "v1", "Lease").unwrap(), &lease, Format::Protobuf).unwrap();
    let text = String::from_utf8(decoded.object.to_json()).unwrap();
    assert!(text.contains(r#""renewTime":"1970-01-01T00:00:00.000001Z""#), "{text}");
}

#[test]
fn inlined_messages_lie_among_the_holders_fields() {
    let get = message(2, &[bytes(1, "/ready"), int_or_string(2, 1, 0, "http"), bytes(3, ""), bytes(4, "")]);
    let probe = message(11, &[message(1, &[get]), int(2, 5), int(3, 0)]);
    let reference = message(3, &[message(1, &[bytes(1, "config")]), bytes(2, "mode"), int(3, 0)]);
    let variable = message(7, &[bytes(1, "MODE"), bytes(2, ""), message(3, &[reference])]);
    let volume = message(1, &[bytes(1, "data"), message(2, &[message(2, &[bytes(1, "")])])]);
    let spec = [volume, message(2, &[bytes(1, "c"), variable, probe])];
    let pod = body("v1", "Pod", &[metadata("p", &[]), message(2, &spec)]);
    let expected = json!({
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [{
            "name": "c",
            "env": [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "mode", "optional": false}}}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "initialDelaySeconds": 5},
        }],
    });
    assert_eq!(read(&pod)["spec"], expected);
}

#[test]
fn numbers_in_lists_may_be_packed() {
    let groups = |numbers: &[Vec<u8>]| {
        let security = message(14, &[numbers.concat(), int(2, 0), int(3, -1)]);
        read(&body("v1", "Pod", &[message(2, &[security])]))["spec"]["securityContext"].clone()
    };
    let expected = json!({"supplementalGroups": [1, 300, 0], "runAsUser": 0, "runAsNonRoot": true});
    assert_eq!(groups(&[int(4, 1), int(4, 300), int(4, 0)]), expected);
    assert_eq!(groups(&[bytes(4, [varint(1), varint(300), varint(0)].concat())]), expected);
}

#[test]
fn embedded_json_is_json() {
    let data = message(2, &[bytes(1, br#"{"spec":{"replicas":1}}"#)]);
    let revision = body("apps/v1", "ControllerRevision", &[metadata("r", &[]), data, int(3, 7)]);
    assert_eq!(read(&revision)["data"], json!({"spec": {"replicas": 1}}));
    assert_eq!(read(&revision)["revision"], 7);
    let empty = body("apps/v1", "ControllerRevision", &[metadata("r", &[]), message(2, &[]), int(3, 7)]);
    assert_eq!(read(&empty).get("data"), None);
}

#[test]
fn what_comes_twice_is_merged_or_replaced() {
    let twice =
        [message(1, &[bytes(1, "a"), bytes(3, "ns")]), message(1, &[bytes(1, "b"), bytes(3, ""), entry(11, "k", "v")])];
    let map = read(&body("v1", "ConfigMap", &[twice.concat(), entry(2, "k", "old"), entry(2, "k", "new")]));
    assert_eq!(map["metadata"], json!({"name": "b", "labels": {"k": "v"}}));
    assert_eq!(map["data"], json!({"k": "new"}));
}

#[test]
fn delete_options_are_the_same_in_every_group() {
    let fields = [int(1, 0), message(2, &[bytes(1, "u-1")]), bytes(4, "Foreground"), bytes(5, "All")];
    let (value, _) = parse(&body("batch/v1", "DeleteOptions", &fields), Format::Protobuf).unwrap();
    let (options, _): (DeleteOptions, _) = decode_as(value).unwrap();
    assert_eq!(options.grace_period_seconds, Some(0));
    assert_eq!(options.preconditions.unwrap().uid.as_deref(), Some("u-1"));
    assert_eq!(options.propagation_policy.as_deref(), Some("Foreground"));
    assert_eq!(options.dry_run, Some(vec!["All".to_owned()]));
}

#[test]
fn an_envelope_without_a_type_takes_that_of_the_path() {
    let kind = find_kind("", "v1", "ConfigMap").unwrap();
    let untyped = [MAGIC.to_vec(), message(2, &[metadata("a", &[])])].concat();
    let decoded = decode(kind, &untyped, Format::Protobuf).unwrap();
    assert_eq!(decoded.object.metadata().name.as_deref(), Some("a"));
    let error = parse(&untyped, Format::Protobuf).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"no kind "" is registered for version "" in scheme "pkg/api/legacyscheme/scheme.go:30""#
    );
}

#[test]
fn what_cannot_be_read_is_refused() {
    let refusal =
        |body: &[u8]| decode(find_kind("", "v1", "Pod").unwrap(), body, Format::Protobuf).unwrap_err().to_string();
    let pod = |field: Vec<u8>| body("v1", "Pod", &[field]);
    let refusals = [
        refusal(b""),
        refusal(b"{}"),
        refusal(MAGIC),
        refusal(b"k8s\0\x0a\x7f"),
        refusal(&pod(vec![0x0a])),
        refusal(&pod(int(1, 7))),
        refusal(&pod(message(1, &[bytes(1, [0xff])]))),
        refusal(&pod(message(1, &[message(8, &[int(1, i64::MAX)])]))),
        refusal(&pod(message(1, &[message(8, &[int(1, 0), int(2, i64::MAX)])]))),
        refusal(&body("v1", "Pud", &[])),
        refusal(&body("v1", "ConfigMap", &[])),
        refusal(&body("apps/v1", "Deployment", &[])),
    ];
    expect![[r#"
        the object provided is unrecognized (must be of type Pod): empty data (<empty>)
        the object provided is unrecognized (must be of type Pod): provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})
        the object provided is unrecognized (must be of type Pod): empty body (6b387300)
        the object provided is unrecognized (must be of type Pod): unexpected EOF (6b3873000a7f)
        Pod in version "v1" cannot be handled as a Pod: unexpected EOF
        Pod in version "v1" cannot be handled as a Pod: proto: wrong wireType = 0 for field metadata
        Pod in version "v1" cannot be handled as a Pod: proto: field name contains invalid UTF-8
        Pod in version "v1" cannot be handled as a Pod: proto: field creationTimestamp is not a time: parameter 'Unix timestamp seconds' is not in the required range of -377705023201..=253402207200
        Pod in version "v1" cannot be handled as a Pod: proto: integer overflow in field creationTimestamp
        Pud in version "v1" cannot be handled as a Pod: no kind "Pud" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30"
        ConfigMap in version "v1" cannot be handled as a Pod: converting (v1.ConfigMap) to (core.Pod): unknown conversion
        the API version in the data (apps/v1) does not match the expected API version (v1)
    "#]]
    .assert_eq(&(refusals.join("\n") + "\n"));
}

/// Every kind, and what has no row.
fn any_type() -> impl Strategy<Value = (String, &'static str)> {
    let rows = crate::kinds::ALL.iter().map(|kind| (kind.api_version(), kind.kind));
    let all: Vec<_> = rows.chain([("v1".to_owned(), "DeleteOptions"), ("policy/v1".to_owned(), "Eviction")]).collect();
    proptest::sample::select(all)
}

/// Bytes that often look like fields, nested.
fn any_fields() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        (1..30_u32, any::<i64>()).prop_map(|(number, value)| int(number, value)),
        (1..30_u32, ".{0,8}").prop_map(|(number, text)| bytes(number, text)),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        (1..12_u32, proptest::collection::vec(inner, 0..6)).prop_map(|(number, fields)| message(number, &fields))
    })
}

proptest! {
    #[test]
    fn garbage_is_refused_or_read_but_never_breaks(garbage in proptest::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(garbage.starts_with(MAGIC) || Envelope::open(&garbage).is_err());
        if let Ok((value, _)) = parse(&[MAGIC.as_slice(), &garbage].concat(), Format::Protobuf) {
            prop_assert!(value.is_object());
        }
    }

    #[test]
    fn fields_of_any_shape_are_refused_or_read((api_version, kind) in any_type(), fields in proptest::collection::vec(any_fields(), 0..6)) {
        let body = body(&api_version, kind, &fields);
        if let Ok(value) = Envelope::open(&body).unwrap().read() {
            prop_assert_eq!(&value["kind"], kind);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        if let Some(row) = find_kind(group, version, kind) && let Ok(decoded) = decode(row, &body, Format::Protobuf) {
            // The numbers lead to names that the types know.
            prop_assert_eq!(decoded.complaints(), Vec::<String>::new());
        }
    }

    #[test]
    fn a_body_cut_short_never_passes_for_the_whole(cut in 1..40_usize) {
        let whole = body("v1", "ConfigMap", &[metadata("name", &[]), entry(2, "key", "value")]);
        let (value, cut) = (read(&whole), whole.len().saturating_sub(cut));
        let read = Envelope::open(&whole[..cut]).ok().and_then(|envelope| envelope.read().ok());
        // The last four bytes are the two empty fields of the envelope, which say nothing.
        prop_assert!(read.is_none() || whole.len() - cut <= 4 || read != Some(value));
    }
}
