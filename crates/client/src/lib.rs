//! The in-process and TLS client, shared caches, work queues and leases.
