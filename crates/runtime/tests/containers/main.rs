//! Real containers through the whole of the crate: client, supervisor, worker, libcontainer, kernel.
//!
//! The test binary is its own supervisor and worker, as the product's binary is, so it has no ordinary
//! harness: threads may exist only once the hidden verbs are ruled out. Run as root, with a static
//! busybox installed; on the control groups of the machine, which on ours are version 1.

mod support;

mod confinement;
mod exec;
mod lifecycle;
mod measure;
mod survival;

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use support::Node;
use tokio::task::LocalSet;

/// Longest a test may take.
const TEST_LIMIT: Duration = Duration::from_secs(60);

type Test = fn(Rc<Node>) -> Pin<Box<dyn Future<Output = Result<()>>>>;

/// Names tests and makes them values.
#[macro_export]
macro_rules! tests {
    ($($module:ident :: $test:ident),* $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($test)), |node| Box::pin($module::$test(node)))),*]
    };
}

const TESTS: &[(&str, Test)] = tests![
    lifecycle::a_container_runs_writes_its_log_and_ends,
    lifecycle::long_lines_are_cut_into_partial_entries,
    lifecycle::a_signal_death_is_128_and_the_signal,
    lifecycle::a_missing_program_fails_the_start_and_leaves_nothing,
    lifecycle::a_container_needs_its_sandbox_and_a_fresh_name,
    lifecycle::containers_of_a_sandbox_share_all_but_processes,
    lifecycle::a_sandbox_is_made_once,
    lifecycle::a_living_container_keeps_its_sandbox,
    lifecycle::a_start_under_way_keeps_its_sandbox,
    lifecycle::removing_kills_and_leaves_nothing,
    lifecycle::a_terminal_container_writes_its_log,
    lifecycle::volumes_and_working_directory_are_there,
    lifecycle::the_working_directory_is_made_inside_a_volume,
    lifecycle::a_user_keeps_only_its_own_groups,
    lifecycle::many_containers_start_at_once,
    lifecycle::what_cannot_be_created_says_why,
    confinement::too_much_memory_is_killed_and_said,
    confinement::capabilities_are_the_default_set,
    confinement::no_new_privileges_is_set_only_on_demand,
    confinement::seccomp_denies_mounts_and_namespaces,
    confinement::a_read_only_root_is_read_only,
    confinement::kernel_files_are_masked_and_devices_denied,
    confinement::the_cgroup_is_seen_but_not_writable,
    confinement::an_image_with_a_link_for_proc_is_refused,
    confinement::a_privileged_container_may_mount,
    exec::output_code_and_environment_come_back,
    exec::a_missing_program_is_said_like_everywhere,
    exec::an_exec_is_confined_like_its_container,
    exec::a_terminal_controls_the_process,
    exec::standard_input_is_the_callers,
    exec::dropping_the_handle_kills_the_process,
    exec::giving_up_on_an_exec_that_is_starting_leaves_no_process,
    survival::a_killed_client_leaves_containers_running,
    survival::a_start_holds_what_it_was_given_though_its_client_is_gone,
    survival::an_exit_while_nobody_is_connected_is_known,
    survival::a_killed_supervisors_containers_are_adopted,
    survival::the_log_goes_on_after_adoption,
    survival::an_end_without_any_supervisor_is_reported_as_unknown,
    survival::what_cannot_be_adopted_is_ended,
    survival::what_has_no_record_is_cleared_away,
    survival::a_lost_supervisor_comes_back_by_itself,
    survival::a_supervisor_killed_during_a_start_leaves_all_or_nothing,
    survival::two_clients_share_one_supervisor,
    survival::a_supervisor_with_containers_does_not_shut_down,
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["supervisor", "--dir", dir] => stead_runtime::supervisor::main(dir.as_ref()),
        ["supervisor-worker"] => stead_runtime::worker::main(),
        ["start-and-wait", dir, spec] => survival::start_and_wait(dir.as_ref(), spec),
        ["measure"] => measure::main(),
        _ => run(&args),
    }
}

/// Runs the tests whose name contains one of the arguments, or all.
fn run(args: &[String]) -> ExitCode {
    let filters: Vec<_> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| chosen(name)) {
        let began = Instant::now();
        let result = LocalSet::new().block_on(&runtime, run_one(*test));
        match result {
            Ok(()) => println!("ok      {name} ({} ms)", began.elapsed().as_millis()),
            Err(e) => {
                failed += 1;
                println!("FAILED  {name}: {e:#}");
            }
        }
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run_one(test: Test) -> Result<()> {
    let node = Node::new().await?;
    let body = tokio::task::spawn_local(tokio::time::timeout(TEST_LIMIT, test(Rc::clone(&node))));
    let outcome = match body.await {
        Ok(Ok(result)) => result,
        Ok(Err(e)) => Err(e.into()),
        Err(e) => Err(e.into()),
    };
    let log = node.dir.join("runtime/supervisor.log");
    let cleaned = node.clean_up().await;
    let result = outcome.and(cleaned);
    if result.is_err() {
        println!("{}", std::fs::read_to_string(log).unwrap_or_default());
    }
    result
}
