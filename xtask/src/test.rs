//! `cargo xtask test`: one command, one profile, from tidiness to end to end.
//!
//! Both runs of cargo select the whole workspace, so that features are the same and nothing is built
//! twice. The end-to-end tests, which each start a cluster, run one at a time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use crate::steps::{cargo, root, step};
use crate::{tidy, tools};

/// The crate whose tests start clusters.
const END_TO_END_CRATE: &str = "stead";

/// A test file of a crate: `crates/CRATE/tests/NAME.rs` or `crates/CRATE/tests/NAME/main.rs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TestFile {
    /// Directory of the crate below `crates`.
    crate_dir: String,
    name: String,
}

/// Runs every test, or those that the filters name.
pub(crate) fn run(filters: &[String]) -> anyhow::Result<()> {
    let files = test_files(&root())?;
    if filters.is_empty() { all(&files) } else { some(filters, &files) }
}

fn all(files: &[TestFile]) -> anyhow::Result<()> {
    tools::ensure()?;
    step("tidy", tidy::check)?;
    let (end_to_end, rest): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.crate_dir == END_TO_END_CRATE);
    // Each run goes on after a failure, so that one look shows everything that is broken.
    let runs = [
        ("build", workspace(&["--no-run"], &[], &[])),
        ("unit and integration tests", workspace(&["--lib", "--bins", "--examples"], &rest, &[])),
        ("documentation tests", workspace(&["--doc"], &[], &[])),
        ("end-to-end tests", workspace(&[], &end_to_end, &["--test-threads=1"])),
    ];
    let mut failures = Vec::new();
    for (name, args) in runs {
        if name == "end-to-end tests" && end_to_end.is_empty() {
            continue;
        }
        if let Err(error) = step(name, || cargo(&args)) {
            if name == "build" {
                return Err(error);
            }
            failures.push(name);
        }
    }
    if !failures.is_empty() {
        bail!("failed: {}", failures.join(", "));
    }
    println!("xtask: all tests passed");
    Ok(())
}

/// The arguments for a run over the whole workspace.
fn workspace(targets: &[&str], files: &[&TestFile], harness: &[&str]) -> Vec<String> {
    let mut args =
        vec!["test".to_owned(), "--workspace".to_owned(), "--locked".to_owned(), "--no-fail-fast".to_owned()];
    args.extend(targets.iter().map(|&target| target.to_owned()));
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    args.extend(names.into_iter().flat_map(|name| ["--test".to_owned(), name.to_owned()]));
    with_harness(args, harness)
}

fn with_harness(mut args: Vec<String>, harness: &[&str]) -> Vec<String> {
    if !harness.is_empty() {
        args.push("--".to_owned());
        args.extend(harness.iter().map(|&arg| arg.to_owned()));
    }
    args
}

fn some(filters: &[String], files: &[TestFile]) -> anyhow::Result<()> {
    let runs: Vec<_> = filters.iter().map(|filter| selected(filter, files)).collect::<anyhow::Result<_>>()?;
    if runs.iter().any(|run| run.is_end_to_end) {
        tools::ensure()?;
    }
    for (filter, run) in filters.iter().zip(runs) {
        step(filter, || cargo(&run.args))?;
    }
    Ok(())
}

/// The run that one filter names.
struct Selected {
    /// Arguments for cargo.
    args: Vec<String>,
    /// Whether it starts clusters, for which the machine must have what they need.
    is_end_to_end: bool,
}

fn selected(filter: &str, files: &[TestFile]) -> anyhow::Result<Selected> {
    let owned = |args: &[&str]| args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>();
    if let Some(package) = package(&root(), filter) {
        let is_end_to_end = package == END_TO_END_CRATE;
        let harness: &[&str] = if is_end_to_end { &["--test-threads=1"] } else { &[] };
        let args = with_harness(owned(&["test", "--locked", "--no-fail-fast", "-p", &package]), harness);
        return Ok(Selected { args, is_end_to_end });
    }
    let named: Vec<&TestFile> = files.iter().filter(|file| file.name == filter).collect();
    let Some(first) = named.first() else {
        let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        bail!("`{filter}` is neither a crate nor a test file; test files are {}", names.join(", "));
    };
    let is_end_to_end = first.crate_dir == END_TO_END_CRATE;
    // Who asks for one story wants to see it being told.
    let harness: &[&str] = if is_end_to_end { &["--test-threads=1", "--nocapture"] } else { &[] };
    Ok(Selected { args: workspace(&[], &named, harness), is_end_to_end })
}

/// The package that a filter names: by its own name, or by its directory.
fn package(root: &Path, filter: &str) -> Option<String> {
    if filter == "xtask" {
        return Some("xtask".to_owned());
    }
    let dir = filter.strip_prefix("stead-").unwrap_or(filter);
    let exists = root.join("crates").join(dir).join("Cargo.toml").is_file();
    exists.then(|| if dir == END_TO_END_CRATE { dir.to_owned() } else { format!("stead-{dir}") })
}

fn test_files(root: &Path) -> anyhow::Result<Vec<TestFile>> {
    let crates = root.join("crates");
    let mut files = Vec::new();
    for entry in fs::read_dir(&crates).with_context(|| format!("cannot read {}", crates.display()))? {
        let crate_dir = entry?.file_name().to_string_lossy().into_owned();
        let tests = crates.join(&crate_dir).join("tests");
        if !tests.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&tests)? {
            let path = entry?.path();
            let is_test = path.extension().is_some_and(|kind| kind == "rs") || path.join("main.rs").is_file();
            if let (true, Some(name)) = (is_test, path.file_stem()) {
                files.push(TestFile { crate_dir: crate_dir.clone(), name: name.to_string_lossy().into_owned() });
            }
        }
    }
    files.sort();
    refuse_shared_names(&files)?;
    Ok(files)
}

/// `--test NAME` selects in every crate: an end-to-end test named like another crate's would take that one
/// along.
fn refuse_shared_names(files: &[TestFile]) -> anyhow::Result<()> {
    let (end_to_end, rest): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.crate_dir == END_TO_END_CRATE);
    let shared = end_to_end.iter().find_map(|ours| rest.iter().find(|theirs| theirs.name == ours.name));
    match shared {
        Some(TestFile { crate_dir, name }) => {
            bail!("crates/{crate_dir} and crates/{END_TO_END_CRATE} both have a test file `{name}`: rename one")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(crate_dir: &str, name: &str) -> TestFile {
        TestFile { crate_dir: crate_dir.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_crate_can_be_named_in_full_or_by_its_directory() {
        for filter in ["plan", "stead-plan"] {
            let run = selected(filter, &[]).expect("the crate exists");
            assert_eq!(run.args, ["test", "--locked", "--no-fail-fast", "-p", "stead-plan"]);
            assert!(!run.is_end_to_end, "it needs neither root nor kubectl");
        }
    }

    #[test]
    fn an_end_to_end_test_is_named_by_its_file_and_runs_alone() {
        let run = selected("lesson", &[file("plan", "stories"), file("stead", "lesson")]).expect("the file exists");
        let selection = ["test", "--workspace", "--locked", "--no-fail-fast", "--test", "lesson"];
        assert_eq!(run.args[..selection.len()], selection);
        assert_eq!(run.args[selection.len()..], ["--", "--test-threads=1", "--nocapture"]);
        assert!(run.is_end_to_end);
    }

    #[test]
    fn a_name_that_is_nothing_is_answered_with_the_names_there_are() {
        let files = [file("stead", "lesson"), file("plan", "stories")];
        let refusal = selected("lessn", &files).err().expect("no such test");
        assert_eq!(refusal.to_string(), "`lessn` is neither a crate nor a test file; test files are lesson, stories");
    }

    #[test]
    fn test_files_of_the_repository_are_found_and_end_to_end_names_are_their_own() {
        let files = test_files(&root()).expect("the repository can be read");
        assert!(files.contains(&file("runtime", "containers")), "{files:?}");
        assert!(refuse_shared_names(&[file("plan", "lesson"), file("stead", "lesson")]).is_err());
        assert!(refuse_shared_names(&[file("plan", "server"), file("dns", "server")]).is_ok());
    }
}
