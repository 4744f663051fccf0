//! A short simulation of everything, as every change must pass it. Each seed runs in a process of its own,
//! as `cargo xtask simulate` runs it.

use std::process::Command;

/// Runs the simulator; what it printed.
fn simulate(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().expect("the simulator starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_few_random_seeds_break_nothing() {
    let text = simulate(&["--seeds", "3", "--hours", "0.1"]);
    assert!(text.ends_with(" simulated hours, 0 violations\n"), "{text}");
}

#[test]
fn every_named_scenario_breaks_nothing() {
    let text = simulate(&["--seeds", "1", "--hours", "0.1", "--scenario", "all"]);
    assert!(text.ends_with(" simulated hours, 0 violations\n"), "{text}");
}

#[test]
fn a_seed_is_the_same_every_time_and_seeds_differ() {
    let run = |seed: &str| simulate(&["--alone", "--seed", seed, "--hours", "0.1"]);
    let first = run("7");
    assert_eq!(first, run("7"), "the last line holds a fingerprint of every byte written");
    assert_ne!(first, run("8"));
}

#[test]
fn the_fifteen_faults_are_all_named_and_those_not_simulated_say_why() {
    let text = simulate(&["--scenario", "list"]);
    for fault in 1..=15 {
        assert_eq!(text.lines().filter(|line| line.starts_with(&format!("{fault:>2} "))).count(), 1, "{fault}: {text}");
    }
    assert_eq!(text.matches("[not simulated: ").count(), 3, "{text}");
}

#[test]
fn deeds_that_nobody_may_do_are_noticed() {
    for planted in &stead_sim::cluster::planted::ALL {
        let arguments = ["--alone", "--seed", "1", "--hours", "0", "--scenario", planted.name];
        let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().expect("it starts");
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        assert!(first.contains(&format!(": {} violated", planted.about)), "{}: {text}", planted.name);
    }
}

#[test]
fn what_cannot_be_simulated_is_refused_with_the_reason() {
    for (arguments, reason) in [
        (["--scenario", "nonsense"], "there is no scenario `nonsense`; `--scenario list` names them"),
        (["--scenario", "two-servers"], "scenario two-servers is not simulated: the etcd back end is later work"),
        (["--seeds", "many"], "--seeds takes a number, and `many` is none"),
        (["--hours", "inf"], "--hours is out of range"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("simulate: {reason}\n"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing was run");
    }
    assert!(simulate(&["--help"]).starts_with("usage: cargo xtask simulate "));
}
