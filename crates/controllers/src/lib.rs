//! Loops that observe, plan and execute. They decide nothing.
//!
//! Each controller is a module with `pub async fn run(ctx: Context, …, shutdown: CancellationToken)`.

pub mod context;

pub use context::{Caches, Context};
