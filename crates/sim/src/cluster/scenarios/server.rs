//! What happens when the log refuses to write, or watches cannot be relied on.

use std::time::Duration;

use super::{expect, outage, reached, web};
use crate::cluster::disk::DiskMood;
use crate::cluster::link::{Link, Weather};
use crate::cluster::users::{User, Wish};
use crate::cluster::world::World;

pub(super) async fn watch_trouble(world: World, time: Duration) {
    let dice = world.dice("trouble");
    let bad = Weather { watch_delay_ms_max: 2_000, stalled: 60, cut: 60, expired: 500, ..Weather::FAIR };
    world.set_weather(bad);
    let user = User::of(&world);
    user.create(&Wish::WEB).await;
    let mut version = 0;
    while world.story().elapsed() < time {
        tokio::time::sleep(dice.ms(100, 60_000)).await;
        version += 1;
        match dice.below(4) {
            0 => user.scale("web", dice.below(5)).await,
            1 => user.set_image("web", &format!("app:v{version}")).await,
            2 => user.delete_pod(&format!("web-{}", dice.below(3)), false).await,
            _ => world.each_link(Link::cut),
        }
    }
}

pub(super) async fn disk_full(world: World, _: Duration) {
    let user = web(&world).await;
    let running = world.observer().running();
    world.disk().set_mood(DiskMood { failure: Some("no space left on device"), ..DiskMood::default() });
    // What was under way may still arrive.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = world.disk().newest();
    tokio::time::sleep(Duration::from_secs(60)).await;
    expect(&world, world.disk().newest() == before, "I5", "something was written to a full disk");
    expect(&world, world.observer().running() == running, "I1", "running containers were touched");
    world.disk().set_mood(DiskMood::default());
    tokio::time::sleep(Duration::from_secs(60)).await;
    expect(&world, world.disk().newest() == before, "I5", "a failed log was tried again");
    world.server().kill();
    outage(&world).await;
    user.scale("web", 2).await;
    reached(&world).await;
}
