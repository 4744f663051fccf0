//! `cargo xtask mutants`: mutation testing of the planner with cargo-mutants, as `.cargo/mutants.toml` says.

use std::process::Command;

use anyhow::ensure;

use crate::steps::{cargo_program, run as run_command};
use crate::tools::on_path;

/// Mutates the planner; the arguments are those of cargo-mutants, as `-f crates/plan/src/gc.rs`.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    ensure!(on_path("cargo-mutants").is_some(), "cargo-mutants is missing: cargo install cargo-mutants --locked");
    let mut mutants = Command::new(cargo_program());
    mutants.args(["mutants", "--package", "stead-plan", "--output", "target", "--no-shuffle"]).args(args);
    // Line numbers help nobody here, and building without them is quicker.
    mutants.env("CARGO_PROFILE_DEV_DEBUG", "none");
    run_command(&mut mutants)
}
