//! Rules for Rust files: what each begins with, how long it may be, and calls nobody makes.

use super::Finding;
use super::code::without_prose;

/// Longest file, in lines. One subject per file keeps nine in ten far below this.
const LINES_MAX: usize = 700;

/// Where code may be `unsafe`: the crates next to the kernel, and the one place that makes a network
/// namespace before any thread exists.
const UNSAFE_ALLOWED: [&str; 4] =
    ["crates/runtime/", "crates/net/", "crates/stead/src/data_dir.rs", "crates/sim/src/cluster/entropy.rs"];

/// The crates that only decide.
const PURE: &[&str] = &["crates/api/", "crates/plan/"];
const EVERYWHERE: &[&str] = &[""];

/// A call that is not made in some places.
struct Banned {
    call: &'static str,
    within: &'static [&'static str],
    except: &'static [&'static str],
    instead: &'static str,
}

const BANNED: [Banned; 7] = [
    Banned {
        call: "thread::sleep(",
        within: EVERYWHERE,
        except: &[
            "crates/testkit/",
            // What is measured there is a cluster at rest.
            "crates/bench/src/machine.rs",
            // The kernel tells nobody when an emptied cgroup stops being busy.
            "crates/runtime/src/cgroup/mod.rs",
        ],
        instead: "wake from an event, an exit or a stated time",
    },
    Banned { call: "todo!(", within: EVERYWHERE, except: &[], instead: "finish it or leave it out" },
    Banned { call: "unimplemented!(", within: EVERYWHERE, except: &[], instead: "finish it or leave it out" },
    Banned { call: "dbg!(", within: EVERYWHERE, except: &[], instead: "use tracing" },
    // The clock is an input of everything that decides.
    Banned { call: "SystemTime::now(", within: PURE, except: &[], instead: "take the time as a parameter" },
    Banned { call: "Instant::now(", within: PURE, except: &[], instead: "take the time as a parameter" },
    Banned { call: "Timestamp::now(", within: PURE, except: &[], instead: "take the time as a parameter" },
];

/// Checks one Rust file.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(Finding::of_file(path, "opens without `//!`: say what the file owns and what it never does"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::of_file(path, format!("has {lines} lines, more than {LINES_MAX}: split it by subject")));
    }
    let code = without_prose(text);
    for (at, line) in code.lines().enumerate().map(|(at, line)| (at + 1, line)) {
        findings.extend(line_refusals(path, line).map(|message| Finding::at(path, at, message)));
    }
    findings
}

fn line_refusals<'a>(path: &'a str, line: &'a str) -> impl Iterator<Item = String> + 'a {
    let is_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let applies = move |banned: &&Banned| is_in(banned.within) && !is_in(banned.except);
    let banned = BANNED.iter().filter(applies).filter(|banned| line.contains(banned.call));
    let banned = banned.map(|banned| format!("`{}…` is banned: {}", banned.call, banned.instead));
    let is_unsafe = has_word(line, "unsafe") && !is_in(&UNSAFE_ALLOWED);
    let is_unsafe = is_unsafe.then(|| "`unsafe` belongs into crates/runtime or crates/net".to_owned());
    let swallowed =
        swallows(line).then(|| "`let _ =` hides an outcome: handle it, log it, or name what is dropped".to_owned());
    banned.chain(is_unsafe).chain(swallowed)
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
}

/// Whether a line throws a call's outcome away. Naming parameters that a default method does not use
/// (`let _ = (old, now);`) is fine.
fn swallows(line: &str) -> bool {
    let Some(thrown) = line.trim_start().strip_prefix("let _ =") else { return false };
    let thrown = thrown.trim();
    let only_names = thrown.strip_suffix(';').is_some_and(|names| {
        names.trim_start_matches('(').trim_end_matches(')').chars().all(|c| c.is_alphanumeric() || "_, ".contains(c))
    });
    !only_names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(Finding::to_string).collect()
    }

    /// What is found in a line of a file that is otherwise in order.
    fn found(path: &str, line: &str) -> Vec<String> {
        check(path, &format!("//! A file.\n{line}\n")).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn every_file_says_what_it_owns() {
        let message = "a.rs: opens without `//!`: say what the file owns and what it never does";
        assert_eq!(messages("a.rs", "use std::fs;\n"), [message]);
        assert!(messages("a.rs", "//! Owns nothing.\n").is_empty());
    }

    #[test]
    fn files_have_a_longest() {
        let lines = |n: usize| format!("//! Long.\n{}", "\n".repeat(n - 1));
        assert!(messages("a.rs", &lines(LINES_MAX)).is_empty());
        assert_eq!(messages("a.rs", &lines(LINES_MAX + 1)).len(), 1);
    }

    #[test]
    fn banned_calls_are_found_in_code_but_not_in_prose() {
        assert_eq!(found("crates/node/src/a.rs", "    std::thread::sleep(pause);").len(), 1);
        assert!(found("crates/testkit/src/run.rs", "    std::thread::sleep(LOOK);").is_empty());
        assert!(found("crates/node/src/a.rs", "// never std::thread::sleep(pause)").is_empty());
        assert_eq!(found("crates/node/src/a.rs", "    todo!()").len(), 1);
        assert_eq!(found("crates/plan/src/a.rs", "    let now = Timestamp::now();").len(), 1);
        assert!(found("crates/node/src/a.rs", "    let now = Timestamp::now();").is_empty());
    }

    #[test]
    fn unsafe_code_lives_next_to_the_kernel_only() {
        assert_eq!(found("crates/image/src/a.rs", "    unsafe { f() }").len(), 1);
        assert!(found("crates/image/src/a.rs", "    f(\"unsafe entry\"); // unsafe").is_empty());
        assert!(found("crates/image/src/a.rs", "#![forbid(unsafe_code)]").is_empty());
        assert!(found("crates/net/src/a.rs", "    unsafe { f() }").is_empty());
    }

    #[test]
    fn an_outcome_is_never_thrown_away() {
        for line in ["let _ = send(x);", "    let _ = a.b().await;", "let _ = long", "let _ = f(a, b);"] {
            assert_eq!(found("a.rs", line).len(), 1, "{line}");
        }
        for line in ["let _ = old;", "let _ = (old, now);", "let _guard = lock();"] {
            assert!(found("a.rs", line).is_empty(), "{line}");
        }
    }
}
