//! The state of the whole model: objects, the controller's caches, the plan it carries out, nodes, and
//! the few things that only the invariants remember.

use super::objects::{Kind, Note, Objects, Renumbering, SLOTS, Set, Slots, Spec, Stamp, StatusId};

/// The very object an action was decided on. What the plan leaves out is not checked by the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) slot: u8,
    pub(crate) uid: Option<Stamp>,
    pub(crate) version: Option<Stamp>,
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    Ended,
    Condemned,
    Outdated,
    Broken,
    Reset,
}

/// Who a claim is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Given {
    Nobody,
    Set,
    Pod(Stamp),
}

/// One action of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Confirm,
    AdoptRevision(Target),
    CreateRevision {
        template: u8,
        number: u8,
    },
    Renumber(Target, u8),
    DeleteRevision(Target),
    AdoptPod(Target),
    ReleasePod(Target),
    Relabel(Target),
    Prepare(Target, u8),
    Withdraw(Target),
    OwnClaim(Target, Given),
    CreateClaim {
        slot: u8,
    },
    CreatePod {
        slot: u8,
        template: u8,
    },
    DeletePod(Target, Why),
    DeleteClaim(Target),
    GrowClaim(Target, u8),
    Remember(Note),
    /// Puts the template `to` back over `from`; the target is the set.
    RollBack {
        set: Target,
        to: u8,
        from: u8,
    },
}

impl Act {
    fn target(&mut self) -> Option<&mut Target> {
        match self {
            Self::AdoptRevision(target)
            | Self::Renumber(target, _)
            | Self::DeleteRevision(target)
            | Self::AdoptPod(target)
            | Self::ReleasePod(target)
            | Self::Relabel(target)
            | Self::Prepare(target, _)
            | Self::Withdraw(target)
            | Self::OwnClaim(target, _)
            | Self::DeletePod(target, _)
            | Self::DeleteClaim(target)
            | Self::GrowClaim(target, _)
            | Self::RollBack { set: target, .. } => Some(target),
            Self::Confirm
            | Self::CreateRevision { .. }
            | Self::CreateClaim { .. }
            | Self::CreatePod { .. }
            | Self::Remember(_) => None,
        }
    }

    pub(crate) fn visit(&mut self, with: &mut impl FnMut(&mut Stamp)) {
        if let Some(target) = self.target() {
            target.uid.iter_mut().for_each(&mut *with);
            target.version.iter_mut().for_each(&mut *with);
        }
        if let Self::OwnClaim(_, Given::Pod(uid)) = self {
            with(uid);
        }
    }
}

/// Where an action stands in its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) batch: u8,
    /// Its bit among the actions of the plan.
    pub(crate) bit: u64,
    /// The bits of those without which it is left out.
    pub(crate) needs: u64,
    /// Whether it is not certain without it what the set's is, so that there is no status.
    pub(crate) settles: bool,
}

/// A plan being carried out: batch after batch, in chunks of 1, 2, 4, … actions. Those of one chunk
/// are on their way together, so they arrive in any order. After a failure what must not be done without
/// the one that failed is left out, and the next chunk is of one again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    /// The set it is for.
    pub(crate) set: Stamp,
    /// The spec it was decided from, and its generation.
    pub(crate) spec: Spec,
    pub(crate) generation: u8,
    /// What is left.
    pub(crate) acts: Vec<(Place, Act)>,
    /// How many of them, from the front, are on their way.
    pub(crate) under_way: u8,
    /// Size of that chunk when it began.
    pub(crate) chunk: u8,
    /// The bits of those of this chunk that failed, and whether there is a status without them.
    failed: u64,
    unsettled: bool,
    /// The status to write at the end, and the one if anything fails.
    pub(crate) status: Option<StatusId>,
    pub(crate) found: Option<StatusId>,
}

impl Job {
    pub(crate) fn new(set: &Set, acts: Vec<(Place, Act)>, status: Option<StatusId>, found: Option<StatusId>) -> Self {
        let (generation, spec, set) = (set.generation, set.spec, set.uid);
        let (under_way, chunk, failed, unsettled) = (0, 0, 0, false);
        let mut job = Self { set, spec, generation, acts, under_way, chunk, failed, unsettled, status, found };
        job.start_chunk(None);
        job
    }

    /// Takes out the action `index` of those under way, which ended as `failed` says.
    pub(crate) fn done(&mut self, index: usize, failed: bool) {
        let (place, _) = self.acts.remove(index);
        self.under_way -= 1;
        if failed {
            self.failed |= place.bit;
            self.unsettled |= place.settles;
        }
        if self.under_way > 0 {
            return;
        }
        if self.failed != 0 {
            self.leave_out();
            self.chunk = 0;
        }
        self.start_chunk(Some(place.batch));
    }

    /// Takes out what must not be done without what has failed.
    fn leave_out(&mut self) {
        let mut undone = std::mem::take(&mut self.failed);
        self.acts.retain(|(place, _)| {
            let stays = place.needs & undone == 0;
            undone |= if stays { 0 } else { place.bit };
            stays
        });
        if std::mem::take(&mut self.unsettled) {
            self.found = None;
        }
        self.status = self.found;
    }

    fn start_chunk(&mut self, last: Option<u8>) {
        let Some((Place { batch, .. }, _)) = self.acts.first().copied() else { return };
        self.chunk = if last == Some(batch) { self.chunk.saturating_mul(2).max(1) } else { 1 };
        let left = self.acts.iter().take_while(|(other, _)| other.batch == batch).count();
        self.under_way = self.chunk.min(u8::try_from(left).unwrap_or(u8::MAX));
    }

    /// Whether nothing is left to do for it.
    pub(crate) fn is_over(&self) -> bool {
        self.acts.is_empty() && self.status.is_none()
    }
}

/// What is not an object: nodes, processes, and memory of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// Ordinals whose node is lost. Claims pin an ordinal to its node.
    pub(crate) down: Slots,
    /// Ordinals at which processes of a pod run whose object is gone.
    pub(crate) leftover: Slots,
    /// Disturbances still to come.
    pub(crate) disturbances: u8,
    /// Crashes and lost answers still to come.
    pub(crate) crashes: u8,
    /// Memory: replicas made by the controller that have not been available yet.
    pub(crate) starting: Slots,
    /// Memory: replicas taken down by a rollout that are not available again yet.
    pub(crate) rolling: Slots,
    /// Memory: those among them that have been Ready since.
    pub(crate) ready_once: Slots,
    /// Memory: the templates of the replicas of a paused set, as soon as the controller had its say about it.
    pub(crate) kept: [Option<u8>; SLOTS],
    /// Memory: replicas that are being reset and are not available again yet.
    pub(crate) resetting: Slots,
    /// Memory: by slot, the last generation that its claim was deleted for.
    pub(crate) wiped: [u8; SLOTS],
    /// Kinds, by bit, of which the API refuses every new object.
    pub(crate) refused: u8,
    /// Memory: the template whose rollout came to its end last, and the partition, where failed ones are taken back.
    pub(crate) finished: Option<(u8, u8)>,
    /// Memory: whether a deadline has passed since the template was set.
    pub(crate) overdue: bool,
    /// Memory: whether the policy ever let claims go with their replica, with their set.
    pub(crate) ever_scaled_delete: bool,
    pub(crate) ever_deleted_delete: bool,
    /// Whether nodes can be asked to make ready for a replacement.
    pub(crate) prepares: bool,
    /// What is applied when the set is made again.
    pub(crate) manifest: Option<Spec>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What is.
    pub(crate) live: Objects,
    /// What the controller's caches show.
    pub(crate) seen: Objects,
    /// Kinds, by bit, whose cache does not show the controller's own last write yet.
    pub(crate) unseen: u8,
    pub(crate) job: Option<Job>,
    pub(crate) world: World,
    /// Stamps in use; the next one is free.
    stamps: u8,
}

impl State {
    pub(crate) fn new(world: World) -> Self {
        Self { live: Objects::default(), seen: Objects::default(), unseen: 0, job: None, world, stamps: 0 }
    }

    /// A stamp that nothing has yet.
    pub(crate) fn fresh(&mut self) -> Stamp {
        self.stamps = self.stamps.checked_add(1).expect("invariant: a step uses a few stamps only");
        Stamp(self.stamps - 1)
    }

    /// Brings the state into the form in which equal states are equal: caches that do not lag in this
    /// scenario are up to date, and stamps are numbered as they come.
    pub(crate) fn settle(&mut self, lagging: u8) {
        for kind in Kind::ALL.into_iter().filter(|kind| lagging & kind.bit() == 0) {
            self.seen.take(&self.live, kind);
        }
        self.unseen &= lagging;
        if self.job.as_ref().is_some_and(Job::is_over) {
            self.job = None;
        }
        let mut numbers = Renumbering::default();
        let mut renumber = |stamp: &mut Stamp| numbers.renumber(stamp);
        self.live.visit(&mut renumber);
        self.seen.visit(&mut renumber);
        if let Some(job) = &mut self.job {
            renumber(&mut job.set);
            job.acts.iter_mut().for_each(|(_, act)| act.visit(&mut renumber));
        }
        self.stamps = u8::try_from(numbers.count()).expect("invariant: a state holds fewer than 256 stamps");
    }

    /// All caches are filled anew, as after a start.
    pub(crate) fn relist(&mut self) {
        self.seen = self.live;
        self.unseen = 0;
    }
}
