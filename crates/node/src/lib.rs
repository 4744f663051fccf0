//! The node agent: takes the pods bound to its node from the API and makes them so, with a worker
//! per pod that observes, asks `plan::pod` what to do, does it and reports. It decides nothing itself
//! and never touches the store.

mod agent;
mod config;
pub mod env;
pub mod files;
mod hooks;
mod lookups;
mod node_object;
mod prober;
mod proxy;
pub mod resources;
mod server;
pub mod spec;
mod starting;
mod stopping;
pub mod volumes;
mod worker;

pub use agent::{Agent, AgentParts, NodeCaches};
pub use config::AgentConfig;
pub use proxy::ServiceProxy;
