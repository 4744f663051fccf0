//! A whole run: every scenario with the planner as it is, then every planted fault, and one line that
//! says it all.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::explore::{Bounds, Explored, Found, explore};
use super::faults::{self, Fault};
use super::scenarios::{self, Scenario};
use super::{Model, story};

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// What to explore, and how far.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Replicas that sets start with.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub ordinals: u8,
    /// Steps from the start of a scenario, at most.
    #[arg(long, default_value_t = 1_000)]
    pub depth: usize,
    /// States of one scenario, at most.
    #[arg(long, default_value_t = 200_000)]
    pub states: usize,
    /// Only the scenarios whose names contain this, and the planted faults that show there first.
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Only this planted fault, with the story of how it is caught.
    #[arg(long, value_name = "NAME")]
    pub fault: Option<String>,
    /// Names scenarios, and planted faults with the scenario each shows in first.
    #[arg(long)]
    pub list: bool,
    /// Leaves the linter out: what do the invariants catch by themselves?
    #[arg(long)]
    pub no_lint: bool,
}

/// Why a run was not made or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// `--scenario` names none.
    #[error("no scenario has `{0}` in its name; --list names them all")]
    NoScenario(String),
    /// `--fault` names none.
    #[error("no planted fault is called `{0}`; --list names them all")]
    NoFault(String),
    /// What is to be told cannot be written.
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// States visited, over all scenarios.
    pub states: usize,
    /// Steps to the farthest of them.
    pub depth: usize,
    /// Scenarios in which something is violated.
    pub violations: usize,
    /// Planted faults that were caught.
    pub caught: usize,
    /// Planted faults there were.
    pub planted: usize,
}

impl Summary {
    /// Whether nothing is violated and no fault went unnoticed.
    pub fn is_clean(&self) -> bool {
        self.violations == 0 && self.caught == self.planted
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, depth, violations, caught, planted } = self;
        write!(
            f,
            "{states} states, depth {depth}, {violations} violations, {caught} of {planted} planted faults caught"
        )
    }
}

/// Explores what `options` ask for and tells `out` of it.
///
/// # Errors
/// When the options name what is not there, or `out` cannot be written to.
pub fn run(options: &Options, out: &mut dyn Write) -> Result<Summary, RunError> {
    let scenarios = chosen_scenarios(options)?;
    let faults = chosen_faults(options, &scenarios)?;
    let mut summary = Summary::default();
    if options.list {
        scenarios.iter().try_for_each(|scenario| writeln!(out, "scenario {}", scenario.name))?;
        faults.iter().try_for_each(|fault| writeln!(out, "fault    {:?}, first in {}", fault.name, fault.scenario))?;
        return Ok(summary);
    }
    if options.fault.is_none() {
        for scenario in &scenarios {
            sound(options, scenario, &mut summary, out)?;
        }
        let left_out = faults::ALL.len() - faults.len();
        if left_out > 0 {
            writeln!(out, "{left_out} planted faults show first in other scenarios and are left out")?;
        }
    }
    for fault in faults {
        summary.planted += 1;
        summary.caught += usize::from(plant(options, fault, &scenarios, out)?);
    }
    writeln!(out, "{summary}")?;
    Ok(summary)
}

fn chosen_scenarios(options: &Options) -> Result<Vec<Scenario>, RunError> {
    let mut scenarios = scenarios::all(options.ordinals);
    if let Some(part) = &options.scenario {
        scenarios.retain(|scenario| scenario.name.contains(part.as_str()));
        if scenarios.is_empty() {
            return Err(RunError::NoScenario(part.clone()));
        }
    }
    Ok(scenarios)
}

/// The fault that is named, or else those that show in the scenarios: no other can be asked of them.
fn chosen_faults(options: &Options, scenarios: &[Scenario]) -> Result<Vec<&'static Fault>, RunError> {
    if let Some(name) = &options.fault {
        let fault = faults::ALL.iter().find(|fault| fault.name == name);
        return fault.map(|fault| vec![fault]).ok_or_else(|| RunError::NoFault(name.clone()));
    }
    let shows = |fault: &&Fault| scenarios.iter().any(|scenario| scenario.name == fault.scenario);
    Ok(faults::ALL.iter().filter(shows).collect())
}

/// One scenario with the planner as it is.
fn sound(options: &Options, scenario: &Scenario, summary: &mut Summary, out: &mut dyn Write) -> io::Result<()> {
    let started = Instant::now();
    let mut told = started;
    let mut model = Model::new(scenario.clone(), None, !options.no_lint);
    let bounds = Bounds { depth: options.depth, states: options.states };
    let mut lines = Vec::new();
    let explored = explore(&mut model, bounds, |depth, states| {
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            lines.push(writeln!(out, "… {}: {states} states, depth {depth}", scenario.name));
        }
    });
    lines.into_iter().collect::<io::Result<()>>()?;
    let Explored { states, depth, complete, found } = explored;
    let extent = if complete { "all of them" } else { "bounded" };
    let (questions, took) = (model.planner.questions(), started.elapsed().as_secs_f64());
    writeln!(
        out,
        "{:<24} {states:>8} states, depth {depth:>3}, {extent}; {questions} plans; {took:.1} s",
        scenario.name
    )?;
    summary.states += states;
    summary.depth = summary.depth.max(depth);
    if let Some(found) = found {
        summary.violations += 1;
        write!(out, "{}", story::tell(&mut model, &found))?;
    }
    Ok(())
}

/// One planted fault, looked for first where it shows first. True when it is caught.
fn plant(options: &Options, fault: &Fault, scenarios: &[Scenario], out: &mut dyn Write) -> io::Result<bool> {
    let mut order: Vec<&Scenario> = scenarios.iter().collect();
    order.sort_by_key(|scenario| scenario.name != fault.scenario);
    let bounds = Bounds { depth: options.depth, states: options.states };
    for scenario in order {
        let mut model = Model::new(scenario.clone(), Some(*fault), !options.no_lint);
        let Some(found) = explore(&mut model, bounds, |_, _| {}).found else { continue };
        let Found { violation, steps } = &found;
        let text: String = violation.to_string().chars().take(90).collect();
        writeln!(out, "fault {:?}: caught in {} after {} steps: {text}", fault.name, scenario.name, steps.len())?;
        if options.fault.is_some() {
            write!(out, "{}", story::tell(&mut model, &found))?;
        }
        return Ok(true);
    }
    let looked_for = match &options.scenario {
        Some(part) => format!(" in scenarios with `{part}` in their names; it shows first in {}", fault.scenario),
        None => String::new(),
    };
    writeln!(out, "fault {:?}: NOT CAUGHT{looked_for}", fault.name)?;
    Ok(false)
}
