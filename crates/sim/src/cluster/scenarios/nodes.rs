//! What happens to pods when agents, supervisors and networks of nodes fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{expect, outage, reached, web};
use crate::cluster::settle::View;
use crate::cluster::users::{User, Wish};
use crate::cluster::world::World;

pub(super) async fn agent_killed(world: World, _: Duration) {
    web(&world).await;
    let (running, revisions) = (world.observer().running(), View::of(&world).revisions().len());
    for nth in 0..world.machines().len() {
        world.kill_agent(nth);
    }
    outage(&world).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    expect(&world, world.observer().running() == running, "I1", "the processes are not the same");
    expect(&world, View::of(&world).revisions().len() == revisions, "I4", "there is another revision");
    expect(&world, restarts(&world).values().all(|count| *count == 0), "I8", "a restart was counted");
}

fn restarts(world: &World) -> BTreeMap<String, i32> {
    let pods = View::of(world).pods();
    pods.iter().map(|(name, pod)| (name.clone(), stead_plan::pods::restarts_max(pod))).collect()
}

pub(super) async fn exit_unseen(world: World, _: Duration) {
    web(&world).await;
    for nth in 0..world.machines().len() {
        world.kill_agent(nth);
        world.machines()[nth].kill_one();
        world.step_clock(Some(nth), -40);
    }
    outage(&world).await;
    reached(&world).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    reached(&world).await;
    // One process was killed on each node that had any.
    let counts = restarts(&world);
    let nodes: BTreeSet<_> = View::of(&world).pods().values().filter_map(|pod| pod.spec.clone()?.node_name).collect();
    let total: i32 = counts.values().sum();
    let text = format!("{counts:?}: one restart for each process killed");
    expect(&world, i32::try_from(nodes.len()) == Ok(total), "I8", &text);
}

pub(super) async fn agent_cut_off(world: World, _: Duration) {
    web(&world).await;
    let before = world.observer().running();
    for nth in 0..world.machines().len() {
        world.partition_agent(nth, true);
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    expect(&world, world.observer().running() == before, "I1", "a pod was replaced while its agent was cut off");
    for nth in 0..world.machines().len() {
        world.partition_agent(nth, false);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    expect(&world, world.observer().running() == before, "I1", "a pod was replaced when its agent was back");
}

pub(super) async fn force_delete(world: World, _: Duration) {
    let user = web(&world).await;
    let uids = View::of(&world).claim_uids();
    for pod in ["web-1", "web-2", "web-0"] {
        if world.dice(pod).permille(500) {
            world.kill_agent(0);
        }
        user.delete_pod(pod, true).await;
        outage(&world).await;
        reached(&world).await;
    }
    expect(&world, View::of(&world).claim_uids() == uids, "I3", "the claims are not the same");
}

pub(super) async fn given_up(world: World, _: Duration) {
    let user = User::of(&world);
    user.create(&Wish { claims: false, ..Wish::WEB }).await;
    reached(&world).await;
    let before = world.observer().running();
    world.kill_agent(0);
    user.delete_node(world.machines()[0].name()).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    let now = world.observer().running();
    expect(&world, before.keys().all(|id| now.contains_key(id)), "I1", "what ran did not go on without its agent");
    expect(&world, now.len() > before.len(), "I12", "nobody took the place of what was given up");
    world.start_agent(0);
    // That includes the end of what was given up.
    reached(&world).await;
}

pub(super) async fn dark_at_the_end(world: World, _: Duration) {
    let user = web(&world).await;
    let uids = View::of(&world).claim_uids();
    for pod in ["web-2", "web-0", "web-1"] {
        user.delete_pod(pod, false).await;
        let node = loop {
            let pods = View::of(&world).pods();
            match pods.get(pod) {
                Some(pod) if stead_plan::pods::phase(pod).is_terminal() => {
                    break pod.spec.clone().and_then(|spec| spec.node_name);
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                // It was cleared away within that millisecond.
                None => break None,
            }
        };
        let Some(nth) = world.machines().iter().position(|machine| Some(machine.name()) == node.as_deref()) else {
            reached(&world).await;
            continue;
        };
        world.power_off(nth);
        tokio::time::sleep(world.dice(pod).ms(100, 10_000)).await;
        world.power_on(nth);
        outage(&world).await;
        reached(&world).await;
    }
    expect(&world, View::of(&world).claim_uids() == uids, "I3", "the claims are not the same");
}

pub(super) async fn supervisor_killed(world: World, _: Duration) {
    let user = web(&world).await;
    let uids = View::of(&world).claim_uids();
    for (round, pod) in ["web-1", "web-2", "web-0"].into_iter().enumerate() {
        let dice = world.dice(&format!("round {round}"));
        let running = world.observer().running();
        (0..world.machines().len()).for_each(|nth| world.kill_supervisor(nth));
        tokio::time::sleep(Duration::from_secs(5)).await;
        expect(&world, world.observer().running() == running, "I1", "what ran did not go on");
        if dice.permille(500) {
            world.machines()[dice.index(world.machines().len())].kill_one();
        }
        user.delete_pod(pod, dice.permille(500)).await;
        outage(&world).await;
        reached(&world).await;
    }
    expect(&world, View::of(&world).claim_uids() == uids, "I3", "the claims are not the same");
}
