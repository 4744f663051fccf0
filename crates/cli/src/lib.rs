//! Verbs for people.
