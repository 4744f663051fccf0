//! The API server from outside: real store, real handlers, the answers clients get.

mod clients;
mod common;
mod crud;
mod deletion;
mod discovery;
mod forms;
mod kubectl;
mod lists;
mod patches;
mod served;
mod services;
mod streams;
mod subresources;
mod watches;
