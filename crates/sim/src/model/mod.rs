//! Model checking: the product's StatefulSet planner runs in every state that a small cluster can get
//! into, whatever nodes, users, caches and crashes do and in whatever order. `docs/model.md` says what
//! is modelled and how to read what it prints.

mod api;
mod asked;
mod collector;
mod explore;
mod faults;
mod invariants;
mod nodes;
mod objects;
mod planner;
mod preparing;
mod rest;
pub mod run;
mod scenarios;
mod state;
mod steps;
mod story;
mod users;
mod wire;

use faults::Fault;
use invariants::Violation;
use objects::{Keeper, SLOTS, Set, Stamp};
use planner::Planner;
use scenarios::Scenario;
use state::{Job, State, World};
use steps::Step;

/// One scenario with the planner that is checked in it.
struct Model {
    scenario: Scenario,
    planner: Planner,
}

impl Model {
    fn new(scenario: Scenario, fault: Option<Fault>, linting: bool) -> Self {
        let planner = Planner::new(scenario.probed, scenario.prepares, fault, linting);
        Self { scenario, planner }
    }

    /// The world with a set that has only just been made.
    fn blank(&self) -> State {
        let spec = self.scenario.spec;
        let mut state = State::new(World {
            disturbances: self.scenario.disturbances,
            crashes: self.scenario.crashes,
            prepares: self.scenario.prepares,
            ever_scaled_delete: spec.scaled_delete,
            ever_deleted_delete: spec.deleted_delete,
            manifest: Some(spec),
            ..World::default()
        });
        let (uid, version) = (state.fresh(), state.fresh());
        state.live.set = Some(Set::new(uid, version, spec));
        state.relist();
        state.settle(self.scenario.lagging);
        state
    }

    /// The state that the scenario starts in, with the steps that lead there.
    fn start(&mut self) -> (Vec<Step>, Result<State, Violation>) {
        let mut state = self.blank();
        if !self.scenario.settled {
            return (Vec::new(), Ok(state));
        }
        let (taken, verdict) = rest::run(self, &state, |_| false);
        if let Err(violation) = verdict {
            return (taken, Err(violation));
        }
        for step in &taken {
            match steps::take(self, &state, *step) {
                Ok(after) => state = after,
                Err(violation) => return (taken, Err(violation)),
            }
        }
        (taken, Ok(state))
    }

    /// What the product makes a claim like which the plan of `job` makes: owner, generation and size.
    fn first_claim(&self, job: &Job, slot: usize) -> (Keeper, u8, u8) {
        self.planner.wire().first_claim(&Set::new(job.set, Stamp::default(), job.spec), slot)
    }

    /// The generation that the product makes a pod for which the plan of `job` makes.
    fn pod_made_for(&self, job: &Job, slot: usize) -> u8 {
        // Asked so often that it is worth a look first.
        if job.spec.wishes.resets == [0; SLOTS] {
            return 0;
        }
        self.planner.wire().pod_made_for(&Set::new(job.set, Stamp::default(), job.spec), slot)
    }
}
