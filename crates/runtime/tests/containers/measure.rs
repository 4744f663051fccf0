//! How long things take on this machine: `cargo test -p stead-runtime --test containers -- measure`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use stead_runtime::Runtime;

use crate::support::{Node, exit_of};

/// How often each thing is done.
const ROUNDS: usize = 50;

/// Prints the median and the slowest of each operation.
pub(crate) fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match tokio::task::LocalSet::new().block_on(&runtime, measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            println!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure() -> Result<()> {
    let node = Node::new().await?;
    let [mut sandbox, mut start, mut exec, mut kill, mut remove] = [const { Vec::new() }; 5];
    for round in 0..ROUNDS {
        let began = Instant::now();
        let pod = node.make_sandbox(&format!("p{round}")).await?;
        sandbox.push(began.elapsed());

        let began = Instant::now();
        let (spec, _) = node.sleeper(&pod, "main").await?;
        start.push(began.elapsed());

        let began = Instant::now();
        node.exec(&spec.id, &["true"]).await?;
        exec.push(began.elapsed());

        let began = Instant::now();
        let mut exits = node.runtime.exits();
        node.runtime.kill_container(&spec.id, 9).await?;
        exit_of(&mut exits, &spec.id).await?;
        kill.push(began.elapsed());

        let began = Instant::now();
        node.runtime.remove_container(&spec.id).await?;
        node.runtime.remove_sandbox(&pod.id).await?;
        remove.push(began.elapsed());
    }
    for (what, times) in [
        ("sandbox", sandbox),
        ("start", start),
        ("exec to its exit code", exec),
        ("kill to exit", kill),
        ("remove both", remove),
    ] {
        report(what, times);
    }
    let before = anonymous_kib(&node).await?;
    let pod = node.make_sandbox("crowd").await?;
    for round in 0..ROUNDS {
        node.sleeper(&pod, &format!("c{round}")).await?;
    }
    let after = anonymous_kib(&node).await?;
    println!("supervisor's own memory: {before} KiB idle, {after} KiB with {ROUNDS} containers");
    node.clean_up().await
}

/// The supervisor's anonymous memory, in KiB: all but the program, which its workers share.
async fn anonymous_kib(node: &Node) -> Result<u64> {
    let pid = node.runtime.supervisor_pid().await?;
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let anonymous = text.lines().filter(|line| line.starts_with("Pss_Anon:"));
    Ok(anonymous.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    println!("{what:24} median {:6.1} ms, slowest {:6.1} ms", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
}
