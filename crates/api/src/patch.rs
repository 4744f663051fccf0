//! The patch algorithms (contract `patch-notes.md`).
