//! Development only: checks what Stead decides and does against every world it may meet.
//!
//! [`model`] explores the StatefulSet planner exhaustively in small worlds; [`cluster`] runs whole clusters
//! on simulated time while things go wrong.

pub mod cluster;
pub mod model;
