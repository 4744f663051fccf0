//! `cargo xtask model` and `cargo xtask simulate`: builds a program of the crate `sim` as the tests build it,
//! so that nothing is compiled a second time, and runs it.

use std::process::Command;

use anyhow::Context;

use crate::steps::{cargo, root, run as run_command};

/// Runs the program `name` with these arguments.
pub(crate) fn run(name: &str, args: &[String]) -> anyhow::Result<()> {
    cargo(&["build", "--workspace", "--locked", "--quiet", "--bin", name])?;
    let own = std::env::current_exe().context("cannot find this program")?;
    run_command(Command::new(own.with_file_name(name)).args(args).current_dir(root()))
}
