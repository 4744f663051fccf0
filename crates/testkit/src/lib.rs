//! Builders and the end-to-end harness (development only).
