//! The node agent: pod workers, volumes, probes, status and streaming.
