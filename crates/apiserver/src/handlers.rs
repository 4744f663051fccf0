//! The generic handlers: one set for every kind, driven by the registry.

mod answers;
mod create;
mod delete;
mod delete_collection;
mod disruption;
mod get;
mod list;
mod modify;
mod patch;
mod scale;
mod subresources;
mod update;
mod watch;

pub(crate) use modify::Target;
