//! HTTP, authentication, authorisation, admission, the generic handlers, watch, discovery, OpenAPI.
//!
//! One set of handlers, driven by the rows of `stead_api::kinds`, serves every kind over one
//! `stead_store::Store`. A request reaches it through TLS ([`ApiServer::serve`]) or inside the process
//! ([`ApiServer::local_service`]); the way from there on is the same. Nothing else in the house
//! touches the store, so nothing gets past admission.

#![cfg_attr(test, allow(clippy::unwrap_used))] // A test that cannot go on should stop where it is.

mod admission;
mod allocate;
mod auth;
mod body;
mod convert;
mod deletion;
mod discovery;
mod encode;
mod handlers;
mod health;
mod items;
pub mod limits;
mod local;
mod negotiate;
mod openapi;
pub mod pki;
mod query;
mod respond;
mod reviews;
mod routes;
mod selection;
mod server;
mod status;
mod storage;
mod streams;
mod table;
mod to_the_end;
mod transport;
mod world;

pub use auth::Identity;
pub use health::KUBERNETES_VERSION;
pub use local::LocalService;
pub use respond::{Body, BoxError};
pub use server::{ApiServer, Config};
pub use streams::{NoNodes, NodeDialer, NodeStream};
pub use world::{SystemWorld, World};
