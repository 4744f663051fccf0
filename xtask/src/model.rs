//! `cargo xtask model`: builds the model checker and runs it.

use std::process::Command;

use crate::steps::{cargo_program, run as run_command};

/// Checks the StatefulSet planner; the arguments are those of the checker.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let mut model = Command::new(cargo_program());
    model.args(["run", "--locked", "--quiet", "-p", "stead-sim", "--bin", "model", "--"]).args(args);
    run_command(&mut model)
}
