//! Running commands and waiting for conditions.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a command to its end; gives its standard output. Panics with everything it printed when it
/// fails.
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    assert!(output.status.success(), "{command:?} failed with {}:\n{}", output.status, both(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn output(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("cannot run {command:?}: {error}"),
    }
}

pub(crate) fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Looks until `condition` gives something, at most so long. Panics with `what` when it never does.
pub fn eventually<T>(what: &str, at_most: Duration, condition: impl FnMut() -> Option<T>) -> T {
    within(at_most, condition).unwrap_or_else(|| panic!("waited {at_most:?} in vain: {what}"))
}

/// Looks until `condition` gives something; none when it does not in time.
#[expect(clippy::disallowed_methods, reason = "the one place where tests look again and again at the outside")]
pub(crate) fn within<T>(at_most: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + at_most;
    loop {
        let found = condition();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

/// The kubectl to test with: `$KUBECTL`, or the one on the path. Panics when there is none.
pub fn kubectl_binary() -> String {
    let kubectl = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".to_owned());
    let version = Command::new(&kubectl).args(["version", "--client"]).output();
    assert!(
        version.is_ok_and(|output| output.status.success()),
        "these tests drive the cluster with kubectl 1.30 or newer: put it on the path or name it in $KUBECTL"
    );
    kubectl
}
