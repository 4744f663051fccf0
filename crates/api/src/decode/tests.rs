//! Bodies as clients send them: accepted, refused, and reported field by field.

use expect_test::{Expect, expect};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use proptest::prelude::*;

use super::*;
use crate::registry::{Spec, kind_of};

fn json<T: Spec>(body: &str) -> Result<Decoded, DecodeError> {
    decode(kind_of::<T>(), body.as_bytes(), Format::Json)
}

fn check_refusal<T: Spec>(body: &str, expected: Expect) {
    expected.assert_eq(&json::<T>(body).unwrap_err().to_string());
}

fn check_wire<T: Spec>(body: &str, expected: Expect) {
    let decoded = json::<T>(body).unwrap();
    expected.assert_eq(&String::from_utf8(decoded.object.to_json()).unwrap());
}

#[test]
fn unknown_and_duplicate_fields_are_named_by_path() {
    let body = r#"{"metadata":{"name":"web","unknownMeta":1,"name":"web"},"foo":{"bar":1},"spec":{"replicas":1,"replicas":2,"replicas":3,
        "template":{"spec":{"containers":[{"name":"a"},{"name":"b","iamge":"x","ports":[{"containerport":1}]}]}},"unknownField":[]},"status":{}}"#;
    let decoded = json::<StatefulSet>(body).unwrap();
    expect![[r#"
        unknown field "metadata.unknownMeta"
        unknown field "foo"
        unknown field "spec.template.spec.containers[1].iamge"
        unknown field "spec.template.spec.containers[1].ports[0].containerport"
        unknown field "spec.unknownField"
        duplicate field "metadata.name"
        duplicate field "spec.replicas""#]]
    .assert_eq(&decoded.complaints().join("\n"));
    assert_eq!(
        decoded.object.get::<StatefulSet>().unwrap().spec.as_ref().unwrap().replicas,
        Some(3),
        "the last one counts"
    );

    let yaml = "metadata: {name: a}\ndata:\n  k: x\n  k: y\n  8080: z\n";
    let decoded = decode(kind_of::<ConfigMap>(), yaml.as_bytes(), Format::Yaml).unwrap();
    assert_eq!(decoded.complaints(), ["duplicate field \"data.k\""]);
    assert_eq!(decoded.object.get::<ConfigMap>().unwrap().data.as_ref().unwrap()["8080"], "z");
}

#[test]
fn a_yaml_body_whose_aliases_say_far_more_than_it_holds_is_refused() {
    let rest = (1..40).map(|n| format!("  k{n}: [*a, *a, *a]\n")).collect::<String>();
    let with = |text: &str| format!("metadata: {{name: a}}\ndata:\n  k: &a {text}\n{rest}");
    let refused = decode(kind_of::<ConfigMap>(), with(&"x".repeat(100_000)).as_bytes(), Format::Yaml).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("error converting YAML to JSON: yaml: "), "{text}");
    assert!(text.contains("document contains excessive aliasing"), "{text}");
    let harmless = "metadata: {name: &a x}\ndata: {k: *a}\n";
    let decoded = decode(kind_of::<ConfigMap>(), harmless.as_bytes(), Format::Yaml).unwrap();
    assert_eq!(decoded.object.get::<ConfigMap>().unwrap().data.as_ref().unwrap()["k"], "x");
}

#[test]
fn a_body_full_of_mistakes_is_not_repeated_back_in_full() {
    let fields: Vec<String> = (0..1000).map(|index| format!("\"x{index}\":1,\"x{index}\":2")).collect();
    let decoded = json::<Pod>(&format!("{{{}}}", fields.join(","))).unwrap();
    assert_eq!((decoded.unknown.len(), decoded.duplicate.len()), (100, 100));
}

#[test]
fn what_go_leaves_out_is_harmless() {
    check_wire::<Pod>(
        r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","creationTimestamp":null,"labels":{},"ownerReferences":[]},
            "spec":{"containers":null,"volumes":[],"nodeSelector":null,"hostNetwork":null,"priority":null},"status":{}}"#,
        expect![[r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[]},"status":{}}"#]],
    );
    check_wire::<ConfigMap>(
        r#"{"metadata":{"name":"a","annotations":{"k":null}},"data":null}"#,
        expect![[r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"annotations":{"k":""},"name":"a"}}"#]],
    );
}

#[test]
fn quantities_and_times_become_canonical() {
    check_wire::<Pod>(
        r#"{"metadata":{"name":"a","creationTimestamp":"2024-02-29T12:00:00.5+02:00"},"spec":{"containers":[{"name":"c","resources":{
            "limits":{"cpu":1,"memory":"1024Mi","ephemeral-storage":0.5},"requests":{"cpu":"1000m"}},
            "readinessProbe":{"tcpSocket":{"port":6333}},"livenessProbe":{"httpGet":{"port":"http"}}}]}}"#,
        expect![[
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{"creationTimestamp":"2024-02-29T10:00:00Z","name":"a"},"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":"http"}},"name":"c","readinessProbe":{"tcpSocket":{"port":6333}},"resources":{"limits":{"cpu":"1","ephemeral-storage":"500m","memory":"1Gi"},"requests":{"cpu":"1"}}}]}}"#
        ]],
    );
    check_wire::<Event>(
        r#"{"metadata":{"name":"a"},"involvedObject":{"kind":"Pod"},"eventTime":"2024-02-29T12:00:00.123456789Z"}"#,
        expect![[
            r#"{"apiVersion":"v1","kind":"Event","eventTime":"2024-02-29T12:00:00.123456Z","involvedObject":{"kind":"Pod"},"metadata":{"name":"a"}}"#
        ]],
    );
}

#[test]
fn claim_templates_may_name_any_type() {
    check_wire::<StatefulSet>(
        r#"{"metadata":{"name":"a"},"spec":{"selector":{},"template":{},"volumeClaimTemplates":[{"apiVersion":"v9","kind":"Claim","metadata":{"name":"data"}}]}}"#,
        expect![[
            r#"{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"a"},"spec":{"selector":{},"template":{},"volumeClaimTemplates":[{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"data"}}]}}"#
        ]],
    );
}

#[test]
fn another_type_is_refused() {
    check_refusal::<StatefulSet>(
        r#"{"apiVersion":"apps/v1beta1","kind":"StatefulSet"}"#,
        expect!["the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"],
    );
    check_refusal::<Pod>(
        r#"{"apiVersion":"v1","kind":"Service"}"#,
        expect![[
            r#"Service in version "v1" cannot be handled as a Pod: converting (v1.Service) to (core.Pod): unknown conversion"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"apiVersion":"v1","kind":"Pot"}"#,
        expect![[
            r#"Pot in version "v1" cannot be handled as a Pod: no kind "Pot" is registered for version "v1" in scheme "pkg/api/legacyscheme/scheme.go:30""#
        ]],
    );
}

#[test]
fn what_cannot_be_read_says_so() {
    check_refusal::<Pod>(
        "",
        expect![
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"
        ],
    );
    check_refusal::<Pod>(
        r#"{"metadata":"#,
        expect![[
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"metadata":)"#
        ]],
    );
    check_refusal::<Pod>(
        "hello",
        expect![
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: expected value at line 1 column 1 (68656c6c6f)"
        ],
    );
    check_refusal::<Pod>(
        "[1]",
        expect![[
            r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b315d)"#
        ]],
    );
    let deep = "[".repeat(100_000);
    assert!(json::<Pod>(&deep).is_err());
}

#[test]
fn wrong_types_use_the_words_of_go() {
    check_refusal::<StatefulSet>(
        r#"{"spec":{"replicas":"3"}}"#,
        expect![[
            r#"StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal string into Go struct field StatefulSetSpec.spec.replicas of type int32"#
        ]],
    );
    check_refusal::<StatefulSet>(
        r#"{"spec":{"replicas":1.5}}"#,
        expect![[
            r#"StatefulSet in version "v1" cannot be handled as a StatefulSet: json: cannot unmarshal number 1.5 into Go struct field StatefulSetSpec.spec.replicas of type int32"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"spec":{"containers":[{"env":[{"name":"A","value":1}]}]}}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"metadata":{"labels":{"a":true}}}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"spec":{"containers":{}}}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"spec":"x"}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"lots"}}}]}}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
        ]],
    );
    check_refusal::<Pod>(
        r#"{"metadata":{"creationTimestamp":"soon"}}"#,
        expect![[
            r#"Pod in version "v1" cannot be handled as a Pod: parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#
        ]],
    );
}

fn arbitrary_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.:-]{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("labels"),
        Just("containers"),
        Just("replicas"),
        Just("template"),
        Just("selector"),
        Just("matchLabels"),
        Just("resources"),
        Just("limits"),
        Just("cpu"),
        Just("ports"),
        Just("containerPort"),
        Just("updateStrategy"),
        Just("volumeClaimTemplates"),
        Just("env"),
        Just("value"),
        Just("x"),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    /// Whatever is accepted comes back the same from its own wire form, by either decoder.
    #[test]
    fn the_wire_form_is_a_fixed_point(value in arbitrary_value()) {
        let kind = kind_of::<StatefulSet>();
        if let Ok(decoded) = decode(kind, value.to_string().as_bytes(), Format::Json) {
            let wire = decoded.object.to_json();
            let again = decode(kind, &wire, Format::Json).unwrap();
            prop_assert_eq!(&again.object.to_json(), &wire);
            prop_assert_eq!(again.complaints(), Vec::<String>::new());
            let stored = decode_stored(kind, &wire).unwrap();
            prop_assert_eq!(stored.to_json(), wire);
        }
    }
}

/// Whether a body is read the plain way; if so, the lenient way must have nothing to add.
fn check_both_ways<T: Spec>(body: &str) -> bool {
    let kind = kind_of::<T>();
    let Some(mut object) = (kind.from_plain)(body, Origin::Client) else { return false };
    drop_empty_maps(&mut object);
    let lenient = decode_leniently(kind, body.as_bytes(), Format::Json).unwrap();
    assert_eq!(lenient.complaints(), Vec::<String>::new(), "{body}");
    assert_eq!(lenient.object, object, "{body}");
    true
}

#[test]
fn usual_bodies_are_read_the_plain_way_and_mean_the_same() {
    for body in [
        r#"{"metadata":{"name":"a","labels":{"b":"1","a":"2"},"creationTimestamp":"2024-01-02T03:04:05Z"},"spec":{"containers":[]}}"#,
        r#" { "kind" : "Pod", "apiVersion": "v1",
             "spec": {"nodeName": null, "volumes": [ ], "containers": [{"name": "a\n\u00e9", "image": "é", "stdin": true,
             "resources": {"limits": {"cpu": "1000m", "memory": " 1024Mi"}}, "ports": [{"containerPort": 0}, {"containerPort": -7}],
             "readinessProbe": {"tcpSocket": {"port": "api"}}, "livenessProbe": {"tcpSocket": {"port": 80}}}]}, "metadata": {} } "#,
    ] {
        assert!(check_both_ways::<Pod>(body), "{body}");
    }
}

#[test]
fn what_is_unusual_is_left_to_the_lenient_way() {
    for body in [
        "",
        "{",
        "[]",
        "{}}",
        r#"{"spec":{"containers":[],"foo":1}}"#,
        r#"{"spec":{"containers":[],}}"#,
        r#"{"spec":{"containers":[,]}}"#,
        r#"{"spec":{"priority":1,"priority":1}}"#,
        r#"{"spec":{"priority":1.0}}"#,
        r#"{"spec":{"priority":01}}"#,
        r#"{"spec":{"priority":-0}}"#,
        r#"{"spec":{"priority":99999999999}}"#,
        r#"{"spec":{"\u0070riority":1}}"#,
        r#"{"spec":{"hostNetwork":truer}}"#,
        "{\"spec\":{\"nodeName\":\"a\nb\"}}",
        r#"{"spec":{"nodeName":"a\x"}}"#,
        r#"{"spec":{"nodeName":"a"#,
        r#"{"spec":{"nodeName":"a\"#,
        r#"{"metadata":{"labels":{"a":"1","c":"1","b":"1","c":"2"}}}"#,
        r#"{"metadata":{"creationTimestamp":"2024-01-02T03:04:05.5Z"}}"#,
        r#"{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{}}}]}}"#,
        r#"{"spec":{"containers":[{"name":"a","resources":{"limits":{"cpu":1}}}]}}"#,
        r#"{"kind":"Pods"}"#,
        r#"{"apiVersion":"v2"}"#,
    ] {
        assert!(!check_both_ways::<Pod>(body), "{body}");
    }
}

#[test]
fn what_is_very_deep_is_left_to_the_lenient_way() {
    let (open, close) = ((r#"{"a":"#).repeat(100_000), "}".repeat(100_000));
    assert!(read_plain::<serde_json::Value>(&format!("{open}0{close}"), Origin::Client).is_none());
    #[derive(serde::Deserialize)]
    struct Nested {
        #[serde(rename = "a")]
        _inner: Option<Box<Nested>>,
    }
    let nested = |levels: usize| format!("{}null{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    assert!(read_plain::<Nested>(&nested(60), Origin::Client).is_some());
    assert!(read_plain::<Nested>(&nested(100_000), Origin::Client).is_none());
}

proptest! {
    /// Either way of reading gives the same object.
    #[test]
    fn the_plain_and_the_lenient_way_agree(value in arbitrary_value()) {
        check_both_ways::<StatefulSet>(&value.to_string());
        check_both_ways::<Pod>(&value.to_string());
    }
}
