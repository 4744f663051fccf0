//! Random lives of a set: whatever users, nodes and faults do to it, plans are deterministic, break
//! no invariant (the world checks them at every action), and once the faults stop the wanted state
//! is reached and nothing is written any more (I12).

mod world;

use k8s_openapi::api::apps::v1::StatefulSetOrdinals;
use proptest::prelude::*;
use stead_plan::pods;
use stead_plan::statefulset::REVISION_LABEL;
use world::{World, web};

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    Sync,
    Node,
    Scale(i32),
    Start(i32),
    Image(u8),
    Partition(i32),
    MinReady(i32),
    DeletePod(usize),
    DeleteClaim(usize),
    Unready(usize),
    Fail(usize),
    Orphan(usize),
    Gone(usize),
    Wait(i64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => Just(Happening::Sync),
        3 => Just(Happening::Node),
        1 => (0..5).prop_map(Happening::Scale),
        1 => (0..3).prop_map(Happening::Start),
        2 => (0..4_u8).prop_map(Happening::Image),
        1 => (0..5).prop_map(Happening::Partition),
        1 => (0..20).prop_map(Happening::MinReady),
        2 => (0..5_usize).prop_map(Happening::DeletePod),
        1 => (0..5_usize).prop_map(Happening::DeleteClaim),
        2 => (0..5_usize).prop_map(Happening::Unready),
        1 => (0..5_usize).prop_map(Happening::Fail),
        1 => (0..5_usize).prop_map(Happening::Orphan),
        2 => (0..5_usize).prop_map(Happening::Gone),
        1 => (1..30_i64).prop_map(Happening::Wait),
    ]
}

fn nth<T>(map: &std::collections::BTreeMap<String, T>, index: usize) -> Option<String> {
    map.keys().nth(index).cloned()
}

fn happen(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Sync => drop(world.sync()),
        Happening::Node => drop(world.node()),
        Happening::Scale(replicas) => world.scale(*replicas),
        Happening::Start(start) => {
            world.edit(|spec| spec.ordinals = Some(StatefulSetOrdinals { start: Some(*start) }));
        }
        Happening::Image(image) => world.image(&image.to_string()),
        Happening::Partition(partition) => world.partition(*partition),
        Happening::MinReady(seconds) => world.edit(|spec| spec.min_ready_seconds = Some(*seconds)),
        Happening::DeletePod(index) => with(nth(&world.pods, *index), |pod| world.delete_pod(&pod)),
        Happening::DeleteClaim(index) => with(nth(&world.claims, *index), |claim| world.delete_claim(&claim)),
        Happening::Unready(index) => with(nth(&world.pods, *index), |pod| world.unready(&pod)),
        Happening::Fail(index) => with(nth(&world.pods, *index), |pod| world.phase(&pod, "Failed")),
        Happening::Orphan(index) => with(nth(&world.pods, *index), |pod| world.orphan(&pod)),
        Happening::Gone(index) => with(nth(&world.pods, *index), |pod| {
            if pods::is_terminating(&world.pods[&pod]) {
                world.gone(&pod);
            }
        }),
        Happening::Wait(seconds) => world.wait_s(*seconds),
    }
}

fn with(name: Option<String>, act: impl FnOnce(String)) {
    if let Some(name) = name {
        act(name);
    }
}

/// Faults stop: nodes bring every living pod up, and time passes.
fn heal(world: &mut World) {
    for _ in 0..200 {
        world.wait_s(30);
        world.settle();
        let unready: Vec<String> = world
            .pods
            .iter()
            .filter(|(_, pod)| !pods::is_terminating(pod) && !pods::is_ready(pod) && !pods::phase(pod).is_terminal())
            .map(|(name, _)| name.clone())
            .collect();
        unready.iter().for_each(|pod| world.ready(pod));
        if !world.node() && unready.is_empty() {
            world.wait_s(30);
            if world.plan().is_empty() {
                return;
            }
        }
    }
    panic!("never at rest: {:#?}", world.plan());
}

fn check_rest(world: &World) {
    let spec = world.set.spec.clone().unwrap_or_default();
    let status = world.set.status.clone().unwrap_or_default();
    let start = spec.ordinals.and_then(|ordinals| ordinals.start).unwrap_or(0);
    let replicas = spec.replicas.unwrap_or(1);
    let partition = spec.update_strategy.and_then(|strategy| strategy.rolling_update?.partition).unwrap_or(0);
    let wanted: Vec<String> = (start..start + replicas).map(|ordinal| format!("web-{ordinal}")).collect();
    assert_eq!(world.pods.keys().cloned().collect::<Vec<_>>(), wanted, "exactly the wanted replicas");
    for (offset, name) in wanted.iter().enumerate() {
        let pod = &world.pods[name];
        assert!(pods::is_ready(pod));
        let labels = pod.metadata.labels.as_ref().expect("pods have labels");
        if i32::try_from(offset).expect("few replicas") >= partition {
            assert_eq!(labels.get(REVISION_LABEL), status.update_revision.as_ref(), "{name} is updated");
        }
        let claim = &world.claims[&format!("data-{name}")];
        assert!(claim.metadata.deletion_timestamp.is_none() || claim.metadata.uid.is_some());
    }
    assert_eq!((status.replicas, status.ready_replicas.unwrap_or(0)), (replicas, replicas));
    assert_eq!(status.available_replicas, Some(replicas));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_ends_in_the_wanted_state(
        parallel in any::<bool>(),
        replicas in 0..4,
        life in prop::collection::vec(happening(), 0..40),
    ) {
        let mut set = web(replicas);
        if parallel {
            set.spec.get_or_insert_default().pod_management_policy = Some("Parallel".to_owned());
        }
        let mut world = World::new(set);
        for what in &life {
            happen(&mut world, what);
        }
        heal(&mut world);
        check_rest(&world);
    }
}
