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
    /// Steps from the start of a scenario.
    #[arg(long, default_value_t = 1_000)]
    pub depth: usize,
    /// States of one scenario.
    #[arg(long, default_value_t = 200_000)]
    pub states: usize,
    /// Only the scenarios whose names contain this.
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Only this planted fault, with the story of how it is caught.
    #[arg(long, value_name = "NAME")]
    pub fault: Option<String>,
    /// Names scenarios and planted faults.
    #[arg(long)]
    pub list: bool,
    /// Leaves the linter out: what do the invariants catch by themselves?
    #[arg(long)]
    pub no_lint: bool,
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
/// When `out` cannot be written to.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Summary> {
    let mut summary = Summary::default();
    let all = scenarios::all(options.ordinals);
    let wanted = |name: &str| options.scenario.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let scenarios: Vec<Scenario> = all.into_iter().filter(|scenario| wanted(scenario.name)).collect();
    let chosen = |fault: &&Fault| options.fault.as_ref().is_none_or(|name| name == fault.name);
    let faults: Vec<&Fault> = faults::ALL.iter().filter(chosen).collect();
    if options.list {
        scenarios.iter().try_for_each(|scenario| writeln!(out, "scenario {}", scenario.name))?;
        faults.iter().try_for_each(|fault| writeln!(out, "fault    {}", fault.name))?;
        return Ok(summary);
    }
    if options.fault.is_none() {
        for scenario in &scenarios {
            sound(options, scenario, &mut summary, out)?;
        }
    }
    for fault in faults {
        summary.planted += 1;
        summary.caught += usize::from(plant(options, fault, &scenarios, out)?);
    }
    writeln!(out, "{summary}")?;
    Ok(summary)
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
    writeln!(out, "fault {:?}: NOT CAUGHT", fault.name)?;
    Ok(false)
}
