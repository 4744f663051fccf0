//! Breadth first through all states of one scenario, so that the first violation found has a shortest
//! story. States are remembered by a 64-bit fingerprint; only the frontier is kept in full.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Model;
use super::invariants::Violation;
use super::rest;
use super::state::State;
use super::steps::{self, Step};

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Steps from the start.
    pub(crate) depth: usize,
    /// States of one scenario.
    pub(crate) states: usize,
}

/// A violation with the steps that lead to it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) violation: Violation,
    pub(crate) steps: Vec<Step>,
}

/// What exploring one scenario came to.
#[derive(Clone, Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    /// Whether every reachable state was visited.
    pub(crate) complete: bool,
    pub(crate) found: Option<Found>,
}

/// How each state was reached first.
type Origin = (u32, Step);

struct Search<'a> {
    model: &'a mut Model,
    visited: HashSet<u64>,
    origins: Vec<Option<Origin>>,
    /// States from which the fair run is known to come to rest.
    resting: HashSet<u64>,
}

/// Visits the states of the model's scenario, telling `progress` of depth and states after each layer.
pub(crate) fn explore(model: &mut Model, bounds: Bounds, mut progress: impl FnMut(usize, usize)) -> Explored {
    let (mut steps, start) = model.start();
    let start = match start {
        Ok(start) => start,
        Err(violation) => {
            return Explored { states: 1, depth: 0, complete: true, found: Some(Found { violation, steps }) };
        }
    };
    let mut search = Search { model, visited: HashSet::new(), origins: vec![None], resting: HashSet::new() };
    search.visited.insert(fingerprint(&start));
    let mut explored = Explored { states: 1, depth: 0, complete: true, found: None };
    let mut frontier = vec![(0_u32, start)];
    while !frontier.is_empty() {
        if explored.depth == bounds.depth || search.origins.len() >= bounds.states {
            explored.complete = false;
            break;
        }
        match search.layer(frontier) {
            Ok(next) => frontier = next,
            Err(found) => {
                steps.extend(found.steps);
                explored.found = Some(Found { steps, ..found });
                break;
            }
        }
        explored.depth += usize::from(!frontier.is_empty());
        progress(explored.depth, search.origins.len());
    }
    explored.states = search.origins.len();
    explored
}

impl Search<'_> {
    /// The states one step further that are new.
    fn layer(&mut self, frontier: Vec<(u32, State)>) -> Result<Vec<(u32, State)>, Found> {
        let mut next = Vec::new();
        for (origin, state) in frontier {
            self.comes_to_rest(origin, &state)?;
            for step in steps::possible(self.model, &state) {
                let after = steps::take(self.model, &state, step).map_err(|violation| {
                    let steps = self.path(origin).into_iter().chain([step]).collect();
                    Found { violation, steps }
                })?;
                if self.visited.insert(fingerprint(&after)) {
                    let number = u32::try_from(self.origins.len()).expect("invariant: bounded by --states");
                    self.origins.push(Some((origin, step)));
                    next.push((number, after));
                }
            }
        }
        Ok(next)
    }

    /// The fair run from here ends well.
    fn comes_to_rest(&mut self, origin: u32, state: &State) -> Result<(), Found> {
        let mut calm = state.clone();
        (calm.world.disturbances, calm.world.crashes) = (0, 0);
        let mut passed = Vec::new();
        let resting = &self.resting;
        let known = |state: &State| {
            let print = fingerprint(state);
            passed.push(print);
            resting.contains(&print)
        };
        let (taken, verdict) = rest::run(self.model, &calm, known);
        match verdict {
            Ok(()) => {
                self.resting.extend(passed);
                Ok(())
            }
            Err(violation) => Err(Found { violation, steps: self.path(origin).into_iter().chain(taken).collect() }),
        }
    }

    fn path(&self, mut at: u32) -> Vec<Step> {
        let mut steps = Vec::new();
        while let Some((origin, step)) = self.origins[at as usize] {
            steps.push(step);
            at = origin;
        }
        steps.reverse();
        steps
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
