//! The API server's process: starts on what is durable, serves links, and can be killed at any instant.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stead_apiserver::{ApiServer, Config, NoNodes};
use stead_store::Limits;
use stead_store::simulated::{Disk, Door, Simulated};
use tokio_util::sync::CancellationToken;

use super::disk::SimDisk;
use super::entropy::Dice;
use super::observer::Observer;
use super::story::Story;
use super::time::{ServerWorld, WallClock};

/// The fronts by client.
type Doors = BTreeMap<Arc<str>, Arc<ApiServer<Door>>>;

/// A running process.
#[derive(Clone)]
pub(crate) struct Running {
    store: Arc<Simulated>,
    config: Config,
    /// One front for each client, all on one store, so that every write has a known writer.
    doors: Arc<Mutex<Doors>>,
    /// Cancelled when the process dies.
    pub(crate) died: CancellationToken,
}

impl Running {
    /// The front of the client `name`.
    pub(crate) fn door(&self, name: &Arc<str>) -> Arc<ApiServer<Door>> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || ApiServer::new(self.config.clone(), Arc::new(self.store.door(name)), Arc::new(NoNodes));
        Arc::clone(doors.entry(Arc::clone(name)).or_insert_with(open))
    }
}

/// The server. Clones are the same.
#[derive(Clone)]
pub(crate) struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    running: Mutex<Option<Running>>,
    disk: Arc<SimDisk>,
    wall: WallClock,
    dice: Dice,
    observer: Observer,
    story: Story,
}

impl Server {
    /// A server that is not running yet.
    pub(crate) fn new(disk: Arc<SimDisk>, wall: WallClock, dice: Dice, observer: Observer, story: Story) -> Self {
        Self { inner: Arc::new(Inner { running: Mutex::default(), disk, wall, dice, observer, story }) }
    }

    /// Starts the process, if it is not running.
    pub(crate) fn start(&self) {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return;
        }
        let (entries, newest) = self.inner.disk.contents();
        self.inner.story.tell("server", &format!("starts at revision {newest} with {} objects", entries.len()));
        // Small bounds, so that slow watchers meet them.
        let limits = Limits {
            history_events_max: 200 + self.inner.dice.index(800),
            history_age_max: Duration::from_secs(60),
            watch_events_max: 32 + self.inner.dice.index(200),
            ..Limits::default()
        };
        self.inner.observer.server_started(newest.0, limits.clone());
        let disk = Arc::clone(&self.inner.disk) as Arc<dyn Disk>;
        let store = Arc::new(Simulated::start(entries, newest, disk, limits));
        let world = ServerWorld { wall: self.inner.wall.clone(), dice: self.inner.dice.clone() };
        let config = Config { world: Arc::new(world), ..Config::default() };
        *running = Some(Running { store, config, doors: Arc::default(), died: CancellationToken::new() });
    }

    /// Kills the process: requests and streams end where they are, what is not durable is lost.
    pub(crate) fn kill(&self) {
        let running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            self.inner.story.tell("server", "KILLED");
            running.store.crash();
            running.died.cancel();
        }
    }

    /// The process, if it is running.
    pub(crate) fn running(&self) -> Option<Running> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
