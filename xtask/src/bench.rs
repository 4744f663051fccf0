//! `cargo xtask bench`: builds the release binary and the program that measures it, and runs the latter.

use crate::steps::{cargo, step};

/// Measures; the arguments are those of the measuring program.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    step("release binary", || cargo(&["build", "--release", "--locked", "-p", "stead"]))?;
    let run = ["run", "--release", "--locked", "--quiet", "-p", "stead-bench", "--"].map(str::to_owned);
    cargo(&[&run[..], args].concat())
}
