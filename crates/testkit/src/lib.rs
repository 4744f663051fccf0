//! The end-to-end harness: a cluster of its own per test, driven by an unmodified kubectl, with
//! everything it started taken away again at the end. Development only.
//!
//! It panics on the first thing that goes wrong, naming the command and what it printed: that is
//! what a test wants.

mod cluster;
mod debian;
mod identities;
mod image;
mod leftovers;
mod lesson;
mod netns;
mod processes;
mod registry;
mod run;
mod state;
mod table;
mod watch;

pub use cluster::Cluster;
pub use debian::debian_files;
pub use identities::Identities;
pub use image::{ImageBuilder, busybox};
pub use leftovers::Leftovers;
pub use lesson::{Lesson, example};
pub use netns::Netns;
pub use processes::pod_processes;
pub use registry::Registry;
pub use run::{eventually, kubectl_binary, run};
pub use state::State;
pub use table::Table;
pub use watch::{PodChange, PodWatch};
