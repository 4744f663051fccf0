//! The node agent: takes the pods bound to its node from the API and makes them so, with a worker
//! per pod that observes, asks `plan::pod` what to do, does it and reports. It decides nothing itself
//! and never touches the store.

mod about;
mod agent;
mod checks;
mod collecting;
mod config;
pub mod env;
pub mod files;
mod hooks;
mod lookups;
mod mounting;
mod news;
mod node_object;
mod panics;
mod preparing;
mod prober;
mod proxy;
mod pulling;
mod references;
pub mod resources;
mod retry;
mod sandbox;
mod server;
pub mod spec;
mod starting;
mod stopping;
mod teardown;
pub mod volumes;
mod worker;

pub use agent::{Agent, AgentParts, NodeCaches, StartError};
pub use config::AgentConfig;
pub use proxy::ServiceProxy;
pub use stopping::StopOrder;
