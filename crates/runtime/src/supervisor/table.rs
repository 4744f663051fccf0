//! What the supervisor knows, in memory: sandboxes, containers, and whose each process is.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

use super::Supervisor;
use super::connections::Outbox;
use crate::types::{ContainerId, ContainerInfo, ContainerState, Inventory, Sandbox, SandboxId};

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub(super) containers: BTreeMap<ContainerId, Entry>,
    /// Whose child a process is.
    pub(super) owners: HashMap<i32, Owner>,
    /// Jobs under way whose process is not known yet.
    pub(super) starting: usize,
    /// Exit codes of processes nobody owned when they ended, workers aside; a job under way may yet claim one.
    /// Emptied whenever none is under way.
    pub(super) unclaimed: HashMap<i32, i32>,
    /// One lock per sandbox or container with an operation under way; a start shares its sandbox's.
    locks: HashMap<String, Rc<RwLock<()>>>,
}

/// Whose a child process is.
#[derive(Debug)]
pub(super) enum Owner {
    /// The first process of a container.
    Container(ContainerId),
    /// A process of an exec, and who is told of its end.
    Exec { number: u64, client: Outbox },
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) info: ContainerInfo,
    pub(super) cgroup: PathBuf,
    pub(super) process: Process,
    /// Turns true when the end is written down.
    pub(super) gone: watch::Sender<bool>,
    /// Tasks that move output to the log.
    pub(super) pumps: Vec<JoinHandle<()>>,
}

/// A container's first process.
#[derive(Clone, Debug)]
pub(super) enum Process {
    /// Our child, not reaped yet: its number is its own.
    Child(i32),
    /// Someone else's child since a supervisor died: known by descriptor, its exit code cannot be.
    Adopted(Rc<OwnedFd>),
    /// Ended.
    Ended,
}

impl Entry {
    pub(super) fn new(info: ContainerInfo, cgroup: PathBuf, process: Process, pumps: Vec<JoinHandle<()>>) -> Self {
        let gone = watch::Sender::new(matches!(info.state, ContainerState::Exited { .. }));
        Self { info, cgroup, process, gone, pumps }
    }
}

impl Table {
    pub(super) fn inventory(&self) -> Inventory {
        Inventory {
            sandboxes: self.sandboxes.values().cloned().collect(),
            containers: self.containers.values().map(|entry| entry.info.clone()).collect(),
        }
    }
}

impl Supervisor {
    /// The lock that orders operations on one thing; `key` tells sandboxes from containers.
    pub(super) fn lock_of(&self, key: String) -> Rc<RwLock<()>> {
        let locks = &mut self.table.borrow_mut().locks;
        locks.retain(|_, lock| Rc::strong_count(lock) > 1);
        Rc::clone(locks.entry(key).or_default())
    }
}
