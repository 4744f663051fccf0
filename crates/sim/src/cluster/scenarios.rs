//! The named scenarios: the random one, the faults every release must survive, and what else was found. Each is a
//! story told to one cluster; afterwards every simulation settles and is judged alike.

mod controllers;
mod nodes;
mod server;

use std::time::Duration;

use futures::future::BoxFuture;
use stead_store::simulated::Committed;

use super::settle::{told, unreached};
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
    /// The fault's number in the list of faults to survive; 0 for what is not in it.
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
pub static ALL: [Scenario; 18] = [
    scenario!(0 "random", "people and faults at random", random),
    scenario!(0 "node-given-up", "the object of a node deleted while its agent is down", nodes::given_up),
    scenario!(0 "dark-at-the-end", "a node loses power between the end of a pod's processes and the clearing away", nodes::dark_at_the_end),
    scenario!(1 "claim-then-crash", "controllers killed between claim and pod of ordinal 1", controllers::claim_then_crash),
    scenario!(2 "create-unanswered", "killed after a durable create, before the reply", controllers::create_unanswered),
    scenario!(3 "agent-killed", "agents killed while pods run", nodes::agent_killed),
    scenario!(4 "exit-unseen", "a container exits while the agent is down, and the clock steps back", nodes::exit_unseen),
    scenario!(5 "agent-cut-off", "an agent cut off from the server", nodes::agent_cut_off),
    scenario!(6 "fenced-failover", "fenced fail-over of a lost node"; "fail-over is later work"),
    scenario!(7 "force-delete", "a pod deleted by force while its processes live", nodes::force_delete),
    scenario!(8 "broken-rollout", "a rollout to a crashing image, and back", controllers::broken_rollout),
    scenario!(9 "down-and-up", "3, 1, 3 replicas with a kill at every step", controllers::down_and_up),
    scenario!(10 "namesake", "a set deleted and made anew while the deletion is in flight", controllers::namesake),
    scenario!(11 "watch-trouble", "watches delayed, cut, expired and compacted", server::watch_trouble),
    scenario!(12 "disk-full", "the log refuses to write", server::disk_full),
    scenario!(13 "torn-log", "torn and damaged files of the log"; "crash images of real files, crates/store/src/faults.rs"),
    scenario!(14 "two-servers", "two servers on one etcd"; "the etcd back end is later work"),
    scenario!(15 "supervisor-killed", "the supervisors of containers are killed while processes and pods go", nodes::supervisor_killed),
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
pub(super) async fn reached(world: &World) {
    for _ in 0..PATIENCE.as_secs() * 2 {
        if unreached(world).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let problems = told(&unreached(world));
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
