//! What goes wrong in a random simulation, and when: a seeded schedule of faults. One fault at a time is
//! begun by each nemesis and ends by itself; two of them are at work.

use std::time::Duration;

use super::disk::DiskMood;
use super::entropy::Dice;
use super::link::Weather;
use super::users::User;
use super::world::World;

/// Longest partition. Together with stalls it stays within what the observer allows a state to be old.
const PARTITION_S_MAX: u64 = 25;

/// Does harm until dropped.
pub(crate) async fn at_work(world: World, nth: usize) {
    let dice = world.dice(&format!("nemesis {nth}"));
    if nth == 0 && dice.permille(800) {
        world.set_weather(Weather::ROUGH);
    }
    let clocks = dice.permille(400);
    loop {
        tokio::time::sleep(dice.ms(200, 45_000)).await;
        one_fault(&world, &dice, clocks, nth == 0).await;
    }
}

async fn one_fault(world: &World, dice: &Dice, clocks: bool, loses_nodes: bool) {
    let node = dice.index(world.machines().len());
    match dice.below(100) {
        0..18 => {
            world.server().kill();
            pause(dice, 15_000).await;
            world.server().start();
        }
        18..42 => {
            world.kill_controllers();
            pause(dice, 10_000).await;
            world.start_controllers();
        }
        42..56 => {
            world.kill_agent(node);
            pause(dice, 60_000).await;
            world.start_agent(node);
        }
        // Two at this would turn on what the other wants off.
        56..62 if loses_nodes => lose_node(world, dice, node).await,
        62..69 => {
            world.partition_controllers(true);
            pause(dice, PARTITION_S_MAX * 1000).await;
            world.partition_controllers(false);
        }
        69..76 => {
            world.partition_agent(node, true);
            pause(dice, PARTITION_S_MAX * 1000).await;
            world.partition_agent(node, false);
        }
        76..78 => {
            world.partition_resolver(true);
            pause(dice, PARTITION_S_MAX * 1000).await;
            world.partition_resolver(false);
        }
        78..79 => {
            world.kill_resolver();
            pause(dice, 10_000).await;
            world.start_resolver();
        }
        79..81 => {
            world.story().tell("world", "every watch is cut");
            world.each_link(super::link::Link::cut);
        }
        81..84 => {
            world.disk().set_mood(DiskMood { sync_ms_max: 400, ..DiskMood::default() });
            pause(dice, 20_000).await;
            world.disk().set_mood(DiskMood::default());
        }
        84..88 => fail_disk(world, dice).await,
        88..94 if clocks => {
            let by_s = i64::try_from(dice.below(160)).unwrap_or(0) - 80;
            world.step_clock((dice.permille(500)).then_some(node), by_s);
        }
        94..96 => {
            world.kill_supervisor(node);
            pause(dice, 20_000).await;
            world.start_supervisor(node);
        }
        _ => world.machines()[node].kill_one(),
    }
}

async fn lose_node(world: &World, dice: &Dice, nth: usize) {
    world.power_off(nth);
    pause(dice, 60_000).await;
    if dice.permille(300) {
        User::of(world).delete_node(world.machines()[nth].name()).await;
        pause(dice, 90_000).await;
    }
    world.power_on(nth);
}

/// The log refuses everything until the server is started anew on a disk that works.
async fn fail_disk(world: &World, dice: &Dice) {
    world.story().tell("server", "DISK FAILS");
    world.disk().set_mood(DiskMood { failure: Some("no space left on device"), ..DiskMood::default() });
    pause(dice, 10_000).await;
    world.disk().set_mood(DiskMood::default());
    world.server().kill();
    pause(dice, 2_000).await;
    world.server().start();
}

async fn pause(dice: &Dice, ms_max: u64) {
    let long = dice.permille(300);
    let time = dice.ms(0, if long { ms_max } else { ms_max / 8 });
    tokio::time::sleep(time.max(Duration::from_millis(1))).await;
}
