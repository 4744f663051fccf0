//! What happens to sets when their controllers and their server are killed at the worst moment.

use std::time::Duration;

use kube::api::PropagationPolicy;

use super::{creation, deletion, expect, outage, reached, web};
use crate::cluster::settle::View;
use crate::cluster::users::{User, Wish};
use crate::cluster::world::World;

pub(super) async fn claim_then_crash(world: World, _: Duration) {
    let killed = world.at_write(creation("persistentvolumeclaims", "data-web-1"), World::kill_controllers);
    let user = User::of(&world);
    user.create(&Wish::WEB).await;
    drop(killed.await);
    let before = View::of(&world).claim_uids();
    expect(&world, before.contains_key("data-web-1"), "I5", "the claim was durable");
    expect(&world, !View::of(&world).pods().contains_key("web-1"), "I2", "the pod comes after the claim");
    outage(&world).await;
    reached(&world).await;
    let after = View::of(&world).claim_uids();
    expect(&world, after.get("data-web-1") == before.get("data-web-1"), "I3", "the claim is not the same");
    expect(&world, after.len() == 3, "I3", "there is one claim each");
}

pub(super) async fn create_unanswered(world: World, _: Duration) {
    let whole_process = world.dice("who").permille(500);
    let killed = world.at_write(creation("pods", "web-1"), move |world| {
        world.server().kill();
        if whole_process {
            world.kill_controllers();
        }
    });
    let user = User::of(&world);
    user.create(&Wish::WEB).await;
    drop(killed.await);
    let uid = |world: &World| View::of(world).pods().get("web-1").and_then(|pod| pod.metadata.uid.clone());
    let before = uid(&world);
    expect(&world, before.is_some(), "I5", "the pod was durable");
    outage(&world).await;
    reached(&world).await;
    expect(&world, uid(&world) == before, "I1", "web-1 is not the pod that was created first");
}

pub(super) async fn broken_rollout(world: World, _: Duration) {
    // What crashes within seconds although a probe passed is caught by what must hold for ten.
    let user = User::of(&world);
    user.create(&Wish { min_ready_s: 10, ..Wish::WEB }).await;
    reached(&world).await;
    let uid = |name: &str| View::of(&world).pods().get(name).and_then(|pod| pod.metadata.uid.clone());
    let (zero, one) = (uid("web-0"), uid("web-1"));
    user.set_image("web", "app:bad").await;
    tokio::time::sleep(Duration::from_secs(900)).await;
    expect(&world, (uid("web-0"), uid("web-1")) == (zero.clone(), one.clone()), "I9", "the rollout went on");
    user.set_image("web", "app:v0").await;
    reached(&world).await;
    expect(&world, (uid("web-0"), uid("web-1")) == (zero, one), "I9", "healing touched what was well");
}

pub(super) async fn down_and_up(world: World, _: Duration) {
    let user = web(&world).await;
    let uids = View::of(&world).claim_uids();
    let everything_dies = |world: &World| {
        world.server().kill();
        world.kill_controllers();
    };
    for (name, replicas) in [("web-2", 1_u64), ("web-1", 1)] {
        let gone = world.at_write(deletion(name), everything_dies);
        if name == "web-2" {
            user.scale("web", replicas).await;
        }
        drop(gone.await);
        let higher = View::of(&world).pods().contains_key("web-2");
        expect(&world, !higher, "I2", "2 goes before 1");
        outage(&world).await;
    }
    reached(&world).await;
    let back: Vec<_> =
        ["web-1", "web-2"].into_iter().map(|name| world.at_write(creation("pods", name), everything_dies)).collect();
    user.scale("web", 3).await;
    for created in back {
        drop(created.await);
        outage(&world).await;
    }
    reached(&world).await;
    expect(&world, View::of(&world).claim_uids() == uids, "I3", "the claims are not the same");
}

pub(super) async fn namesake(world: World, _: Duration) {
    let user = web(&world).await;
    let uids = View::of(&world).claim_uids();
    for nth in 0..3 {
        let dice = world.dice(&format!("round {nth}"));
        user.delete_set("web", PropagationPolicy::Background).await;
        tokio::time::sleep(dice.ms(0, 3_000)).await;
        if dice.permille(500) {
            world.kill_controllers();
        }
        user.create(&Wish::WEB).await;
        tokio::time::sleep(dice.ms(0, 8_000)).await;
        world.start_all();
        reached(&world).await;
    }
    expect(&world, View::of(&world).claim_uids() == uids, "I3", "the claims are not the same");
}
