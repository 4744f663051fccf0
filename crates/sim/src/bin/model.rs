//! The program behind `cargo xtask model`. It owns its command line, nothing else.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use stead_sim::model::run::{self, Options};

/// Runs the StatefulSet planner in every state of many small clusters, and plants faults in it that must be
/// noticed.
#[derive(Parser)]
#[command(bin_name = "cargo xtask model")]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn main() -> anyhow::Result<ExitCode> {
    let summary = run::run(&Cli::parse().options, &mut io::stdout().lock())?;
    Ok(if summary.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
