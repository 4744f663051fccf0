//! Debian packages as a source of programs for test images: downloaded once, unpacked, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{both, run};

/// What apt-get may take for one answer of a mirror, and how often it tries.
const PATIENCE: [&str; 4] = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::Retries=2"];

/// The files of Debian packages, below one directory. They are fetched once and kept under `cache` (a
/// directory that outlives the test, e.g. `env!("CARGO_TARGET_TMPDIR")`), so that a second run needs no
/// network. Panics with the name of the package that cannot be had.
pub fn debian_files(packages: &[&str], cache: &Path) -> PathBuf {
    let kept = cache.join("debian").join(packages.join("+"));
    if kept.is_dir() {
        return kept;
    }
    fs::create_dir_all(cache.join("debian")).expect("the cache can be made");
    let fresh = tempfile::tempdir_in(cache.join("debian")).expect("the cache can be written");
    let (debs, files) = (fresh.path().join("debs"), fresh.path().join("files"));
    for dir in [&debs, &files] {
        fs::create_dir(dir).expect("a new directory is writable");
    }
    for package in packages {
        download(package, &debs);
    }
    for deb in fs::read_dir(&debs).expect("just made").filter_map(Result::ok) {
        run(Command::new("dpkg-deb").arg("--extract").arg(deb.path()).arg(&files));
    }
    // Appears whole or not at all; who comes second at the same time uses what the first has put there.
    if let Err(error) = fs::rename(&files, &kept) {
        assert!(kept.is_dir(), "cannot keep {}: {error}", kept.display());
    }
    kept
}

fn download(package: &str, into: &Path) {
    let fetch = || apt_get(&["download", package], into);
    // Package lists grow old: they name versions that mirrors no longer have.
    let done = fetch().or_else(|_| apt_get(&["update", "-q"], into).and_then(|()| fetch()));
    if let Err(problem) = done {
        panic!("the image for this test is made from the Debian package {package}, which cannot be had: {problem}");
    }
}

fn apt_get(args: &[&str], dir: &Path) -> Result<(), String> {
    match Command::new("apt-get").args(PATIENCE).args(args).current_dir(dir).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("apt-get {}: {}", args.join(" "), both(&output))),
        Err(error) => Err(format!("apt-get cannot be run: {error}")),
    }
}
