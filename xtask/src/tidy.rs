//! `cargo xtask tidy`: the rules of this repository that no compiler checks. It also runs as a test, so
//! `cargo test` alone finds what it finds.
//!
//! Each rule about a file is a function of its path and text; only this file reads the disk.

mod arrows;
mod code;
mod default_run;
mod sources;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::steps::root;

/// What is not the project's own. In a worktree `.git` is a file.
const SKIPPED: [&str; 2] = ["target", ".git"];

/// Something that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Path below the root of the repository.
    path: String,
    /// Line, from one; none when the file as a whole is meant.
    line: Option<usize>,
    message: String,
}

impl Finding {
    fn of_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), message: message.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, line, message } = self;
        match line {
            Some(line) => write!(f, "{path}:{line}: {message}"),
            None => write!(f, "{path}: {message}"),
        }
    }
}

/// The verb: prints every finding.
pub(crate) fn run() -> anyhow::Result<()> {
    check()?;
    println!("xtask: tidy");
    Ok(())
}

/// Fails with the list of findings, if there are any.
pub(crate) fn check() -> anyhow::Result<()> {
    let findings = findings(&root())?;
    if findings.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    bail!("{} findings:\n{}", lines.len(), lines.join("\n"))
}

fn findings(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in files_below(root)? {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // Anything that is not text has no rules.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let path = path.strip_prefix(root)?.to_string_lossy().into_owned();
        findings.extend(words::check(&path, &text));
        if path.ends_with(".rs") {
            findings.extend(sources::check(&path, &text));
        }
        if path.ends_with("Cargo.toml") {
            findings.extend(arrows::check(&path, &text));
        }
    }
    findings.extend(default_run::check()?);
    findings.sort();
    Ok(findings)
}

fn files_below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if SKIPPED.iter().any(|skipped| entry.file_name() == *skipped) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        if let Err(findings) = super::check() {
            panic!("{findings:#}");
        }
    }
}
