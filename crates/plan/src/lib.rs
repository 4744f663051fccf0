//! Every decision, pure: no I/O, no clock, no randomness.

pub mod pod;
pub mod probes;
pub mod restarts;
