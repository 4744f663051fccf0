//! Running commands, with one line before and after each step.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("invariant: xtask is a directory of the repository").to_path_buf()
}

/// Runs one step, saying when it starts, how it ends and how long it took.
pub(crate) fn step(name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("xtask: {name} …");
    let started = Instant::now();
    let done = run();
    let outcome = if done.is_ok() { "passed" } else { "FAILED" };
    println!("xtask: {name}: {outcome} in {:.1} s", started.elapsed().as_secs_f64());
    done.with_context(|| format!("{name} failed"))
}

/// Runs cargo in the root of the repository, with its output shown.
pub(crate) fn cargo<S: AsRef<str>>(args: &[S]) -> anyhow::Result<()> {
    let args = args.iter().map(AsRef::as_ref);
    run(Command::new(cargo_program()).args(args).current_dir(root()))
}

/// The cargo that runs this program, so that a `+toolchain` holds.
pub(crate) fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs a command to its end, with its output shown.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", shown(command));
    }
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}
