//! A bounded run of the model checker, so that every change to the planner meets it. `cargo xtask model`
//! goes further.

use stead_sim::model::run::{Options, Summary, run};

const OPTIONS: Options =
    Options { ordinals: 2, depth: 1_000, states: 3_500, scenario: None, fault: None, list: false, no_lint: false };

fn summary(options: &Options) -> (Summary, String) {
    let mut told = Vec::new();
    let summary = run(options, &mut told).expect("memory takes all");
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
