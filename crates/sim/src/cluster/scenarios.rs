//! The named scenarios: the random one, and the faults every release must survive. Each is a story told to
//! one cluster; afterwards every simulation settles and is judged alike.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::api::PropagationPolicy;
use stead_store::simulated::Committed;

use super::disk::DiskMood;
use super::link::Weather;
use super::settle::{View, unreached};
use super::users::{User, Wish};
use super::world::World;
use super::{nemesis, users};

/// Longest wait for something a story takes for granted.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How a scenario is run.
pub(crate) enum Course {
    /// Simulated, for so long.
    Run(fn(World, Duration) -> BoxFuture<'static, ()>),
    /// Not here, and why.
    Elsewhere(&'static str),
}

/// A named scenario.
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// The fault's number in the list of faults to survive; 0 for the random one.
    pub fault: u32,
    /// What happens.
    pub about: &'static str,
    pub(crate) course: Course,
}

impl Scenario {
    /// Why it is not simulated, if it is not.
    pub fn elsewhere(&self) -> Option<&'static str> {
        match self.course {
            Course::Run(_) => None,
            Course::Elsewhere(why) => Some(why),
        }
    }
}

macro_rules! scenario {
    ($fault:literal $name:literal, $about:literal, $run:path) => {
        Scenario { name: $name, fault: $fault, about: $about, course: Course::Run(|w, t| Box::pin($run(w, t))) }
    };
    ($fault:literal $name:literal, $about:literal; $why:literal) => {
        Scenario { name: $name, fault: $fault, about: $about, course: Course::Elsewhere($why) }
    };
}

/// All of them.
pub static ALL: [Scenario; 16] = [
    scenario!(0 "random", "people and faults at random", random),
    scenario!(1 "claim-then-crash", "controllers killed between claim and pod of ordinal 1", claim_then_crash),
    scenario!(2 "create-unanswered", "killed after a durable create, before the reply", create_unanswered),
    scenario!(3 "agent-killed", "agents killed while pods run", agent_killed),
    scenario!(4 "exit-unseen", "a container exits while the agent is down, and the clock steps back", exit_unseen),
    scenario!(5 "agent-cut-off", "an agent cut off from the server", agent_cut_off),
    scenario!(6 "fenced-failover", "fenced fail-over of a lost node"; "fail-over is later work"),
    scenario!(7 "force-delete", "a pod deleted by force while its processes live", force_delete),
    scenario!(8 "broken-rollout", "a rollout to a crashing image, and back", broken_rollout),
    scenario!(9 "down-and-up", "3, 1, 3 replicas with a kill at every step", down_and_up),
    scenario!(10 "namesake", "a set deleted and made anew while the deletion is in flight", namesake),
    scenario!(11 "watch-trouble", "watches delayed, cut, expired and compacted", watch_trouble),
    scenario!(12 "disk-full", "the log refuses to write", disk_full),
    scenario!(13 "torn-log", "torn and damaged files of the log"; "crash images of real files, crates/store/src/faults.rs"),
    scenario!(14 "two-servers", "two servers on one etcd"; "the etcd back end is later work"),
    scenario!(15 "supervisor-killed", "the supervisors of containers are killed while processes and pods go", supervisor_killed),
];

async fn random(world: World, time: Duration) {
    let (user, first, second) =
        (users::at_work(world.clone()), nemesis::at_work(world.clone(), 0), nemesis::at_work(world.clone(), 1));
    tokio::select! {
        biased;
        () = tokio::time::sleep(time) => {}
        () = user => {}
        () = first => {}
        () = second => {}
    }
}

/// Waits until everything asked for is there.
async fn reached(world: &World) {
    for _ in 0..PATIENCE.as_secs() * 2 {
        if unreached(world).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let problems = unreached(world).join("; ");
    world.story().violated("I12", format!("the story cannot go on: {problems}"));
    std::future::pending().await
}

pub(super) async fn web(world: &World) -> User {
    let user = User::of(world);
    user.create(&Wish::WEB).await;
    reached(world).await;
    user
}

fn expect(world: &World, holds: bool, invariant: &'static str, text: &str) {
    if !holds {
        world.story().violated(invariant, text);
    }
}

/// The write that creates `name` in the table that begins with `table`.
fn creation(table: &'static str, name: &'static str) -> impl Fn(&Committed) -> bool + Send + 'static {
    move |change| {
        let key = &change.event.after.key;
        change.event.before.is_none() && key.resource.0.starts_with(table) && *key.name == *name
    }
}

fn deletion(name: &'static str) -> impl Fn(&Committed) -> bool + Send + 'static {
    move |change| {
        let key = &change.event.after.key;
        change.event.deleted && &*key.resource.0 == "pods" && *key.name == *name
    }
}

async fn outage(world: &World) {
    tokio::time::sleep(world.dice("outage").ms(100, 10_000)).await;
    world.start_all();
}

async fn claim_then_crash(world: World, _: Duration) {
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

async fn create_unanswered(world: World, _: Duration) {
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

async fn agent_killed(world: World, _: Duration) {
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

async fn exit_unseen(world: World, _: Duration) {
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
    let nodes: std::collections::BTreeSet<_> =
        View::of(&world).pods().values().filter_map(|pod| pod.spec.clone()?.node_name).collect();
    let total: i32 = counts.values().sum();
    let text = format!("{counts:?}: one restart for each process killed");
    expect(&world, i32::try_from(nodes.len()) == Ok(total), "I8", &text);
}

async fn agent_cut_off(world: World, _: Duration) {
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

async fn force_delete(world: World, _: Duration) {
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

async fn broken_rollout(world: World, _: Duration) {
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

async fn down_and_up(world: World, _: Duration) {
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

async fn namesake(world: World, _: Duration) {
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

async fn watch_trouble(world: World, time: Duration) {
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
            _ => world.each_link(super::link::Link::cut),
        }
    }
}

async fn disk_full(world: World, _: Duration) {
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

async fn supervisor_killed(world: World, _: Duration) {
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
