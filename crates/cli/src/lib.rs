//! Verbs for people. They see the cluster through the client only, as kubectl does.

pub mod demo;
