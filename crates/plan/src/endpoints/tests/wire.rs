//! What is written in full, and what is read off pods and Services.

use super::*;

#[test]
fn slices_and_endpoints_are_written_in_full() {
    let pods = [pod("web-0", "10.0.0.1", "True"), pod("web-1", "10.0.0.2", "False")];
    let trigger = "2026-01-01T00:03:00Z".parse().ok();
    let service = headless();
    let plan = plan(&Observed { service: &service, pods: &pods, node: &node, slices: &[], endpoints: None, trigger });
    let [SliceAction::Create(slice)] = &plan.slices[..] else { panic!("one new slice: {:?}", plan.slices) };
    let Some(EndpointsAction::Create(endpoints)) = &plan.endpoints else { panic!("new Endpoints") };
    expect![[r#"
        [
          {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "addressType": "IPv4",
            "endpoints": [
              {
                "addresses": [
                  "10.0.0.1"
                ],
                "conditions": {
                  "ready": true,
                  "serving": true,
                  "terminating": false
                },
                "hostname": "web-0",
                "nodeName": "n1",
                "targetRef": {
                  "kind": "Pod",
                  "name": "web-0",
                  "namespace": "ns",
                  "uid": "uid-web-0"
                },
                "zone": "z1"
              },
              {
                "addresses": [
                  "10.0.0.2"
                ],
                "conditions": {
                  "ready": false,
                  "serving": false,
                  "terminating": false
                },
                "hostname": "web-1",
                "nodeName": "n1",
                "targetRef": {
                  "kind": "Pod",
                  "name": "web-1",
                  "namespace": "ns",
                  "uid": "uid-web-1"
                },
                "zone": "z1"
              }
            ],
            "metadata": {
              "annotations": {
                "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:03:00Z"
              },
              "generateName": "web-",
              "labels": {
                "app": "web",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "kubernetes.io/service-name": "web",
                "service.kubernetes.io/headless": ""
              },
              "namespace": "ns",
              "ownerReferences": [
                {
                  "apiVersion": "v1",
                  "blockOwnerDeletion": true,
                  "controller": true,
                  "kind": "Service",
                  "name": "web",
                  "uid": "svc-1"
                }
              ]
            },
            "ports": [
              {
                "name": "http",
                "port": 80,
                "protocol": "TCP"
              }
            ]
          },
          {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
              "annotations": {
                "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:03:00Z"
              },
              "labels": {
                "app": "web",
                "endpoints.kubernetes.io/managed-by": "endpoint-controller",
                "service.kubernetes.io/headless": ""
              },
              "name": "web",
              "namespace": "ns"
            },
            "subsets": [
              {
                "addresses": [
                  {
                    "hostname": "web-0",
                    "ip": "10.0.0.1",
                    "nodeName": "n1",
                    "targetRef": {
                      "kind": "Pod",
                      "name": "web-0",
                      "namespace": "ns",
                      "uid": "uid-web-0"
                    }
                  }
                ],
                "notReadyAddresses": [
                  {
                    "hostname": "web-1",
                    "ip": "10.0.0.2",
                    "nodeName": "n1",
                    "targetRef": {
                      "kind": "Pod",
                      "name": "web-1",
                      "namespace": "ns",
                      "uid": "uid-web-1"
                    }
                  }
                ],
                "ports": [
                  {
                    "name": "http",
                    "port": 80,
                    "protocol": "TCP"
                  }
                ]
              }
            ]
          }
        ]"#]]
    .assert_eq(&serde_json::to_string_pretty(&json!([slice, endpoints])).expect("they can be written"));
    // Written again without a time, they carry none.
    let mut held = Endpoints::clone(endpoints);
    held.subsets = None;
    let again = super::super::plan(&Observed {
        service: &service,
        pods: &pods,
        node: &node,
        slices: &[],
        endpoints: Some(&held),
        trigger: None,
    });
    let Some(EndpointsAction::Update(endpoints)) = again.endpoints else { panic!("they differ") };
    assert_eq!(endpoints.metadata.annotations, None);
}

#[test]
fn both_families_are_published_where_the_service_has_both() {
    let both = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "nonsense"}]);
    let dual = changed(&pod("web-0", "10.0.0.1", "True"), |pod| {
        pod.status.get_or_insert_default().pod_ips = serde_json::from_value(both).ok();
    });
    let pods = [Arc::new(dual)];
    let shown = |spec: Value| {
        let mut with = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
        spec.as_object().expect("fields").iter().for_each(|(key, value)| with[key] = value.clone());
        World::default().settle(&service(with), &pods)
    };
    expect![[r#"
        create slice web-1 IPv4 [80] 10.0.0.1 web-0 z1 ready+serving
        create slice web-2 IPv6 [80] fd00::1 web-0 z1 ready+serving
        endpoints {80 ready=10.0.0.1 not=} []
    "#]]
    .assert_eq(&shown(json!({"clusterIP": "10.96.0.1", "ipFamilies": ["IPv4", "IPv6"]})));
    expect![[r#"
        create slice web-1 IPv6 [80] fd00::1 web-0 z1 ready+serving
        endpoints {80 ready=fd00::1 not=} []
    "#]]
    .assert_eq(&shown(json!({"clusterIP": "fd00::a"})));
    expect![[r#"
        create slice web-1 IPv6 [80] fd00::1 web-0 z1 ready+serving
        endpoints {80 ready=fd00::1 not=} []
    "#]]
    .assert_eq(&shown(json!({"clusterIP": "10.96.0.1", "ipFamilies": ["IPv6"]})));
}

#[test]
fn ports_lead_where_the_service_says() {
    let spec = json!({"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [
        {"name": "a", "port": 1, "targetPort": 0},
        {"name": "b", "port": 2, "targetPort": ""},
        {"name": "c", "port": 3, "targetPort": "dns", "protocol": "UDP"},
        {"name": "d", "port": 4, "targetPort": "side"},
        {"name": "e", "port": 5, "targetPort": "dns"},
    ]});
    let containers = json!([{"name": "c", "ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]);
    let init = json!([
        {"name": "once", "ports": [{"name": "side", "containerPort": 70}]},
        {"name": "side", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 71}]},
    ]);
    let pod = changed(&pod("web-0", "10.0.0.1", "True"), |pod| {
        let spec = pod.spec.get_or_insert_default();
        spec.containers = serde_json::from_value(containers).expect("containers");
        spec.init_containers = serde_json::from_value(init).expect("containers");
    });
    let ports = members::ports(&pod, &service(spec));
    let shown: Vec<_> = ports.iter().map(|port| format!("{} {} {}", port.name, port.protocol, port.port)).collect();
    assert_eq!(shown, ["a TCP 1", "b TCP 2", "c UDP 53", "d TCP 71"], "e names a port of another protocol");
}

#[test]
fn a_service_without_a_selector_selects_nothing() {
    let pod = pod("web-0", "10.0.0.1", "True");
    assert!(selects(&headless(), &pod));
    for spec in [json!({}), json!({"selector": {}}), json!({"selector": {"app": "web", "tier": "db"}})] {
        assert!(!selects(&service(spec.clone()), &pod), "{spec}");
    }
}

#[test]
fn a_service_that_is_not_headless_is_not_called_so() {
    let label = |spec: Value| labels_of(&service(spec), &[]).contains_key(HEADLESS_LABEL);
    assert!(label(json!({})) && label(json!({"clusterIP": ""})) && label(json!({"clusterIP": "None"})));
    assert!(!label(json!({"clusterIP": "10.96.0.1"})));
}

#[test]
fn only_what_is_published_makes_a_pod_relevant() {
    let before = pod("web-0", "10.0.0.1", "True");
    let relevant = |before: &Pod, after: &Pod| is_relevant_change(Some(before), Some(after));
    assert!(!relevant(&before, &before));
    let noted = changed(&before, |pod| pod.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into()));
    assert!(!relevant(&before, &noted));
    for change in [
        (|pod| pod.metadata.uid = Some("other".to_owned())) as fn(&mut Pod),
        |pod| pod.metadata.labels = None,
        |pod| pod.status.get_or_insert_default().pod_ips = None,
        |pod| pod.status.get_or_insert_default().conditions = None,
        |pod| pod.status.get_or_insert_default().phase = Some("Failed".to_owned()),
        |pod| pod.spec.get_or_insert_default().node_name = None,
        |pod| pod.spec.get_or_insert_default().hostname = None,
        |pod| pod.spec.get_or_insert_default().subdomain = None,
    ] {
        let mut after = changed(&before, change);
        if after.status.as_ref().is_some_and(|status| status.pod_ips.is_none()) {
            after.status.get_or_insert_default().pod_ip = None;
        }
        assert!(relevant(&before, &after), "{after:?}");
    }
    assert!(relevant(&before, &pod("web-0", "10.0.0.1", "Gone")));
    assert!(is_relevant_change(None, Some(&before)) && is_relevant_change(Some(&before), None));
}

#[test]
fn a_pod_without_an_address_is_nothing_to_a_service() {
    let bare = changed(&pod("web-0", "10.0.0.1", "False"), |pod| {
        let status = pod.status.get_or_insert_default();
        (status.pod_ip, status.pod_ips) = (None, None);
    });
    let unplaced = changed(&bare, |pod| pod.spec.get_or_insert_default().node_name = None);
    let addressed = pod("web-0", "10.0.0.1", "False");
    let steps = [None, Some(&unplaced), Some(&bare), None];
    assert!(steps.windows(2).all(|step| !is_relevant_change(step[0], step[1])));
    assert!(is_relevant_change(Some(&bare), Some(&addressed)));
}

#[test]
fn endpoints_of_ours_without_a_service_are_abandoned() {
    let endpoints = |labels: Value, annotations: Value| -> Endpoints {
        serde_json::from_value(json!({"metadata": {"labels": labels, "annotations": annotations}})).expect("Endpoints")
    };
    let ours = json!({ENDPOINTS_MANAGED_BY_LABEL: ENDPOINTS_MANAGER});
    assert!(is_abandoned(&endpoints(ours.clone(), json!({}))));
    assert!(!is_abandoned(&endpoints(ours, json!({LEADER_ANNOTATION: "me"}))), "it is somebody's lock");
    assert!(!is_abandoned(&endpoints(json!({ENDPOINTS_MANAGED_BY_LABEL: "other"}), json!({}))));
    assert!(!is_abandoned(&endpoints(json!({}), json!({}))));
}
