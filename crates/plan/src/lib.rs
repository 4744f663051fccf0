//! Every decision, pure: no I/O, no clock, no randomness.

pub mod claims;
pub mod deployment;
pub mod endpoints;
pub mod events;
pub mod gc;
pub mod ids;
pub mod labels;
pub mod namespaces;
pub mod nodes;
pub mod pod;
pub mod pods;
pub mod probes;
pub mod proxy;
pub mod replicaset;
pub mod restarts;
pub mod revisions;
pub mod scheduler;
pub mod shares;
pub mod statefulset;
