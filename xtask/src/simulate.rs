//! `cargo xtask simulate`: builds the simulator in the one profile there is and runs it.

use std::process::Command;

use crate::steps::{cargo_program, root, run as run_command};

/// Simulates; the arguments are those of the simulator.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let mut simulate = Command::new(cargo_program());
    simulate.args(["run", "--locked", "--quiet", "-p", "stead-sim", "--bin", "simulate", "--"]).args(args);
    run_command(simulate.current_dir(root()))
}
