//! Development tasks: `cargo xtask test | tidy | model | mutants | simulate | bench | ci`.
//!
//! It is built before anything else, so it depends on next to nothing. It owns how this repository is
//! checked, tested and measured, and nothing of the product.

mod bench;
mod mutants;
mod sim;
mod steps;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask VERB

  test [FILTER…]              tidy, then every test: unit, integration and end to end. A FILTER is a crate
                              (plan, stead-plan) or a test file (lesson); only those are run then
  tidy                        the rules of this repository that no compiler checks
  model [--help | OPTION…]    run the StatefulSet planner in every state of many small clusters, and plant
                              faults in it that must be noticed (docs/model.md)
  mutants [OPTION…]           mutation testing of the planner, where cargo-mutants is installed (docs/mutants.md)
  bench [ROW…] [--json FILE]  measure, in release: all rows or those named. `bench --list` names them
  simulate [--seeds N] [--hours H] [--seed S] [--scenario NAME]
                              whole clusters on simulated time with faults; `--scenario list` names the stories
  ci                          formatting, lints, licences (where cargo-deny is installed), tests";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    let done = match verb {
        "test" => test::run(rest),
        "tidy" => tidy::run(),
        "model" | "simulate" => sim::run(verb, rest),
        "mutants" => mutants::run(rest),
        "bench" => bench::run(rest),
        "ci" => ci(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(anyhow::anyhow!("there is no verb `{other}`\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything a change must pass.
fn ci() -> anyhow::Result<()> {
    steps::step("formatting", || steps::cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    steps::step("lints", || steps::cargo(&clippy))?;
    if tools::on_path("cargo-deny").is_some() {
        steps::step("licences and sources", || steps::cargo(&["deny", "check", "licenses", "bans", "sources"]))?;
    } else {
        println!("xtask: licences and sources: skipped, cargo-deny is not installed");
    }
    test::run(&[])
}
