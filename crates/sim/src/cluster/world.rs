//! One simulated cluster: what it is made of, and what can be done to its processes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stead_controllers::{Context, Controllers, Settings, bootstrap};
use stead_store::simulated::Committed;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agent::Agent;
use super::disk::{DiskMood, SimDisk};
use super::entropy::Dice;
use super::link::{Link, Weather};
use super::machine::{Machine, SimDirs};
use super::observer::{CONTROLLERS, Observer};
use super::resolver::{self, DNS, Resolver};
use super::server::Server;
use super::story::Story;
use super::time::WallClock;

/// Nodes of every simulated cluster.
const NODES: [&str; 3] = ["n1", "n2", "n3"];

struct ControllersProcess {
    link: Link,
    _running: Controllers,
}

struct Inner {
    seed: u64,
    story: Story,
    observer: Observer,
    disk: Arc<SimDisk>,
    server: Server,
    wall: WallClock,
    machines: Vec<Machine>,
    agents: Mutex<Vec<Option<Agent>>>,
    controllers: Mutex<Option<ControllersProcess>>,
    resolver: Mutex<Option<Resolver>>,
    /// The weather of links that are opened from now on.
    weather: Mutex<Weather>,
    user: Link,
    restarts: Dice,
}

/// The cluster. Clones are the same.
#[derive(Clone)]
pub(crate) struct World {
    inner: Arc<Inner>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A cluster with everything running and fair weather. Must be called within a paused runtime.
    pub(crate) fn start(seed: u64, story: Story) -> Self {
        let dice = |part: &str| Dice::new(seed, part);
        let observer = Observer::new(story.clone());
        let disk = Arc::new(SimDisk::new(dice("disk"), observer.clone()));
        let origin = Instant::now();
        let wall = WallClock::new(origin);
        let server = Server::new(Arc::clone(&disk), wall.clone(), dice("server"), observer.clone(), story.clone());
        let machine = |(nth, name): (usize, &&str)| {
            let subnet = u8::try_from(nth + 1).unwrap_or(u8::MAX);
            Machine::new(name, subnet, WallClock::new(origin), dice(name), observer.clone())
        };
        let machines: Vec<Machine> = NODES.iter().enumerate().map(machine).collect();
        let user = Link::new("user", &server, dice("user's link"), &observer, Weather::FAIR);
        let inner = Inner {
            seed,
            story,
            observer,
            disk,
            server,
            wall,
            agents: Mutex::new(machines.iter().map(|_| None).collect()),
            machines,
            controllers: Mutex::default(),
            resolver: Mutex::default(),
            weather: Mutex::new(Weather::FAIR),
            user,
            restarts: dice("restarts"),
        };
        let world = Self { inner: Arc::new(inner) };
        world.start_all();
        drop(tokio::spawn(resolver::keep_asking(world.clone())));
        world
    }

    /// Waits until the cluster holds what every cluster holds.
    pub(crate) async fn furnished(&self) {
        let (done, furnished) = oneshot::channel();
        let account = |change: &Committed| {
            let key = &change.event.after.key;
            key.resource.0.starts_with("serviceaccounts") && *key.namespace == *super::users::NAMESPACE
        };
        let tell = move || {
            // Nobody need wait for it.
            let _waiting = done.send(()).is_ok();
        };
        self.inner.observer.set_trap(Box::new(account), Box::new(tell));
        // An error means that nobody will ever tell, which the longest time allowed brings to light.
        if furnished.await.is_err() {
            std::future::pending().await
        }
    }

    /// Starts whatever is not running.
    pub(crate) fn start_all(&self) {
        self.inner.server.start();
        self.start_controllers();
        self.start_resolver();
        for nth in 0..NODES.len() {
            self.start_supervisor(nth);
            self.power_on(nth);
        }
    }

    pub(crate) fn story(&self) -> &Story {
        &self.inner.story
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.inner.observer
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.inner.disk
    }

    pub(crate) fn server(&self) -> &Server {
        &self.inner.server
    }

    pub(crate) fn machines(&self) -> &[Machine] {
        &self.inner.machines
    }

    /// A client as kubectl has.
    pub(crate) fn user(&self) -> kube::Client {
        self.inner.user.client()
    }

    /// Randomness for one part of the simulation.
    pub(crate) fn dice(&self, part: &str) -> Dice {
        Dice::new(self.inner.seed, part)
    }

    /// Starts the controllers, all in one process, if they are not running.
    pub(crate) fn start_controllers(&self) {
        let mut running = lock(&self.inner.controllers);
        if running.is_some() {
            return;
        }
        self.inner.story.tell(CONTROLLERS, "start");
        self.inner.observer.controllers_started();
        let link = self.link(CONTROLLERS);
        let context = Context::start_with(link.client(), self.inner.wall.clock());
        let settings = Settings {
            bootstrap: bootstrap::Settings {
                api_cluster_ip: [10, 96, 0, 1].into(),
                api_address: [192, 0, 2, 254].into(),
                api_port: 6443,
                dns_cluster_ip: [10, 96, 0, 10].into(),
            },
            ca_pem: "PEM".to_owned(),
            volume_dirs: Arc::new(SimDirs { machines: self.inner.machines.clone(), dice: self.dice("directories") }),
        };
        let controllers = Controllers::start(&context, settings, &CancellationToken::new());
        *running = Some(ControllersProcess { link, _running: controllers });
    }

    /// Kills the controllers where they stand.
    pub(crate) fn kill_controllers(&self) {
        if let Some(process) = lock(&self.inner.controllers).take() {
            self.inner.story.tell(CONTROLLERS, "KILLED");
            process.link.kill();
        }
    }

    /// Starts the name server, if it is not running.
    pub(crate) fn start_resolver(&self) {
        let mut running = lock(&self.inner.resolver);
        if running.is_none() {
            self.inner.story.tell(DNS, "starts");
            *running = Some(Resolver::start(self.link(DNS)));
        }
    }

    /// Kills the name server.
    pub(crate) fn kill_resolver(&self) {
        if let Some(resolver) = lock(&self.inner.resolver).take() {
            self.inner.story.tell(DNS, "KILLED");
            resolver.link().kill();
        }
    }

    /// Cuts the name server off, or lets it back.
    pub(crate) fn partition_resolver(&self, partitioned: bool) {
        self.inner.story.tell(DNS, if partitioned { "CUT OFF" } else { "reachable again" });
        if let Some(resolver) = lock(&self.inner.resolver).as_ref() {
            resolver.link().set_weather(Weather { partitioned, ..resolver.link().weather() });
        }
    }

    /// What the name server answers to a name below the users' Services; none while it does not.
    pub(crate) fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        lock(&self.inner.resolver).as_ref()?.addresses(name)
    }

    /// Kills the agent of a node; what runs there goes on.
    pub(crate) fn kill_agent(&self, nth: usize) {
        if let Some(agent) = lock(&self.inner.agents)[nth].take() {
            self.inner.story.tell(self.inner.machines[nth].name(), "agent KILLED");
            agent.kill();
        }
    }

    /// Starts the agent of a node that is on.
    pub(crate) fn start_agent(&self, nth: usize) {
        let machine = &self.inner.machines[nth];
        let mut agents = lock(&self.inner.agents);
        if agents[nth].is_none() && machine.powered() {
            self.inner.story.tell(machine.name(), "agent starts");
            agents[nth] = Some(Agent::start(machine, self.link(&format!("agent-{}", machine.name()))));
        }
    }

    /// Kills the supervisor of a node's containers.
    pub(crate) fn kill_supervisor(&self, nth: usize) {
        self.inner.story.tell(self.inner.machines[nth].name(), "supervisor KILLED");
        self.inner.machines[nth].kill_supervisor();
    }

    /// Starts the supervisor of a node, if there is none.
    pub(crate) fn start_supervisor(&self, nth: usize) {
        self.inner.machines[nth].start_supervisor();
    }

    /// Cuts a node's power.
    pub(crate) fn power_off(&self, nth: usize) {
        self.inner.story.tell(self.inner.machines[nth].name(), "LOSES POWER");
        self.kill_agent(nth);
        self.inner.machines[nth].power_off();
    }

    /// Turns a node on, with its agent.
    pub(crate) fn power_on(&self, nth: usize) {
        self.inner.machines[nth].power_on();
        self.start_agent(nth);
    }

    /// Changes the weather on every link but the user's, now and for links to come.
    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.inner.weather) = weather;
        self.each_link(|link| link.set_weather(weather));
    }

    /// Does something to every link but the user's.
    pub(crate) fn each_link(&self, change: impl Fn(&Link)) {
        if let Some(process) = lock(&self.inner.controllers).as_ref() {
            change(&process.link);
        }
        if let Some(resolver) = lock(&self.inner.resolver).as_ref() {
            change(resolver.link());
        }
        lock(&self.inner.agents).iter().flatten().for_each(|agent| change(agent.link()));
    }

    /// Cuts the controllers off, or lets them back.
    pub(crate) fn partition_controllers(&self, partitioned: bool) {
        self.inner.story.tell(CONTROLLERS, if partitioned { "CUT OFF" } else { "reachable again" });
        if let Some(process) = lock(&self.inner.controllers).as_ref() {
            process.link.set_weather(Weather { partitioned, ..process.link.weather() });
        }
    }

    /// Cuts a node's agent off, or lets it back.
    pub(crate) fn partition_agent(&self, nth: usize, partitioned: bool) {
        let what = if partitioned { "CUT OFF" } else { "reachable again" };
        self.inner.story.tell(self.inner.machines[nth].name(), what);
        if let Some(agent) = &lock(&self.inner.agents)[nth] {
            agent.link().set_weather(Weather { partitioned, ..agent.link().weather() });
        }
    }

    /// Sets the server's wall clock, or a node's, wrong by so much more.
    pub(crate) fn step_clock(&self, node: Option<usize>, by_s: i64) {
        self.inner.observer.clocks_stepped();
        let (who, wall) = match node {
            None => ("server", &self.inner.wall),
            Some(nth) => (self.inner.machines[nth].name(), self.inner.machines[nth].wall()),
        };
        self.inner.story.tell(who, &format!("CLOCK STEPS by {by_s} s"));
        wall.step(by_s * 1000);
    }

    /// Ends every fault.
    pub(crate) fn calm(&self) {
        self.inner.story.tell("world", "all faults end");
        self.set_weather(Weather::FAIR);
        self.inner.disk.set_mood(DiskMood::default());
        self.inner.wall.correct();
        self.inner.machines.iter().for_each(|machine| machine.wall().correct());
        self.start_all();
        self.set_weather(Weather::FAIR);
    }

    /// Does `action` in the very instant in which the first write that `matches` is durable, before anybody
    /// learns of it.
    pub(crate) fn at_write(
        &self,
        matches: impl Fn(&Committed) -> bool + Send + 'static,
        action: impl FnOnce(&Self) + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (done, fired) = oneshot::channel();
        let world = self.clone();
        self.inner.observer.set_trap(
            Box::new(matches),
            Box::new(move || {
                action(&world);
                // Nobody need wait for it.
                let _waiting = done.send(()).is_ok();
            }),
        );
        fired
    }

    /// Opens a link for a client of this name.
    pub(crate) fn link(&self, name: &str) -> Link {
        let nth = self.inner.restarts.bits();
        let dice = self.dice(&format!("link of {name} {nth}"));
        Link::new(name, &self.inner.server, dice, &self.inner.observer, *lock(&self.inner.weather))
    }
}
