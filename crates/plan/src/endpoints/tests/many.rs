//! More addresses than one object holds.

use super::*;

fn many(count: usize) -> Vec<Arc<Pod>> {
    (0..count).map(|n| pod(&format!("web-{n}"), &format!("10.0.{}.{}", n / 200, n % 200 + 1), "True")).collect()
}

#[test]
fn slices_hold_a_hundred_and_a_change_touches_as_few_as_possible() {
    let mut world = World::default();
    let mut shown = world.settle(&headless(), &many(250));
    shown += "-- one more\n";
    shown += &world.settle(&headless(), &many(251));
    shown += "-- one less, one other\n";
    let mut pods = many(251);
    pods.remove(0);
    pods.push(pod("other", "10.9.9.9", "True"));
    shown += &world.settle(&headless(), &pods);
    shown += "-- one less, two others\n";
    pods.remove(0);
    pods.extend([pod("second", "10.9.9.8", "True"), pod("third", "10.9.9.7", "True")]);
    shown += &world.settle(&headless(), &pods);
    expect![[r#"
        create slice web-1 IPv4 [80] 100 endpoints
        create slice web-2 IPv4 [80] 100 endpoints
        create slice web-3 IPv4 [80] 50 endpoints
        endpoints {80 ready=250 addresses not=} []
        -- one more
        update slice web-3 IPv4 [80] 51 endpoints
        endpoints {80 ready=251 addresses not=} []
        -- one less, one other
        update slice web-1 IPv4 [80] 100 endpoints
        endpoints {80 ready=251 addresses not=} []
        -- one less, two others
        update slice web-2 IPv4 [80] 100 endpoints
        update slice web-3 IPv4 [80] 52 endpoints
        endpoints {80 ready=252 addresses not=} []
    "#]]
    .assert_eq(&shown);
}

#[test]
fn beyond_a_thousand_addresses_the_old_kind_is_cut_and_says_so() {
    let mut world = World::default();
    let mut pods = many(990);
    pods.extend((0..30).map(|n| pod(&format!("slow-{n}"), &format!("10.8.0.{}", n + 1), "False")));
    world.settle(&headless(), &pods);
    expect![[r#"{80 ready=990 addresses not=10 addresses} ["truncated"]"#]]
        .assert_eq(&show_endpoints(world.endpoints.as_ref().expect("made")));
    world.settle(&headless(), &many(1000));
    expect!["{80 ready=1000 addresses not=} []"].assert_eq(&show_endpoints(&world.endpoints.expect("made")));
}

#[test]
fn each_group_of_ports_keeps_its_share_of_a_thousand_addresses() {
    let spec = json!({"clusterIP": "10.96.1.1", "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}]});
    let on = |port: i32, count: usize, net: u8, ready: &str| {
        (0..count)
            .map(|n| {
                let made = pod(&format!("p{port}-{net}-{n}"), &format!("10.{net}.{}.{}", n / 200, n % 200 + 1), ready);
                Arc::new(changed(&made, |pod| {
                    let ports = pod.spec.get_or_insert_default().containers[0].ports.as_mut();
                    ports.expect("ports")[0].container_port = port;
                }))
            })
            .collect::<Vec<_>>()
    };
    let shown = |pods: &[Arc<Pod>]| {
        let mut world = World::default();
        world.settle(&service(spec.clone()), pods);
        let endpoints = world.endpoints.expect("made");
        let count = |list: &Option<Vec<k8s_openapi::api::core::v1::EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
        let subsets = endpoints.subsets.unwrap_or_default();
        let counts = subsets.iter().map(|subset| (count(&subset.addresses), count(&subset.not_ready_addresses)));
        (counts.collect::<Vec<_>>(), endpoints.metadata.annotations.is_some())
    };
    let too_many_ready = [on(1, 300, 1, "True"), on(2, 900, 2, "True"), on(3, 9, 3, "False")].concat();
    assert_eq!(shown(&too_many_ready), (vec![(250, 0), (750, 0)], true));
    let too_many_unready = [on(1, 400, 1, "True"), on(1, 600, 2, "False"), on(2, 300, 3, "False")].concat();
    assert_eq!(shown(&too_many_unready), (vec![(400, 400), (0, 200)], true));
    let just_ready = [on(1, 1000, 1, "True"), on(2, 5, 2, "False")].concat();
    assert_eq!(shown(&just_ready), (vec![(1000, 0)], true));
    let just_enough = [on(1, 500, 1, "True"), on(2, 500, 2, "False")].concat();
    assert_eq!(shown(&just_enough), (vec![(500, 0), (0, 500)], false));
}
