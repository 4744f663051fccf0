//! Verbs for people. They see the cluster through the client only, as kubectl does.

pub mod demo;
pub mod explain;
pub mod reset;
pub mod rollout;
pub mod sets;
pub mod simulate;
