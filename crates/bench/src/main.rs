//! Measures the released `stead` binary from outside, as its users meet it: over TLS, with real
//! containers, fsync on. Run it with `cargo xtask bench [ROW…] [--json FILE]`.
//!
//! It never asserts a figure: it prints them beside their targets, their floors (what this machine can do
//! at best, measured in the same run) and what Kubernetes needed for the same.

mod api;
mod floor;
mod machine;
mod report;
mod rows;
mod watch;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::report::Figure;
use crate::rows::{ROWS, Scenario};

/// What the command line asks for.
struct Request {
    rows: Vec<&'static str>,
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--list") {
        let rare = |name| Scenario::ALL.iter().any(|all| all.only_when_named() && all.rows().any(|row| row == name));
        let note = |name| if rare(name) { ", only when named" } else { "" };
        ROWS.iter().for_each(|row| println!("{} ({}){}", row.name, row.unit, note(row.name)));
        return ExitCode::SUCCESS;
    }
    match parse(&args).and_then(|request| measure(&request)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: &[String]) -> anyhow::Result<Request> {
    let mut request = Request { rows: Vec::new(), json: None };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--json" {
            request.json = Some(args.next().context("--json wants a file")?.into());
            continue;
        }
        // A row that gives two figures may be named without their suffixes.
        let begun = || ROWS.iter().map(|row| row.name).filter(|name| name.starts_with(arg.as_str()));
        let exact: Vec<_> = begun().filter(|name| name == arg).collect();
        let named = if exact.is_empty() { begun().collect() } else { exact };
        if named.is_empty() {
            bail!("there is no row `{arg}`; `cargo xtask bench --list` names them");
        }
        request.rows.extend(named);
    }
    if request.rows.is_empty() {
        let usual = Scenario::ALL.into_iter().filter(|scenario| !scenario.only_when_named());
        request.rows.extend(usual.flat_map(Scenario::rows));
    }
    Ok(request)
}

/// Runs every scenario that has a wanted row; whether all of them could be measured.
fn measure(request: &Request) -> anyhow::Result<bool> {
    let stead = released_binary()?;
    let mut figures: Vec<Figure> = Vec::new();
    let mut failed = 0;
    for scenario in Scenario::ALL {
        let wanted = |name: &str| request.rows.contains(&name);
        let names: Vec<_> = scenario.rows().filter(|name| wanted(name)).collect();
        if names.is_empty() {
            continue;
        }
        println!("bench: {} …", names.join(", "));
        match run(scenario, &stead) {
            Ok(measured) => {
                let measured: Vec<Figure> = measured.into_iter().filter(|figure| wanted(figure.row)).collect();
                measured.iter().for_each(|figure| println!("bench: {}", report::line(figure)));
                figures.extend(measured);
            }
            Err(error) => {
                eprintln!("bench: {} could not be measured: {error:#}", names.join(", "));
                failed += 1;
            }
        }
    }
    println!("\n{}", report::table(&figures));
    if let Some(file) = &request.json {
        std::fs::write(file, report::json(&figures)?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(failed == 0)
}

/// The harness panics on what goes wrong, after which its cluster is taken away; the other scenarios go on.
fn run(scenario: Scenario, stead: &Path) -> anyhow::Result<Vec<Figure>> {
    let stead = stead.to_str().context("the path of the binary is not text")?;
    match catch_unwind(AssertUnwindSafe(|| scenario.measure(stead))) {
        Ok(done) => done,
        Err(_) => bail!("see the message above"),
    }
}

/// `stead`, beside this program.
fn released_binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let stead = own.with_file_name("stead");
    if !stead.is_file() {
        bail!("{} is missing: run this with `cargo xtask bench`, which builds it", stead.display());
    }
    Ok(stead)
}
