//! A bounded run of the model checker, so that every change to the planner meets it. `cargo xtask model`
//! goes further.

use stead_sim::model::run::{Options, RunError, Summary, run};

const OPTIONS: Options =
    Options { ordinals: 2, depth: 1_000, states: 3_500, scenario: None, fault: None, list: false, no_lint: false };

fn summary(options: &Options) -> (Summary, String) {
    let mut told = Vec::new();
    let summary = run(options, &mut told).expect("the names are those of scenarios and faults, and memory takes all");
    (summary, String::from_utf8(told).expect("stories are text"))
}

#[test]
fn the_planner_breaks_no_invariant_and_every_planted_fault_is_noticed() {
    let (summary, told) = summary(&OPTIONS);
    assert!(summary.is_clean() && summary.planted >= 20, "{told}");
    assert!(told.ends_with(&format!("{summary}\n")), "the last line says it all");
}

#[test]
fn a_violation_is_told_as_a_story() {
    let fault = Some("delete lower ordinals first".to_owned());
    let (summary, told) = summary(&Options { fault, ..OPTIONS });
    assert_eq!((summary.caught, summary.planted), (1, 1));
    assert!(told.contains("user: scales to 0") && told.contains("violated: "), "{told}");
}

#[test]
fn a_scenario_is_asked_only_for_the_faults_that_show_in_it() {
    let scenario = Some("retention-ordered".to_owned());
    let (summary, told) = summary(&Options { scenario, ..OPTIONS });
    assert!(summary.is_clean() && !told.contains("NOT CAUGHT"), "{told}");
    let caught = told.lines().filter(|line| line.contains(": caught in retention-ordered after")).count();
    assert_eq!((summary.planted, caught), (2, 2), "{told}");
    let rest = told
        .lines()
        .rev()
        .find(|line| line.ends_with(" planted faults show first in other scenarios and are left out"));
    assert!(rest.is_some(), "{told}");
}

#[test]
fn a_fault_that_a_scenario_cannot_show_is_said_to_show_elsewhere() {
    let (scenario, fault) = (Some("growth-ordered".to_owned()), Some("skip the partition".to_owned()));
    let (summary, told) = summary(&Options { scenario, fault, states: 500, ..OPTIONS });
    assert_eq!((summary.caught, summary.planted), (0, 1));
    let line = "fault \"skip the partition\": NOT CAUGHT in scenarios with `growth-ordered` in their names; it shows first in \
                partition-ordered";
    assert_eq!(told.lines().next(), Some(line));
}

#[test]
fn what_there_is_not_is_said_not_to_be_there() {
    let refused = |options: Options| {
        let refused: RunError = run(&options, &mut Vec::new()).expect_err("there is no such name");
        refused.to_string()
    };
    let scenario = refused(Options { scenario: Some("nonsense".to_owned()), ..OPTIONS });
    assert_eq!(scenario, "no scenario has `nonsense` in its name; --list names them all");
    let fault = refused(Options { fault: Some("nonsense".to_owned()), ..OPTIONS });
    assert_eq!(fault, "no planted fault is called `nonsense`; --list names them all");
}
