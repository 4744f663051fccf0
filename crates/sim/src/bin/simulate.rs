//! Runs simulations: one seed in this process, or many, each in a process of its own so that it can be
//! repeated exactly. `cargo xtask simulate` calls it.

use std::collections::VecDeque;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use stead_sim::cluster::scenarios::{self, Scenario};
use stead_sim::cluster::{Simulation, planted, simulate};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const USAGE: &str = "\
usage: cargo xtask simulate [--seeds N] [--hours H] [--seed S] [--scenario NAME] [--jobs J] [--echo]

  --seeds N        so many seeds, the first being S; 1 unless said
  --hours H        simulated hours of trouble per seed, as a decimal; 0.5 unless said
  --seed S         the first seed; 1 unless said
  --scenario NAME  one story instead of `random`; `all` runs each in turn, `list` names them with their
                   numbers in the list of faults to survive
  --jobs J         seeds at once; as many as there are processors unless said
  --echo           print everything that happens (one seed only)";

#[derive(Clone)]
struct Options {
    seeds: u64,
    hours: f64,
    first: u64,
    scenario: String,
    jobs: usize,
    echo: bool,
    /// This process is the one that simulates.
    alone: bool,
}

/// What the product logs, as `STEAD_LOG` asks for it; errors only unless it does.
fn start_logging() {
    let text = std::env::var("STEAD_LOG").unwrap_or_else(|_| "error".to_owned());
    let shown = text.parse().unwrap_or_else(|_| Targets::new().with_default(Level::ERROR));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time();
    tracing_subscriber::registry().with(shown).with(lines).init();
}

fn main() -> ExitCode {
    start_logging();
    if std::env::args().any(|arg| arg == "--help" || arg == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        seeds: 1,
        hours: 0.5,
        first: 1,
        scenario: "random".to_owned(),
        jobs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        echo: false,
        alone: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--seeds" => options.seeds = number(&arg, &value()?)?,
            "--hours" => options.hours = number(&arg, &value()?)?,
            "--seed" => options.first = number(&arg, &value()?)?,
            "--scenario" => options.scenario = value()?,
            "--jobs" => options.jobs = number(&arg, &value()?)?,
            "--echo" => options.echo = true,
            "--alone" => options.alone = true,
            _ => bail!("what is `{arg}`?\n{USAGE}"),
        }
    }
    ensure!(options.hours.is_finite() && (0.0..=1000.0).contains(&options.hours), "--hours is out of range");
    ensure!(options.jobs > 0, "--jobs is 0");
    Ok(options)
}

fn number<T: std::str::FromStr>(option: &str, text: &str) -> anyhow::Result<T> {
    text.parse().ok().with_context(|| format!("{option} takes a number, and `{text}` is none"))
}

/// Whether no invariant was violated.
fn run(options: &Options) -> anyhow::Result<bool> {
    if options.scenario == "list" {
        scenarios::ALL.iter().for_each(|scenario| println!("{}", line(scenario)));
        return Ok(true);
    }
    if options.alone { one(options) } else { many(options) }
}

/// What the list says of a scenario: its number among the faults, if it has one, its name and what happens.
fn line(scenario: &Scenario) -> String {
    let number = Some(scenario.fault).filter(|number| *number > 0).map(|number| number.to_string());
    let note = scenario.elsewhere().map(|why| format!(" [not simulated: {why}]")).unwrap_or_default();
    format!("{:>2} {:<18} {}{note}", number.unwrap_or_default(), scenario.name, scenario.about)
}

fn named(name: &str) -> anyhow::Result<&'static Scenario> {
    scenarios::ALL
        .iter()
        .chain(&planted::ALL)
        .find(|scenario| scenario.name == name)
        .with_context(|| format!("there is no scenario `{name}`; `--scenario list` names them"))
}

/// Simulates one seed; the last line is for [`many`] to read.
fn one(options: &Options) -> anyhow::Result<bool> {
    let scenario = named(&options.scenario)?;
    let time = Duration::from_secs_f64(options.hours * 3600.0);
    let outcome = simulate(Simulation { seed: options.first, time, scenario, echo: options.echo })?;
    if let Some(violation) = &outcome.violation {
        println!(
            "seed {} ({}): {} violated after {:?}",
            options.first, scenario.name, violation.invariant, violation.at
        );
        println!("{}", violation.story);
        println!("{}: {}", violation.invariant, violation.text);
        let (seed, hours, name) = (options.first, options.hours, scenario.name);
        println!("again: cargo xtask simulate --seeds 1 --seed {seed} --hours {hours} --scenario {name}");
    }
    println!(
        "seed {} {} {} s {} writes {:016x} {}",
        options.first,
        scenario.name,
        outcome.time.as_secs(),
        outcome.writes,
        outcome.fingerprint,
        if outcome.violation.is_some() { "VIOLATION" } else { "ok" }
    );
    Ok(outcome.violation.is_none())
}

/// Simulates seeds in processes of their own, a few at once.
fn many(options: &Options) -> anyhow::Result<bool> {
    let scenarios: Vec<&Scenario> = match options.scenario.as_str() {
        "all" => scenarios::ALL.iter().filter(|scenario| scenario.elsewhere().is_none()).collect(),
        name => vec![named(name)?],
    };
    if let [only] = scenarios[..]
        && let Some(why) = only.elsewhere()
    {
        bail!("scenario {} is not simulated: {why}", only.name);
    }
    let seeds = options.first..options.first.saturating_add(options.seeds);
    let mut left: VecDeque<(u64, &Scenario)> =
        seeds.flat_map(|seed| scenarios.iter().map(move |scenario| (seed, *scenario))).collect();
    let mut running: VecDeque<Child> = VecDeque::new();
    let (mut seconds, mut violations) = (0, 0_u64);
    loop {
        while running.len() < options.jobs
            && let Some((seed, scenario)) = left.pop_front()
        {
            running.push_back(start(options, seed, scenario)?);
        }
        let Some(child) = running.pop_front() else { break };
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        let last = text.lines().last().unwrap_or_default();
        let words: Vec<&str> = last.split(' ').collect();
        match words.as_slice() {
            ["seed", _, _, time, "s", _, "writes", _, verdict] => {
                seconds += time.parse::<u64>()?;
                violations += u64::from(*verdict != "ok");
            }
            _ => {
                println!("a simulation ended with {}: {last}", output.status);
                violations += 1;
            }
        }
    }
    println!("{} seeds, {:.1} simulated hours, {violations} violations", options.seeds, seconds as f64 / 3600.0);
    Ok(violations == 0)
}

fn start(options: &Options, seed: u64, scenario: &Scenario) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--alone", "--scenario", scenario.name]);
    command.args(["--seed", &seed.to_string(), "--hours", &options.hours.to_string()]);
    if options.echo {
        command.arg("--echo");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start a simulation")
}
