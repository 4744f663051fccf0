//! `cargo xtask bench`: builds the released binary and the program that measures it, and runs the latter.

use std::process::Command;

use crate::steps::{cargo, cargo_program, run as run_command, step};
use crate::tools;

/// Measures; the arguments are those of the measuring program.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    tools::ensure()?;
    step("released binary", || cargo(&["build", "--release", "--locked", "-p", "stead"]))?;
    let mut measure = Command::new(cargo_program());
    measure.args(["run", "--release", "--locked", "--quiet", "-p", "stead-bench", "--"]).args(args);
    if std::env::var_os("STEAD_LOG").is_none() {
        // What a person runs logs warnings only; the harness would log more.
        measure.env("STEAD_LOG", "warn");
    }
    run_command(&mut measure)
}
