//! A whole cluster in one process on simulated time: the real API server, controllers, scheduler, caches and
//! pod planner over a simulated disk, network, nodes and people. Everything follows from one number.
//!
//! [`simulate`] runs one seed. Everything happens in one thread on tokio's paused clock; nothing opens a
//! file or a socket. What is simulated, and what is not: `docs/simulation.md`.

mod agent;
mod disk;
pub mod entropy;
mod lies;
mod link;
mod machine;
mod nemesis;
mod observer;
pub mod planted;
mod resolver;
pub mod scenarios;
mod server;
mod settle;
mod story;
mod time;
mod users;
mod world;

use std::time::Duration;

use scenarios::{Course, Scenario};
use story::Story;
pub use story::Violation;
use world::World;

/// What to simulate.
#[derive(Clone, Copy)]
pub struct Simulation {
    /// Everything follows from it.
    pub seed: u64,
    /// How long people and faults are at work, in simulated time.
    pub time: Duration,
    /// Which story.
    pub scenario: &'static Scenario,
    /// Print what happens as it happens.
    pub echo: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Simulated time, the end included.
    pub time: Duration,
    /// Durable writes.
    pub writes: u64,
    /// A number that depends on every byte written. Equal for equal seeds, if the simulation was the first
    /// of its process.
    pub fingerprint: u64,
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
}

/// Why nothing was simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is only named here.
    #[error("scenario {name} is not simulated: {why}")]
    Elsewhere {
        /// The scenario.
        name: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// The thread or its runtime did not start.
    #[error("cannot start the simulation")]
    Start(#[from] std::io::Error),
    /// Product or simulator code panicked.
    #[error("the simulation panicked")]
    Panicked,
}

/// Longest a simulation may go on after the time asked for.
const END_MAX: Duration = Duration::from_secs(12 * 3600);

/// Runs one seed in a thread of its own.
pub fn simulate(simulation: Simulation) -> Result<Outcome, SimulationError> {
    let run = match simulation.scenario.course {
        Course::Run(run) => run,
        Course::Elsewhere(why) => return Err(SimulationError::Elsewhere { name: simulation.scenario.name, why }),
    };
    let thread = std::thread::Builder::new().name("simulation".to_owned()).spawn(
        move || -> Result<Outcome, SimulationError> {
            entropy::seed_this_thread(simulation.seed);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
            Ok(runtime.block_on(async move {
                let story = Story::new(simulation.echo);
                let world = World::start(simulation.seed, story.clone());
                let whole = async {
                    world.furnished().await;
                    run(world.clone(), simulation.time).await;
                    settle::settle(&world).await;
                };
                tokio::select! {
                    biased;
                    () = story.broken() => {}
                    () = whole => {}
                    () = tokio::time::sleep(simulation.time + END_MAX) => {
                        story.violated("I12", "the story does not come to its end");
                    }
                }
                Outcome {
                    time: story.elapsed(),
                    writes: world.observer().writes(),
                    fingerprint: world.disk().fingerprint(),
                    violation: story.violation(),
                }
            }))
        },
    )?;
    thread.join().unwrap_or(Err(SimulationError::Panicked))
}
