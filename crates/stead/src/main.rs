//! The `stead` binary: flags, wiring and shutdown. Everything it wires lives in the other crates.

mod cluster;
mod data_dir;
mod demo;
mod down;
mod image;
mod options;
mod preflight;
mod sets;
mod simulate;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::options::{DataDirOption, ImageCommand, RolloutCommand, SetOptions, SimulateCommand, UpOptions};

/// The server makes and drops small objects by the million (`docs/decisions/0008-allocator.md`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Stateful workloads behind the Kubernetes API, in one binary.
#[derive(Parser)]
#[command(name = "stead", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the server and the node: API, controllers, scheduler, agent and DNS in one process.
    ///
    /// Prints one line when kubectl can be used. SIGTERM and Ctrl-C stop the server and leave the pods
    /// running; `up` on the same data directory takes them back.
    Up(UpOptions),
    /// Stop every pod and remove every link, mount, rule and cgroup that `up` made.
    Down {
        #[command(flatten)]
        data: DataDirOption,
        /// Delete the data directory too: objects, volumes, images, logs.
        #[arg(long)]
        purge: bool,
        /// Give no container longer than this to end, even if its pod asks for more.
        #[arg(long, value_name = "SECONDS")]
        grace_period: Option<u64>,
    },
    /// Import, list and remove images.
    Image {
        #[command(flatten)]
        data: DataDirOption,
        #[command(subcommand)]
        command: ImageCommand,
    },
    /// Start a cluster of its own, show a StatefulSet keeping its identity and data, and clean up.
    Demo {
        /// Do not wait for Ctrl-C at the end.
        #[arg(long)]
        once: bool,
    },
    /// Say what the controller would do next about a StatefulSet, and what it waits for.
    Explain(SetOptions),
    /// Pause or resume the rollout of a StatefulSet.
    Rollout {
        #[command(subcommand)]
        command: RolloutCommand,
    },
    /// Stop one replica of a StatefulSet and make it anew with its claims. Their data are lost.
    Reset {
        #[command(flatten)]
        set: SetOptions,
        /// The replica.
        #[arg(long, value_name = "N")]
        ordinal: i32,
    },
    /// Stand in for nodes that are not there.
    Simulate {
        #[command(subcommand)]
        command: SimulateCommand,
    },
    /// Print the version.
    Version,
}

fn main() -> ExitCode {
    // These are processes of their own; the first two must start before any thread exists.
    let args: Vec<_> = std::env::args_os().collect();
    match args.get(1).and_then(|verb| verb.to_str()) {
        Some("supervisor") if args.len() == 4 => return stead_runtime::supervisor::main(&PathBuf::from(&args[3])),
        Some("supervisor-worker") => return stead_runtime::worker::main(),
        Some("demo-replica") => return code(stead_cli::demo::run_replica().map_err(Into::into)),
        _ => {}
    }
    let cli = Cli::parse();
    start_logging();
    let done = match cli.verb {
        Verb::Up(options) => up::run(&options),
        Verb::Down { data, purge, grace_period } => {
            down::run(&data.data_dir, purge, grace_period.map(Duration::from_secs))
        }
        Verb::Image { data, command } => image::run(&data.data_dir, &command),
        Verb::Demo { once } => demo::run(once),
        Verb::Explain(options) => sets::explain(&options),
        Verb::Rollout { command } => sets::rollout(&command),
        Verb::Reset { set, ordinal } => sets::reset(&set, ordinal),
        Verb::Simulate { command } => simulate::run(&command),
        Verb::Version => {
            println!("stead {} ({})", env!("CARGO_PKG_VERSION"), stead_apiserver::KUBERNETES_VERSION);
            Ok(())
        }
    };
    code(done)
}

fn code(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stead: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to standard error; `STEAD_LOG` sets what is shown, e.g. `info` or `stead_node=debug`.
fn start_logging() {
    let text = std::env::var("STEAD_LOG").unwrap_or_else(|_| "warn".to_owned());
    let shown = text.parse().unwrap_or_else(|error| {
        eprintln!("stead: STEAD_LOG={text} is not understood ({error}); warnings are logged");
        Targets::new().with_default(Level::WARN)
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(shown).with(lines).init();
}
