//! The controllers together, against a real API server on a real store.

mod endings;
mod lives;
mod owners;
mod world;
