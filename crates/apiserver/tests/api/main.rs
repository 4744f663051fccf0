//! The API server from outside: real store, real handlers, the answers clients get.

#![allow(clippy::unwrap_used)] // A test that cannot go on should stop where it is.

mod clients;
mod common;
mod connections;
mod crud;
mod deletion;
mod discovery;
mod forms;
mod kubectl;
mod lists;
mod patches;
mod protobuf;
mod served;
mod services;
mod streams;
mod subresources;
mod watches;
