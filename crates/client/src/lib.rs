//! The way every component reaches the API: a client over the in-process service or TLS, shared
//! caches (one watch per kind per process), work queues, events, and the clock they go by.
//!
//! It never touches the store: whatever runs in the same process still goes through admission.

mod cache;
mod clock;
mod correlate;
mod index;
mod key;
mod kubeconfig;
mod queue;
mod recorder;
mod remote;

pub use cache::{Cache, Change, ListScope, Listed};
pub use clock::Clock;
pub use index::Index;
pub use key::ObjectKey;
pub use kube;
pub use kubeconfig::{KubeconfigError, from_kubeconfig};
pub use queue::WorkQueue;
pub use recorder::{EventType, Recorder, reference_to};
