//! Random lives of a set: whatever users, nodes and faults do to it, plans are deterministic, break
//! no invariant (the world checks them at every action), and once the faults stop the wanted state
//! is reached and nothing is written any more (I12).

mod world;

use k8s_openapi::api::apps::v1::{StatefulSetOrdinals, StatefulSetSpec, StatefulSetUpdateStrategy};
use proptest::prelude::*;
use stead_plan::pods;
use stead_plan::statefulset::ordinals::pod_name;
use stead_plan::statefulset::{REVISION_LABEL, wishes};
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
    Reserve(&'static str),
    Pause(bool),
    Reset(u8, u8),
    Grow(u8),
    Provision,
    Recreate(bool),
    Leader(usize),
    Hurry(bool),
    Prefetch(&'static str),
    Hook(bool),
    Missing(Option<u8>),
    HooksFail(bool),
    Prepare,
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
        1 => prop_oneof![Just(""), Just("0"), Just("1-2"), Just("1,x")].prop_map(Happening::Reserve),
        1 => any::<bool>().prop_map(Happening::Pause),
        1 => (0..3_u8, 1..3_u8).prop_map(|(ordinal, generation)| Happening::Reset(ordinal, generation)),
        1 => (1..4_u8).prop_map(Happening::Grow),
        1 => Just(Happening::Provision),
        1 => any::<bool>().prop_map(Happening::Recreate),
        1 => (0..5_usize).prop_map(Happening::Leader),
        1 => any::<bool>().prop_map(Happening::Hurry),
        1 => prop_oneof![Just("required"), Just("off"), Just("")].prop_map(Happening::Prefetch),
        1 => any::<bool>().prop_map(Happening::Hook),
        1 => prop::option::of(0..4_u8).prop_map(Happening::Missing),
        1 => any::<bool>().prop_map(Happening::HooksFail),
        2 => Just(Happening::Prepare),
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
        Happening::Partition(partition) => {
            world.edit(|spec| strategy(spec, false));
            world.partition(*partition);
        }
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
        Happening::Reserve(ordinals) => world.annotate(wishes::RESERVE_ORDINALS, ordinals),
        Happening::Pause(paused) => world.annotate(wishes::PAUSED, &paused.to_string()),
        Happening::Reset(ordinal, generation) => world.annotate(wishes::RESET, &format!("{ordinal}={generation}")),
        Happening::Grow(gibibytes) => world.claim_size(&format!("{gibibytes}Gi")),
        Happening::Provision => world.provision(),
        Happening::Recreate(recreate) => world.edit(|spec| strategy(spec, *recreate)),
        Happening::Hurry(rollback) => {
            world.annotate(wishes::PROGRESS_DEADLINE, "10");
            world.annotate(wishes::AUTO_ROLLBACK, &rollback.to_string());
        }
        Happening::Prefetch("") => world.unannotate(wishes::IMAGE_PREFETCH),
        Happening::Prefetch(value) => world.annotate(wishes::IMAGE_PREFETCH, value),
        Happening::Hook(true) => world.annotate(wishes::PREPARE_HOOK, r#"{"exec":{"command":["hand-over"]}}"#),
        Happening::Hook(false) => world.unannotate(wishes::PREPARE_HOOK),
        Happening::Missing(image) => world.missing = image.iter().map(u8::to_string).collect(),
        Happening::HooksFail(fail) => world.hooks_fail = *fail,
        Happening::Prepare => drop(world.prepare()),
        Happening::Leader(index) => with(nth(&world.pods, *index), |pod| {
            world.annotate(wishes::UPDATE_LAST, "role=leader");
            let pod = world.pods.get_mut(&pod).expect("the pod exists");
            pod.metadata.labels.get_or_insert_default().insert("role".to_owned(), "leader".to_owned());
        }),
    }
}

fn strategy(spec: &mut StatefulSetSpec, recreate: bool) {
    let type_ = if recreate { "Recreate" } else { "RollingUpdate" };
    spec.update_strategy = Some(StatefulSetUpdateStrategy { type_: Some(type_.to_owned()), rolling_update: None });
}

fn with(name: Option<String>, act: impl FnOnce(String)) {
    if let Some(name) = name {
        act(name);
    }
}

/// Faults stop: nobody pauses any more, images can be had, hooks succeed, nodes bring every living pod up, volumes are made and grow, and
/// time passes.
fn heal(world: &mut World) {
    world.unannotate(wishes::PAUSED);
    world.missing.clear();
    world.hooks_fail = false;
    for _ in 0..200 {
        world.wait_s(30);
        world.provision();
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
    let range = world.range();
    let partition = spec.update_strategy.and_then(|strategy| strategy.rolling_update?.partition).unwrap_or(0);
    let updated_from = range.partition_end(partition);
    let mut wanted: Vec<(String, bool)> =
        range.ascending().map(|ordinal| (pod_name("web", ordinal), ordinal >= updated_from)).collect();
    wanted.sort();
    let names: Vec<String> = wanted.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(world.pods.keys().cloned().collect::<Vec<_>>(), names, "exactly the wanted replicas");
    for (name, updated) in &wanted {
        let pod = &world.pods[name];
        assert!(pods::is_ready(pod));
        assert!(world.request(name).is_none(), "{name} is asked for nothing any more");
        let labels = pod.metadata.labels.as_ref().expect("pods have labels");
        if *updated {
            assert_eq!(labels.get(REVISION_LABEL), status.update_revision.as_ref(), "{name} is updated");
        }
        let claim = &world.claims[&format!("data-{name}")];
        assert!(claim.metadata.deletion_timestamp.is_none() || claim.metadata.uid.is_some());
        let asked =
            |generation: &String| world.annotation(wishes::RESET) == Some(&format!("{}={generation}", &name[4..]));
        let made_for = claim.metadata.annotations.as_ref().and_then(|own| own.get(wishes::RESET_GENERATION));
        let reset = world.annotation(wishes::RESET).is_some_and(|text| text.starts_with(&name[4..]));
        assert!(!reset || made_for.is_some_and(asked), "{name} was made anew as asked");
    }
    assert_eq!(world.annotation(wishes::PAUSED_REPLICAS), None, "nothing is left written down");
    let replicas = range.replicas;
    assert_eq!((status.replicas, status.ready_replicas.unwrap_or(0)), (replicas, replicas));
    assert_eq!(status.available_replicas, Some(replicas));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_life_ends_in_the_wanted_state(
        parallel in any::<bool>(),
        preparing in any::<bool>(),
        replicas in 0..4,
        life in prop::collection::vec(happening(), 0..40),
    ) {
        let mut set = web(replicas);
        if parallel {
            world::parallel(set.spec.get_or_insert_default());
        }
        let mut world = if preparing { World::on_preparing_nodes(set) } else { World::new(set) };
        for what in &life {
            happen(&mut world, what);
        }
        heal(&mut world);
        check_rest(&world);
    }
}
